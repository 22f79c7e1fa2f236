"""Which columns hold money and refunds, and what they mean."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import polars as pl

from repurchase.errors import LayoutError, first_few
from repurchase.orders.column_profiles import MONEY_ROLES, Candidate, ColumnProfile, money_rank, rank_columns, share
from repurchase.orders.layout import AmountRule, Fact, RoleDecision
from repurchase.orders.money_evidence import CENT, SAME, GrainEvidence, MoneyEvidence, is_of_customers
from repurchase.sources.vocabulary import NOT_FOR

_MOSTLY = 0.8
_MAX_LARGER_REFUNDS = 0.10
_RANK_TOLERANCE = 0.05
_CLEAR_RANK = 8.0
_MATERIAL_SHARE = 0.005
"""Share of all money below which it does not matter which of two readings is right."""

_Refunds = tuple[RoleDecision, Literal["order", "line"] | None]
_Rule = tuple[AmountRule, tuple[Fact, ...]]
_Rejected = tuple[tuple[str, Fact], ...]


@dataclass(frozen=True)
class MoneyInterpretation:
    """How money is read."""

    rule: AmountRule
    columns: Mapping[str, str] = field(default_factory=dict)
    refund_per: Literal["order", "line"] | None = None
    decisions: tuple[RoleDecision, ...] = ()


class MoneyColumnDetector:
    """Chooses the columns of money of a sample of rows."""

    def __init__(self, evidence: MoneyEvidence, source: str) -> None:
        self._evidence, self._source = evidence, source
        self._named, self._quantity, self._price = evidence.named, evidence.quantity, evidence.price

    def read(self) -> MoneyInterpretation:
        """Decide."""
        self._refuse_unusable()
        column, evidence, rejected = self._chosen()
        if column is None:
            return self._from_price()
        grain = self._evidence.grain(column)
        rule, facts = self._rule(column, grain)
        columns = {rule if rule in MONEY_ROLES else "price": column.text, **self._quantity_column()}
        if rule == "order_total" and self._price is not None and self._price is not column:
            columns |= {"price": self._price.text, **self._line_discount()}
        adjusted = self._adjusted(column)
        if adjusted is not None:
            columns["adjusted_total"] = adjusted.text
            facts = (*facts, Fact("adjusted", {"column": adjusted.text}))
            rejected = tuple(found for found in rejected if found[0] != adjusted.text)
        decision = RoleDecision("money", column.text, self._meaning(rule, grain), (*evidence, *facts), rejected)
        return self._with_refunds(rule, columns, column, decision)

    def _quantity_column(self) -> dict[str, str]:
        return {"quantity": self._quantity.text} if self._quantity is not None else {}

    def _adjusted(self, column: ColumnProfile) -> ColumnProfile | None:
        """A column that is filled where the total was adjusted later, and then holds no more than the total."""
        for candidate in rank_columns(self._evidence.free, "amount"):
            profile = candidate.profile
            if profile is column or not profile.name.has("adjusted") or profile.name.has("net", "fee", "tax"):
                continue
            pair = pl.DataFrame({"total": column.numbers, "adjusted": profile.numbers}).drop_nulls()
            pair = pair.filter(pl.col("adjusted") > 0)
            if pair.height and share(pair["adjusted"] <= pair["total"] + CENT) >= SAME:
                return profile
        return None

    def _refuse_unusable(self) -> None:
        if all(role in self._named for role in MONEY_ROLES):
            amount, total = (self._named[role] for role in MONEY_ROLES)
            raise LayoutError(
                f"{self._source}: both amount={amount} and order_total={total} were named, but money is read from one "
                "column. Name only one of them."
            )
        for role in (*MONEY_ROLES, "price", "quantity", "refunded"):
            profile = self._evidence.profiles.get(self._named.get(role, ""))
            if profile is not None and profile.n_filled and profile.number_share < 0.5:
                examples = _examples(profile)
                raise LayoutError(
                    f"{self._source}: column '{profile.text}' was named as {role}, but most of its values are not "
                    f"numbers: {examples}. Name the right column: --columns {role}=...",
                    withheld=examples,
                )

    def _line_discount(self) -> dict[str, str]:
        ranked = (candidate.profile for candidate in rank_columns(self._evidence.free, "line_discount"))
        found = next((profile.text for profile in ranked if profile.name.has("line")), None)
        column = self._named.get("line_discount", found)
        return {"line_discount": column} if column is not None else {}

    def _chosen(self) -> tuple[ColumnProfile | None, tuple[Fact, ...], _Rejected]:
        named = next((self._named[role] for role in MONEY_ROLES if role in self._named), None)
        candidates = [self._of_orders(candidate) for candidate in rank_columns(self._evidence.free, "amount")]
        fitting = [candidate for candidate in candidates if candidate.against is None]
        if named is not None:
            return self._evidence.profiles[named], (Fact("named"),), _not_chosen(candidates, named)
        if "price" in self._named or not fitting:
            return None, (), ()
        best = self._of_whole_orders(fitting)
        for other in fitting:
            if other is best or abs(best.rank - other.rank) >= _RANK_TOLERANCE:
                continue
            one, two = best.profile, other.profile
            if self._grain(one) == self._grain(two) and not self._evidence.equal(one, two):
                raise LayoutError(
                    f"{self._source}: 2 columns could be the amount equally well: '{one.text}' (total "
                    f"{self._evidence.total(one):,.2f}) and '{two.text}' (total {self._evidence.total(two):,.2f}). "
                    f"Say which: --columns amount={one.text} or --columns amount={two.text}"
                )
        return best.profile, (Fact("by_name"),), _not_chosen(candidates, best.profile.text)

    def _grain(self, column: ColumnProfile) -> str:
        return self._evidence.grain(column).grain

    def _of_whole_orders(self, fitting: Sequence[Candidate]) -> Candidate:
        """The best candidate; of lines and orders, that of orders, which has shipping and discounts in it."""
        best = fitting[0]
        if self._grain(best.profile) != "line":
            return best
        clear = (candidate for candidate in fitting[1:] if candidate.rank >= _CLEAR_RANK)
        return next((found for found in clear if self._grain(found.profile) in {"order", "first_line"}), best)

    def _of_orders(self, candidate: Candidate) -> Candidate:
        """The candidate, with what speaks against it where it is money of customers and not of orders."""
        if candidate.against is None and is_of_customers(candidate.profile.numbers, self._evidence.customers):
            others = [profile for profile in self._evidence.free if profile is not candidate.profile]
            if any(money_rank(other) is not None or other is self._price for other in others):
                return replace(candidate, against=Fact("of_customers"))
        return candidate

    def _rule(self, column: ColumnProfile, grain: GrainEvidence) -> _Rule:
        is_named_total = self._named.get("order_total") == column.text
        key = {"order": "constant", "first_line": "first_line", "line": "differs"}.get(grain.grain)
        found = Fact(key, {"share": grain.share, "orders": grain.orders}) if key else Fact("single_lines")
        if grain.grain == "unclear":
            return self._by_sums(column, grain, is_named_total=is_named_total)
        if grain.grain in {"order", "first_line"}:
            if grain.grain == "order" and (line := self._evidence.matches_lines(column)) is not None:
                return "amount", (line,)
            sums = self._evidence.matches_sums(column)
            return "order_total", (found, *([sums] if sums else []))
        if is_named_total and grain.grain == "line":
            raise LayoutError(
                f"{self._source}: column '{column.text}' was named as order_total, but it differs between the lines of "
                f"{grain.share:.0%} of the {grain.orders:,} orders with several lines. If it is the amount of an "
                f"order line, use --columns amount={column.text}"
            )
        few_repeat = self._evidence.first_line_only or self._evidence.is_repeated_total(column)
        if is_named_total or (grain.grain == "single" and few_repeat):
            return "order_total", (found,)
        return self._line_or_unit(column, found)

    def _line_or_unit(self, column: ColumnProfile, found: Fact) -> _Rule:
        quantity = self._quantity
        if quantity is None or not (quantity.numbers.abs() != 1).any():
            return "amount", (found,)
        evidence = self._evidence.units(column)
        slope = self._evidence.by_slope(column) if evidence.decides is None else None
        if evidence.is_balanced or (slope == "unit" and self._named.get("amount") != column.text):
            raise self._unclear_unit(column, quantity)
        if evidence.decides != "unit":
            return "amount", (found,)
        contradicts = () if column.name.has("price", "unit") else (Fact("contradicts_name"),)
        return "quantity_price", (found, *contradicts)

    def _unclear_unit(self, column: ColumnProfile, quantity: ColumnProfile) -> LayoutError:
        multiplied, total = float((column.numbers * quantity.numbers).sum()), self._evidence.total(column)
        return LayoutError(
            f"{self._source}: '{column.text}' may be the amount of an order line (total {total:,.2f}) "
            f"or a price per unit, to be multiplied by '{quantity.text}' (total {multiplied:,.2f}); values fit both. "
            f"Say which: --columns amount={column.text} or --columns price={column.text},quantity={quantity.text}"
        )

    def _by_sums(self, column: ColumnProfile, grain: GrainEvidence, *, is_named_total: bool) -> _Rule:
        """Decide by quantity and price where equal and different values are mixed within orders."""
        if is_named_total:
            return "order_total", ()
        line, sums = self._evidence.matches_lines(column), self._evidence.matches_sums(column)
        if line is not None and sums is None:
            return "amount", (line,)
        if sums is not None and line is None:
            return "order_total", (sums,)
        per_order, per_line = self._evidence.order_total(column), self._evidence.total(column)
        is_named = self._named.get("amount") == column.text
        if is_named or abs(per_order - per_line) <= _MATERIAL_SHARE * abs(per_line):
            return "amount", ()
        raise LayoutError(
            f"{self._source}: '{column.text}' may be the amount of an order line (total {per_line:,.2f}) or the total "
            f"of the order, repeated on its lines (total {per_order:,.2f}): it is the same on all lines in "
            f"{1 - grain.share:.0%} of the {grain.orders:,} orders with several lines. Say which: "
            f"--columns amount={column.text} or --columns order_total={column.text}"
        )

    def _from_price(self) -> MoneyInterpretation:
        """Read money from a price and a quantity, where no column of money was found or the price was named."""
        price, is_named = self._price, "price" in self._named
        if price is None:
            self._refuse_unnamed()
            return MoneyInterpretation("none", decisions=(RoleDecision("money", None, Fact("money_none")),))
        evidence = (Fact("named" if is_named else "by_name"),)
        if self._quantity is None:
            if price.name.has("unit") and not is_named:
                raise LayoutError(
                    f"{self._source}: '{price.text}' is a price per unit, and no column says how many units were "
                    f"bought. Name it: --columns price={price.text},quantity=... (or, if it is the money of the row, "
                    f"amount={price.text})"
                )
            return self._price_as("amount", price, Fact("money_line"), evidence)
        units = self._evidence.units(price)
        found = None if units.is_balanced else units.decides or self._evidence.by_slope(price)
        is_open = found is None and (self._quantity.numbers.abs() > 1).any() and not is_named
        if units.is_balanced or is_open:
            raise self._unclear_unit(price, self._quantity)
        params = {"quantity": self._quantity.text}
        if found == "line":
            return self._price_as("amount", price, Fact("line_total", params), (*evidence, Fact("contradicts_name")))
        return self._price_as("quantity_price", price, Fact("money_quantity_price", params), evidence)

    def _price_as(
        self, rule: AmountRule, price: ColumnProfile, meaning: Fact, evidence: tuple[Fact, ...]
    ) -> MoneyInterpretation:
        columns = {**self._quantity_column(), "amount" if rule == "amount" else "price": price.text}
        return self._with_refunds(rule, columns, price, RoleDecision("money", price.text, meaning, evidence))

    def _refuse_unnamed(self) -> None:
        """Refuse where no name speaks of money and values do, or a name does and its values cannot be read."""
        for profile in self._evidence.free:
            rank = money_rank(profile) or 7.0 * profile.name.has("price")
            is_money = rank >= _CLEAR_RANK or (rank and profile.digit_share >= _MOSTLY)
            if is_money and profile.n_filled and profile.number_share < 0.5 and not profile.is_flag:
                examples = _examples(profile)
                raise LayoutError(
                    f"{self._source}: column '{profile.text}' should hold money, but its values cannot be read as "
                    f"numbers: {examples}. Export it as plain numbers, or name another column: --columns amount=...",
                    withheld=examples,
                )
        found = [profile.text for profile in self._evidence.free if profile.has_currency_signs]
        found = found or [profile.text for profile in self._evidence.free if _looks_like_money(profile)]
        if found:
            shown = " or ".join(f"--columns amount={column}" for column in found[:3])
            hold = "1 column holds" if len(found) == 1 else f"{len(found)} columns hold"
            raise LayoutError(
                f"{self._source}: no column name says what customers paid, but {hold} what may be money: "
                f"{first_few(found)}. Say which it is: {shown}"
            )

    def _with_refunds(
        self, rule: AmountRule, columns: dict[str, str], base: ColumnProfile, decision: RoleDecision
    ) -> MoneyInterpretation:
        found = find_refunds(self._evidence, base, rule)
        if found is None:
            return MoneyInterpretation(rule, columns, None, (decision,))
        refunds, refund_per = found
        if refund_per is not None and refunds.column is not None:
            columns = columns | {"refunded": refunds.column}
        return MoneyInterpretation(rule, columns, refund_per, (decision, refunds))

    def _meaning(self, rule: AmountRule, grain: GrainEvidence) -> Fact:
        if rule == "order_total":
            return Fact("money_order_first_line" if grain.grain == "first_line" else "money_order")
        if rule == "quantity_price":
            return Fact("money_quantity_price", {"quantity": self._quantity.text if self._quantity else ""})
        return Fact("money_row" if grain.grain == "single" else "money_line")


def _examples(profile: ColumnProfile) -> str:
    return ", ".join(f"'{value}'" for value in profile.ids.drop_nulls().unique(maintain_order=True)[:3])


def _looks_like_money(profile: ColumnProfile) -> bool:
    """Whether values are numbers with two decimals, many of them different, and no name says what else they are."""
    if profile.name.has(*NOT_FOR["money"], "tax", "unit") or profile.number_share < _MOSTLY or profile.n_distinct < 20:
        return False
    numbers = profile.numbers.drop_nulls()
    two = (numbers * 100 - (numbers * 100).round(0)).abs() < 1e-6
    return bool(two.all()) and share(numbers != numbers.round(1)) >= 0.5


def _not_chosen(candidates: Sequence[Candidate], column: str) -> _Rejected:
    others = [candidate for candidate in candidates if candidate.profile.text != column and candidate.rank >= 5.0]
    return tuple(
        (candidate.profile.text, candidate.against or Fact("lower_rank", {"column": column}))
        for candidate in others[:3]
    )


def find_refunds(evidence: MoneyEvidence, base: ColumnProfile, rule: AmountRule) -> _Refunds | None:
    """Choose the column of refunds of the money in a column, and decide whether they are of orders or of lines."""
    named = evidence.named.get("refunded")
    if named is not None:
        decision = RoleDecision("refunded", named, Fact("refund_order"), (Fact("named"),))
        return _with_grain(evidence, evidence.profiles[named], rule, decision)
    candidates = rank_columns([profile for profile in evidence.free if profile is not base], "refunded")
    if base.name.has("converted"):
        candidates = sorted(candidates, key=lambda found: not found.profile.name.has("converted"))
    rejected: list[tuple[str, Fact]] = []
    for candidate in candidates:
        refunds, too_large = candidate.profile, _larger_share(evidence, candidate.profile, base)
        if candidate.against is not None or too_large > _MAX_LARGER_REFUNDS:
            rejected.append((refunds.text, candidate.against or Fact("not_smaller", {"share": too_large})))
            continue
        included = Fact("refund_included", {"column": base.text})
        decision = RoleDecision("refunded", refunds.text, included, (Fact("by_name"),), tuple(rejected))
        if _is_included(evidence, refunds, base):
            return decision, None
        return _with_grain(evidence, refunds, rule, decision)
    return None


def _with_grain(evidence: MoneyEvidence, refunds: ColumnProfile, rule: AmountRule, decision: RoleDecision) -> _Refunds:
    of_total = rule == "order_total"
    per_order = evidence.grain(refunds).grain != "line" if of_total else _is_per_order(evidence, refunds)
    return replace(decision, meaning=Fact("refund_order" if per_order else "refund_line")), (
        "order" if per_order else "line"
    )


def _is_per_order(evidence: MoneyEvidence, refunds: ColumnProfile) -> bool:
    """Whether refunds are stated for the order: equal on all its lines, or on one of them and larger than it."""
    rows = pl.DataFrame({"order": evidence.orders, "refund": refunds.numbers.abs()})
    lines, paid_back = pl.len(), (pl.col("refund") > 0).sum()
    is_first = pl.lit(evidence.grain(refunds).grain == "first_line")
    alike = (paid_back == lines) & (pl.col("refund").n_unique() == 1)
    several = (
        rows.filter(pl.col("order").is_not_null())
        .group_by("order")
        .agg(((lines > 1) & (paid_back > 0)).alias("tells"), (alike | ((paid_back == 1) & is_first)).alias("per_order"))
        .filter("tells")
    )
    return share(several["per_order"]) >= _MOSTLY


def _larger_share(evidence: MoneyEvidence, refunds: ColumnProfile, base: ColumnProfile) -> float:
    """Share of the refunds that are larger than what was paid for their order."""
    paid = base.numbers
    if evidence.quantity is not None and evidence.is_unit_price(base):
        paid = paid * evidence.quantity.numbers
    rows = pl.DataFrame({"order": evidence.orders, "refund": refunds.numbers.abs(), "paid": paid})
    known = rows
    if evidence.orders.null_count() < rows.height:
        is_line = evidence.grain(base).grain == "line"
        whole = pl.col("paid").sum() if is_line else pl.col("paid").drop_nulls().first()
        known = rows.drop_nulls("order").group_by("order").agg(pl.col("refund").max(), whole)
    known = known.filter((pl.col("refund") > 0) & (pl.col("paid") > 0))
    return share(known["refund"] > known["paid"] * 1.001 + CENT)


def _is_included(evidence: MoneyEvidence, refunds: ColumnProfile, base: ColumnProfile) -> bool:
    """Whether another column minus the refund is the column that money is read from."""
    paid_back = (refunds.numbers.abs() > 0).fill_null(value=False)
    if not paid_back.any():
        return False
    for profile in evidence.free:
        if profile is not base and profile is not refunds and money_rank(profile) is not None:
            net = (profile.numbers - refunds.numbers.abs() - base.numbers).abs().filter(paid_back)
            if net.count() >= 3 and share(net < CENT) >= 0.9:
                return True
    return bool((base.numbers.filter(paid_back) == 0).sum() >= 3)
