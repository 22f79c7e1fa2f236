"""What a training run leaves behind, before any of it is kept."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from repurchase.registry.card import model_card
from repurchase.registry.scoring import cleaning_settings
from repurchase.settings import Settings

__all__ = ["Training"]


@dataclass(frozen=True, kw_only=True)
class Training:
    """What a training run leaves behind.

    Parameters
    ----------
    state : mapping
        The fitted model, ``RepurchaseModel.to_state()``.
    as_of : date
        Last day the model saw.
    horizons : tuple of int
        Days ahead it speaks about.
    orders : mapping
        What is known of the orders, as in a run's ``orders``: ``source``, ``digest``, ``layout``, days and counts.
    cleaning : mapping
        ``CleaningReport.to_dict()``.
    evaluation : mapping
        How the model was judged.
    settings : Settings
        What the run was asked to do.
    params : mapping, optional
        Further parameters to show in MLflow.
    pictures : mapping of str to bytes, optional
        PNG files by name.
    profile : mapping, optional
        What the orders looked like (see ``evaluation.profile``).
    """

    state: Mapping[str, Any]
    as_of: date
    horizons: tuple[int, ...]
    orders: Mapping[str, Any]
    cleaning: Mapping[str, Any]
    evaluation: Mapping[str, Any]
    settings: Settings = field(default_factory=Settings)
    params: Mapping[str, Any] = field(default_factory=dict)
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    profile: Mapping[str, Any] | None = None

    def manifest(self, version: str) -> dict[str, Any]:
        """Say what the bundle's manifest should know.

        Parameters
        ----------
        version : str
            The model's version.

        Returns
        -------
        dict
            JSON-able.
        """
        return {
            "model_version": version,
            "as_of": self.as_of.isoformat(),
            "horizons": list(self.horizons),
            "data_digest": self.orders.get("digest"),
            "grade": self.evaluation.get("grade", "-"),
            "settings": cleaning_settings(self.settings),
        }

    def card(self, version: str) -> str:
        """Write the model card.

        Parameters
        ----------
        version : str
            The model's version.

        Returns
        -------
        str
            Markdown.
        """
        return model_card(
            version=version,
            as_of=self.as_of.isoformat(),
            horizons=self.horizons,
            orders=self.orders,
            cleaning=self.cleaning,
            evaluation=self.evaluation,
        )
