"""A log opened and read in batches: the same rows as all at once, whatever the form, and never more than a few."""

import csv
import gzip
import hashlib
import io
import pickle
import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from repurchase.errors import LayoutError, OrdersError
from repurchase.i18n.messages import Message, render
from repurchase.orders.layout import FILE_COLUMN
from repurchase.orders.log import OrderLog, open_orders, read_orders
from repurchase.orders.pipeline import clean_orders
from repurchase.settings import Settings
from repurchase.sources import dialects, encodings, tables
from repurchase.sources.files import open_file
from repurchase.sources.locations import parse_orders_source

NAMES = ("customer_id", "order_id", "order_date", "amount")
HEADING = ",".join(NAMES)
N_ROWS = 2000
ROWS = [(f"c{n % 300}", f"o{n}", f"2024-01-{n % 28 + 1:02d}", f"{n}.25") for n in range(N_ROWS)]
WHOLE = "\n".join([HEADING, *(",".join(row) for row in ROWS)]) + "\n"
QUOTED = re.sub(r"o(\d*7),", r'"o,\n\1",', WHOLE).replace("o1,", '"say ""o1""",')


def texts(messages: Iterable[Message]) -> list[str]:
    return [render(message, locale="en") for message in messages]


def opened(source: object, spool: Path, **settings: object) -> OrderLog:
    return open_orders(source, settings=Settings(retry_seconds=0, **settings), spool=spool)


def one_by_one(log: OrderLog, **asked: object) -> pl.DataFrame:
    return pl.concat(log.batches(**asked))


@pytest.fixture
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encodings, "CHUNK_BYTES", 1000)
    monkeypatch.setattr(tables, "SPOOLED_ROWS", 150)


def text_forms() -> Iterator[tuple[str, bytes]]:
    yield "plain.csv", WHOLE.encode()
    yield "no_last_line_end.csv", WHOLE.rstrip("\n").encode()
    yield "crlf.csv", WHOLE.replace("\n", "\r\n").encode()
    yield "bom.csv", WHOLE.encode("utf-8-sig")
    yield "semicolons.csv", ("sep=;\n" + WHOLE.replace(",", ";")).encode()
    yield "bars.txt", WHOLE.replace(",", "|").encode()
    yield "tabs.tsv", WHOLE.replace(",", "\t").encode()
    yield "blanks.txt", WHOLE.replace(",", "   ").encode()
    yield "zipped.csv.gz", gzip.compress(WHOLE.encode())
    yield "utf16.csv", WHOLE.encode("utf-16")
    yield "old_mac.csv", WHOLE.replace("\n", "\r").encode()
    yield "blank_lines.csv", ("\n" + WHOLE.replace("\n", "\n\n,,,\n")).encode()
    yield "delimiter_at_line_ends.csv", WHOLE.replace("\n", ",\n").encode()


class TestText:
    @pytest.mark.usefixtures("_small_chunks")
    @pytest.mark.parametrize(("name", "content"), list(text_forms()), ids=[name for name, _ in text_forms()])
    @pytest.mark.parametrize("n_rows", [1, 333, 10_000])
    def test_batches_are_the_rows_in_order(self, tmp_path: Path, name: str, content: bytes, n_rows: int) -> None:
        (tmp_path / name).write_bytes(content)
        log = opened(tmp_path / name, tmp_path / "spool")

        batches = list(log.batches(n_rows=n_rows))

        assert log.n_rows == N_ROWS
        assert [batch.height for batch in batches[:-1]] == [n_rows] * (len(batches) - 1)
        assert pl.concat(batches).rows() == log.read().rows() == ROWS
        assert log.schema == dict.fromkeys(NAMES, pl.String())
        assert one_by_one(log, columns=["amount", "customer_id"]).rows() == [(row[3], row[0]) for row in ROWS]

    @pytest.mark.usefixtures("_small_chunks")
    def test_line_ends_within_quotes_cut_no_row(self, tmp_path: Path) -> None:
        (tmp_path / "quoted.csv").write_text(QUOTED)

        log = opened(tmp_path / "quoted.csv", tmp_path / "spool")

        assert one_by_one(log, n_rows=7).rows() == [tuple(row) for row in csv.reader(io.StringIO(QUOTED))][1:]
        assert not (tmp_path / "spool").exists()

    @pytest.mark.usefixtures("_small_chunks")
    @pytest.mark.parametrize("mark", ['15" screen', '21"', 'a "b" c', ' "x, y"'.replace(",", "")])
    def test_marks_within_values_cut_no_row(self, tmp_path: Path, mark: str) -> None:
        text = QUOTED.replace("o9,", f"{mark},")
        (tmp_path / "screens.csv").write_text(text)

        log = opened(tmp_path / "screens.csv", tmp_path / "spool")

        assert one_by_one(log, n_rows=7).rows() == [tuple(row) for row in csv.reader(io.StringIO(text))][1:]

    @pytest.mark.usefixtures("_small_chunks")
    def test_a_piece_is_parsed_only_when_it_is_needed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "a.csv").write_text(WHOLE)
        log = opened(tmp_path / "a.csv", tmp_path / "spool")
        parsed: list[int] = []
        parse = dialects.RowFormat.parse
        monkeypatch.setattr(dialects.RowFormat, "parse", lambda *given: parsed.append(len(given[1])) or parse(*given))

        first = next(log.batches(n_rows=100))

        assert first.height == 100
        assert sum(parsed) < len(WHOLE) / 4

    @pytest.mark.parametrize(("more", "n_passes"), [("", 1), ("Total,,,9.50\n", 2)])
    def test_a_file_is_opened_in_one_pass_over_its_bytes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: str, n_passes: int
    ) -> None:
        """A further pass follows where the first shows something to leave out, such as a total below the table."""
        path = tmp_path / "a.csv"
        path.write_text(WHOLE + more)
        read: list[int] = []
        stored = encodings.decompressed_bytes

        def counted(*given: object, **options: object) -> Iterator[bytes]:
            for chunk in stored(*given, **options):
                read.append(len(chunk))
                yield chunk

        monkeypatch.setattr(encodings, "decompressed_bytes", counted)
        monkeypatch.setattr(encodings, "EDGE_BYTES", 2_000)

        file = open_file(path, shown=str(path), spool=tmp_path / "spool")

        assert n_passes * path.stat().st_size < sum(read) < n_passes * (path.stat().st_size + 2 * 2_000) + 4_000
        assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()

    @hypothesis_settings(deadline=None)
    @given(
        rows=st.lists(
            st.lists(st.text(st.sampled_from('ab,"\n ;é'), max_size=6), min_size=3, max_size=3),
            min_size=1,
            max_size=30,
        ),
        chunk=st.integers(min_value=1, max_value=50),
        ends=st.sampled_from(["\n", "\r\n"]),
        quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    )
    def test_any_well_written_table_comes_back(
        self, tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], chunk: int, ends: str, quoting: int
    ) -> None:
        folder = tmp_path_factory.mktemp("any")
        out = io.StringIO(newline="")
        writer = csv.writer(out, quoting=quoting, lineterminator=ends)
        writer.writerows(
            [["customer_id", "order_date", "note"], *([f"c{row[0]}", f"d{row[1]}", row[2]] for row in rows)]
        )
        (folder / "any.csv").write_bytes(out.getvalue().encode())
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(encodings, "CHUNK_BYTES", chunk)

            log = opened(folder / "any.csv", folder / "spool")
            read = one_by_one(log, n_rows=4)

        wanted = [(f"c{row[0]}", f"d{row[1]}", row[2]) for row in rows]
        assert [(who, day, note or "") for who, day, note in read.rows()] == wanted


class TestParquet:
    @pytest.fixture
    def typed(self) -> pl.DataFrame:
        return pl.DataFrame(ROWS, schema=list(NAMES), orient="row").with_columns(
            pl.col("order_date").str.to_datetime("%Y-%m-%d"), pl.col("amount").cast(pl.Float64)
        )

    @pytest.mark.parametrize("group", [50, 700, 10_000])
    def test_batches_are_the_rows_in_order(self, tmp_path: Path, typed: pl.DataFrame, group: int) -> None:
        typed.write_parquet(tmp_path / "a.parquet", row_group_size=group)

        log = opened(tmp_path / "a.parquet", tmp_path / "spool")

        assert [batch.height for batch in log.batches(n_rows=300)] == [300] * 6 + [200]
        assert one_by_one(log, n_rows=300).equals(typed)
        assert log.read().equals(typed)
        assert one_by_one(log, columns=["amount"]).equals(typed.select("amount"))
        assert log.schema == dict(typed.schema)
        assert not (tmp_path / "spool").exists()

    def test_many_small_files_make_few_batches(self, tmp_path: Path, typed: pl.DataFrame) -> None:
        for n in range(40):
            typed.slice(50 * n, 50).write_parquet(tmp_path / f"{n:02d}.parquet")

        log = opened(tmp_path, tmp_path / "spool")

        assert [batch.height for batch in log.batches(n_rows=900)] == [900, 900, 200]
        assert one_by_one(log).drop(FILE_COLUMN).equals(typed)

    def test_types_that_differ_are_text_in_every_batch(self, tmp_path: Path, typed: pl.DataFrame) -> None:
        typed.head(3).write_parquet(tmp_path / "a.parquet")
        typed.tail(3).with_columns(pl.col("amount").cast(pl.String)).write_parquet(tmp_path / "b.parquet")

        log = opened(tmp_path, tmp_path / "spool")

        assert log.schema["amount"] == pl.String()
        assert one_by_one(log, columns=["amount"], n_rows=2)["amount"].to_list() == [
            "0.25", "1.25", "2.25", "1997.25", "1998.25", "1999.25"
        ]  # fmt: skip

    def test_a_log_may_be_handed_to_another_process(self, tmp_path: Path, typed: pl.DataFrame) -> None:
        typed.write_parquet(tmp_path / "a.parquet")
        (tmp_path / "b.csv").write_text(WHOLE)
        log = opened(tmp_path, tmp_path / "spool")

        assert one_by_one(pickle.loads(pickle.dumps(log))).equals(log.read())

    @pytest.mark.parametrize("name", ["a.parquet", "a.csv"])
    def test_a_file_that_changed_since_is_never_mixed_in(self, tmp_path: Path, typed: pl.DataFrame, name: str) -> None:
        path = tmp_path / name
        typed.write_parquet(path) if name.endswith("parquet") else path.write_text(WHOLE)
        log = opened(path, tmp_path / "spool")
        path.write_text(WHOLE + "c1,new,2024-02-01,1.0\n")

        with pytest.raises(OrdersError, match=r"was written while it was being read. Run this again.$"):
            list(log.batches())
        path.unlink()
        with pytest.raises(OrdersError, match=r"is gone while it was being read"):
            log.read()


class TestDatabases:
    @pytest.mark.usefixtures("_small_chunks")
    def test_rows_are_kept_once_and_read_as_often_as_wished(self, tmp_path: Path) -> None:
        with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
            connection.execute(f"CREATE TABLE orders ({HEADING})")
            connection.executemany("INSERT INTO orders VALUES (?, ?, ?, ?)", ROWS)
            connection.commit()
        log = opened(parse_orders_source(str(tmp_path / "shop.db"), table="orders"), tmp_path / "spool")
        (tmp_path / "shop.db").unlink()

        assert [one_by_one(log, n_rows=n).rows() == ROWS for n in (99, 5000)] == [True, True]
        assert oct((tmp_path / "spool" / "orders").stat().st_mode)[-3:] == "700"

    def test_a_spool_left_by_a_run_that_died_is_made_anew(self, tmp_path: Path) -> None:
        (tmp_path / "spool" / "orders").mkdir(parents=True)
        (tmp_path / "spool" / "orders" / "00009.parquet").write_text("left")
        (tmp_path / "a.csv").write_bytes(WHOLE.encode("utf-16"))

        log = opened(tmp_path / "a.csv", tmp_path / "spool")

        assert log.read().height == N_ROWS
        assert not (tmp_path / "spool" / "orders" / "00009.parquet").exists()

    def test_a_spool_that_cannot_be_written_is_one_line(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_bytes(WHOLE.encode("utf-16"))
        (tmp_path / "spool").write_text("a file")

        with pytest.raises(OrdersError, match=r"a\.csv: cannot be kept in .* while it is read \(.*TMPDIR"):
            opened(tmp_path / "a.csv", tmp_path / "spool")

    def test_nothing_is_left_of_a_spool_of_ones_own(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "tmp").mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
        (tmp_path / "a.csv").write_bytes(WHOLE.encode("utf-16"))

        assert read_orders(tmp_path / "a.csv").rows.rows() == ROWS
        assert list((tmp_path / "tmp").iterdir()) == []


class TestDamagedFiles:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        folder = tmp_path / "log"
        folder.mkdir()
        frame = pl.DataFrame(ROWS, schema=list(NAMES), orient="row")
        for name in ("a.parquet", "g.parquet"):
            frame.write_parquet(folder / name)
        content = (folder / "a.parquet").read_bytes()
        (folder / "b.parquet").write_bytes(content[:-500])
        (folder / "c.parquet").write_bytes(content[:4] + bytes(900) + content[904:])
        (folder / "d.csv").write_text(HEADING + "\nc1,o1,2024-01-01,1\nsecret,o2")
        (folder / "e.csv").write_text("")
        (folder / "f.csv").write_text(WHOLE.replace("amount", "sum"))
        (folder / "h.csv").write_text(WHOLE)
        return folder

    def test_are_left_out_named_and_counted_where_that_is_asked(self, folder: Path) -> None:
        raw = read_orders(folder, settings=Settings(on_bad_file="set_aside"))

        assert raw.rows.drop(FILE_COLUMN).rows() == ROWS * 3
        assert [Path(file.path).name for file in raw.files] == ["a.parquet", "g.parquet", "h.csv"]
        why = {Path(fault.path).name: fault.why for fault in raw.bad_files}
        assert list(why) == ["b.parquet", "c.parquet", "d.csv", "e.csv", "f.csv"]
        assert why["b.parquet"].startswith("not readable as Parquet (")
        assert why["d.csv"].startswith("cut off in line 3, which has 2 of the 4 columns (…).")
        assert why["f.csv"] == "lacks amount and also has sum, compared with a.parquet."
        (note,) = [text for text in texts(raw.notes) if text.startswith("Set aside")]
        assert note.startswith("Set aside, as damaged: 5 of 8 files: b.parquet (not readable as Parquet (")
        assert "secret" not in f"{raw.notes}{raw.bad_files}"

    def test_the_first_is_refused_by_default(self, folder: Path) -> None:
        with pytest.raises(OrdersError, match=r"b\.parquet: not readable.*leave such files out with --on-bad-file"):
            read_orders(folder)

    def test_the_columns_of_most_files_are_those_of_the_log(self, folder: Path) -> None:
        for name in "abcde":
            next(folder.glob(f"{name}.*")).unlink()
        (folder / "aa.csv").write_text(WHOLE.replace("amount", "sum"))
        (folder / "f.csv").unlink()

        raw = read_orders(folder, settings=Settings(on_bad_file="set_aside"))

        assert [Path(fault.path).name for fault in raw.bad_files] == ["aa.csv"]

    def test_a_log_of_nothing_else_is_refused_in_one_line(self, folder: Path) -> None:
        for name in "acdfgh":
            next(folder.glob(f"{name}.*")).unlink()

        with pytest.raises(
            OrdersError, match=r"^\S+log: none of the 2 files can be read\. The first, \S+b\.parquet: not"
        ):
            read_orders(folder, settings=Settings(on_bad_file="set_aside"))

    def test_one_file_alone_is_refused_as_ever(self, folder: Path) -> None:
        with pytest.raises(OrdersError, match=r"e\.csv: the file is empty. Expected a heading line and one line per o"):
            read_orders(folder / "e.csv", settings=Settings(on_bad_file="set_aside"))

    def test_damage_within_is_said_when_a_sample_is_read(self, folder: Path, tmp_path: Path) -> None:
        with pytest.raises(OrdersError, match=r"c\.parquet: not readable as Parquet \("):
            opened(folder / "c.parquet", tmp_path / "spool")


@pytest.mark.usefixtures("_small_chunks")
class TestDamagedLines:
    LONG = (3, 700, 701, 1500, 1501, 1502, 2001)

    @pytest.fixture(params=["plain", "zipped", "marks within values"])
    def path(self, request: pytest.FixtureRequest, tmp_path: Path) -> Path:
        lines = WHOLE.splitlines()
        for number in self.LONG:
            lines[number - 1] += ",more"
        text = "\n".join(lines) + "\n"
        if request.param == "marks within values":
            text = text.replace("o9,", '9" screen,')
        content = text.encode()
        (tmp_path / "a.csv").write_bytes(gzip.compress(content) if request.param == "zipped" else content)
        return tmp_path / "a.csv"

    def test_are_left_out_and_counted_with_their_numbers(self, path: Path) -> None:
        raw = read_orders(path, settings=Settings(on_bad_file="set_aside"))

        kept = [row for number, row in enumerate(ROWS, start=2) if number not in self.LONG]
        assert raw.rows["amount"].to_list() == [row[3] for row in kept]
        assert raw.n_bad_lines == 7
        assert (
            "a.csv: 7 lines were set aside, with more columns than the heading: line 3, 700, 701, 1,500, 1,501 "
            "and 2 more."
        ) in texts(raw.notes)

    def test_the_first_is_refused_by_default(self, path: Path) -> None:
        with pytest.raises(
            OrdersError, match=r"line 3 has 5 columns .*leave such lines out with --on-bad-file set-aside"
        ):
            read_orders(path)

    def test_nothing_but_such_lines_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text(f"{HEADING}\na,1,2024-01-01,1,5\nb,1,2024-01-01,2,5\n")

        with pytest.raises(OrdersError, match=r"every line has more columns than the heading"):
            read_orders(tmp_path / "a.csv", settings=Settings(on_bad_file="set_aside"))


class TestFolders:
    def write(self, folder: Path, *, rows: str = "a,1,1.5", heading: str = "customer_id,order_id,amount") -> None:
        folder.mkdir(parents=True)
        (folder / "part-0.csv").write_text(f"{heading}\n{rows}\n")

    def test_their_names_are_columns_where_they_are_needed(self, tmp_path: Path) -> None:
        for day in ("2024-01-31", "2024-02-01"):
            self.write(tmp_path / "log" / f"order_date={day}" / "heap=no%20name")

        log = opened(tmp_path / "log", tmp_path / "spool")

        assert log.layout.columns["order_date"] == "order_date"
        assert log.read()["order_date"].to_list() == ["2024-01-31", "2024-02-01"]
        assert one_by_one(log, columns=["order_date"]).rows() == [("2024-01-31", 0), ("2024-02-01", 1)]
        assert "heap" not in log.schema

    def test_or_told(self, tmp_path: Path) -> None:
        self.write(tmp_path / "log" / "kunde=7", rows="1,2024-01-01,2", heading="order_id,order_date,amount")
        self.write(tmp_path / "log" / "kunde=__HIVE_DEFAULT_PARTITION__", rows="1,2024-01-01,2",
                   heading="order_id,order_date,amount")  # fmt: skip

        log = opened(tmp_path / "log" / "*" / "*.csv", tmp_path / "spool", columns={"customer_id": "kunde"})

        assert log.read()["kunde"].to_list() == ["7", None]

    def test_columns_of_the_files_win_and_rows_of_two_days_stay_equal(self, tmp_path: Path) -> None:
        for day in (1, 2):
            self.write(
                tmp_path / "log" / "year=2024" / f"day={day}",
                rows="a,1,2024-05-05",
                heading="customer_id,order_id,order_date",
            )

        log = opened(tmp_path / "log", tmp_path / "spool")

        assert list(log.schema) == ["customer_id", "order_id", "order_date"]
        assert log.read().drop(FILE_COLUMN).is_duplicated().all()
        assert [why.reason for why in clean_orders(read_orders(tmp_path / "log")).report.reasons] == ["duplicate_line"]

    def test_what_is_still_missing_is_said_of_both(self, tmp_path: Path) -> None:
        self.write(tmp_path / "log" / "year=2024")

        with pytest.raises(LayoutError, match=r"1 required column was not found: order_date\. Columns: .*, year\."):
            opened(tmp_path / "log", tmp_path / "spool")

    @pytest.mark.parametrize("pattern", ["", "*.csv", "**/*.csv"])
    def test_a_folder_that_grows_by_a_file_a_day(self, tmp_path: Path, pattern: str) -> None:
        folder = tmp_path / "log"
        folder.mkdir()
        seen = []
        for day in (3, 1, 2):
            (folder / f"2024-01-0{day}.csv").write_text(f"{HEADING}\nc{day},{day},2024-01-0{day},{day}\n")
            raw = read_orders(str(folder / pattern))
            seen.append((raw.digest, [Path(file.path).stem[-1] for file in raw.files], raw.rows["order_id"].to_list()))

        assert [names for _, names, _ in seen] == [["3"], ["1", "3"], ["1", "2", "3"]]
        assert [rows for _, _, rows in seen] == [["3"], ["1", "3"], ["1", "2", "3"]]
        assert len({digest for digest, _, _ in seen}) == 3
        assert read_orders(str(folder / pattern)).digest == seen[-1][0]


def test_no_more_than_five_line_numbers_are_kept() -> None:
    lines = tables.LongLines()
    for number in range(1000):
        lines += tables.LongLines(1, (number,))

    assert lines == tables.LongLines(1000, (0, 1, 2, 3, 4))
