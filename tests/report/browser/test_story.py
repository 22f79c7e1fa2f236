"""One customer's story with the orders: every purchase drawn and in a table; rhythm; what runs out."""

import re
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from repurchase.i18n.formatting import format_count, format_day, format_money
from repurchase.marketing.products import SAME_CATEGORY
from repurchase.report import charts
from repurchase.report.customer_list import PurchaseDetails
from repurchase.report.page import build_report

LOCALES = ("en", "nb", "nl", "ru")
MANY, SOME, FEW, OFTEN, NEVER = "c0001", "c0002", "c0003", "c0004", "c0005"
PURCHASES = {MANY: 200, SOME: 30, FEW: 3, OFTEN: 40}
A4_WIDTH = 688
EDGES = "(all) => all.map((one) => one.getBoundingClientRect()).map((box) => [box.left, box.right])"


@pytest.fixture(scope="session")
def days(shop: pl.DataFrame) -> pl.DataFrame:
    """Purchase days of four customers, the last of them the scores'."""
    last = dict(shop.select("customer_id", "last_order_date").iter_rows())
    rows = [
        (who, last[who] - timedelta(days=number * 5 + number % 3), 1.0 + (number * 37) % 90)
        for who, n in PURCHASES.items()
        for number in range(n)
    ]
    made = pl.DataFrame(rows, schema=["customer_id", "day", "money"], orient="row").sort("customer_id", "day")
    often = pl.col("customer_id") == OFTEN
    return made.with_columns(money=pl.when(often).then(7.0).otherwise("money"))


@pytest.fixture(scope="session")
def bought(shop: pl.DataFrame, days: pl.DataFrame) -> PurchaseDetails:
    as_of = shop["as_of"][0]
    companion = {"goes_with": "Oil of a long name that needs room", "relation": SAME_CATEGORY}
    companion |= {"share": 0.34, "lift": 2.4, "support": 57}
    product = {"product_id": "s1", "name": "Soap", "customers": 250, "again": 120, "share_again": 0.48}
    rhythm = {"low_days": 20.0, "median_days": 30.0, "high_days": 45.0, "due": 17}
    when = {f"refill_{end}": as_of + timedelta(days=n) for end, n in (("on", 9), ("low", 1), ("high", 30))}
    return PurchaseDetails(
        days,
        earlier={MANY: 61},
        products=pl.DataFrame([product | rhythm | companion] * 3),
        due=pl.DataFrame([{"customer_id": SOME, "product_id": "s1", "name": "Soap"} | when | companion]),
    )


@pytest.fixture(scope="session")
def stories(
    shop: pl.DataFrame, record: dict[str, Any], bought: PurchaseDetails, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """The page made with the orders, without its pictures."""
    folder = tmp_path_factory.mktemp("stories")
    later = {f"next_order_date{end}": pl.col("as_of") + pl.duration(days=n) for end, n in (("", 90), ("_high", 200))}
    shop = shop.with_columns(**later)  # a range that leaves the past a part of the line
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(charts, "to_svg", lambda picture: "<svg></svg>")
        for locale in LOCALES:
            page = build_report(shop, record, locale=locale, bought=bought)
            (folder / f"{locale}.html").write_text(page, encoding="utf-8")
        (folder / "without.html").write_text(build_report(shop, record), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in (*LOCALES, "without")}


@pytest.fixture
def story(visit: Any, stories: dict[str, Path]) -> Callable[..., Any]:
    def open_story(who: str, locale: str = "en", **settings: Any) -> Any:
        page = visit(file=stories[locale], **settings)
        tell(page, who)
        return page

    return open_story


def tell(page: Any, who: str) -> None:
    page.locator("#whose").fill(who)
    page.locator("#choose button[type=submit]").click()


def boxes(page: Any) -> list[dict[str, float]]:
    found: list[dict[str, float]] = page.locator("#told svg rect.bought").evaluate_all(
        "(marks) => marks.map((mark) => Object.fromEntries(['x', 'y', 'width', 'height']"
        ".map((name) => [name, Number(mark.getAttribute(name))])))"
    )
    return found


def rows(page: Any) -> list[list[str]]:
    page.locator("#told details").evaluate("(one) => { one.open = true; }")
    found = page.locator("#told tbody tr").evaluate_all(
        "(rows) => rows.map((r) => [...r.cells].map((c) => c.innerText))"
    )
    return [[cell.replace("\u202f", " ").replace("\u00a0", " ") for cell in row] for row in found]


@pytest.mark.parametrize("who", list(PURCHASES))
def test_every_purchase_is_drawn_and_stands_in_the_table(
    story: Callable[..., Any], days: pl.DataFrame, who: str
) -> None:
    page = story(who)
    own = days.filter(pl.col("customer_id") == who)
    wanted = list(zip(own["day"], own["money"], own["day"].diff().dt.total_days(), strict=True))
    told = [
        [
            format_day(when, short=True),
            format_money(paid, "GBP").replace("\u202f", " ").replace("\u00a0", " "),
            "–" if gap is None else format_count(gap),
        ]
        for when, paid, gap in wanted
    ]
    assert rows(page) == told[::-1]
    titles = page.locator("#told svg rect.bought title").all_text_contents()
    plain = [title.replace("\u202f", " ").replace("\u00a0", " ") for title in titles]
    assert plain == [f"{when}: {paid}" for when, paid, _ in told]
    places = [box["x"] for box in boxes(page)]
    assert places == sorted(places)
    assert page.locator("#told summary").inner_text() == f"{PURCHASES[who]} purchase days as a table"
    assert page.complaints == []


@pytest.mark.parametrize("width", [360, 1200])
def test_many_purchases_do_not_run_into_each_other(story: Callable[..., Any], days: pl.DataFrame, width: int) -> None:
    page = story(FEW, width=width)
    for who in PURCHASES:
        tell(page, who)
        marks = boxes(page)
        drawn = page.locator("#told svg").get_attribute("viewBox").split()
        assert all(mark["x"] >= 0 and mark["x"] + mark["width"] <= float(drawn[2]) for mark in marks)
        assert all(mark["y"] >= 40 and 1 <= mark["width"] <= 6 for mark in marks)
        between = [after["x"] - mark["x"] for mark, after in pairwise(marks)]
        crowded = [gap for gap, mark in zip(between, marks, strict=False) if gap < mark["width"]]
        assert len(crowded) <= len(marks) / 10 or marks[0]["width"] == 1
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_taller_mark_is_more_money_within_a_modest_range(story: Callable[..., Any], days: pl.DataFrame) -> None:
    page = story(SOME)
    tall = [box["height"] for box in boxes(page)]
    paid = days.filter(pl.col("customer_id") == SOME)["money"].to_list()
    in_order = sorted(range(len(paid)), key=lambda place: paid[place])
    assert [tall[place] for place in in_order] == sorted(tall)
    assert 8 <= min(tall) < max(tall) == 40
    tell(page, OFTEN)
    assert {box["height"] for box in boxes(page)} == {40}


def test_the_rhythm_and_what_runs_out_are_told(
    story: Callable[..., Any], days: pl.DataFrame, shop: pl.DataFrame
) -> None:
    page = story(SOME)
    told = page.locator("#told").inner_text().replace("\u202f", " ").replace("\u00a0", " ")
    gaps = sorted(days.filter(pl.col("customer_id") == SOME)["day"].diff().drop_nulls().dt.total_days().to_list())
    low, middle, high = (gaps[-(-len(gaps) * part // 4) - 1] for part in (1, 2, 3))
    assert f"Usually {middle} days from one purchase day to the next; half of the times {low} to {high} days." in told
    when = [format_day(shop["as_of"][0] + timedelta(days=n), short=True) for n in (9, 1, 30)]
    assert f"Runs out: Soap, around {when[0]}, most likely between {when[1]} and {when[2]}." in told
    assert "What goes with it: Oil of a long name that needs room (same category). Of those" in told
    tell(page, FEW)
    few = page.locator("#told").inner_text()
    assert "Runs out" not in few
    assert "Usually" not in few


def test_earlier_ones_are_counted_and_nobody_is_made_up(story: Callable[..., Any]) -> None:
    page = story(MANY)
    assert "61 earlier purchase days are not drawn." in page.locator("#told").inner_text()
    tell(page, NEVER)
    assert "The orders given hold no purchase of this customer." in page.locator("#told").inner_text()
    assert page.locator("#told table").count() == 0
    assert page.locator("#told svg circle").count() == 2


def test_a_log_without_money(
    visit: Any, shop: pl.DataFrame, record: dict[str, Any], days: pl.DataFrame, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(charts, "to_svg", lambda picture: "<svg></svg>")
    without = PurchaseDetails(days.with_columns(money=pl.lit(None, pl.Float64)))
    file = tmp_path / "page.html"
    file.write_text(build_report(shop, record, bought=without), encoding="utf-8")
    page = visit(file=file)
    tell(page, SOME)
    assert len({box["height"] for box in boxes(page)}) == 1
    assert {len(row) for row in rows(page)} == {2}
    assert page.locator("#told th[scope=col]").count() == 2
    assert "the taller" not in page.locator("#told").inner_text()


def test_without_orders_the_page_says_what_they_would_bring(story: Callable[..., Any]) -> None:
    page = story(SOME, "without")
    assert "this page was made without the orders" in page.locator("#story").inner_text()
    assert page.locator("#story code").inner_text() == "repurchase report SCORES --orders ORDERS"
    assert page.locator("#told svg rect.bought").count() == 0
    assert page.locator("#told svg circle").count() == 2
    assert page.locator("#products, #told table").count() == 0


@pytest.mark.parametrize("locale", ["en", "ru"])
def test_axe_finds_no_violation_with_purchases_and_products(story: Callable[..., Any], axe: str, locale: str) -> None:
    page = story(SOME, locale)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    page.evaluate(axe)
    ours = "{ include: ['#story', '#products'] }"
    found = page.evaluate(f"axe.run({ours}, {{ resultTypes: ['violations'] }})")
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(f"axe.run({ours}, {{ runOnly: ['color-contrast'] }})")
    for report in (found, dark):
        assert [(one["id"], [node["html"][:120] for node in one["nodes"]][:3]) for one in report["violations"]] == []
    assert page.complaints == []


@pytest.mark.parametrize("locale", LOCALES)
def test_on_a_phone_and_on_paper(story: Callable[..., Any], locale: str) -> None:
    page = story(SOME, locale, width=320)
    for width in (320, 390, 800, 1200):
        page.set_viewport_size({"width": width, "height": 900})
        tell(page, SOME)
        page.locator("#told details").evaluate("(one) => { one.open = true; }")
        for ends in page.locator("#told svg, #told svg text").evaluate_all(EDGES):
            assert 0 <= ends[0] < ends[1] <= width, width
        assert page.evaluate("document.documentElement.scrollWidth") <= width, width
    page.set_viewport_size({"width": A4_WIDTH, "height": 900})
    tell(page, SOME)
    page.emulate_media(media="print")
    everything = "[...document.querySelectorAll('#story *, #products *')]"
    too_wide = f"{everything}.filter((e) => e.getBoundingClientRect().right > innerWidth + 1)"
    assert page.evaluate(f"{too_wide}.map((e) => e.outerHTML.slice(0, 80))") == []
    assert page.locator("#told table").is_visible()  # also of a closed table, on paper
    texts = page.locator("#story, #products").all_inner_texts()
    assert not re.search(r"\{\w+\}|undefined|NaN|null", " ".join(texts))


def test_the_table_opens_by_keyboard(story: Callable[..., Any]) -> None:
    page = story(SOME)
    page.locator("#told summary").focus()
    assert not page.locator("#told table").is_visible()
    page.keyboard.press("Enter")
    assert page.locator("#told table").is_visible()
    assert page.locator("#told caption").inner_text() == f"The story of {SOME}"
