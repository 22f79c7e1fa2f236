"""What the columns of an export are called: words of a language, in the spelling of a program or of a person."""

import random
import re
from collections.abc import Callable, Mapping, Sequence

from tests.exports.layout_plan import Plan
from tests.exports.records import MONEY_ROLES

__all__ = ["draw_headings"]

_PRICES = {
    "en": "Price",
    "de": "Preis",
    "fr": "Prix",
    "es": "Precio",
    "nl": "Prijs",
    "nb": "Pris",
    "sv": "Pris",
    "da": "Pris",
    "ru": "Цена",
    "pl": "Cena",
    "pt": "Preço",
    "it": "Prezzo",
}
_ENGLISH: Mapping[str, tuple[str, ...]] = {
    "position": ("Line no", "Position"),
    "line_id": ("Line item ID", "Row ID"),
    "payment_id": ("Payment ID", "Payment reference", "Tracking number"),
    "currency": ("Currency", "Currency code"),
    "country": ("Country",),
    "staff": ("Sales rep", "Employee", "Cashier"),
    "customer_group": ("Customer group", "Customer type"),
    "tax_rate": ("Tax rate", "VAT rate"),
    "channel": ("Channel", "Source"),
    "empty": ("Custom field", "Tags"),
    "store": ("Store", "Shop name"),
    "time": ("Time", "Order time"),
    "total_spent": ("Total spent", "Lifetime value"),
    "fee": ("Payment fee", "Fee"),
    "accepts_marketing": ("Accepts marketing", "Newsletter"),
}


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.replace("'", ""))


def _camel(text: str) -> str:
    first, *rest = _words(text)
    return first.lower() + "".join(word.capitalize() for word in rest)


_STYLES: Mapping[str, Callable[[str], str]] = {
    "as-is": str,
    "snake": lambda text: "_".join(_words(text)).lower(),
    "camel": _camel,
    "upper": str.upper,
    "title": str.title,
}


def draw_headings(roles: Sequence[str], plan: Plan, rng: random.Random, *, currency: str) -> dict[str, str]:
    """Name the columns by role, each differently."""
    headings: dict[str, str] = {}
    style = _STYLES[plan.heading_style]
    for role in roles:
        names = [style(name) + _suffix(role, plan, currency) for name in _choices(role, plan)]
        free = [name for name in names if name.casefold() not in {one.casefold() for one in headings.values()}]
        headings[role] = rng.choice(free) if free else f"{names[0]} 2"
    return headings


def _suffix(role: str, plan: Plan, currency: str) -> str:
    if plan.heading_suffix != "unit":
        return plan.heading_suffix
    return f" ({currency})" if role in MONEY_ROLES else " (UTC)" if role == "date" else ""


def _choices(role: str, plan: Plan) -> tuple[str, ...]:
    language = plan.language
    amount, total = language.columns["line_amount"][1], language.columns["order_total"]
    special: Mapping[tuple[str, str], tuple[str, ...]] = {
        ("total-named-amount", "order_total"): (amount,),
        ("total-named-price", "order_total"): (_PRICES[language.code],),
        ("price-is-of-line", "line_amount"): (_PRICES[language.code],),
        ("amount-is-unit-price", "unit_price"): (amount,),
        ("order-value-is-of-line", "line_amount"): ("Order value",) if language.code == "en" else total[:1],
        ("total-is-of-line", "line_amount"): ("Total",) if language.code == "en" else total[-1:],
    }
    if role == "item_count":
        role = "quantity"
    return special.get((plan.money, role)) or language.columns.get(role) or _ENGLISH[role]
