"""Plan a campaign: choose whom to reach, hold some out by lot, and say what is expected and on what assumption."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from repurchase.errors import InputError
from repurchase.marketing.arms import Arms, draw
from repurchase.marketing.power import LEAST_CONTROL, control_size, detectable_effect, power_of
from repurchase.marketing.reach import Candidates, Expected, Terms, break_even, expected, push, worth

__all__ = ["CONTROL", "TREATMENT", "Assumption", "Design", "Planned", "plan_campaign"]

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

TREATMENT, CONTROL = "treatment", "control"
REDRAWS = 50


@dataclass(frozen=True, kw_only=True)
class Assumption:
    """How much more often those reached are taken to buy.

    Parameters
    ----------
    uplift : float
        As a share (0.02 for two points), above 0.
    error : float
        Its standard error where it was measured, else 0.
    low, high : float, optional
        95 % interval where it was measured.
    source : str
        ``assumed``, ``past campaigns`` or ``learned from past campaigns``.
    """

    uplift: float
    error: float = 0.0
    low: float | None = None
    high: float | None = None
    source: str = "assumed"

    @property
    def is_measured(self) -> bool:
        """Whether past campaigns say so."""
        return self.low is not None


@dataclass(frozen=True, kw_only=True)
class Design:
    """How a campaign is to be measured.

    Parameters
    ----------
    campaign : str
        Its name; it and the seed decide the lot.
    effect : float
        Uplift to be seen, as a share, above 0.
    power : float
        Probability of seeing it, above ``alpha`` and below 1.
    alpha : float
        Probability of a false alarm, above 0 and below 0.5.
    control_share : float, optional
        Share held out; default as many as the effect asks for. 0 holds out nobody: then nothing can be measured.
    seed : int
        Of the lot.

    Raises
    ------
    InputError
        If a value is outside its range.

    Examples
    --------
    >>> Design(campaign="May", effect=0.02, control_share=1.0)
    Traceback (most recent call last):
        ...
    repurchase.errors.InputError: --control-share 1: a control group of everyone leaves nobody to reach. ...
    """

    campaign: str
    effect: float
    power: float = 0.8
    alpha: float = 0.05
    control_share: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every value.

        Raises
        ------
        InputError
            If one is outside its range.
        """
        if not self.campaign.strip():
            raise InputError("--name must not be empty: the campaign's name decides the lot.")
        if not 0 < self.effect < 1:
            raise InputError(
                f"--effect must be above 0 and below 100 points (2 for two in a hundred). Got {100 * self.effect:g}."
            )
        if not 0 < self.alpha < 0.5:
            raise InputError(f"--alpha must be above 0 and below 0.5. Got {self.alpha:g} instead.")
        if not self.alpha < self.power < 1:
            raise InputError(f"--power must be above --alpha and below 1. Got {self.power:g} instead.")
        share = self.control_share
        if share is not None and share >= 1:
            raise InputError(
                f"--control-share {share:g}: a control group of everyone leaves nobody to reach. Give a share below 1, "
                "such as 0.2."
            )
        if share is not None and not share >= 0:
            raise InputError(f"--control-share must be 0 or more and below 1. Got {share:g} instead.")

    @property
    def holds_out(self) -> bool:
        """Whether there is a control group."""
        return self.control_share is None or self.control_share > 0

    def n_control(self, n: int, base: float) -> int:
        """Say how many of a list to hold out.

        Parameters
        ----------
        n : int
            Customers on the list.
        base : float
            Share that buys anyway.

        Returns
        -------
        int
            The share told, else as few as show the effect, else half.
        """
        if self.control_share is not None:
            return round(self.control_share * n)
        return control_size(n, effect=self.effect, base=base, power=self.power, alpha=self.alpha) or n // 2


class Planned(NamedTuple):
    """A campaign.

    Parameters
    ----------
    customers : DataFrame
        ``customer_id``, ``arm``, ``stratum``, ``lot``, ``p``, ``spend``, ``uplift``, ``cost``, ``gain``; sorted by id.
    facts : dict
        JSON-able: ``candidates``, ``arms``, ``power``, ``expected``, ``scenarios``, ``break_even_points``, ``strata``.
    """

    customers: pl.DataFrame
    facts: dict[str, Any]


def plan_campaign(
    ids: pl.Series,
    who: Candidates,
    *,
    terms: Terms,
    design: Design,
    assumption: Assumption,
    learned: Floats | None = None,
    has_money: bool = True,
) -> Planned:
    """Choose whom to reach within the budget, by expected gain per unit of money, and hold some of them out by lot.

    Only customers who are expected to bring more than they cost are chosen; held out are some of the chosen, so that
    both groups are alike.

    Parameters
    ----------
    ids : Series of str of shape (n,)
        Customers; each once.
    who : Candidates
        What the scores say of them.
    terms : Terms
        Costs, margin, budget.
    design : Design
        How it is to be measured.
    assumption : Assumption
        The uplift.
    learned : array of shape (n,), optional
        Each customer's uplift by a model of past campaigns; default the same push for all.
    has_money : bool
        Whether expected spend is money. Without, the most moved per unit of money come first.

    Returns
    -------
    Planned
        Customers by group and what is expected.

    Raises
    ------
    InputError
        If nobody is worth reaching, or the budget does not reach far enough for two groups.
    """
    # One push of all candidates: whoever was chosen for a gain keeps it, and every scenario moves the same customers.
    uplift = push(who.p, min(assumption.uplift, _most(who))) if learned is None else np.maximum(learned, 0.0)
    cost, gain = worth(who, uplift, terms) if has_money else (_cost_only(who, uplift, terms), uplift)
    ranked = _ranked(ids, cost, gain)
    if not len(ranked):
        best, least = (gain + cost).max(initial=0.0), cost.min(initial=0.0)
        raise InputError(
            f"Of {len(ids):,} customers nobody is expected to bring more than they cost: the best brings {best:.2f} "
            f"before costs of {least:.2f}. Lower the costs, or leave it."
        )
    chosen, arms = _within_budget(ids, who, cost, ranked, terms=terms, design=design)
    mine = who.take(chosen)
    lifted = uplift[chosen]
    final_cost, final_gain = worth(mine, lifted, terms)

    def moved(share: float) -> Floats:
        if learned is not None:
            return lifted * (share / assumption.uplift)
        return push(who.p, min(share, _most(who)))[chosen]

    customers = pl.DataFrame(
        {
            "customer_id": ids.gather(pl.Series(chosen)),
            "arm": np.where(arms.treated, TREATMENT, CONTROL),
            "stratum": arms.stratum,
            "lot": arms.lot,
            "p": mine.p,
            "spend": mine.p * mine.spend if has_money else np.full(len(chosen), np.nan),
            "uplift": lifted,
            "cost": final_cost,
            "gain": final_gain if has_money else np.full(len(chosen), np.nan),
        }
    ).sort("customer_id")
    facts = {
        "candidates": {"asked": len(ids), "worth_reaching": len(ranked), "chosen": len(chosen)},
        "arms": _counts(arms),
        "power": _power(mine, arms, design),
        **_outlook(mine, moved, arms.treated, terms=terms, assumption=assumption, has_money=has_money),
        "strata": _strata(arms),
    }
    return Planned(customers, facts)


def _most(who: Candidates) -> float:
    """As much as an assumption may come to; a list of sure buyers cannot rise further."""
    return float(1 - who.p.mean()) * 0.999


def _cost_only(who: Candidates, uplift: Floats, terms: Terms) -> Floats:
    return worth(who, uplift, terms)[0]


def _ranked(ids: pl.Series, cost: Floats, gain: Floats) -> Codes:
    """Positions of those worth reaching, best per unit of money first; a tie goes by id, not by row."""
    rate = np.where(cost > 0, gain / np.where(cost > 0, cost, 1.0), gain)
    table = pl.DataFrame({"id": ids, "rate": rate, "place": np.arange(len(ids))})
    kept = table.filter(pl.Series(gain > 0)).sort(pl.col("rate"), pl.col("id"), descending=[True, False])
    return kept["place"].to_numpy()


def _within_budget(
    ids: pl.Series, who: Candidates, cost: Floats, ranked: Codes, *, terms: Terms, design: Design
) -> tuple[Codes, Arms]:
    running, base = np.cumsum(cost[ranked]), np.cumsum(who.p[ranked]) / np.arange(1, len(ranked) + 1)

    def spent(n: int) -> float:
        held = design.n_control(n, float(base[n - 1]))
        return float(running[n - 1]) * (1 - held / n)

    budget = np.inf if terms.budget is None else terms.budget
    n = _largest(lambda size: spent(size) <= budget, len(ranked))
    for _ in range(REDRAWS):
        if n < 2 * LEAST_CONTROL:
            break
        chosen = np.sort(ranked[:n])
        arms = _draw(ids, who, chosen, design)
        over = float(cost[chosen][arms.treated].sum()) - budget
        if over <= 0:
            return chosen, arms
        n -= max(1, int(over / float(cost[chosen].mean())))
    told = f" for {terms.budget:g}" if terms.budget else ""
    raise InputError(
        f"Only {max(n, 0):,} customers can be reached and held out{told}; {2 * LEAST_CONTROL} are the least. Raise the "
        "budget or send a longer list."
    )


def _largest(fits: Callable[[int], bool], most: int) -> int:
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def _draw(ids: pl.Series, who: Candidates, chosen: Codes, design: Design) -> Arms:
    mine, names = who.take(chosen), ids.gather(pl.Series(chosen)).to_list()
    if not design.holds_out:
        none = np.zeros(len(chosen), dtype=np.int64)
        return Arms(np.ones(len(chosen), dtype=np.bool_), none, np.ones(len(chosen)))
    held = max(LEAST_CONTROL, design.n_control(len(chosen), float(mine.p.mean())))
    return draw(
        names, risk=1 - mine.p, value=mine.p * mine.spend, n_control=held, campaign=design.campaign, seed=design.seed
    )


def _counts(arms: Arms) -> dict[str, Any]:
    treated = int(arms.treated.sum())
    held = len(arms.treated) - treated
    return {TREATMENT: treated, CONTROL: held, "control_share": held / len(arms.treated)}


def _strata(arms: Arms) -> list[dict[str, Any]]:
    rows = []
    for stratum in np.unique(arms.stratum):
        held = (arms.stratum == stratum) & ~arms.treated
        of = int((arms.stratum == stratum).sum())
        last = float(arms.lot[held].max()) if held.any() else None
        rows.append({"stratum": int(stratum), "customers": of, CONTROL: int(held.sum()), "last_lot_held_out": last})
    return rows


def _power(mine: Candidates, arms: Arms, design: Design) -> dict[str, Any]:
    base, counts = float(mine.p.mean()), _counts(arms)
    told = {
        "effect_points": 100 * design.effect,
        "power": design.power,
        "alpha": design.alpha,
        "base_share": base,
        "reached_power": 0.0,
        "enough": False,
        "detectable_points": None,
    }
    if not counts[CONTROL]:
        return told
    groups = {"base": base, "n_treated": counts[TREATMENT], "n_control": counts[CONTROL], "alpha": design.alpha}
    seen = power_of(design.effect, **groups)
    least = detectable_effect(power=design.power, **groups)
    enough = seen >= design.power - 1e-3
    return {**told, "reached_power": seen, "enough": enough, "detectable_points": least and 100 * least}


def _outlook(
    mine: Candidates,
    moved: Callable[[float], Floats],
    treated: npt.NDArray[np.bool_],
    *,
    terms: Terms,
    assumption: Assumption,
    has_money: bool,
) -> dict[str, Any]:
    """Expected of those reached, as assumed and in other scenarios."""
    reached = mine.take(treated)
    pays = break_even(reached, terms) if has_money else None
    scenarios = []
    for name, share in _scenarios(assumption):
        told = _told(expected(reached, moved(share)[treated], terms))
        scenarios.append({"name": name, "uplift_points": 100 * share, **told})
    main = expected(
        reached, moved(assumption.uplift)[treated], terms, relative_error=assumption.error / assumption.uplift
    )
    return {
        "expected": _told(main) if has_money else _without_money(_told(main)),
        "scenarios": scenarios if has_money else [_without_money(row) for row in scenarios],
        "break_even_points": pays and 100 * pays,
    }


def _scenarios(assumption: Assumption) -> list[tuple[str, float]]:
    if assumption.low is not None and assumption.high is not None:
        low, high = max(assumption.low, 0.0), assumption.high
        return [("low end of what was measured", low), ("as measured", assumption.uplift), ("high end", high)]
    return [("nobody is moved", 0.0), ("half of it", assumption.uplift / 2), ("as assumed", assumption.uplift)]


def _told(found: Expected) -> dict[str, Any]:
    ranges = {name: dict(zip(("value", "low", "high"), getattr(found, name), strict=True)) for name in _MONEY}
    return {
        "reached": found.reached,
        "buyers_anyway": found.buyers_anyway,
        "buyers_more": found.buyers_more,
        **ranges,
    }


_MONEY = ("sales", "cost", "profit")


def _without_money(told: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if name not in ("sales", "profit")}
