"""Which columns money is read from, and what they mean: decided by the values, or asked about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import polars as pl

from repurchase.errors import LayoutError, first_few
from repurchase.orders.column_profiles import ColumnProfile
from repurchase.orders.column_ranking import MONEY_ROLES, Candidate, money_rank, rank_columns
from repurchase.orders.decisions import Fact, RoleDecision
from repurchase.orders.layouts import AmountRule
from repurchase.orders.money_meaning import (
    GrainEvidence,
    UnitEvidence,
    grain_evidence,
    grows_with,
    is_of_customers,
    unit_evidence,
)

__all__ = ["MoneyReader", "MoneyReading", "MoneyRows"]

_TIE = 0.05
_CLEAR_RANK = 8.0
_SAME = 0.98
_MOSTLY = 0.8
_MATTERS = 0.005
_CENT = 0.011
_PLAINLY_MONEY = 8.0


@dataclass(frozen=True)
class MoneyReading:
    """How money is read.

    Parameters
    ----------
    rule : {"amount", "order_total", "quantity_price", "none"}
        See ``layouts.Layout``.
    columns : mapping of str to str
        Role to column.
    refund_per : {"order", "line"} or None
        Whether refunds are of orders or of lines.
    decisions : tuple of RoleDecision
        What was decided, and why.
    """

    rule: AmountRule
    columns: Mapping[str, str] = field(default_factory=dict)
    refund_per: Literal["order", "line"] | None = None
    decisions: tuple[RoleDecision, ...] = ()


@dataclass(frozen=True)
class MoneyRows:
    """What is known of the rows before their money is understood.

    Parameters
    ----------
    orders, customers : Series of str
        The order and the customer of each row; null where unknown.
    sales : Series of bool
        Whether a row is no refund by its type.
    first_line_only : bool
        Whether order fields stand on the first line of an order only.
    """

    orders: pl.Series
    customers: pl.Series
    sales: pl.Series
    first_line_only: bool


class MoneyReader:
    """Chooses the columns of money of a sample of rows.

    Parameters
    ----------
    profiles : mapping of str to ColumnProfile
        All columns.
    named : mapping of str to str
        Roles that the user named.
    free : sequence of ColumnProfile
        Columns without a role.
    rows : MoneyRows
        What else is known of the rows.
    source : str
        What messages call the log.
    """

    def __init__(
        self,
        profiles: Mapping[str, ColumnProfile],
        named: Mapping[str, str],
        free: Sequence[ColumnProfile],
        rows: "MoneyRows",
        source: str,
    ) -> None:
        self._profiles, self._named, self._source = profiles, named, source
        self._orders, self._customers, self._sales = rows.orders, rows.customers, rows.sales
        self._first_line_only = rows.first_line_only
        self._free = list(free)
        self._grains: dict[str, GrainEvidence] = {}
        self._quantity = self._part("quantity")
        self._price = self._part("price")

    def read(self) -> MoneyReading:
        """Decide.

        Returns
        -------
        MoneyReading
            Columns, their meaning, and the decisions.

        Raises
        ------
        LayoutError
            If two readings are left open, or a named column cannot be used.
        """
        self._refuse_unusable()
        column, evidence, rejected = self._chosen()
        if column is None:
            return self._from_price()
        grain = self._grain(column)
        rule, facts = self._rule(column, grain)
        columns = {rule if rule in MONEY_ROLES else "price": column.text}
        if self._quantity is not None:
            columns["quantity"] = self._quantity.text
        if rule == "order_total" and self._price is not None and self._price is not column:
            columns["price"] = self._price.text
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
        for candidate in rank_columns(self._free, "amount"):
            profile = candidate.profile
            if profile is column or not profile.name.has("adjusted") or profile.name.has("net", "fee", "tax"):
                continue
            pair = pl.DataFrame({"total": column.numbers, "adjusted": profile.numbers}).drop_nulls()
            pair = pair.filter(pl.col("adjusted") > 0)
            if pair.height and float((pair["adjusted"] <= pair["total"] + _CENT).mean() or 0.0) >= _SAME:
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
            profile = self._profiles.get(self._named.get(role, ""))
            if profile is not None and profile.n_filled and profile.number_share < 0.5:
                examples = ", ".join(f"'{value}'" for value in profile.ids.drop_nulls().unique(maintain_order=True)[:3])
                raise LayoutError(
                    f"{self._source}: column '{profile.text}' was named as {role}, but most of its values are not "
                    f"numbers: {examples}. Name the right column: --columns {role}=...",
                    withheld=examples,
                )

    def _part(self, role: str) -> ColumnProfile | None:
        if role in self._named:
            return self._profiles[self._named[role]]
        if role == "price" and any(money in self._named for money in MONEY_ROLES):
            pass
        candidates = [found for found in rank_columns(self._free, role) if found.against is None]
        return candidates[0].profile if candidates else None

    def _line_discount(self) -> dict[str, str]:
        if "line_discount" in self._named:
            return {"line_discount": self._named["line_discount"]}
        found = [c for c in rank_columns(self._free, "line_discount") if c.profile.name.has("line")]
        return {"line_discount": found[0].profile.text} if found else {}

    def _chosen(self) -> tuple[ColumnProfile | None, tuple[Fact, ...], tuple[tuple[str, Fact], ...]]:
        named = next((self._named[role] for role in MONEY_ROLES if role in self._named), None)
        candidates = [self._of_orders(candidate) for candidate in rank_columns(self._free, "amount")]
        fitting = [candidate for candidate in candidates if candidate.against is None]
        if named is not None:
            return self._profiles[named], (Fact("named"),), _not_chosen(candidates, named)
        if "price" in self._named or not fitting:
            return None, (), ()
        best = self._of_whole_orders(fitting)
        rivals = [other for other in fitting if other is not best and abs(best.rank - other.rank) < _TIE]
        rivals = [other for other in rivals if self._grain(other.profile).grain == self._grain(best.profile).grain]
        for other in rivals:
            if not self._equal(best.profile, other.profile):
                raise LayoutError(self._two_columns(best.profile, other.profile))
        return best.profile, (Fact("by_name"),), _not_chosen(candidates, best.profile.text)

    def _of_whole_orders(self, fitting: Sequence[Candidate]) -> Candidate:
        """The best candidate; of lines and orders, that of orders, which has shipping and discounts in it."""
        best = fitting[0]
        if self._grain(best.profile).grain != "line":
            return best
        totals = [
            c for c in fitting[1:] if c.rank >= _CLEAR_RANK and self._grain(c.profile).grain in {"order", "first_line"}
        ]
        return totals[0] if totals else best

    def _of_orders(self, candidate: Candidate) -> Candidate:
        """The candidate, with what speaks against it where it is money of customers and not of orders."""
        if candidate.against is None and is_of_customers(candidate.profile.numbers, self._customers):
            others = [profile for profile in self._free if profile is not candidate.profile]
            if any(money_rank(other) is not None or other is self._price for other in others):
                return replace(candidate, against=Fact("of_customers"))
        return candidate

    def _equal(self, one: ColumnProfile, other: ColumnProfile) -> bool:
        pair = pl.DataFrame({"one": one.numbers, "other": other.numbers}).drop_nulls()
        return pair.is_empty() or float(((pair["one"] - pair["other"]).abs() < _CENT).mean() or 0.0) >= _SAME

    def _two_columns(self, one: ColumnProfile, other: ColumnProfile) -> str:
        return (
            f"{self._source}: 2 columns could be the amount equally well: '{one.text}' (total "
            f"{self._total(one):,.2f}) and '{other.text}' (total {self._total(other):,.2f}). "
            f"Say which: --columns amount={one.text} or --columns amount={other.text}"
        )

    def _grain(self, column: ColumnProfile) -> GrainEvidence:
        if column.text not in self._grains:
            # Rows that pay money back would differ from the sale of the same order number.
            paid = self._sales & ~(column.numbers < 0).fill_null(value=False)
            self._grains[column.text] = grain_evidence(column.numbers.filter(paid), self._orders.filter(paid))
        return self._grains[column.text]

    def _rule(self, column: ColumnProfile, grain: GrainEvidence) -> tuple[AmountRule, tuple[Fact, ...]]:
        is_named_total = self._named.get("order_total") == column.text
        found = Fact(
            {"order": "constant", "first_line": "first_line", "line": "differs"}.get(grain.grain, "single_lines")
        )
        if grain.grain in {"order", "first_line", "line"}:
            found = Fact(found.key, {"share": grain.share, "orders": grain.orders})
        if grain.grain == "unclear":
            return self._by_sums(column, grain, is_named_total=is_named_total)
        if grain.grain in {"order", "first_line"}:
            if grain.grain == "order" and (line := self._matches_lines(column)) is not None:
                return "amount", (line,)
            sums = self._matches_sums(column)
            return "order_total", (found, *([sums] if sums else []))
        if is_named_total and grain.grain == "line":
            raise LayoutError(
                f"{self._source}: column '{column.text}' was named as order_total, but it differs between the lines of "
                f"{grain.share:.0%} of the {grain.orders:,} orders with several lines. If it is the amount of an "
                f"order line, use --columns amount={column.text}"
            )
        if is_named_total or (grain.grain == "single" and (self._first_line_only or self._is_repeated_total(column))):
            return "order_total", (found,)
        return self._line_or_unit(column, found)

    def _is_repeated_total(self, column: ColumnProfile) -> bool:
        """Whether a column called the total of an order is alike on all lines of the few orders that have several."""
        named = column.name.has("order", "receipt", "invoice", "transaction") and column.name.has("total", "grand")
        return named and grain_evidence(column.numbers, self._orders, enough=1).grain == "order"

    def _line_or_unit(self, column: ColumnProfile, found: Fact) -> tuple[AmountRule, tuple[Fact, ...]]:
        quantity = self._quantity
        if quantity is None or not (quantity.numbers.abs() != 1).any():
            return "amount", (found,)
        evidence = self._units(column)
        grows = self._by_slope(column) if evidence.decides is None else None
        if evidence.is_balanced or (grows == "unit" and self._named.get("amount") != column.text):
            raise LayoutError(self._unit_question(column, quantity))
        if evidence.decides != "unit":
            return "amount", (found,)
        contradicts = () if column.name.has("price", "unit") else (Fact("contradicts_name"),)
        return "quantity_price", (found, *contradicts)

    def _by_slope(self, column: ColumnProfile) -> str | None:
        """What the money of rows of different quantities says, unless the name leaves nothing open."""
        if column.name.has("price") and column.name.has("unit", "line"):
            return "unit"
        return grows_with(column.numbers, self._quantity.numbers) if self._quantity is not None else None

    def _units(self, column: ColumnProfile) -> UnitEvidence:
        if self._quantity is None:
            return UnitEvidence()
        others = [
            profile
            for profile in (*self._free, *(self._profiles[name] for name in self._named.values()))
            if profile is not column and profile is not self._price and money_rank(profile) is not None
        ]
        grains = {profile.text: self._grain(profile).grain for profile in others if profile.number_share >= 0.5}
        products = rank_columns(self._free, "product_id")
        return unit_evidence(
            column.numbers,
            self._quantity.numbers,
            orders=self._orders,
            products=products[0].profile.ids if products else None,
            order_totals=[
                self._profiles[name].numbers for name, grain in grains.items() if grain in {"order", "first_line"}
            ],
            line_totals=[self._profiles[name].numbers for name, grain in grains.items() if grain in {"line", "single"}],
        )

    def _unit_question(self, column: ColumnProfile, quantity: ColumnProfile) -> str:
        multiplied = float((column.numbers * quantity.numbers).sum())
        return (
            f"{self._source}: '{column.text}' may be the amount of an order line (total {self._total(column):,.2f}) "
            f"or a price per unit, to be multiplied by '{quantity.text}' (total {multiplied:,.2f}); values fit both. "
            f"Say which: --columns amount={column.text} or --columns price={column.text},quantity={quantity.text}"
        )

    def _by_sums(
        self, column: ColumnProfile, grain: GrainEvidence, *, is_named_total: bool
    ) -> tuple[AmountRule, tuple[Fact, ...]]:
        """Decide by quantity and price where equal and different values are mixed within orders."""
        if is_named_total:
            return "order_total", ()
        line, sums = self._matches_lines(column), self._matches_sums(column)
        if line is not None and sums is None:
            return "amount", (line,)
        if sums is not None and line is None:
            return "order_total", (sums,)
        per_order = self._order_total(column)
        per_line = self._total(column)
        if abs(per_order - per_line) <= _MATTERS * abs(per_line) or self._named.get("amount") == column.text:
            return "amount", ()
        raise LayoutError(
            f"{self._source}: '{column.text}' may be the amount of an order line (total {per_line:,.2f}) or the total "
            f"of the order, repeated on its lines (total {per_order:,.2f}): it is the same on all lines in "
            f"{1 - grain.share:.0%} of the {grain.orders:,} orders with several lines. Say which: "
            f"--columns amount={column.text} or --columns order_total={column.text}"
        )

    def _line_values(self) -> pl.Series | None:
        if self._price is None or self._quantity is None:
            return None
        return self._price.numbers * self._quantity.numbers

    def _matches_lines(self, column: ColumnProfile) -> Fact | None:
        """Whether the column equals quantity × price line by line, also in orders with several lines."""
        values = self._line_values()
        if values is None or self._price is column:
            return None
        rows = pl.DataFrame({"order": self._orders, "line": values, "value": column.numbers}).drop_nulls()
        several = rows.filter(pl.len().over("order") > 1)
        share = float(((several["line"] - several["value"]).abs() < _CENT).mean() or 0.0)
        return Fact("sums_match", {"share": share, "orders": several.height}) if share >= 0.9 else None

    def _matches_sums(self, column: ColumnProfile) -> Fact | None:
        """Whether the column equals the sum of quantity × price over the order."""
        values = self._line_values()
        if values is None:
            return None
        rows = pl.DataFrame({"order": self._orders, "line": values, "value": column.numbers})
        sums = (
            rows.filter(pl.col("order").is_not_null())
            .group_by("order")
            .agg(pl.len(), pl.col("line").sum(), pl.col("value").drop_nulls().first())
            .filter(pl.col("len") > 1)
        )
        share = float(((sums["line"] - sums["value"]).abs() < _CENT).mean() or 0.0)
        return Fact("sums_match", {"share": share, "orders": sums.height}) if share >= 0.5 else None

    def _from_price(self) -> MoneyReading:
        """Read money from a price and a quantity, where no column of money was found or the price was named."""
        price = self._price
        if price is None:
            self._refuse_unnamed()
            return MoneyReading("none", decisions=(RoleDecision("money", None, Fact("money_none")),))
        evidence = (Fact("named") if "price" in self._named else Fact("by_name"),)
        if self._quantity is None:
            if price.name.has("unit") and "price" not in self._named:
                raise LayoutError(
                    f"{self._source}: '{price.text}' is a price per unit, and no column says how many units were bought. "
                    f"Name it: --columns price={price.text},quantity=... (or, if it is the money of the row, "
                    f"amount={price.text})"
                )
            decision = RoleDecision("money", price.text, Fact("money_line"), evidence)
            return self._with_refunds("amount", {"amount": price.text}, price, decision)
        units = self._units(price)
        if units.is_balanced:
            raise LayoutError(self._unit_question(price, self._quantity))
        columns = {"quantity": self._quantity.text}
        found = units.decides or self._by_slope(price)
        if found is None and (self._quantity.numbers.abs() > 1).any() and "price" not in self._named:
            raise LayoutError(self._unit_question(price, self._quantity))
        if found == "line":
            contradicts = (*evidence, Fact("contradicts_name"))
            meaning = Fact("line_total", {"quantity": self._quantity.text})
            decision = RoleDecision("money", price.text, meaning, contradicts)
            return self._with_refunds("amount", columns | {"amount": price.text}, price, decision)
        meaning = Fact("money_quantity_price", {"quantity": self._quantity.text})
        decision = RoleDecision("money", price.text, meaning, evidence)
        return self._with_refunds("quantity_price", columns | {"price": price.text}, price, decision)

    def _refuse_unnamed(self) -> None:
        """Ask where no name speaks of money and values do, or a name does and its values cannot be read."""
        for profile in self._free:
            rank = money_rank(profile) or 7.0 * profile.name.has("price")
            is_money = rank >= _PLAINLY_MONEY or (rank and profile.digit_share >= _MOSTLY)
            if is_money and profile.n_filled and profile.number_share < 0.5 and not profile.is_flag:
                examples = ", ".join(f"'{value}'" for value in profile.ids.drop_nulls().unique(maintain_order=True)[:3])
                raise LayoutError(
                    f"{self._source}: column '{profile.text}' should hold money, but its values cannot be read as "
                    f"numbers: {examples}. Export it as plain numbers, or name another column: --columns amount=...",
                    withheld=examples,
                )
        with_currency = [profile for profile in self._free if profile.has_currency_signs]
        if with_currency:
            shown = " or ".join(f"--columns amount={profile.text}" for profile in with_currency[:3])
            hold = "1 column holds" if len(with_currency) == 1 else f"{len(with_currency)} columns hold"
            raise LayoutError(
                f"{self._source}: no column name says what customers paid, but {hold} money: "
                f"{first_few([profile.text for profile in with_currency])}. Say which it is: {shown}"
            )

    def _meaning(self, rule: AmountRule, grain: GrainEvidence) -> Fact:
        if rule == "order_total":
            return Fact("money_order_first_line" if grain.grain == "first_line" else "money_order")
        if rule == "quantity_price":
            return Fact("money_quantity_price", {"quantity": self._quantity.text if self._quantity else ""})
        return Fact("money_row" if grain.grain == "single" else "money_line")

    def _with_refunds(
        self, rule: AmountRule, columns: dict[str, str], base: ColumnProfile, decision: RoleDecision
    ) -> MoneyReading:
        found = self._refunds(base)
        if found is None:
            return MoneyReading(rule, columns, None, (decision,))
        profile, refunds = found
        if refunds.meaning.key == "refund_included":
            return MoneyReading(rule, columns, None, (decision, refunds))
        per_order = rule == "order_total" or self._is_per_order(profile)
        per_order = per_order and not (rule == "order_total" and self._grain(profile).grain == "line")
        meaning = Fact("refund_order" if per_order else "refund_line")
        refunds = RoleDecision("refunded", profile.text, meaning, refunds.evidence, refunds.rejected)
        columns = columns | {"refunded": profile.text}
        return MoneyReading(rule, columns, "order" if per_order else "line", (decision, refunds))

    def _is_per_order(self, refunds: ColumnProfile) -> bool:
        """Whether refunds are stated for the order: equal on all its lines, or on one of them and larger than it."""
        rows = pl.DataFrame({"order": self._orders, "refund": refunds.numbers.abs()}).filter(
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
            (several["paid_back"] == 1) & (self._grain(refunds).grain == "first_line")
        )
        return float(alike.mean() or 0.0) >= _MOSTLY

    def _refunds(self, base: ColumnProfile) -> tuple[ColumnProfile, RoleDecision] | None:
        named = self._named.get("refunded")
        if named is not None:
            profile = self._profiles[named]
            return profile, RoleDecision("refunded", named, Fact("refund_order"), (Fact("named"),))
        candidates = rank_columns([profile for profile in self._free if profile is not base], "refunded")
        if base.name.has("converted"):
            candidates = sorted(candidates, key=lambda found: not found.profile.name.has("converted"))
        rejected: list[tuple[str, Fact]] = []
        for candidate in candidates:
            profile = candidate.profile
            too_large = self._exceeds(profile, base)
            if candidate.against is not None or too_large > 0.10:
                rejected.append((profile.text, candidate.against or Fact("not_smaller", {"share": too_large})))
                continue
            included = self._included(profile, base)
            key = Fact("refund_included", {"column": base.text}) if included else Fact("refund_order")
            return profile, RoleDecision("refunded", profile.text, key, (Fact("by_name"),), tuple(rejected))
        return None

    def _exceeds(self, refunds: ColumnProfile, base: ColumnProfile) -> float:
        """Share of the refunds that are larger than what was paid for their order."""
        paid = base.numbers
        if self._quantity is not None and self._is_unit_price(base):
            paid = paid * self._quantity.numbers
        rows = pl.DataFrame({"order": self._orders, "refund": refunds.numbers.abs(), "paid": paid})
        numbered = self._orders.null_count() < len(self._orders)
        alone = rows.select("refund", "paid").head(0 if numbered else rows.height)
        whole = pl.col("paid").sum() if self._grain(base).grain == "line" else pl.col("paid").drop_nulls().first()
        sums = rows.filter(pl.col("order").is_not_null()).group_by("order").agg(pl.col("refund").max(), whole)
        known = pl.concat([alone, sums.select("refund", "paid")]).filter((pl.col("refund") > 0) & (pl.col("paid") > 0))
        return float((known["refund"] > known["paid"] * 1.001 + _CENT).mean() or 0.0)

    def _is_unit_price(self, column: ColumnProfile) -> bool:
        return column is self._price or self._units(column).decides == "unit"

    def _included(self, refunds: ColumnProfile, base: ColumnProfile) -> bool:
        """Whether another column minus the refund is the column that money is read from."""
        paid_back = refunds.numbers.abs() > 0
        if not paid_back.any():
            return False
        whole_back = (base.numbers.filter(paid_back.fill_null(value=False)) == 0).sum()
        for profile in self._free:
            if profile is base or profile is refunds or money_rank(profile) is None:
                continue
            net = (
                (profile.numbers - refunds.numbers.abs() - base.numbers).abs().filter(paid_back.fill_null(value=False))
            )
            if net.count() >= 3 and float((net < _CENT).mean() or 0.0) >= 0.9:
                return True
        return whole_back >= 3

    def _total(self, column: ColumnProfile) -> float:
        return float(column.numbers.sum() or 0.0)

    def _order_total(self, column: ColumnProfile) -> float:
        rows = pl.DataFrame({"order": self._orders, "value": column.numbers}).filter(pl.col("order").is_not_null())
        return float(rows.group_by("order").agg(pl.col("value").drop_nulls().first())["value"].sum() or 0.0)


def _not_chosen(candidates: Sequence[Candidate], column: str) -> tuple[tuple[str, Fact], ...]:
    others = [candidate for candidate in candidates if candidate.profile.text != column and candidate.rank >= 5.0]
    return tuple(
        (candidate.profile.text, candidate.against or Fact("lower_rank", {"column": column}))
        for candidate in others[:3]
    )
