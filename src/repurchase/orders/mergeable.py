"""Statistics of some rows that add up over any split of the rows."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self


@dataclass(frozen=True)
class Mergeable:
    """Adds up field by field: numbers are added, flags and sets united, mappings added by key.

    A field with ``metadata={"merge": function}`` is merged by that function of two values.
    """

    def __add__(self, other: Self) -> Self:
        merged = {
            field.name: field.metadata.get("merge", merge)(getattr(self, field.name), getattr(other, field.name))
            for field in fields(self)
        }
        return type(self)(**merged)


def merge(one: Any, other: Any) -> Any:
    """Add two values of one kind."""
    if isinstance(one, bool | frozenset):
        return one | other
    if isinstance(one, Mapping):
        added = {key: merge(one[key], value) if key in one else value for key, value in other.items()}
        return (Counter if isinstance(one, Counter) else dict)({**one, **added})
    return one + other


def smallest_by_key(one: Mapping[str, str], other: Mapping[str, str]) -> dict[str, str]:
    """Merge examples: the same ones whichever rows come first."""
    return {key: min(side[key] for side in (one, other) if key in side) for key in {**one, **other}}
