"""Peers from lifetimes: BG/NBD, MBG/NBD and Pareto/NBD, spend with Gamma-Gamma."""

import warnings

import numpy as np
import pandas as pd

from benchmarks.accuracy.logs import Days
from benchmarks.accuracy.prediction import Prediction

PENALIZERS = (0.0, 0.001, 0.01, 0.1)


def btyd_prediction(kind: str, days: Days, horizon_days: int) -> Prediction:
    """Maximum likelihood at the cut-off, then everybody's next ``horizon_days``.

    For BG/NBD and MBG/NBD, P(a purchase) = P(alive) (1 - ((alpha+T)/(alpha+T+h))^(r+x)).
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _prediction(kind, days, horizon_days)


def _prediction(kind: str, days: Days, horizon_days: int) -> Prediction:
    x, t_x, T = (v.astype(float) for v in (days.count - 1, days.last - days.first, days.cutoff - days.first))
    fitter = fit_family(kind, x, t_x, T)
    with np.errstate(all="ignore"):
        expected = np.asarray(fitter.conditional_expected_number_of_purchases_up_to_time(horizon_days, x, t_x, T))
        if kind == "pareto":
            none = fitter.conditional_probability_of_n_purchases_up_to_time(0, horizon_days, x, t_x, T)
            p = 1 - np.asarray(none)
        else:
            r, alpha = fitter.params_["r"], fitter.params_["alpha"]
            alive = np.asarray(fitter.conditional_probability_alive(x, t_x, T))
            p = alive * -np.expm1((r + x) * (np.log(alpha + T) - np.log(alpha + T + horizon_days)))
    p = np.nan_to_num(p, nan=float(np.nanmean(p)))
    expected = np.nan_to_num(expected, nan=float(np.nanmean(expected)))
    return Prediction(p.clip(0, 1), expected * _mean_value(days) if days.has_money else None)


def fit_family(kind: str, x: np.ndarray, t_x: np.ndarray, T: np.ndarray):
    from lifetimes import BetaGeoFitter, ModifiedBetaGeoFitter, ParetoNBDFitter
    from lifetimes.utils import ConvergenceError

    fitters = {"bgnbd": BetaGeoFitter, "mbgnbd": ModifiedBetaGeoFitter, "pareto": ParetoNBDFitter}
    rows = pd.DataFrame({"x": x, "t_x": t_x, "T": T}).value_counts().reset_index()
    for penalizer in PENALIZERS:
        try:
            fitter = fitters[kind](penalizer_coef=penalizer)
            return fitter.fit(rows["x"], rows["t_x"], rows["T"], weights=rows["count"])
        except ConvergenceError:
            continue
    raise RuntimeError(f"{kind} does not converge")


def _mean_value(days: Days) -> np.ndarray:
    x = days.count - 1
    params, mean = fit_money(days)
    if params:
        p, q, v = (params[name] for name in "pqv")
        return np.asarray(p * (v + x * mean) / (p * x + q - 1))
    repeat = (x > 0) & (mean > 0)
    return np.where(repeat, mean, mean[repeat].mean())


def fit_money(days: Days) -> tuple[dict[str, float], np.ndarray]:
    """Gamma-Gamma's parameters, empty where no fit has a mean (q > 1), and each customer's mean repeat spend."""
    from lifetimes import GammaGammaFitter
    from lifetimes.utils import ConvergenceError

    x = days.count - 1
    total = np.bincount(days.customer, weights=days.spend, minlength=days.n)
    mean = np.where(x > 0, (total - days.spend[days.starts]) / np.maximum(x, 1), 0.0).clip(0)
    repeat = (x > 0) & (mean > 0)
    for penalizer in PENALIZERS:
        try:
            fitter = GammaGammaFitter(penalizer_coef=penalizer)
            fitter.fit(pd.Series(x[repeat]), pd.Series(mean[repeat]))
        except ConvergenceError:
            continue
        if fitter.params_["q"] > 1:
            return dict(fitter.params_), mean
    return {}, mean
