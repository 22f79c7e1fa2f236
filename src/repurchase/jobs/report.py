"""`repurchase report`: the page of a scores file, with the purchases of the customers it lists."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import polars as pl

from repurchase.errors import BundleError, InputError, LayoutError
from repurchase.features.history import MONEY_SCALE
from repurchase.features.ledger import build_ledger_from_clean
from repurchase.i18n.catalogues import use_locale
from repurchase.jobs.customer_lists import Pseudonymizer
from repurchase.jobs.order_intake import with_model_settings, workspace
from repurchase.jobs.outputs import local_inputs, read_scored_run, scores_inputs
from repurchase.jobs.products import ProductHistory, ProductPartition
from repurchase.marketing.products import most_likely_due
from repurchase.marketing.repeat_business import BENCHMARK_FILES
from repurchase.orders.log import OrderLog, open_orders
from repurchase.orders.pipeline import clean_log
from repurchase.registry.bundle import read_manifest
from repurchase.registry.champion import resolve_version
from repurchase.report.customer_list import PurchaseDetails, listed_customers, max_days_drawn
from repurchase.report.page import write_report
from repurchase.settings import Settings
from repurchase.sources.locations import DatabaseSource
from repurchase.storage.delivery import (
    PAGE_OUTPUT,
    require_distinct_paths,
    require_outside_registry,
    require_replaceable,
)
from repurchase.storage.run_records import ScoredRun

_COMPANION_COLUMNS = ("goes_with", "relation", "share", "lift", "support")


def report(
    scores: Path,
    out: Path,
    *,
    settings: Settings,
    locale: str = "en",
    campaigns: Path | None = None,
    orders: str | DatabaseSource | None = None,
) -> Path:
    """Make the page of a scores file."""
    bought = None
    require_outside_registry(out, home=settings.home)
    require_distinct_paths(
        [out], [*scores_inputs(scores), *map(scores.with_name, BENCHMARK_FILES), *local_inputs(orders)]
    )
    require_replaceable({out: PAGE_OUTPUT})
    if orders is not None:
        with use_locale(locale):  # an unknown one is refused before orders are read
            facts = read_scored_run(scores)[0]
        bought = find_purchases(facts, orders, settings=settings, name=str(scores))
    return write_report(scores, out, locale=locale, campaigns=campaigns, bought=bought)


def find_purchases(
    facts: ScoredRun, orders: str | DatabaseSource, *, settings: Settings, name: str = "scores"
) -> PurchaseDetails | None:
    """Read the purchases and products of the customers that a page lists."""
    as_of, listed = facts.as_of, listed_customers(facts)
    if as_of is None:
        return None
    pseudonymizer = Pseudonymizer.of_record(facts.run, name=name)
    settings = _with_scoring_settings(settings, facts)
    known, wanted = facts.scored["customer_id"].implode(), listed["customer_id"].implode()
    days, goods, seen = [], [], _OverlapCheck()
    with workspace() as folder:
        log = _open_log(orders, settings, facts, folder)
        hashed = pseudonymizer.orders(log) if pseudonymizer else log
        cleaner, cleaned = clean_log(hashed, settings=settings, folder=folder / "rows")
        for lines in cleaned:
            seen.add(lines.kept, known, as_of)
            days.append(_purchase_days(lines.kept, wanted, as_of, has_amounts=cleaner.rules.has_amounts))
            if "product_id" in log.layout.columns:
                goods.append(ProductPartition.of(lines, as_of))
    if facts.scored.height:
        seen.require(log, facts.scored["customer_id"], as_of, name)
    return _purchases_of(pl.concat(days), goods, wanted, as_of, changed=_orders_changed(facts, log))


@dataclass
class _OverlapCheck:
    """Whom the orders know: any, of the scores, and of these by the scores' day."""

    first: date | None = None
    example: str | None = None
    n_known: int = 0
    n_by_scores_day: int = 0

    def add(self, kept: pl.DataFrame, known: pl.Series, as_of: date) -> None:
        if not kept.height:
            return
        begin = kept.select(pl.col("order_date").dt.date().min()).item()
        self.first = min(self.first or begin, begin)
        self.example = self.example or str(kept["customer_id"].min())
        own = kept.filter(pl.col("customer_id").is_in(known))
        self.n_known += own["customer_id"].n_unique()
        self.n_by_scores_day += own.filter(pl.col("order_date").dt.date() <= as_of)["customer_id"].n_unique()

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
        if not self.n_by_scores_day:
            raise InputError(
                f"{log.source}: begins on {self.first}, and none of the {len(known):,} customers of {name} bought "
                f"anything by {as_of}, the day of the scores. {advice}"
            )


def _with_scoring_settings(settings: Settings, facts: ScoredRun) -> Settings:
    """Fill up settings with those of the scores' model, where the home folder holds that very one."""
    try:
        manifest = read_manifest(resolve_version(settings.home, str(facts.run.get("model_version"))))
    except BundleError:
        return settings
    is_same = facts.run.get("model_as_of") == manifest.get("as_of")
    return with_model_settings(settings, manifest.get("settings", {})) if is_same else settings


def _open_log(orders: str | DatabaseSource, settings: Settings, facts: ScoredRun, folder: Path) -> OrderLog:
    """Open the log; columns neither given nor recognised are those of the run."""
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


def _purchase_days(orders: pl.DataFrame, wanted: pl.Series, as_of: date, *, has_amounts: bool) -> pl.DataFrame:
    """Purchase days as the scores count them: days whose sales, less what was returned of them, are above zero."""
    known = pl.col("order_date").dt.date() <= as_of
    kept = orders.filter(known & pl.col("customer_id").is_in(wanted))
    if not kept.height:
        return pl.DataFrame(schema={"customer_id": pl.String, "day": pl.Date, "money": pl.Float64})
    ledger = replace(build_ledger_from_clean(kept, observed_until=as_of), has_amounts=has_amounts)
    history = ledger.history(as_of)
    money = pl.Series(history.spend / MONEY_SCALE) if has_amounts else pl.Series([None] * len(history.day))
    return pl.DataFrame(
        {
            "customer_id": ledger.ids.gather(history.customer[history.customer_index]),
            "day": pl.Series(history.day).cast(pl.Int32).cast(pl.Date),
            "money": money.cast(pl.Float64),
        }
    )


def _orders_changed(facts: ScoredRun, log: OrderLog) -> bool:
    """A cluster digests files by name and time, so that its digests are of no use here."""
    recorded = (facts.run.get("orders") or {}).get("digest")
    engine = (facts.run.get("engine") or {}).get("engine", "local")
    return bool(recorded) and engine == "local" and recorded != log.digest


def _purchases_of(
    days: pl.DataFrame, goods: Sequence[ProductPartition], wanted: pl.Series, as_of: date, *, changed: bool
) -> PurchaseDetails:
    counts = days.group_by("customer_id", maintain_order=True).agg(n=pl.len())
    most = max_days_drawn(counts["n"])
    drawn = days.sort("customer_id", "day").group_by("customer_id", maintain_order=True).tail(most)
    more = counts.filter(pl.col("n") > most).select("customer_id", pl.col("n") - most)
    shelf = ProductHistory(goods, as_of)
    bought = PurchaseDetails(drawn, dict(more.iter_rows()), within_days=shelf.within_days, changed=changed)
    if not goods or not shelf.gaps.height:
        return bought
    due = most_likely_due(shelf.due_soon).filter(pl.col("customer_id").is_in(wanted))
    goes_with = shelf.companions(pl.concat([shelf.rhythm["product_id"], due["product_id"]]).unique())
    companions = goes_with.with_columns(_product_names(shelf, "goes_with")).select("product_id", *_COMPANION_COLUMNS)

    def named(rows: pl.DataFrame) -> pl.DataFrame:
        joined = rows.join(companions, on="product_id", how="left", maintain_order="left")
        return joined.with_columns(_product_names(shelf, "product_id").alias("name"))

    return replace(bought, products=named(shelf.rhythm), due=named(due))


def _product_names(shelf: ProductHistory, column: str) -> pl.Expr:
    return pl.col(column).replace_strict(shelf.called, default=None, return_dtype=pl.String)
