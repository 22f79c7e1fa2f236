import json
import pickle
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from repurchase.errors import BundleError, DeliveryError
from repurchase.registry.bundle import load_bundle, read_manifest, save_bundle
from repurchase.storage.json_files import json_bytes, sha256_of

FILES = [
    "btyd.json",
    "calibration.json",
    "card.md",
    "evaluation.json",
    "manifest.json",
    "model.json",
    "tiers.json",
]


def rewrite_manifest(folder: Path, **changes: Any) -> None:
    """What someone does who knows how digests work."""
    path = folder / "manifest.json"
    manifest = {**json.loads(path.read_bytes()), **changes}
    del manifest["manifest_sha256"]
    digest = sha256_of(json_bytes(manifest, name="manifest.json"))
    path.write_bytes(json_bytes({**manifest, "manifest_sha256": digest}, name="manifest.json"))


def test_what_was_saved_comes_back(bundle: Path, state: dict[str, Any]) -> None:
    loaded = load_bundle(bundle)
    assert loaded.state == {**state, "model_version": "3"}
    assert str(loaded.state["calibration"]["knots"][0][1]) == "-0.0"
    assert loaded.version == "3"
    assert loaded.card == "# A card\n"
    assert loaded.evaluation["grade"] == "B"
    assert loaded.manifest["data_digest"] == "ab" * 32
    assert sorted(path.name for path in bundle.iterdir()) == FILES


def test_a_new_process_reads_the_same_bits(bundle: Path, state: dict[str, Any], tmp_path: Path) -> None:
    code = (
        "import sys, numpy as np; from pathlib import Path; from repurchase.registry.bundle import load_bundle\n"
        "folder, place = map(Path, sys.argv[1:])\n"
        "np.save(place / 'btyd.npy', list(load_bundle(folder).state['btyd'].values()))\n"
        "assert not {'mlflow', 'sklearn', 'pickle5', 'joblib'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", code, str(bundle), str(tmp_path)], check=True)
    assert np.load(tmp_path / "btyd.npy").tolist() == list(state["btyd"].values())


def test_a_model_without_a_version_is_unregistered(state: dict[str, Any], tmp_path: Path) -> None:
    folder = save_bundle(state, tmp_path / "1", manifest={}, evaluation={}, card="")
    assert load_bundle(folder).version == "unregistered"


@pytest.mark.parametrize("name", FILES)
def test_every_changed_byte_is_refused_by_name(bundle: Path, name: str) -> None:
    path = bundle / name
    content = path.read_bytes()
    places = range(len(content)) if name == "manifest.json" else random.Random(1).sample(range(len(content)), 8)
    for place in places:
        changed = bytearray(content)
        changed[place] ^= 1
        path.write_bytes(changed)
        with pytest.raises(BundleError, match=name if name != "manifest.json" else None):
            load_bundle(bundle)
    path.write_bytes(content)
    load_bundle(bundle)


@pytest.mark.parametrize("name", FILES)
def test_an_appended_or_missing_byte_is_refused(bundle: Path, name: str) -> None:
    content = (bundle / name).read_bytes()
    for changed in (content + b" ", content[:-1], b""):
        (bundle / name).write_bytes(changed)
        with pytest.raises(BundleError, match=name):
            load_bundle(bundle)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused_by_name(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    with pytest.raises(BundleError, match=name):
        load_bundle(bundle)


def test_a_file_more_is_refused(bundle: Path) -> None:
    (bundle / "extra.py").write_text("raise SystemExit")
    with pytest.raises(BundleError, match=r"1 files that the manifest does not list: extra\.py"):
        load_bundle(bundle)


def test_a_needed_file_that_is_not_even_listed_is_missed(bundle: Path) -> None:
    listed = read_manifest(bundle)["files"]
    (bundle / "btyd.json").unlink()
    rewrite_manifest(bundle, files={name: digest for name, digest in listed.items() if name != "btyd.json"})
    with pytest.raises(BundleError, match=r"1 files are missing: btyd\.json"):
        load_bundle(bundle)


def test_a_pickle_in_place_of_numbers_is_refused_although_its_digest_fits(bundle: Path, tmp_path: Path) -> None:
    trace = tmp_path / "was-run"

    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (trace,)

    content = pickle.dumps(Payload())
    (bundle / "calibration.json").write_bytes(content)
    rewrite_manifest(bundle, files={**read_manifest(bundle)["files"], "calibration.json": sha256_of(content)})
    with pytest.raises(BundleError, match=r"calibration\.json"):
        load_bundle(bundle)
    assert not trace.exists()


def test_an_older_schema_says_to_train_again(bundle: Path) -> None:
    rewrite_manifest(bundle, schema=1, repurchase_version="0.0.9")
    with pytest.raises(BundleError, match=r"bundle schema 1, .* Train again, or install repurchase 0\.0\.9"):
        load_bundle(bundle)


def test_a_newer_schema_says_what_to_install(bundle: Path) -> None:
    rewrite_manifest(bundle, schema=3, repurchase_version="9.0.0")
    with pytest.raises(BundleError, match=r"bundle schema 3; .* Install repurchase 9\.0\.0 or train again"):
        load_bundle(bundle)


@pytest.mark.parametrize("content", [b"[]", b"{}", b'{"schema": "1"}', b"\xff", b"{", b'{"schema": 1, "files": []}'])
def test_a_manifest_that_is_none_is_refused(bundle: Path, content: bytes) -> None:
    (bundle / "manifest.json").write_bytes(content)
    with pytest.raises(BundleError, match=r"manifest\.json: not"):
        load_bundle(bundle)


def test_a_version_is_written_once(bundle: Path, state: dict[str, Any]) -> None:
    with pytest.raises(BundleError, match="exists already"):
        save_bundle(state, bundle, manifest={}, evaluation={}, card="")


def test_a_parameter_that_is_not_a_number_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    state = {"btyd": {"r": float("nan")}}
    with pytest.raises(BundleError, match=r"btyd\.json cannot be written"):
        save_bundle(state, tmp_path / "models" / "1", manifest={}, evaluation={}, card="")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_save_leaves_nothing_and_the_next_one_clears_up(
    state: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".partial-1-killed").mkdir()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(DeliveryError, match="No space left"):
            save_bundle(state, tmp_path / "1", manifest={}, evaluation={}, card="")
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_bundle_may_be_copied_anywhere(bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle, tmp_path / "elsewhere" / "x")
    assert load_bundle(tmp_path / "elsewhere" / "x").version == "3"


def resign(folder: Path, name: str, content: bytes) -> None:
    """Write a part anew, with right digests."""
    (folder / name).write_bytes(content)
    files = json.loads((folder / "manifest.json").read_bytes())["files"]
    rewrite_manifest(folder, files={**files, name: sha256_of(content)})


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("model.json", b'{"horizons": [-5], "settings": {}, "notes": []}', "'horizons' must be"),
        ("model.json", b'{"horizons": [30, 30], "settings": {}, "notes": []}', "'horizons' must be"),
        ("model.json", b'{"horizons": "x", "settings": {}, "notes": []}', "'horizons' must be"),
        ("model.json", b'{"horizons": [30], "settings": {"clv_horizon_days": 1e300}, "notes": []}', "clv_horizon_days"),
        ("model.json", b'{"horizons": [30], "settings": {"discount_rate": true}, "notes": []}', "discount_rate"),
        ("model.json", b'{"horizons": [30], "settings": {}, "notes": [7]}', "'notes' must be"),
        ("model.json", b"[]", "not the rest of a model"),
        ("btyd.json", b'{"mbgnbd": {"r": -1}}', r"'mbgnbd\.r' must be a number"),
        ("btyd.json", b'{"mbgnbd": {"r": 1e999}}', "not readable as JSON"),
        ("btyd.json", b'{"mbgnbd": {"r": NaN}}', "not readable as JSON"),
        ("btyd.json", b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        ("btyd.json", b'{"x": ' + b"[" * 60 + b"]" * 60 + b"}", "nested more than 40"),
        ("btyd.json", b'{"x": ' + b"9" * 5000 + b"}", "not readable as JSON"),
        ("tiers.json", b'{"high_risk_from": 7}', "'high_risk_from' must be"),
        ("tiers.json", b'["high"]', "must be a table"),
        ("calibration.json", b'{"heads": {"30": 1}}', "no model can be made of this bundle"),
    ],
)
def test_what_no_training_writes_is_refused_though_its_digests_are_right(
    bundle: Path, name: str, content: bytes, said: str
) -> None:
    resign(bundle, name, content)
    with pytest.raises(BundleError, match=said) as refused:
        load_bundle(bundle)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize(
    "changes",
    [{"as_of": "yesterday"}, {"as_of": 7}, {"horizons": [0]}, {"model_version": "../1"}, {"settings": []}],
)
def test_a_manifest_that_no_training_writes_is_refused(bundle: Path, changes: dict[str, Any]) -> None:
    rewrite_manifest(bundle, **changes)
    with pytest.raises(BundleError, match=f"manifest.json: '{next(iter(changes))}' must be"):
        load_bundle(bundle)
