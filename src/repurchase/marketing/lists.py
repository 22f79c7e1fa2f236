"""Settings and rows of contact lists."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import polars as pl

from repurchase.errors import InputError, first_few
from repurchase.i18n.catalogues import LOCALES
from repurchase.i18n.messages import message
from repurchase.marketing.contacts import DETAILS, FLAGS, Contacts
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
from repurchase.validation import (
    Check,
    Nullable,
    Schema,
    above,
    at_least,
    first_fault,
    integer,
    is_number,
    one_of,
    require_options,
)

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
_SHARE = Check(lambda value: is_number(value) and 0 < value <= 1, "a share above 0 and up to 1")
_WHOLE_NUMBER = integer(0, 100_000, "a whole number, 0 or more")
_COST = Check(lambda value: is_number(value) and 0 < value <= _MAX_AMOUNT, "money above 0 and at most a trillion")
_NAMES: dict[str, Schema] = {"*": Check(lambda value: isinstance(value, str), "the name of a column")}
_ID_KEPT = Check(lambda value: value != "", "a name: without ids nobody can be removed from lists later")
_SETTINGS_SCHEMA: Schema = {
    "margin": _SHARE,
    "effect": _SHARE,
    "locale": one_of(*LOCALES),
    "mail_tool": one_of(*_MAIL_TOOLS),
    "bought_within_hours": _WHOLE_NUMBER,
    "contacted_within_days": _WHOLE_NUMBER,
    "costs": {"*": _COST},
    "columns": {"*": {"customer_id?": _ID_KEPT, **_NAMES}},
    "contacts": _NAMES,
}


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
        fault = first_fault(vars(self), _SETTINGS_SCHEMA)
        if fault:
            raise InputError(f"[lists] {fault.path} {fault}")
        unknown = [tool for tool in self.columns if tool not in _MAIL_TOOLS]
        if unknown:
            raise InputError(f"[lists.columns]: unknown: {first_few(unknown)}. Known: {', '.join(_MAIL_TOOLS)}.")

    @property
    def names(self) -> dict[str, str]:
        """Column headings by column."""
        return {**_MAIL_TOOLS[self.mail_tool], **self.columns.get(self.mail_tool, {})}

    def assumptions(self) -> dict[str, Any]:
        """Assumptions behind the maximum cost of a contact."""
        return {
            "margin": self.margin,
            "effect": self.effect,
            "words": message("assumptions", margin=self.margin, effect=self.effect),
        }


def list_settings(values: Mapping[str, Any], **flags: Any) -> ListSettings:
    """Read list settings from the settings file; flags override them."""
    known = [item.name for item in fields(ListSettings)]
    unknown = [name for name in values if name not in known]
    if unknown:
        raise InputError(f"[lists]: unknown: {first_few(unknown)}. Known: {', '.join(known)}.")
    return ListSettings(**{**values, **{name: value for name, value in flags.items() if value is not None}})


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


_MONEY = Nullable(above(0, expected="above 0"))
_LIMIT_SCHEMA: Mapping[str, Schema] = {"budget": _MONEY, "cost_per_contact": _MONEY, "length": Nullable(at_least(1))}


@dataclass(frozen=True)
class ListLimit:
    """How many customers may be contacted."""

    budget: float | None = None
    cost_per_contact: float | None = None
    length: int | None = None

    def __post_init__(self) -> None:
        """Check that the limits make sense together."""
        require_options(vars(self), _LIMIT_SCHEMA)
        if self.budget is None:
            return
        if self.length is not None:
            raise InputError("--budget and --length exclude each other. Give one.")
        if self.cost_per_contact is None:
            raise InputError("--budget needs --cost-per-contact: what one contact costs.")
        if self.budget < self.cost_per_contact:
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
    """Segment, action, channel, day and the maximum cost of a contact for every customer."""
    reach_on, when = contact_timing(tiers, refills=refills is not None)
    risk = pl.col(f"churn_risk_{risk_days}d")
    average_gap = (pl.col("recency_days") / pl.col("frequency")).fill_nan(None).round().clip(lower_bound=1)
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
        average_gap_days=pl.when(pl.col("frequency") > 0).then(average_gap).cast(pl.Int64),
        contact_cost_at_most=pl.when(pl.col("segment").is_in(LISTED_SEGMENTS)).then(gain),
        weight=pl.coalesce(gain, risk * pl.col(f"orders_expected_{risk_days}d")).fill_nan(None).fill_null(0.0),
    )


def with_contacts(rows: pl.DataFrame, contacts: Contacts, *, mail_only: bool) -> tuple[pl.DataFrame, pl.Expr]:
    """Join contact details, and choose a channel that reaches the customer."""
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
    """What has changed since earlier scores: newly at risk, or came back."""
    then = before.select("customer_id", segment_of(before, name=name).alias("then"), pl.col("as_of").alias("day_then"))
    both = rows.select("customer_id", "segment", "last_order_date").join(
        then.filter(pl.col("then") != NO_HISTORY), on="customer_id", how="left", maintain_order="left"
    )
    was, is_now = pl.col("then").is_in(AT_RISK), pl.col("segment").is_in(AT_RISK)
    back = pl.col("last_order_date") > pl.col("day_then")
    changed = pl.when(was & back & ~is_now).then(pl.lit("came back")).when(~was & is_now).then(pl.lit("newly at risk"))
    return both.select(changed.alias("changed")).to_series()


def limit_exclusions(rows: pl.DataFrame, limit: ListLimit, *, costs: Mapping[str, float]) -> pl.Series:
    """Reason why a customer is left out by money or length; the others have the highest gain per unit of money."""
    has_cost = limit.cost_per_contact is not None
    if has_cost and rows.height and not rows["value_at_risk"].is_not_null().any():
        raise InputError("these scores know no money, so a cost cannot be weighed. Give --length instead.")
    ranked = rows.select("customer_id", "weight").with_row_index("row")
    if has_cost:
        cost = rows["channel"].replace_strict(costs, default=limit.cost_per_contact, return_dtype=pl.Float64)
        ranked = ranked.with_columns(cost=cost, rank=pl.col("weight") / cost, pays=pl.col("weight") > cost)
    else:
        ranked = ranked.with_columns(rank="weight", pays=pl.lit(value=True))
    ranked = ranked.sort("pays", "rank", "customer_id", descending=[True, True, False])
    reasons = [pl.when(~pl.col("pays")).then(pl.lit("costs_more_than_it_brings"))]
    if limit.budget is not None:
        reasons.append(pl.when(pl.col("cost").cum_sum() > limit.budget + 1e-9).then(pl.lit("beyond_the_budget")))
    if limit.length is not None:
        reasons.append(pl.when(pl.int_range(pl.len()) >= limit.length).then(pl.lit("beyond_the_length")))
    return ranked.with_columns(left_out=pl.coalesce(reasons)).sort("row")["left_out"]


def export_columns(rows: pl.DataFrame, rules: ListSettings) -> pl.DataFrame:
    """Choose and name the columns that are written; mail tools expect contact details first."""
    details = [name for name in DETAILS if name in rows.columns]
    place = 1 if rules.mail_tool == "plain" else 0
    order = [*_LIST_COLUMNS[:place], *details, *_LIST_COLUMNS[place:], *_REFILL_COLUMNS]
    names = {name: rules.names.get(name, name) for name in order if name in rows.columns}
    written = {name: heading for name, heading in names.items() if heading}
    if len(set(written.values())) < len(written):
        raise InputError(f"[lists.columns.{rules.mail_tool}]: two columns would have one name. Give each its own.")
    return rows.select(pl.col(name).alias(heading) for name, heading in written.items())
