import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repurchase.evaluation.drift import chance_psi, expected_band, psi

SHARES = st.lists(st.floats(0.01, 1.0), min_size=2, max_size=10)


def test_by_hand() -> None:
    # (0.3 - 0.2) ln(0.3/0.2) + (0.3 - 0.5) ln(0.3/0.5) + (0.4 - 0.3) ln(0.4/0.3)
    expected = 0.1 * math.log(1.5) - 0.2 * math.log(0.6) + 0.1 * math.log(4 / 3)

    assert psi([0.2, 0.5, 0.3], [0.3, 0.3, 0.4]) == pytest.approx(expected, abs=1e-15)


def test_an_empty_bin_costs_much_but_not_everything() -> None:
    assert psi([1.0, 0.0], [0.9, 0.1]) == pytest.approx(0.1 * math.log(1 / 0.9) + 0.0999 * math.log(1000), abs=1e-6)


@given(SHARES, st.randoms(use_true_random=False))
def test_never_negative_the_same_both_ways_and_in_any_order_of_bins(weights, random) -> None:
    then = np.array(weights) / sum(weights)
    now = np.array(random.sample(list(then), len(then)))
    order = random.sample(range(len(then)), len(then))

    assert psi(then, now) >= 0
    assert psi(then, then) == 0
    assert psi(then, now) == pytest.approx(psi(now, then), abs=1e-12)
    assert psi(then[order], now[order]) == pytest.approx(psi(then, now), abs=1e-12)


@given(SHARES)
def test_merging_bins_never_raises_it(weights) -> None:
    then = np.array(weights) / sum(weights)
    now = then[::-1]

    assert psi([then[0] + then[1], *then[2:]], [now[0] + now[1], *now[2:]]) <= psi(then, now) + 1e-12


@pytest.mark.parametrize(("n", "m", "bins"), [(500, 500, 10), (2000, 300, 4)])
def test_chance_passes_its_bound_about_once_in_700(n, m, bins) -> None:
    rng, shares = np.random.default_rng(1), np.full(bins, 1 / bins)

    drawn = [psi(rng.multinomial(n, shares) / n, rng.multinomial(m, shares) / m) for _ in range(4000)]

    assert np.mean(np.array(drawn) > chance_psi(n, m, bins=bins)) == pytest.approx(1 / 700, abs=0.002)
    assert np.mean(drawn) == pytest.approx((1 / n + 1 / m) * (bins - 1), rel=0.1)


def test_a_band_is_as_wide_as_the_next_figure_may_stray() -> None:
    rng = np.random.default_rng(2)
    outside = 0
    for _ in range(2000):
        *past, following = rng.normal(5.0, 1.0, 30)
        mean, sd = expected_band(past, least_sd=0.1)
        outside += abs(following - mean) > 2 * sd
    assert outside / 2000 == pytest.approx(0.055, abs=0.015)
    assert expected_band([3.0], least_sd=0.1) == (3.0, pytest.approx(0.1 * math.sqrt(2)))
