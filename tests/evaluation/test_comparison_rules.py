"""The rules that a model has to beat, made as good as they can be."""

import json
from datetime import timedelta

import numpy as np
import pytest

from repurchase.evaluation.comparison import RULE_SCORES, fit_rule
from repurchase.models.snapshots import Snapshot, Snapshots


@pytest.fixture(scope="module")
def bought(shop_snapshots: Snapshots, shop_snapshot: Snapshot) -> np.ndarray:
    return shop_snapshots.outcomes(shop_snapshot, horizon_days=60).bought


@pytest.mark.parametrize("name", RULE_SCORES)
class TestRule:
    def test_says_what_happened(self, shop_snapshot: Snapshot, bought: np.ndarray, name: str) -> None:
        """Where a rule says about p, about p bought: over all to half a percentage point, in each fifth to three."""
        p = fit_rule(name, [shop_snapshot], [bought], horizon_days=60).p_purchase(shop_snapshot)
        assert p.mean() == pytest.approx(bought.mean(), abs=0.005)
        for fifth in np.array_split(np.argsort(p, kind="stable"), 5):
            assert p[fifth].mean() == pytest.approx(bought[fifth].mean(), abs=0.03)

    def test_swears_on_no_small_group(self, shop_snapshot: Snapshot, name: str) -> None:
        best = np.argmax(RULE_SCORES[name](shop_snapshot))
        only_the_best = np.arange(shop_snapshot.n_customers) == best
        p = fit_rule(name, [shop_snapshot], [only_the_best], horizon_days=60).p_purchase(shop_snapshot)
        assert p[best] < 0.6

    def test_hears_a_cut_off_half_as_loud_for_every_horizon_it_is_older(
        self, shop_snapshots: Snapshots, shop_snapshot: Snapshot, name: str
    ) -> None:
        older = shop_snapshots.at(shop_snapshot.as_of - timedelta(days=60))
        sizes = np.array([len(snapshot.history.customer) for snapshot in (shop_snapshot, older)])
        outcomes = [np.zeros(sizes[0], dtype=bool), np.ones(sizes[1], dtype=bool)]
        rule = fit_rule(name, [shop_snapshot, older], outcomes, horizon_days=60)
        said = np.array([rule.p_purchase(snapshot).sum() for snapshot in (shop_snapshot, older)])
        assert said @ [1, 0.5] / (sizes @ [1, 0.5]) == pytest.approx(sizes[1] / 2 / (sizes @ [1, 0.5]), abs=0.005)

    def test_follows_its_number(self, shop_snapshot: Snapshot, bought: np.ndarray, name: str) -> None:
        p = fit_rule(name, [shop_snapshot], [bought], horizon_days=90).p_purchase(shop_snapshot)
        order = np.argsort(RULE_SCORES[name](shop_snapshot), kind="stable")
        assert (np.diff(p[order]) >= 0).all()
        assert p[order[-1]] > p[order[0]] + 0.1

    def test_is_never_certain(
        self, shop_snapshots: Snapshots, shop_snapshot: Snapshot, bought: np.ndarray, name: str
    ) -> None:
        for outcome in (bought, np.ones_like(bought), np.zeros_like(bought)):
            p = fit_rule(name, [shop_snapshot], [outcome], horizon_days=90).p_purchase(
                shop_snapshots.at(shop_snapshot.as_of)
            )
            assert ((p > 0) & (p < 1)).all()

    def test_is_plain_numbers(self, shop_snapshot: Snapshot, bought: np.ndarray, name: str) -> None:
        rule = fit_rule(name, [shop_snapshot, shop_snapshot], [bought, bought], horizon_days=90)
        saved = json.loads(json.dumps(rule.to_dict(), allow_nan=False))
        assert saved == {"name": name, "knots": list(rule.knots), "shares": list(rule.shares)}


def test_days_since_last_is_the_only_thing_that_counts(shop_snapshot: Snapshot, bought: np.ndarray) -> None:
    p = fit_rule("days_since_last", [shop_snapshot], [bought], horizon_days=90).p_purchase(shop_snapshot)
    silence = shop_snapshot.features["days_since_last"]
    for day in np.unique(silence)[:40]:
        assert len(set(p[silence == day])) == 1
