"""Values are checked against schemas, and the first fault is named."""

import math

import pytest

from repurchase.validation import (
    COUNT,
    DAY,
    FLAG,
    NUMBER,
    TEXT,
    Nullable,
    first_fault,
    integer,
    is_number,
    number,
    one_of,
    optional,
    optional_fields,
    text_matching,
)

SCHEMA = {
    "name": TEXT,
    "horizons": [{"days": COUNT, "gain?": Nullable(NUMBER)}],
    "groups?": Nullable({"*": {"n": COUNT}}),
    **optional_fields(period=one_of("week", "month")),
}
RECORD = {
    "name": "a",
    "horizons": [{"days": 30, "gain": 0.5}, {"days": 90}],
    "groups": {"x": {"n": 0}},
    "other": object(),
}


@pytest.mark.parametrize(
    "changes",
    [{}, {"groups": None}, {"groups": {}}, {"period": None}, {"period": "week"}, {"horizons": []}],
)
def test_a_record_that_conforms_has_no_fault(changes: dict[str, object]) -> None:
    assert first_fault({**RECORD, **changes}, SCHEMA) is None


@pytest.mark.parametrize(
    ("record", "path", "message"),
    [
        ({"horizons": []}, "name", "must be given. Got None instead."),
        ({**RECORD, "name": 5}, "name", "must be a text. Got 5 instead."),
        ({**RECORD, "horizons": {}}, "horizons", "must be a list. Got {} instead."),
        ({**RECORD, "horizons": [{"days": 1}, 2]}, "horizons[1]", "must be a table. Got 2 instead."),
        (
            {**RECORD, "horizons": [{"days": -1}]},
            "horizons[0].days",
            "must be a whole number, 0 or more. Got -1 instead.",
        ),
        (
            {**RECORD, "horizons": [{"days": 1, "gain": math.nan}]},
            "horizons[0].gain",
            "must be a number. Got nan instead.",
        ),
        ({**RECORD, "groups": {"y": {}}}, "groups.y.n", "must be given. Got None instead."),
        ({**RECORD, "period": "year"}, "period", "must be one of week, month. Got 'year' instead."),
        ([], "", "must be a table. Got [] instead."),
        ({**RECORD, "name": ["x" * 200]}, "name", f"must be a text. Got {repr(['x' * 200])[:80]}… instead."),
    ],
)
def test_the_first_fault_is_named(record: object, path: str, message: str) -> None:
    fault = first_fault(record, SCHEMA)
    assert fault is not None
    assert (fault.path, str(fault)) == (path, message)


@pytest.mark.parametrize(
    ("check", "inside", "outside"),
    [
        (number(0, 1), [0, 0.5, 1], [-1e-9, 1.000001, math.inf, math.nan, True, "1", None]),
        (integer(1, 3), [1, 3], [0, 4, 1.0, True, None]),
        (integer(1), [1, 10**5000], [0]),
        (optional(integer(1, 3)), [None, 2], [0]),
        (COUNT, [0, 10**14], [-1, 10**15, 0.0, False]),
        (FLAG, [True, False], [0, "true"]),
        (DAY, ["2024-02-29"], ["2023-02-29", "today", 20240229, None]),
        (text_matching(r"\d+", "digits"), ["12"], ["12 ", "", 12]),
        (one_of("a"), ["a"], ["b", ["a"], None]),
    ],
)
def test_both_sides_of_every_limit(check, inside: list[object], outside: list[object]) -> None:
    assert [value for value in inside if not check.holds(value)] == []
    assert [value for value in outside if check.holds(value)] == []


def test_a_whole_number_of_any_size_is_a_number() -> None:
    assert is_number(10**5000)
