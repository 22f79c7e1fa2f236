"""Exports as they come: other encodings, delimiters and spellings are read, not refused."""

import gzip
import re
from pathlib import Path

import polars as pl
import pytest

ROWS = [
    (who, f"o{who}-{number}", f"2023-{month:02d}-{who % 27 + 1:02d}", 10.25 + who, "Bodø")
    for who in range(13_001, 13_151)
    for number, month in enumerate((1, 4, 8))
]
NAMES = ["customer_id", "order_id", "order_date", "amount", "city"]


def text(*, delimiter: str = ",", decimal: str = ".", end: str = "\n") -> str:
    rows = [[str(who), order, day, str(amount).replace(".", decimal), city] for who, order, day, amount, city in ROWS]
    return "".join(delimiter.join(row) + end for row in [NAMES, *rows])


EXPORTS: dict[str, bytes] = {
    "latin_1.csv": text().encode("latin-1"),
    "utf_16.csv": text().encode("utf-16"),
    "utf_16_without_mark.csv": text().encode("utf-16-le"),
    "utf_8_with_mark.csv": text().encode("utf-8-sig"),
    "semicolons_and_decimal_commas.csv": text(delimiter=";", decimal=",").encode(),
    "semicolons_latin_1.csv": text(delimiter=";", decimal=",", end="\r\n").encode("latin-1"),
    "tabs.tsv": text(delimiter="\t").encode(),
    "windows_line_ends.csv": text(end="\r\n").encode(),
    "no_last_line_end.csv": text().rstrip().encode(),
    "excel_hint.csv": b"sep=;\n" + text(delimiter=";").encode(),
    "ids_as_floats.csv": re.sub(r"(?m)^(\d+),", r"\1.0,", text()).encode(),
    "days_with_points.csv": re.sub(r"(2023)-(\d\d)-(\d\d)", r"\3.\2.\1", text()).encode(),
    "compressed.csv.gz": gzip.compress(text().encode()),
    "compressed_utf_16.csv.gz": gzip.compress(text().encode("utf-16")),
}


@pytest.fixture(scope="module")
def expected(trained, repurchase, tmp_path_factory) -> bytes:
    """Scores of the same orders in plain UTF-8."""
    folder = tmp_path_factory.mktemp("plain")
    (folder / "plain.csv").write_text(text(), encoding="utf-8")
    outcome = repurchase(
        "score", folder / "plain.csv", "--home", trained.home, "--model", 1, "--out", folder / "scores.parquet"
    )
    assert outcome.code == 0, outcome.err
    return (folder / "scores.parquet").read_bytes()


@pytest.mark.parametrize("name", EXPORTS)
def test_gives_the_scores_of_the_plain_file(name, trained, repurchase, expected, tmp_path):
    orders, out = tmp_path / name, tmp_path / "out" / "scores.parquet"
    orders.write_bytes(EXPORTS[name])

    outcome = repurchase("score", orders, "--home", trained.home, "--model", 1, "--out", out)

    assert outcome.code == 0, outcome.err
    assert out.read_bytes() == expected


def test_parquet_folder_and_glob(trained, repurchase, expected, tmp_path):
    rows = pl.DataFrame(ROWS, schema=NAMES, orient="row").with_columns(pl.col("order_date").str.to_date())
    folder = tmp_path / "export" / "2023"
    folder.mkdir(parents=True)
    for month in (1, 4, 8):
        rows.filter(pl.col("order_date").dt.month() == month).write_parquet(folder / f"{month:02d}.parquet")

    for number, source in enumerate((folder.parent, f"{folder}/*.parquet")):
        out = tmp_path / f"scores-{number}.parquet"
        outcome = repurchase("score", source, "--home", trained.home, "--model", 1, "--out", out)
        assert outcome.code == 0, outcome.err
        assert out.read_bytes() == expected


def test_says_how_it_read_them(repurchase, tmp_path):
    path = Path(tmp_path / "latin.csv")
    path.write_bytes(EXPORTS["semicolons_latin_1.csv"])

    outcome = repurchase("check", path, "--home", tmp_path)

    assert outcome.code == 0
    assert "read as Windows-1252 (Latin-1), not UTF-8" in outcome.out
    assert "separated by semicolon" in outcome.out


def test_names_in_another_language(trained, repurchase, expected, tmp_path):
    orders, out = tmp_path / "ordrer.csv", tmp_path / "scores.parquet"
    heading = "Kunde,Bilag,Dato,Sum,By"
    orders.write_text("\n".join([heading, *text().splitlines()[1:]]) + "\n", encoding="utf-8")

    outcome = repurchase(
        *("score", orders, "--home", trained.home, "--model", 1, "--out", out),
        *("--columns", "customer_id=Kunde,order_id=Bilag,order_date=Dato,amount=Sum"),
    )

    assert outcome.code == 0, outcome.err
    assert out.read_bytes() == expected
