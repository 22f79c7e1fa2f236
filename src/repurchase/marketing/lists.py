"""From scores to rows that a marketer acts on: who, why, what to do, by which channel, when, and at what cost at most.

Stands on the scores table alone; contacts, earlier scores and refills are joined to it by customer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from repurchase.errors import InputError
from repurchase.estimators.tiers import LOST, REGULAR, SLIPPING, WIN_BACK
from repurchase.marketing.contacts import DETAILS, FLAGS, Contacts
from repurchase.marketing.list_rules import ListRules
from repurchase.marketing.segments import (
    LISTED,
    NO_HISTORY,
    REFILL,
    actions,
    channels,
    segment_of,
    when_to_reach,
    worth_asking,
)

__all__ = ["AT_RISK", "CHANGES", "Limit", "changed_since", "choose", "columns_of", "list_rows", "with_contacts"]

AT_RISK = (SLIPPING, WIN_BACK, LOST)
"""Segments of those who are silent beyond their rhythm."""
CHANGES = {"newly at risk": "newly-at-risk", "came back": "came-back"}
"""What may have changed since earlier scores, and the name of its list."""
_SHOWN = (
    *("customer_id", "segment", "changed", "action", "channel", "when", "reach_on"),
    *("value_at_risk", "contact_cost_at_most", "churn_risk_percent", "risk_over_days", "clv"),
    *("orders", "last_order_date", "days_since_last", "average_gap_days", "spend_total", "next_order_date"),
    *("reason_1", "reason_2", "reason_3", "ask_why"),
)
_REFILL = (
    *("refill_product", "refill_on", "refill_low", "refill_high", "refill_chance_percent"),
    *("goes_with", "goes_with_words"),
)


@dataclass(frozen=True)
class Limit:
    """How many customers may be reached.

    Parameters
    ----------
    budget : float, optional
        Money for all contacts.
    cost_per_contact : float, optional
        What one contact costs, where its channel has no cost of its own.
    length : int, optional
        Customers.
    """

    budget: float | None = None
    cost_per_contact: float | None = None
    length: int | None = None

    def __post_init__(self) -> None:
        """Check that the limits make sense together.

        Raises
        ------
        InputError
            If a budget is not above 0 or has no cost, or a length comes with a budget.
        """
        for name, value in (("--budget", self.budget), ("--cost-per-contact", self.cost_per_contact)):
            if value is not None and not 0 < value < float("inf"):
                raise InputError(f"{name} must be money above 0. Got {value:g} instead.")
        if self.length is not None and self.length < 1:
            raise InputError(f"--length must be 1 or more. Got {self.length} instead.")
        if self.budget is not None and self.length is not None:
            raise InputError("--budget and --length exclude each other. Give one.")
        if self.budget is not None and self.cost_per_contact is None:
            raise InputError("--budget needs --cost-per-contact: what one contact costs.")
        if self.budget is not None and self.cost_per_contact is not None and self.budget < self.cost_per_contact:
            raise InputError(
                f"--budget {self.budget:g} does not pay for one contact at {self.cost_per_contact:g}. Raise it."
            )


def list_rows(
    scores: pl.DataFrame,
    *,
    tiers: Mapping[str, Any] | None,
    risk_days: int,
    rules: ListRules,
    name: str = "scores",
    refills: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Give every customer's segment, action, day and the most that a contact may cost.

    Parameters
    ----------
    scores : DataFrame
        See ``tables.scores_table``.
    tiers : mapping, optional
        Thresholds, from the record of the scoring run.
    risk_days : int
        Horizon of the churn risk that is shown.
    rules : ListRules
        Assumptions.
    name : str
        What a message calls the scores.
    refills : DataFrame, optional
        ``customer_id``, what runs out and when; regulars who have one are due for a refill, for others it is told.

    Returns
    -------
    DataFrame
        The scores with ``segment`` of `segment_of`, ``ask_why``, ``action``, ``channel``, ``reach_on``, ``when``,
        ``churn_risk_percent``, ``average_gap_days`` (between purchase days so far), ``contact_cost_at_most``
        (expected gain: margin x effect x value at risk) and
        ``weight``, by which customers are ranked: that gain, or without money the orders at risk.
    """
    reach_on, when = when_to_reach(tiers, refills=refills is not None)
    risk = pl.col(f"churn_risk_{risk_days}d")
    gain = (rules.margin * rules.effect * pl.col("value_at_risk")).clip(lower_bound=0.0)
    rows = scores.with_columns(segment_of(scores, name=name)).with_columns(ask_why=worth_asking(tiers))
    if refills is not None:
        rows = rows.join(refills, on="customer_id", how="left", maintain_order="left")
        due = (pl.col("segment") == REGULAR) & pl.col("refill_on").is_not_null()
        rows = rows.with_columns(segment=pl.when(due).then(pl.lit(REFILL)).otherwise("segment"))
    return rows.with_columns(
        action=actions(),
        channel=channels(),
        reach_on=reach_on,
        when=when,
        changed=pl.lit(None, pl.String),
        churn_risk_percent=(100.0 * risk).round().cast(pl.Int64),
        risk_over_days=pl.lit(risk_days),
        average_gap_days=_average_gap_days(),
        contact_cost_at_most=pl.when(pl.col("segment").is_in(LISTED)).then(gain),
        weight=pl.coalesce(gain, risk * pl.col(f"orders_expected_{risk_days}d")).fill_nan(None).fill_null(0.0),
    )


def _average_gap_days() -> pl.Expr:
    gap = pl.col("recency_days") / pl.col("frequency")
    return pl.when(pl.col("frequency") > 0).then(gap.fill_nan(None).round().clip(lower_bound=1)).cast(pl.Int64)


def with_contacts(rows: pl.DataFrame, contacts: Contacts, *, mail_only: bool) -> tuple[pl.DataFrame, pl.Expr]:
    """Join how customers can be reached, and suggest a channel that does reach them.

    Parameters
    ----------
    rows : DataFrame
        From `list_rows`.
    contacts : Contacts
        Checked.
    mail_only : bool
        Whether only an e-mail address counts.

    Returns
    -------
    rows : DataFrame
        With the details, ``in_contacts``, ``consent`` and the flags; never null in these.
    reachable : Expr of bool
        Whether there is a valid way to reach the customer.
    """
    # A name of the scores that contacts have too would be joined under another name; there is none in DETAILS.
    known = contacts.rows.with_columns(in_contacts=pl.lit(value=True))
    joined = rows.join(known, on="customer_id", how="left", maintain_order="left")
    flags = [pl.col(name).fill_null(value=False) for name in ("in_contacts", "consent", *FLAGS)]
    nothing = pl.lit(value=False)
    has = {
        role: pl.col(role).is_not_null() if contacts.has(role) else nothing for role in ("email", "phone", "address")
    }
    reachable = has["email"] if mail_only else pl.any_horizontal(has.values())
    channel = channels({**has, "phone": nothing, "address": nothing} if mail_only else has)
    return joined.with_columns(flags).with_columns(channel=channel), reachable


def changed_since(rows: pl.DataFrame, before: pl.DataFrame, *, name: str = "scores") -> pl.Series:
    """Say what has changed since earlier scores, for triggers.

    Parameters
    ----------
    rows : DataFrame
        From `list_rows`.
    before : DataFrame
        Scores of an earlier day by the same model.
    name : str
        What a message calls the earlier scores.

    Returns
    -------
    Series of str
        ``newly at risk``: not silent then, silent beyond the own rhythm now. ``came back``: silent then, bought
        since, and not silent now. Null for others, and for those who were not scored then.
    """
    then = before.select("customer_id", segment_of(before, name=name).alias("then"), pl.col("as_of").alias("day_then"))
    both = rows.select("customer_id", "segment", "last_order_date").join(
        then.filter(pl.col("then") != NO_HISTORY), on="customer_id", how="left", maintain_order="left"
    )
    was, is_now = pl.col("then").is_in(AT_RISK), pl.col("segment").is_in(AT_RISK)
    back = pl.col("last_order_date") > pl.col("day_then")
    changed = pl.when(was & back & ~is_now).then(pl.lit("came back")).when(~was & is_now).then(pl.lit("newly at risk"))
    return both.select(changed.alias("changed")).to_series()


def choose(rows: pl.DataFrame, limit: Limit, *, costs: Mapping[str, float]) -> pl.Series:
    """Say who is left out by money or length; the others are those with the most expected gain per unit of money.

    Parameters
    ----------
    rows : DataFrame
        Those who may be reached, from `list_rows`.
    limit : Limit
        Money or length.
    costs : mapping of str to float
        Channel to what one contact costs, over ``limit.cost_per_contact``.

    Returns
    -------
    Series of str
        ``costs_more_than_it_brings``, ``beyond_the_budget`` or ``beyond_the_length``; null for those who stay.
        Contacts are taken in order of gain per cost until the next one would not be paid for.

    Raises
    ------
    InputError
        If costs are to be weighed and the scores know no money.
    """
    cost = pl.col("channel").replace_strict(costs, default=limit.cost_per_contact, return_dtype=pl.Float64)
    weighs = limit.cost_per_contact is not None
    if weighs and not rows["value_at_risk"].is_not_null().any() and rows.height:
        raise InputError("these scores know no money, so a cost cannot be weighed. Give --length instead.")
    per_cost = pl.col("weight") / cost if weighs else pl.col("weight")
    ranked = rows.select("customer_id", "weight", rank=per_cost, cost=cost).with_row_index("row")
    if weighs:
        ranked = ranked.with_columns(worth=pl.col("weight") > pl.col("cost"))
    else:
        ranked = ranked.with_columns(worth=pl.lit(value=True))
    ranked = ranked.sort("worth", "rank", "customer_id", descending=[True, True, False])
    why: list[pl.Expr] = [pl.when(~pl.col("worth")).then(pl.lit("costs_more_than_it_brings"))]
    if limit.budget is not None:
        why.append(pl.when(pl.col("cost").cum_sum() > limit.budget + 1e-9).then(pl.lit("beyond_the_budget")))
    if limit.length is not None:
        place = pl.int_range(pl.len())
        why.append(pl.when(place >= limit.length).then(pl.lit("beyond_the_length")))
    return ranked.with_columns(left_out=pl.coalesce(why)).sort("row")["left_out"]


def columns_of(rows: pl.DataFrame, rules: ListRules) -> pl.DataFrame:
    """Choose and name the columns that are written.

    Parameters
    ----------
    rows : DataFrame
        Of one list.
    rules : ListRules
        Names.

    Returns
    -------
    DataFrame
        Mail tools get the address first; what nobody has is left out.

    Raises
    ------
    InputError
        If two columns would have one name.
    """
    details = [name for name in DETAILS if name in rows.columns]
    order = [*details, *_SHOWN] if rules.mail_tool != "plain" else [_SHOWN[0], *details, *_SHOWN[1:]]
    shown = [name for name in (*order, *_REFILL) if name in rows.columns]
    names = {name: rules.names.get(name, name) for name in shown}
    kept = {name: new for name, new in names.items() if new}
    if len(set(kept.values())) < len(kept):
        raise InputError(f"[lists.columns.{rules.mail_tool}]: two columns would have one name. Give each its own.")
    return rows.select(pl.col(name).alias(new) for name, new in kept.items())
