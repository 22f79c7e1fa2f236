"""What a marketer does with the page: search, filter, sort, save, read a story; on a phone, on paper, by keyboard."""

import csv
import io
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from repurchase.i18n.catalogues import use_locale
from repurchase.i18n.formatting import format_count, format_day, format_money, format_share
from repurchase.models.segments import REGULAR, SLIPPING
from repurchase.report import charts
from repurchase.report.page import build_report

LOCALES = ("en", "nb", "nl", "ru")
EVIL = '=HYPERLINK("http://evil.example";"<b>look</b>")'
A4_WIDTH = 688  # pixels of 182 mm, between the page's margins


def ids(page: Any) -> list[str]:
    return page.locator("#people tbody th").all_inner_texts()


def saved(page: Any, folder: Path) -> tuple[str, str]:
    with page.expect_download() as waiting:
        page.get_by_role("button", name=re.compile("CSV")).click()
    target = folder / waiting.value.suggested_filename
    waiting.value.save_as(target)
    return target.name, target.read_bytes().decode("utf-8")


@pytest.mark.parametrize("locale", LOCALES)
def test_nothing_leaves_the_page_and_nothing_is_refused(visit: Any, pages: dict[str, Path], locale: str) -> None:
    page = visit(locale)
    page.locator("#search").fill("c00")
    page.locator("#people tbody th button").first.click()
    assert page.asked == [pages[locale].as_uri()]
    assert page.complaints == []
    assert page.locator("html").get_attribute("lang") == locale


def test_a_foreign_script_does_not_run(visit: Any, pages: dict[str, Path], tmp_path: Path) -> None:
    spoiled = tmp_path / "spoiled.html"
    spoiled.write_text(pages["en"].read_text().replace("</main>", "<script>document.title = 'evil'</script></main>"))
    page = visit(file=spoiled)
    assert page.title() != "evil"
    assert "Content Security Policy" in " ".join(page.complaints)


@pytest.mark.parametrize("locale", LOCALES)
def test_the_script_writes_what_the_page_says_without_it(visit: Any, locale: str) -> None:
    without = visit(locale, java_script_enabled=False).locator("#people tbody").inner_text()
    assert visit(locale).locator("#people tbody").inner_text() == without


@pytest.mark.parametrize("locale", ["en", "ru"])
def test_the_list_begins_with_those_whom_the_headline_names(
    visit: Any, shop: pl.DataFrame, record: dict[str, Any], tmp_path: Path, locale: str
) -> None:
    silent = (pl.col("frequency") > 0) & (pl.col("segment") == REGULAR)
    untold = pl.lit("lowers risk: 12 purchases in the last year").alias("reason_1")
    some = shop.with_columns(untold, segment=pl.when(silent).then(pl.lit(SLIPPING)).otherwise("segment"))
    file = tmp_path / "page.html"
    file.write_text(build_report(some, record, locale=locale), encoding="utf-8")
    page = visit(locale, file=file)

    slipping = some.filter(pl.col("segment") == SLIPPING).sort("value_at_risk", "customer_id", descending=[True, False])
    assert ids(page) == slipping["customer_id"].to_list()[:50]
    first = slipping.row(0, named=True)
    why = page.locator("#people tbody tr").first.locator("td").nth(5).inner_text().splitlines()[0]
    gap = int(first["recency_days"] / first["frequency"] + 0.5)
    mean = [str(gap)] if gap < first["days_since_last"] else []
    assert re.findall(r"\d+", why) == [str(first["days_since_last"]), *mean]
    if locale == "en":
        assert why.startswith(f"silent for {first['days_since_last']} days, longer than usual for this customer")
    assert first["customer_id"] in page.locator("#story-heading").inner_text()
    page.locator("#by-segment").select_option(value="")
    assert (
        page.locator("#people tbody").inner_text()
        == visit(locale, file=file, java_script_enabled=False).locator("#people tbody").inner_text()
    )


def test_sorting(visit: Any, shop: pl.DataFrame) -> None:
    page = visit()
    by_risk = shop.sort(["value_at_risk", "customer_id"], descending=[True, False])["customer_id"].to_list()
    assert ids(page) == by_risk[:50]
    heading = page.get_by_role("columnheader", name=re.compile("Chance to buy"))
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    place = {name: row for row, name in enumerate(by_risk)}
    shares = dict(shop.select("customer_id", (pl.col("p_repurchase_90d") * 1e4).round()).iter_rows())
    assert ids(page) == sorted(by_risk, key=lambda name: (-shares[name], place[name]))[:50]
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert ids(page) == sorted(by_risk, key=lambda name: (shares[name], place[name]))[:50]
    assert page.locator("[aria-sort]").count() == 1


def test_searching_and_filtering(visit: Any, shop: pl.DataFrame) -> None:
    page = visit()
    page.locator("#by-segment").select_option(label="lost")
    lost = shop.filter(pl.col("segment") == "lost")
    assert page.locator("#count").inner_text() == f"1–50 of {lost.height}"
    page.locator("#by-risk").select_option(label="high")
    page.locator("#search").fill("C001")
    found = set(
        lost.filter(pl.col("customer_id").str.starts_with("c001"), pl.col("risk_band") == "high")["customer_id"]
    )
    assert found
    assert set(ids(page)) == found
    page.locator("#search").fill("steady rhythm")
    assert page.locator("#count").inner_text().endswith(f"of {lost.height}")
    page.locator("#search").fill("nobody is called so")
    assert page.locator("#nobody").is_visible()
    assert page.locator("#count").inner_text() == "0–0 of 0"


def test_turning_pages(visit: Any, shop: pl.DataFrame) -> None:
    page = visit()
    seen = ids(page)
    assert page.get_by_role("button", name="Previous").is_disabled()
    while page.get_by_role("button", name="Next").is_enabled():
        page.get_by_role("button", name="Next").click()
        seen += ids(page)
    assert sorted(seen) == sorted(shop["customer_id"])


def test_saving(visit: Any, shop: pl.DataFrame, tmp_path: Path) -> None:
    name, text = saved(visit(), tmp_path)
    rows = list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))
    assert name == "customers.csv"
    assert text.startswith("\ufeff")
    assert len(rows) == shop.height
    evil = [row for row in rows if "HYPERLINK" in row["Customer"]]
    assert [row["Customer"] for row in evil] == [f"'{EVIL}"]
    known = {row["customer_id"]: row for row in shop.iter_rows(named=True)}
    for row in rows[:20]:
        its = known[row["Customer"].removeprefix("'")]
        assert row["Last bought"] == its["last_order_date"].isoformat()
        assert float(row["Value at risk"]) == round(its["value_at_risk"])
        assert float(row["Chance to buy, within 90 days"]) == pytest.approx(its["p_repurchase_90d"], abs=1e-4)


def test_saving_what_is_left_with_the_marks_of_the_language(visit: Any, shop: pl.DataFrame, tmp_path: Path) -> None:
    page = visit("nb")
    page.locator("#by-segment").select_option(label="tapt")
    name, text = saved(page, tmp_path)
    rows = list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff")), delimiter=";"))
    assert name == "kunder.csv"
    assert len(rows) == shop.filter(pl.col("segment") == "lost").height
    assert re.fullmatch(r"0,\d{4}", rows[0]["Sjanse for kjøp, innen 90 dager"])


@pytest.mark.parametrize("locale", LOCALES)
def test_no_screen_scrolls_sideways(visit: Any, locale: str) -> None:
    page = visit(locale, width=320)
    assert page.locator("#people tbody th").count() == 15
    for width in (320, 390, 800, 1000, 1200):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, width


@pytest.mark.parametrize("locale", LOCALES)
def test_paper_cuts_nothing_off(visit: Any, locale: str) -> None:
    page = visit(locale, width=A4_WIDTH)
    page.emulate_media(media="print")
    too_wide = (
        "[...document.querySelectorAll('main *')].filter((e) => e.getBoundingClientRect().right > innerWidth + 1)"
    )
    assert page.evaluate(f"{too_wide}.map((e) => e.outerHTML.slice(0, 80))") == []
    assert not page.locator("#controls").is_visible()
    assert page.locator("#people thead").bounding_box()["height"] > 0
    tops = page.evaluate("[...document.querySelectorAll('#people tbody tr:first-child td')].map((e) => e.offsetTop)")
    assert len(set(tops)) == 1  # a table on paper, not the cards of a phone
    assert page.locator("details dl").first.is_visible()
    drawn = page.pdf(format="A4")
    assert drawn.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", drawn)) > 3


@pytest.mark.parametrize("locale", LOCALES)
def test_axe_finds_no_violation_in_light_and_dark(visit: Any, axe: str, locale: str) -> None:
    page = visit(locale, color_scheme="light")
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    page.evaluate(axe)
    everything = page.evaluate("axe.run({ resultTypes: ['violations'] })")
    page.emulate_media(color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    in_the_dark = page.evaluate("axe.run({ runOnly: ['color-contrast'] })")
    for found in (everything, in_the_dark):
        violations = [(one["id"], [node["html"][:120] for node in one["nodes"]][:3]) for one in found["violations"]]
        assert violations == []
    assert len(everything["passes"]) > 20
    assert [one["id"] for one in in_the_dark["passes"]] == ["color-contrast"]


def press_until(page: Any, wanted: str, *, key: str = "Tab", at_most: int = 60) -> None:
    for _ in range(at_most):
        page.keyboard.press(key)
        if page.evaluate("(wanted) => document.activeElement.matches(wanted)", wanted):
            return
    pytest.fail(f"{wanted} is not reached by {key}")


def test_keyboard_alone(visit: Any) -> None:
    page = visit()
    press_until(page, "nav a")
    press_until(page, "#search")
    page.keyboard.type("c0007")
    press_until(page, "#export")
    press_until(page, "th[data-key='id'] button")
    page.keyboard.press("Enter")
    assert page.locator("th[data-key='id']").get_attribute("aria-sort") == "ascending"
    press_until(page, "#people tbody button")
    page.keyboard.press("Enter")
    assert page.locator("#story-heading").inner_text() == "The story of c0007"
    assert page.evaluate("document.activeElement.id") == "story-heading"
    press_until(page, "#back")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.textContent") == "c0007"


def test_a_story(visit: Any, shop: pl.DataFrame) -> None:
    page = visit()
    row = shop.filter(pl.col("frequency") > 1).row(0, named=True)
    page.locator("#whose").fill(row["customer_id"].upper())
    page.get_by_role("button", name="Show").click()
    told = page.locator("#told").inner_text().replace("\u202f", " ").replace("\u00a0", " ")
    for when in (row["first_order_date"], row["last_order_date"]):
        assert format_day(when, short=True) in told
    assert format_share(row["p_repurchase_90d"]).replace("\u202f", " ").replace("\u00a0", " ") in told
    assert format_money(row["clv"], "GBP").replace("\u202f", " ").replace("\u00a0", " ") in told
    assert "steady rhythm, about every 21 days" in told
    assert page.locator("#told svg circle").count() == 2
    page.locator("#whose").fill("a stranger")
    page.get_by_role("button", name="Show").click()
    assert "There is no such customer" in page.locator("#told").inner_text()


def test_fifty_thousand_customers(
    visit: Any, shop: pl.DataFrame, record: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(charts, "to_svg", lambda picture: "<svg></svg>")
    many = pl.concat([shop] * 170).with_columns(
        customer_id=pl.format("customer-{}", pl.int_range(pl.len())),
        reason_1=pl.format("raises risk: last order {} days ago, usually every 21 days", pl.int_range(pl.len()) % 400),
    )
    file = tmp_path / "many.html"
    file.write_text(build_report(many, record), encoding="utf-8")
    assert file.stat().st_size < 6_000_000
    page = visit(file=file)
    assert page.locator("#count").inner_text() == "1–50 of 50,000"
    assert "of 51,000" in page.locator("#customers").inner_text()
    page.locator("th[data-key='id'] button").click()
    assert ids(page)[0] == many.sort("value_at_risk", descending=True).head(50_000)["customer_id"].sort()[0]
    page.locator("#search").fill("customer-4999")
    assert page.locator("#count").inner_text() == "1–11 of 11"


@pytest.mark.parametrize("locale", LOCALES)
def test_numbers_and_days_as_the_browser_writes_them(visit: Any, locale: str) -> None:
    page = visit(locale)

    def plain(text: str) -> str:
        return re.sub(r"\s", "", text)

    def intl(what: str) -> str:
        return plain(page.evaluate(f"(locale) => {what}", locale))

    with use_locale(locale):
        assert plain(format_count(1234567)) == intl("new Intl.NumberFormat(locale).format(1234567)")
        assert plain(format_share(0.34)) == intl("new Intl.NumberFormat(locale, { style: 'percent' }).format(0.34)")
        whole = "{ style: 'currency', currency: 'EUR', maximumFractionDigits: 0 }"
        assert plain(format_money(12345, "EUR")) == intl(f"new Intl.NumberFormat(locale, {whole}).format(12345)")
        for month in range(1, 13):
            when = f"new Date(2011, {month - 1}, 9)"
            long = intl(f"{when}.toLocaleDateString(locale === 'en' ? 'en-GB' : locale, {{ dateStyle: 'long' }})")
            assert plain(format_day(f"2011-{month:02d}-09")) == long
            short = "{ day: 'numeric', month: 'short', year: 'numeric' }"
            found = intl(f"{when}.toLocaleDateString(locale === 'en' ? 'en-GB' : locale, {short})")
            shown = plain(format_day(f"2011-{month:02d}-09", short=True))
            assert shown.replace("Sept", "Sep") == found.replace("Sept", "Sep")
