"""The rules of the segments, told once: for the page, and for the record of lists."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from repurchase.estimators.tiers import BEST, FIRST_TIME, HIGH_RISK, LOST, REGULAR, SLIPPING, WIN_BACK, Tiers
from repurchase.marketing.segments import NO_HISTORY, REFILL
from repurchase.report.language import say
from repurchase.report.words import counted, decimal, money, share, within

__all__ = ["RULES_IN_ORDER", "Rules", "rules_told"]

RULES_IN_ORDER: Mapping[str, str] = {
    NO_HISTORY: "no_history",
    LOST: "lost",
    FIRST_TIME: "first_time",
    SLIPPING: "slipping",
    BEST: "best",
    WIN_BACK: "win_back",
    REFILL: "refill",
    REGULAR: "regular",
}
"""As they are tried: in ``tiers.label``, and then in `marketing.lists.list_rows`."""


class Rules(NamedTuple):
    """The rules in words.

    Parameters
    ----------
    intro : str
        How they are tried, and what "silent" means.
    by_segment : dict of str to str
        Segment to rule, in the order in which they are tried.
    """

    intro: str
    by_segment: dict[str, str]


def rules_told(tiers: Mapping[str, Any] | None, *, has_money: bool, currency: str | None = None) -> Rules:
    """State the rules of the segments with the thresholds that a shop's model learned.

    Parameters
    ----------
    tiers : mapping, optional
        ``Tiers.to_dict``, as the record of a scoring run has it; without it no thresholds are told.
    has_money : bool
        Whether the log knows money.
    currency : str, optional
        As shown to readers.

    Returns
    -------
    Rules
        In the language that is spoken.

    Examples
    --------
    >>> rules_told(None, has_money=True).by_segment["lost"]
    'The record of the run does not hold the thresholds.'
    """
    if not tiers:
        unknown = say("rule.unknown")
        return Rules(unknown, dict.fromkeys(RULES_IN_ORDER, unknown))
    own = Tiers.from_dict(dict(tiers))
    second = counted(round(own.second_purchase_days), "day")

    def worth(value: float) -> str:
        return money(value, currency) if has_money else say("rule.orders", value=decimal(value, 2))

    filled = {
        "second": second,
        "within": within(own.risk_horizon_days),
        "p": share(own.worth_winning),
        "low": worth(own.worth_value),
        "high": worth(own.high_value),
        "loyal": own.loyal_purchases,
        "risk": share(HIGH_RISK),
        "when": _second_purchases(own),
    }
    rules = {segment: say(f"rule.{key}", **filled) for segment, key in RULES_IN_ORDER.items()}
    return Rules(say("rule.intro", second=second, late=decimal(own.late_from, 2)), rules)


def _second_purchases(own: Tiers) -> str:
    days = (own.second_purchase_from_days, own.second_purchase_median_days)
    if None in days:
        return say("rule.second")
    quarter, half = (within(round(day)) for day in days if day is not None)
    return say("rule.second_by_part", quarter=quarter, half=half)
