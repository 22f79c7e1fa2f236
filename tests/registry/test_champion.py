import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from repurchase.errors import BundleError, DeliveryError, PromotionRefused
from repurchase.registry import champion
from repurchase.registry.bundle import save_bundle
from repurchase.registry.champion import (
    GateVerdict,
    alias_mismatches,
    apply_gate_verdict,
    promote,
    read_version_states,
    resolve_version,
    rollback,
)
from repurchase.registry.store import MODEL, Store
from repurchase.registry.tracking import log_training

PASSED = GateVerdict(True, "Passed: 5 % better.", {"candidate": 0.31})
FAILED = GateVerdict(False, "Refused: 2 % worse.", {"candidate": 0.35})


@pytest.fixture
def plain(tmp_path: Path, state: Any, make_evaluation) -> Path:
    """A home of three versions without MLflow."""
    for version in ("1", "2", "10"):
        save_bundle(
            state,
            tmp_path / "models" / version,
            manifest={"model_version": version, "as_of": "1998-06-30", "grade": "B"},
            evaluation=make_evaluation(),
            card=f"# Version {version}\n",
        )
    return tmp_path


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_without_any_model_the_way_to_one_is_named(tmp_path: Path) -> None:
    for wanted in ("champion", "latest", "previous"):
        with pytest.raises(BundleError, match=rf"no {wanted} yet, no model was trained. Run `repurchase train ORDERS`"):
            resolve_version(tmp_path, wanted)
    with pytest.raises(BundleError, match=r"no model version '3'\. No model was trained yet"):
        resolve_version(tmp_path, "3")
    assert list(tmp_path.iterdir()) == []


def test_without_a_champion_what_is_there_is_named(plain: Path) -> None:
    with pytest.raises(BundleError, match=r"no champion yet; versions 1, 2, 10 did not pass the gate.*--force"):
        resolve_version(plain)


@pytest.mark.parametrize("wanted", ["7", "best", "../secret", "1/..", "-1", "", "²"])
def test_an_unknown_version_lists_what_is_there(plain: Path, wanted: str) -> None:
    with pytest.raises(BundleError, match=r"no model version .* There: 10, 2, 1, besides champion"):
        resolve_version(plain, wanted)


def test_versions_count_as_numbers(plain: Path) -> None:
    assert resolve_version(plain, "latest") == plain / "models" / "10"
    assert resolve_version(plain, "2") == plain / "models" / "2"


def test_an_alias_whose_version_is_gone_is_unknown(plain: Path) -> None:
    apply_gate_verdict(plain, "2", PASSED)
    shutil.rmtree(plain / "models" / "2")
    with pytest.raises(BundleError, match="no model version 'champion'"):
        resolve_version(plain)


def test_a_first_model_that_passes_is_champion_and_nothing_is_previous(plain: Path) -> None:
    apply_gate_verdict(plain, "1", PASSED)
    assert read_version_states(plain).aliases == {"champion": "1"}
    assert read_version_states(plain).verdicts == {"1": PASSED.to_dict()}
    assert not (plain / "mlruns").exists()


def test_aliases_move_and_come_back(plain: Path) -> None:
    apply_gate_verdict(plain, "1", PASSED)
    apply_gate_verdict(plain, "2", FAILED)
    assert read_version_states(plain).aliases == {"champion": "1", "challenger": "2"}
    with pytest.raises(PromotionRefused, match=r"Version 2 stays what it is. Refused: 2 % worse. .*--force"):
        promote(plain, "challenger")
    assert promote(plain, "2", force=True) == "2"
    assert read_version_states(plain).aliases == {"champion": "2", "previous": "1"}
    apply_gate_verdict(plain, "10", PASSED)
    assert read_version_states(plain).aliases == {"champion": "10", "previous": "2"}
    assert rollback(plain) == "2"
    assert read_version_states(plain).aliases == {"champion": "2", "previous": "10"}
    assert rollback(plain) == "10"
    assert promote(plain, "1") == "1"
    assert read_version_states(plain).aliases == {"champion": "1", "previous": "10"}
    assert promote(plain, "1") == "1"
    assert read_version_states(plain).aliases == {"champion": "1", "previous": "10"}


def test_a_version_that_was_never_judged_needs_force(plain: Path) -> None:
    with pytest.raises(PromotionRefused, match=r"The gate has not judged it\. Promote it"):
        promote(plain, "1")


def test_without_a_previous_there_is_no_way_back(plain: Path) -> None:
    apply_gate_verdict(plain, "1", PASSED)
    with pytest.raises(PromotionRefused, match="no previous champion"):
        rollback(plain)


@pytest.mark.parametrize("change", [promote, rollback, lambda home, *_: apply_gate_verdict(home, "2", PASSED)])
def test_a_damaged_bundle_never_becomes_champion(plain: Path, change: Any) -> None:
    apply_gate_verdict(plain, "2", PASSED)
    apply_gate_verdict(plain, "1", PASSED)
    (plain / "models" / "2" / "btyd.json").write_text("{}")
    before = snapshot(plain)
    with pytest.raises(BundleError, match=r"btyd\.json: changed"):
        change(plain, "2") if change is promote else change(plain)
    assert snapshot(plain) == before


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"aliases": 3, "verdicts": {}}', b"\xff"])
def test_damaged_aliases_are_one_line(plain: Path, content: bytes) -> None:
    (plain / "models" / "aliases.json").write_bytes(content)
    with pytest.raises(BundleError, match=r"aliases\.json: not readable"):
        resolve_version(plain)


def test_resolving_and_loading_need_no_mlflow(plain: Path) -> None:
    apply_gate_verdict(plain, "10", PASSED)
    code = (
        "import sys; from pathlib import Path\n"
        "from repurchase.registry.champion import resolve_version\n"
        "from repurchase.registry.champion import list_versions\n"
        "folder = resolve_version(Path(sys.argv[1])); list_versions(Path(sys.argv[1]))\n"
        "heavy = {'mlflow', 'sklearn', 'scipy', 'lifetimes', 'sqlalchemy'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
        "from repurchase.registry.scoring import load_scorer\n"
        "from repurchase.registry.bundle import load_bundle; load_bundle(folder)\n"
        "assert 'mlflow' not in sys.modules; print(folder.name)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(plain)], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("10\n", "")


def test_mlflow_has_the_same_aliases_and_knows_why(store: Store, make_training) -> None:
    for _ in range(3):
        log_training(store, make_training())
    apply_gate_verdict(store.home, "1", PASSED)
    apply_gate_verdict(store.home, "2", PASSED)
    apply_gate_verdict(store.home, "3", FAILED)
    aliases = store.client.get_registered_model(MODEL).aliases
    assert {alias: str(version) for alias, version in aliases.items()} == read_version_states(store.home).aliases
    tags = store.client.get_model_version(MODEL, "3").tags
    assert tags["gate"] == "failed"
    assert json.loads(tags["gate_detail"]) == FAILED.to_dict()
    rollback(store.home)
    assert str(store.client.get_model_version_by_alias(MODEL, "champion").version) == "1"
    assert "rolled_back_at" in store.client.get_model_version(MODEL, "2").tags
    promote(store.home, "3", force=True)
    assert sorted(store.client.get_registered_model(MODEL).aliases) == ["champion", "previous"]
    assert store.client.get_model_version(MODEL, "3").tags["promoted"] == "by force"
    assert alias_mismatches(store.home) == []

    store.client.set_registered_model_alias(MODEL, "champion", "2")
    (note,) = alias_mismatches(store.home)
    assert "champion is 3 in models/aliases.json, which scoring follows, and 2 in MLflow" in note
    assert "repurchase models promote 3" in note
    promote(store.home, "3")
    assert alias_mismatches(store.home) == []


def test_a_version_that_mlflow_lost_still_goes_back_into_service(
    store: Store, make_training, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        apply_gate_verdict(store.home, log_training(store, make_training()), PASSED)
    store.client.delete_registered_model_alias(MODEL, "previous")
    store.client.delete_model_version(MODEL, "1")
    assert rollback(store.home) == "1"
    assert "MLflow does not know version 1; champion is set in models/ only" in caplog.text
    assert resolve_version(store.home).name == "1"


def test_when_mlflow_fails_scoring_goes_on_as_before(
    store: Store, make_training, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        apply_gate_verdict(store.home, log_training(store, make_training()), PASSED)

    def broken(*_: object) -> None:
        raise OSError("connection reset")

    monkeypatch.setattr(type(store.client), "set_registered_model_alias", broken)
    before = snapshot(store.home / "models")
    with pytest.raises(DeliveryError, match=r"connection reset\. No alias was changed for scoring") as caught:
        rollback(store.home)
    assert "\n" not in str(caught.value)
    assert snapshot(store.home / "models") == before
    (store.home / "mlruns" / "mlflow.db").write_bytes(b"broken beyond repair")
    with pytest.raises(DeliveryError, match="not readable as an MLflow database"):
        rollback(store.home)
    (note,) = alias_mismatches(store.home)
    assert note.startswith("MLflow could not be read. ")
    assert resolve_version(store.home).name == "2"


def test_the_order_of_aliases_puts_previous_first() -> None:
    assert champion.ALIASES.index("previous") < champion.ALIASES.index("champion")
