"""Forgetting: everything kept under a home folder, whole or not at all, as often as one likes."""

import hashlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from repurchase.errors import DeliveryError, InputError
from repurchase.jobs.forget import SOURCES_NOTE, forget_customers
from repurchase.jobs.forget_files import ids_in_page, language_of
from repurchase.orders.ids import key_id, pseudonymise
from repurchase.settings import Settings
from repurchase.storage.run_records import read_monitor_record, read_run_record

KEY = "a key of at least sixteen bytes"
SCORES = pl.DataFrame({"customer_id": ["17", "8", "9"], "clv": [1.5, 2.5, None], "city": ["Bø", 'a "b"', ""]})
ASIDE = pl.DataFrame({"Kunde": ["17.0", "8", None, " 17"], "reason": ["cancellation"] * 4})


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_output(folder: Path, *, name: str = "scores.parquet", key: bytes | None = None, **further: Any) -> Path:
    """What a scoring run leaves, small."""
    folder.mkdir(exist_ok=True)
    out = folder / name
    scores, aside = SCORES, ASIDE
    if key:
        scores = scores.with_columns(pseudonymise(scores["customer_id"], key))
        aside = aside.with_columns(pseudonymise(pl.Series("Kunde", ["17", "8", None, "17"]), key))
        further["pseudonyms"] = key_id(key)
    write = pl.DataFrame.write_csv if out.suffix == ".csv" else pl.DataFrame.write_parquet
    write(scores, out)
    quarantine = out.with_name(f"{out.stem}.quarantine.parquet")
    aside.write_parquet(quarantine)
    run = {
        "schema": 1,
        "command": "score",
        "orders": {"columns": {"customer_id": "Kunde"}},
        "duplicates": ["17", "9"],
        "outputs": {
            "scores": {"path": out.name, "rows": 3, "sha256": digest(out)},
            "quarantine": {"path": quarantine.name, "rows": 4, "sha256": digest(quarantine)},
        },
        **further,
    }
    out.with_name(f"{out.stem}.run.json").write_text(json.dumps(run))
    return out


def monitored(out: Path) -> None:
    record = {
        "schema": 1,
        "command": "monitor",
        "scores": {"path": out.name, "sha256": digest(out)},
        "observed_until": "2024-06-30",
        "horizons": [],
        "ranges": {name: {"inside": None, "n": 0} for name in ("clv", "next_order")},
        "advice": {"retrain": False, "words": "Keep the model."},
    }
    out.with_name(f"{out.stem}.monitor.json").write_text(json.dumps(record))


def forgotten(home: Path, *ids: str, **asked: Any) -> list[str]:
    return list(forget_customers(ids, settings=Settings(home=home), **asked))


def forgotten_in_part(home: Path, *ids: str, columns: dict[str, str] | None = None) -> list[str]:
    """What is said where customers may remain, which ends in a refusal."""
    lines: list[str] = []
    with pytest.raises(DeliveryError, match="these customers may remain in"):
        lines.extend(forget_customers(ids, settings=Settings(home=home, columns=columns or {})))
    return lines


def refused(home: Path, *ids: str, **asked: Any) -> tuple[list[str], str]:
    """What is said where some were not found, and the refusal at the end."""
    lines: list[str] = []
    with pytest.raises(InputError) as refusal:
        lines.extend(forget_customers(ids, settings=Settings(home=home), **asked))
    return lines, str(refusal.value)


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["scores.parquet", "scores.csv"])
def test_a_customer_leaves_every_file_and_records_still_fit(tmp_path, name):
    out = write_output(tmp_path / "outputs", name=name)
    monitored(out)

    lines = forgotten(tmp_path, " 17.0 ")

    assert lines == [
        "outputs/scores.quarantine.parquet: 2 rows removed.",
        f"outputs/{name}: 1 row removed.",
        "outputs/scores.run.json: 1 id removed.",
        SOURCES_NOTE,
    ]
    left = pl.read_csv(out, schema=SCORES.schema) if name.endswith("csv") else pl.read_parquet(out)
    assert left.equals(SCORES[1:])
    assert pl.read_parquet(out.with_name("scores.quarantine.parquet"))["Kunde"].to_list() == ["8", None]
    run, why_not = read_run_record(out)
    assert why_not is None
    assert run["duplicates"] == ["9"]
    assert run["outputs"]["scores"]["rows"] == 2
    assert run["outputs"]["quarantine"]["rows"] == 2
    assert run["outputs"]["quarantine"]["sha256"] == digest(out.with_name("scores.quarantine.parquet"))
    assert [entry["rows"] for entry in run["forgotten"]] == [{"scores.quarantine.parquet": 2, name: 1}]
    assert read_monitor_record(out)[1] is None
    assert not list((tmp_path / "outputs").glob(".*"))


def test_twice_is_harmless(tmp_path):
    write_output(tmp_path / "outputs")
    forgotten(tmp_path, "17")
    before = everything(tmp_path)

    lines, refusal = refused(tmp_path, "17")

    assert lines == []
    assert refusal.startswith(f"nobody was found, nothing was erased: below {tmp_path} no file names 17. ")
    assert everything(tmp_path) == before


def test_a_name_that_nobody_has_is_a_refusal_that_log_lines_do_not_repeat(tmp_path):
    write_output(tmp_path / "outputs")

    with pytest.raises(
        InputError, match=r"nobody was found, nothing was erased: .* names someone@typo\.no\."
    ) as refusal:
        forgotten(tmp_path, "someone@typo.no")

    assert "\n" not in str(refusal.value)
    assert "typo" not in refusal.value.log_message


def test_those_who_are_found_are_erased_and_the_others_named(tmp_path):
    out = write_output(tmp_path / "outputs")

    lines, refusal = refused(tmp_path, "17", "71", "someone@typo.no")

    assert "outputs/scores.parquet: 1 row removed." in lines
    assert lines[-3:] == [
        "Not found: 71.",
        "someone@typo.no is neither a customer id nor an e-mail address in lists.",
        SOURCES_NOTE,
    ]
    assert refusal.startswith(
        "2 of 3 names were not found and may remain under another spelling; the others are erased."
    )
    assert pl.read_parquet(out)["customer_id"].to_list() == ["8", "9"]


def test_a_place_that_is_not_changed_and_a_name_that_nobody_has_are_one_refusal(tmp_path):
    write_output(tmp_path / "outputs")
    (tmp_path / "odd.csv").write_bytes(b'customer_id\n"17\n18\n')

    with pytest.raises(DeliveryError, match=r"may remain in 1 place .*1 of 2 names was not found: check the sp"):
        forgotten(tmp_path, "17", "71")


def test_a_dry_run_says_the_same_and_changes_nothing(tmp_path):
    write_output(tmp_path / "outputs")
    before = everything(tmp_path)

    lines, refusal = refused(tmp_path, "17", "unknown", dry_run=True)

    assert lines[0] == "outputs/scores.quarantine.parquet: 2 rows would be removed."
    assert "Not found: unknown." in lines
    assert lines[-1] == "This was a dry run: nothing was changed."
    assert "1 of 2 names was not found" in refusal
    assert "the others would be erased" in refusal
    assert everything(tmp_path) == before


def test_ids_that_were_hashed_are_found_with_the_key_alone(tmp_path, monkeypatch):
    out = write_output(tmp_path / "outputs", key=KEY.encode())
    before = everything(tmp_path)

    with pytest.raises(InputError, match="its ids are keyed hashes"):
        forgotten(tmp_path, "17")
    monkeypatch.setenv("REPURCHASE_ID_KEY", KEY + "!")
    with pytest.raises(InputError, match="hashed with another key"):
        forgotten(tmp_path, "17")
    assert everything(tmp_path) == before
    monkeypatch.setenv("REPURCHASE_ID_KEY", KEY)
    lines = forgotten(tmp_path, "17")

    assert lines[:2] == [
        "outputs/scores.quarantine.parquet: 2 rows removed.",
        "outputs/scores.parquet: 1 row removed.",
    ]
    assert "Found nowhere" not in " ".join(lines)
    assert pl.read_parquet(out).height == 2


def test_a_kill_between_two_renames_is_finished_by_the_next_run(tmp_path, monkeypatch):
    out = write_output(tmp_path / "outputs")
    monitored(out)
    replace = Path.replace

    class Killed(BaseException):
        pass

    def until_the_scores(self: Path, target: Path) -> Path:
        if Path(target).name == "scores.parquet":
            raise Killed
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", until_the_scores)
        with pytest.raises(Killed):
            forgotten(tmp_path, "17")
    assert pl.read_parquet(out).height == 3

    forgotten(tmp_path, "17")

    assert pl.read_parquet(out).height == 2
    assert read_run_record(out)[1] is None
    assert read_monitor_record(out)[1] is None


def test_a_record_of_other_scores_stays_one(tmp_path):
    out = write_output(tmp_path / "outputs")
    SCORES.reverse().write_parquet(out)

    forgotten(tmp_path, "17")

    assert pl.read_parquet(out)["customer_id"].to_list() == ["9", "8"]
    why = read_run_record(out)[1]
    assert why is not None
    assert why["key"] == "record.other_scores"


def test_lists_in_the_home_lose_them_and_lists_elsewhere_are_named(tmp_path):
    home, mine, theirs = tmp_path / "home", tmp_path / "home" / "vip.csv", tmp_path / "vip.csv"
    home.mkdir()
    for path in (mine, theirs):
        path.write_text("Kunde;city\n17;Bø\n8;Ål\n")
    write_output(home / "a", list=str(mine))
    write_output(home / "b", list=str(theirs))

    lines = forgotten_in_part(home, "17", columns={"customer_id": "Kunde"})

    assert mine.read_text() == "Kunde;city\n8;Ål\n"
    assert theirs.read_text() == "Kunde;city\n17;Bø\n8;Ål\n"
    assert "vip.csv: 1 row removed." in lines
    assert f"{theirs}: this list names 1 of these; it lies outside the home folder and was not touched." in lines


def test_what_a_killed_run_left_is_removed(tmp_path):
    write_output(tmp_path / "outputs")
    left = tmp_path / "outputs" / ".other.parquet.partial-abc"
    left.mkdir()
    (left / "part-0.parquet").write_text("customers")
    (tmp_path / "outputs" / ".partial-report.html-12").write_text("customers")
    work = tmp_path / "outputs" / ".scores.parquet.work" / "parts"
    work.mkdir(parents=True)
    (work / "00000.parquet").write_text("customers")

    lines, refusal = refused(tmp_path, "nobody")

    assert not left.exists()
    assert not work.exists()
    assert "nothing else was erased" in refusal
    assert lines == [
        "outputs/.other.parquet.partial-abc: left by a run that was killed; removed.",
        "outputs/.partial-report.html-12: left by a run that was killed; removed.",
        "outputs/.scores.parquet.work: left by a run that was killed; removed.",
    ]
    assert not list((tmp_path / "outputs").glob(".*"))


def test_a_run_at_work_is_waited_for_by_whoever_asks(tmp_path):
    out = write_output(tmp_path / "outputs")
    before = out.read_bytes()
    holder = sqlite3.connect(out.with_name(".scores.parquet.lock"), isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(DeliveryError, match="is being written by another run"):
            forgotten(tmp_path, "17")
    finally:
        holder.close()
    assert out.read_bytes() == before


def test_a_disk_that_is_full_is_one_line_and_leaves_the_file(tmp_path, monkeypatch):
    out = write_output(tmp_path / "outputs")
    before = everything(tmp_path)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("polars.LazyFrame.sink_parquet", full)
    with pytest.raises(
        DeliveryError, match=r"scores\.parquet cannot be written: No space left on device\. It was not changed"
    ):
        forgotten(tmp_path, "17")
    assert everything(tmp_path) == before
    assert out.exists()


def test_a_table_elsewhere_is_named(tmp_path):
    out = write_output(tmp_path / "outputs")
    record = out.with_name("scores.run.json")
    run = json.loads(record.read_text())
    run["outputs"]["scores"] = {"path": "postgresql://db.example/shop/marketing.scores", "rows": 3, "sha256": "0"}
    record.write_text(json.dumps(run))
    out.unlink()

    lines = forgotten_in_part(tmp_path, "17")

    assert lines[:2] == [
        "outputs/scores.quarantine.parquet: 2 rows removed.",
        "outputs/scores.run.json: 1 id removed.",
    ]
    assert "postgresql://db.example/shop/marketing.scores was not touched: delete the rows there yourself." in lines


def test_files_that_are_not_ours_are_left_alone(tmp_path):
    write_output(tmp_path / "outputs")
    SCORES.write_csv(tmp_path / "outputs" / "mine.csv")
    (tmp_path / "outputs" / "page.html").write_text('<th role="rowheader" scope="row">17</th>')
    (tmp_path / "outputs" / "odd.run.json").write_text("{}")
    (tmp_path / "models").mkdir()
    write_output(tmp_path / "models")
    mine = {name: content for name, content in everything(tmp_path).items() if "scores" not in name or "models" in name}

    lines = forgotten_in_part(tmp_path, "17")

    assert mine.items() <= everything(tmp_path).items()
    assert lines[0] == "outputs/odd.run.json: not a record that this version knows; left alone."


@pytest.mark.parametrize(
    ("ids", "words"), [((), "nobody is named"), (("17", " "), "1 of 2 ids are empty"), (("nan",), "1 of 1 ids are")]
)
def test_nobody_and_nothing_are_refused(tmp_path, ids, words):
    with pytest.raises(InputError, match=words):
        forgotten(tmp_path, *ids)


def test_ids_may_come_from_a_list(tmp_path):
    write_output(tmp_path / "outputs")
    (tmp_path / "gone.csv").write_text("customer_id\n17\n8.0\n")

    lines = forgotten(tmp_path, "9", from_file=tmp_path / "gone.csv")

    assert "outputs/scores.parquet: 3 rows removed." in lines
    assert pl.read_parquet(tmp_path / "outputs" / "scores.parquet").height == 0


def test_a_damaged_file_of_ours_is_refused_before_it_is_lost(tmp_path):
    out = write_output(tmp_path / "outputs")
    out.write_bytes(out.read_bytes()[:200])

    with pytest.raises(InputError, match="nobody can be taken out of it"):
        forgotten(tmp_path, "17")


def test_a_home_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        forgotten(tmp_path / "nowhere", "17")


def test_a_page_that_lists_a_customer_for_its_script_only(tmp_path):
    (tmp_path / "outputs").mkdir()
    page = tmp_path / "outputs" / "page.html"
    listed = '<script type="application/json" id="customer-data">{"columns":{"id":["16","17","\\u003c18"]}}</script>'
    page.write_text(f'<html lang="nb"><meta name="generator" content="repurchase 0.1.0">{listed}')

    assert ids_in_page(page, {"17", "<18", "16 "}) == ["17", "<18"]
    assert language_of(page) == "nb"
    lines = forgotten(tmp_path, "17")

    assert "outputs/page.html: removed, since the scores it was made from are not there." in lines
    assert not page.exists()


def write_lists(folder: Path, heading: str = "customer_id,email", **further: Any) -> Path:
    """A folder of lists with one list, whose ids and addresses are not spelled alike."""
    folder.mkdir(parents=True)
    rows = [heading, "17,Anna@shop.example", "8,per@shop.example", "'=9,anna@shop.example", ""]
    (folder / "all.csv").write_bytes("\r\n".join(rows).encode("utf-8-sig"))
    files = [{"name": "all.csv", "rows": 3, "id_column": heading.partition(",")[0], "sha256": "0"}]
    (folder / "lists.json").write_text(json.dumps({"schema": 1, "command": "lists", "files": files, **further}))
    return folder / "all.csv"


@pytest.mark.parametrize("record", ["{", '{"schema": 99, "command": "lists"}', '{"command": "lists", "files": ["a"]}'])
def test_lists_whose_record_cannot_be_read_are_refused_before_anything_is_changed(tmp_path, record):
    write_output(tmp_path / "outputs")
    write_lists(tmp_path / "lists").with_name("lists.json").write_text(record)
    before = everything(tmp_path)

    with pytest.raises(InputError, match=r"lists\.json"):
        forgotten(tmp_path, "17")

    assert everything(tmp_path) == before


def test_a_record_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "lists.json").write_text('["milk"]')

    assert refused(tmp_path, "17")[0] == []
    assert (tmp_path / "lists.json").read_text() == '["milk"]'


@pytest.mark.parametrize("heading", ["customer_id,email", "Kunde-ID;E-post", "Client,Mail"])
def test_a_list_without_a_record_is_named(tmp_path, heading):
    ours = write_lists(tmp_path / "lists", heading.replace(";", ","))
    copy = tmp_path / "old" / "all.csv"
    copy.parent.mkdir()
    copy.write_bytes(ours.read_bytes().replace(b",", b";" if ";" in heading else b","))
    before = copy.read_bytes()

    lines = forgotten(tmp_path, "17", "=9", dry_run=True)

    assert lines[:2] == [
        "lists/all.csv: 2 rows would be removed.",
        "old/all.csv: names 2 of these; no record names this file: it was not touched.",
    ]
    assert forgotten_in_part(tmp_path, "17", "=9")[1] == lines[1]
    assert copy.read_bytes() == before
    assert forgotten_in_part(tmp_path, "17")[:2] == [
        "old/all.csv: names 1 of these; no record names this file: it was not touched.",
        SOURCES_NOTE,
    ]


@pytest.mark.parametrize("of", ["scores.parquet", "scores.quarantine.parquet"])
def test_a_copy_in_parquet_without_a_record_is_named(tmp_path, of):
    out = write_output(tmp_path / "outputs")
    copy = tmp_path / "old" / "copy.parquet"
    copy.parent.mkdir()
    copy.write_bytes(out.with_name(of).read_bytes())
    before = copy.read_bytes()
    line = "old/copy.parquet: names 1 of these; no record names this file: it was not touched."

    assert line in forgotten(tmp_path, "17", dry_run=True)
    assert line in forgotten_in_part(tmp_path, "17")
    assert copy.read_bytes() == before
    assert forgotten_in_part(tmp_path, "17")[0] == line


def test_orders_in_parquet_stay_and_damaged_ones_are_named(tmp_path):
    orders = tmp_path / "orders.parquet"
    pl.DataFrame({"Kunde": [17, 8], "Total": [1.0, 2.0]}).write_parquet(orders)
    files = [{"path": str(orders), "sha256": digest(orders)}]
    write_output(tmp_path / "outputs", orders={"columns": {"customer_id": "Kunde"}, "files": files})
    line = "orders.parquet: names 1 of these; these are orders: it was not touched."

    assert line in forgotten(tmp_path, "17")

    (tmp_path / "odd.parquet").write_bytes(b"PAR1")
    assert "odd.parquet: cannot be read; check whether it names them." in forgotten_in_part(tmp_path, "8")


def test_a_csv_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "odd.csv").write_bytes(b'customer_id\n"17\n18\n')

    assert forgotten_in_part(tmp_path, "17")[0] == "odd.csv: cannot be read; check whether it names them."


def test_lists_without_rows_name_nobody(tmp_path):
    """A segment without customers is a list with a heading only."""
    ours = write_lists(tmp_path / "lists")
    names = ("4-first-time-buyers.csv", "repair.csv", "nothing.csv")
    for name in names:
        ours.with_name(name).write_bytes(b"" if name == "nothing.csv" else b"\xef\xbb\xbfcustomer_id,email\r\n")
    record = json.loads(ours.with_name("lists.json").read_text())
    record["files"] += [{"name": name, "rows": 0, "id_column": "customer_id", "sha256": "0"} for name in names]
    ours.with_name("lists.json").write_text(json.dumps(record))
    before = [ours.with_name(name).read_bytes() for name in names]

    lines = forgotten(tmp_path, "anna@shop.example", "8")

    assert lines == [
        "anna@shop.example: the e-mail address of customer 17, =9.",
        "lists/all.csv: 3 rows removed.",
        SOURCES_NOTE,
    ]
    assert [ours.with_name(name).read_bytes() for name in names] == before


@pytest.mark.parametrize("heading", ["customer_id,email", "Kunde-ID,E-post", "customer_id,Email Address"])
def test_an_address_in_lists_stands_for_its_customers(tmp_path, heading):
    out = write_output(tmp_path / "outputs")
    ours = write_lists(tmp_path / "lists", heading)

    lines, refusal = refused(tmp_path, " ANNA@shop.example ", "eva@shop.example")

    assert lines == [
        "anna@shop.example: the e-mail address of customer 17, =9.",
        "outputs/scores.quarantine.parquet: 2 rows removed.",
        "outputs/scores.parquet: 1 row removed.",
        "outputs/scores.run.json: 1 id removed.",
        "lists/all.csv: 2 rows removed.",
        "eva@shop.example is neither a customer id nor an e-mail address in lists.",
        SOURCES_NOTE,
    ]
    assert refusal.startswith("1 of 2 names was not found")
    assert pl.read_parquet(out)["customer_id"].to_list() == ["8", "9"]
    assert ours.read_bytes().decode("utf-8-sig") == f"{heading}\r\n8,per@shop.example\r\n"


def test_an_address_that_is_an_id_is_one(tmp_path):
    ours = write_lists(tmp_path / "lists")
    ours.write_text("customer_id,email\nanna@shop.example,anna@shop.example\n8,anna@shop.example\n")

    lines = forgotten(tmp_path, "anna@shop.example")

    assert lines == ["lists/all.csv: 1 row removed.", SOURCES_NOTE]
    assert ours.read_text() == "customer_id,email\n8,anna@shop.example\n"
