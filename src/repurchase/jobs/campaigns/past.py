"""Past campaigns that were measured: the uplift they saw, and whom it moved."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from repurchase.errors import InputError
from repurchase.jobs.campaigns.files import LEARNED_FROM, read_measured, read_outcomes
from repurchase.marketing.campaigns import TREATMENT
from repurchase.marketing.designs import Assumption
from repurchase.marketing.effects import Effect
from repurchase.marketing.parts import pool
from repurchase.marketing.targeting import even_weights, try_targeting
from repurchase.marketing.uplift import UpliftModel, fit_uplift

__all__ = ["Past", "read_past"]

Floats = npt.NDArray[np.float64]

Record = Mapping[str, Any]

LEAST_CUSTOMERS = 1000
"""Customers of past campaigns below which nothing is learned: effects are much smaller than what scatters."""
SHARE = 0.3


class Past(NamedTuple):
    """What past campaigns teach.

    Parameters
    ----------
    assumption : Assumption
        The uplift they saw.
    words : dict
        JSON-able: which campaigns, and what came of learning from them.
    model : UpliftModel, optional
        Whom they moved; None where learning did not beat simpler rules.
    """

    assumption: Assumption
    words: dict[str, Any]
    model: UpliftModel | None

    def uplift_of(self, rows: pl.DataFrame, *, horizon_days: int) -> Floats | None:
        """Say whom a campaign would move, if that could be learned.

        Parameters
        ----------
        rows : DataFrame
            Scores.
        horizon_days : int
            Days in which purchases count.

        Returns
        -------
        array of shape (n,), optional
            None where learning did not beat simpler rules.
        """
        if self.model is None:
            return None
        named = {f"p_repurchase_{horizon_days}d": "p", f"spend_expected_{horizon_days}d": "spend"}
        return self.model.predict(_features(rows.select(*named, *LEARNED_FROM).rename(named)))


def read_past(paths: Sequence[Path], *, horizon_days: int) -> Past:
    """Read measured campaigns.

    Parameters
    ----------
    paths : sequence of Path
        Files that `repurchase campaign measure` wrote, in any order.
    horizon_days : int
        Days in which purchases count; theirs must be the same.

    Returns
    -------
    Past
        Their uplift put together.

    Raises
    ------
    InputError
        If one cannot be used or came twice, or they moved nobody.
    """
    read = [(path, read_measured(path)) for path in paths]
    for path, record in read:
        _require_usable(path, record, horizon_days=horizon_days)
    read.sort(key=lambda one: str(one[1]["planned"]["digest"]))
    for (path, record), (other, again) in pairwise(read):
        if record["planned"]["digest"] == again["planned"]["digest"]:
            raise InputError(
                f"--past {path} and {other} are of the same campaign, '{record['campaign']}': it would count twice. "
                "Leave one out."
            )
    found = pool([_effect(record["repurchase"]["adjusted"]) for _, record in read])
    if not found.value > 0:
        raise InputError(
            f"Past campaigns moved nobody: {found.value:+.1f} points ({found.low:+.1f} to {found.high:+.1f}). There "
            "is no gain to plan with. To learn from another offer, leave out --past and say --effect."
        )
    words, model = _learned([read_outcomes(path, record) for path, record in read])
    assumption = Assumption(
        uplift=found.value / 100,
        error=found.error / 100,
        low=found.low / 100,
        high=found.high / 100,
        source="past campaigns" if model is None else "learned from past campaigns",
    )
    names = [record["campaign"] for _, record in read]
    return Past(assumption, {"campaigns": names, "learning": {"used": model is not None, "words": words}}, model)


def _require_usable(path: Path, record: Record, *, horizon_days: int) -> None:
    if record["horizon_days"] != horizon_days:
        raise InputError(
            f"{path}: purchases within {record['horizon_days']} days, but the plan counts {horizon_days}. "
            f"Choose --horizon {record['horizon_days']}, or leave it out."
        )
    if not record["repurchase"]["adjusted"]["error"] > 0:
        raise InputError(
            f"{path}: within each group all bought or none did, so how far chance moves its uplift cannot be told. "
            "Leave it out of --past."
        )


def _learned(outcomes: Sequence[pl.DataFrame]) -> tuple[str, UpliftModel | None]:
    used = ("customer_id", "arm", "bought", "p", "spend", *LEARNED_FROM)
    rows = pl.concat(
        [one.select(*used, campaign=pl.lit(number)) for number, one in enumerate(outcomes)], how="vertical_relaxed"
    )
    kept = "everybody is taken to be moved by the same push"
    if rows.height < LEAST_CUSTOMERS:
        return f"Past campaigns hold {rows.height:,} customers, too few to learn whom to reach: {kept}.", None
    x, p = _features(rows), rows["p"].to_numpy()
    treated, bought = (rows["arm"] == TREATMENT).to_numpy(), rows["bought"].to_numpy().astype(np.float64)
    weight = even_weights(treated, rows["campaign"].to_numpy())
    try:
        trial = try_targeting(
            x,
            treated,
            bought,
            rivals={"highest risk": -p, "highest p": p},
            share=SHARE,
            weight=weight,
            customer=rows["customer_id"].rank("dense").to_numpy(),
        )
    except InputError as fault:
        return f"Nothing could be learned of whom to reach ({fault}): {kept}.", None
    told = "; ".join(
        f"against {one.rival} {one.difference:+.0f} buyers ({one.low:+.0f} to {one.high:+.0f})"
        for one in trial.comparisons
    )
    told = f"Learned targeting at {100 * SHARE:.0f} % of past customers it had not seen: {told}"
    if not trial.beats_all:
        return f"{told}. It does not beat all of them, so it is not used: {kept}.", None
    return f"{told}. It is used.", fit_uplift(x, treated, bought, weight=weight)


def _features(rows: pl.DataFrame) -> Floats:
    tails = pl.col("spend", *LEARNED_FROM).cast(pl.Float64).clip(lower_bound=0).log1p()
    x = rows.select(pl.col("p").cast(pl.Float64), tails).to_numpy()
    return np.asarray(np.where(np.isfinite(x), x, np.nan), dtype=np.float64)


def _effect(told: dict[str, Any]) -> Effect:
    return Effect(*(float(told[name]) for name in ("value", "low", "high", "error", "p_value")))
