"""How an export writes its dates and numbers: decided per file by all of its rows, however they are split."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import polars as pl

from repurchase.errors import OrdersError, first_few
from repurchase.orders.amounts import COMMA_NOTE, NumberEvidence, NumberForm
from repurchase.orders.currencies import different_currencies
from repurchase.orders.date_formats import DateEvidence, DateForm, as_text
from repurchase.orders.layouts import FILE_COLUMN, Layout
from repurchase.settings import Settings

__all__ = ["NUMBERS", "Forms", "Survey", "surveyed_columns", "written_dates"]

NUMBERS = ("amount", "order_total", "adjusted_total", "refunded", "price", "quantity", "line_discount", "discount")
"""Roles whose columns hold numbers."""
Key = TypeVar("Key")
Evidence = TypeVar("Evidence", DateEvidence, NumberEvidence)
_MONEY = ("amount", "order_total", "adjusted_total", "price", "refunded")


@dataclass(frozen=True)
class Forms:
    """How the columns are to be read.

    Parameters
    ----------
    dates : DateForm
        Of the order dates.
    numbers : mapping of str to NumberForm
        Of each role that has a column of numbers.
    notes : tuple of str
        What had to be decided, in words.
    dates_by_file : mapping of int to DateForm
        Of files whose dates are written otherwise.
    numbers_by_file : mapping of (str, int) to NumberForm
        The same of numbers, by role and file.
    has_swappable_dates : bool
        Whether day and month of a date could change places.
    """

    dates: DateForm
    numbers: Mapping[str, NumberForm]
    notes: tuple[str, ...] = ()
    dates_by_file: Mapping[int, DateForm] = field(default_factory=dict)
    numbers_by_file: Mapping[tuple[str, int], NumberForm] = field(default_factory=dict)
    has_swappable_dates: bool = False


@dataclass(frozen=True)
class Survey:
    """What some rows say about how the columns are written; adds up over any split of the rows.

    Parameters
    ----------
    dates : mapping of int to DateEvidence
        Of the order dates, by file.
    numbers : mapping of (str, int) to NumberEvidence
        Of each role that has a column of numbers, by file.
    """

    dates: Mapping[int, DateEvidence] = field(default_factory=dict)
    numbers: Mapping[tuple[str, int], NumberEvidence] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: pl.DataFrame, layout: Layout) -> "Survey":
        """Look at some rows.

        Parameters
        ----------
        rows : DataFrame
            Of the export, with at least its `surveyed_columns`; others leave nothing to decide.
        layout : Layout
            Which column is which.

        Returns
        -------
        Survey
            Their evidence.
        """
        columns = {role: layout.columns[role] for role in NUMBERS if role in layout.columns}
        found = cls()
        for number, part in _by_file(rows):
            dates = written_dates(part, layout) if layout.columns["order_date"] in part.columns else None
            found += cls(
                {number: DateEvidence.of(dates)} if dates is not None else {},
                {
                    (role, number): NumberEvidence.of(part[column])
                    for role, column in columns.items()
                    if column in part.columns
                },
            )
        return found

    def __add__(self, other: "Survey") -> "Survey":
        return Survey(_added(self.dates, other.dates), _added(self.numbers, other.numbers))

    def decide(self, layout: Layout, *, settings: Settings, source: str) -> Forms:
        """Decide how to read the columns.

        Parameters
        ----------
        layout : Layout
            Which column is which.
        settings : Settings
            Time zone, order of day and month, and decimal mark.
        source : str
            What a message calls the log.

        Returns
        -------
        Forms
            The same for the same rows, however they were split. A file that leaves its order of day and month or its
            decimal mark open is read as the other files are.

        Raises
        ------
        OrdersError
            If day and month can change places, or a number can be read in two ways, and nothing decides.
        """
        dates = self._date_forms(layout, settings=settings, source=source)
        common = Counter(_bare_form(form) for form in dates.values()).most_common(1)
        main = (
            next((form for form in dates.values() if _bare_form(form) == common[0][0]), DateForm())
            if common
            else DateForm()
        )
        different = {number: form for number, form in dates.items() if _bare_form(form) != _bare_form(main)}
        self._require_one_currency(layout, source)
        numbers, by_file = self._number_forms(layout, settings=settings, source=source)
        commas = (
            f"In '{layout.columns[role]}' {COMMA_NOTE}." for role, form in numbers.items() if form.mark == "comma"
        )
        said = Counter(note for form in dates.values() for note in form.notes)
        notes = [
            note if files == len(dates) else f"{note.removesuffix('.')} ({files} of {len(dates)} files)."
            for note, files in said.items()
        ]
        notes += commas
        if different:
            notes.append(
                f"{len(different)} of {len(dates)} files write their dates differently; each is read as it shows."
            )
        if by_file:
            files = len({number for _, number in by_file})
            notes.append(f"{files} of {len(dates)} files write their numbers differently; each is read as it shows.")
        swappable = any(evidence.pairs for evidence in self.dates.values())
        return Forms(main, numbers, tuple(dict.fromkeys(notes)), different, by_file, swappable)

    def _date_forms(self, layout: Layout, *, settings: Settings, source: str) -> dict[int, DateForm]:
        together = sum(self.dates.values(), DateEvidence())
        return {
            number: evidence.decide(
                column=layout.columns["order_date"],
                source=source,
                timezone=settings.timezone,
                date_order=settings.date_order,
                folder=together if len(self.dates) > 1 else None,
            )
            for number, evidence in sorted(self.dates.items())
        }

    def _require_one_currency(self, layout: Layout, source: str) -> None:
        """Refuse amounts with the signs of several currencies; a column of currencies is looked at later."""
        for role in _MONEY if "currency" not in layout.columns else ():
            of_role = [evidence for (known, _), evidence in self.numbers.items() if known == role]
            found = sum(of_role, NumberEvidence()).currencies
            different = different_currencies(found)
            if different:
                shown = first_few(f"{currency} ({found[currency]:,} rows)" for currency in different)
                raise OrdersError(
                    f"{source}: the amounts in '{layout.columns[role]}' are in {len(different)} currencies: {shown}. "
                    "Money of two currencies cannot be added. Convert it before, or write the currency into a column "
                    "of its own and keep one: currency = '...' in repurchase.toml.",
                    withheld=shown,
                )

    def _number_forms(
        self, layout: Layout, *, settings: Settings, source: str
    ) -> tuple[dict[str, NumberForm], dict[tuple[str, int], NumberForm]]:
        forms = {role: NumberForm() for role in NUMBERS if role in layout.columns}  # typed columns need no evidence
        by_file: dict[tuple[str, int], NumberForm] = {}
        for role in dict.fromkeys(role for role, _ in self.numbers):
            found = {number: evidence for (known, number), evidence in self.numbers.items() if known == role}
            # Columns of money of one export share their decimal mark, as do its files.
            alike = _MONEY if role in _MONEY else (role,)
            together = sum(
                (evidence for (known, _), evidence in self.numbers.items() if known in alike), NumberEvidence()
            )
            decided = {
                number: evidence.decide(
                    column=layout.columns[role],
                    source=source,
                    folder=together,
                    decimal_mark=settings.decimal_mark,
                    counts=role == "quantity",
                )
                for number, evidence in sorted(found.items())
            }
            forms[role] = Counter(decided.values()).most_common(1)[0][0]
            by_file |= {(role, number): form for number, form in decided.items() if form != forms[role]}
        return forms, by_file


def surveyed_columns(schema: Mapping[str, pl.DataType], layout: Layout) -> list[str]:
    """Name the columns of text that a survey must see; without any, nothing is left to decide.

    Parameters
    ----------
    schema : mapping of str to data type
        The export's columns.
    layout : Layout
        Which column is which.

    Returns
    -------
    list of str
        Columns of dates and numbers that are not typed as such.
    """
    when = layout.columns["order_date"]
    clock = [layout.columns["order_time"]] if "order_time" in layout.columns else []
    numbers = [layout.columns[role] for role in NUMBERS if role in layout.columns]
    undecided = [when, *clock] if clock or not schema[when].is_temporal() else []
    return list(dict.fromkeys([*undecided, *(name for name in numbers if schema[name] == pl.String())]))


def written_dates(rows: pl.DataFrame, layout: Layout) -> pl.Series:
    """The order dates as the export writes them, with the time of day where that has a column of its own.

    Parameters
    ----------
    rows : DataFrame
        Of the export.
    layout : Layout
        Which column is which.

    Returns
    -------
    Series
        Typed, or text.
    """
    dates = rows[layout.columns["order_date"]]
    clock = layout.columns.get("order_time")
    if clock is None or clock not in rows.columns:
        return dates
    times = rows[clock].cast(pl.String, strict=False).str.strip_chars()
    both = pl.concat_str(as_text(dates), times.fill_null("00:00"), separator=" ")
    return rows.select(both.alias(dates.name)).to_series()


def _by_file(rows: pl.DataFrame) -> list[tuple[int, pl.DataFrame]]:
    if FILE_COLUMN not in rows.columns:
        return [(0, rows)]
    parts = rows.partition_by(FILE_COLUMN, as_dict=True, maintain_order=True)
    return [(int(str(number)), part) for (number,), part in parts.items()]


def _added(one: Mapping[Key, Evidence], other: Mapping[Key, Evidence]) -> dict[Key, Evidence]:
    both = dict(one)
    for key, evidence in other.items():
        both[key] = both[key] + evidence if key in both else evidence
    return both


def _bare_form(form: DateForm) -> tuple[object, ...]:
    return form.order, form.counted, form.short_year_first
