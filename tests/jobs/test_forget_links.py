"""Forgetting behind links: the real file is rewritten, and what cannot be reached is named and ends in a refusal."""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from repurchase.errors import DeliveryError, InputError, RepurchaseError
from repurchase.jobs.forget import SOURCES_NOTE, forget_customers
from repurchase.settings import Settings
from repurchase.storage.delivery import parquet_metadata
from repurchase.storage.run_records import read_run_record

SCORES = pl.DataFrame({"customer_id": ["17", "8", "9"], "clv": [1.5, 2.5, None]})


def write_scores(folder: Path, name: str = "scores.parquet") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / name
    SCORES.write_parquet(out, metadata=parquet_metadata("scores"))
    scores = {"path": name, "rows": 3, "sha256": hashlib.sha256(out.read_bytes()).hexdigest()}
    run = {"schema": 1, "command": "score", "outputs": {"scores": scores}}
    out.with_suffix(".run.json").write_text(json.dumps(run))
    return out


def write_lists(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "all.csv").write_text("customer_id,email\n17,anna@shop.example\n8,per@shop.example\n")
    files = [{"name": "all.csv", "rows": 2, "id_column": "customer_id", "sha256": "0"}]
    (folder / "lists.json").write_text(json.dumps({"schema": 1, "command": "lists", "files": files}))
    return folder / "all.csv"


def forgotten(home: Path, *ids: str) -> list[str]:
    return list(forget_customers(ids or ["17"], settings=Settings(home=home)))


def refused(home: Path) -> tuple[list[str], str]:
    """What is said, and the refusal at the end."""
    lines: list[str] = []
    with pytest.raises(DeliveryError, match="these customers may remain in") as refusal:
        lines.extend(forget_customers(["17"], settings=Settings(home=home)))
    return lines, str(refusal.value)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def test_outputs_on_another_volume_are_searched_and_rewritten(home: Path, tmp_path: Path) -> None:
    out = write_scores(tmp_path / "volume" / "outputs")
    listed = write_lists(tmp_path / "volume" / "outputs" / "lists")
    (home / "outputs").symlink_to(tmp_path / "volume" / "outputs")

    assert forgotten(home) == [
        "outputs/scores.parquet: 1 row removed.",
        "outputs/lists/all.csv: 1 row removed.",
        SOURCES_NOTE,
    ]

    assert pl.read_parquet(out)["customer_id"].to_list() == ["8", "9"]
    assert pl.read_parquet_metadata(out)["repurchase"] == "scores"
    assert read_run_record(out)[1] is None
    assert listed.read_text() == "customer_id,email\n8,per@shop.example\n"
    assert (home / "outputs").is_symlink()
    assert not list(tmp_path.rglob(".*"))


def test_a_file_that_is_itself_a_link_is_rewritten_where_it_lies(home: Path, tmp_path: Path) -> None:
    out = write_scores(home / "outputs")
    volume = tmp_path / "volume"
    volume.mkdir()
    real = Path(shutil.move(out, volume / "may.parquet"))
    out.symlink_to(real)

    assert forgotten(home) == ["outputs/scores.parquet: 1 row removed.", SOURCES_NOTE]

    assert out.is_symlink()
    assert pl.read_parquet(real)["customer_id"].to_list() == ["8", "9"]
    assert read_run_record(out)[1] is None
    assert not list(tmp_path.rglob(".*"))


@pytest.mark.parametrize("what", ["list", "page", "campaign"])
def test_so_are_lists_pages_and_campaigns(home: Path, tmp_path: Path, what: str) -> None:
    real, link = tmp_path / "real", home / {"list": "lists/all.csv", "page": "p.html"}.get(what, "c.customers.parquet")
    if what == "list":
        shutil.move(write_lists(home / "lists"), real)
    elif what == "page":
        real.write_text('<meta name="generator" content="repurchase 0.1.0"><th role="rowheader" scope="row">17</th>')
    else:
        SCORES.write_parquet(real)
        (home / "c.json").write_text('{"command": "campaign plan"}')
    link.symlink_to(real)

    forgotten(home)

    if what == "page":
        assert not real.exists()
        assert not link.is_symlink()
    else:
        assert link.is_symlink()
        content = pl.read_parquet(real) if what == "campaign" else pl.read_csv(real, infer_schema=False)
        assert "17" not in content["customer_id"].to_list()
    assert not list(tmp_path.rglob(".*"))


def test_a_volume_that_is_not_there_is_named(home: Path, tmp_path: Path) -> None:
    write_scores(home / "a")
    (home / "outputs").symlink_to(tmp_path / "volume")
    missing = tmp_path / "other" / "scores.parquet"
    (home / "scores.parquet").symlink_to(missing)

    lines, refusal = refused(home)

    assert lines[:3] == [
        f"outputs: leads to {tmp_path / 'volume'}, which cannot be reached: No such file or directory.",
        f"scores.parquet: leads to {missing}, which cannot be reached: No such file or directory.",
        "a/scores.parquet: 1 row removed.",
    ]
    assert "may remain in 2 places" in refusal
    assert "Everything else is done" in refusal


def circle(home: Path) -> None:
    (home / "one").symlink_to(home / "two")
    (home / "two").symlink_to(home / "one")


def another_home(home: Path) -> None:
    write_scores(home.parent / "second" / "outputs")
    (home.parent / "second" / "models").mkdir()
    (home / "second").symlink_to(home.parent / "second")


def above(home: Path) -> None:
    write_scores(home.parent)
    (home / "up").symlink_to(home.parent)


@pytest.mark.parametrize(
    ("lay_out", "words"), [(circle, "cannot be reached"), (another_home, "another home folder"), (above, "holds this")]
)
def test_links_that_are_not_followed_are_named(home: Path, lay_out: Callable[[Path], None], words: str) -> None:
    lay_out(home)
    others = {path: path.read_bytes() for path in home.parent.rglob("*") if path.is_file()}

    assert words in refused(home)[1]
    assert {path: path.read_bytes() for path in others} == others


def test_scores_that_are_not_where_their_record_says_are_named(home: Path) -> None:
    out = write_scores(home / "outputs")
    out.rename(home.parent / "elsewhere.parquet")

    assert "outputs/scores.run.json: its scores, scores.parquet, are not there" in refused(home)[1]


def test_a_circle_of_folders_ends(home: Path) -> None:
    write_scores(home / "outputs")
    (home / "outputs" / "again").symlink_to(home / "outputs")

    assert forgotten(home) == ["outputs/scores.parquet: 1 row removed.", SOURCES_NOTE]


def test_a_folder_that_cannot_be_listed_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_scores(home / "outputs")
    listed = Path.iterdir

    def refuse(self: Path) -> Any:
        if self.name == "outputs":
            raise PermissionError(13, "Permission denied")
        return listed(self)

    monkeypatch.setattr(Path, "iterdir", refuse)

    assert "outputs: cannot be searched: Permission denied" in refused(home)[1]


def test_another_name_of_the_same_file_is_named(home: Path) -> None:
    out = write_scores(home / "outputs")
    os.link(out, home.parent / "kept.parquet")

    lines, _ = refused(home)

    assert "outputs/scores.parquet: the file has 1 other name (hard links), which still name them." in lines
    assert pl.read_parquet(out).height == 2


def test_what_a_killed_run_of_lists_left_is_removed(home: Path) -> None:
    write_lists(home / "lists")
    for name in (".lists.partial-abc", ".partial-lists-abc", ".others.partial-abc"):
        (home / name).mkdir()
        (home / name / "all.csv").write_text("customer_id,email\n17,anna@shop.example\n")

    forgotten(home)

    assert [path.name for path in home.iterdir()] == ["lists"]


def test_what_a_killed_run_left_beside_a_linked_file_is_removed(home: Path, tmp_path: Path) -> None:
    out = write_scores(home / "outputs")
    (tmp_path / "volume").mkdir()
    out.symlink_to(shutil.move(out, tmp_path / "volume" / "may.parquet"))
    left = tmp_path / "volume" / ".may.parquet.partial-abc"
    left.mkdir()
    (left / "scores.parquet").write_text("customers")

    with pytest.raises(InputError, match="nobody was found, nothing else was erased"):
        forgotten(home, "nobody")

    assert not left.exists()
    assert pl.read_parquet(out).height == 3


def test_a_planted_link_among_leftovers_is_removed_and_not_followed(home: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "thesis.txt").write_text("mine")
    (home / ".scores.parquet.work").symlink_to(theirs)
    (home / ".c.customers.parquet.partial-1").symlink_to(theirs / "thesis.txt")

    with pytest.raises(InputError, match="nobody was found, nothing else was erased"):
        forgotten(home)

    assert (theirs / "thesis.txt").read_text() == "mine"
    assert not list(home.iterdir())


def test_orders_in_the_home_are_no_place_where_they_may_remain(home: Path) -> None:
    """They stay by design, and the last line says so."""
    out = write_scores(home / "outputs")
    orders = home / "orders.csv"
    orders.write_text("customer_id,amount\n17,1\n")
    run = json.loads(out.with_suffix(".run.json").read_text())
    out.with_suffix(".run.json").write_text(json.dumps({**run, "orders": {"files": [{"path": str(orders)}]}}))

    assert "orders.csv: names 1 of these; these are orders: it was not touched." in forgotten(home)


EDITED = ["x", 5, True, [], [1], {"path": ""}, {"a": [1]}, {"path": "../../x"}, None]
FIELDS = ["orders", "outputs", "outputs.scores", "duplicates", "list", "pseudonyms", "forgotten"]


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("value", EDITED)
def test_a_record_edited_by_hand_is_named_or_used(home: Path, name: str, value: Any) -> None:
    out = write_scores(home / "outputs")
    record = out.with_suffix(".run.json")
    run = json.loads(record.read_text())
    inner = run["outputs"] if name == "outputs.scores" else run
    inner[name.rpartition(".")[2]] = value
    record.write_text(json.dumps(run))

    with contextlib.suppress(RepurchaseError):
        forgotten(home)
        assert pl.read_parquet(out)["customer_id"].to_list() == ["8", "9"]


@pytest.mark.parametrize("listed", ["{", "5", '{"columns": 5}', '{"columns": {"id": 5}}'])
def test_a_page_edited_by_hand_is_refused(home: Path, listed: str) -> None:
    page = home / "page.html"
    data = f'<script type="application/json" id="customer-data">{listed}</script>'
    page.write_text(f'<meta name="generator" content="repurchase 0.1.0">{data}')

    with pytest.raises(InputError, match="nobody can be taken out of it"):
        forgotten(home)


def test_a_campaign_whose_record_cannot_be_read_is_named(home: Path) -> None:
    """It says whether ids are hashed."""
    SCORES.write_parquet(home / "c.customers.parquet")
    (home / "c.json").write_text("{")

    assert "c.json: cannot be read" in refused(home)[1]
    assert pl.read_parquet(home / "c.customers.parquet").height == 2
