"""What a campaign brought, and whether that can be told: every figure against those who were held out by lot."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from repurchase.errors import InputError
from repurchase.marketing.effects import LEAST, Effect, adjusted, effect, redrawn_effect
from repurchase.marketing.parts import Part, by_part
from repurchase.marketing.reach import Terms

__all__ = ["Assigned", "measure_campaign", "needed_customers"]

Floats = npt.NDArray[np.float64]


class Assigned(NamedTuple):
    """A campaign's customers, by the group the lot put them in, and what they did.

    Parameters
    ----------
    treated : bool array of shape (n,)
        Whether to be reached; whether they were, does not matter here (intention to treat).
    stratum : int array of shape (n,)
        Strata of the draw.
    bought : bool array of shape (n,)
        Whether there was a purchase day in the window.
    sales : float array of shape (n,), optional
        Net money in the window; None where the log has none.
    p : float array of shape (n,)
        Probability of buying, told before the campaign.
    spend : float array of shape (n,)
        Net money expected, told before the campaign; nan where not known.
    part : str array of shape (n,)
        Each customer's segment before the campaign.
    """

    treated: npt.NDArray[np.bool_]
    stratum: npt.NDArray[np.int64]
    bought: npt.NDArray[np.bool_]
    sales: Floats | None
    p: Floats
    spend: Floats
    part: npt.NDArray[np.str_]

    @property
    def known_before(self) -> Floats:
        """What the scores said, as covariates: they narrow the interval as far as they were right."""
        if np.isnan(self.spend).any():
            return self.p[:, None]
        return np.stack([self.p, self.spend, np.log1p(np.maximum(self.spend, 0.0))], axis=1)


def measure_campaign(
    who: Assigned, *, terms: Terms, effect_points: float, power: float = 0.8, alpha: float = 0.05
) -> dict[str, Any]:
    """Measure what a campaign changed.

    Profit per customer is margin · sales less, of those to be reached, the contact and, of those who bought, the offer;
    its difference between the groups is what a contact brought, with its own interval.

    Parameters
    ----------
    who : Assigned
        Customers and outcomes.
    terms : Terms
        Costs and margin.
    effect_points : float
        Uplift the campaign was to show.
    power, alpha : float
        As planned.

    Returns
    -------
    dict
        JSON-able: ``groups``, ``repurchase`` (points), ``sales`` and ``profit`` (money per customer reached; null
        without money), each ``unadjusted`` and ``adjusted``; ``totals``, ``return_on_spend``, ``segments``,
        ``needed_customers``.

    Raises
    ------
    InputError
        If there is no group to compare with.
    """
    n_treated = int(who.treated.sum())
    if min(n_treated, len(who.treated) - n_treated) < LEAST:
        raise InputError(
            f"This campaign cannot be measured: {len(who.treated) - n_treated} customers were held out and "
            f"{n_treated} were to be reached; both groups are needed, by lot. Plan the next one with a control group."
        )
    who = who._replace(stratum=_comparable(who))
    bought = who.bought.astype(np.float64)
    found: dict[str, Any] = {
        "groups": {name: _group(who, who.treated == side) for name, side in (("treatment", True), ("control", False))},
        "repurchase": _both(who, 100 * bought, alpha),
        "sales": None,
        "profit": None,
        "totals": None,
        "return_on_spend": None,
    }
    if who.sales is not None:
        found.update(_money(who, who.sales, bought, terms, alpha))
    error = found["repurchase"]["adjusted"]["error"]
    found["needed_customers"] = needed_customers(
        len(bought), error=error, effect=effect_points, power=power, alpha=alpha
    )
    found["segments"] = [_part(one) for one in by_part(100 * bought, who.treated, part=who.part, alpha=alpha)]
    return found


def needed_customers(n: int, *, error: float, effect: float, power: float = 0.8, alpha: float = 0.05) -> int | None:
    """How many customers would show an effect, if they scatter like these and are parted alike.

    The error falls with the square root of the number: n (z_a + z_b)² error² / effect².

    Parameters
    ----------
    n : int
        Customers measured, both groups together.
    error : float
        Standard error of the estimate.
    effect : float
        To be seen, in the unit of the error, > 0.
    power, alpha : float
        Probability of seeing it, and of a false alarm.

    Returns
    -------
    int or None
        None where nobody differs.

    Examples
    --------
    >>> needed_customers(1000, error=1.0, effect=2.0)
    1963
    """
    from statistics import NormalDist

    if not error > 0:
        return None
    z = NormalDist().inv_cdf(1 - alpha / 2) + NormalDist().inv_cdf(power)
    return math.ceil(n * (z * error / effect) ** 2)


def _comparable(who: Assigned) -> npt.NDArray[np.int64]:
    """The strata of the draw, or a single one where too few of one are left."""
    _, code = np.unique(who.stratum, return_inverse=True)
    cells = np.bincount(2 * code.reshape(-1) + who.treated, minlength=2 * (int(code.max()) + 1))
    return who.stratum if cells.min() >= LEAST else np.zeros_like(who.stratum)


def _money(who: Assigned, sales: Floats, bought: Floats, terms: Terms, alpha: float) -> dict[str, Any]:
    spent = np.where(who.treated, terms.cost_per_contact + terms.offer_cost * bought, 0.0)
    cost, n_treated = float(spent.sum()), int(who.treated.sum())
    profit = _both(who, terms.margin * sales - spent, alpha, is_money=True)
    on_sales = _both(who, sales, alpha, is_money=True)
    returned = None
    if cost > 0:
        per_unit = n_treated / cost
        returned = {name: profit["adjusted"][name] * per_unit for name in ("value", "low", "high")}
    return {
        "sales": on_sales,
        "profit": profit,
        "totals": {
            "cost": cost,
            "sales": {name: on_sales["adjusted"][name] * n_treated for name in ("value", "low", "high")},
            "profit": {name: profit["adjusted"][name] * n_treated for name in ("value", "low", "high")},
        },
        "return_on_spend": returned,
    }


def _both(who: Assigned, outcome: Floats, alpha: float, *, is_money: bool = False) -> dict[str, Any]:
    left = adjusted(outcome, who.known_before, stratum=who.stratum)
    estimate = redrawn_effect if is_money else effect
    return {
        name: _told(estimate(values, who.treated, stratum=who.stratum, alpha=alpha))
        for name, values in (("unadjusted", outcome), ("adjusted", left))
    }


def _told(found: Effect) -> dict[str, Any]:
    return {
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "error": found.error,
        "p_value": found.p_value,
        "can_tell": found.can_tell,
    }


def _group(who: Assigned, mine: npt.NDArray[np.bool_]) -> dict[str, Any]:
    sales = None if who.sales is None else float(who.sales[mine].mean())
    return {
        "customers": int(mine.sum()),
        "bought": int(who.bought[mine].sum()),
        "share_bought": float(who.bought[mine].mean()),
        "expected_share": float(who.p[mine].mean()),
        "sales_per_customer": sales,
    }


def _part(one: Part) -> Mapping[str, Any]:
    alone = None if one.effect is None else _told(one.effect)
    return {
        "segment": one.name,
        "treatment": one.n_treated,
        "control": one.n_control,
        "points": alone,
        "points_drawn_to_the_mean": one.drawn,
        "p_value_for_all_looked_at": one.p_holm,
    }
