"""What a fitted model is made of: plain numbers and scikit-learn estimators, never a customer."""

from dataclasses import dataclass
from typing import Any

__all__ = ["ModelState"]


@dataclass(frozen=True)
class ModelState:
    """A fitted model, ready to be written down.

    Parameters
    ----------
    parameters : dict
        JSON-able values; each top-level key has one meaning (``btyd``, ``calibration``, ``tiers`` …).
    estimators : dict
        Fitted scikit-learn estimators by name.
    """

    parameters: dict[str, Any]
    estimators: dict[str, Any]
