"""Ids as text: one spelling per customer, order and product."""

import polars as pl

__all__ = ["clean_ids"]

_STAND_INS_FOR_NOTHING = ("", "nan", "none", "null", "na", "n/a", "#n/a", "<na>", "nat")
_WHOLE_NUMBER_AS_DECIMAL = r"^([1-9]\d*|0)\.0+$"
_TO_TIDY = (
    r"^\s|\s$|\.0+$|[\p{Lu}\p{Lt}].*@|@.*[\p{Lu}\p{Lt}]|^(?i:nan|none|null|na|n/a|\#n/a|<na>|nat)?$"
)
"""One cheap look finds whether any id is spelled otherwise; most exports are tidy."""


def clean_ids(values: pl.Series) -> pl.Series:
    """Give every id one spelling.

    A spreadsheet or a pandas column with gaps turns the id 13085 into ``13085.0``; both are the same customer.
    Ids with leading zeros stay as they are (``00001`` is not ``1``), and mail addresses are compared in lower case.

    Parameters
    ----------
    values : Series of any type
        Ids as they stand in the export.

    Returns
    -------
    Series of str
        Stripped ids; empty text and the usual stand-ins for nothing (``nan``, ``None``, ``NULL``, ``#N/A``) are null.

    Examples
    --------
    >>> clean_ids(pl.Series(["13085.0", " 13085", "00001", "Anna@Shop.no", "nan"])).to_list()
    ['13085', '13085', '00001', 'anna@shop.no', None]
    >>> clean_ids(pl.Series([13085.0, None])).to_list()
    ['13085', None]
    """
    if values.dtype.is_float():
        return _from_floats(values)
    text = values.cast(pl.String)
    if not text.str.contains(_TO_TIDY).any():
        return text
    distinct = text.unique()
    tidy = _tidy(distinct)
    spelling = pl.DataFrame({"id": distinct, "tidy": tidy})
    return (
        pl.DataFrame({"id": text})
        .join(spelling, on="id", how="left", nulls_equal=True, maintain_order="left")["tidy"]
        .alias(values.name)
    )


def _tidy(ids: pl.Series) -> pl.Series:
    stripped = pl.col("id").str.strip_chars().str.replace(_WHOLE_NUMBER_AS_DECIMAL, "$1")
    lowered = stripped.str.to_lowercase()
    one_spelling = pl.when(stripped.str.contains("@", literal=True)).then(lowered).otherwise(stripped)
    nothing = lowered.is_in(_STAND_INS_FOR_NOTHING)
    return ids.to_frame("id").select(pl.when(~nothing).then(one_spelling).alias(ids.name)).to_series()


def _from_floats(values: pl.Series) -> pl.Series:
    whole = values.is_finite() & (values == values.round(0)) & (values.abs() < 2**63)
    as_int = values.set(~whole.fill_null(value=False), None).cast(pl.Int64).cast(pl.String)
    return as_int.zip_with(whole.fill_null(value=True), values.fill_nan(None).cast(pl.String)).alias(values.name)
