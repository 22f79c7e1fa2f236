"""Contracts of tables: a frame passes or is refused in one line."""

import math

import polars as pl
import pytest

from repurchase.errors import InputError
from repurchase.schemas import Column, Table

SHARES = Table(
    name="shares",
    grain="one row per customer",
    key=("who",),
    columns=(
        Column("who", pl.String(), "who"),
        Column("p", pl.Float64(), "a probability", nullable=True, low=0.0, high=1.0),
        Column("money", pl.Float64(), "net money", nullable=True, optional=True),
    ),
)


def frame(**columns: list[object]) -> pl.DataFrame:
    told = {"who": ["a", "b", "c"], "p": [0.0, 1.0, None], "money": [-1e300, 1e300, None]} | columns
    schema = {"who": pl.String, "p": pl.Float64, "money": pl.Float64}
    return pl.DataFrame(told, schema={name: schema[name] for name in told})


def test_both_ends_and_missing_values_pass() -> None:
    assert SHARES.check(frame()).height == 3


@pytest.mark.parametrize(
    ("column", "values", "told"),
    [
        ("p", [0.5, 2.0, None], "column 'p' must be from 0 to 1 (a probability). 1 of 2 values are not, such as 2."),
        ("p", [0.5, math.nan, None], "1 of 2 values are not, such as nan."),
        ("p", [-1e-9, -1e-9, -1e-9], "3 of 3 values are not"),
        ("money", [1.0, math.inf, None], "column 'money' must be finite (net money). 1 of 2 values are not"),
        ("money", [1.0, -math.inf, math.nan], "2 of 3 values are not"),
    ],
)
def test_numbers_out_of_range_are_refused(column: str, values: list[object], told: str) -> None:
    with pytest.raises(InputError) as fault:
        SHARES.check(frame(**{column: values}))
    assert told in str(fault.value)
    assert "such as" not in fault.value.log_message  # what quotes a row stays out of log files
