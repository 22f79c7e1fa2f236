"""Cells of text made comparable: invisible characters removed, and shapes, in which every digit is equal.

A column of millions of dates or amounts has few shapes (``99 jun 9999``, ``9.999,99 €``). What a shape means is found
once, with care, and then holds for all texts of it.
"""

import unicodedata

import numpy as np
import polars as pl
import pyarrow as pa

__all__ = ["INVISIBLE", "distinct_shapes", "shapes_of", "tidy_texts"]

_UNTIDY = r"[^\x20-\x7E]|^[='\"\s]|[\"\s]$"
INVISIBLE = (
    r"[\u{200B}-\u{200F}\u{202A}-\u{202E}\u{2060}\u{2066}-\u{2069}\u{FEFF}\u{061C}\u{00AD}]"
    r"|[\p{Cc}&&[^\t\n\r]]"
)
_LONGEST = 80
_MOST_SHAPES = 50_000
_EQUAL_DIGITS = np.where(np.isin(np.arange(256), list(b"0123456789")), ord("9"), np.arange(256)).astype(np.uint8)


def tidy_texts(texts: pl.Series) -> pl.Series:
    """Remove what is not part of a value: quotation marks, apostrophes, invisible and wide characters.

    Parameters
    ----------
    texts : Series of str
        Cells as the export has them.

    Returns
    -------
    Series of str
        In ASCII digits and plain blanks.

    Examples
    --------
    >>> tidy_texts(pl.Series(['="2024-06-22"', "'22.06.24", "2:07\u202fPM"])).to_list()
    ['2024-06-22', '22.06.24', '2:07 PM']
    """
    if not texts.str.contains(_UNTIDY).any():
        return texts
    plain = texts.str.replace_all(INVISIBLE, "").str.normalize("NFKC").str.replace_all(r"\s+", " ")
    plain = _ascii_digits(plain).str.replace_all("[‐‑‒–—−]", "-").str.strip_chars()
    return plain.str.replace(r"^=?\s*\"(.*)\"$", "$1").str.replace(r"^['’](.*?)['’]?$", "$1").str.strip_chars()


def shapes_of(texts: pl.Series) -> pl.Series:
    """Make every digit equal.

    Parameters
    ----------
    texts : Series of str
        From `tidy_texts`.

    Returns
    -------
    Series of str
        Null for what is longer than 80 bytes.
    """
    short = texts.set((texts.str.len_bytes() > _LONGEST).fill_null(value=True), None)
    written = short.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
    known, places, content = written.buffers()
    if content is None:
        return short
    equal = pa.py_buffer(_EQUAL_DIGITS[np.frombuffer(content, dtype=np.uint8)])  # five times as fast as replacing
    return pl.Series(
        texts.name, pa.Array.from_buffers(written.type, len(written), [known, places, equal], offset=written.offset)
    )


def distinct_shapes(shapes: pl.Series) -> list[str]:
    """List the shapes of a column.

    Parameters
    ----------
    shapes : Series of str
        From `shapes_of`.

    Returns
    -------
    list of str
        None of them where there are more than 50,000: such a column holds codes or prose, no dates or numbers.
    """
    distinct = shapes.drop_nulls().unique()
    return distinct.to_list() if len(distinct) <= _MOST_SHAPES else []


def _ascii_digits(texts: pl.Series) -> pl.Series:
    if not texts.str.contains(r"[\p{Nd}&&[^0-9]]").any():
        return texts
    found = {
        digit
        for text in texts.drop_nulls().str.extract_all(r"[\p{Nd}&&[^0-9]]").explode().unique()
        for digit in text or ""
    }
    return texts.str.replace_many({digit: str(unicodedata.digit(digit)) for digit in sorted(found)})
