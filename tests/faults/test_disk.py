"""A full disk, a folder that vanishes, a right that is lost: exit code 2, one line, last night's scores untouched."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

FILL = """
if len(path) < 4096:
    folder = {folder!r}
    with open(os.path.join(folder, "filler"), "wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                pass
"""
FULL_AT = {
    "the_lock": ("sqlite3.connect", ".lock"),
    "spilling": ("os.mkdir", "rows/00005"),
    "writing_ledgers": ("os.mkdir", "ledgers/00002"),
    "scoring": ("os.rename", "00002.partial"),
    "writing_scores": ("os.rename", "00005.partial"),
    "the_record": ("open", ".scores.parquet.partial-"),
}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 16 MB; mounting needs root."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m,mode=0755", "tmpfs", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize("moment", FULL_AT)
def test_a_full_disk(shop, undisturbed, small_disk, moment):
    out = small_disk / "out" / "scores.parquet"
    earlier = undisturbed.lay_out(out.parent)
    fault = shop.fault(*FULL_AT[moment], FILL.format(folder=str(small_disk)))

    outcome = shop.run(*shop.scoring(out), fault=fault)

    assert outcome.code == 2, outcome.err
    assert len(outcome.said) == 1
    assert f"{out} cannot be written" in outcome.said[0]
    assert "No space left on device" in outcome.said[0] or "disk is full" in outcome.said[0]
    assert shop.visible(out.parent) == earlier
    assert shop.hidden(out.parent) == []
    assert sorted(path.name for path in small_disk.iterdir()) == ["filler", "out"]
    (small_disk / "filler").unlink()
    assert shop.run(*shop.scoring(out)).code == 0
    shop.require_whole(out, undisturbed.scores)


@pytest.mark.parametrize("megabytes", [1, 2, 3])
def test_a_disk_too_small(shop, undisturbed, small_disk, megabytes):
    out = small_disk / "out" / "scores.parquet"
    subprocess.run(["mount", "-o", f"remount,size={megabytes}m", small_disk], check=True)

    outcome = shop.run(*shop.scoring(out))

    if outcome.code != 0:
        assert outcome.code == 2, outcome.err
        assert len(outcome.said) == 1
        assert "No space left on device" in outcome.said[0]
        assert list(small_disk.iterdir()) == []
    else:
        shop.require_whole(out, undisturbed.scores)
    assert outcome.code == 2 or megabytes > 1


GONE_AT = {
    "spilling": ("os.mkdir", "rows/00003"),
    "writing_ledgers": ("os.mkdir", "ledgers/00003"),
    "beginning_to_score": ("open", "key.json"),
    "scoring": ("os.rename", "00003.partial"),
    "the_record": ("open", ".scores.parquet.partial-"),
    "publishing": ("os.rename", "scores.run.json"),
}


@pytest.mark.parametrize("moment", GONE_AT)
def test_the_folder_vanishes(shop, undisturbed, tmp_path, moment):
    out = tmp_path / "out" / "scores.parquet"
    earlier = undisturbed.lay_out(out.parent)
    moved = tmp_path / "moved"
    fault = shop.fault(*GONE_AT[moment], f"os.rename({str(out.parent)!r}, {str(moved)!r})")

    outcome = shop.run(*shop.scoring(out), fault=fault)

    assert outcome.code == 2, outcome.err
    assert len(outcome.said) == 1
    assert f"{out} cannot be written: No such file or directory, the folder {out.parent} is gone" in outcome.said[0]
    assert not out.parent.exists()
    assert shop.visible(moved) == earlier
    moved.rename(out.parent)
    assert shop.run(*shop.scoring(out)).code == 0
    shop.require_whole(out, undisturbed.scores)
    assert shop.hidden(out.parent) == []


@pytest.mark.parametrize("moment", ["writing_ledgers", "publishing"])
def test_the_right_to_write_is_lost(shop, undisturbed, tmp_path, moment):
    out = tmp_path / "out" / "scores.parquet"
    earlier = undisturbed.lay_out(out.parent)
    what = {"writing_ledgers": out.parent / ".scores.parquet.work" / "ledgers", "publishing": out.parent}[moment]
    fault = shop.fault(*GONE_AT[moment], f"os.chmod({str(what)!r}, 0o500)")

    outcome = shop.run(*shop.scoring(out), fault=fault)

    assert outcome.code == 2, outcome.err
    assert len(outcome.said) == 1
    assert f"{out} cannot be written: Permission denied" in outcome.said[0]
    assert shop.visible(out.parent) == earlier
    what.chmod(0o755)
    assert shop.run(*shop.scoring(out)).code == 0
    shop.require_whole(out, undisturbed.scores)
    assert shop.hidden(out.parent) == []
