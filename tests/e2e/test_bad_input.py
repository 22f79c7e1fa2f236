"""What a caller can get wrong: each ends with exit code 2 and one line that helps, and changes nothing on the disk."""

import gzip
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

HEADING = "customer_id,order_id,order_date,amount\n"
HOLD = """
import sys, time
from pathlib import Path
from repurchase.storage.delivery import staged_delivery
with staged_delivery(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@dataclass(frozen=True)
class Desk:
    """A folder with a home in it, where a caller's files are laid out."""

    folder: Path
    orders: Path

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def out(self) -> Path:
        return self.folder / "out" / "scores.parquet"

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def log(self, lines: Sequence[str], *, heading: str = HEADING) -> Path:
        return self.write("orders.csv", heading + "".join(f"{line}\n" for line in lines))

    def score(self, *words: object) -> list[object]:
        return ["score", self.orders, "--home", self.home, "--out", self.out, *words]


Arrange = Callable[[Desk], Any]


def lines(*, customers: int = 150, orders: int = 3, days: int = 300, first: date = date(2023, 1, 2)) -> list[str]:
    """A log that is enough: customers who buy again."""
    step = days // max(orders - 1, 1)
    return [
        f"c{who},o{who}-{number},{first + timedelta(days=number * step + who % 7)},{10 + who % 5}.50"
        for who in range(customers)
        for number in range(orders)
    ]


def cells(rows: Sequence[str], column: int, value: Callable[[int], str]) -> list[str]:
    """The rows with one column's values replaced."""
    parted = [row.split(",") for row in rows]
    return [",".join([*row[:column], value(number), *row[column + 1 :]]) for number, row in enumerate(parted)]


def folder_with_an_unreadable_file(desk: Desk) -> Path:
    desk.write("export/1.csv", HEADING + "a,1,2023-01-01,5\n")
    desk.write("export/2.csv.gz", gzip.compress((HEADING + "b,2,2023-01-02,5\n" * 500).encode())[:-20])
    return desk.folder / "export"


def folder_with_a_spreadsheet(desk: Desk) -> Path:
    desk.write("export/1.csv", HEADING + "a,1,2023-01-01,5\n")
    desk.write("export/2.xlsx", b"PK\x03\x04rest")
    return desk.folder / "export"


def folder_without_orders(desk: Desk) -> Path:
    desk.write("export/read me.pdf", b"%PDF")
    return desk.folder / "export"


def files_that_differ(desk: Desk) -> Path:
    desk.write("export/1.csv", HEADING + "a,1,2023-01-01,5\n")
    desk.write("export/2.csv", "customer_id,order_date\na,2023-01-01\n")
    return desk.folder / "export"


# Orders that nobody can use: `check`, `train` and `score` all say so. The line must match.
UNUSABLE: dict[str, tuple[Arrange, str]] = {
    "empty_file": (lambda desk: desk.write("orders.csv", ""), r"orders\.csv: the file is empty"),
    "heading_only": (lambda desk: desk.log([]), r"a heading but no rows .*customer_id"),
    "no_heading": (lambda desk: desk.log(["1,2,2023-01-01,5"] * 3, heading=""), r"first line is data, not a heading"),
    "no_such_file": (lambda desk: desk.folder / "nowhere.csv", r"nowhere\.csv: no such file"),
    "no_such_file_but_a_near_one": (
        lambda desk: desk.log(["a,1,2023-01-01,5"]).with_name("order.csv"),
        r"no such file.*Did you mean orders\.csv\?",
    ),
    "glob_without_match": (lambda desk: f"{desk.folder}/*.orders", r"no file matches"),
    "folder_with_an_unreadable_file": (folder_with_an_unreadable_file, r"2\.csv\.gz: .*damaged or ends too early"),
    "folder_with_a_spreadsheet": (folder_with_a_spreadsheet, r"2\.xlsx: the spreadsheet is damaged"),
    "folder_without_orders": (folder_without_orders, r"no CSV or Parquet file.*read me\.pdf"),
    "files_that_differ": (files_that_differ, r"2\.csv: lacks order_id, amount"),
    "a_web_page": (lambda desk: desk.write("orders.csv", "<html><body>Log in</body></html>"), r"a web page"),
    "not_text": (lambda desk: desk.write("orders.csv", bytes(range(256)) * 20), r"neither text nor Parquet"),
    "broken_parquet": (lambda desk: desk.write("orders.parquet", b"PAR1 and no more"), r"not readable as Parquet"),
    "cut_in_mid_line": (
        lambda desk: desk.write("orders.csv", HEADING + "\n".join(lines())[:-12]),
        r"cut off in line 4",
    ),
    "cut_in_quotes": (
        lambda desk: desk.write("orders.csv", HEADING + "a,1,2023-01-01,5\n" * 9 + 'b,"2'),
        r"cut off in (mid-line: )?line 11",
    ),
    "line_too_long": (
        lambda desk: desk.log([*lines(), "a,1,2023-01-01,5,50"]),
        r"line 452 has 5 columns .*heading has 4",
    ),
    "missing_columns": (
        lambda desk: desk.log(["x,1", "y,2"], heading="colour,size\n"),
        r"customer.*colour, size.*--columns",
    ),
    "two_dates": (
        lambda desk: desk.log(
            [f"a,2023-01-0{day},2023-02-0{day % 4 + 1},5" for day in range(1, 9)],
            heading="customer_id,purchase_date,order_date,amount\n",
        ),
        r"equally well: purchase_date, order_date.*--columns",
    ),
    "dates_no_one_can_read": (
        lambda desk: desk.log(cells(lines(), 2, lambda number: f"week {number}")),
        r"450 of 450 dates in column 'order_date' cannot be read: 'week 0'",
    ),
    "ambiguous_dates": (
        lambda desk: desk.log(cells(lines(), 2, lambda number: f"0{number % 9 + 1}/0{number % 7 + 1}/2023")),
        r"day_first.*month_first",
    ),
    "every_customer_null": (
        lambda desk: desk.log(cells(lines(), 0, lambda _: "")),
        r"all 450 rows lack a customer in column 'customer_id'",
    ),
    "amounts_as_text": (
        lambda desk: desk.log(cells(lines(), 3, lambda _: "some")),
        r"column 'amount' should hold money, but its values cannot be read as numbers: 'some'",
    ),
    "two_currencies": (
        lambda desk: desk.log(
            [f"{row},{'EUR' if number % 3 else 'NOK'}" for number, row in enumerate(lines())],
            heading=HEADING.replace("\n", ",currency\n"),
        ),
        r"EUR.*NOK",
    ),
    "all_in_the_future": (lambda desk: desk.log(lines(first=date(2093, 1, 1))), r"none of the 450 rows.*future"),
    "only_returns": (lambda desk: desk.log(cells(lines(), 3, lambda _: "-5")), r"none of the 450 rows.*return"),
}

# Orders that can be read and are too few to learn from: `check` and `train` say so.
TOO_FEW: dict[str, tuple[Arrange, str]] = {
    "one_customer": (
        lambda desk: desk.log([f"a,{day},2023-01-{day + 1:02d},5" for day in range(28)]),
        r"1 customer with a purchase that was kept \(required: at least 100",
    ),
    "all_one_time_buyers": (
        lambda desk: desk.log(lines(customers=400, orders=1)),
        r"no customer who bought on a second day \(required: at least 30",
    ),
    "one_day_of_orders": (
        lambda desk: desk.log(cells(lines(), 2, lambda _: "2023-01-02")),
        r"orders on 1 day \(required: orders on at least 2 days",
    ),
    "history_of_three_weeks": (
        lambda desk: desk.log(lines(days=14)),
        r"\d+ days of history \(required: at least 45 days",
    ),
}

# Good orders, and words on the command line that do not fit them.
MISUSED: dict[str, tuple[Arrange, str]] = {
    "history_shorter_than_the_horizon": (
        lambda desk: ["train", desk.orders, "--home", desk.home, "--horizon", 365],
        r"307 days of history \(required: at least 365 days",
    ),
    "horizon_of_no_days": (
        lambda desk: ["check", desk.orders, "--horizon", 0],
        r"'horizons' must be a list of 1 to 3650 days",
    ),
    "horizon_not_a_number": (lambda desk: ["train", desk.orders, "--horizon", "soon"], r"--horizon.*integer"),
    "no_jobs": (lambda desk: ["train", desk.orders, "--jobs", 0], r"'jobs' must be 1 or more"),
    "negative_seed": (lambda desk: ["train", desk.orders, "--seed", -1], r"'random_state' must be 0 to"),
    "as_of_before_the_first_order": (
        lambda desk: desk.score("--as-of", "2022-12-31"),
        r"--as-of 2022-12-31 is before the first order \(2023-01-02\)",
    ),
    "as_of_long_after_the_last_order": (
        lambda desk: desk.score("--as-of", "2025-06-01"),
        r"--as-of 2025-06-01 is \d+ days after the last order",
    ),
    "as_of_in_training_long_after": (
        lambda desk: ["train", desk.orders, "--home", desk.home, "--as-of", "2025-06-01"],
        r"after the last order",
    ),
    "as_of_not_a_day": (
        lambda desk: desk.score("--as-of", "2023-02-30"),
        r"Invalid value for .--as-of.: .2023-02-30. is not a day",
    ),
    "as_of_too_early_to_learn": (
        lambda desk: ["train", desk.orders, "--home", desk.home, "--as-of", "2023-01-05"],
        r"Not enough orders",
    ),
    "columns_that_are_not_there": (
        lambda desk: ["check", desk.orders, "--columns", "customer_id=Kunde"],
        r"Kunde.*customer_id, order_id, order_date, amount",
    ),
    "columns_with_unknown_name": (lambda desk: ["check", desk.orders, "--columns", "kunde=customer_id"], r"'kunde'"),
    "columns_malformed": (
        lambda desk: ["check", desk.orders, "--columns", "customer_id"],
        r"'customer_id' is not of the form name=column",
    ),
    "unknown_time_zone": (
        lambda desk: ["check", desk.orders, "--timezone", "Mars/Olympus"],
        r"'timezone'.*Mars/Olympus",
    ),
    "unknown_date_order": (
        lambda desk: ["check", desk.orders, "--date-order", "sideways"],
        r"'sideways' is not one of 'day_first', 'month_first'",
    ),
    "unknown_model_version": (lambda desk: desk.score("--model", "17"), r"no model version '17'.*There: 2, 1"),
    "unknown_alias": (lambda desk: desk.score("--model", "best"), r"no model version 'best'"),
    "output_with_unknown_ending": (
        lambda desk: ["score", desk.orders, "--home", desk.home, "--out", desk.folder / "scores.xlsx"],
        r"\.parquet or \.csv.*'\.xlsx'",
    ),
    "output_in_a_file": (
        lambda desk: ["score", desk.orders, "--home", desk.home, "--out", desk.orders / "new" / "scores.csv"],
        r"cannot be written: Not a directory",
    ),
    "output_where_nothing_can_be_made": (
        lambda desk: ["score", desk.orders, "--home", desk.home, "--out", "/proc/nowhere/scores.csv"],
        r"/proc/nowhere cannot be written",
    ),
    "output_is_a_folder": (
        lambda desk: ["score", desk.orders, "--home", desk.home, "--out", folder(desk, "scores.csv")],
        r"that is a folder; name a file in it",
    ),
    "output_over_the_orders": (
        lambda desk: ["score", desk.orders, "--home", desk.home, "--out", desk.orders],
        r"one of the inputs and would be overwritten",
    ),
    "output_over_one_of_many_orders": (
        lambda desk: ["score", desk.orders.parent, "--home", desk.home, "--out", desk.orders],
        r"one of the inputs and would be overwritten",
    ),
    "output_over_the_list": (
        lambda desk: [*desk.score("--customers", desk.orders)[:-4], "--out", desk.orders, "--customers", desk.orders],
        r"one of the inputs and would be overwritten",
    ),
    "list_missing": (lambda desk: desk.score("--customers", desk.folder / "list.csv"), r"list\.csv: no such file"),
    "list_without_ids_column": (
        lambda desk: desk.score("--customers", desk.write("list.csv", "city\nOslo\n")),
        r"no column of customer ids. Found: city",
    ),
    "list_without_ids": (
        lambda desk: desk.score("--customers", desk.write("list.csv", "customer_id,city\n,Oslo\n")),
        r"1 rows, and not one id in column 'customer_id'",
    ),
    "report_of_what_are_not_scores": (lambda desk: ["report", desk.orders], r"not a scores table.*p_repurchase"),
    "report_of_nothing": (lambda desk: ["report", desk.folder / "scores.parquet"], r"scores\.parquet: no such file"),
    "report_of_broken_scores": (lambda desk: ["report", desk.write("s.parquet", b"PAR1..")], r"not readable as scores"),
    "export_into_no_folder": (
        lambda desk: ["models", "export", 1, "--home", desk.home, "--out", desk.folder / "no" / "model.joblib"],
        r"model\.joblib cannot be written: No such file or directory",
    ),
    "export_of_unknown_version": (
        lambda desk: ["models", "export", 9, "--home", desk.home, "--out", desk.folder / "model.joblib"],
        r"no model version '9'",
    ),
    "show_of_unknown_version": (lambda desk: ["models", "show", 9, "--home", desk.home], r"no model version '9'"),
    "promotion_of_unknown_version": (
        lambda desk: ["models", "promote", 9, "--home", desk.home],
        r"no model version '9'",
    ),
    "relocate_without_runs": (lambda desk: ["models", "relocate", "--home", desk.home], r"no mlflow\.db there"),
    "home_is_a_file": (
        lambda desk: ["train", desk.orders, "--home", desk.write("shop", "")],
        r"shop cannot be written: Not a directory",
    ),
    "unknown_command": (lambda _: ["scores"], r"No such command 'scores'.*See `repurchase --help`"),
    "unknown_model_command": (
        lambda _: ["models", "delete"],
        r"No such command 'delete'.*See `repurchase models --help`",
    ),
    "no_command": (lambda _: [], r"no command was given"),
    "no_model_command": (lambda _: ["models"], r"Missing command.*See `repurchase models --help`"),
    "unknown_option": (
        lambda desk: ["check", desk.orders, "--fast"],
        r"No such option: --fast.*`repurchase check --help`",
    ),
    "missing_argument": (lambda _: ["train"], r"Missing argument 'ORDERS'"),
    "missing_output": (lambda desk: ["score", desk.orders, "--home", desk.home], r"Missing option '--out'"),
    "option_without_value": (lambda desk: ["score", desk.orders, "--out"], r"--out.*argument"),
}

SETTINGS: dict[str, tuple[str | bytes, str]] = {
    "unknown_key": ("time_zone = 'Europe/Oslo'", r"unknown setting 'time_zone'. Did you mean 'timezone'\?"),
    "broken": ("timezone = ", r"not readable as TOML"),
    "not_utf_8": ("currency = 'kr\xf8ner'".encode("latin-1"), r"not readable as TOML"),
    "value_not_allowed": ("returns = 'ignore'", r"'returns' must be one of net, set_aside. Got 'ignore'"),
    "unknown_zone": ("timezone = 'Oslo'", r"'timezone' must be an IANA time zone"),
    "number_as_text": ("jobs = 'two'", r"'jobs' must be 1 or more. Got 'two'"),
    "rate_as_text": ("discount_rate = 'low'", r"'discount_rate' must be a yearly rate"),
    "rate_of_a_hundred": ("discount_rate = 10", r"'discount_rate' must be a yearly rate from 0 up to 1. Got 10"),
    "one_horizon": ("horizons = 30", r"'horizons' must be a list"),
    "horizon_as_text": ("horizons = ['30']", r"'horizons' must be a list of 1 to 3650 days"),
    "columns_not_a_table": ("columns = 'Kunde'", r"'columns' must be a table"),
    "column_not_text": ("[columns]\ncustomer_id = 5", r"'columns' must be"),
    "unknown_rule": ("[sufficiency]\nmin_buyers = 5", r"'sufficiency' must be a table of min_customers"),
}


def folder(desk: Desk, name: str) -> Path:
    (desk.folder / name).mkdir()
    return desk.folder / name


@pytest.fixture
def desk(tmp_path, monkeypatch) -> Desk:
    """Good orders and no model; whatever a command drops where it stands is seen too."""
    monkeypatch.chdir(tmp_path)
    desk = Desk(tmp_path, tmp_path / "good" / "good.csv")
    desk.write("good/good.csv", HEADING + "\n".join(lines()) + "\n")
    return desk


@pytest.fixture
def refused(repurchase, snapshot, desk) -> Callable[[Sequence[object], str], None]:
    """A function that runs a command and holds its refusal against what a refusal must be."""

    def run(words: Sequence[object], says: str) -> None:
        before = snapshot(desk.folder)

        outcome = repurchase(*words)

        assert outcome.code == 2, outcome
        assert outcome.err.count("\n") == 1, outcome.err
        assert outcome.err.startswith("repurchase: ")
        assert re.search(says, outcome.err), outcome.err
        assert len(outcome.err) < 600
        assert snapshot(desk.folder) == before

    return run


@pytest.mark.parametrize("command", ["check", "train", "score"])
@pytest.mark.parametrize("fault", UNUSABLE)
def test_orders_that_cannot_be_used(fault, command, desk, home, refused):
    arrange, says = UNUSABLE[fault]
    orders = arrange(desk)
    out = ["--out", desk.out] if command == "score" else []

    refused([command, orders, "--home", home, *out], says)


@pytest.mark.parametrize("command", ["check", "train"])
@pytest.mark.parametrize("fault", TOO_FEW)
def test_orders_that_are_too_few(fault, command, desk, refused):
    arrange, says = TOO_FEW[fault]

    refused([command, arrange(desk), "--home", desk.home], says)


@pytest.mark.parametrize("fault", MISUSED)
def test_words_that_do_not_fit(fault, desk, home, refused):
    arrange, says = MISUSED[fault]

    refused(arrange(desk), says)


@pytest.mark.parametrize("fault", SETTINGS)
def test_settings_file(fault, desk, refused):
    content, says = SETTINGS[fault]
    desk.write("home/repurchase.toml", content)

    refused(["check", desk.orders, "--home", desk.home], says)


@pytest.mark.parametrize("words", [["score"], ["show"], ["promote"], ["rollback"], ["export"]])
def test_no_model_yet(words, desk, refused):
    commands = {
        "score": desk.score(),
        "show": ["models", "show", "--home", desk.home],
        "promote": ["models", "promote", "latest", "--home", desk.home],
        "rollback": ["models", "rollback", "--home", desk.home],
        "export": ["models", "export", "champion", "--home", desk.home, "--out", desk.folder / "m.joblib"],
    }
    says = "no previous champion" if words == ["rollback"] else r"no (champion|latest) yet, no model was trained"

    refused(commands[words[0]], says)


@pytest.mark.parametrize("name", ["btyd.json", "calibration.json", "evaluation.json", "card.md", "manifest.json"])
def test_a_bundle_with_one_changed_byte(name, desk, home, refused):
    path = home / "models" / "2" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)

    refused(desk.score(), rf"models/2/{re.escape(name)}: (changed since it was written|not readable)")


@pytest.mark.parametrize("change", ["missing", "added"])
def test_a_bundle_with_other_files(change, desk, home, refused):
    bundle = home / "models" / "2"
    if change == "missing":
        (bundle / "btyd.json").unlink()
    else:
        (bundle / "extra.pkl").write_bytes(b"cos\nsystem\n")

    refused(desk.score(), "1 files are missing: btyd.json" if change == "missing" else "does not list: extra.pkl")


def test_damaged_aliases(desk, home, refused):
    (home / "models" / "aliases.json").write_text('{"aliases": ')

    refused(desk.score(), r"aliases\.json: not readable")


def test_an_output_that_another_run_is_writing(desk, home, refused):
    command = [sys.executable, "-c", HOLD, str(desk.out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"

            refused(desk.score(), rf"being written by another run \(process {holder.pid}")
        finally:
            holder.kill()


def test_a_report_that_cannot_be_written(desk, scored, refused):
    refused(["report", scored, "--out", desk.folder / "no" / "report.html"], "the report cannot be written there")


def test_a_report_over_its_own_scores(desk, scored, refused):
    copy = desk.write("scores.parquet", scored.read_bytes())

    refused(["report", copy, "--out", copy], "would be overwritten")


def test_what_was_there_stays_when_a_new_run_fails(desk, home, repurchase, refused):
    assert repurchase(*desk.score("--as-of", "2023-09-30")).code == 0

    refused(desk.score("--as-of", "2093-01-01"), "after the last order")


@pytest.mark.parametrize(
    "words", [["check", "nowhere.csv"], ["score", "good/good.csv", "--out", "s.csv"], ["train"], ["fly"]], ids=" ".join
)
def test_as_a_process_of_its_own(words, desk, snapshot):
    before = snapshot(desk.folder)

    ended = subprocess.run(
        [Path(sys.executable).with_name("repurchase"), *words], capture_output=True, text=True, check=False
    )

    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.startswith("repurchase: ")
    assert ended.stderr.count("\n") == 1
    assert snapshot(desk.folder) == before
