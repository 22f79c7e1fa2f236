"""Settings and rows of contact lists."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import polars as pl

from repurchase.errors import InputError, first_few
from repurchase.marketing.contacts import DETAILS, FLAGS, Contacts
from repurchase.marketing.csv_export import CSV_FORMATS
from repurchase.marketing.segments import (
    LISTED_SEGMENTS,
    NO_HISTORY,
    REFILL,
    actions,
    channels,
    contact_timing,
    lost_survey_customers,
    segment_of,
)
from repurchase.models.segments import LOST, REGULAR, SLIPPING, WIN_BACK

_KLAVIYO = {
    "email": "Email",
    "phone": "Phone Number",
    "first_name": "First Name",
    "last_name": "Last Name",
    "address": "Address",
    "postal_code": "Zip Code",
    "city": "City",
    "country": "Country",
    "language": "Language",
    "name": "Full Name",
}
_MAILCHIMP = {
    **_KLAVIYO,
    "email": "Email Address",
    "phone": "Phone",
    "address": "Street Address",
}
_MAIL_TOOLS: Mapping[str, Mapping[str, str]] = {"plain": {}, "klaviyo": _KLAVIYO, "mailchimp": _MAILCHIMP}
"""Our column to the tool's; columns that are not named keep their name and become properties of the contact there."""


_MAX_AMOUNT = 1e12
_MAX_NAMES_SHOWN = 80


@dataclass(frozen=True, kw_only=True)
class ListSettings:
    """How lists are made."""

    margin: float = 0.30
    effect: float = 0.05
    locale: str = "en"
    mail_tool: str = "plain"
    bought_within_hours: int = 24
    contacted_within_days: int = 14
    costs: Mapping[str, float] = field(default_factory=dict)
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    contacts: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check every value."""
        for name in ("margin", "effect"):
            share = getattr(self, name)
            _require(name, share, _is_number(share) and 0 < share <= 1, "a share above 0 and up to 1")
        _require("locale", self.locale, self.locale in tuple(CSV_FORMATS), f"one of {', '.join(CSV_FORMATS)}")
        _require("mail_tool", self.mail_tool, self.mail_tool in tuple(_MAIL_TOOLS), f"one of {', '.join(_MAIL_TOOLS)}")
        for name in ("bought_within_hours", "contacted_within_days"):
            length = getattr(self, name)
            _require(name, length, type(length) is int and 0 <= length <= 100_000, "a whole number, 0 or more")
        costs = isinstance(self.costs, Mapping) and all(
            _is_number(cost) and 0 < cost <= _MAX_AMOUNT for cost in self.costs.values()
        )
        _require("costs", self.costs, costs, "money above 0 and at most a trillion by channel, such as phone = 40.0")
        named = isinstance(self.columns, Mapping) and all(
            tool in _MAIL_TOOLS and _column_names(given) for tool, given in self.columns.items()
        )
        _require("columns", self.columns, named, "names by mail tool, such as [lists.columns.klaviyo] email = 'Email'")
        has_ids = all(given.get("customer_id") != "" for given in self.columns.values())
        _require("columns", self.columns, has_ids, "names that keep customer_id, without which nobody can be forgotten")
        _require("contacts", self.contacts, _column_names(self.contacts), "names of columns, such as email = 'E-post'")

    @property
    def names(self) -> dict[str, str]:
        """Our column to the name it is written under."""
        return {**_MAIL_TOOLS[self.mail_tool], **self.columns.get(self.mail_tool, {})}

    def assumptions(self) -> dict[str, Any]:
        """Say what the most that a contact may cost rests on."""
        return {
            "margin": self.margin,
            "effect": self.effect,
            "words": (
                f"Expected gain of a contact = margin {100 * self.margin:g} % x value at risk x effect "
                f"{100 * self.effect:g} %: of the value at risk, one contact is assumed to keep "
                f"{100 * self.effect:g} %. Both are assumptions, set under [lists] in repurchase.toml; "
                "a campaign with a control group measures the effect."
            ),
        }


def list_settings(told: Mapping[str, Any], **flags: Any) -> ListSettings:
    """Read the rules from the settings and let flags override them."""
    known = [item.name for item in fields(ListSettings)]
    strange = [name for name in told if name not in known]
    if strange:
        raise InputError(f"[lists]: unknown: {first_few(strange)}. Known: {', '.join(known)}.")
    return ListSettings(**{**told, **{name: value for name, value in flags.items() if value is not None}})


def _require(name: str, value: object, holds: bool, expected: str) -> None:
    if not holds:
        raise InputError(
            f"unknown {name} or out of range: it must be {expected}. Got {repr(value)[:_MAX_NAMES_SHOWN]} instead."
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _column_names(given: object) -> bool:
    return isinstance(given, Mapping) and all(isinstance(name, str) for name in given.values())


AT_RISK = (SLIPPING, WIN_BACK, LOST)
"""Segments of those who are silent beyond their rhythm."""
CHANGE_KINDS = {"newly at risk": "newly-at-risk", "came back": "came-back"}
"""What may have changed since earlier scores, and the name of its list."""
_LIST_COLUMNS = (
    *("customer_id", "segment", "changed", "action", "channel", "when", "reach_on"),
    *("value_at_risk", "contact_cost_at_most", "churn_risk_percent", "risk_over_days", "clv"),
    *("orders", "last_order_date", "days_since_last", "average_gap_days", "spend_total", "next_order_date"),
    *("reason_1", "reason_2", "reason_3", "ask_why"),
)
_REFILL_COLUMNS = (
    *("refill_product", "refill_on", "refill_low", "refill_high", "refill_chance_percent"),
    *("goes_with", "goes_with_words"),
)


@dataclass(frozen=True)
class ListLimit:
    """How many customers may be reached."""

    budget: float | None = None
    cost_per_contact: float | None = None
    length: int | None = None

    def __post_init__(self) -> None:
        """Check that the limits make sense together."""
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
    rules: ListSettings,
    name: str = "scores",
    refills: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Give every customer's segment, action, day and the most that a contact may cost."""
    reach_on, when = contact_timing(tiers, refills=refills is not None)
    risk = pl.col(f"churn_risk_{risk_days}d")
    gain = (rules.margin * rules.effect * pl.col("value_at_risk")).clip(lower_bound=0.0)
    rows = scores.with_columns(segment_of(scores, name=name)).with_columns(ask_why=lost_survey_customers(tiers))
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
        contact_cost_at_most=pl.when(pl.col("segment").is_in(LISTED_SEGMENTS)).then(gain),
        weight=pl.coalesce(gain, risk * pl.col(f"orders_expected_{risk_days}d")).fill_nan(None).fill_null(0.0),
    )


def _average_gap_days() -> pl.Expr:
    gap = pl.col("recency_days") / pl.col("frequency")
    return pl.when(pl.col("frequency") > 0).then(gap.fill_nan(None).round().clip(lower_bound=1)).cast(pl.Int64)


def with_contacts(rows: pl.DataFrame, contacts: Contacts, *, mail_only: bool) -> tuple[pl.DataFrame, pl.Expr]:
    """Join how customers can be reached, and suggest a channel that does reach them."""
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


def segment_changes(rows: pl.DataFrame, before: pl.DataFrame, *, name: str = "scores") -> pl.Series:
    """Say what has changed since earlier scores, for triggers."""
    then = before.select("customer_id", segment_of(before, name=name).alias("then"), pl.col("as_of").alias("day_then"))
    both = rows.select("customer_id", "segment", "last_order_date").join(
        then.filter(pl.col("then") != NO_HISTORY), on="customer_id", how="left", maintain_order="left"
    )
    was, is_now = pl.col("then").is_in(AT_RISK), pl.col("segment").is_in(AT_RISK)
    back = pl.col("last_order_date") > pl.col("day_then")
    changed = pl.when(was & back & ~is_now).then(pl.lit("came back")).when(~was & is_now).then(pl.lit("newly at risk"))
    return both.select(changed.alias("changed")).to_series()


def limit_exclusions(rows: pl.DataFrame, limit: ListLimit, *, costs: Mapping[str, float]) -> pl.Series:
    """Say who is left out by money or length; the others are those with the most expected gain per unit of money."""
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


def export_columns(rows: pl.DataFrame, rules: ListSettings) -> pl.DataFrame:
    """Choose and name the columns that are written."""
    details = [name for name in DETAILS if name in rows.columns]
    order = (
        [*details, *_LIST_COLUMNS] if rules.mail_tool != "plain" else [_LIST_COLUMNS[0], *details, *_LIST_COLUMNS[1:]]
    )
    shown = [name for name in (*order, *_REFILL_COLUMNS) if name in rows.columns]
    names = {name: rules.names.get(name, name) for name in shown}
    kept = {name: new for name, new in names.items() if new}
    if len(set(kept.values())) < len(kept):
        raise InputError(f"[lists.columns.{rules.mail_tool}]: two columns would have one name. Give each its own.")
    return rows.select(pl.col(name).alias(new) for name, new in kept.items())
