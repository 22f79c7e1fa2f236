"""Two jobs for one output: one runs, the other says who runs since when; who is dead holds nothing."""

import json
import signal
import sqlite3
import time
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from repurchase.errors import DeliveryError
from repurchase.storage.delivery import staged_delivery

WAIT = """
open({mark!r}, "w").close()
__import__("time").sleep(600)
"""


@contextmanager
def at_work(shop, out: Path, mark: Path):
    """A run that has finished two partitions and goes no further."""
    fault = shop.fault("os.rename", "00002.partial", WAIT.format(mark=str(mark)))
    with shop.start(*shop.scoring(out), fault=fault) as process:
        try:
            while not mark.exists():
                assert process.poll() is None, process.communicate()
                time.sleep(0.02)
            yield process
        finally:
            process.kill()


def test_one_runs_and_the_other_says_who(shop, undisturbed, tmp_path):
    out = tmp_path / "out" / "scores.parquet"
    with at_work(shop, out, tmp_path / "mark") as process:
        second = shop.run(*shop.scoring(out))

        assert second.code == 2
        assert len(second.said) == 1
        assert f"{out} is being written by another run (process {process.pid}, since 20" in second.said[0]
        assert shop.visible(out.parent) == {}
        process.send_signal(signal.SIGKILL)

    outcome = shop.run(*shop.scoring(out))

    assert outcome.code == 0, outcome.err
    assert shop.record(out)["partitions"]["reused"] == 2
    shop.require_whole(out, undisturbed.scores)
    assert shop.hidden(out.parent) == []


def test_files_of_a_lock_without_a_holder_are_no_lock(shop, undisturbed, tmp_path):
    """As after a loss of power."""
    out = tmp_path / "out" / "scores.parquet"
    out.parent.mkdir()
    (out.parent / ".scores.parquet.lock").touch()
    (out.parent / ".scores.parquet.lock-journal").write_bytes(bytes(512))
    (out.parent / ".scores.parquet.holder").write_text(json.dumps({"pid": 1, "since": "2024-01-01 00:00:00 UTC"}))

    outcome = shop.run(*shop.scoring(out))

    assert outcome.code == 0, outcome.err
    shop.require_whole(out, undisturbed.scores)
    assert shop.hidden(out.parent) == []


def test_a_lock_whose_file_was_just_removed_is_no_lock(tmp_path, monkeypatch):
    """Opened before its holder removed it, locked after: by then another run may hold a new one."""
    out = tmp_path / "scores.csv"
    lock = tmp_path / ".scores.csv.lock"
    connect = sqlite3.connect
    others = []

    def too_late(path, **settings):
        ours = connect(path, **settings)
        if not others:
            lock.unlink()
            others.append(connect(path, isolation_level=None))
            others[0].execute("BEGIN EXCLUSIVE")
        return ours

    monkeypatch.setattr("sqlite3.connect", too_late)
    with pytest.raises(DeliveryError, match="being written by another run"), staged_delivery(out):
        pytest.fail("both were let in")
    with closing(others[0]):
        assert lock.exists()
