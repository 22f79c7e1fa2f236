"""From a scores file to the page; with the orders it was made from, every purchase of the customers listed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import polars as pl

from repurchase.errors import BundleError, InputError, LayoutError
from repurchase.features.history import MONEY
from repurchase.features.ledgers import ledger_of
from repurchase.jobs.intake import settings_of, workspace
from repurchase.jobs.outputs import files_read, scores_read
from repurchase.jobs.products.goods import GoodsPart, Shelf
from repurchase.jobs.products.lines import CleanLines, clean_lines
from repurchase.marketing.refill import likeliest_due
from repurchase.marketing.yardsticks import YARDSTICKS
from repurchase.orders.addresses import DatabaseSource
from repurchase.orders.pseudonyms import key_of, veiled
from repurchase.orders.sources import OrderLog, open_orders
from repurchase.registry.bundle import read_manifest
from repurchase.registry.champion import resolve
from repurchase.report.language import speaking
from repurchase.report.page import write_report
from repurchase.report.people import listed_customers
from repurchase.report.purchases import Bought, drawn_at_most
from repurchase.report.reading import Facts, gather, one_run, read_run, read_scores
from repurchase.settings import Settings
from repurchase.storage.outputs import page, require_apart, require_outputs, require_outside_registry

__all__ = ["find_purchases", "report"]

_COMPANION = ("goes_with", "relation", "share", "lift", "support")


def report(
    scores: Path,
    out: Path,
    *,
    settings: Settings,
    locale: str = "en",
    campaigns: Path | None = None,
    orders: str | DatabaseSource | None = None,
) -> Path:
    """Make the page of a scores file.

    Parameters
    ----------
    scores, out, locale, campaigns
        As for ``report.page.write_report``.
    settings : Settings
        How to read the orders.
    orders : str or DatabaseSource, optional
        Those that the scores were made from: every purchase is drawn then, and products are told of.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    InputError
        If any input is at fault; nothing is written.
    DeliveryError
        If the page cannot be written there.
    """
    bought = None
    require_outside_registry(out, home=settings.home)
    require_apart([out], [*scores_read(scores), scores.with_name(YARDSTICKS), *files_read(orders)])
    require_outputs({out: page})
    if orders is not None:
        with speaking(locale):  # an unknown one is refused before orders are read
            facts = one_run(gather(read_scores(scores), read_run(scores)[0], name=str(scores)), name=str(scores))
        bought = find_purchases(facts, orders, settings=settings, name=str(scores))
    return write_report(scores, out, locale=locale, campaigns=campaigns, bought=bought)


def find_purchases(
    facts: Facts, orders: str | DatabaseSource, *, settings: Settings, name: str = "scores"
) -> Bought | None:
    """Read the purchases and products of the customers that a page lists.

    Parameters
    ----------
    facts : Facts
        Scores and run.
    orders : str or DatabaseSource
        Those that the scores were made from.
    settings : Settings
        How to read and clean; what the model's orders were cleaned with, and the run's columns, fill it up.
    name : str
        What a message calls the scores.

    Returns
    -------
    Bought or None
        Up to the scores' day; None where the scores hold no customer.

    Raises
    ------
    InputError
        If the orders cannot be read, or none of the customers with scores bought anything in them by the scores' day.
    """
    as_of, listed = facts.as_of, listed_customers(facts)
    if as_of is None:
        return None
    mark = facts.run.get("pseudonyms")
    key = key_of(mark, what=name) if mark else None
    told = _as_scored(settings, facts)
    known, wanted = facts.scored["customer_id"].implode(), listed["customer_id"].implode()
    days, goods, seen = [], [], _Seen()
    with workspace() as folder:
        log = _opened(orders, told, facts, folder)
        for lines in clean_lines(veiled(log, key) if key else log, settings=told, folder=folder):
            seen.add(lines.kept, known, as_of)
            days.append(_purchase_days(lines, wanted, as_of))
            if "product_id" in log.layout.columns:
                goods.append(GoodsPart.of(lines, as_of))
    if facts.scored.height:
        seen.require(log, facts.scored["customer_id"], as_of, name)
    return _bought(pl.concat(days), goods, wanted, as_of, changed=_is_changed(facts, log))


@dataclass
class _Seen:
    """Whom the orders know: any, of the scores, and of these by the scores' day."""

    first: date | None = None
    example: str | None = None
    n_known: int = 0
    n_by_then: int = 0

    def add(self, kept: pl.DataFrame, known: pl.Series, as_of: date) -> None:
        if not kept.height:
            return
        begin = kept.select(pl.col("order_date").dt.date().min()).item()
        self.first = min(self.first or begin, begin)
        self.example = self.example or str(kept["customer_id"].min())
        own = kept.filter(pl.col("customer_id").is_in(known))
        self.n_known += own["customer_id"].n_unique()
        self.n_by_then += own.filter(pl.col("order_date").dt.date() <= as_of)["customer_id"].n_unique()

    def require(self, log: OrderLog, known: pl.Series, as_of: date, name: str) -> None:
        advice = "Give the orders that the scores were made from."
        if self.first is None:
            raise InputError(f"{log.source}: none of its {log.n_rows:,} rows is a sale that can be used. {advice}")
        if not self.n_known:
            shown = f"'{self.example}' there, '{known[0]}' in the scores"
            raise InputError(
                f"{log.source}: of another shop? None of the {len(known):,} customers of {name} is in these orders "
                f"({shown}). {advice}",
                withheld=shown,
            )
        if not self.n_by_then:
            raise InputError(
                f"{log.source}: begins on {self.first}, and none of the {len(known):,} customers of {name} bought "
                f"anything by {as_of}, the day of the scores. {advice}"
            )


def _as_scored(settings: Settings, facts: Facts) -> Settings:
    """Fill up settings with those of the scores' model, where the home folder holds that very one."""
    try:
        manifest = read_manifest(resolve(settings.home, str(facts.run.get("model_version"))))
    except BundleError:
        return settings
    is_same = facts.run.get("model_as_of") == manifest.get("as_of")
    return settings_of(settings, manifest.get("settings", {})) if is_same else settings


def _opened(orders: str | DatabaseSource, settings: Settings, facts: Facts, folder: Path) -> OrderLog:
    """Open the log; columns that nobody told and no name gives away are those of the run."""
    spool = folder / "spool"
    spool.mkdir(parents=True)
    try:
        return open_orders(orders, settings=settings, spool=spool)
    except LayoutError as fault:
        recorded = (facts.run.get("orders") or {}).get("columns")
        if settings.columns or not recorded:
            raise
        try:
            return open_orders(orders, settings=replace(settings, columns=recorded), spool=spool)
        except LayoutError:
            raise fault from None


def _purchase_days(lines: CleanLines, wanted: pl.Series, as_of: date) -> pl.DataFrame:
    """Purchase days as the scores count them: days whose sales, less what was returned of them, are above zero."""
    known = pl.col("order_date").dt.date() <= as_of
    kept = lines.kept.filter(known & pl.col("customer_id").is_in(wanted))
    if not kept.height:
        return pl.DataFrame(schema={"customer_id": pl.String, "day": pl.Date, "money": pl.Float64})
    book = replace(ledger_of(kept, observed_until=as_of), has_amounts=lines.has_amounts)
    history = book.history(as_of)
    money = pl.Series(history.spend / MONEY) if lines.has_amounts else pl.Series([None] * len(history.day))
    return pl.DataFrame(
        {
            "customer_id": book.ids.gather(history.customer[history.place]),
            "day": pl.Series(history.day).cast(pl.Int32).cast(pl.Date),
            "money": money.cast(pl.Float64),
        }
    )


def _is_changed(facts: Facts, log: OrderLog) -> bool:
    """A cluster digests files by name and time, so that its digests are of no use here."""
    recorded = (facts.run.get("orders") or {}).get("digest")
    engine = (facts.run.get("engine") or {}).get("engine", "local")
    return bool(recorded) and engine == "local" and recorded != log.digest


def _bought(days: pl.DataFrame, goods: Sequence[GoodsPart], wanted: pl.Series, as_of: date, *, changed: bool) -> Bought:
    counts = days.group_by("customer_id", maintain_order=True).agg(n=pl.len())
    most = drawn_at_most(counts["n"])
    drawn = days.sort("customer_id", "day").group_by("customer_id", maintain_order=True).tail(most)
    more = counts.filter(pl.col("n") > most).select("customer_id", pl.col("n") - most)
    shelf = Shelf(goods, as_of)
    bought = Bought(drawn, dict(more.iter_rows()), within_days=shelf.within_days, changed=changed)
    if not goods or not shelf.gaps.height:
        return bought
    due = likeliest_due(shelf.due_soon).filter(pl.col("customer_id").is_in(wanted))
    goes_with = shelf.companions(pl.concat([shelf.rhythm["product_id"], due["product_id"]]).unique())
    told = goes_with.with_columns(_called(shelf, "goes_with")).select("product_id", *_COMPANION)

    def named(rows: pl.DataFrame) -> pl.DataFrame:
        joined = rows.join(told, on="product_id", how="left", maintain_order="left")
        return joined.with_columns(_called(shelf, "product_id").alias("name"))

    return replace(bought, products=named(shelf.rhythm), due=named(due))


def _called(shelf: Shelf, column: str) -> pl.Expr:
    return pl.col(column).replace_strict(shelf.called, default=None, return_dtype=pl.String)
