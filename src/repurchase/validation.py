"""Check values that come from outside against a schema: settings, model bundles and records of runs.

A schema is a `Check` of one value, ``[schema]`` for a list of such values, or a mapping of field name to schema, where
``"name?"`` may be absent and ``"*"`` stands for every field.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from repurchase.errors import InputError

_MAX_RECORD_NUMBER = 1e15
_MAX_SHOWN = 80


@dataclass(frozen=True)
class Check:
    """A condition on one value, and what it expects."""

    holds: Callable[[Any], bool]
    expected: str


@dataclass(frozen=True)
class Nullable:
    """A value that may also be null, or an empty table."""

    schema: "Schema"


Schema = Check | Nullable | list[Any] | Mapping[str, Any]


@dataclass(frozen=True)
class Fault:
    """A value that does not conform to its schema."""

    path: str
    expected: str
    value: object

    def __str__(self) -> str:
        shown = repr(self.value)
        shown = shown if len(shown) <= _MAX_SHOWN else f"{shown[:_MAX_SHOWN]}…"
        return f"must be {self.expected}. Got {shown} instead."


def first_fault(value: Any, schema: Schema, path: str = "") -> Fault | None:
    """Find the first value that does not conform to the schema."""
    if isinstance(schema, Check):
        return None if schema.holds(value) else Fault(path, schema.expected, value)
    if isinstance(schema, Nullable):
        is_empty = value is None or (value == {} and isinstance(schema.schema, Mapping))
        return None if is_empty else first_fault(value, schema.schema, path)
    items: Iterator[tuple[Any, Schema, str]]
    if isinstance(schema, list):
        if not isinstance(value, list):
            return Fault(path, "a list", value)
        items = ((item, schema[0], f"{path}[{number}]") for number, item in enumerate(value))
    else:
        if not isinstance(value, dict):
            return Fault(path, "a table", value)
        items = _fields(value, schema, path)
    return next((fault for item in items if (fault := first_fault(*item))), None)


def _fields(values: dict[str, Any], schema: Mapping[str, Schema], path: str) -> Iterator[tuple[Any, Schema, str]]:
    for field, inner in schema.items():
        name = field.removesuffix("?")
        if name == "*":
            yield from ((value, inner, f"{path}.{key}".lstrip(".")) for key, value in values.items())
        elif name in values:
            yield values[name], inner, f"{path}.{name}".lstrip(".")
        elif name == field:
            yield None, _PRESENT, f"{path}.{name}".lstrip(".")


def require_options(values: Mapping[str, Any], schema: Mapping[str, Schema]) -> None:
    """Require that command-line options, named by their parameters, hold what they may hold."""
    fault = first_fault(dict(values), schema)
    if fault:
        raise InputError(f"--{fault.path.replace('_', '-')} {fault}")


def optional_fields(**fields: Schema) -> dict[str, Schema]:
    """Describe fields that may be absent or null."""
    return {f"{name}?": Nullable(schema) for name, schema in fields.items()}


def is_number(value: object) -> bool:
    """Tell whether a value is a finite number; true and false are none."""
    return is_integer(value) or (isinstance(value, float) and math.isfinite(value))


def is_integer(value: object) -> bool:
    """Tell whether a value is a whole number; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_text_list(value: object) -> bool:
    """Tell whether a value is a list of texts."""
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)


def is_statement(value: object) -> bool:
    """Whether a value is a message or, in what earlier versions wrote, a sentence."""
    if not isinstance(value, dict):
        return isinstance(value, str)
    return value.keys() == {"key", "params"} and isinstance(value["key"], str) and isinstance(value["params"], dict)


def _is_day(value: Any) -> bool:
    try:
        return bool(date.fromisoformat(value))
    except (TypeError, ValueError):
        return False


def number(low: float, high: float, expected: str | None = None) -> Check:
    """Describe a finite number from low to high, both included."""
    expected = expected or f"a number from {low:g} to {high:g}"
    return Check(lambda value: is_number(value) and low <= value <= high, expected)


def integer(low: int, high: float = math.inf, expected: str | None = None) -> Check:
    """Describe a whole number from low to high, both included."""
    expected = expected or f"a whole number from {low} to {high}"
    return Check(lambda value: is_integer(value) and low <= value <= high, expected)


def at_least(low: float, expected: str | None = None) -> Check:
    """Describe a finite number of at least ``low``."""
    return Check(lambda value: is_number(value) and value >= low, expected or f"{low:g} or more")


def above(low: float, high: float = math.inf, expected: str | None = None) -> Check:
    """Describe a finite number between two values, both excluded."""
    limit = "" if high == math.inf else f" and below {high:g}"
    return Check(lambda value: is_number(value) and low < value < high, expected or f"above {low:g}{limit}")


def optional(check: Check) -> Check:
    """Describe a value that may be null."""
    return Check(lambda value: value is None or check.holds(value), f"{check.expected}, or null")


def one_of(*values: str) -> Check:
    """Describe one of some texts."""
    return Check(lambda value: isinstance(value, str) and value in values, f"one of {', '.join(values)}")


def text_matching(pattern: str, expected: str) -> Check:
    """Describe a text that matches a regular expression."""
    return Check(lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None, expected)


_PRESENT = Check(lambda _: False, "given")
ANY = Check(lambda _: True, "anything")
STATEMENT = Check(is_statement, "a message or a sentence")
TEXT = Check(lambda value: isinstance(value, str), "a text")
FLAG = Check(lambda value: isinstance(value, bool), "true or false")
TABLE = Check(lambda value: isinstance(value, Mapping), "a table")
DAY = Check(_is_day, "a day such as 2024-12-31")
NUMBER = Check(lambda value: is_number(value) and abs(value) < _MAX_RECORD_NUMBER, "a number")
COUNT = Check(lambda value: is_integer(value) and 0 <= value < _MAX_RECORD_NUMBER, "a whole number, 0 or more")
