"""The peers: rules, parametric models, boosting on plain features, and the plain blend."""

from functools import lru_cache

import numpy as np

from benchmarks.accuracy.btyd import btyd_prediction
from benchmarks.accuracy.logs import Days, Log
from benchmarks.accuracy.prediction import Prediction, Predictor
from benchmarks.accuracy.windows import window_features

TREES = 200
LEARNING_RATE = 0.03
LEAVES = 15
MIN_LEAF = 50
MAX_TRAINING_CUTOFFS = 6
MIN_HISTORY_HORIZONS = 1 / 3


def recency(log: Log, cutoff: int) -> Prediction:
    days = log.history(cutoff)
    return Prediction(1 / (1.0 + cutoff - days.last))


def past_rate(log: Log, cutoff: int) -> Prediction:
    """The customer's own purchases a day so far go on."""
    days = log.history(cutoff)
    expected = days.count / (cutoff - days.first + 1) * log.horizon_days
    if not days.has_money:
        return Prediction(-np.expm1(-expected))
    total = np.bincount(days.customer, weights=days.spend, minlength=days.n)
    return Prediction(-np.expm1(-expected), expected * total / days.count)


def btyd(kind: str) -> Predictor:
    def predict(log: Log, cutoff: int) -> Prediction:
        return btyd_prediction(kind, log.history(cutoff), log.horizon_days)

    return predict


def hgb(log: Log, cutoff: int) -> Prediction:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    settings = {
        "max_iter": TREES,
        "learning_rate": LEARNING_RATE,
        "max_leaf_nodes": LEAVES,
        "min_samples_leaf": MIN_LEAF,
    }
    settings |= {"l2_regularization": 1.0, "early_stopping": False, "random_state": 0}
    return _boosted(
        log,
        cutoff,
        HistGradientBoostingClassifier(**settings),
        HistGradientBoostingRegressor(loss="squared_error", **settings),
    )


def lgbm(log: Log, cutoff: int) -> Prediction:
    from lightgbm import LGBMClassifier, LGBMRegressor

    settings = {
        "n_estimators": TREES,
        "learning_rate": LEARNING_RATE,
        "num_leaves": LEAVES,
        "min_child_samples": MIN_LEAF,
    }
    settings |= {"subsample": 0.8, "subsample_freq": 1, "colsample_bytree": 0.8}
    settings |= {"random_state": 0, "n_jobs": 1, "verbose": -1}
    return _boosted(log, cutoff, LGBMClassifier(**settings), LGBMRegressor(objective="tweedie", **settings))


def blend(log: Log, cutoff: int) -> Prediction:
    """The mean of the logits of ``hgb`` and ``mbgnbd``, untuned."""
    p = np.array([PEERS[name](log, cutoff).p for name in ("hgb", "mbgnbd")]).clip(1e-6, 1 - 1e-6)
    return Prediction(1 / (1 + np.exp(-np.log(p / (1 - p)).mean(axis=0))))


def training_rows(log: Log, cutoff: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Features and outcomes at earlier cut-offs, half a horizon apart, whose outcomes were known at ``cutoff``."""
    h = log.horizon_days
    earlier = [cutoff - h - round(step * h / 2) for step in range(MAX_TRAINING_CUTOFFS)]
    usable = [day for day in earlier if day >= log.first_day + MIN_HISTORY_HORIZONS * h] or earlier[:1]
    histories = [log.history(day) for day in usable]
    outcomes = [log.outcome(days) for days in histories]
    features = np.concatenate([window_features(days, h) for days in histories])
    bought = np.concatenate([outcome.bought for outcome in outcomes])
    spends = [outcome.spend for outcome in outcomes if outcome.spend is not None]
    return features, bought, np.concatenate(spends) if spends else None


def _boosted(log: Log, cutoff: int, classifier, regressor) -> Prediction:
    features, bought, spend = training_rows(log, cutoff)
    now: Days = log.history(cutoff)
    rows = window_features(now, log.horizon_days)
    p = classifier.fit(features, bought).predict_proba(rows)[:, 1]
    if spend is None:
        return Prediction(p)
    return Prediction(p, regressor.fit(features, spend.clip(0)).predict(rows).clip(0))


def cached(predictor: Predictor) -> Predictor:
    """Each peer is fitted once per log and cut-off, also when the blend asks again."""
    return lru_cache(maxsize=None)(predictor)


PEERS: dict[str, Predictor] = {
    "recency": cached(recency),
    "past_rate": cached(past_rate),
    "bgnbd": cached(btyd("bgnbd")),
    "mbgnbd": cached(btyd("mbgnbd")),
    "pareto": cached(btyd("pareto")),
    "hgb": cached(hgb),
    "lgbm": cached(lgbm),
    "blend": cached(blend),
}
