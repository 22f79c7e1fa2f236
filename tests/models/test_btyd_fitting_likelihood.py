"""Likelihoods: equal to the papers' formulas term by term, and their derivatives to finite differences."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import betaln, gammaln

from repurchase.models.btyd.fitting import (
    Likelihood,
    LikelihoodPoint,
    newton_maximize,
    purchase_likelihood,
    spend_likelihood,
    with_prior,
)
from repurchase.models.btyd.model import Family, count_equal_rows

Floats = npt.NDArray[np.float64]

ROWS = np.array(
    [[0, 0, 0], [0, 0, 300], [1, 0, 5], [1, 200, 400], [2, 50, 600], [3, 90, 90], [40, 700, 731], [900, 100, 731]],
    dtype=np.float64,
)
WEIGHTS = np.array([3.0, 40.0, 2.0, 20.0, 9.0, 4.0, 5.0, 1.0])
PURCHASES = ([0.6, 45.0, 0.9, 2.5], [3.0, 400.0, 0.02, 30.0], [0.05, 1.0, 6.0, 0.3], [200.0, 5_000.0, 40.0, 1e-3])
MONEY = ([6.0, 4.0, 15.0], [0.3, 1.2, 900.0], [400.0, 30.0, 0.2])


def by_the_paper(family: Family, parameters: list[float]) -> float:
    """Equation 6 of Fader, Hardie & Lee (2005); Batislam et al. (2007) count the first purchase too."""
    (x, t_x, T), (r, alpha, a, b) = ROWS.T, parameters
    shift = 0.0 if family == "bgnbd" else 1.0
    rate = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
    stayed = betaln(a, b + x + shift) - betaln(a, b) - (r + x) * np.log(alpha + T)
    with np.errstate(invalid="ignore"):
        left = betaln(a + 1, b + x - 1 + shift) - betaln(a, b) - (r + x) * np.log(alpha + t_x)
    left = np.where((x > 0) | (family == "mbgnbd"), left, -np.inf)
    return float((WEIGHTS * (rate + np.logaddexp(stayed, left))).sum())


def money_rows() -> tuple[Floats, Floats, Floats]:
    return np.array([1.0, 1.0, 2.0, 5.0, 3_000.0]), np.array([0.01, 30.0, 55.5, 20.0, 1e4]), np.arange(1.0, 6.0)


def money_by_the_paper(parameters: list[float]) -> float:
    """Equation 1a of Fader & Hardie (2013)."""
    (x, m, weights), (p, q, v) = money_rows(), parameters
    terms = gammaln(p * x + q) - gammaln(p * x) - gammaln(q) + q * np.log(v) + (p * x - 1) * np.log(m)
    return float((weights * (terms + p * x * np.log(x) - (p * x + q) * np.log(x * m + v))).sum())


def require_true_derivatives(likelihood: Likelihood, theta: Floats) -> None:
    """Slope and curvature against differences of the value and of the slope, relative to their largest element."""
    point = likelihood(theta)
    steps = 1e-5 * np.eye(len(theta))
    slope = [(likelihood(theta + step).value - likelihood(theta - step).value) / 2e-5 for step in steps]
    curvature = [(likelihood(theta + step).slope - likelihood(theta - step).slope) / 2e-5 for step in steps]
    np.testing.assert_allclose(point.slope, slope, atol=1e-6 * np.abs(point.slope).max())
    np.testing.assert_allclose(point.curvature, curvature, atol=1e-6 * np.abs(point.curvature).max())
    assert (point.curvature == point.curvature.T).all()


@pytest.mark.parametrize("family", ["bgnbd", "mbgnbd"])
@pytest.mark.parametrize("parameters", PURCHASES)
class TestPurchases:
    def test_value_is_the_papers(self, family: Family, parameters: list[float]) -> None:
        found = purchase_likelihood(family, ROWS, WEIGHTS)(np.log(parameters)).value
        assert found == pytest.approx(by_the_paper(family, parameters), rel=1e-11)

    def test_derivatives_are_those_of_the_value(self, family: Family, parameters: list[float]) -> None:
        require_true_derivatives(purchase_likelihood(family, ROWS, WEIGHTS), np.log(parameters))

    def test_weights_are_repeated_rows(self, family: Family, parameters: list[float]) -> None:
        repeated = np.repeat(ROWS, WEIGHTS.astype(int), axis=0)
        one = purchase_likelihood(family, ROWS, WEIGHTS)(np.log(parameters))
        other = purchase_likelihood(family, repeated, np.ones(len(repeated)))(np.log(parameters))
        assert other.value == pytest.approx(one.value, rel=1e-13)
        np.testing.assert_allclose(other.slope, one.slope, rtol=1e-11)
        np.testing.assert_allclose(other.curvature, one.curvature, rtol=1e-11)


def test_rows_are_added_up_beyond_one_block(
    simulate_customers: Callable[..., tuple[Floats, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, weights = count_equal_rows(*simulate_customers("bgnbd", customers=500, r=0.8, alpha=30.0, a=0.5, b=2.0)[:3])
    whole = purchase_likelihood("mbgnbd", rows, weights)(np.zeros(4))
    monkeypatch.setattr("repurchase.models.btyd.fitting._BLOCK_ROWS", 64)
    blocks = purchase_likelihood("mbgnbd", rows, weights)(np.zeros(4))
    assert blocks.value == pytest.approx(whole.value, rel=1e-13)
    np.testing.assert_allclose(blocks.curvature, whole.curvature, rtol=1e-11)


def test_no_digit_is_lost_where_dropout_vanishes() -> None:
    """ln B(a, b + c) / B(a, b) is -a sum 1 / (b + i) but for a^2; a difference of log-gammas would give 0 here."""
    rows, weights = np.array([[5.0, 100.0, 100.0]]), np.ones(1)
    hardly, never = (purchase_likelihood("bgnbd", rows, weights)(np.log([1.0, 50.0, a, 1e3])) for a in (1e-6, 1e-30))
    lost = sum(1.0 / (1e3 + i) for i in range(5)) - 1.0 / (1e3 + 4.0)  # stayed five times, or left after the fifth
    assert (never.value - hardly.value) / 1e-6 == pytest.approx(lost, rel=1e-3)
    assert hardly.slope[2] == pytest.approx(-1e-6 * lost, rel=1e-6)


@pytest.mark.parametrize("parameters", MONEY)
class TestMoney:
    def test_value_is_the_papers(self, parameters: list[float]) -> None:
        found = spend_likelihood(*money_rows())(np.log(parameters)).value
        assert found == pytest.approx(money_by_the_paper(parameters), rel=1e-9)

    def test_derivatives_are_those_of_the_value(self, parameters: list[float]) -> None:
        require_true_derivatives(spend_likelihood(*money_rows()), np.log(parameters))


def test_a_prior_adds_its_own_value_and_derivatives() -> None:
    likelihood, centre = spend_likelihood(*money_rows()), np.array([1.0, 2.0, 3.0])
    held = with_prior(likelihood, centre, spread=2.0)
    require_true_derivatives(held, np.log(MONEY[0]))
    assert held(centre).value == likelihood(centre).value
    aside = np.array([3.0, 2.0, 3.0])  # one standard deviation
    assert held(aside).value == likelihood(aside).value - 0.5


def valley(theta: Floats) -> LikelihoodPoint:
    """Minus Rosenbrock's function: a bent, narrow ridge, concave only near its peak at (1, 1)."""
    x, y = theta
    value = -((1 - x) ** 2) - 100 * (y - x**2) ** 2
    slope = np.array([2 * (1 - x) + 400 * x * (y - x**2), -200 * (y - x**2)])
    curvature = np.array([[-2 + 400 * y - 1200 * x**2, 400 * x], [400 * x, -200.0]])
    return LikelihoodPoint(value, slope, curvature)


class TestClimb:
    @pytest.mark.parametrize("start", [[-1.2, 1.0], [0.0, 3.0], [5.0, 5.0]])
    def test_reaches_the_peak_round_a_bend(self, start: list[float]) -> None:
        peak = newton_maximize(valley, np.array(start))
        assert peak.converged
        np.testing.assert_allclose(peak.at, [1.0, 1.0], rtol=1e-6)
        assert peak.least_identified[0] > 0

    def test_gives_up_where_it_rises_without_end(self) -> None:
        peak = newton_maximize(
            lambda theta: LikelihoodPoint(float(theta.sum()), np.ones(2), np.zeros((2, 2))), np.zeros(2)
        )
        assert not peak.converged

    def test_gives_up_on_what_is_no_number(self) -> None:
        nothing = LikelihoodPoint(float("nan"), np.full(2, np.nan), np.full((2, 2), np.nan))
        assert not newton_maximize(lambda _: nothing, np.zeros(2)).converged
        whole = LikelihoodPoint(0.0, np.ones(2), -np.eye(2))
        assert not newton_maximize(lambda theta: nothing if theta.any() else whole, np.zeros(2)).converged

    def test_a_plain_without_a_peak_is_hardly_known(self) -> None:
        peak = newton_maximize(
            lambda theta: LikelihoodPoint(-float(theta[0] ** 2), np.array([-2 * theta[0], 0.0]), np.diag([-2.0, 0.0])),
            np.ones(2),
        )
        information, direction = peak.least_identified
        assert information == pytest.approx(0.0, abs=1e-12)
        assert np.abs(direction).tolist() == [0.0, 1.0]
