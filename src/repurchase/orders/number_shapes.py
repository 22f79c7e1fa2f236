"""What a written amount may mean: found once per shape, which is the text with every digit made equal."""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from repurchase.orders.currencies import currency_of

__all__ = ["NumberShape", "number_shape_of"]

_EXPONENT = r"(?:[eE][+-]?9{1,2})?"
_GROUPS_APART = r"9{1,3}(?:[ '’_]9{3})+"
_READABLE = rf"(?:9+|9{{1,3}}(?:MARK9{{3}})+|9{{1,2}}(?:MARK9{{2}})+MARK9{{3}}|{_GROUPS_APART})?(?:POINT9*)?{_EXPONENT}"
_POINT = re.compile(_READABLE.replace("MARK", ",").replace("POINT", r"\."))
_COMMA = re.compile(_READABLE.replace("MARK", r"\.").replace("POINT", ","))
_UNDECIDED = re.compile(r"9{1,3}[.,]9{3}")
_AFTER_WHOLE = re.compile(r"^([.,])(?:-{1,2}|=)(?=$|[^9]*$)")
_LONGEST_WORD = 20


@dataclass(frozen=True)
class NumberShape:
    """How the amounts of one shape may be read.

    Parameters
    ----------
    start, length : int
        Where the digits and marks stand.
    sign : int
        1 or -1.
    kind : str
        ``point`` or ``comma``: only makes sense with that decimal mark; ``three_point`` or ``three_comma``: three
        digits after a single mark, decimals or thousands; ``short`` or ``long``: up to three digits without a mark, or
        more.
    word : str
        What stands before and after the number, without signs; empty for nothing.
    ledger : str
        ``cr`` or ``dr``, as account statements mark the side; empty for neither.
    """

    start: int
    length: int
    sign: int
    kind: str
    word: str
    ledger: str


@lru_cache(maxsize=1 << 16)
def number_shape_of(shape: str) -> NumberShape | None:
    """Find the number in one shape.

    Parameters
    ----------
    shape : str
        An amount with ``9`` for every digit.

    Returns
    -------
    NumberShape or None
        None if it is no number with at most a sign and words around it.

    Examples
    --------
    >>> number_shape_of("-9.999,99 €").kind, number_shape_of("99/9999")
    ('comma', None)
    """
    if "9" not in shape:
        return None
    start, end = shape.index("9"), shape.rindex("9") + 1
    if start and shape[start - 1] in ".," and not shape[: start - 1].rstrip()[-1:].isalpha():
        start -= 1
    before, after = shape[:start], shape[end:]
    whole = _AFTER_WHOLE.match(after)
    if after[:1] in {".", ","}:
        end += 1
        after = after[whole.end() if whole else 1 :]
    kind = _kind(shape[start:end])
    around = _around(before, after)
    if kind is None or around is None:
        return None
    sign, word, ledger = around
    touches = before[-1:].isalnum() or after[:1].isalnum()
    if word and touches and currency_of(word) is None:  # C1234 is a code
        return None
    return NumberShape(start, end - start, sign, kind, word, ledger)


def _kind(core: str) -> str | None:
    if _UNDECIDED.fullmatch(core):
        return "three_point" if "." in core else "three_comma"
    point, comma = _POINT.fullmatch(core) is not None, _COMMA.fullmatch(core) is not None
    if not (point or comma):
        return None
    if point and comma:
        return "short" if len(core) <= 3 else "long"
    return "point" if point else "comma"


def _around(before: str, after: str) -> tuple[int, str, str] | None:
    """Read the sign and the words around a number; None if anything else stands there."""
    negative = "(" in before and ")" in after
    if ("(" in before) != (")" in after) or (before + after).count("(") > 1 or (before + after).count(")") > 1:
        return None
    signs = [letter for letter in before + after if letter in "+-"]
    if len(signs) > 1:
        return None
    words = [re.sub(r"[()+-]", " ", side).split() for side in (before, after)]
    ledgers = [word for side in words for word in side if word.strip(".").casefold() in {"cr", "dr"}]
    kept = [" ".join(word for word in side if word not in ledgers) for side in words]
    if len(ledgers) > 1 or not all(_is_word(text) for text in kept):
        return None
    minus = negative != (signs == ["-"])
    return -1 if minus else 1, _one_word(*kept), ledgers[0].strip(".").casefold() if ledgers else ""


def _is_word(text: str) -> bool:
    is_usual = all(unicodedata.category(letter)[0] in "LM" or letter in " ./" or _is_sign(letter) for letter in text)
    return is_usual and len(text) <= _LONGEST_WORD and text not in {".", "/"}


def _is_sign(letter: str) -> bool:
    return unicodedata.category(letter) == "Sc"


def _one_word(before: str, after: str) -> str:
    return before if before == after or not after else after if not before else f"{before} {after}"
