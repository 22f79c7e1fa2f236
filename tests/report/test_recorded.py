"""The record of a run: what was written passes, what was changed is named."""

import json
from pathlib import Path
from typing import Any

import pytest

from repurchase.i18n.messages import message, render
from repurchase.models.segments import SegmentThresholds
from repurchase.storage import json_files
from repurchase.storage.json_files import sha256_of, with_digest
from repurchase.storage.run_records import find_run_record_fault, read_monitor_record, read_run_record

TIERS = SegmentThresholds(risk_horizon_days=90, high_value=50.0, second_purchase_days=60.0, worth_winning=0.1)


@pytest.fixture
def written(run: dict[str, Any]) -> dict[str, Any]:
    return run | {"tiers": TIERS.to_dict()}


def test_what_is_written_passes(written: dict[str, Any]) -> None:
    assert find_run_record_fault(written) is None
    assert find_run_record_fault(written | dict.fromkeys(("tiers", "drift", "evaluation"))) is None
    assert find_run_record_fault(written | {"cleaning": {}, "measures": {}, "evaluation": {}}) is None


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("tiers", "x"),
        ("tiers", {"high_value": 1.0}),
        ("tiers.high_value", "a"),
        ("tiers.risk_horizon_days", "abc"),
        ("tiers.risk_horizon_days", True),
        ("tiers.late_from", None),
        ("evaluation", "x"),
        ("evaluation.grade", 5),
        ("evaluation.reasons", "one"),
        ("evaluation.horizons.0", 1),
        ("evaluation.horizons.0.horizon_days", None),
        ("evaluation.horizons.0.model.ece", float("nan")),
        ("evaluation.calibration.0.bins.0", {"n": 5}),
        ("evaluation.gains.0.buyers_share", [0.5, "all"]),
        ("measures", [1]),
        ("measures.as_of", "today"),
        ("measures.monthly.0.month", "2024-13"),
        ("measures.repeat_within", {"soon": 0.5}),
        ("measures.cohorts.0.active_share", None),
        ("measures.cohort_period", "decade"),
        ("cleaning.reasons.0", {"rows": 5}),
        ("cleaning.n_raw", -1),
        ("orders.columns", {"customer_id": 3}),
        ("outputs", []),
        ("notes", {"0": "a note"}),
        ("currency", 5),
    ],
)
def test_what_was_changed_is_named(written: dict[str, Any], place: str, value: object) -> None:
    *path, last = place.split(".")
    within: Any = written
    for name in path:
        within = within[int(name) if isinstance(within, list) else name]
    within[int(last) if isinstance(within, list) else last] = value
    found = find_run_record_fault(written)
    assert found is not None
    assert found.replace("[", ".").replace("]", "").startswith(place)


def test_a_record_that_was_changed_by_hand_is_not_used(tmp_path: Path) -> None:
    """Where it keeps its shape, its digest tells."""
    scores, record = tmp_path / "scores.parquet", tmp_path / "scores.run.json"
    scores.write_bytes(b"scores")
    run = {"schema": 1, "discount_rate": 0.1, "outputs": {"scores": {"sha256": sha256_of(scores)}}, "by": {30: 1, 4: 2}}
    record.write_text(json.dumps(with_digest(run)))
    assert read_run_record(scores)[1] is None

    record.write_text(record.read_text().replace("0.1", "0.2"))
    assert read_run_record(scores) == (
        {},
        message("record.misshapen", name=record.name, part="digest"),
    )
    for content in ("[" * 100_000, "\udc80", "{"):
        record.write_text(content, errors="surrogateescape")
        assert "cannot be read as JSON" in render(read_run_record(scores)[1] or "")


def test_a_record_that_is_larger_than_any_of_ours_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_files, "MAX_JSON_BYTES", 100)
    scores = tmp_path / "scores.parquet"
    for ending, read in ((".run.json", read_run_record), (".monitor.json", read_monitor_record)):
        scores.with_suffix(ending).write_text("{" + " " * 200 + "}")
        assert "cannot be read as JSON" in render(read(scores)[1] or "")


def test_curves_of_two_lengths_are_named() -> None:
    curve = {"horizon_days": 30, "predictor": "model", "buyers_share": [0, 1], "contacted_share": [0, 0.5, 1]}
    assert find_run_record_fault({"evaluation": {"gains": [curve]}}) == "evaluation.gains[0]"
