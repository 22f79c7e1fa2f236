"""Dates in every usual form, the ambiguous ones decided by the column or asked about."""

import pickle
from datetime import UTC, date, datetime, timedelta
from functools import reduce
from itertools import pairwise
from operator import add

import polars as pl
import pyarrow as pa
import pytest
from babel.dates import format_datetime
from hypothesis import given, settings
from hypothesis import strategies as st

from repurchase.errors import OrdersError
from repurchase.i18n.messages import render
from repurchase.orders.dates import placeholder_dates, read_dates
from repurchase.orders.format_inference import DateEvidence, DateFormat
from repurchase.sources.tables import drop_impossible_dates, frame_from_arrow, unsupported_zones


def texts(messages):
    return [render(one, locale="en") for one in messages]


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
        ("Feb-03-24", "2024-02-03 00:00:00"),
        ("3/Feb/2024:14:05:06 +0100", "2024-02-03 14:05:06"),
        ("03-FEB-24 02.05.06.000000 PM", "2024-02-03 14:05:06"),
        ("Sat Feb 03 2024 14:05:06 GMT+0100 (Central European Standard Time)", "2024-02-03 14:05:06"),
        ("Sat Feb  3 14:05:06 PST 2024", "2024-02-03 14:05:06"),
        ("2024-02-03 14:05 UTC+2", "2024-02-03 14:05:00"),
        ("2024-02-03T14:05:06+01:00[Europe/Paris]", "2024-02-03 14:05:06"),
        ("3 février 2024 à 14h05", "2024-02-03 14:05:00"),
        ("mar. 6 févr. 2024", "2024-02-06 00:00:00"),
        ("sábado, 3 de febrero de 2024, 2:05:06 p. m.", "2024-02-03 14:05:06"),
        ("3 de fev. de 2024 às 14:05", "2024-02-03 14:05:00"),
        ("lördag 3 februari 2024 kl. 14:05", "2024-02-03 14:05:00"),
        ("3 февраля 2024 г., 14:05", "2024-02-03 14:05:00"),
        ("3 lutego 2024 14:05", "2024-02-03 14:05:00"),
        ("Samstag, 3. Februar 2024 um 14:05 Uhr", "2024-02-03 14:05:00"),
        ("3.2.2024 2:05 nachm.", "2024-02-03 14:05:00"),
        ("2024-02-03 2:05\u202fPM", "2024-02-03 14:05:00"),
        ("February 3rd, 2024 2pm", "2024-02-03 14:00:00"),
        ("2024年2月3日 14:05", "2024-02-03 14:05:00"),
        ('="2024-02-03"', "2024-02-03 00:00:00"),
        ("'2024-02-03", "2024-02-03 00:00:00"),
        ("\ufeff2024-02-03\u200b", "2024-02-03 00:00:00"),
        ("2024-02-03-14.05.06.123456", "2024-02-03 14:05:06.123456"),
        ("20240203140506", "2024-02-03 14:05:06"),
        ("2024-W05-6", "2024-02-03 00:00:00"),
        ("13.02.70", "1970-02-13 00:00:00"),
        ("13.02.68", "2068-02-13 00:00:00"),
    ],
)
def test_unambiguous_forms(written: str, meant: str) -> None:
    assert read(written) == [meant]


@pytest.mark.parametrize(
    "written",
    [
        *("soon", "2024-02-30", "0001-01-01", "1900-01-01", "", "31/12", "2024", "25:00", "12345", "2024-02-03 24:00"),
        *("0000-00-00 00:00:00", "1970-01-01 00:00:00", "1899-12-30", "9999-12-31", "2567-02-03", "1403-04-02"),
        *("Feb 2024", "3 February", "2024-02", "02/2024", "3 mai juin 2024", "Order 2024-02-03 x", "2024-02-03 NEW"),
    ],
)
def test_what_is_no_date_is_null(written: str) -> None:
    assert read(written, "2024-01-31")[0] is None


def test_numbers_count_as_dates_only_if_all_of_them_do() -> None:
    assert read("45292", "45292.5") == ["2024-01-01 00:00:00", "2024-01-01 12:00:00"]
    assert read(1704067200, 1704153600) == ["2024-01-01 00:00:00", "2024-01-02 00:00:00"]
    assert read("1704067200000", timezone="Europe/Oslo") == ["2024-01-01 01:00:00"]
    assert read("1704067200000000") == read("1704067200000000000") == ["2024-01-01 00:00:00"]
    assert read("1704067200.25", "1704153600,5") == ["2024-01-01 00:00:00.250000", "2024-01-02 00:00:00.500000"]
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


def test_a_repeated_heading_among_numbers_that_count_is_one_unreadable_row() -> None:
    assert read(*["1704067200"] * 19, "Date") == [*["2024-01-01 00:00:00"] * 19, None]
    assert read(*["45292,5"] * 19, "n/a") == [*["2024-01-01 12:00:00"] * 19, None]
    assert read(*["1704067200"] * 18, "Date", "2024-01-01")[0] is None  # under 95 of 100 decide nothing


def test_slips_do_not_turn_a_column_round() -> None:
    form = DateEvidence.of(pl.Series(["13/04/2024"] * 99 + ["04/13/2024"])).decide()
    assert form.order == "day_first"
    with pytest.raises(OrdersError, match=r"98 rows are day first.*'13/04/2024', and 2 month first.*'04/13/2024'"):
        DateEvidence.of(pl.Series(["13/04/2024"] * 98 + ["04/13/2024"] * 2)).decide()


def test_many_slips_are_a_part_of_the_file() -> None:
    few = pl.Series(["13/04/2024"] * 9_000 + ["04/13/2024"] * 49)
    assert DateEvidence.of(few).decide().order == "day_first"
    with pytest.raises(OrdersError, match="contradict each other"):
        DateEvidence.of(pl.concat([few, pl.Series(["04/13/2024"])])).decide()


def test_one_date_does_not_settle_hundreds() -> None:
    many = [f"{day:02}/{month:02}/2024" for day in range(1, 13) for month in range(1, 13)]
    with pytest.raises(OrdersError, match="two ways"):
        read(*many, "31/12/2024")
    assert read(*many, "31/12/2024", "30/12/2024", "29/12/2024")[1] == "2024-02-01 00:00:00"


def test_a_file_that_cannot_tell_follows_the_others() -> None:
    silent, american = (DateEvidence.of(pl.Series([text])) for text in ("03/04/2024", "12/31/2024"))
    norwegian = DateEvidence.of(pl.Series(["31/12/2024"]))
    assert silent.decide(all_files=silent + american).order == "month_first"
    assert norwegian.decide(all_files=norwegian + american + american).order == "day_first"
    with pytest.raises(OrdersError, match="contradict"):
        silent.decide(all_files=silent + american + norwegian)
    assert silent.decide(all_files=silent + american + norwegian, date_order="month_first").order == "month_first"


def test_a_setting_does_not_overrule_what_the_column_shows() -> None:
    form = DateEvidence.of(pl.Series(["03/04/2024", "31/12/2024"])).decide(date_order="month_first")
    assert form.order == "day_first"
    assert texts(form.notes)[0].endswith("The setting date_order says otherwise and was not used.")


def test_years_of_two_digits_may_come_first() -> None:
    days = [date(2023, 1, 1) + timedelta(days=9 * step) for step in range(80)]
    assert read(*(day.strftime("%y/%m/%d") for day in days)) == [f"{day} 00:00:00" for day in days]


def test_a_zone_in_words() -> None:
    assert read("2024-06-22 12:00 EST", timezone="Europe/Oslo") == ["2024-06-22 19:00:00"]
    assert read("2024-06-22 12:00 IST") == ["2024-06-22 12:00:00"]
    assert read("2024-06-22 12:00 IST", timezone="Asia/Kolkata") == ["2024-06-22 12:00:00"]
    assert read("2024-06-22 12:00 IST", timezone="Europe/Oslo") == [None]  # India, Ireland or Israel


def test_mixed_offsets_are_said() -> None:
    notes = read_dates(pl.Series(["2024-01-31 10:00-08:00", "2024-07-31 10:00-07:00"])).notes
    assert any("different offsets" in note for note in texts(notes))


def test_typed_columns() -> None:
    assert read(date(2024, 1, 31)) == ["2024-01-31 00:00:00"]
    noon = datetime(2024, 1, 31, 12, tzinfo=UTC)
    assert read(noon) == ["2024-01-31 12:00:00"]
    assert read(noon, timezone="America/New_York") == ["2024-01-31 07:00:00"]


def test_impossible_typed_dates_are_missing() -> None:
    for unit, a_second in (("ms", 10**3), ("us", 10**6), ("ns", 10**9)):
        times = pl.Series([1704067200 * a_second, -(2**62), 2**62, 0, None]).cast(pl.Datetime(unit))  # type: ignore[arg-type]
        assert read_dates(times, timezone="Europe/Oslo").values.to_list()[0] == datetime(2024, 1, 1)  # noqa: DTZ001
        zoned = read_dates(times.dt.replace_time_zone("UTC").gather([0, 3, 4]), timezone="Asia/Tokyo").values
        assert zoned.to_list() == [datetime(2024, 1, 1, 9), None, None]  # noqa: DTZ001
    days = pl.Series([19723, 2**31 - 1, -(2**31), -719528, 6_673_000], dtype=pl.Int32).cast(pl.Date)
    assert read_dates(days).values.to_list() == [datetime(2024, 1, 1), *[None] * 4]  # noqa: DTZ001
    assert drop_impossible_dates(days).to_list() == [date(2024, 1, 1), *[None] * 4]
    assert placeholder_dates(days).to_list() == [False, True, True, True, True]


def test_zones_that_polars_does_not_know_are_read() -> None:
    seconds = pa.array([1704067200, None, 2**50], pa.int64())
    zones = ("+05:30", "-03:00", "Europe/Oslo", None, "Mars/Base")
    table = pa.table(
        {"x": [1, 2, 3], **{str(zone): seconds.cast(pa.timestamp("s", zone)) for zone in zones}, "y": [1, 2, 3]}
    )
    assert unsupported_zones(table.schema) == ("+05:30", "-03:00", "Mars/Base")
    frame = frame_from_arrow(table)
    assert frame.columns == table.column_names
    hours = {zone: read_dates(frame[str(zone)]).values.dt.to_string("%F %R").to_list() for zone in zones}
    assert hours["+05:30"] == ["2024-01-01 05:30", None, None]
    assert hours["-03:00"] == ["2023-12-31 21:00", None, None]
    assert hours["Europe/Oslo"] == ["2024-01-01 01:00", None, None]
    assert hours[None] == hours["Mars/Base"] == ["2024-01-01 00:00", None, None]
    assert read_dates(frame["+05:30"], timezone="Asia/Tokyo").values.dt.hour().to_list() == [9, None, None]


@pytest.mark.parametrize("dtype", [pl.Duration("us"), pl.Time, pl.Boolean, pl.List(pl.Int64)])
def test_a_column_of_another_type_is_refused(dtype: pl.DataType) -> None:
    with pytest.raises(OrdersError, match=r"^shop\.parquet: the column 'Wait' has the type .*, which is no date"):
        read_dates(pl.Series("Wait", [None], dtype=dtype), source="shop.parquet")


def test_placeholders_are_told_from_unreadable_dates() -> None:
    texts = pl.Series(
        ["0000-00-00", "00.00.0000 00:00", "1900-01-01", "9999-12-31 23:59:59", "0", "soon", "2024-01-01", None]
    )
    assert placeholder_dates(texts).to_list() == [True] * 5 + [False] * 3


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


LOCALES = ("en", "de", "fr", "es", "nl", "nb", "sv", "da", "ru", "pl", "pt", "it")


@settings(deadline=None, max_examples=300)
@given(
    st.datetimes(datetime(1971, 1, 1), datetime(2068, 1, 1)),  # noqa: DTZ001
    st.sampled_from(LOCALES),
    st.sampled_from(
        ["EEEE, d MMMM y, HH:mm:ss", "d MMM yyyy", "d. MMMM y HH:mm:ss", "EEE d MMM y, HH:mm", "dd-MMM-yy", "MMM-dd-yy"]
    ),
)
def test_dates_in_the_words_of_twelve_languages(moment: datetime, locale: str, form: str) -> None:
    written = format_datetime(moment, form, locale=locale)
    (found,) = read(written)
    assert found is not None, written
    assert found[:10] == str(moment)[:10]


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["13/04/2024", "04/13/2024", "3/4/24", "1704067200", "45292", "24.12.23", "soon", "", None, "Jan 5, 2024"]
        ),
        max_size=30,
    ),
    st.lists(st.integers(0, 30), max_size=4),
)
def test_evidence_adds_up_over_any_split(texts: list[str | None], cuts: list[int]) -> None:
    column = pl.Series(texts, dtype=pl.String)
    edges = [0, *sorted(cut for cut in cuts if cut < len(texts)), len(texts)]
    parts = [DateEvidence.of(column[a:b]) for a, b in pairwise(edges)]
    whole = DateEvidence.of(column)
    assert reduce(add, parts, DateEvidence()) == whole == reduce(add, reversed(parts), DateEvidence())
    assert pickle.loads(pickle.dumps(whole)) == whole
    assert hash(DateFormat()) == hash(DateFormat())
