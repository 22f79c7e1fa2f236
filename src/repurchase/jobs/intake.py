"""What every job begins with: read, clean, settle the day, and see whether it is enough."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date
from typing import Any

from repurchase.orders.addresses import DatabaseSource
from repurchase.orders.cleaning import CleanOrders, clean_orders
from repurchase.orders.sources import FileRead, RawOrders, read_orders
from repurchase.orders.sufficiency import Rule, resolve_as_of, sufficiency, supported_horizons
from repurchase.settings import Settings

__all__ = ["Checked", "Intake", "check_orders", "settings_of", "take_in"]


@dataclass(frozen=True)
class Intake:
    """Orders ready for use.

    Parameters
    ----------
    raw : RawOrders
        As exported.
    clean : CleanOrders
        Orders, what was set aside, and the account of both.
    as_of : date
        Last day known, inclusive.
    """

    raw: RawOrders
    clean: CleanOrders
    as_of: date

    @property
    def counts(self) -> dict[str, int]:
        """Rows and customers, for the log of a step."""
        report = self.clean.report
        return {"rows": report.n_raw, "rows_kept": report.n_kept, "customers": report.n_customers}

    def describe(self) -> dict[str, Any]:
        """Describe the log for ``run.json`` and MLflow.

        Returns
        -------
        dict
            JSON-able: source, files, digest, layout, days, counts and sales.
        """
        report = self.clean.report
        has_amounts = report.has_amounts
        return {
            "source": self.raw.source,
            "files": [_told(file) for file in self.raw.files],
            "digest": self.raw.digest,
            "layout": report.layout,
            "columns": dict(report.columns or {}),
            "first_order_date": report.first_day and report.first_day.isoformat(),
            "last_order_date": report.last_day and report.last_day.isoformat(),
            "n_customers": report.n_customers,
            "n_orders": report.n_orders,
            "sales_total": round(float(self.clean.orders["amount"].sum()), 2) if has_amounts else None,
        }


@dataclass(frozen=True)
class Checked:
    """What a log is good for.

    Parameters
    ----------
    intake : Intake
        The log.
    rules : tuple of Rule
        Each condition, and whether it holds.
    horizons : tuple of int
        Days ahead the history supports; empty where it supports none.
    """

    intake: Intake
    rules: tuple[Rule, ...]
    horizons: tuple[int, ...]


def _told(file: FileRead) -> dict[str, Any]:
    return {name: value for name, value in asdict(file).items() if value is not None}


def take_in(source: str | DatabaseSource, *, settings: Settings, as_of: date | None = None) -> Intake:
    """Read and clean orders, and settle the last day known.

    Parameters
    ----------
    source : str or DatabaseSource
        File, folder or glob; or a table or query of a database.
    settings : Settings
        How to read and clean.
    as_of : date, optional
        Last day known; default the last order's day.

    Returns
    -------
    Intake
        Orders ready for use.
    """
    raw = read_orders(source, settings=settings)
    clean = clean_orders(raw, settings=settings)
    return Intake(raw, clean, resolve_as_of(clean.orders, as_of=as_of))


def check_orders(source: str | DatabaseSource, *, settings: Settings, as_of: date | None = None) -> Checked:
    """Say what a log is good for; writes nothing.

    Parameters
    ----------
    source : str or DatabaseSource
        File, folder or glob; or a table or query of a database.
    settings : Settings
        How to read and clean, and what is asked for.
    as_of : date, optional
        Last day known.

    Returns
    -------
    Checked
        Rules and horizons.
    """
    intake = take_in(source, settings=settings, as_of=as_of)
    rules = sufficiency(intake.clean.orders, as_of=intake.as_of, settings=settings)
    history = next((rule for rule in rules if rule.name == "history"), None)
    first = intake.clean.report.first_day
    if first is None or (history is not None and not history.holds):
        return Checked(intake, rules, ())
    return Checked(intake, rules, supported_horizons(first_day=first, as_of=intake.as_of, settings=settings))


def settings_of(settings: Settings, remembered: Mapping[str, Any]) -> Settings:
    """Fill what a run was not told with what the model's own orders were cleaned with.

    Parameters
    ----------
    settings : Settings
        Told now.
    remembered : mapping
        From the bundle's manifest.

    Returns
    -------
    Settings
        What is told now and differs from the default wins.
    """
    default = Settings()
    untold = {
        name: value
        for name, value in remembered.items()
        if hasattr(default, name) and getattr(settings, name) == getattr(default, name)
    }
    return replace(settings, **untold)
