import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repurchase.errors import BundleError, DeliveryError
from repurchase.storage import atomic_files as disk
from repurchase.storage.json_files import json_bytes


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_finite_float_comes_back_with_the_same_bits(number: float) -> None:
    import json

    back = json.loads(json_bytes({"x": number}, name="x.json"))["x"]
    assert np.float64(back).tobytes() == np.float64(number).tobytes()


@pytest.mark.parametrize("value", [float("inf"), float("nan"), {1, 2}, object(), np.arange(3)])
def test_what_json_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises(BundleError, match=r"model\.json cannot be written as JSON"):
        json_bytes({"x": [value]}, name="model.json")


def test_numpy_scalars_are_numbers() -> None:
    assert json_bytes([np.int64(3), np.float32(0.5), np.bool_(True)], name="x") == b"[\n  3,\n  0.5,\n  true\n]\n"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "aliases.json"
    disk.write_file(file, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DeliveryError, match="No space left"):
        disk.write_file(file, b"new")
    assert file.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["aliases.json"]


def test_a_place_below_a_file_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_bytes(b"theirs")
    with pytest.raises(DeliveryError, match=r"page\.html cannot be written: Not a directory\. Nothing was changed\."):
        disk.write_file(tmp_path / "orders.csv" / "page.html", b"ours")
    assert (tmp_path / "orders.csv").read_bytes() == b"theirs"


def test_the_lock_keeps_others_out_and_dies_with_its_holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import sys; from pathlib import Path; from repurchase.storage.atomic_files import locked_folder\n"
        "with locked_folder(Path(sys.argv[1])):\n    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        monkeypatch.setattr(disk, "LOCK_WAIT_SECONDS", 0.05)
        with pytest.raises(DeliveryError, match="in use by another run"), disk.locked_folder(tmp_path):
            pass
        holder.kill()
    with disk.locked_folder(tmp_path):
        pass


def test_what_a_killed_process_left_is_cleared(tmp_path: Path) -> None:
    (disk.partial_sibling_path(tmp_path / "3") / "deep").mkdir(parents=True)
    disk.partial_sibling_path(tmp_path / "aliases.json").write_text("half")
    (tmp_path / "3").mkdir()
    disk.remove_partial_siblings(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["3"]
