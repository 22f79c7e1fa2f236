"""When the next order comes, read off the curve of probabilities over the horizons."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

__all__ = ["days_to_next_order"]

Floats = npt.NDArray[np.float64]

WITHIN_DAYS = 365
QUANTILES = (0.10, 0.50, 0.90)


def days_to_next_order(curve: Mapping[int, Floats]) -> tuple[Floats, Floats, Floats]:
    """Days until the next order: median and the range that holds 80 %, among those who do order within a year.

    Between horizons the hazard -log(1 - p) grows evenly.

    Parameters
    ----------
    curve : mapping of int to array of shape (n_customers,)
        Horizon to probability, rising; the last horizon up to 365 days is the window.

    Returns
    -------
    low, median, high : arrays of shape (n_customers,)
        Days after ``as_of``, >= 1; NaN for whom an order in the window is not more likely than not.
    """
    horizons = [horizon for horizon in sorted(curve) if horizon <= WITHIN_DAYS]
    if not horizons:
        nothing = np.full(len(next(iter(curve.values()))), np.nan)
        return nothing, nothing, nothing
    within = curve[horizons[-1]]
    low, median, high = (_days_until(share * within, horizons, curve) for share in QUANTILES)
    likely = within > 0.5
    return np.where(likely, low, np.nan), np.where(likely, median, np.nan), np.where(likely, high, np.nan)


def _days_until(p: Floats, horizons: list[int], curve: Mapping[int, Floats]) -> Floats:
    wanted = _hazard(p)
    days = np.full_like(p, float(horizons[-1]))
    before_day, before_hazard = 0, np.zeros_like(p)
    reached = np.zeros(len(p), dtype=bool)
    for horizon in horizons:
        hazard = _hazard(curve[horizon])
        here = ~reached & (wanted <= hazard)
        step = np.maximum(hazard - before_hazard, 1e-12)
        days = np.where(here, before_day + (horizon - before_day) * (wanted - before_hazard) / step, days)
        reached |= here
        before_day, before_hazard = horizon, hazard
    return np.asarray(np.clip(np.ceil(days), 1.0, None))


def _hazard(p: Floats) -> Floats:
    return np.asarray(-np.log1p(-np.clip(p, 0.0, 1.0 - 1e-9)))
