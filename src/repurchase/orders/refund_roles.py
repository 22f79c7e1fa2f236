"""Which column holds refunds, whether of lines or of orders, and whether the money is already without them."""

from dataclasses import replace
from typing import Literal

import polars as pl

from repurchase.orders.column_profiles import ColumnProfile, share
from repurchase.orders.column_ranking import money_rank, rank_columns
from repurchase.orders.decisions import Fact, RoleDecision
from repurchase.orders.layouts import AmountRule
from repurchase.orders.money_evidence import CENT, MoneyEvidence

__all__ = ["RefundReader"]

RefundGrain = Literal["order", "line"] | None
_MOSTLY = 0.8
_TOO_LARGE = 0.10


class RefundReader:
    """Chooses the column of refunds.

    Parameters
    ----------
    evidence : MoneyEvidence
        Of a sample of rows.
    """

    def __init__(self, evidence: MoneyEvidence) -> None:
        self._evidence = evidence

    def read(
        self, base: ColumnProfile, rule: AmountRule
    ) -> tuple[RoleDecision, Literal["order", "line"] | None] | None:
        """Decide.

        Parameters
        ----------
        base : ColumnProfile
            The column that money is read from.
        rule : {"amount", "order_total", "quantity_price", "none"}
            What that column means.

        Returns
        -------
        tuple of RoleDecision and {"order", "line"}, or None
            The decision, and whether refunds are of orders or of lines, None where they are taken off already; None
            where there is no such column.
        """
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
