"""No password leaves the program, however it was typed, and nothing that a terminal would obey."""

import json

import pytest

JSON = ("--log-format", "json")
ADDRESSES = (
    "postgresq://ann:{}@db/shop",
    "https:/ann:{}@db/shop",
    " postgresql://ann:{}@db/shop",
    "postgres:/ann:{}@db",
    "postgres:ann:{}@db",
    "ann:{}@db/shop",
    "postgresql%3A%2F%2Fann%3A{}%40db%2Fshop",
    "postgresql://ann:{} and more@127.0.0.1:1/shop",
    "s3://ann:{}@bucket/orders.csv",
    "postgresql://127.0.0.1:1/shop?user=ann&password={}",
)
SECRET = "S3cretWord"


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_password_in_a_mistyped_address_is_shown_nowhere(repurchase, tmp_path, address):
    given = address.format(SECRET)
    asked = (
        ("check", given, "--home", tmp_path, "--retry-seconds", 0),
        ("check", given, "--home", tmp_path, "--table", "t", "--retry-seconds", 0),
        ("check", "x.db", "--query", given, "--home", tmp_path),
        ("score", "orders.csv", "--home", tmp_path, "--out", given),
        ("report", given, "--out", tmp_path / "page.html"),
        ("check", "orders.csv", "--home", given),
    )

    for words in asked:
        for log_format in ("text", "json"):
            outcome = repurchase(*words, "--log-format", log_format)
            assert outcome.code in (1, 2), (words, outcome)
            assert SECRET[:8] not in outcome.out + outcome.err, (words, outcome)


def test_what_a_terminal_would_obey_is_escaped(repurchase, tmp_path):
    name = "orders\x1b]0;owned\x07\x9b2J\u202e.csv"

    text, as_json = (repurchase("check", tmp_path / name, "--home", tmp_path, *more) for more in ((), JSON))

    for outcome in (text, as_json):
        assert outcome.code == 2
        assert not any(sign in outcome.err for sign in "\x1b\x07\x9b\u202e")
    assert "\\x1b]0;owned\\x07\\x9b2J\\u202e.csv" in text.err
    assert all(json.loads(line) for line in as_json.err.splitlines())
