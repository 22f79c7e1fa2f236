"""Which column of an export has which role: detected, or asked of the user."""

import difflib
from collections.abc import Mapping, Sequence

import polars as pl

from repurchase.errors import LayoutError, first_few
from repurchase.orders.cleaning_rules import exact_repeats
from repurchase.orders.column_profiles import Candidate, ColumnProfile, profile_columns, rank_columns, share
from repurchase.orders.ids import placeholder_ids
from repurchase.orders.layout import FILE_COLUMN, Fact, KnownExport, Layout, ReadingDecision, RoleDecision, known_export
from repurchase.orders.money_columns import MoneyColumnDetector, MoneyInterpretation
from repurchase.orders.money_evidence import MoneyEvidence, MoneyRows, grain_evidence
from repurchase.sources.statuses import StatusClass, classify_status, classify_types
from repurchase.sources.vocabulary import ROLES, column_key, parse_name

_SHOWN_COLUMNS = 12
_ROLES_TO_NAME = {"customer_id": "the customer", "order_date": "the date of the order", "amount": "the amount"}
"""Roles that are asked about, and what they are called."""
_HINTS: Mapping[str, tuple[str, ...]] = {
    "customer_id": ("customer", "email", "person", "phone"),
    "order_date": ("date", "time", "created"),
}


def _unclear_role(role: str, candidates: Sequence[str], source: str) -> str:
    """Ask which of several columns has a role."""
    choices = " or ".join(f"--columns {role}={column}" for column in candidates[:3])
    return (
        f"{source}: {len(candidates)} columns could be {_ROLES_TO_NAME[role]} ({role}) equally well: "
        f"{first_few(candidates)}. Say which: {choices}"
    )


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


_FEWEST_ORDERS = 50
_ONE_EACH = 0.99
_FEWER, _FEWEST = 0.9, 0.05
_FILLED = 0.95
_PLACEHOLDERS = 0.002


def _prefer_repeat_customers(best: Candidate, others: Sequence[Candidate], orders: ColumnProfile | None) -> Candidate:
    """Replace a column that has a new customer for every order, as some marketplaces write it."""
    if orders is None or orders.n_distinct < _FEWEST_ORDERS:
        return best
    customers = best.profile.n_distinct
    if customers < _ONE_EACH * orders.n_distinct:
        return best
    for other in others:
        profile = other.profile
        if profile is best.profile or not profile.name.has("id", "email") or profile.name.has("person"):
            continue
        is_filled = profile.n_filled >= _FILLED * best.profile.n_filled
        if is_filled and _FEWEST * customers <= profile.n_distinct <= _FEWER * customers:
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
    if rows > _PLACEHOLDERS * profile.n_filled and email.n_filled >= profile.n_filled - rows:
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


_FEWEST_SHARED = 5
_SHARED = 0.2


def _name_order_blocks(orders: pl.Series, files: pl.Series | None) -> pl.Series:
    """Number the runs of consecutive rows with one order number: a number used twice is two orders."""
    file = files if files is not None else pl.lit("")
    return pl.select(pl.concat_str(orders, orders.rle_id(), file, separator="\0")).to_series()


def _shared_numbers(orders: pl.Series, customers: pl.Series) -> float | None:
    """Say whether order numbers begin anew, each year or in each shop."""
    known = pl.DataFrame({"order": orders, "customer": customers}).drop_nulls()
    several = known.group_by("order").agg(pl.col("customer").n_unique())["customer"] > 1
    return None if several.sum() < _FEWEST_SHARED or share(several) < _SHARED else share(several)


_CONCERNS = (
    ("refund", "unused_refund"),
    ("cancelled", "unused_cancelled"),
    ("status", "unused_status"),
    ("test", "unused_test"),
)


def _unused_columns(free: Sequence[ColumnProfile], decisions: Sequence[RoleDecision]) -> tuple[tuple[str, Fact], ...]:
    """Find columns that may say which orders count, but have no role."""
    shown = {column for decision in decisions for column, _ in decision.rejected}
    found = ((profile, _concern(profile)) for profile in free if profile.n_filled and profile.text not in shown)
    kept = [(profile.text, Fact(concern)) for profile, concern in found if concern]
    return tuple(kept[:_SHOWN_COLUMNS])


def _concern(profile: ColumnProfile) -> str | None:
    if profile.name.has("shipped", "customer"):
        return None
    concern = next((key for concept, key in _CONCERNS if profile.name.has(concept)), None)
    return concern or ("unused_type" if profile.name.has("type") and profile.has_refund_type else None)


_REQUIRED = ("customer_id", "order_date")
_ON_EVERY_ORDER = ("order_date", "customer_id")  # in this order: a guest's order has a date, but no customer
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
        self.export: KnownExport | None = known_export(list(self.profiles))
        self.notes: list[str] = [*(self.export.notes if self.export else ())]

    def layout(self) -> Layout:
        self._date()
        self._order()
        self._customer()
        self._require()
        orders, continued = self._orders()
        header = self.roles["order_id"] if continued else self._header(orders, _ON_EVERY_ORDER)
        header = header or self._header_of_few(orders)
        self._plain_role("record_type")
        customers = self.profiles[self.roles["customer_id"]].ids
        shared = _shared_numbers(orders, customers) if not continued and header is None else None
        if shared is not None:
            self.notes.append(
                f"{shared:.0%} of the order numbers are of several customers: an order is a number, a customer and a "
                "day."
            )
        money = self._money(orders, first_line_only=continued or header is not None, by_day=shared is not None)
        self._statuses()
        header = header or self._header(orders, ("order_total", "status", "payment_status"))
        for role in ("cancelled_at", "cancelled", "paid", "paid_at", "currency"):
            self._plain_role(role)
        for role in ("product_id", "quantity", "category", "channel", "discount", "employee"):
            self._plain_role(role, shown=False)
        in_lines = money.rule in {"order_total", "quantity_price"} or "product_id" in self.roles
        return Layout(
            name=self.export.name if self.export else "orders with named columns",
            columns={role: self.roles[role] for role in (*ROLES, "customer_fallback") if role in self.roles},
            grain="lines" if in_lines else "orders",
            amount_rule=money.rule,
            refund_per=money.refund_per,
            header_column=header,
            continued=continued,
            numbers_recur=shared is not None,
            cancellation_prefix=self.export.cancellation_prefix if self.export else None,
            shop_statuses=self._shop_statuses(),
            notes=tuple(self.notes),
            decision=ReadingDecision(tuple(self.decisions), _unused_columns(self._free(), self.decisions)),
        )

    def _free(self) -> list[ColumnProfile]:
        taken = {*self.roles.values(), *self.named.values()}
        return [profile for name, profile in self.profiles.items() if name not in taken]

    def _take(self, role: str, column: str, decision: RoleDecision | None = None) -> None:
        self.roles[role] = column
        if decision is not None:
            self.decisions.append(decision)

    def _by_rank(self, role: str, candidates: Sequence[Candidate]) -> Candidate | None:
        fitting = [candidate for candidate in candidates if candidate.against is None] or list(candidates)
        if not fitting:
            return None
        best = fitting[0]
        rivals = [other for other in fitting[1:] if best.rank - other.rank < _RANK_TOLERANCE]
        different = [other for other in rivals if not _is_equivalent(best.profile, other.profile)]
        if different and role in _ROLES_TO_NAME:
            raise LayoutError(
                _unclear_role(role, [best.profile.text, *(other.profile.text for other in different)], self.source)
            )
        return best

    def _date(self) -> None:
        named = self.named.get("order_date")
        candidates = rank_columns(self._free(), "order_date")
        best = None if named else self._by_rank("order_date", candidates)
        evidence = Fact("named") if named else Fact("by_name")
        column = named or (best.profile.text if best else None)
        if column is None and (column := self._only_dates()) is not None:
            evidence = Fact("only_dates")
        if column is None:
            return
        clock = self.named.get("order_time") or self._clock(self.profiles[column])
        meaning = Fact("dates_and_times", {"column": clock}) if clock else Fact("dates")
        rejected = _rejected(candidates, column)
        self._take("order_date", column, RoleDecision("order_date", column, meaning, (evidence,), rejected))
        if clock:
            self._take("order_time", clock)

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
        if date.ids.drop_nulls().head(200).str.contains(r"\d[:.]\d{2}([:. ]|$)|\d{9}").any() and _has_times(date):
            return None
        clocks = [p.text for p in self._free() if p.name.has("time", "date") and p.clock_share >= 0.9]
        return clocks[0] if clocks else None

    def _order(self) -> None:
        named = self.named.get("order_id")
        candidates = rank_columns(self._free(), "order_id")
        best = None if named else self._by_rank("order_id", candidates)
        column = named or (best.profile.text if best else None)
        if column is None:
            self.decisions.append(RoleDecision("order_id", None, Fact("no_order_id")))
            return
        evidence = Fact("named") if named else Fact("by_name")
        self._take("order_id", column, RoleDecision("order_id", column, Fact("order_id"), (evidence,)))

    def _customer(self) -> None:
        candidates = rank_columns(self._free(), "customer_id")
        emails = [c for c in candidates if c.profile.name.has("email") and c.profile.email_share >= 0.5]
        email = max(emails, key=lambda candidate: (candidate.profile.n_filled, candidate.rank), default=None)
        if email is not None:
            candidates = [candidate for candidate in candidates if candidate is email or candidate not in emails]
        named = self.named.get("customer_id")
        if named is not None:
            self._take_customer(self.profiles[named], email, Fact("named"), ())
            return
        best = self._by_rank("customer_id", candidates)
        if best is None:
            return
        orders = self.profiles[self.roles["order_id"]] if "order_id" in self.roles else None
        first, best = best, _prefer_repeat_customers(best, candidates, orders)
        if best is not first:
            self.notes.append(
                f"'{first.profile.text}' has a new customer for every order, '{best.profile.text}' has customers who "
                f"came back. If the first is right: --columns customer_id={first.profile.text}"
            )
        against = _email_preference(best.profile, email.profile) if email and email is not best else None
        rejected = _rejected(candidates, best.profile.text, only=("person",))
        if email is not None and against is not None:
            rejected = ((best.profile.text, against),)
            self._take_customer(email.profile, best, Fact("by_name"), rejected)
        else:
            self._take_customer(best.profile, email if email is not best else None, Fact("by_name"), rejected)

    def _take_customer(
        self,
        profile: ColumnProfile,
        fallback: Candidate | None,
        evidence: Fact,
        rejected: tuple[tuple[str, Fact], ...],
    ) -> None:
        kind = "customer_id"
        if profile.name.has("email"):
            kind = "customer_email"
        elif profile.name.has("phone"):
            kind = "customer_phone"
        elif profile.person_share >= 0.5:
            kind = "customer_name"
        facts = [evidence]
        if fallback is not None and _adds_customers(profile, fallback.profile):
            facts.append(Fact("fallback", {"column": fallback.profile.text}))
            self._take("customer_fallback", fallback.profile.text)
        decision = RoleDecision("customer_id", profile.text, Fact(kind), tuple(facts), rejected)
        self._take("customer_id", profile.text)
        self.decisions.insert(0, decision)

    def _require(self) -> None:
        missing = [role for role in _REQUIRED if role not in self.roles]
        if missing:
            raise LayoutError(_missing_roles(missing, self.roles, list(self.profiles), self.source))
        for role in _REQUIRED:
            twins = [other for other in _ROLES_TO_NAME if other != role and self.named.get(other) == self.roles[role]]
            if twins:
                raise LayoutError(
                    f"{self.source}: column '{self.roles[role]}' cannot be both {role} and {twins[0]}. "
                    f"Say which is which: --columns {role}=...,{twins[0]}=..."
                )

    def _orders(self) -> tuple[pl.Series, bool]:
        """The order of each row, and whether rows without any order field belong to the order above them."""
        column = self.roles.get("order_id")
        if column is None:
            return pl.Series([None], dtype=pl.String).new_from_index(
                0, len(next(iter(self.profiles.values())).values)
            ), False
        orders = self.profiles[column].ids
        blank = orders.is_null()
        if blank.sum() > 0 and blank.mean() >= _CONTINUED and not blank[0]:  # type: ignore[operator]
            others = [self.profiles[self.roles[role]].filled for role in ("customer_id", "order_date")]
            if not any((blank & filled).any() for filled in others):
                return orders.forward_fill(), True
        return orders, False

    def _header(self, orders: pl.Series, roles: Sequence[str]) -> str | None:
        """The first column of these roles that is filled on the first line of an order only."""
        columns = [self.roles[role] for role in roles if role in self.roles]
        blocks = _name_order_blocks(orders, self.files)
        grains = ((name, grain_evidence(self.profiles[name].ids, blocks).grain) for name in columns)
        return next((name for name, grain in grains if grain == "first_line"), None)

    def _header_of_few(self, orders: pl.Series) -> str | None:
        """The column of dates, where the few orders with lines lack both customer and date on their later ones."""
        columns = [self.profiles[self.roles[role]].ids for role in _REQUIRED]
        blocks = _name_order_blocks(orders, self.files)
        alike = all(grain_evidence(column, blocks, enough=1).grain == "first_line" for column in columns)
        return self.roles["order_date"] if alike else None

    def _money(self, orders: pl.Series, *, first_line_only: bool, by_day: bool) -> MoneyInterpretation:
        customers = self.profiles[self.roles["customer_id"]].ids
        if by_day:
            days = self.profiles[self.roles["order_date"]].ids.fill_null("")
            orders = pl.select(pl.concat_str(orders, days, separator="\0")).to_series()
        apart = (
            _name_order_blocks(orders, self.files)
            if first_line_only
            else pl.select(pl.concat_str(orders, customers.fill_null(""), separator="\0")).to_series()
        )
        if not first_line_only:  # a row written twice does not say that all lines of its order are alike
            apart = apart.set(exact_repeats(self.rows), None)
        kinds = self.profiles[self.roles["record_type"]] if "record_type" in self.roles else None
        rows = MoneyRows(apart, customers, _sales(kinds, len(apart)), first_line_only)
        reader = MoneyColumnDetector(MoneyEvidence(self.profiles, self.named, self._free(), rows), self.source)
        money = reader.read()
        self.roles.update(money.columns)
        self.decisions.extend(money.decisions)
        if money.rule == "none":
            self.notes.append(
                f"No column of money was found among {first_few(list(self.profiles), shown=_SHOWN_COLUMNS)}: purchases "
                "are predicted, money is not. If one of them is money, name it: --columns amount=..."
            )
        return money

    def _statuses(self) -> None:
        for role in ("status", "payment_status"):
            if column := self.named.get(role):
                self._take(role, column, RoleDecision(role, column, Fact("status"), (Fact("named"),)))
        wanted = [role for role in ("status", "payment_status") if role not in self.named]
        found = [
            candidate for candidate in rank_columns(self._free(), "status") if self._tells_apart(candidate.profile)
        ]
        for role, candidate in zip(wanted, found, strict=False):
            column = candidate.profile.text
            evidence = Fact("by_name") if candidate.profile.name.has("status") else Fact("by_content")
            self._take(role, column, RoleDecision(role, column, Fact("status"), (evidence,)))

    def _tells_apart(self, column: ColumnProfile) -> bool:
        """Whether statuses tell orders apart; one word for all, of which nothing is known, does not."""
        words = column.few_values
        known = [classify_status(word, shop=self._shop_statuses()) not in {"unclear", "unknown"} for word in words]
        return len(words) != 1 or any(known)

    def _plain_role(self, role: str, *, shown: bool = True) -> None:
        if role in self.roles or (role == "paid_at" and not self._paid_at_tells()):
            return
        named = self.named.get(role)
        if named is None:
            best = self._by_rank(role, rank_columns(self._free(), role))
            if best is None:
                return
            named = best.profile.text
        evidence = Fact("named") if role in self.named else Fact("by_name")
        facts = (evidence, *_types(self.profiles[named])) if role == "record_type" else (evidence,)
        decision = RoleDecision(role, named, _meaning(role, self.profiles[named]), facts) if shown else None
        self._take(role, named, decision)

    def _paid_at_tells(self) -> bool:
        """Whether the day of payment is needed to know which orders count: no status says it clearly."""
        if "paid_at" in self.named:
            return True
        columns = [self.profiles[self.roles[role]] for role in ("status", "payment_status") if role in self.roles]
        shop = self._shop_statuses()
        unclear = any(
            classify_status(value, shop=shop) in {"unclear", "unknown"}
            for found in columns
            for value in found.few_values
        )
        return unclear or not columns

    def _shop_statuses(self) -> dict[str, StatusClass]:
        """What single statuses mean in this export; an order whose *financial* status is pending was placed."""
        statuses = dict(self.export.statuses) if self.export else {}
        columns = [self.roles[role] for role in ("status", "payment_status") if role in self.roles]
        placed: dict[str, StatusClass] = {"pending": "unclear"}
        return {**statuses, **placed} if any(parse_name(name).has("financial") for name in columns) else statuses


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


def _has_times(date: ColumnProfile) -> bool:
    return share(date.ids.drop_nulls().head(200).str.contains(r"\d[:.]\d{2}")) > 0.5


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
