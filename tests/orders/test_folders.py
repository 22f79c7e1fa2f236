"""Folders and patterns: nothing that may hold orders is passed over without a word."""

import os
import socket
from pathlib import Path

import pytest

from repurchase.errors import OrdersError
from repurchase.i18n.messages import render
from repurchase.sources.files import open_file
from repurchase.sources.folders import find_files


def names(source: Path | str, root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in find_files(str(source))[0]]


def refusal(source: Path | str) -> str:
    with pytest.raises(OrdersError) as caught:
        find_files(str(source))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "orders"
    for name in ("2023/a.csv", "2024/b.csv", "2024/deep/c.csv.gz", "d.xlsx", ".hidden/x.csv", "~$d.xlsx", "_log/y.csv"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


ALL = ["2023/a.csv", "2024/b.csv", "2024/deep/c.csv.gz", "d.xlsx"]


def test_a_folder_is_searched_to_the_bottom(folder: Path) -> None:
    assert names(folder, folder) == ALL


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("**/*.csv", ["2023/a.csv", "2024/b.csv"]),
        ("*/*.csv", ["2023/a.csv", "2024/b.csv"]),
        ("202[4]/**/*.gz", ["2024/deep/c.csv.gz"]),
        ("2024/?.csv", ["2024/b.csv"]),
        ("2*", ALL[:3]),
        ("2*/deep/c.csv.gz", ["2024/deep/c.csv.gz"]),
        ("*", ALL),
    ],
)
def test_patterns(folder: Path, pattern: str, found: list[str]) -> None:
    assert names(folder / pattern, folder) == found


@pytest.mark.parametrize("source", ["", "**/*.csv", "*/*.csv", "2*"])
def test_a_folder_that_cannot_be_listed_is_refused(folder: Path, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = os.scandir

    def refuse(path: str | Path) -> object:
        if str(path).endswith("2024"):
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(os, "scandir", refuse)
    message = refusal(folder / source if source else folder)
    assert message.startswith(f"{folder / '2024'}: this folder cannot be listed (Permission denied)")


@pytest.mark.parametrize("source", ["", "**/*.csv", "*/*.csv", "2*"])
def test_a_link_to_a_folder_that_is_gone_is_refused(folder: Path, source: str) -> None:
    (folder / "2025").symlink_to(folder / "gone")
    assert "2025: a link that leads nowhere" in refusal(folder / source if source else folder)


def test_a_link_to_a_file_that_is_gone_is_left_to_its_reader(folder: Path) -> None:
    link = folder / "e.csv"
    link.symlink_to(folder / "gone.csv")
    assert "e.csv" in names(folder, folder)
    assert "e.csv" in names(folder / "*.csv", folder)
    with pytest.raises(OrdersError, match=r"e\.csv: cannot be read \(No such file"):
        open_file(link, shown=str(link), spool=folder)
    assert "a link that leads nowhere" in refusal(link)


def test_links_are_followed_and_nothing_is_read_twice(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "f.csv").write_text("x")
    (folder / "2022").symlink_to(tmp_path / "elsewhere")
    (folder / "0-latest.csv").symlink_to(folder / "2024" / "b.csv")
    (folder / "1-current").symlink_to(folder / "2024")
    (folder / "2024" / "loop").symlink_to(folder)
    assert names(folder, folder) == ["2022/f.csv", *ALL]
    notes = [render(note, locale="en") for note in find_files(str(folder))[1]]
    for name in ("0-latest.csv", "1-current", "loop"):
        assert any(f"{name}: left out, as it is the same as" in note for note in notes)
    assert names(folder / "**" / "b.csv", folder) == ["2024/b.csv"]


def test_a_link_to_itself(folder: Path) -> None:
    (folder / "circle").symlink_to(folder / "circle")
    assert "circle" in refusal(folder)
    assert "cannot be read (Too many levels of symbolic links)" in refusal(folder / "circle")


def test_pipes_and_sockets_are_not_waited_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(folder / "e.csv")
    monkeypatch.chdir(folder)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("f.csv")
    for name, what in (("e.csv", "a pipe"), ("f.csv", "a socket")):
        assert name in names(folder, folder)
        path = folder / name
        assert find_files(str(path)) == ([path], [])
        with pytest.raises(OrdersError, match=f"{name}: {what}, which can be read only once"):
            open_file(path, shown=str(path), spool=folder)
    with pytest.raises(OrdersError, match="a device"):
        open_file(Path("/dev/null"), shown="/dev/null", spool=folder)


def test_names_that_are_no_text(folder: Path) -> None:
    path = os.fsencode(folder / "2024") + b"/best\xe4llt.csv"
    Path(os.fsdecode(path)).write_bytes(b"x")
    for source in (folder, folder / "2024" / "*.csv", os.fsdecode(path)):
        assert "best\\xe4llt.csv: the name is not UTF-8" in refusal(source)


def test_names_that_are_too_long(folder: Path) -> None:
    assert "cannot be read (File name too long)" in refusal(folder / ("x" * 300 + ".csv"))
    assert "no such file or folder" in refusal(folder / "a\0b.csv")
