"""Which columns could have a role: ranked by their names, and checked against their values."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from repurchase.orders.column_profiles import ColumnProfile, share
from repurchase.orders.decisions import Fact
from repurchase.orders.vocabulary import NOT_FOR, ColumnName

__all__ = ["MONEY_ROLES", "RANKED_ROLES", "Candidate", "money_rank", "rank_columns"]

MONEY_ROLES = ("amount", "order_total")
_UNKNOWN_LETTERS = 20.0
_LINES_OF_ONE_ORDER = 20


@dataclass(frozen=True)
class Candidate:
    """A column that could have a role.

    Parameters
    ----------
    profile : ColumnProfile
        The column.
    rank : float
        How well it fits; higher is better.
    against : Fact, optional
        What its values say against it; such a candidate is not chosen unless it was named.
    """

    profile: ColumnProfile
    rank: float
    against: Fact | None = None


Ranking = Callable[[ColumnProfile], tuple[float, Fact | None] | None]


def rank_columns(profiles: Sequence[ColumnProfile], role: str) -> list[Candidate]:
    """Rank the columns that could have a role.

    Parameters
    ----------
    profiles : sequence of ColumnProfile
        Columns that have no role yet.
    role : str
        One of ``RANKED_ROLES``.

    Returns
    -------
    list of Candidate
        Best first; those that their values speak against come last.
    """
    ranking = RANKED_ROLES[role]
    found = [Candidate(profile, *ranked) for profile in profiles if (ranked := ranking(profile)) is not None]
    return sorted(found, key=lambda candidate: (candidate.against is not None, -candidate.rank))


def _unknown(column: ColumnProfile) -> float:
    return min(4.0, column.name.unknown / 4.0)


def _customer(column: ColumnProfile) -> tuple[float, Fact | None] | None:
    name = column.name
    if (column.is_flag and not name.has("id")) or column.values.dtype.is_temporal():
        return None
    if column.n_filled == 0:  # the last to be chosen, so that a message can name it
        return (0.0, Fact("mostly_empty", {"share": 0.0})) if name.has("customer") else None
    rank = _contact_rank(column) or _customer_rank(column)
    return None if rank is None else (rank - _unknown(column), None)


def _contact_rank(column: ColumnProfile) -> float | None:
    name = column.name
    if name.has("employee") and not name.has("customer"):
        return None
    if name.has("email") and not name.has("date", "time", "status", "type", "first", "shipped", "amount"):
        return 80.0 + (column.email_share >= 0.5) - 0.5 * name.has("invoice")
    return 30.0 if name.has("phone") and not name.has("date", "type") else None


def _customer_rank(column: ColumnProfile) -> float | None:
    name = column.name
    if _is_card(name):
        return 87.0
    if name.has(*NOT_FOR["id"]) or name.has("order", "transaction", "product", "line", "invoice", "receipt"):
        return None
    named, is_person = name.has("customer"), name.has("person")
    if named and name.has("id") and not is_person:
        return 100.0
    if (named or is_person) and column.person_share >= 0.5:
        return 20.0 + 2.0 * named
    if not named:
        return None
    return 15.0 if is_person else 88.0 - _unknown(column)


def _is_card(name: ColumnName) -> bool:
    """Whether a name is of a member's card or number of a loyalty programme, not of its points or days."""
    other = name.has("balance", "date", "amount", "total", "status", "type")
    is_card = (name.has("loyalty") and name.has("id")) or name.concepts[:2] == ("customer", "method")
    return is_card and not other


def _order(column: ColumnProfile) -> tuple[float, Fact | None] | None:
    name = column.name
    if (column.is_flag and not name.has("id")) or column.values.dtype.is_temporal() or name.has(*NOT_FOR["id"]):
        return None
    if column.n_distinct < 2 and (column.n_distinct == 0 or column.n_filled > _LINES_OF_ONE_ORDER):
        return None
    if name.has("customer", "product", "email", "phone", "employee"):
        return None
    missing = 40.0 * (1.0 - column.n_filled / max(len(column.values), 1))
    rank = _order_word(column)
    if rank is None:
        return None
    rank -= 8.0 * (name.has("line", "record")) + _unknown(column) + missing
    return rank + (2.0 if name.has("id") else -12.0), None


def _order_word(column: ColumnProfile) -> float | None:
    name = column.name
    words = (
        ("order", 100.0),
        ("receipt", 95.0),
        ("sale", 94.0),
        ("invoice", 93.0),
        ("transaction", 92.0),
        ("basket", 88.0),
    )
    found = next((rank for concept, rank in words if name.has(concept)), None)
    if found is not None:
        many = column.n_distinct >= (0.01 if found >= 93.0 and not name.has("sale") else 0.2) * column.n_filled
        return found if name.has("id") or (many and column.person_share < 0.5) else None
    if name.only("id") and column.n_distinct >= 0.3 * column.n_filled:
        return 55.0
    looks_numbered = share(column.ids.drop_nulls().str.contains(r"^[#A-Za-z\-]{0,8}\d+[A-Za-z\-]{0,4}$"))
    return 60.0 if name.only("person") and looks_numbered >= 0.9 else None


def _date(column: ColumnProfile) -> tuple[float, Fact | None] | None:
    name = column.name
    of_event = name.concepts[:2] in {("type", "date"), ("type", "time")}  # event_date, Vorgangsdatum
    unwanted = [concept for concept in NOT_FOR["date"] if not (of_event and concept == "type")]
    if name.has(*unwanted) or column.is_flag or column.n_filled == 0:
        return None
    rank = _date_word(column)
    if rank is None:
        return None
    rank -= _unknown(column) / 2.0
    return rank, None if column.date_share >= 0.5 else Fact("not_dates")


def _date_word(column: ColumnProfile) -> float | None:
    name = column.name
    is_day = name.has("date", "time")
    if name.has("created"):
        return 99.0 if is_day else 97.0
    if name.has("paid", "valid"):
        return 60.0 + is_day if is_day or column.date_share >= 0.9 else None
    if name.has("processed"):
        return 70.0
    for concept, rank in (
        ("order", 100.0),
        ("sale", 98.0),
        ("transaction", 95.0),
        ("receipt", 94.0),
        ("invoice", 90.0),
    ):
        if name.has(concept):
            return rank if is_day else (50.0 if column.date_share >= 0.9 and column.number_share < 0.5 else None)
    if name.has("date"):
        return 93.0
    return 55.0 if name.has("time") and column.clock_share < 0.5 else None


def money_rank(column: ColumnProfile) -> float | None:
    """Rank a column as the money a customer paid.

    Parameters
    ----------
    column : ColumnProfile
        The column; only its name counts.

    Returns
    -------
    float or None
        Higher is better; None where the name speaks of something else.
    """
    name = column.name
    if name.has(*NOT_FOR["money"]) and not (name.has("tax") and name.has("including", "excluding")):
        return None
    if name.has("tax") and not name.has("including", "excluding"):
        return None
    if name.has("unit", "price") and not name.has("total", "order"):
        return None
    rank = _money_word(column)
    if rank is None:
        return None
    rank += (
        0.50 * name.has("adjusted")
        + 0.30 * name.has("including")
        - 1.0 * name.has("excluding")
        - 1.5 * name.has("converted")
    )
    rank += 0.20 * name.has("grand") + 0.10 * name.has("order", "paid") + 0.05 * name.has("base")
    after_discount = name.has("net") and name.has("sale", "revenue")  # net of discounts, where gross is before them
    rank += 1.5 * after_discount - 0.60 * (name.has("net") and not after_discount) - 0.40 * name.has("purchased")
    rank -= 2.0 * (name.concepts == ("total", "line"))  # total items may be how many; of lines it is the line total
    return rank - name.unknown / _UNKNOWN_LETTERS


def _money_word(column: ColumnProfile) -> float | None:
    name = column.name
    if name.only("amount") and name.text.strip().casefold() in {"amount", "net_amount"}:
        return 10.0
    words = (
        ("subtotal", 4.0),
        ("total", 9.0),
        ("revenue", 8.0),
        ("amount", 8.0),
        ("price", 7.5),
        ("grand", 7.0),
        ("net", 7.0),
        ("sale", 6.0),
        ("paid", 5.0),
    )
    return next((rank for concept, rank in words if name.has(concept)), None)


def _money(column: ColumnProfile) -> tuple[float, Fact | None] | None:
    rank = money_rank(column)
    if rank is None:
        return None
    if column.number_share < 0.5 or column.is_flag:
        return None if column.n_filled and rank < 8.0 else (rank, Fact("not_numbers"))
    rank -= 10.0 * (1.0 - column.number_share)
    most = 0.5 if column.name.has("adjusted") else 0.9
    if column.zero_share >= most and column.n_filled >= 0.5 * len(column.values):
        return rank, Fact("mostly_zero", {"share": column.zero_share})
    return rank, None


def _refund(column: ColumnProfile) -> tuple[float, Fact | None] | None:
    name = column.name
    if not name.has("refund") or name.has("id", "date", "status", "type", "quantity", "tax", "shipped", "fee", "note"):
        return None
    if column.number_share < 0.5 or column.n_filled == 0:
        return None
    rank = 10.0 + name.has("total", "amount") - 2.0 * name.has("converted") - _unknown(column)
    return rank, None if column.zero_share >= 0.3 or column.n_filled < len(column.values) else Fact(
        "mostly_zero", {"share": 0.0}
    )


def _status(column: ColumnProfile) -> tuple[float, Fact | None] | None:
    name = column.name
    if (
        name.has("shipped", "customer", "address", "product", "line", "email", "tax", "reason", "refund")
        or column.is_flag
        or not column.few_values
    ):
        return None
    known = column.status_share
    if name.has("status"):
        if known == 0.0 and not (name.has("order", "paid", "financial") or name.only("status")):
            return None
        return 10.0 + 2.0 * name.has("order") + name.has("paid", "financial") + known - _unknown(column) / 4.0, None
    by_content = known >= 0.9 and column.excludes_orders and not column.is_flag
    answers = known == 1.0 and len(column.few_values) > 1  # of a payment provider: gateway_response
    named_otherwise = name.has("type", "note") or (name.has("method") and not answers)
    return (5.0 + known, None) if by_content and not named_otherwise else None


def _record_type(column: ColumnProfile) -> tuple[float, Fact | None] | None:
    name = column.name
    if name.has("customer", "product", "address", "method", "shipped", "email", "discount") or not column.few_values:
        return None
    if not column.has_refund_type or column.is_flag:
        return None
    if name.has("type"):
        return 10.0 + column.type_share, None
    by_content = column.type_share >= 0.98 and not name.has("status", "id", "note")
    return (4.0, None) if by_content else None


def _price(column: ColumnProfile) -> tuple[float, Fact | None] | None:
    name = column.name
    named = name.has("price") or (name.has("unit") and name.has("amount", "total", "net"))
    per_piece = name.concepts[:1] == ("price",) and name.has("quantity", "id")
    if not named or (name.has(*NOT_FOR["price"]) and not per_piece) or (name.has("total") and not name.has("unit")):
        return None
    if column.number_share < 0.5:
        return None
    return 10.0 + 2.0 * name.has("line", "unit") - 3.0 * name.has("customer") - _unknown(column), None


def _numeric(*, wanted: Sequence[str], unwanted: Sequence[str], base: float = 10.0) -> Ranking:
    def rank(column: ColumnProfile) -> tuple[float, Fact | None] | None:
        name = column.name
        if not name.has(*wanted) or name.has(*unwanted) or column.number_share < 0.5:
            return None
        return base + 2.0 * name.has("line", "unit") - _unknown(column), None

    return rank


def _text(*, wanted: Sequence[str], unwanted: Sequence[str], better: Sequence[str] = ()) -> Ranking:
    def rank(column: ColumnProfile) -> tuple[float, Fact | None] | None:
        name = column.name
        if not name.has(*wanted) or name.has(*unwanted) or column.n_filled == 0:
            return None
        return 10.0 + 2.0 * name.has(*better) - 3.0 * name.has("person") - _unknown(column), None

    return rank


def _product(column: ColumnProfile) -> tuple[float, Fact | None] | None:
    name = column.name
    named = name.has("product") or (
        name.has("line") and name.has("id", "person") and column.n_distinct < column.n_filled
    )
    if not named or name.has(*NOT_FOR["product"]) or column.n_filled == 0:
        return None
    return 10.0 + 2.0 * name.has("id", "line") - 3.0 * name.has("person") - _unknown(column), None


def _cancelled_at(column: ColumnProfile) -> tuple[float, Fact | None] | None:
    name = column.name
    if not name.has("cancelled") or name.has("note", "id", "amount", "total", "status", "type", "reason", "quantity"):
        return None
    if column.is_flag or (column.n_filled and column.digit_share < 0.9):
        return None
    return 10.0 + name.has("date", "time"), None


def _paid_at(column: ColumnProfile) -> tuple[float, Fact | None] | None:
    name = column.name
    if not name.has("paid") or name.has("shipped", "status", "method", "id", "amount", "due", "type") or column.is_flag:
        return None
    return (10.0 - _unknown(column), None) if column.date_share >= 0.9 and column.n_filled else None


def _flag(*concepts: str) -> Ranking:
    def rank(column: ColumnProfile) -> tuple[float, Fact | None] | None:
        return (10.0, None) if column.name.has(*concepts) and column.is_flag else None

    return rank


def _currency(column: ColumnProfile) -> tuple[float, Fact | None] | None:
    name = column.name
    if not name.has("currency") or name.has("converted", "amount", "total") or column.currency_share < 0.9:
        return None
    return 10.0 + name.has("order") - _unknown(column), None


RANKED_ROLES: Mapping[str, Ranking] = {
    "customer_id": _customer,
    "order_id": _order,
    "order_date": _date,
    "amount": _money,
    "refunded": _refund,
    "status": _status,
    "record_type": _record_type,
    "quantity": _numeric(
        wanted=("quantity",),
        unwanted=("id", "customer", "refund", "tax", "price", "amount", "discount", "cancelled", "shipped", "order"),
    ),
    "price": _price,
    "line_discount": _numeric(wanted=("discount",), unwanted=("order", "total", "id", "type")),
    "discount": _numeric(wanted=("discount",), unwanted=("line", "id", "type", "tax")),
    "product_id": _product,
    "category": _text(wanted=("category",), unwanted=("customer", "id", "price", "tax")),
    "channel": _text(wanted=("channel",), unwanted=("id", "date", "amount", "address", "customer")),
    "currency": _currency,
    "cancelled_at": _cancelled_at,
    "paid_at": _paid_at,
    "cancelled": _flag("cancelled", "test"),
    "paid": _flag("paid", "valid"),
    "employee": _flag("employee"),
}
"""How the columns for each role are ranked."""
