"""Which column of an export has which role: named by the user, or detected by its name and values."""

import difflib
from collections.abc import Mapping, Sequence

import polars as pl

from repurchase.errors import LayoutError, first_few
from repurchase.i18n.messages import Message, first_items, message
from repurchase.orders.cleaning_rules import exact_repeats
from repurchase.orders.column_profiles import Candidate, ColumnProfile, profile_columns, rank_columns, share
from repurchase.orders.ids import placeholder_ids
from repurchase.orders.layout import (
    FILE_COLUMN,
    STATUS_ROLES,
    Fact,
    KnownExport,
    Layout,
    ReadingDecision,
    RoleDecision,
    known_export,
)
from repurchase.orders.money_columns import MoneyColumnDetector, MoneyInterpretation
from repurchase.orders.money_evidence import MoneyEvidence, MoneyRows, grain_evidence
from repurchase.sources.statuses import StatusClass, classify_status, classify_types
from repurchase.sources.vocabulary import ROLES, column_key, parse_name

_SHOWN_COLUMNS = 12
_ROLE_NAMES = {"customer_id": "the customer", "order_date": "the date of the order", "amount": "the amount"}
"""Roles of which two columns that fit equally well are an error, and what they are called."""
_HINTS: Mapping[str, tuple[str, ...]] = {
    "customer_id": ("customer", "email", "person", "phone"),
    "order_date": ("date", "time", "created"),
}


def _missing_roles(missing: Sequence[str], roles: Mapping[str, str], columns: Sequence[str], source: str) -> str:
    """Say which roles have no column, and how to name it."""
    taken = set(roles.values())
    guesses = {}
    for role in missing:
        guesses[role] = next((c for c in columns if parse_name(c).has(*_HINTS[role]) and c not in taken), "...")
        taken.add(guesses[role])
    pairs = ",".join(f"{role}={column}" for role, column in guesses.items())
    option = f'"{pairs}"' if " " in pairs else pairs
    were = "column was" if len(missing) == 1 else "columns were"
    return (
        f"{source}: {len(missing)} required {were} not found: {', '.join(missing)}. "
        f"Columns: {first_few(columns, shown=_SHOWN_COLUMNS)}. Name them: --columns {option}"
    )


def _named_column(role: str, name: str, columns: Sequence[str], source: str) -> str:
    """Find a column that the user named."""
    if role not in ROLES:
        near = difflib.get_close_matches(role, ROLES, n=1)
        hint = f"Did you mean '{near[0]}'?" if near else f"Known are: {', '.join(ROLES)}."
        raise LayoutError(f"{source}: --columns names '{role}', which is not one of our columns. {hint}")
    if name in columns:
        return name
    alike = [column for column in columns if column_key(column) == column_key(name)]
    if len(alike) == 1:
        return alike[0]
    near = difflib.get_close_matches(name, columns, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"Found: {first_few(columns, shown=_SHOWN_COLUMNS)}."
    raise LayoutError(f"{source}: --columns {role}={name} names a column that is not there. {hint}")


_MIN_ORDERS = 50
_ONE_EACH = 0.99
_FEWER_CUSTOMERS = (0.05, 0.9)
_FILLED = 0.95
_MAX_PLACEHOLDERS = 0.002


def _prefer_repeat_customers(best: Candidate, others: Sequence[Candidate], orders: ColumnProfile | None) -> Candidate:
    """Replace a column that has a new customer for every order, as some marketplaces write it."""
    if orders is None or orders.n_distinct < _MIN_ORDERS:
        return best
    customers = best.profile.n_distinct
    if customers < _ONE_EACH * orders.n_distinct:
        return best
    least, most = (factor * customers for factor in _FEWER_CUSTOMERS)
    for other in others:
        profile = other.profile
        if profile is best.profile or not profile.name.has("id", "email") or profile.name.has("person"):
            continue
        is_filled = profile.n_filled >= _FILLED * best.profile.n_filled
        if is_filled and least <= profile.n_distinct <= most:
            pairs = pl.DataFrame({"one": best.profile.ids, "other": profile.ids}).drop_nulls().unique()
            if pairs["one"].n_unique() == pairs.height:
                return other
    return best


def _adds_customers(profile: ColumnProfile, other: ColumnProfile) -> bool:
    """Say whether another column names customers on rows where the first one names nobody."""
    nobody = profile.ids.is_null() | placeholder_ids(profile.ids).fill_null(value=True)
    named = other.ids.is_not_null() & ~placeholder_ids(other.ids).fill_null(value=True)
    return bool((nobody & named).any())


def _email_preference(profile: ColumnProfile, email: ColumnProfile) -> Fact | None:
    """Say why e-mail addresses are the better customer ids, if they are."""
    value, rows = _placeholder_share(profile)
    if rows > _MAX_PLACEHOLDERS * profile.n_filled and email.n_filled >= profile.n_filled - rows:
        return Fact("placeholder", {"value": value, "rows": rows, "total": profile.n_filled})
    if profile.n_filled < 0.95 * email.n_filled:
        return Fact("mostly_empty", {"share": profile.n_filled / max(len(profile.values), 1)})
    if profile.person_share >= 0.5 and not profile.name.has("id"):
        return Fact("person_names")
    return None


def _placeholder_share(profile: ColumnProfile) -> tuple[str, int]:
    """The most frequent placeholder of a column of customers, and the rows of all of them."""
    marked = profile.ids.filter(placeholder_ids(profile.ids).fill_null(value=False))
    if marked.is_empty():
        return "", 0
    return str(marked.value_counts(sort=True).row(0)[0]), len(marked)


_MIN_SHARED = 5
_MIN_SHARED_SHARE = 0.2


def _joined(*columns: pl.Series) -> pl.Series:
    return pl.select(pl.concat_str(columns, separator="\0")).to_series()


def _order_blocks(orders: pl.Series, files: pl.Series | None) -> pl.Series:
    """Number the runs of consecutive rows with one order number: a number used twice is two orders."""
    return _joined(orders, orders.rle_id().cast(pl.String), *([files] if files is not None else []))


def _shared_numbers(orders: pl.Series, customers: pl.Series) -> float | None:
    """Find the share of order numbers with several customers, as where they begin anew each year or in each shop."""
    known = pl.DataFrame({"order": orders, "customer": customers}).drop_nulls()
    several = known.group_by("order").agg(pl.col("customer").n_unique())["customer"] > 1
    return None if several.sum() < _MIN_SHARED or share(several) < _MIN_SHARED_SHARE else share(several)


_ROLES_OF_SALES = frozenset({*STATUS_ROLES, "record_type", "cancelled_at", "cancelled", "paid"})
"""Roles of columns that say which orders are sales."""
_CONCERNS = (
    ("refund", "unused_refund"),
    ("cancelled", "unused_cancelled"),
    ("status", "unused_status"),
    ("test", "unused_test"),
)


def _unused_columns(free: Sequence[ColumnProfile], decisions: Sequence[RoleDecision]) -> tuple[tuple[str, Fact], ...]:
    """Find columns that may say which orders count, but have no role."""
    shown = {column for decision in decisions for column, _ in decision.rejected}
    rest = [profile for profile in free if profile.n_filled and profile.text not in shown]
    found = {profile.text: Fact(concern) for profile in rest if (concern := _concern(profile))}
    if not any(decision.role in _ROLES_OF_SALES for decision in decisions):
        few = [profile.text for profile in rest if profile.text not in found and profile.has_few_texts]
        found |= {column: Fact("unused_few_values", {"option": f"--columns status={few[0]}"}) for column in few}
    return tuple(found.items())[:_SHOWN_COLUMNS]


def _concern(profile: ColumnProfile) -> str | None:
    if profile.name.has("shipped", "customer"):
        return None
    concern = next((key for concept, key in _CONCERNS if profile.name.has(concept)), None)
    return concern or ("unused_type" if profile.name.has("type") and profile.has_refund_type else None)


_REQUIRED = ("customer_id", "order_date")
_ON_EVERY_ORDER = ("order_date", "customer_id")  # in this order: a guest's order has a date, but no customer
_PLAIN_ROLES = {
    **dict.fromkeys(("cancelled_at", "cancelled", "paid", "paid_at", "currency"), True),
    **dict.fromkeys(("product_id", "quantity", "category", "channel", "discount", "employee"), False),
}
"""Roles that the best ranked column has, and whether the reading decision shows them."""
_SAME = 0.99
_RANK_TOLERANCE = 0.05
_CONTINUED = 0.05


def detect_layout(rows: pl.DataFrame, *, named: Mapping[str, str] | None = None, source: str = "orders") -> Layout:
    """Decide what the columns of an export are."""
    return _LayoutDetection(rows, named or {}, source).layout()


class _LayoutDetection:
    """One pass over the roles; each finds its column among those that are still free."""

    def __init__(self, rows: pl.DataFrame, named: Mapping[str, str], source: str) -> None:
        self.source = source
        self.rows = rows.drop(FILE_COLUMN, strict=False)
        self.profiles = {profile.text: profile for profile in profile_columns(rows)}
        self.files = rows[FILE_COLUMN].cast(pl.String) if FILE_COLUMN in rows.columns else None
        self.named = {role: _named_column(role, name, list(self.profiles), source) for role, name in named.items()}
        self.roles: dict[str, str] = {}
        self.decisions: list[RoleDecision] = []
        self.export = known_export(list(self.profiles)) or KnownExport("orders with named columns", ())
        self.notes: list[Message] = [*self.export.notes]

    def layout(self) -> Layout:
        self._date()
        self._order()
        self._customer()
        self._require()
        orders, continued = self._orders()
        header = self.roles["order_id"] if continued else self._header(orders, _ON_EVERY_ORDER)
        header = header or self._header_of_few(orders)
        self._plain_role("record_type")
        shared = None if continued or header else _shared_numbers(orders, self._ids("customer_id"))
        if shared is not None:
            self.notes.append(message("cleaning_note.shared_numbers", share=shared))
        money = self._money(orders, first_line_only=continued or header is not None, by_day=shared is not None)
        self._statuses()
        header = header or self._header(orders, ("order_total", *STATUS_ROLES))
        for role, shown in _PLAIN_ROLES.items():
            self._plain_role(role, shown=shown)
        in_lines = money.rule in {"order_total", "quantity_price"} or "product_id" in self.roles
        return Layout(
            name=self.export.name,
            columns={role: self.roles[role] for role in (*ROLES, "customer_fallback") if role in self.roles},
            grain="lines" if in_lines else "orders",
            amount_rule=money.rule,
            refund_per=money.refund_per,
            header_column=header,
            continued=continued,
            numbers_recur=shared is not None,
            cancellation_prefix=self.export.cancellation_prefix,
            shop_statuses=self._shop_statuses(),
            notes=tuple(self.notes),
            decision=ReadingDecision(tuple(self.decisions), _unused_columns(self._free(), self.decisions)),
        )

    def _free(self) -> list[ColumnProfile]:
        taken = {*self.roles.values(), *self.named.values()}
        return [profile for name, profile in self.profiles.items() if name not in taken]

    def _ids(self, role: str) -> pl.Series:
        return self.profiles[self.roles[role]].ids

    def _status_profiles(self) -> list[ColumnProfile]:
        return [self.profiles[self.roles[role]] for role in STATUS_ROLES if role in self.roles]

    def _find(self, role: str) -> tuple[str | None, Fact, list[Candidate]]:
        """Find the column of a role: the named one, or the best of the candidates."""
        candidates = rank_columns(self._free(), role)
        if role in self.named:
            return self.named[role], Fact("named"), candidates
        best = self._best(role, candidates)
        return best.profile.text if best else None, Fact("by_name"), candidates

    def _best(self, role: str, candidates: Sequence[Candidate]) -> Candidate | None:
        fitting = [candidate for candidate in candidates if candidate.against is None] or list(candidates)
        if not fitting:
            return None
        best = fitting[0]
        rivals = (other for other in fitting[1:] if best.rank - other.rank < _RANK_TOLERANCE)
        different = [other.profile.text for other in rivals if not _is_equivalent(best.profile, other.profile)]
        if different and role in _ROLE_NAMES:
            columns = [best.profile.text, *different]
            choices = " or ".join(f"--columns {role}={column}" for column in columns[:3])
            raise LayoutError(
                f"{self.source}: {len(columns)} columns could be {_ROLE_NAMES[role]} ({role}) equally well: "
                f"{first_few(columns)}. Say which: {choices}"
            )
        return best

    def _date(self) -> None:
        column, evidence, candidates = self._find("order_date")
        if column is None and (column := self._only_dates()) is not None:
            evidence = Fact("only_dates")
        if column is None:
            return
        self.roles["order_date"] = column
        clock = self.named.get("order_time") or self._clock(self.profiles[column])
        meaning = Fact("dates_and_times", {"column": clock}) if clock else Fact("dates")
        rejected = _rejected(candidates, column)
        self.decisions.append(RoleDecision("order_date", column, meaning, (evidence,), rejected))
        if clock:
            self.roles["order_time"] = clock

    def _only_dates(self) -> str | None:
        dates = [
            profile.text
            for profile in self._free()
            if profile.date_share >= 0.95 and (profile.values.dtype.is_temporal() or profile.number_share < 0.5)
        ]
        return dates[0] if len(dates) == 1 else None

    def _clock(self, date: ColumnProfile) -> str | None:
        if date.values.dtype.is_temporal() and date.values.dtype != pl.Date:
            return None
        first = date.ids.drop_nulls().head(200)
        may_have_times = first.str.contains(r"\d[:.]\d{2}([:. ]|$)|\d{9}").any()
        if may_have_times and share(first.str.contains(r"\d[:.]\d{2}")) > 0.5:
            return None
        others = (profile for profile in self._free() if profile.name.has("time", "date"))
        return next((profile.text for profile in others if profile.clock_share >= 0.9), None)

    def _order(self) -> None:
        column, evidence, _ = self._find("order_id")
        if column is None:
            self.decisions.append(RoleDecision("order_id", None, Fact("no_order_id")))
            return
        self.roles["order_id"] = column
        self.decisions.append(RoleDecision("order_id", column, Fact("order_id"), (evidence,)))

    def _customer(self) -> None:
        candidates = rank_columns(self._free(), "customer_id")
        emails = [c for c in candidates if c.profile.name.has("email") and c.profile.email_share >= 0.5]
        email = max(emails, key=lambda candidate: (candidate.profile.n_filled, candidate.rank), default=None)
        candidates = [candidate for candidate in candidates if candidate is email or candidate not in emails]
        named = self.named.get("customer_id")
        if named is not None:
            self._take_customer(self.profiles[named], email, Fact("named"), ())
            return
        best = self._best("customer_id", candidates)
        if best is None:
            return
        best = self._with_repeat_customers(best, candidates)
        rejected = _rejected(candidates, best.profile.text, only=("person",))
        fallback = email if email is not best else None
        if fallback is not None and (against := _email_preference(best.profile, fallback.profile)) is not None:
            rejected = ((best.profile.text, against),)
            best, fallback = fallback, best
        self._take_customer(best.profile, fallback, Fact("by_name"), rejected)

    def _with_repeat_customers(self, best: Candidate, candidates: Sequence[Candidate]) -> Candidate:
        orders = self.profiles[self.roles["order_id"]] if "order_id" in self.roles else None
        better = _prefer_repeat_customers(best, candidates, orders)
        if better is not best:
            columns = {"other": best.profile.text, "column": better.profile.text}
            self.notes.append(message("cleaning_note.repeat_customers", **columns))
        return better

    def _take_customer(
        self,
        profile: ColumnProfile,
        fallback: Candidate | None,
        evidence: Fact,
        rejected: tuple[tuple[str, Fact], ...],
    ) -> None:
        meaning = Fact("customer_id")
        if profile.name.has("email"):
            meaning = Fact("customer_email")
        elif profile.name.has("phone"):
            meaning = Fact("customer_phone")
        elif profile.person_share >= 0.5:
            meaning = Fact("customer_name")
        facts = [evidence]
        if fallback is not None and _adds_customers(profile, fallback.profile):
            facts.append(Fact("fallback", {"column": fallback.profile.text}))
            self.roles["customer_fallback"] = fallback.profile.text
        self.roles["customer_id"] = profile.text
        self.decisions.insert(0, RoleDecision("customer_id", profile.text, meaning, tuple(facts), rejected))

    def _require(self) -> None:
        missing = [role for role in _REQUIRED if role not in self.roles]
        if missing:
            raise LayoutError(_missing_roles(missing, self.roles, list(self.profiles), self.source))
        for role in _REQUIRED:
            twins = [other for other in _ROLE_NAMES if other != role and self.named.get(other) == self.roles[role]]
            if twins:
                raise LayoutError(
                    f"{self.source}: column '{self.roles[role]}' cannot be both {role} and {twins[0]}. "
                    f"Say which is which: --columns {role}=...,{twins[0]}=..."
                )

    def _orders(self) -> tuple[pl.Series, bool]:
        """The order of each row, and whether rows without any order field belong to the order above them."""
        if "order_id" not in self.roles:
            return pl.Series([None], dtype=pl.String).new_from_index(0, self.rows.height), False
        orders = self._ids("order_id")
        blank = orders.is_null()
        if blank.any() and share(blank) >= _CONTINUED and not blank[0]:
            others = [self.profiles[self.roles[role]].filled for role in _REQUIRED]
            if not any((blank & filled).any() for filled in others):
                return orders.forward_fill(), True
        return orders, False

    def _header(self, orders: pl.Series, roles: Sequence[str]) -> str | None:
        """The first column of these roles that is filled on the first line of an order only."""
        columns = [self.roles[role] for role in roles if role in self.roles]
        blocks = _order_blocks(orders, self.files)
        grains = ((name, grain_evidence(self.profiles[name].ids, blocks).grain) for name in columns)
        return next((name for name, grain in grains if grain == "first_line"), None)

    def _header_of_few(self, orders: pl.Series) -> str | None:
        """The column of dates, where the few orders with lines lack both customer and date on their later ones."""
        blocks = _order_blocks(orders, self.files)
        grains = (grain_evidence(self._ids(role), blocks, enough=1).grain for role in _REQUIRED)
        return self.roles["order_date"] if all(grain == "first_line" for grain in grains) else None

    def _money(self, orders: pl.Series, *, first_line_only: bool, by_day: bool) -> MoneyInterpretation:
        customers = self._ids("customer_id")
        if by_day:
            orders = _joined(orders, self._ids("order_date").fill_null(""))
        if first_line_only:
            apart = _order_blocks(orders, self.files)
        else:  # a row written twice does not say that all lines of its order are alike
            apart = _joined(orders, customers.fill_null("")).set(exact_repeats(self.rows), None)
        kinds = self.profiles[self.roles["record_type"]] if "record_type" in self.roles else None
        rows = MoneyRows(apart, customers, _sales(kinds, len(apart)), first_line_only)
        money = MoneyColumnDetector(MoneyEvidence(self.profiles, self.named, self._free(), rows), self.source).read()
        self.roles.update(money.columns)
        self.decisions.extend(money.decisions)
        if money.rule == "none":
            self.notes.append(message("cleaning_note.no_money", names=first_items(list(self.profiles), _SHOWN_COLUMNS)))
        return money

    def _statuses(self) -> None:
        for role in STATUS_ROLES:
            if role in self.named:
                self._take_status(role, self.named[role], Fact("named"))
        open_roles = [role for role in STATUS_ROLES if role not in self.named]
        candidates = [candidate.profile for candidate in rank_columns(self._free(), "status")]
        distinguishing = [profile for profile in candidates if self._distinguishes_orders(profile)]
        for role, profile in zip(open_roles, distinguishing, strict=False):
            self._take_status(role, profile.text, Fact("by_name" if profile.name.has("status") else "by_content"))

    def _take_status(self, role: str, column: str, evidence: Fact) -> None:
        self.roles[role] = column
        self.decisions.append(RoleDecision(role, column, Fact("status"), (evidence,)))

    def _understood_statuses(self, profile: ColumnProfile) -> list[bool]:
        shop = self._shop_statuses()
        return [classify_status(status, shop=shop) not in {"unclear", "unknown"} for status in profile.few_values]

    def _distinguishes_orders(self, profile: ColumnProfile) -> bool:
        """Whether statuses tell orders apart; one status of all, of which nothing is known, does not."""
        understood = self._understood_statuses(profile)
        return len(understood) != 1 or any(understood)

    def _plain_role(self, role: str, *, shown: bool = True) -> None:
        if role in self.roles or (role == "paid_at" and not self._needs_day_of_payment()):
            return
        column, evidence, _ = self._find(role)
        if column is None:
            return
        self.roles[role] = column
        if shown:
            profile = self.profiles[column]
            facts = (evidence, *(_types(profile) if role == "record_type" else ()))
            self.decisions.append(RoleDecision(role, column, _meaning(role, profile), facts))

    def _needs_day_of_payment(self) -> bool:
        """Whether the day of payment is needed to know which orders count: no status says it clearly."""
        statuses = self._status_profiles()
        understood = all(all(self._understood_statuses(profile)) for profile in statuses)
        return "paid_at" in self.named or not statuses or not understood

    def _shop_statuses(self) -> dict[str, StatusClass]:
        """What single statuses mean in this export; an order whose *financial* status is pending was placed."""
        is_financial = any(profile.name.has("financial") for profile in self._status_profiles())
        placed: dict[str, StatusClass] = {"pending": "unclear"} if is_financial else {}
        return {**self.export.statuses, **placed}


def _sales(kinds: ColumnProfile | None, height: int) -> pl.Series:
    """Rows whose type does not say that they are refunds or no orders."""
    if kinds is None:
        return pl.Series([True]).new_from_index(0, height)
    others = [value for value, kind in classify_types(kinds.few_values).items() if kind in {"refund", "other"}]
    return ~kinds.ids.is_in(others).fill_null(value=False)


def _meaning(role: str, profile: ColumnProfile) -> Fact:
    if role == "currency":
        return Fact("currency", {"currencies": ", ".join(str(value) for value in profile.few_values)})
    keys = {"record_type": "record_type", "cancelled": "cancelled_flag", "paid": "paid_flag", "paid_at": "paid_at"}
    return Fact(keys.get(role, "cancelled"))


def _types(profile: ColumnProfile) -> tuple[Fact, ...]:
    kinds: dict[str, list[str]] = {"type_sale": [], "type_refund": [], "type_other": []}
    for value, kind in classify_types(profile.few_values).items():
        kinds["type_sale" if kind == "unknown" else f"type_{kind}"].append(value)
    return tuple(Fact(key, {"types": [[value, None] for value in values]}) for key, values in kinds.items() if values)


def _is_equivalent(one: ColumnProfile, other: ColumnProfile) -> bool:
    """Whether two columns tell the same: equal values, or one value of one for each of the other."""
    pair = pl.DataFrame({"one": one.ids, "other": other.ids}).drop_nulls()
    if pair.is_empty():
        return other.n_filled == 0
    equal = share(pair["one"] == pair["other"]) >= _SAME
    return equal or pair.n_unique() == one.n_distinct == other.n_distinct


def _rejected(
    candidates: Sequence[Candidate], column: str, *, only: tuple[str, ...] = ()
) -> tuple[tuple[str, Fact], ...]:
    others = [candidate for candidate in candidates if candidate.profile.text != column]
    named = [candidate for candidate in others if not only or candidate.profile.name.has(*only)]
    return tuple(
        (candidate.profile.text, candidate.against or Fact("lower_rank", {"column": column})) for candidate in named[:3]
    )
