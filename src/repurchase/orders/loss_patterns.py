"""Whether rows that could not be read are scattered mistakes, or a part of the export that was misunderstood."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from repurchase.orders.layouts import FILE_COLUMN

__all__ = ["LossCounts"]

_ENOUGH_ROWS = 10
_MOST = 0.5
_DIMENSIONS: Mapping[str, str] = {
    "file": "of the rows of file {group}",
    "month": "of the rows of {group}",
    "status": "of the rows with status '{group}'",
    "written": "of the values written like '{group}'",
    "size": "of the amounts written with {group} digits",
}
_KINDS: Mapping[str, str] = {"unreadable_date": "dates", "amount_not_a_number": "amounts"}


@dataclass(frozen=True)
class LossCounts:
    """Rows and lost rows by where they stand and how they are written; adds up over any split of the rows.

    Parameters
    ----------
    rows, lost : Counter of (str, str, str)
        By reason, dimension and group.
    """

    rows: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    lost: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    @classmethod
    def of(cls, rows: pl.DataFrame, raw: pl.DataFrame, columns: Mapping[str, str | None]) -> "LossCounts":
        """Count judged rows.

        Parameters
        ----------
        rows : DataFrame
            With the columns of reasons, ``status`` and ``order_date``.
        raw : DataFrame
            The same rows of the export.
        columns : mapping of str to str
            Reason to the export's column whose values could not be read.

        Returns
        -------
        LossCounts
            Empty where nothing was lost.
        """
        found = cls()
        for reason, column in columns.items():
            if column is None or not rows[reason].any():
                continue
            text = raw[column].cast(pl.String, strict=False).str.strip_chars()
            has_digits = text.str.contains(r"\d").fill_null(value=False)
            at = pl.DataFrame(
                {
                    "lost": rows[reason] & ~rows["cancelled_order"] & ~rows["missing_customer"],
                    "file": (
                        raw[FILE_COLUMN] if FILE_COLUMN in raw.columns else pl.repeat(0, raw.height, eager=True)
                    ).cast(pl.String),
                    "month": rows["order_date"].dt.strftime("%B %Y"),
                    "status": rows["status"],
                    "written": _shapes(text).set(~has_digits, None),
                    "size": text.str.replace_all(r"\D", "").str.len_chars().cast(pl.String).set(~has_digits, None),
                }
            )
            for dimension in _DIMENSIONS:
                if (dimension == "size") != (reason == "amount_not_a_number") and dimension in {"size", "written"}:
                    continue
                counts = at.group_by(dimension).agg(pl.len(), pl.col("lost").sum()).drop_nulls(dimension)
                for group, count, lost in counts.rows():
                    found.rows[reason, dimension, group] += count
                    found.lost[reason, dimension, group] += lost
        return found

    def __add__(self, other: "LossCounts") -> "LossCounts":
        return LossCounts(self.rows + other.rows, self.lost + other.lost)

    def pattern(self, files: tuple[str, ...]) -> str | None:
        """Name the part of the export that is lost, if the losses are no scattered mistakes.

        Parameters
        ----------
        files : tuple of str
            Names of the files.

        Returns
        -------
        str or None
            The worst pattern, in words.
        """
        suspects = [
            (lost, key)
            for key, lost in self.lost.items()
            if lost >= _ENOUGH_ROWS and lost >= _MOST * self.rows[key] and (key[1] != "file" or len(files) > 1)
        ]
        if not suspects:
            return None
        lost, (reason, dimension, group) = max(suspects, key=lambda found: (found[0], found[1]))
        named = files[int(group)] if dimension == "file" else group
        where = _DIMENSIONS[dimension].format(group=named)
        return f"{lost:,} {_KINDS[reason]} cannot be read: {lost / self.rows[reason, dimension, group]:.0%} {where}"


def _shapes(text: pl.Series) -> pl.Series:
    """The form of a text: every digit a 9, every letter an a."""
    return text.str.slice(0, 40).str.replace_all(r"\d", "9").str.replace_all(r"\p{L}+", "a")
