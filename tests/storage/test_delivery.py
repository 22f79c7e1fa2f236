"""All of a job's files appear whole or none does, and one job at a time makes them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from repurchase.errors import DeliveryError, InputError
from repurchase.storage.delivery import require_writable, staged_delivery

HOLD = """
import sys, time
from pathlib import Path
from repurchase.storage.delivery import staged_delivery
with staged_delivery(Path(sys.argv[1])) as delivery:
    delivery.staged(delivery.out).write_text("half a ta")
    print("held", flush=True)
    time.sleep(600)
"""


@contextmanager
def held_by_another_process(out: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(out)], stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            yield holder
        finally:
            holder.kill()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class TestPublishing:
    def test_files_appear_whole_under_their_names(self, tmp_path):
        out = tmp_path / "scores.csv"

        with staged_delivery(out) as delivery:
            delivery.staged(out).write_text("table")
            delivery.staged(delivery.sibling(".run.json")).write_text("{}")
            assert not out.exists()
            delivery.publish()

        assert out.read_text() == "table"
        assert names(tmp_path) == ["scores.csv", "scores.run.json"]

    def test_an_earlier_file_stays_until_the_new_one_is_whole(self, tmp_path):
        out = tmp_path / "scores.csv"
        out.write_text("last night's")

        with pytest.raises(InputError), staged_delivery(out) as delivery:  # noqa: PT012 - the fault comes in the middle
            delivery.staged(out).write_text("half a ta")
            raise InputError("no")

        assert out.read_text() == "last night's"
        assert names(tmp_path) == ["scores.csv"]

    def test_the_main_file_comes_last(self, tmp_path, monkeypatch):
        moved = []
        replace = Path.replace
        monkeypatch.setattr(Path, "replace", lambda self, target: (moved.append(self.name), replace(self, target)))

        with staged_delivery(tmp_path / "a.csv") as delivery:
            for name in ("a.csv", "a.run.json", "a.quarantine.parquet"):
                (delivery.staging / name).touch()
            delivery.publish()

        assert moved[-1] == "a.csv"

    def test_folders_are_made_and_kept_if_something_was_published(self, tmp_path):
        out = tmp_path / "new" / "newer" / "scores.csv"

        with staged_delivery(out) as delivery:
            delivery.staged(out).touch()
            delivery.publish()

        assert names(out.parent) == ["scores.csv"]

    def test_folders_made_for_a_failed_run_are_removed(self, tmp_path):
        with pytest.raises(InputError), staged_delivery(tmp_path / "new" / "newer" / "scores.csv"):
            raise InputError("no")

        assert names(tmp_path) == []

    def test_a_folder_that_was_there_stays(self, tmp_path):
        (tmp_path / "there").mkdir()

        with pytest.raises(InputError), staged_delivery(tmp_path / "there" / "scores.csv"):
            raise InputError("no")

        assert names(tmp_path) == ["there"]

    def test_a_full_disk_is_said_in_a_line(self, tmp_path):
        with pytest.raises(DeliveryError, match=r"scores\.csv cannot be written: No space left"):  # noqa: SIM117
            with staged_delivery(tmp_path / "scores.csv"):
                raise OSError(28, "No space left on device")

        assert names(tmp_path) == []


class TestOneAtATime:
    def test_a_second_run_is_told_who_is_at_work(self, tmp_path):
        out = tmp_path / "scores.csv"

        with (
            held_by_another_process(out) as holder,
            pytest.raises(DeliveryError, match=rf"being written by another run \(process {holder.pid}, since"),
            staged_delivery(out),
        ):
            pytest.fail("both were let in")

    def test_another_file_in_the_same_folder_is_free(self, tmp_path):
        with held_by_another_process(tmp_path / "scores.csv"), staged_delivery(tmp_path / "others.csv") as delivery:
            delivery.staged(delivery.out).touch()
            delivery.publish()

        assert (tmp_path / "others.csv").exists()

    def test_parts_that_nobody_came_back_for_in_a_week_are_cleared_away(self, tmp_path):
        def left(name: str, *, days: float) -> Path:
            part = tmp_path / f".{name}.work" / "parts" / "00000.parquet"
            part.parent.mkdir(parents=True)
            part.write_bytes(b"customers")
            then = time.time() - days * 24 * 3600
            for path in (part, part.parent, part.parent.parent):
                os.utime(path, (then, then))
            return part

        with held_by_another_process(tmp_path / "held.parquet"):
            forsaken, waiting = left("monday.parquet", days=8), left("friday.parquet", days=6)
            at_work, foreign = left("held.parquet", days=8), left("thesis", days=8)
            with staged_delivery(tmp_path / "today.parquet"):
                pass

        assert not forsaken.parent.parent.exists()
        assert all(part.read_bytes() == b"customers" for part in (waiting, at_work, foreign))

    def test_a_killed_run_lets_go_and_its_half_is_cleared_away(self, tmp_path):
        out = tmp_path / "scores.csv"
        out.write_text("last night's")
        with held_by_another_process(out) as holder:
            holder.send_signal(signal.SIGKILL)
            holder.wait()
        assert out.read_text() == "last night's"

        with staged_delivery(out) as delivery:
            delivery.staged(out).write_text("whole")
            delivery.publish()

        assert out.read_text() == "whole"
        assert names(tmp_path) == ["scores.csv"]


class TestRequireWritable:
    def test_says_nothing_and_leaves_nothing_where_it_can_be_written(self, tmp_path):
        require_writable(tmp_path)
        require_writable(tmp_path / "not" / "yet" / "there")

        assert names(tmp_path) == []

    def test_refuses_a_file_in_the_place_of_the_folder(self, tmp_path):
        (tmp_path / "home").touch()

        with pytest.raises(DeliveryError, match="home cannot be written: Not a directory"):
            require_writable(tmp_path / "home")
        with pytest.raises(DeliveryError, match="inner cannot be written"):
            require_writable(tmp_path / "home" / "inner")


def deliver_three(out: Path) -> None:
    with staged_delivery(out) as made:
        for suffix in (".parquet", ".run.json", ".quarantine.parquet"):
            made.staged(made.sibling(suffix)).write_text("new")
        made.publish()


def test_a_folder_in_the_way_of_one_file_stops_all_of_them(tmp_path: Path) -> None:
    (tmp_path / "s.quarantine.parquet").mkdir()

    with pytest.raises(DeliveryError, match=r"a folder named s\.quarantine\.parquet is in the way"):
        deliver_three(tmp_path / "s.parquet")

    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.quarantine.parquet"]
