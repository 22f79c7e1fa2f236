"""The long table of predictions, cut into what is judged at once: one horizon, one cut-off, all predictors."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import polars as pl

from repurchase.errors import InputError, first_few
from repurchase.evaluation.ties import Floats

__all__ = ["BTYD", "MODEL", "PARTS", "RULES", "Cutoff", "Prediction", "cutoffs_at", "rules_everywhere"]

MODEL = "model"
RULES = {"days_since_last": "days since the last order", "past_rate": "the customer's own past rate"}
"""Rules a shop could follow without a model, calibrated on earlier outcomes, and their names in sentences."""
BTYD = "btyd"
PARTS = (BTYD, "additive", "boosting")

_COLUMNS = ("horizon_days", "cutoff", "predictor", "customer", "p", "spend_expected", "bought", "spend")


@dataclass(frozen=True)
class Prediction:
    """What one predictor said at one cut-off.

    Parameters
    ----------
    p : array of shape (n,)
        Probability of a purchase within the horizon.
    spend : array of shape (n,), optional
        Net spend expected within the horizon.
    purchase_days : array of shape (n,), optional
        Purchase days expected within the horizon.
    """

    p: Floats
    spend: Floats | None
    purchase_days: Floats | None = None

    @property
    def spend_order(self) -> Floats:
        """What customers are ranked by to find spend: expected spend, or the probability where there is none."""
        return self.p if self.spend is None else self.spend


@dataclass(frozen=True)
class Cutoff:
    """One horizon at one cut-off: what came, and what each predictor had said.

    Parameters
    ----------
    day : date
        Last day known to the predictors.
    horizon_days : int
        Outcomes are of the days in (``day``, ``day`` + ``horizon_days``].
    customers : array of shape (n,)
        Who, rising.
    bought : array of shape (n,)
        Whether there was a purchase day.
    spend : array of shape (n,), optional
        Net spend that came; None where the log has no money.
    said : dict of str to Prediction
        By predictor.
    purchase_days : array of shape (n,), optional
        On how many days they bought.
    """

    day: date
    horizon_days: int
    customers: npt.NDArray[np.int64]
    bought: npt.NDArray[np.bool_]
    spend: Floats | None
    said: dict[str, Prediction]
    purchase_days: Floats | None = None


def cutoffs_at(predictions: pl.DataFrame, *, horizon_days: int) -> list[Cutoff]:
    """Cut one horizon's predictions by cut-off.

    A predictor without probabilities at a cut-off is left out there; the model may not be.

    Parameters
    ----------
    predictions : DataFrame
        One row per horizon, cut-off, predictor and customer, in any order; ``purchase_days`` and
        ``purchase_days_expected`` may be absent.
    horizon_days : int
        Which horizon.

    Returns
    -------
    list of Cutoff
        By rising day.

    Raises
    ------
    InputError
        If a column is missing, a probability is not one, or predictors speak of different customers or outcomes.
    """
    missing = [name for name in _COLUMNS if name not in predictions.columns]
    if missing:
        raise InputError(f"predictions: {len(missing)} of {len(_COLUMNS)} columns are missing: {first_few(missing)}.")
    at_horizon = predictions.filter(pl.col("horizon_days") == horizon_days)
    days = sorted(at_horizon["cutoff"].unique().to_list())
    return [_cutoff(at_horizon.filter(pl.col("cutoff") == day), day, horizon_days) for day in days]


def rules_everywhere(cutoffs: Sequence[Cutoff]) -> list[str]:
    """Rules that spoke at every cut-off.

    Parameters
    ----------
    cutoffs : sequence of Cutoff
        Of one horizon.

    Returns
    -------
    list of str
        In the order of ``RULES``.

    Raises
    ------
    InputError
        If there is none: without a rule there is nothing to be better than.
    """
    found = [rule for rule in RULES if all(rule in cutoff.said for cutoff in cutoffs)]
    if not found:
        raise InputError(
            f"predictions: no rule at every one of {len(cutoffs)} cut-offs. Expected one of {', '.join(RULES)}."
        )
    return found


def _cutoff(rows: pl.DataFrame, day: date, horizon_days: int) -> Cutoff:
    parts = dict(_complete_parts(rows, day, horizon_days))
    if MODEL not in parts:
        raise InputError(f"predictions: none of the model at cut-off {day}, {horizon_days} days ahead.")
    known = parts[MODEL].select("customer", "bought", "spend")
    n_twice = known.height - known["customer"].n_unique()
    if n_twice:
        raise InputError(f"predictions: {n_twice:,} customers appear more than once at cut-off {day}. Expected once.")
    other = [name for name, part in parts.items() if not part.select(known.columns).equals(known)]
    if other:
        raise InputError(
            f"predictions: {first_few(other)} at cut-off {day}, {horizon_days} days ahead, not on the model's "
            f"{known.height:,} customers and outcomes. Each predictor must see the same rows."
        )
    return Cutoff(
        day=day,
        horizon_days=horizon_days,
        customers=known["customer"].cast(pl.Int64).to_numpy(),
        bought=known["bought"].to_numpy(),
        spend=_complete(known, "spend"),
        said={
            name: Prediction(
                part["p"].to_numpy(), _complete(part, "spend_expected"), _complete(part, "purchase_days_expected")
            )
            for name, part in parts.items()
        },
        purchase_days=_complete(parts[MODEL], "purchase_days"),
    )


def _complete_parts(rows: pl.DataFrame, day: date, horizon_days: int) -> Iterator[tuple[str, pl.DataFrame]]:
    for (name,), part in rows.partition_by("predictor", as_dict=True, maintain_order=True).items():
        n_missing = part["p"].null_count()
        if n_missing == part.height:
            continue
        n_wrong = n_missing + int((~part["p"].drop_nulls().is_between(0, 1)).sum())
        if n_wrong:
            raise InputError(
                f"predictions: {n_wrong:,} of {part.height:,} probabilities of '{name}' at cut-off {day}, "
                f"{horizon_days} days ahead, are missing or outside 0 to 1."
            )
        yield str(name), part.sort("customer")


def _complete(rows: pl.DataFrame, name: str) -> Floats | None:
    if name not in rows.columns or rows[name].null_count():
        return None
    return rows[name].cast(pl.Float64).to_numpy()
