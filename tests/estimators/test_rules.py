"""The rules that a model has to beat, made as good as they can be."""

import json

import numpy as np
import pytest

from repurchase.estimators.cuts import Cut, Cuts
from repurchase.estimators.rules import RULES, fit_rule


@pytest.fixture(scope="module")
def bought(shop_cuts: Cuts, shop_cut: Cut) -> np.ndarray:
    return shop_cuts.outcomes(shop_cut, horizon_days=60).bought


@pytest.mark.parametrize("name", RULES)
class TestRule:
    def test_says_what_happened_on_average(self, shop_cut: Cut, bought: np.ndarray, name: str) -> None:
        """Where a rule says about p, about p bought: in each fifth, to half a percentage point."""
        p = fit_rule(name, [shop_cut], [bought], horizon_days=90).p_purchase(shop_cut)
        assert p.mean() == pytest.approx(bought.mean(), abs=0.001)
        order = np.argsort(p, kind="stable")
        levels = np.split(order, np.flatnonzero(np.diff(p[order])) + 1)  # isotonic: each level is a mean
        assert len(levels) > 5
        for level in levels:
            margin = 0.5 / len(bought)
            assert p[level[0]] == pytest.approx(np.clip(bought[level].mean(), margin, 1 - margin), abs=1e-9)

    def test_follows_its_number(self, shop_cut: Cut, bought: np.ndarray, name: str) -> None:
        p = fit_rule(name, [shop_cut], [bought], horizon_days=90).p_purchase(shop_cut)
        order = np.argsort(RULES[name](shop_cut), kind="stable")
        assert (np.diff(p[order]) >= 0).all()
        assert p[order[-1]] > p[order[0]] + 0.1

    def test_is_never_certain(self, shop_cuts: Cuts, shop_cut: Cut, bought: np.ndarray, name: str) -> None:
        for outcome in (bought, np.ones_like(bought), np.zeros_like(bought)):
            p = fit_rule(name, [shop_cut], [outcome], horizon_days=90).p_purchase(shop_cuts.at(shop_cut.as_of))
            assert ((p > 0) & (p < 1)).all()

    def test_is_plain_numbers(self, shop_cut: Cut, bought: np.ndarray, name: str) -> None:
        rule = fit_rule(name, [shop_cut, shop_cut], [bought, bought], horizon_days=90)
        saved = json.loads(json.dumps(rule.to_dict(), allow_nan=False))
        assert saved == {"name": name, "knots": list(rule.knots), "shares": list(rule.shares)}


def test_days_since_last_is_the_only_thing_that_counts(shop_cut: Cut, bought: np.ndarray) -> None:
    p = fit_rule("days_since_last", [shop_cut], [bought], horizon_days=90).p_purchase(shop_cut)
    silence = shop_cut.features["days_since_last"].to_numpy()
    for day in np.unique(silence)[:40]:
        assert len(set(p[silence == day])) == 1
