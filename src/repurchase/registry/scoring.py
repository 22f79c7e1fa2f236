"""From a bundle to scores, without the files and tables of `repurchase score`."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from repurchase.registry.bundle import load_bundle
from repurchase.settings import Settings
from repurchase.tables import Frame, as_polars

if TYPE_CHECKING:
    from repurchase.estimators.fitted import FittedModel

__all__ = ["Scorer", "cleaning_settings", "load_scorer"]

HOW_TO_CLEAN = ("columns", "timezone", "currency", "date_order", "duplicates", "returns")
MADE_BY_CLEANING = "sale_date"


@dataclass(frozen=True)
class Scorer:
    """A model and how its orders were cleaned.

    Parameters
    ----------
    model : FittedModel
        Put together again.
    settings : Settings
        Those the model's own orders were cleaned with.
    """

    model: "FittedModel"
    settings: Settings

    def __call__(self, orders: Frame, *, as_of: date | None = None) -> pl.DataFrame:
        """Score every customer.

        Parameters
        ----------
        orders : DataFrame or pyarrow.Table
            Orders as `clean_orders` returned them, known by their ``sale_date`` column; others are cleaned first.
        as_of : date, optional
            Last day observed, inclusive; without it the day of the last order.

        Returns
        -------
        DataFrame
            See ``tables.scores_table``.
        """
        frame = as_polars(orders)
        if MADE_BY_CLEANING not in frame.columns:
            from repurchase.orders.cleaning import clean_orders

            frame = clean_orders(frame, settings=self.settings).orders
        return self.model.predict_orders(frame, as_of)


def load_scorer(folder: Path) -> Scorer:
    """Read a bundle and put its model together.

    Parameters
    ----------
    folder : Path
        A bundle; see `load_bundle`.

    Returns
    -------
    Scorer
        Ready to score.

    Raises
    ------
    BundleError
        If the bundle is not as it was written.

    Examples
    --------
    >>> load_scorer(Path("models/999"))
    Traceback (most recent call last):
        ...
    repurchase.errors.BundleError: models/999: no model bundle there (no manifest.json). See `repurchase models list`.
    """
    loaded = load_bundle(folder)
    from repurchase.estimators.fitted import FittedModel

    return Scorer(FittedModel.from_state(loaded.state), _settings(loaded.manifest.get("settings", {})))


def cleaning_settings(settings: Settings) -> dict[str, Any]:
    """Take from the settings what decides how orders are cleaned.

    Parameters
    ----------
    settings : Settings
        Of a training run.

    Returns
    -------
    dict
        JSON-able; goes into the manifest.

    Examples
    --------
    >>> cleaning_settings(Settings(currency="NOK"))["currency"]
    'NOK'
    """
    given = {item.name: getattr(settings, item.name) for item in fields(settings) if item.name in HOW_TO_CLEAN}
    return {**given, "columns": dict(settings.columns)}


def _settings(kept: Mapping[str, Any]) -> Settings:
    return Settings(**{name: kept[name] for name in HOW_TO_CLEAN if name in kept})
