import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from repurchase.errors import BundleError, DeliveryError
from repurchase.registry.bundle import load_bundle, save_bundle
from repurchase.registry.champion import (
    GateVerdict,
    alias_mismatches,
    apply_gate_verdict,
    export_version,
    list_versions,
    resolve_version,
)


@pytest.fixture
def models(tmp_path: Path, state: Any, make_evaluation) -> Path:
    for version in ("1", "2"):
        save_bundle(
            state,
            tmp_path / "models" / version,
            manifest={"model_version": version, "as_of": "1998-06-30", "grade": "B"},
            evaluation=make_evaluation(0.31, 0.33),
            card=f"# Version {version}\n",
        )
    apply_gate_verdict(tmp_path, "2", GateVerdict(True, "Passed: 6 % better."))
    return tmp_path


def test_a_row_says_when_how_good_and_what_for(models: Path) -> None:
    newest, oldest = list_versions(models)
    assert (newest.version, newest.aliases, newest.as_of, newest.grade) == ("2", ("champion",), "1998-06-30", "B")
    assert (newest.horizon_days, newest.log_loss, newest.best_rule_log_loss) == (90, 0.31, 0.33)
    assert newest.gate == "Passed: 6 % better."
    assert (oldest.version, oldest.aliases, oldest.gate, oldest.fault) == ("1", (), None, None)


def test_a_home_without_mlflow_is_not_given_one(models: Path) -> None:
    assert alias_mismatches(models) == ["There is no MLflow store in this home folder; scoring does not need one."]
    assert not (models / "mlruns").exists()


@pytest.mark.parametrize("name", ["manifest.json", "evaluation.json"])
def test_a_damaged_version_is_listed_with_its_fault(models: Path, name: str) -> None:
    (models / "models" / "1" / name).write_bytes(b"{")
    newest, oldest = list_versions(models)
    assert newest.fault is None
    assert name in (oldest.fault or "")


def test_show_checks_the_bundle(models: Path) -> None:
    assert load_bundle(resolve_version(models)).card == "# Version 2\n"
    (models / "models" / "2" / "card.md").write_text("# Another\n")
    with pytest.raises(BundleError, match=r"card\.md: changed"):
        load_bundle(resolve_version(models))


def test_an_export_predicts_the_same_in_a_new_process(fitted: Any, shop: Any, tmp_path: Path) -> None:
    save_bundle(fitted.to_state(), tmp_path / "models" / "2", manifest={"model_version": "2"}, evaluation={}, card="")
    shop.write_parquet(tmp_path / "orders.parquet")
    out = export_version(tmp_path, "latest", tmp_path / "model.joblib")
    code = (
        "import sys, joblib, polars as pl\n"
        "joblib.load(sys.argv[1]).predict(pl.read_parquet(sys.argv[2])).write_parquet(sys.argv[3])"
    )
    places = [str(tmp_path / name) for name in ("model.joblib", "orders.parquet", "scores.parquet")]
    subprocess.run([sys.executable, "-c", code, *places], check=True)
    scores = pl.read_parquet(tmp_path / "scores.parquet")
    assert scores.drop("model_version").equals(fitted.predict(shop).drop("model_version"))
    assert scores["model_version"].unique().to_list() == ["2"]
    assert b"SECRET" not in out.read_bytes()


def test_an_export_to_nowhere_is_one_line(fitted: Any, tmp_path: Path) -> None:
    save_bundle(fitted.to_state(), tmp_path / "models" / "2", manifest={}, evaluation={}, card="")
    with pytest.raises(DeliveryError, match="cannot be written: No such file or directory"):
        export_version(tmp_path, "2", tmp_path / "nowhere" / "model.joblib")
