"""Ranges of spend as users of lifetimes get them: simulated from fitted BG/NBD and Gamma-Gamma."""

import numpy as np

from benchmarks.accuracy.btyd import fit_family, fit_money
from benchmarks.accuracy.logs import Days

DRAWS = 400
MOST_PURCHASES = 200


def simulate_spend(days: Days, horizon_days: int, *, seed: int = 0) -> np.ndarray | None:
    """Draw every customer's spend in the next ``horizon_days``: array of shape (draws, customers), or None.

    Given the past, a customer is alive with P(alive), buys at a rate from Gamma(r + x, alpha + T), leaves after a
    purchase with a chance from Beta(a, b + x), and spends Gamma(p, nu) a purchase, nu from Gamma(p x + q, v + x m).
    """
    x, t_x, T = (v.astype(float) for v in (days.count - 1, days.last - days.first, days.cutoff - days.first))
    purchases = fit_family("bgnbd", x, t_x, T)
    money, mean = fit_money(days)
    if not money:
        return None
    alive = np.asarray(purchases.conditional_probability_alive(x, t_x, T))
    rng = np.random.default_rng(seed)
    draws = np.empty((DRAWS, days.n), dtype=np.float32)
    for row in draws:
        count = _purchases(rng, purchases.params_, alive, x, T, horizon_days)
        nu = rng.gamma(money["p"] * x + money["q"]) / (money["v"] + x * mean)
        row[:] = np.where(count > 0, rng.gamma(np.maximum(money["p"] * count, 1e-9)) / nu, 0.0)
    return draws


def _purchases(rng, params, alive, x, T, horizon_days) -> np.ndarray:
    rate = rng.gamma(params["r"] + x) / (params["alpha"] + T)
    leaves = rng.beta(params["a"], params["b"] + x)
    there = rng.random(len(x)) < alive
    count, clock = np.zeros(len(x)), np.zeros(len(x))
    for _ in range(MOST_PURCHASES):
        active = np.flatnonzero(there)
        if not len(active):
            break
        clock[active] += rng.exponential(size=len(active)) / rate[active]
        in_time = active[clock[active] < horizon_days]
        count[in_time] += 1
        there[:] = False
        there[in_time] = rng.random(len(in_time)) >= leaves[in_time]
    return count
