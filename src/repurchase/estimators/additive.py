"""Regressions on bent features, once fitted (see `additive_fit`): a sum of piecewise linear curves, one per feature.

On few data they are steadier than trees, and what a customer gets is, exactly, the sum of one contribution per feature.
Once fitted, every curve is a handful of points, so a saved head is plain numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from repurchase.estimators.design import Bent, Design, Places

__all__ = ["AdditiveHead"]

Floats = npt.NDArray[np.float64]

NEAREST_KNOTS = 1e-10
"""Between knots closer than this a slope would be made of rounding."""


@dataclass(frozen=True)
class AdditiveHead:
    """Log odds, or the logarithm of money, as an intercept and one curve per feature.

    Parameters
    ----------
    columns : tuple of str
        Features.
    knots, heights : tuple of tuple of float
        Each curve: values of the bent feature, rising, and its height there; flat beyond the ends.
    missing : tuple of float
        Height where the feature does not apply.
    intercept : float
        With all curves at 0.
    """

    columns: tuple[str, ...]
    knots: tuple[tuple[float, ...], ...]
    heights: tuple[tuple[float, ...], ...]
    missing: tuple[float, ...]
    intercept: float

    def contributions(self, design: Design) -> dict[str, Floats]:
        """Split the total over the features.

        Parameters
        ----------
        design : Design of shape (n_customers, n_features)
            With at least ``columns``.

        Returns
        -------
        dict of str to array of shape (n_customers,)
            Their sum and ``intercept`` are the `total`.
        """
        return {name: hinges.total(design.bent(name)) + hinges.added for name, hinges in self._hinges.items()}

    def total(self, design: Design, places: Places | None = None) -> Floats:
        """Add up the curves.

        Parameters
        ----------
        design : Design of shape (n_customers, n_features)
            With at least ``columns``.
        places : array, optional
            Positions of those asked about; without it everyone.

        Returns
        -------
        array of shape (n_customers,)
            Added up feature by feature, so that a customer's digits do not depend on the others.
        """
        total = np.full(design.n_customers if places is None else len(places), self._added)
        for name, hinges in self._hinges.items():
            bent = design.bent(name)
            total += hinges.total(bent if places is None else bent.rows(places))
        return total

    @cached_property
    def _hinges(self) -> dict[str, "_Hinges"]:
        curves = zip(self.columns, self.knots, self.heights, self.missing, strict=True)
        return {name: _Hinges.of(knots, heights, missing) for name, knots, heights, missing in curves}

    @cached_property
    def _added(self) -> float:
        return self.intercept + sum(hinges.added for hinges in self._hinges.values())

    def to_dict(self) -> dict[str, Any]:
        """Turn into plain JSON values.

        Returns
        -------
        dict
            The fields.
        """
        return {
            "columns": list(self.columns),
            "knots": [list(curve) for curve in self.knots],
            "heights": [list(curve) for curve in self.heights],
            "missing": list(self.missing),
            "intercept": self.intercept,
        }

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "AdditiveHead":
        """Restore from `to_dict`.

        Parameters
        ----------
        fields : dict
            What `to_dict` gave.

        Returns
        -------
        AdditiveHead
            Equal to the one saved.
        """
        return cls(
            tuple(fields["columns"]),
            tuple(tuple(curve) for curve in fields["knots"]),
            tuple(tuple(curve) for curve in fields["heights"]),
            tuple(fields["missing"]),
            fields["intercept"],
        )


@dataclass(frozen=True)
class _Hinges:
    """A curve with knots k where its slope changes by d: the sum of d max(x, k), and what is added to it."""

    # Flat beyond the ends, and nothing has to be looked up: a few passes over the customers, the same for any of them.
    terms: tuple[tuple[float, float], ...]
    added: float
    added_where_missing: float

    @classmethod
    def of(cls, knots: Sequence[float], heights: Sequence[float], missing: float) -> "_Hinges":
        kept = np.diff(knots, prepend=-np.inf) > NEAREST_KNOTS
        at, height = np.array(knots)[kept], np.array(heights)[kept]
        changes = np.diff(np.diff(height) / np.diff(at), prepend=0.0, append=0.0)
        terms = tuple((float(knot), float(change)) for knot, change in zip(at, changes, strict=True) if change != 0.0)
        lowest = float(height[0])
        return cls(terms, lowest - sum(knot * change for knot, change in terms), missing - lowest)

    def total(self, bent: Bent) -> Floats:
        part = np.zeros(len(bent.values))
        step = np.empty_like(part)
        for knot, change in self.terms:
            np.maximum(bent.values, knot, out=step)
            np.multiply(step, change, out=step)
            np.add(part, step, out=part)
        if bent.missing is not None:
            np.multiply(bent.missing, self.added_where_missing, out=step)
            np.add(part, step, out=part)
        return part if bent.place is None else part.take(bent.place)
