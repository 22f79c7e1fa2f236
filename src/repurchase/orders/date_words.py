"""Words in written dates: months, weekdays, halves of the day and time zones, from CLDR by way of Babel."""

import unicodedata
from collections.abc import Iterable
from functools import cache

__all__ = ["ZONE_MINUTES", "filler_words", "half_of_day", "month_numbers", "weekdays"]

_LOCALES = ("en", "en_GB", "de", "de_AT", "fr", "es", "nl", "nb", "sv", "da", "ru", "pl", "pt", "pt_PT", "it")
_FURTHER_LOCALES = ("fi", "cs", "tr", "hu", "ro", "uk", "el")
"""Their names count where no language above has the same name for another month."""
_WITHOUT_CLDR_ENTRY = {"mrz": 3, "maa": 3}
_FILLERS = "at um om kl klo uhr h à as às a alle o ore godz в de del d of the den la las los г p р le el il der van ч e"
_HALVES = {"am": 1, "pm": 2, "vorm": 1, "nachm": 2, "上午": 1, "下午": 2, "午前": 1, "午後": 2, "오전": 1, "오후": 2}
_HALVES |= {"fm": 1, "em": 2, "dop": 1, "odp": 2, "de.": 1, "du.": 2, "πμ": 1, "μμ": 2, "дп": 1, "пп": 2}

ZONE_MINUTES = {
    **dict.fromkeys(("z", "utc", "gmt", "ut", "wet", "etc/utc", "etc/gmt"), 0),
    **dict.fromkeys(("cet", "mez", "west"), 60),
    **dict.fromkeys(("cest", "mesz", "eet"), 120),
    **dict.fromkeys(("eest", "msk"), 180),
    "jst": 540,
    "kst": 540,
    "aest": 600,
    "aedt": 660,
    "nzst": 720,
    "nzdt": 780,
    "sgt": 480,
    "hkt": 480,
    "adt": -180,
    "ast": -240,
    "edt": -240,
    "est": -300,
    "cdt": -300,
    "cst": -360,
    "mdt": -360,
    "mst": -420,
    "pdt": -420,
    "pst": -480,
    "akdt": -480,
    "akst": -540,
    "hst": -600,
    "brt": -180,
}
"""Minutes east of Greenwich. Words that several zones share (``ist``, ``bst``) are left out."""


@cache
def month_numbers() -> dict[str, int]:
    """Number every name of a month.

    Returns
    -------
    dict of str to int
        Names in lower case without points: nominative and genitive, written out, abbreviated and cut short, with and
        without accents.
    """
    names: dict[str, int] = {}
    for locale in (*_LOCALES, *_FURTHER_LOCALES):
        for month, name in _names(locale, "get_month_names", ("wide", "abbreviated")):
            for spelling in _spellings(name):
                names.setdefault(spelling, month)
    return {**_cut_short(names), **_WITHOUT_CLDR_ENTRY, **names}


@cache
def weekdays() -> frozenset[str]:
    """Collect the names of weekdays.

    Returns
    -------
    frozenset of str
        In lower case without points.
    """
    found = (
        spelling
        for locale in (*_LOCALES, *_FURTHER_LOCALES)
        for _, name in _names(locale, "get_day_names", ("wide", "abbreviated", "short"))
        for part in (name, name.partition("-")[0])  # "segunda-feira"
        for spelling in _spellings(part)
    )
    return frozenset((*found, "feira", "thur", "thurs", "tues", "wednes"))


@cache
def filler_words() -> frozenset[str]:
    """Collect the words that only join the parts of a date: ``de``, ``um``, ``kl.``, ``г.``.

    Returns
    -------
    frozenset of str
        In lower case without points.
    """
    return frozenset(_FILLERS.split())


@cache
def half_of_day() -> dict[str, int]:
    """Number the words for the halves of a day.

    Returns
    -------
    dict of str to int
        1 for hours before noon and 2 for those after it; names in lower case without points.
    """
    return dict(_HALVES)


def _names(locale: str, getter: str, widths: Iterable[str]) -> Iterable[tuple[int, str]]:
    from babel import dates

    for width in widths:
        for context in ("format", "stand-alone"):
            yield from getattr(dates, getter)(width, context, locale).items()


def _spellings(name: str) -> tuple[str, str]:
    plain = unicodedata.normalize("NFC", name.casefold()).replace(".", "").strip()
    bare = "".join(letter for letter in unicodedata.normalize("NFD", plain) if not unicodedata.combining(letter))
    return plain, bare


def _cut_short(names: dict[str, int]) -> dict[str, int]:
    """Cut long names to three and four letters, where only one month begins so."""
    found: dict[str, set[int]] = {}
    for name, month in names.items():
        for length in (3, 4):
            if len(name) > length:
                found.setdefault(name[:length], set()).add(month)
    return {start: months.pop() for start, months in found.items() if len(months) == 1}
