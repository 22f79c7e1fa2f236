import json
import logging
import warnings

import pytest

from repurchase.cli.logs import json_lines, log_defect, log_fault, requested_log_format
from repurchase.errors import InputError, OrdersError
from repurchase.jobs.order_intake import LogSteps
from repurchase.storage.redaction import redact


@pytest.fixture
def lines(capsys):
    def read():
        return [json.loads(line) for line in capsys.readouterr().err.splitlines()]

    return read


def test_a_step_is_one_line_with_its_counts(lines) -> None:
    with json_lines(), LogSteps().step("Scoring") as counts:
        counts.update(customers=12)

    (line,) = lines()
    assert {name: line[name] for name in ("level", "event", "step", "counts")} == {
        "level": "info",
        "event": "step",
        "step": "Scoring",
        "counts": {"customers": 12},
    }
    assert line["seconds"] >= 0
    assert line["time"].endswith("+00:00")


def test_a_message_with_line_breaks_stays_one_line(lines) -> None:
    with json_lines():
        logging.getLogger("repurchase.anything").warning("one\ntwo %s", "three")
        logging.getLogger("repurchase").error("é ”")

    first, second = lines()
    assert (first["level"], first["event"], first["message"]) == ("warning", "message", "one two three")
    assert second["message"] == "é ”"


def test_pythons_own_warnings_are_lines_too(lines) -> None:
    with json_lines(), warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("careful", UserWarning, stacklevel=1)

    assert "careful" in lines()[0]["message"]


def test_afterwards_nothing_is_left(lines) -> None:
    before = logging.getLogger().handlers[:], logging.getLogger("repurchase").level
    with json_lines():
        pass

    assert (logging.getLogger().handlers, logging.getLogger("repurchase").level) == before
    logging.getLogger("repurchase").error("late")
    assert lines() == []


@pytest.mark.parametrize(
    "words",
    [
        "postgresql://ann:s3cret@db/shop failed",
        "postgresql://ann:s3c@ret@db/shop",
        "connect with password=s3cret host=db",
        "PGPASSWORD: s3cret",
        "https://user:s3cret@mlflow.example.org",
    ],
)
def test_passwords_are_taken_out(lines, words) -> None:
    assert "s3c" not in redact(words)
    assert redact("no secret: postgresql://ann@db:5432/shop") == "no secret: postgresql://ann@db:5432/shop"
    with json_lines():
        logging.getLogger("repurchase").warning("%s", words)
        log_fault(InputError(words), exit_code=2)
    assert "s3c" not in json.dumps(lines())


def test_rows_that_an_error_quotes_are_withheld_even_when_another_error_repeats_them(lines) -> None:
    first = OrdersError("scores: 2 keys appear more than once: c17, c18.", withheld="c17, c18")
    second = InputError(f"scores.csv is not a scores table: {first}")
    second.__cause__ = first

    with json_lines():
        log_fault(second, exit_code=2)

    (line,) = lines()
    assert line["message"] == "scores.csv is not a scores table: scores: 2 keys appear more than once: …."
    assert (line["error"], line["exit_code"]) == ("InputError", 2)
    assert "c17" in str(second)


def test_a_defect_says_where_and_not_what(lines) -> None:
    try:
        int("customer 17")
    except ValueError as fault:
        with json_lines():
            log_defect(fault)

    (line,) = lines()
    assert (line["error"], line["exit_code"]) == ("ValueError", 1)
    assert line["at"][0].startswith("test_logs.py:")
    assert "17" not in line["message"]


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (["score", "--log-format", "json"], "json"),
        (["--log-format=json", "score"], "json"),
        (["score", "--log-format", "json", "--log-format", "text"], "text"),
        (["score", "--", "--log-format", "json"], "text"),
        (["score", "--log-format"], "text"),
        (["score", "--log-format", "xml"], "text"),
        ([], "text"),
    ],
)
def test_the_format_is_known_before_the_command_line_is_parsed(words, asked) -> None:
    assert requested_log_format(words) == asked
