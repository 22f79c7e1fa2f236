"""How an export writes its dates and numbers: decided by all rows together, however they are split."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from repurchase.orders.amounts import COMMA_NOTE, NumberEvidence, NumberForm
from repurchase.orders.date_formats import DateEvidence, DateForm
from repurchase.orders.layouts import Layout
from repurchase.settings import Settings

__all__ = ["NUMBERS", "Forms", "Survey", "surveyed_columns"]

NUMBERS = ("amount", "order_total", "refunded", "price", "quantity", "line_discount", "discount")
"""Roles whose columns hold numbers."""


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
    """

    dates: DateForm
    numbers: Mapping[str, NumberForm]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Survey:
    """What some rows say about how the columns are written; adds up over any split of the rows.

    Parameters
    ----------
    dates : DateEvidence
        Of the order dates.
    numbers : mapping of str to NumberEvidence
        Of each role that has a column of numbers.
    """

    dates: DateEvidence = field(default_factory=DateEvidence)
    numbers: Mapping[str, NumberEvidence] = field(default_factory=dict)

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
        when = layout.columns["order_date"]
        columns = {role: layout.columns[role] for role in NUMBERS if role in layout.columns}
        return cls(
            DateEvidence.of(rows[when]) if when in rows.columns else DateEvidence(),
            {
                role: NumberEvidence.of(rows[column]) if column in rows.columns else NumberEvidence()
                for role, column in columns.items()
            },
        )

    def __add__(self, other: "Survey") -> "Survey":
        roles = {**self.numbers, **other.numbers}
        nothing = NumberEvidence()
        numbers = {role: self.numbers.get(role, nothing) + other.numbers.get(role, nothing) for role in roles}
        return Survey(self.dates + other.dates, numbers)

    def decide(self, layout: Layout, *, settings: Settings, source: str) -> Forms:
        """Decide how to read the columns.

        Parameters
        ----------
        layout : Layout
            Which column is which.
        settings : Settings
            Time zone and order of day and month.
        source : str
            What a message calls the log.

        Returns
        -------
        Forms
            The same for the same rows, however they were split.

        Raises
        ------
        OrdersError
            If day and month can change places and nothing decides.
        """
        dates = self.dates.decide(
            column=layout.columns["order_date"],
            source=source,
            timezone=settings.timezone,
            date_order=settings.date_order,
        )
        numbers = {role: evidence.decide() for role, evidence in self.numbers.items()}
        commas = (f"In '{layout.columns[role]}' {COMMA_NOTE}." for role, form in numbers.items() if form == "comma")
        return Forms(dates, numbers, (*dates.notes, *commas))


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
    numbers = [layout.columns[role] for role in NUMBERS if role in layout.columns]
    undecided = [when] if not schema[when].is_temporal() else []
    return [*undecided, *(name for name in numbers if schema[name] == pl.String())]
