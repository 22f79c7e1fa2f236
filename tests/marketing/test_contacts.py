"""Contacts and suppression: strict, never guessed."""

from datetime import date

import polars as pl
import pytest

from repurchase.errors import InputError
from repurchase.marketing.contacts import Contacts, read_contacts, read_recent_contacts, suppression_reasons

AS_OF = date(2024, 6, 30)


def read(**columns: list[str | None]) -> Contacts:
    return read_contacts(pl.DataFrame(columns), id_column="id", columns={}, source="contacts.csv")


def kept(contacts: Contacts, role: str) -> list[object]:
    return contacts.rows.sort("customer_id")[role].to_list()


@pytest.mark.parametrize(
    ("address", "is_valid"),
    [
        ("kari@example.no", True),
        ("kåre.ødegård+shop@bø.no", True),
        ("o'brien@mail.example.co.uk", True),
        ("kari@", False),
        ("kari.example.no", False),
        ("kari@localhost", False),
        ("a..b@example.no", False),
        (".a@example.no", False),
        ("a b@example.no", False),
        ("a@b@example.no", False),
        ("a@-example.no", False),
        ("=a@example.no", False),
        (f"{'a' * 250}@example.no", False),
    ],
)
def test_an_address_is_valid_or_for_repair(address: str, is_valid: bool) -> None:
    contacts = read(id=["1"], email=[address], consent=["yes"])
    assert kept(contacts, "email") == [address if is_valid else None]
    assert contacts.repair.rows() == ([] if is_valid else [("1", "invalid email", address)])


@pytest.mark.parametrize(
    ("number", "as_kept"),
    [
        ("+47 900 12 345", "+4790012345"),
        ("0047 90012345", "+4790012345"),
        ("(020) 7946-0000", "02079460000"),
        ("ring meg", None),
        ("+47", None),
        ("=1+1", None),
        ("+47 900 12 345 ext 2", None),
    ],
)
def test_a_number_is_valid_or_for_repair(number: str, as_kept: str | None) -> None:
    contacts = read(id=["1"], phone=[number], consent=["yes"])
    assert kept(contacts, "phone") == [as_kept]
    assert contacts.repair["found"].to_list() == ([number] if as_kept is None else [])


def test_what_is_missing_is_told() -> None:
    contacts = read(
        id=["1", "2"], email=["", "b@x.no"], Adresse=["Gata 1", ""], Poststed=["Bø", "Bø"], consent=["1", "1"]
    )
    assert contacts.repair.rows() == [("1", "no email", None), ("2", "no address", None)]


@pytest.mark.parametrize("word", ["yes", "TRUE", "1", "opt-in", "Opted in", "ja", "да", "subscribed"])
def test_words_of_consent(word: str) -> None:
    assert kept(read(id=["1"], consent=[word]), "consent") == [True]


@pytest.mark.parametrize("word", ["no", "false", "0", "opt-out", "unsubscribed", "nei", "нет", "", None])
def test_words_of_no_consent(word: str | None) -> None:
    assert kept(read(id=["1", "2"], consent=[word, "yes"]), "consent") == [False, True]


def test_numbers_and_flags_from_parquet_are_read_too() -> None:
    rows = pl.DataFrame({"id": [7.0, 8.0], "consent": [True, False], "staff": [0, 1]})
    contacts = read_contacts(rows, id_column="id", columns={}, source="a.parquet")
    assert contacts.rows.sort("customer_id").select("customer_id", "consent", "staff").rows() == [
        ("7", True, False),
        ("8", False, True),
    ]


def test_an_unknown_word_of_consent_is_named() -> None:
    with pytest.raises(InputError, match="column 'Samtykke' has 2 values that say neither yes nor no: 'maybe', 'soft'"):
        read(id=["1", "2", "3"], Samtykke=["maybe", "yes", "soft"])
    with pytest.raises(InputError, match="column 'staff' has 1 values"):
        read(id=["1"], consent=["yes"], staff=["often"])


def test_without_a_column_of_consent_nobody_may_be_listed() -> None:
    with pytest.raises(InputError, match="no column of consent"):
        read(id=["1"], email=["a@x.no"])


@pytest.mark.parametrize("second", ["email_duplicated_0", "E-mail"])  # as reading a CSV numbers it; another spelling
def test_two_columns_of_one_name(second: str) -> None:
    rows = pl.DataFrame({"id": ["1"], "email": ["a@shop.no"], second: ["b@shop.no"], "consent": ["yes"]})
    with pytest.raises(InputError, match=r"2 columns are called email\. Leave one, or say which it is") as fault:
        read_contacts(rows, id_column="id", columns={}, source="contacts.csv")
    assert "\n" not in str(fault.value)
    contacts = read_contacts(rows, id_column="id", columns={"email": second}, source="contacts.csv")
    assert kept(contacts, "email") == ["b@shop.no"]


def test_two_consents_for_one_person() -> None:
    with pytest.raises(InputError, match="two consents for one person: 1 customers say both yes and no: 1"):
        read(id=["1", "1.0"], consent=["yes", "no"])
    with pytest.raises(InputError, match="two consents for one person: 1 e-mail addresses"):
        read(id=["1", "2"], email=["A@x.no", "a@x.no"], consent=["yes", "no"])


def test_two_rows_that_differ_are_for_repair_and_equal_ones_are_one() -> None:
    contacts = read(id=["1", "1", "2", "2"], email=["a@x.no", "b@x.no", "c@x.no", "c@x.no"], consent=["yes"] * 4)
    assert kept(contacts, "email") == [None, "c@x.no"]
    assert contacts.repair.rows() == [("1", "two rows that differ", None)]


def test_one_row_that_opts_out_is_enough() -> None:
    contacts = read(id=["1", "1"], email=["a@x.no", "a@x.no"], consent=["yes", "yes"], unsubscribed=["no", "yes"])
    assert contacts.rows.select("customer_id", "email", "opted_out").rows() == [("1", "a@x.no", True)]


def test_no_id_at_all() -> None:
    with pytest.raises(InputError, match="not one customer id"):
        read(id=["", "nan"], consent=["yes", "yes"])


def suppression(**further: object) -> list[str | None]:
    people = {
        "customer_id": ["a", "b", "c", "d", "e", "f", "g", "h"],
        "in_contacts": [False] + [True] * 7,
        "consent": [False, False] + [True] * 6,
        "opted_out": [False, False, True] + [False] * 5,
        "complained": [False, False, True, True] + [False] * 4,
        "staff": [False] * 4 + [True] + [False] * 3,
        "email": ["x"] * 5 + [None, "x", "x"],
        "days_since_last": [9, 9, 0, 9, 9, 0, 0, 1],
    }
    told = {"as_of": AS_OF, "bought_within_hours": 24, **further}
    return suppression_reasons(pl.DataFrame(people), **told).to_list()


def test_everyone_is_left_alone_for_the_first_reason_that_holds() -> None:
    in_order = ["not_in_contacts", "no_consent", "opted_out", "complained", "staff", "no_valid_address", "just_bought"]
    assert suppression(reachable=pl.col("email").is_not_null()) == [*in_order, None]


def test_hours_since_the_last_purchase() -> None:
    assert suppression(bought_within_hours=25)[-2:] == ["just_bought", "just_bought"]
    assert suppression(bought_within_hours=0)[-2:] == [None, None]


def test_contacted_lately() -> None:
    days = pl.DataFrame({"id": ["g", "g", "h", "'f"], "Date": ["2024-06-01", "2024-06-17", "2024-06-16", ""]})
    read_days = read_recent_contacts(days, id_column="id", source="c.csv")
    told = {"contacted": read_days, "contacted_within_days": 14, "bought_within_hours": 0}
    assert suppression(**told)[-3:] == ["just_contacted", "just_contacted", None]
    undated = read_recent_contacts(days.select("id"), id_column="id", source="c.csv")
    assert suppression(**{**told, "contacted": undated})[-2:] == ["just_contacted", "just_contacted"]
    with pytest.raises(InputError, match="1 days in column 'Date' cannot be read: lately"):
        read_recent_contacts(pl.DataFrame({"id": ["g"], "Date": ["lately"]}), id_column="id", source="c.csv")
