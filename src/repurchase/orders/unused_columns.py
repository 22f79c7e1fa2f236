"""Columns that are not used although their name says that they could matter."""

from collections.abc import Sequence

from repurchase.orders.column_profiles import ColumnProfile
from repurchase.orders.column_questions import SHOWN_COLUMNS
from repurchase.orders.decisions import Fact, RoleDecision

__all__ = ["unused_columns"]

_CONCERNS = (
    ("refund", "unused_refund"),
    ("cancelled", "unused_cancelled"),
    ("status", "unused_status"),
    ("test", "unused_test"),
)


def unused_columns(free: Sequence[ColumnProfile], decisions: Sequence[RoleDecision]) -> tuple[tuple[str, Fact], ...]:
    """Find columns that may say which orders count, but have no role.

    Parameters
    ----------
    free : sequence of ColumnProfile
        Columns without a role.
    decisions : sequence of RoleDecision
        What was decided; columns that were considered there are shown there.

    Returns
    -------
    tuple of (str, Fact)
        Column and what it may be.
    """
    shown = {column for decision in decisions for column, _ in decision.rejected}
    found = ((profile, _concern(profile)) for profile in free if profile.n_filled and profile.text not in shown)
    kept = [(profile.text, Fact(concern)) for profile, concern in found if concern]
    return tuple(kept[:SHOWN_COLUMNS])


def _concern(profile: ColumnProfile) -> str | None:
    if profile.name.has("shipped", "customer"):
        return None
    concern = next((key for concept, key in _CONCERNS if profile.name.has(concept)), None)
    return concern or ("unused_type" if profile.name.has("type") and profile.has_refund_type else None)
