"""Exceptions that repurchase raises.

The tree::

    RepurchaseError
    ├── InputError (ValueError)      the caller's input is at fault: one line, exit code 2
    │   ├── LayoutError              the columns of an export are not recognised
    │   ├── OrdersError              the rows cannot be used as orders
    │   ├── InsufficientHistory      too few customers or too short a history
    │   └── LeakageError             outcomes that lie after the day that may be known
    ├── FitError                     an estimator found no usable parameters, and no fallback applies
    ├── BundleError                  a saved model is missing, damaged or not ours
    ├── PromotionRefused             the gate: the new model does not beat the champion and the rules
    └── DeliveryError                results cannot be written to the requested place

A message says what was found, what was expected, how many, the first few, and what to do.

>>> raise InsufficientHistory("orders.csv: 1 customer; at least 50 are needed. Send a longer export.")
Traceback (most recent call last):
    ...
repurchase.errors.InsufficientHistory: orders.csv: 1 customer; at least 50 are needed. Send a longer export.
"""

from collections.abc import Iterable

MAX_EXAMPLES = 5


class RepurchaseError(Exception):
    """The root of everything raised on purpose; on the command line one line and exit code 2.

    Parameters
    ----------
    message : str
        What was found, what was expected, how many, the first few, and what to do.
    withheld : str or iterable of str
        The parts of it that quote rows of customers: shown to whoever runs the command, kept out of log files.
    """

    withheld: str | tuple[str, ...]

    def __init__(self, message: str = "", *, withheld: str | Iterable[str] = "") -> None:
        super().__init__(message)
        self.withheld = withheld if isinstance(withheld, str) else tuple(withheld)

    @property
    def log_message(self) -> str:
        """The message without what is withheld, here or by the error that caused it."""
        message = str(self)
        fault: BaseException | None = self
        while fault is not None:
            if isinstance(fault, RepurchaseError):
                parts = (fault.withheld,) if isinstance(fault.withheld, str) else fault.withheld
                for part in sorted(filter(None, parts), key=len, reverse=True):
                    message = message.replace(part, "…")
            fault = fault.__cause__
        return message


class InputError(RepurchaseError, ValueError):
    """The caller's input is at fault."""


class LayoutError(InputError):
    """The columns of an export are not recognised."""


class OrdersError(InputError):
    """The rows cannot be used as orders."""


class NoRowsError(OrdersError):
    """A table has no rows."""


class InsufficientHistory(InputError):  # noqa: N818 - the name says what is wrong, as in pandas' EmptyDataError
    """Too few customers, or too short a history, for the request."""


class LeakageError(InputError):
    """Outcomes lie after the day that may be known."""


class FitError(RepurchaseError):
    """An estimator found no usable parameters, and no fallback applies."""


class BundleError(RepurchaseError):
    """A saved model is missing, damaged or not ours."""


class PromotionRefused(RepurchaseError):  # noqa: N818 - a refusal is an answer, not a fault
    """The gate: the new model does not beat the champion and the rules."""


class DeliveryError(RepurchaseError):
    """Results cannot be written to the requested place."""


def counted(number: int, noun: str) -> str:
    """Write a number with its noun: ``1 order``, ``1,200 orders``."""
    return f"1 {noun}" if number == 1 else f"{number:,} {noun}s"


def first_few(values: Iterable[object], *, shown: int = MAX_EXAMPLES) -> str:
    """Join the first few offenders for a message.

    Parameters
    ----------
    values : iterable
        The offenders.
    shown : int
        How many to spell out.

    Returns
    -------
    str
        The values, comma-separated, and how many more there are.

    Examples
    --------
    >>> first_few(["a", "b", "c"], shown=2)
    'a, b, and 1 more'
    """
    items = [str(value) for value in values]
    if len(items) <= shown:
        return ", ".join(items)
    return f"{', '.join(items[:shown])}, and {len(items) - shown:,} more"
