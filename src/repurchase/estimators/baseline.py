"""What customers are measured against: fitted once, so that features mean the same at every snapshot."""

from dataclasses import dataclass

from repurchase.estimators.btyd import Btyd
from repurchase.features.history import MONEY

__all__ = ["USUAL_SPEND", "Baseline", "money_unit_of"]

UNITS_OF_TYPICAL_SPEND = 32
"""In which the models count a typical purchase day: a power of two, which leaves every bit of a number as it is. Curves
bend money as log(1 + x), so that what is far below a typical purchase day counts as next to nothing."""
USUAL_SPEND = UNITS_OF_TYPICAL_SPEND * MONEY
"""Typical purchase day, in integer units of money, of a log without money; models saved without one count money in its
own unit, which is the same."""


def money_unit_of(typical_spend: int) -> float:
    """Choose the unit in which features count money.

    Parameters
    ----------
    typical_spend : int
        Typical purchase day, in integer units of money.

    Returns
    -------
    float
        Integer units of money that count as one.
    """
    return typical_spend / UNITS_OF_TYPICAL_SPEND


@dataclass(frozen=True)
class Baseline:
    """What the features of customers are measured against: fitted on what was known on one day.

    Parameters
    ----------
    btyd, other_btyd : Btyd
        The model of the blend, and the one of the other family: they differ most on one-time buyers.
    typical_spend : int
        Median purchase day, in integer units of money: no feature depends on the currency.
    """

    btyd: Btyd
    other_btyd: Btyd
    typical_spend: int

    @property
    def money_unit(self) -> float:
        """Integer units of money that features count as one."""
        return money_unit_of(self.typical_spend)
