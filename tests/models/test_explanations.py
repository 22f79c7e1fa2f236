"""What moves the model, retold in curves: they add up, hold nearly all of it, and find a truth that is known."""

import json

import numpy as np
import numpy.typing as npt
import pytest

from repurchase.features.history import MONEY_SCALE
from repurchase.models.explanations import FACT_FEATURES, MIN_AGREEMENT, Explanation, fit_explanation
from repurchase.models.model import RepurchaseModel
from repurchase.models.snapshots import FeatureMatrix, Snapshot, expit, logit, money_unit_for

Floats = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def said(cdnow_model: RepurchaseModel, cdnow_snapshot: Snapshot) -> Floats:
    """Log odds that the model delivers."""
    return logit(cdnow_model.predict_snapshot(cdnow_snapshot).p[90])


def test_parts_base_and_what_is_left_are_the_log_odds(
    cdnow_model: RepurchaseModel, cdnow_snapshot: Snapshot, said: Floats
) -> None:
    explanation = cdnow_model.explanation_
    parts = explanation.parts(cdnow_snapshot.features)
    assert set(parts) == set(FACT_FEATURES)
    told = explanation.curves.intercept + sum(explanation.base) + np.sum(list(parts.values()), axis=0)
    multiples = cdnow_snapshot.features["spend_typical"] * (MONEY_SCALE / money_unit_for(explanation.typical_spend))
    read = FeatureMatrix({"spend_typical": multiples}, parent=cdnow_snapshot.features)
    assert np.allclose(told, explanation.curves.total(read), rtol=0, atol=1e-9)
    left = said - told
    assert np.var(left) < 0.05 * np.var(said)
    assert abs(left.mean()) < 0.01
    held = explanation.explained
    assert held is not None
    assert held == pytest.approx(1.0 - np.var(left) / np.var(said), abs=0.03)
    assert held > 0.9
    repeat = cdnow_snapshot.features["frequency"] > 0
    assert np.var(left[repeat]) < 0.1 * np.var(said[repeat])


def test_the_base_is_the_usual_buyer(cdnow_model: RepurchaseModel, cdnow_snapshot: Snapshot, said: Floats) -> None:
    explanation = fit_explanation(cdnow_snapshot.features, said)
    parts = explanation.parts(cdnow_snapshot.features)
    for fact in set(FACT_FEATURES) - {"money"}:
        assert np.average(parts[fact], weights=expit(said)) == pytest.approx(0.0, abs=1e-9), fact
    spend = cdnow_snapshot.features["spend_typical"]
    assert parts["money"][np.argmin(np.abs(spend - explanation.usual["spend_typical"]))] == pytest.approx(0.0, abs=1e-3)
    lower = expit(said[spend <= explanation.usual["spend_typical"]]).sum()
    assert lower == pytest.approx(expit(said).sum() / 2, rel=0.01)


def test_a_known_truth_is_found(shop_snapshot: Snapshot) -> None:
    silence, money = (np.log1p(shop_snapshot.features[name]) for name in ("days_since_last", "spend_typical"))
    explanation = fit_explanation(shop_snapshot.features, -0.8 * silence + 0.5 * money)
    parts = explanation.parts(shop_snapshot.features)
    assert explanation.explained == pytest.approx(1.0, abs=0.02)
    assert explanation.dearer_stays
    assert np.corrcoef(parts["silence"], -silence)[0, 1] > 0.98
    assert np.corrcoef(parts["money"], money)[0, 1] > 0.98
    assert parts["money"].std() == pytest.approx(0.5 * money.std(), rel=0.1)
    assert parts["rhythm"].std() < 0.1 * parts["silence"].std()
    assert not fit_explanation(shop_snapshot.features, -0.8 * silence - 0.5 * money).dearer_stays


def test_nothing_is_held_of_what_facts_do_not_tell(shop_snapshot: Snapshot) -> None:
    noise = np.random.default_rng(0).normal(size=shop_snapshot.n_customers)
    held = fit_explanation(shop_snapshot.features, noise).explained
    assert held is not None
    assert held < 0.05


def test_too_few_or_all_alike_are_not_judged(shop_snapshot: Snapshot) -> None:
    alike = fit_explanation(shop_snapshot.features, np.zeros(shop_snapshot.n_customers))
    assert alike.explained is None
    assert all(np.allclose(part, 0.0) for part in alike.parts(shop_snapshot.features).values())
    one = shop_snapshot.features.rows(slice(0, 1))
    alone = fit_explanation(one, np.array([0.3]))
    assert alone.explained is None
    assert all(part == pytest.approx(0.0) for part in alone.parts(one).values())


def test_comes_back_from_json_and_gives_some_the_bits_of_all(
    cdnow_model: RepurchaseModel, cdnow_snapshot: Snapshot
) -> None:
    again = Explanation.from_dict(json.loads(json.dumps(cdnow_model.explanation_.to_dict())))
    assert again == cdnow_model.explanation_
    assert again.agreement["silence"]["raises"] > 0.9
    some = cdnow_snapshot.features.rows(slice(5, 3000, 7))
    for fact, part in again.parts(some).items():
        assert np.array_equal(part, cdnow_model.explanation_.parts(cdnow_snapshot.features)[fact][5:3000:7]), fact


def test_trust_goes_by_side(cdnow_model: RepurchaseModel) -> None:
    plain = cdnow_model.explanation_.to_dict() | {"agreement": {"often": {"raises": MIN_AGREEMENT - 0.01}}}
    explanation = Explanation.from_dict(plain)
    part = np.array([-1.0, 1.0])
    assert explanation.trusts("often", part).tolist() == [False, True]
    assert explanation.trusts("silence", part).tolist() == [True, True]
