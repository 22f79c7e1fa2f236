"""Sums of curves, beside the scikit-learn regressions that they are a shorter way of writing."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from repurchase.models.additive import PENALTY, TAIL_SHARE, AdditiveModel, fit_additive, fit_log_spend
from repurchase.models.snapshots import FeatureMatrix

Floats = npt.NDArray[np.float64]


def _sizes(values: Floats) -> Floats:
    return np.sign(values) * np.log1p(np.abs(values))


def _rates(values: Floats) -> Floats:
    return np.log(values + 1e-3)


BENT = {
    "frequency": _sizes,
    "days_since_last": _sizes,
    "fading_rate_30d": _rates,
    "spend_typical": _sizes,
    "active_windows_share": np.asarray,
    "usual_log_gap": np.asarray,
}


def some_design(n: int, *, seed: int) -> FeatureMatrix:
    rng = np.random.default_rng(seed)
    return FeatureMatrix(
        {
            "frequency": np.floor(rng.gamma(0.8, 3.0, n)),
            "days_since_last": np.floor(rng.gamma(1.0, 90.0, n)),
            "fading_rate_30d": rng.gamma(0.3, 0.1, n),
            "spend_typical": np.where(rng.random(n) < 0.2, np.nan, rng.lognormal(3, 1, n)),
            "active_windows_share": rng.beta(1, 4, n),
            "usual_log_gap": np.full(n, 3.4),  # tells nothing
        }
    )


def changed(design: FeatureMatrix, **columns: npt.ArrayLike) -> FeatureMatrix:
    """The same customers with other values, one for all or one each."""
    return FeatureMatrix(
        {**design, **{name: np.broadcast_to(values, design.n_customers) * 1.0 for name, values in columns.items()}}
    )


@dataclass
class Peer:
    """The same regression, terms written out a second time and left to scikit-learn's own pipeline."""

    known: FeatureMatrix
    regression: Any
    tail: float = 0.0

    def terms(self, design: FeatureMatrix) -> Floats:
        columns = []
        for name, bend in BENT.items():
            known, asked = bend(self.known[name]), bend(design[name])
            filled = np.where(np.isnan(known), np.nanmedian(known), known)
            low, high = np.nanquantile(known, [self.tail, 1 - self.tail])
            inside = np.clip(np.where(np.isnan(asked), np.nanmedian(known), asked), low, high)
            hinges = [np.maximum(inside - bend, 0) for bend in np.unique(np.quantile(filled, [0.25, 0.5, 0.75]))]
            columns += [inside, *hinges, np.isnan(asked) * 1.0]
        return np.column_stack(columns)

    def fit(self, answer: Floats, weight: Floats) -> "Peer":
        step = type(self.regression).__name__.lower()
        self.pipeline = make_pipeline(StandardScaler(), self.regression)
        self.pipeline.fit(self.terms(self.known), answer, **{f"{step}__sample_weight": weight})
        return self


@pytest.fixture(scope="module")
def known() -> tuple[FeatureMatrix, npt.NDArray[np.bool_], Floats, Floats]:
    """Customers, who bought, their money, weights."""
    design = some_design(2_500, seed=1)
    rng = np.random.default_rng(2)
    pull = 0.8 * np.log1p(design["frequency"]) - 0.015 * design["days_since_last"]
    bought = rng.random(2_500) < 1 / (1 + np.exp(-pull))
    return design, bought, np.exp(3 + 0.3 * pull + rng.normal(0, 0.7, 2_500)), rng.uniform(0.5, 1.5, 2_500)


@pytest.fixture(scope="module")
def head(known: tuple[FeatureMatrix, npt.NDArray[np.bool_], Floats, Floats]) -> AdditiveModel:
    design, bought, _, weight = known
    return fit_additive(design, bought, weight)


def test_equals_the_logistic_regression_it_stands_for(
    known: tuple[FeatureMatrix, npt.NDArray[np.bool_], Floats, Floats], head: AdditiveModel
) -> None:
    design, bought, _, weight = known
    peer = Peer(design, LogisticRegression(C=1 / PENALTY, max_iter=5_000, tol=1e-9), TAIL_SHARE).fit(bought, weight)
    for asked in (design, some_design(500, seed=3)):
        wanted = peer.pipeline.decision_function(peer.terms(asked))
        np.testing.assert_allclose(head.total(asked), wanted, atol=1e-4)
    assert np.std(head.total(design)) > 0.3  # it learned something


def test_equals_the_ridge_regression_it_stands_for(
    known: tuple[FeatureMatrix, npt.NDArray[np.bool_], Floats, Floats],
) -> None:
    design, _, spend, weight = known
    floored = np.log(np.maximum(spend, np.quantile(spend, 0.002)))
    peer = Peer(design, Ridge(alpha=PENALTY)).fit(floored, weight)
    found = fit_log_spend(design, spend, weight)
    asked = some_design(500, seed=4)
    np.testing.assert_allclose(found.total(asked), peer.pipeline.predict(peer.terms(asked)), atol=1e-8)


def test_contributions_add_up(head: AdditiveModel) -> None:
    asked = some_design(300, seed=5)
    parts = head.contributions(asked)
    assert set(parts) == set(BENT)
    np.testing.assert_allclose(sum(parts.values()) + head.intercept, head.total(asked), atol=1e-12)
    assert np.ptp(parts["usual_log_gap"]) == 0.0


def test_follows_what_was_true(head: AdditiveModel) -> None:
    typical = some_design(1, seed=6)
    silent = [head.total(changed(typical, days_since_last=day))[0] for day in (0.0, 30.0, 120.0, 400.0)]
    assert (np.diff(silent) < 0).all()


def test_a_missing_value_has_its_own_height(head: AdditiveModel) -> None:
    asked = changed(some_design(3, seed=7), spend_typical=[np.nan, np.nan, 20.0])
    part = head.contributions(asked)["spend_typical"]
    assert np.isfinite(part).all()
    assert part[0] == part[1] == pytest.approx(head.missing[head.columns.index("spend_typical")], rel=1e-12)


def test_is_flat_beyond_what_it_saw(
    known: tuple[FeatureMatrix, npt.NDArray[np.bool_], Floats, Floats], head: AdditiveModel
) -> None:
    name, seen = "days_since_last", known[0]["days_since_last"]
    edge, beyond = (changed(some_design(1, seed=8), **{name: day}) for day in (seen.max(), 1e9))
    assert head.total(edge).tolist() == pytest.approx(head.total(beyond).tolist(), rel=1e-12)


def test_a_customers_digits_do_not_depend_on_the_others(head: AdditiveModel) -> None:
    asked = some_design(501, seed=9)
    whole = head.total(asked)
    assert [head.total(asked.rows(slice(index, index + 1)))[0] for index in range(501)] == whole.tolist()


def test_a_feature_that_nobody_has_is_left_out(
    known: tuple[FeatureMatrix, npt.NDArray[np.bool_], Floats, Floats],
) -> None:
    design, bought, _, weight = known
    found = fit_additive(changed(design, gap_last_days=np.nan), bought, weight)
    assert "gap_last_days" not in found.columns
    assert np.isfinite(found.total(design)).all()


@pytest.mark.parametrize(("reach_back", "heard"), [(0.1, False), (0.3, True)])
def test_last_year_speaks_only_where_enough_customers_had_one(
    known: tuple[FeatureMatrix, npt.NDArray[np.bool_], Floats, Floats], reach_back: float, heard: bool
) -> None:
    design, bought, _, weight = known
    last_year = np.where(np.linspace(0, 1, 2_500) < reach_back, bought, np.nan)
    found = fit_additive(changed(design, bought_year_ago=last_year), bought, weight)
    assert ("bought_year_ago" in found.columns) == heard


def test_comes_through_json_exactly(head: AdditiveModel) -> None:
    again = AdditiveModel.from_dict(json.loads(json.dumps(head.to_dict(), allow_nan=False)))
    assert again == head
