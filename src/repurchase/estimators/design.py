"""What curves and trees read: a column per feature, and the same bent, computed once however many read it."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["Bent", "Design", "Places", "bend", "stacked"]

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]
Kept = Places | npt.NDArray[np.bool_] | slice

MOST_WHOLE = 4_096
FIRST_LOOK = 64
"""Values that most often tell whether all are whole."""

AS_THEY_ARE = ("usual_log_gap", "silence_in_spreads", "came_back_in_time", "btyd_logit", "btyd_other_logit")
SHARES = ("active_windows_share", "active_months_share", "discount_share", "returned_share")
RATES = ("rate", "btyd_rate", "spend_last_to_typical")


class Design(Mapping[str, Floats]):
    """Features of customers, column by column.

    Parameters
    ----------
    columns : mapping of str to array of shape (n_customers,)
        Name to values; NaN where a feature does not apply.
    beside : Design, optional
        Further columns of the same customers; ``columns`` of the same name replace them. What is bent there is bent
        once for all that stand beside it.
    """

    def __init__(self, columns: Mapping[str, Floats], *, beside: "Design | None" = None) -> None:
        self._own = dict(columns)
        self._beside = beside
        self._bent: dict[str, Bent] = {}

    def __getitem__(self, name: str) -> Floats:
        """Read a feature."""
        if self._beside is None or name in self._own:
            return self._own[name]
        return self._beside[name]

    def __iter__(self) -> Iterator[str]:
        """Go through the names, those beside first."""
        beside = self._beside or ()
        yield from beside
        yield from (name for name in self._own if name not in beside)

    def __len__(self) -> int:
        """Count the columns."""
        return sum(1 for _ in self)

    @property
    def n_customers(self) -> int:
        """How many rows."""
        return len(next(iter(self.values())))

    def bent(self, name: str) -> "Bent":
        """Bend a feature, or remember it bent.

        Parameters
        ----------
        name : str
            Which.

        Returns
        -------
        Bent
            As curves read it.
        """
        if self._beside is not None and name not in self._own:
            return self._beside.bent(name)
        if name not in self._bent:
            self._bent[name] = _bent(name, self._own[name])
        return self._bent[name]

    def rows(self, places: Kept) -> "Design":
        """Keep some customers.

        Parameters
        ----------
        places : array or slice
            Positions, or flags of those to keep.

        Returns
        -------
        Design
            Every column of them.
        """
        return Design({name: values[places] for name, values in self.items()})


class Bent:
    """A bent feature.

    Parameters
    ----------
    values : array of shape (n_values,)
        Bent; -inf where it does not apply.
    missing : float array of shape (n_values,), optional
        1 where it does not apply, 0 elsewhere; None where it applies to everyone.
    place : array of shape (n_customers,), optional
        Where each customer's value stands: a count or a number of days has few values, and a curve is computed once
        for each. Without it ``values`` are the customers' own.
    """

    __slots__ = ("missing", "place", "values")

    def __init__(self, values: Floats, missing: Floats | None, place: Places | None = None) -> None:
        self.values = values
        self.missing = missing
        self.place = place

    def rows(self, places: Places) -> "Bent":
        """Keep some customers.

        Parameters
        ----------
        places : array of shape (n_kept,)
            Positions.

        Returns
        -------
        Bent
            Of them.
        """
        if self.place is not None:
            return Bent(self.values, self.missing, self.place[places])
        return Bent(self.values[places], None if self.missing is None else self.missing[places])


def _bent(name: str, values: Floats) -> Bent:
    place = _place_among_whole(values)
    bent = bend(name, values if place is None else np.append(np.nan, np.arange(place.max(initial=1))))
    gone = np.isnan(bent)
    return Bent(np.fmax(bent, -np.inf), gone.astype(np.float64), place) if gone.any() else Bent(bent, None, place)


def _place_among_whole(values: Floats) -> Places | None:
    """One more than each value, 0 where it is missing; None unless all are whole, not negative and not large."""
    first = values[:FIRST_LOOK]
    if not (np.isnan(first) | (first == np.floor(first))).all():
        return None
    if not (np.fmin.reduce(values, initial=0.0) >= 0.0 and np.fmax.reduce(values, initial=0.0) < MOST_WHOLE):
        return None
    from_one = np.fmax(values, -1.0) + 1.0
    place = from_one.astype(np.int64)
    return place if (place == from_one).all() else None


def stacked(designs: Sequence[Design]) -> Design:
    """Put customers below each other.

    Parameters
    ----------
    designs : sequence of Design
        Of the same features, at least one.

    Returns
    -------
    Design
        All their customers.
    """
    return Design({name: np.concatenate([design[name] for design in designs]) for name in designs[0]})


def bend(name: str, values: Floats) -> Floats:
    """Take logarithms of counts, days, money and rates, and leave shares and log odds as they are.

    Parameters
    ----------
    name : str
        Which feature.
    values : array of shape (n_customers,)
        As it stands in the design.

    Returns
    -------
    array of shape (n_customers,)
        NaN where it was.
    """
    if name in AS_THEY_ARE or name in SHARES:
        return np.ascontiguousarray(values)
    if name in RATES or name.startswith(("fading_rate", "fading_spend_rate")):
        return np.asarray(np.log(np.maximum(values, 0.0) + 1e-3))
    if not np.fmin.reduce(values, initial=0.0) < 0.0:
        return np.asarray(np.log1p(values))
    return np.asarray(np.sign(values) * np.log1p(np.abs(values)))
