"""Several files, or a folder, get their names together: a fault on the way or a kill leaves all as it was."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from repurchase.errors import DeliveryError, InputError
from repurchase.storage import atomic_files
from repurchase.storage.atomic_files import remove_path, write_file
from repurchase.storage.delivery import OutputKind, staged_delivery, staged_folder_delivery

NAMES = ("scores.quarantine.parquet", "scores.run.json", "scores.parquet")
ANYTHING = OutputKind("anything", lambda _: True)
KILLED = """
import os, signal, sys
from pathlib import Path
from repurchase.storage import atomic_files
from repurchase.storage.delivery import OutputKind, staged_delivery, staged_folder_delivery
rename = Path.{step}
def until(self, target):
    if {when}:
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(self, target)
out = Path(sys.argv[1])
{prepare}
Path.{step} = until
{work}
"""
FILES = """
with staged_delivery(out) as delivery:
    for name in ("scores.quarantine.parquet", "scores.run.json", "scores.parquet"):
        delivery.staged(out.with_name(name)).write_text("new")
    delivery.publish()
"""
FOLDER = """
with staged_folder_delivery(out, kind=OutputKind("anything", lambda _: True)) as staging:
    (staging / "all.csv").write_text("new")
"""


def killed(out: Path, work: str, *, when: str, step: str, prepare: str = "") -> None:
    code = KILLED.format(work=work, when=when, step=step, prepare=prepare)
    done = subprocess.run([sys.executable, "-c", code, out], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


def publish(out: Path, text: str = "new") -> None:
    with staged_delivery(out) as delivery:
        for name in NAMES:
            delivery.staged(out.with_name(name)).write_text(text)
        delivery.publish()


def texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(folder.iterdir())}


def lay_out(folder: Path, names: tuple[str, ...] = NAMES) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_text(f"old {name}")
    return texts(folder)


@pytest.fixture
def refused_main(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system refuses to rename the main file, once the others have their names."""
    replace = Path.replace

    def refuse(self: Path, target: Path) -> Path:
        if target.name == "scores.parquet" and ".partial-" in self.parent.name:
            raise OSError(5, "Input/output error")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refuse)


@pytest.mark.parametrize("there", [(), NAMES, NAMES[1:]])
@pytest.mark.usefixtures("refused_main")
def test_a_rename_that_fails_half_way_leaves_every_file_as_it_was(tmp_path: Path, there: tuple[str, ...]) -> None:
    before = lay_out(tmp_path, there)

    with pytest.raises(DeliveryError, match=r"Input/output error\. Nothing was changed"):
        publish(tmp_path / "scores.parquet")

    assert texts(tmp_path) == before


@pytest.mark.usefixtures("refused_main")
def test_and_so_it_does_where_there_are_no_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = lay_out(tmp_path)

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(DeliveryError):
        publish(tmp_path / "scores.parquet")

    assert texts(tmp_path) == before


@pytest.mark.parametrize("there", [(), NAMES])
def test_a_kill_between_two_renames_is_undone_by_the_next_run(tmp_path: Path, there: tuple[str, ...]) -> None:
    out, before = tmp_path / "scores.parquet", lay_out(tmp_path, there)
    killed(out, FILES, when='Path(target).name == "scores.parquet"', step="replace")
    assert out.with_name("scores.run.json").read_text() == "new"

    with pytest.raises(InputError), staged_delivery(out):
        raise InputError("this run has nothing to publish")

    assert texts(tmp_path) == before


def test_a_file_that_somebody_put_there_after_the_kill_stays(tmp_path: Path) -> None:
    out = tmp_path / "scores.parquet"
    killed(out, FILES, when='Path(target).name == "scores.parquet"', step="replace")
    out.with_name("scores.run.json").unlink()
    out.with_name("scores.run.json").write_text("by hand")

    with staged_delivery(out):
        pass

    assert texts(tmp_path) == {"scores.run.json": "by hand"}


def test_a_file_that_has_no_successor_goes_with_the_others_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, before = tmp_path / "scores.parquet", lay_out(tmp_path)
    stale, unlink = out.with_name("scores.quarantine.parquet"), Path.unlink

    def refuse(self: Path, missing_ok: bool = False) -> None:
        if self == stale:
            raise PermissionError(13, "Permission denied")
        unlink(self, missing_ok=missing_ok)

    def run() -> None:
        with staged_delivery(out) as delivery:
            delivery.staged(out).write_text("new")
            delivery.publish(removed=[stale])

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        with pytest.raises(DeliveryError, match="Permission denied"):
            run()
    assert texts(tmp_path) == before
    run()
    assert texts(tmp_path) == {"scores.parquet": "new", "scores.run.json": "old scores.run.json"}


# Links


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    volume, home = tmp_path / "volume", tmp_path / "home"
    lay_out(volume, ("real.parquet",))
    home.mkdir()
    out = home / "scores.parquet"
    out.symlink_to(volume / "real.parquet")

    publish(out)

    assert out.is_symlink()
    assert texts(volume) == {"real.parquet": "new"}
    assert sorted(path.name for path in home.iterdir()) == sorted(NAMES)


@pytest.mark.usefixtures("refused_main")
def test_and_it_is_put_back_too(tmp_path: Path) -> None:
    volume, home = tmp_path / "volume", tmp_path / "home"
    lay_out(volume, ("real.json",))
    home.mkdir()
    (home / "scores.run.json").symlink_to(volume / "real.json")

    with pytest.raises(DeliveryError):
        publish(home / "scores.parquet")

    assert texts(volume) == {"real.json": "old real.json"}
    assert [path.name for path in home.iterdir()] == ["scores.run.json"]


def test_one_file_is_written_through_a_link_with_its_permissions(tmp_path: Path) -> None:
    real, link = tmp_path / "real.html", tmp_path / "page.html"
    real.write_text("old")
    real.chmod(0o604)
    link.symlink_to(real)

    write_file(link, b"new")

    assert link.is_symlink()
    assert texts(tmp_path) == {"page.html": "new", "real.html": "new"}
    assert stat.S_IMODE(real.stat().st_mode) == 0o604


@pytest.mark.parametrize("name", [".scores.parquet.holder", ".scores.parquet.lock"])
@pytest.mark.parametrize("exists", [True, False])
def test_a_planted_link_is_not_written_through(tmp_path: Path, name: str, exists: bool) -> None:
    victim, out = tmp_path / "victim", tmp_path / "out" / "scores.parquet"
    out.parent.mkdir()
    if exists:
        victim.write_text("theirs")
    (out.parent / name).symlink_to(victim)

    publish(out)

    assert victim.read_text() == "theirs" if exists else not victim.exists()
    assert sorted(path.name for path in out.parent.iterdir()) == sorted(NAMES)


@pytest.mark.parametrize("name", [".scores.parquet.work", ".scores.parquet.work/parts", ".scores.parquet.work/rows"])
def test_a_planted_folder_is_neither_emptied_nor_filled(tmp_path: Path, name: str) -> None:
    victim, out = tmp_path / "victim", tmp_path / "out" / "scores.parquet"
    for folder in (victim / "parts", out.parent):
        folder.mkdir(parents=True)
    (victim / "parts" / "00000.parquet").write_text("theirs")
    link = out.parent / name
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(victim if name.endswith(("work", "rows")) else victim / "parts")

    with staged_delivery(out) as delivery:
        (delivery.work / "rows").mkdir(parents=True)
        delivery.staged(out).write_text("new")
        delivery.publish()

    assert (victim / "parts" / "00000.parquet").read_text() == "theirs"
    assert [path.name for path in victim.iterdir()] == ["parts"]
    assert texts(out.parent) == {"scores.parquet": "new"}


def test_remove_does_not_follow_links(tmp_path: Path) -> None:
    lay_out(tmp_path / "theirs")
    (tmp_path / "link").symlink_to(tmp_path / "theirs")

    remove_path(tmp_path / "link")
    remove_path(tmp_path / "nothing")

    assert len(texts(tmp_path / "theirs")) == len(NAMES)


# A folder


def replace_folder(out: Path) -> None:
    with staged_folder_delivery(out, kind=ANYTHING) as staging:
        (staging / "all.csv").write_text("new")


@pytest.mark.parametrize("in_one_step", [True, False])
def test_a_folder_is_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_one_step: bool) -> None:
    lay_out(tmp_path / "lists")
    if not in_one_step:
        monkeypatch.setattr(atomic_files, "_exchanged", lambda *_: False)

    replace_folder(tmp_path / "lists")

    assert texts(tmp_path / "lists") == {"all.csv": "new"}
    assert [path.name for path in tmp_path.iterdir()] == ["lists"]


def test_a_folder_behind_a_link_is_replaced_where_it_lies(tmp_path: Path) -> None:
    lay_out(tmp_path / "volume")
    (tmp_path / "lists").symlink_to(tmp_path / "volume")

    replace_folder(tmp_path / "lists")

    assert (tmp_path / "lists").is_symlink()
    assert texts(tmp_path / "volume") == {"all.csv": "new"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lists", "volume"]


def test_a_kill_before_the_exchange_leaves_the_earlier_folder(tmp_path: Path) -> None:
    before = lay_out(tmp_path / "lists")
    prepare = "atomic_files._exchanged = lambda *_: os.kill(os.getpid(), signal.SIGKILL)"
    killed(tmp_path / "lists", FOLDER, when="False", step="rename", prepare=prepare)

    assert texts(tmp_path / "lists") == before
    replace_folder(tmp_path / "lists")
    assert [path.name for path in tmp_path.iterdir()] == ["lists"]


def test_a_kill_after_the_exchange_leaves_the_new_folder_and_the_old_is_cleared(tmp_path: Path) -> None:
    lay_out(tmp_path / "lists")
    prepare = "atomic_files.shutil.rmtree = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)"
    killed(tmp_path / "lists", FOLDER, when="False", step="rename", prepare=prepare)

    assert texts(tmp_path / "lists") == {"all.csv": "new"}
    with pytest.raises(InputError), staged_folder_delivery(tmp_path / "lists", kind=ANYTHING):
        raise InputError("no")
    assert [path.name for path in tmp_path.iterdir()] == ["lists"]


def test_a_kill_between_two_renames_is_undone_where_folders_cannot_be_exchanged(tmp_path: Path) -> None:
    out, before = tmp_path / "lists", lay_out(tmp_path / "lists")
    killed(out, FOLDER, when="Path(target) == out", step="rename", prepare="atomic_files._exchanged = lambda *_: False")
    assert not out.exists()

    with pytest.raises(InputError), staged_folder_delivery(out, kind=ANYTHING):
        raise InputError("no")

    assert texts(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["lists"]


def test_two_runs_do_not_write_one_folder(tmp_path: Path) -> None:
    with staged_folder_delivery(tmp_path / "lists", kind=ANYTHING):  # noqa: SIM117 - one within the other
        with pytest.raises(DeliveryError, match="being written by another run"):
            replace_folder(tmp_path / "lists")


@pytest.mark.parametrize("before", [None, "old"])
@pytest.mark.parametrize("what", ["file", "files", "folder"])
def test_names_are_on_the_disk_before_a_run_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, before: str | None
) -> None:
    out, named = tmp_path / ("lists" if what == "folder" else "scores.parquet"), []
    if before and what == "folder":
        out.mkdir()
        (out / "all.csv").write_text(before)
    elif before:
        publish(out, before)
    sync = os.fsync

    def note(number: int) -> None:
        if stat.S_ISDIR(os.fstat(number).st_mode) and os.path.samestat(os.fstat(number), tmp_path.stat()):
            content = out / "all.csv" if what == "folder" else out
            named.append(content.read_text() if content.exists() else None)
        sync(number)

    monkeypatch.setattr(os, "fsync", note)
    if what == "file":
        write_file(out, b"new")
    elif what == "files":
        publish(out)
    else:
        with staged_folder_delivery(out, kind=ANYTHING) as staging:
            (staging / "all.csv").write_text("new")

    assert named[-1] == "new"


def test_a_folder_that_cannot_be_waited_for_is_no_fault(tmp_path: Path) -> None:
    atomic_files.sync_folder(tmp_path / "nowhere")
