"""Dates in every usual form, the ambiguous ones decided by the column or asked about."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repurchase.errors import OrdersError
from repurchase.orders.dates import read_dates


def read(*values: object, **options: str) -> list[str | None]:
    stamps = read_dates(pl.Series("Date", list(values)), **options).values  # type: ignore[arg-type]
    return [None if stamp is None else str(stamp) for stamp in stamps.to_list()]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2024-01-31", "2024-01-31 00:00:00"),
        ("2024-1-3 1:02", "2024-01-03 01:02:00"),
        ("2024-01-31T10:00:00", "2024-01-31 10:00:00"),
        ("2024-01-31 10:00:00.5", "2024-01-31 10:00:00.500000"),
        ("2024-01-31T10:00:00Z", "2024-01-31 10:00:00"),
        ("2024-01-31 23:30:00-08:00", "2024-01-31 23:30:00"),
        ("2024-01-31 23:30:00 +0530", "2024-01-31 23:30:00"),
        ("2024/01/31", "2024-01-31 00:00:00"),
        (" 20240131 ", "2024-01-31 00:00:00"),
        ("20240131 101500", "2024-01-31 10:15:00"),
        ("31.12.2024", "2024-12-31 00:00:00"),
        ("31.12.24 18.05", "2024-12-31 18:05:00"),
        ("12/31/2024 3:04 PM", "2024-12-31 15:04:00"),
        ("12/31/2024 12:00 AM", "2024-12-31 00:00:00"),
        ("Jan 5, 2024", "2024-01-05 00:00:00"),
        ("Mar 5, 2024 at 3:04 p.m.", "2024-03-05 15:04:00"),
        ("5 January 2024", "2024-01-05 00:00:00"),
        ("5-Jan-24", "2024-01-05 00:00:00"),
        ("Mon, 05 Feb 2024 10:00:00 +0000", "2024-02-05 10:00:00"),
        ("5. mai 2024", "2024-05-05 00:00:00"),
        ("12 juillet 2024", "2024-07-12 00:00:00"),
        ("3 März 2024", "2024-03-03 00:00:00"),
    ],
)
def test_unambiguous_forms(written: str, meant: str) -> None:
    assert read(written) == [meant]


@pytest.mark.parametrize(
    "written", ["soon", "2024-02-30", "0001-01-01", "1900-01-01", "", "31/12", "2024", "25:00", "12345"]
)
def test_what_is_no_date_is_null(written: str) -> None:
    assert read(written, "2024-01-31")[0] is None


def test_numbers_count_as_dates_only_if_all_of_them_do() -> None:
    assert read("45292", "45292.5") == ["2024-01-01 00:00:00", "2024-01-01 12:00:00"]
    assert read(1704067200, 1704153600) == ["2024-01-01 00:00:00", "2024-01-02 00:00:00"]
    assert read("1704067200000", timezone="Europe/Oslo") == ["2024-01-01 01:00:00"]
    assert read("45292", "2024-01-01") == [None, "2024-01-01 00:00:00"]
    assert read(20240131.0, None) == ["2024-01-31 00:00:00", None]


def test_one_date_settles_the_column() -> None:
    assert read("03/04/2024", "31/12/2024") == ["2024-04-03 00:00:00", "2024-12-31 00:00:00"]
    assert read("03/04/2024", "12/31/2024") == ["2024-03-04 00:00:00", "2024-12-31 00:00:00"]


def test_a_date_against_the_decided_order_is_unreadable() -> None:
    assert read(*["13/04/2024"] * 60, "04/15/2024")[-2:] == ["2024-04-13 00:00:00", None]


def test_an_undecided_column_is_asked_about_in_one_line() -> None:
    with pytest.raises(OrdersError) as caught:
        read("03/04/2024", "05/06/2024", source="orders.csv")
    assert str(caught.value) == (
        "orders.csv: the dates in 'Date' can be read in two ways: '03/04/2024' is 3 April or March 4, and none of "
        "2 such dates decides. Say which: --date-order day_first or --date-order month_first."
    )


def test_an_answered_question_is_not_asked_again() -> None:
    assert read("03/04/2024", date_order="day_first") == ["2024-04-03 00:00:00"]
    assert read("03/04/2024", date_order="month_first") == ["2024-03-04 00:00:00"]


def test_a_column_split_in_halves_is_asked_about() -> None:
    with pytest.raises(OrdersError, match="contradict each other"):
        read("13/04/2024", "04/13/2024")


def test_equal_day_and_month_need_no_question() -> None:
    assert read("05/05/2024") == ["2024-05-05 00:00:00"]


def test_days_stay_as_written_without_a_zone_and_move_with_one() -> None:
    late = "2024-01-31 23:30:00-08:00"
    assert read(late) == ["2024-01-31 23:30:00"]
    assert read(late, timezone="Europe/Oslo") == ["2024-02-01 08:30:00"]


def test_clocks_change_in_spring() -> None:
    assert read("2024-03-31T00:30:00Z", "2024-03-31T01:30:00Z", "2024-03-31 10:00", timezone="Europe/Oslo") == [
        "2024-03-31 01:30:00",
        "2024-03-31 03:30:00",
        "2024-03-31 10:00:00",
    ]


def test_mixed_offsets_are_said() -> None:
    notes = read_dates(pl.Series(["2024-01-31 10:00-08:00", "2024-07-31 10:00-07:00"])).notes
    assert any("different offsets" in note for note in notes)


def test_typed_columns() -> None:
    assert read(date(2024, 1, 31)) == ["2024-01-31 00:00:00"]
    noon = datetime(2024, 1, 31, 12, tzinfo=UTC)
    assert read(noon) == ["2024-01-31 12:00:00"]
    assert read(noon, timezone="America/New_York") == ["2024-01-31 07:00:00"]


FORMATS = ("%Y-%m-%d %H:%M:%S", "%d.%m.%Y %H:%M:%S", "%d %B %Y %H:%M:%S", "%Y%m%dT%H%M%S", "%b %d, %Y %I:%M:%S %p")


@settings(deadline=None)
@given(st.datetimes(datetime(1971, 1, 1), datetime(2099, 1, 1)), st.sampled_from(FORMATS))  # noqa: DTZ001
def test_what_is_written_is_read(moment: datetime, form: str) -> None:
    moment -= timedelta(microseconds=moment.microsecond)
    assert read(moment.strftime(form)) == [str(moment)]


@settings(deadline=None)
@given(st.lists(st.dates(date(2000, 1, 1), date(2030, 1, 1)), min_size=1, max_size=20), st.booleans())
def test_a_column_is_read_as_meant_or_asked_about(days: list[date], day_first: bool) -> None:
    written = [day.strftime("%d/%m/%Y" if day_first else "%m/%d/%Y") for day in days]
    try:
        found = read(*written)
    except OrdersError:
        assert all(day.day <= 12 for day in days)
    else:
        assert found == [f"{day} 00:00:00" for day in days]
