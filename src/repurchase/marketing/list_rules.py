"""What lists are made by: assumptions, costs and column names, from the table ``[lists]`` of the settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from repurchase.errors import InputError, first_few
from repurchase.marketing.cells import LOCALES

__all__ = ["MAIL_TOOLS", "ListRules", "list_rules"]

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
MAIL_TOOLS: Mapping[str, Mapping[str, str]] = {"plain": {}, "klaviyo": _KLAVIYO, "mailchimp": _MAILCHIMP}
"""Our column to the tool's; columns that are not named keep their name and become properties of the contact there."""


MOST_MONEY = 1e12
MOST_SHOWN = 80


@dataclass(frozen=True, kw_only=True)
class ListRules:
    """How lists are made.

    Parameters
    ----------
    margin : float
        Share of a sale that is left after the goods: an assumption until it is set.
    effect : float
        Share of the value at risk that one contact keeps: an assumption; `repurchase campaign` measures it.
    locale : str
        Whose spreadsheets read the lists.
    mail_tool : str
        Whose column names the lists have.
    bought_within_hours : int
        Who bought so lately is left alone.
    contacted_within_days : int
        Who was contacted so lately is left alone.
    costs : mapping of str to float
        Channel to what one contact costs, where channels differ.
    columns : mapping of str to mapping
        Mail tool to column names, over those that are built in; an empty name leaves the column out.
    contacts : mapping of str to str
        What a contact file's columns are called.
    """

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
        """Check every value.

        Raises
        ------
        InputError
            If one is outside its range.
        """
        for name in ("margin", "effect"):
            share = getattr(self, name)
            _require(name, share, _is_number(share) and 0 < share <= 1, "a share above 0 and up to 1")
        _require("locale", self.locale, self.locale in tuple(LOCALES), f"one of {', '.join(LOCALES)}")
        _require("mail_tool", self.mail_tool, self.mail_tool in tuple(MAIL_TOOLS), f"one of {', '.join(MAIL_TOOLS)}")
        for name in ("bought_within_hours", "contacted_within_days"):
            length = getattr(self, name)
            _require(name, length, type(length) is int and 0 <= length <= 100_000, "a whole number, 0 or more")
        costs = isinstance(self.costs, Mapping) and all(
            _is_number(cost) and 0 < cost <= MOST_MONEY for cost in self.costs.values()
        )
        _require("costs", self.costs, costs, "money above 0 and at most a trillion by channel, such as phone = 40.0")
        named = isinstance(self.columns, Mapping) and all(
            tool in MAIL_TOOLS and _names(given) for tool, given in self.columns.items()
        )
        _require("columns", self.columns, named, "names by mail tool, such as [lists.columns.klaviyo] email = 'Email'")
        has_ids = all(given.get("customer_id") != "" for given in self.columns.values())
        _require("columns", self.columns, has_ids, "names that keep customer_id, without which nobody can be forgotten")
        _require("contacts", self.contacts, _names(self.contacts), "names of columns, such as email = 'E-post'")

    @property
    def names(self) -> dict[str, str]:
        """Our column to the name it is written under."""
        return {**MAIL_TOOLS[self.mail_tool], **self.columns.get(self.mail_tool, {})}

    def assumptions(self) -> dict[str, Any]:
        """Say what the most that a contact may cost rests on.

        Returns
        -------
        dict
            ``margin``, ``effect``, and both in words.
        """
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


def list_rules(told: Mapping[str, Any], **flags: Any) -> ListRules:
    """Read the rules from the settings and let flags override them.

    Parameters
    ----------
    told : mapping
        The table ``[lists]``.
    **flags
        Fields of `ListRules`; None means not given.

    Returns
    -------
    ListRules
        Checked.

    Raises
    ------
    InputError
        If a key is not known or a value is outside its range.

    Examples
    --------
    >>> list_rules({"margin": 0.4}, locale="nb").margin
    0.4
    >>> list_rules({"margins": 0.4})
    Traceback (most recent call last):
        ...
    repurchase.errors.InputError: [lists]: unknown: margins. Known: margin, effect, locale, mail_tool, ...
    """
    known = [item.name for item in fields(ListRules)]
    strange = [name for name in told if name not in known]
    if strange:
        raise InputError(f"[lists]: unknown: {first_few(strange)}. Known: {', '.join(known)}.")
    return ListRules(**{**told, **{name: value for name, value in flags.items() if value is not None}})


def _require(name: str, value: object, holds: bool, expected: str) -> None:
    if not holds:
        raise InputError(
            f"unknown {name} or out of range: it must be {expected}. Got {repr(value)[:MOST_SHOWN]} instead."
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _names(given: object) -> bool:
    return isinstance(given, Mapping) and all(isinstance(name, str) for name in given.values())
