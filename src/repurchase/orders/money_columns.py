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


_RefundGrain = Literal["order", "line"] | None


_TOO_LARGE = 0.10


class _RefundColumnDetector:
    """Chooses the column of refunds."""

    def __init__(self, evidence: MoneyEvidence) -> None:
        self._evidence = evidence

    def read(
        self, base: ColumnProfile, rule: AmountRule
    ) -> tuple[RoleDecision, Literal["order", "line"] | None] | None:
        """Decide."""
        found = self._refunds(base)
        if found is None or found[1].meaning.key == "refund_included":
            return (found[1], None) if found else None
        profile, decision = found
        per_order = rule == "order_total" or self._is_per_order(profile)
        per_order = per_order and not (rule == "order_total" and self._evidence.grain(profile).grain == "line")
        meaning = Fact("refund_order" if per_order else "refund_line")
        return replace(decision, meaning=meaning), "order" if per_order else "line"

    def _is_per_order(self, refunds: ColumnProfile) -> bool:
        """Whether refunds are stated for the order: equal on all its lines, or on one of them and larger than it."""
        rows = pl.DataFrame({"order": self._evidence.orders, "refund": refunds.numbers.abs()}).filter(
            pl.col("order").is_not_null()
        )
        several = (
            rows.group_by("order")
            .agg(
                pl.len(),
                (pl.col("refund") > 0).sum().alias("paid_back"),
                pl.col("refund").n_unique().alias("different"),
            )
            .filter((pl.col("len") > 1) & (pl.col("paid_back") > 0))
        )
        if several.is_empty():
            return False
        alike = ((several["paid_back"] == several["len"]) & (several["different"] == 1)) | (
            (several["paid_back"] == 1) & (self._evidence.grain(refunds).grain == "first_line")
        )
        return share(alike) >= _MOSTLY

    def _refunds(self, base: ColumnProfile) -> tuple[ColumnProfile, RoleDecision] | None:
        named = self._evidence.named.get("refunded")
        if named is not None:
            profile = self._evidence.profiles[named]
            return profile, RoleDecision("refunded", named, Fact("refund_order"), (Fact("named"),))
        candidates = rank_columns([profile for profile in self._evidence.free if profile is not base], "refunded")
        if base.name.has("converted"):
            candidates = sorted(candidates, key=lambda found: not found.profile.name.has("converted"))
        rejected: list[tuple[str, Fact]] = []
        for candidate in candidates:
            profile = candidate.profile
            too_large = self._exceeds(profile, base)
            if candidate.against is not None or too_large > _TOO_LARGE:
                rejected.append((profile.text, candidate.against or Fact("not_smaller", {"share": too_large})))
                continue
            included = self._included(profile, base)
            key = Fact("refund_included", {"column": base.text}) if included else Fact("refund_order")
            return profile, RoleDecision("refunded", profile.text, key, (Fact("by_name"),), tuple(rejected))
        return None

    def _exceeds(self, refunds: ColumnProfile, base: ColumnProfile) -> float:
        """Share of the refunds that are larger than what was paid for their order."""
        paid = base.numbers
        if self._evidence.quantity is not None and self._evidence.is_unit_price(base):
            paid = paid * self._evidence.quantity.numbers
        rows = pl.DataFrame({"order": self._evidence.orders, "refund": refunds.numbers.abs(), "paid": paid})
        numbered = self._evidence.orders.null_count() < len(self._evidence.orders)
        alone = rows.select("refund", "paid").head(0 if numbered else rows.height)
        whole = (
            pl.col("paid").sum() if self._evidence.grain(base).grain == "line" else pl.col("paid").drop_nulls().first()
        )
        sums = rows.filter(pl.col("order").is_not_null()).group_by("order").agg(pl.col("refund").max(), whole)
        known = pl.concat([alone, sums.select("refund", "paid")]).filter((pl.col("refund") > 0) & (pl.col("paid") > 0))
        return share(known["refund"] > known["paid"] * 1.001 + CENT)

    def _included(self, refunds: ColumnProfile, base: ColumnProfile) -> bool:
        """Whether another column minus the refund is the column that money is read from."""
        paid_back = refunds.numbers.abs() > 0
        if not paid_back.any():
            return False
        whole_back = (base.numbers.filter(paid_back.fill_null(value=False)) == 0).sum()
        for profile in self._evidence.free:
            if profile is base or profile is refunds or money_rank(profile) is None:
                continue
            net = (
                (profile.numbers - refunds.numbers.abs() - base.numbers).abs().filter(paid_back.fill_null(value=False))
            )
            if net.count() >= 3 and share(net < CENT) >= 0.9:
                return True
        return whole_back >= 3


_RANK_TOLERANCE = 0.05
_CLEAR_RANK = 8.0


_MATTERS = 0.005
_PLAINLY_MONEY = 8.0


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

    def read(self) -> MoneyInterpretation:
        """Decide."""
        self._refuse_unusable()
        column, evidence, rejected = self._chosen()
        if column is None:
            return self._from_price()
        grain = self._evidence.grain(column)
        rule, facts = self._rule(column, grain)
        columns: dict[str, str] = {rule if rule in MONEY_ROLES else "price": column.text}
        if self._evidence.quantity is not None:
            columns["quantity"] = self._evidence.quantity.text
        if rule == "order_total" and self._evidence.price is not None and self._evidence.price is not column:
            columns["price"] = self._evidence.price.text
            columns |= self._line_discount()
        adjusted = self._adjusted(column)
        if adjusted is not None:
            columns["adjusted_total"] = adjusted.text
            facts = (*facts, Fact("adjusted", {"column": adjusted.text}))
            rejected = tuple(found for found in rejected if found[0] != adjusted.text)
        decision = RoleDecision("money", column.text, self._meaning(rule, grain), (*evidence, *facts), rejected)
        return self._with_refunds(rule, columns, column, decision)

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
        if all(role in self._evidence.named for role in MONEY_ROLES):
            amount, total = (self._evidence.named[role] for role in MONEY_ROLES)
            raise LayoutError(
                f"{self._source}: both amount={amount} and order_total={total} were named, but money is read from one "
                "column. Name only one of them."
            )
        for role in (*MONEY_ROLES, "price", "quantity", "refunded"):
            profile = self._evidence.profiles.get(self._evidence.named.get(role, ""))
            if profile is not None and profile.n_filled and profile.number_share < 0.5:
                examples = ", ".join(f"'{value}'" for value in profile.ids.drop_nulls().unique(maintain_order=True)[:3])
                raise LayoutError(
                    f"{self._source}: column '{profile.text}' was named as {role}, but most of its values are not "
                    f"numbers: {examples}. Name the right column: --columns {role}=...",
                    withheld=examples,
                )

    def _line_discount(self) -> dict[str, str]:
        if "line_discount" in self._evidence.named:
            return {"line_discount": self._evidence.named["line_discount"]}
        found = [c for c in rank_columns(self._evidence.free, "line_discount") if c.profile.name.has("line")]
        return {"line_discount": found[0].profile.text} if found else {}

    def _chosen(self) -> tuple[ColumnProfile | None, tuple[Fact, ...], tuple[tuple[str, Fact], ...]]:
        named = next((self._evidence.named[role] for role in MONEY_ROLES if role in self._evidence.named), None)
        candidates = [self._of_orders(candidate) for candidate in rank_columns(self._evidence.free, "amount")]
        fitting = [candidate for candidate in candidates if candidate.against is None]
        if named is not None:
            return self._evidence.profiles[named], (Fact("named"),), _not_chosen(candidates, named)
        if "price" in self._evidence.named or not fitting:
            return None, (), ()
        best = self._of_whole_orders(fitting)
        rivals = [other for other in fitting if other is not best and abs(best.rank - other.rank) < _RANK_TOLERANCE]
        rivals = [
            other
            for other in rivals
            if self._evidence.grain(other.profile).grain == self._evidence.grain(best.profile).grain
        ]
        for other in rivals:
            if not self._evidence.equal(best.profile, other.profile):
                raise LayoutError(self._two_columns(best.profile, other.profile))
        return best.profile, (Fact("by_name"),), _not_chosen(candidates, best.profile.text)

    def _of_whole_orders(self, fitting: Sequence[Candidate]) -> Candidate:
        """The best candidate; of lines and orders, that of orders, which has shipping and discounts in it."""
        best = fitting[0]
        if self._evidence.grain(best.profile).grain != "line":
            return best
        totals = [
            c
            for c in fitting[1:]
            if c.rank >= _CLEAR_RANK and self._evidence.grain(c.profile).grain in {"order", "first_line"}
        ]
        return totals[0] if totals else best

    def _of_orders(self, candidate: Candidate) -> Candidate:
        """The candidate, with what speaks against it where it is money of customers and not of orders."""
        if candidate.against is None and is_of_customers(candidate.profile.numbers, self._evidence.customers):
            others = [profile for profile in self._evidence.free if profile is not candidate.profile]
            if any(money_rank(other) is not None or other is self._evidence.price for other in others):
                return replace(candidate, against=Fact("of_customers"))
        return candidate

    def _two_columns(self, one: ColumnProfile, other: ColumnProfile) -> str:
        return (
            f"{self._source}: 2 columns could be the amount equally well: '{one.text}' (total "
            f"{self._evidence.total(one):,.2f}) and '{other.text}' (total {self._evidence.total(other):,.2f}). "
            f"Say which: --columns amount={one.text} or --columns amount={other.text}"
        )

    def _rule(self, column: ColumnProfile, grain: GrainEvidence) -> tuple[AmountRule, tuple[Fact, ...]]:
        is_named_total = self._evidence.named.get("order_total") == column.text
        found = Fact(
            {"order": "constant", "first_line": "first_line", "line": "differs"}.get(grain.grain, "single_lines")
        )
        if grain.grain in {"order", "first_line", "line"}:
            found = Fact(found.key, {"share": grain.share, "orders": grain.orders})
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

    def _line_or_unit(self, column: ColumnProfile, found: Fact) -> tuple[AmountRule, tuple[Fact, ...]]:
        quantity = self._evidence.quantity
        if quantity is None or not (quantity.numbers.abs() != 1).any():
            return "amount", (found,)
        evidence = self._evidence.units(column)
        grows = self._evidence.by_slope(column) if evidence.decides is None else None
        if evidence.is_balanced or (grows == "unit" and self._evidence.named.get("amount") != column.text):
            raise LayoutError(self._unit_question(column, quantity))
        if evidence.decides != "unit":
            return "amount", (found,)
        contradicts = () if column.name.has("price", "unit") else (Fact("contradicts_name"),)
        return "quantity_price", (found, *contradicts)

    def _unit_question(self, column: ColumnProfile, quantity: ColumnProfile) -> str:
        multiplied, total = float((column.numbers * quantity.numbers).sum()), self._evidence.total(column)
        return (
            f"{self._source}: '{column.text}' may be the amount of an order line (total {total:,.2f}) "
            f"or a price per unit, to be multiplied by '{quantity.text}' (total {multiplied:,.2f}); values fit both. "
            f"Say which: --columns amount={column.text} or --columns price={column.text},quantity={quantity.text}"
        )

    def _by_sums(
        self, column: ColumnProfile, grain: GrainEvidence, *, is_named_total: bool
    ) -> tuple[AmountRule, tuple[Fact, ...]]:
        """Decide by quantity and price where equal and different values are mixed within orders."""
        if is_named_total:
            return "order_total", ()
        line, sums = self._evidence.matches_lines(column), self._evidence.matches_sums(column)
        if line is not None and sums is None:
            return "amount", (line,)
        if sums is not None and line is None:
            return "order_total", (sums,)
        per_order = self._evidence.order_total(column)
        per_line = self._evidence.total(column)
        if abs(per_order - per_line) <= _MATTERS * abs(per_line) or self._evidence.named.get("amount") == column.text:
            return "amount", ()
        raise LayoutError(
            f"{self._source}: '{column.text}' may be the amount of an order line (total {per_line:,.2f}) or the total "
            f"of the order, repeated on its lines (total {per_order:,.2f}): it is the same on all lines in "
            f"{1 - grain.share:.0%} of the {grain.orders:,} orders with several lines. Say which: "
            f"--columns amount={column.text} or --columns order_total={column.text}"
        )

    def _from_price(self) -> MoneyInterpretation:
        """Read money from a price and a quantity, where no column of money was found or the price was named."""
        price = self._evidence.price
        if price is None:
            self._refuse_unnamed()
            return MoneyInterpretation("none", decisions=(RoleDecision("money", None, Fact("money_none")),))
        evidence = (Fact("named") if "price" in self._evidence.named else Fact("by_name"),)
        if self._evidence.quantity is None:
            if price.name.has("unit") and "price" not in self._evidence.named:
                raise LayoutError(
                    f"{self._source}: '{price.text}' is a price per unit, and no column says how many units were "
                    f"bought. Name it: --columns price={price.text},quantity=... (or, if it is the money of the row, "
                    f"amount={price.text})"
                )
            decision = RoleDecision("money", price.text, Fact("money_line"), evidence)
            return self._with_refunds("amount", {"amount": price.text}, price, decision)
        units = self._evidence.units(price)
        if units.is_balanced:
            raise LayoutError(self._unit_question(price, self._evidence.quantity))
        columns = {"quantity": self._evidence.quantity.text}
        found = units.decides or self._evidence.by_slope(price)
        if found is None and (self._evidence.quantity.numbers.abs() > 1).any() and "price" not in self._evidence.named:
            raise LayoutError(self._unit_question(price, self._evidence.quantity))
        if found == "line":
            contradicts = (*evidence, Fact("contradicts_name"))
            meaning = Fact("line_total", {"quantity": self._evidence.quantity.text})
            decision = RoleDecision("money", price.text, meaning, contradicts)
            return self._with_refunds("amount", columns | {"amount": price.text}, price, decision)
        meaning = Fact("money_quantity_price", {"quantity": self._evidence.quantity.text})
        decision = RoleDecision("money", price.text, meaning, evidence)
        return self._with_refunds("quantity_price", columns | {"price": price.text}, price, decision)

    def _refuse_unnamed(self) -> None:
        """Ask where no name speaks of money and values do, or a name does and its values cannot be read."""
        for profile in self._evidence.free:
            rank = money_rank(profile) or 7.0 * profile.name.has("price")
            is_money = rank >= _PLAINLY_MONEY or (rank and profile.digit_share >= _MOSTLY)
            if is_money and profile.n_filled and profile.number_share < 0.5 and not profile.is_flag:
                examples = ", ".join(f"'{value}'" for value in profile.ids.drop_nulls().unique(maintain_order=True)[:3])
                raise LayoutError(
                    f"{self._source}: column '{profile.text}' should hold money, but its values cannot be read as "
                    f"numbers: {examples}. Export it as plain numbers, or name another column: --columns amount=...",
                    withheld=examples,
                )
        with_currency = [profile for profile in self._evidence.free if profile.has_currency_signs]
        with_currency = with_currency or [profile for profile in self._evidence.free if _looks_like_money(profile)]
        if with_currency:
            shown = " or ".join(f"--columns amount={profile.text}" for profile in with_currency[:3])
            hold = "1 column holds" if len(with_currency) == 1 else f"{len(with_currency)} columns hold"
            raise LayoutError(
                f"{self._source}: no column name says what customers paid, but {hold} "
                f"what may be money: "
                f"{first_few([profile.text for profile in with_currency])}. Say which it is: {shown}"
            )

    def _with_refunds(
        self, rule: AmountRule, columns: dict[str, str], base: ColumnProfile, decision: RoleDecision
    ) -> MoneyInterpretation:
        found = _RefundColumnDetector(self._evidence).read(base, rule)
        if found is None:
            return MoneyInterpretation(rule, columns, None, (decision,))
        refunds, refund_per = found
        if refund_per is not None and refunds.column is not None:
            columns = columns | {"refunded": refunds.column}
        return MoneyInterpretation(rule, columns, refund_per, (decision, refunds))

    def _meaning(self, rule: AmountRule, grain: GrainEvidence) -> Fact:
        if rule == "order_total":
            return Fact("money_order_first_line" if grain.grain == "first_line" else "money_order")
        quantity = self._evidence.quantity
        if rule == "quantity_price":
            return Fact("money_quantity_price", {"quantity": quantity.text if quantity else ""})
        return Fact("money_row" if grain.grain == "single" else "money_line")


def _looks_like_money(profile: ColumnProfile) -> bool:
    """Whether values are numbers with two decimals, many of them different, and no name says what else they are."""
    if profile.name.has(*NOT_FOR["money"], "tax", "unit") or profile.number_share < _MOSTLY or profile.n_distinct < 20:
        return False
    numbers = profile.numbers.drop_nulls()
    two = (numbers * 100 - (numbers * 100).round(0)).abs() < 1e-6
    return bool(two.all()) and share(numbers != numbers.round(1)) >= 0.5


def _not_chosen(candidates: Sequence[Candidate], column: str) -> tuple[tuple[str, Fact], ...]:
    others = [candidate for candidate in candidates if candidate.profile.text != column and candidate.rank >= 5.0]
    return tuple(
        (candidate.profile.text, candidate.against or Fact("lower_rank", {"column": column}))
        for candidate in others[:3]
    )
