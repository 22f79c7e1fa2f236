"""How good a prediction was."""

import numpy as np
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

PROBABILITY = ("auc", "average_precision", "log_loss", "ece")
SPEND = ("spend_gini", "spearman", "decile_error", "bias")
HIGHER_IS_BETTER = {"auc", "average_precision", "spend_gini", "spearman"}


def probability_metrics(bought: np.ndarray, p: np.ndarray) -> dict[str, float]:
    clipped = np.clip(p, 1e-6, 1 - 1e-6)
    return {
        "auc": float(roc_auc_score(bought, p)),
        "average_precision": float(average_precision_score(bought, p)),
        "log_loss": float(log_loss(bought, clipped)),
        "ece": calibration_error(bought, p),
    }


def spend_metrics(spend: np.ndarray, expected: np.ndarray) -> dict[str, float]:
    return {
        "spend_gini": _gini(spend, expected) / _gini(spend, spend),
        "spearman": float(spearmanr(spend, expected).statistic),
        "decile_error": decile_error(spend, expected),
        "bias": float(expected.sum() / spend.sum() - 1),
    }


def calibration_error(bought: np.ndarray, p: np.ndarray, *, groups: int = 10) -> float:
    """Mean gap between mean p and the share that bought, over equal groups by p."""
    parts = np.array_split(np.argsort(p, kind="stable"), groups)
    return float(sum(len(part) * abs(p[part].mean() - bought[part].mean()) for part in parts) / len(p))


def decile_error(spend: np.ndarray, expected: np.ndarray, *, highest: int = 5) -> float:
    """Mean relative error of group totals in the highest deciles of expected spend."""
    parts = np.array_split(np.argsort(-expected, kind="stable"), 10)[:highest]
    return float(np.mean([abs(expected[part].sum() / spend[part].sum() - 1) for part in parts]))


def _gini(spend: np.ndarray, order_by: np.ndarray) -> float:
    share = np.cumsum(spend[np.argsort(-order_by, kind="stable")]) / spend.sum()
    return float(share.mean() - 0.5)
