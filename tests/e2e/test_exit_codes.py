"""0 done, 1 a defect with its traceback, 2 the caller's input, 130 interrupted."""

import pytest

from repurchase import __version__


def test_version_and_help_are_no_faults(repurchase):
    for words in (["--version"], ["--help"], ["score", "--help"], ["models", "--help"]):
        outcome = repurchase(*words)
        assert (outcome.code, outcome.err) == (0, "")

    assert repurchase("--version").out == f"repurchase {__version__}\n"


def test_without_a_command_help_is_shown(repurchase):
    outcome = repurchase()

    assert outcome.code == 2
    assert "─ Commands ─" in outcome.out


def test_an_interruption_is_said_in_a_line(repurchase, monkeypatch, tmp_path):
    def interrupted(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("repurchase.jobs.order_intake.check_orders", interrupted)

    outcome = repurchase("check", "orders.csv", "--home", tmp_path)

    assert outcome.code == 130
    assert outcome.err.startswith("repurchase: interrupted")
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize(
    "words",
    [
        ("score", "orders.csv", "--out", "x" * 240 + ".parquet"),
        ("score", "orders.csv", "--out", "x" * 300 + ".parquet"),
        ("report", "scores.parquet", "--out", "x" * 300 + ".html"),
        ("lists", "scores.parquet", "--out", "x" * 300),
        ("economics", "x" * 300 + ".parquet"),
        ("monitor", "x" * 300 + ".parquet", "orders.csv"),
        ("forget", "17", "--from-file", "x" * 300 + ".csv"),
    ],
)
def test_a_name_that_is_too_long_is_refused_in_a_line(repurchase, monkeypatch, tmp_path, words, as_json):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "orders.csv").write_text("customer_id,order_date,amount\n17,2024-01-31,2.50\n")

    outcome = repurchase(*words, *(["--log-format", "json"] if as_json else []))

    assert outcome.code == 2
    assert "Traceback" not in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["orders.csv"]
    if not as_json:
        assert outcome.err.count("\n") == 1


def test_a_defect_keeps_its_traceback(repurchase, monkeypatch, tmp_path):
    def broken(*args: object, **kwargs: object) -> None:
        raise ZeroDivisionError("postgresql://ann:s3cret@db/shop")

    monkeypatch.setattr("repurchase.jobs.order_intake.check_orders", broken)

    outcome = repurchase("check", "orders.csv", "--home", tmp_path)

    assert outcome.code == 1
    assert outcome.err.startswith("Traceback")
    assert "ZeroDivisionError: postgresql://ann:…@db/shop\nrepurchase: this is a defect of the program" in outcome.err


def test_findings_are_printed_before_the_reason_why_it_is_not_enough(repurchase, tmp_path):
    (tmp_path / "orders.csv").write_text("customer_id,order_date,amount\na,2023-01-01,5\na,2023-03-01,5\n")

    outcome = repurchase("check", tmp_path / "orders.csv", "--home", tmp_path)

    assert outcome.code == 2
    assert "2 rows came in" in outcome.out
    assert "MISSING  1 customer with a purchase that was kept (needed: at least 100)" in outcome.out
    assert outcome.err.startswith("repurchase: Not enough orders: 1 customer")
