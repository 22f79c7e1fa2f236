"""An order log's lines after cleaning, customers by customers: all at once, or partition by partition from disk."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from repurchase.orders.cleaning import clean_rows, today_in
from repurchase.orders.policy import rulings
from repurchase.orders.sources import OrderLog
from repurchase.orders.spill import decisive_columns, partition_bounds, partitions_of, spill_rows, survey_rows
from repurchase.orders.survey import Survey
from repurchase.orders.values import read_values
from repurchase.orders.vocabulary import plain
from repurchase.settings import Settings

__all__ = ["CleanLines", "clean_lines"]


@dataclass(frozen=True)
class CleanLines:
    """All lines of some customers.

    Parameters
    ----------
    raw : DataFrame
        Rows of the export.
    kept : DataFrame
        Sales and netted returns (see ``cleaning.Judged``); ``row`` is the place in ``raw``.
    has_amounts : bool
        Whether the log knows money.
    """

    raw: pl.DataFrame
    kept: pl.DataFrame
    has_amounts: bool

    def text(self, *names: str) -> pl.Series:
        """Read a column that has no role, by its name.

        Parameters
        ----------
        *names : str
            Plain names (see ``vocabulary.plain``), the better one first.

        Returns
        -------
        Series of str
            One value per kept line; null where no column has such a name.
        """
        by_name = {plain(column): column for column in reversed(self.raw.columns)}
        column = next((by_name[name] for name in names if name in by_name), None)
        if column is None:
            return pl.repeat(None, self.kept.height, dtype=pl.String, eager=True)
        return self.raw[column].cast(pl.String).gather(self.kept["row"])


def clean_lines(log: OrderLog, *, settings: Settings, folder: Path) -> Iterator[CleanLines]:
    """Read and clean a log once, with memory for one partition of its customers.

    Parameters
    ----------
    log : OrderLog
        As opened.
    settings : Settings
        How to read and clean, and the memory there is.
    folder : Path
        For what does not fit into memory.

    Yields
    ------
    CleanLines
        Each customer's lines stand in one of them.
    """
    layout, source, today = log.layout, log.source, today_in(settings)
    needed = partitions_of(log, settings=settings)
    if needed == 1:
        raw = log.read()
        forms = Survey.of(raw, layout).decide(layout, settings=settings, source=source)
        reading = read_values(raw, layout, forms, settings=settings)
        ruled = rulings(reading.facts, layout, settings=settings, source=source, today=today)
        yield CleanLines(raw, clean_rows(raw, reading, layout, ruled, settings=settings).kept, ruled.has_amounts)
        return
    survey, ids = survey_rows(log.batches(decisive_columns(log.schema, layout)), layout)
    forms = survey.decide(layout, settings=settings, source=source)
    bounds = partition_bounds(ids, partitions=needed)
    spill, facts = spill_rows(log.batches(), layout, forms, bounds, folder / "rows", settings=settings)
    ruled = rulings(facts, layout, settings=settings, source=source, today=today)
    for number in spill:
        raw = spill.rows(number)
        spill.remove(number)
        reading = read_values(raw, layout, forms, settings=settings)
        yield CleanLines(raw, clean_rows(raw, reading, layout, ruled, settings=settings).kept, ruled.has_amounts)
