"""What every predictor gives."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.accuracy.logs import Log


@dataclass(frozen=True)
class Prediction:
    """In the order of ``Days.customer_id``: P(a purchase day), and expected spend where there is money."""

    p: np.ndarray
    spend: np.ndarray | None = None


Predictor = Callable[[Log, int], Prediction]
