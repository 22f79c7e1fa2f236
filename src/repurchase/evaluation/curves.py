"""What the calibration and gains pictures are drawn from."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from repurchase.evaluation.cutoffs import Cutoff
from repurchase.evaluation.metrics import calibration_bins, found_share
from repurchase.evaluation.ties import Floats

__all__ = ["CONTACTED", "calibration_row", "gains_row"]

CONTACTED = np.round(np.linspace(0, 1, 51), 2)
"""Shares of customers contacted at which gains curves are kept."""


def calibration_row(cutoffs: Sequence[Cutoff], *, predictor: str) -> dict[str, Any]:
    """Promised against actual share of buyers, over all cut-offs together.

    Parameters
    ----------
    cutoffs : sequence of Cutoff
        Of one horizon, where the predictor spoke; at least one. A customer counts once for each.
    predictor : str
        Whose probabilities.

    Returns
    -------
    dict
        ``horizon_days``, ``predictor``, ``bins``: ten groups of equal count, by rising probability.
    """
    bought = np.concatenate([cutoff.bought for cutoff in cutoffs])
    bins = calibration_bins(bought, np.concatenate([cutoff.said[predictor].p for cutoff in cutoffs]))
    groups = zip(bins.predicted.tolist(), bins.observed.tolist(), bins.size.tolist(), strict=True)
    shown = [{"p_mean": p, "bought_share": share, "n": n} for p, share, n in groups]
    return {"horizon_days": cutoffs[0].horizon_days, "predictor": predictor, "bins": shown}


def gains_row(cutoffs: Sequence[Cutoff], *, predictor: str) -> dict[str, Any]:
    """Shares of buyers and of spend found by contacting the top of the list, mean of the cut-offs' curves.

    Buyers are sought by probability; spend by expected spend, or by probability where none is expected.

    Parameters
    ----------
    cutoffs : sequence of Cutoff
        Of one horizon, where the predictor spoke; at least one.
    predictor : str
        Whose list.

    Returns
    -------
    dict
        ``horizon_days``, ``predictor``, ``contacted_share``, ``buyers_share``, ``spend_share``; a curve is None where
        there was nothing to find.
    """
    buyers = [found_share(cutoff.bought, cutoff.said[predictor].p, CONTACTED) for cutoff in cutoffs]
    money = [
        found_share(cutoff.spend, cutoff.said[predictor].spend_order, CONTACTED)
        for cutoff in cutoffs
        if cutoff.spend is not None
    ]
    return {
        "horizon_days": cutoffs[0].horizon_days,
        "predictor": predictor,
        "contacted_share": CONTACTED.tolist(),
        "buyers_share": _mean_curve(buyers),
        "spend_share": _mean_curve(money),
    }


def _mean_curve(curves: Sequence[Floats]) -> list[float] | None:
    defined = [curve.tolist() for curve in curves if not np.isnan(curve).any()]
    return [sum(points) / len(defined) for points in zip(*defined, strict=True)] if defined else None
