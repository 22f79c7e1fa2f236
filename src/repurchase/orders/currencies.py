"""Currency codes, symbols and words around an amount, from CLDR by way of Babel."""

import unicodedata
from collections import defaultdict
from collections.abc import Mapping
from functools import cache

__all__ = ["currency_of", "different_currencies", "has_no_decimals"]

_LOCALES = (
    "en en_AU en_CA en_IN en_SG en_NZ en_ZA de de_CH fr fr_CH es es_MX nl nb sv da ru pl pt pt_PT it fi cs sk tr hu ro "
    "uk el bg hr sr ja zh zh_TW ko th vi id ms he ar fa hi kk ka et lv lt is sl"
)
_LOWER_CASE = (
    "eur",
    "usd",
    "gbp",
    "chf",
    "nok",
    "sek",
    "dkk",
    "pln",
    "czk",
    "huf",
    "ron",
    "rub",
    "uah",
    "inr",
    "cad",
    "aud",
)
_WORDS = {
    "EUR": "euro euros eur. euroa",
    "USD": "dollar dollars us usdollar",
    "RUB": "руб р рубль рубля рублей rub. rur",
    "UAH": "грн гривень",
    "INR": "rs re inr rupees ₨",
    "PLN": "zl zlotych złotych",
    "CHF": "fr sfr fr.",
    "CNY": "元 圆 人民币 rmb",
    "JPY": "円 yen",
    "KRW": "원",
    "VND": "đ vnđ",
    "AED": "dh dhs درهم",
    "SAR": "sr ريال",
    "BGN": "лв",
    "RON": "lei leu",
    "HUF": "ft",
    "CZK": "kc kč",
    "KZT": "тг тенге",
    "IDR": "rp",
    "BYN": "br",
    "MYR": "rm",
    "ZAR": "r",
    "TRY": "tl",
}
_SHARED = ("kr", "$", "¥", "£")
"""Symbols of several currencies: they are kept as they are."""
_SHARED_BY = {
    "kr": "NOK SEK DKK ISK",
    "$": "USD AUD CAD NZD SGD HKD TWD MXN ARS CLP COP UYU",
    "¥": "JPY CNY",
    "£": "GBP EGP LBP",
}


@cache
def currency_of(word: str) -> str | None:
    """Find the currency that a word or symbol beside an amount stands for.

    Parameters
    ----------
    word : str
        Such as ``€``, ``kr.``, ``руб.``, ``US$`` or ``NOK``.

    Returns
    -------
    str or None
        The ISO code; for a symbol that several currencies share, the symbol; None for a word that is no currency.

    Examples
    --------
    >>> [currency_of(word) for word in ("€", "kr.", "руб.", "A$", "NOK", "pcs")]
    ['EUR', 'kr', 'RUB', 'AUD', 'NOK', None]
    """
    folded = _folded(word)
    if folded in _SHARED:
        return folded
    plain = word.strip(" .")
    if plain in _codes() or plain.lower() in _LOWER_CASE:
        return plain.upper()
    if folded in _symbols():
        return _symbols()[folded]
    if all(part in _symbols() or part.upper() in _codes() for part in folded.split()) and len(folded.split()) == 2:
        return currency_of(folded.split()[0])
    signs = [letter for letter in word if unicodedata.category(letter) == "Sc"]
    return None if not signs else _symbols().get(signs[0], signs[0])


def has_no_decimals(currency: str) -> bool:
    """Say whether money of a currency is counted in whole units.

    Parameters
    ----------
    currency : str
        From `currency_of`.

    Returns
    -------
    bool
        True for ``JPY``, ``KRW``, ``CLP`` and the like, and for ``¥``.

    Examples
    --------
    >>> has_no_decimals("KRW"), has_no_decimals("EUR"), has_no_decimals("¥")
    (True, False, True)
    """
    from babel.numbers import get_currency_precision

    return currency == "¥" or (currency in _codes() and get_currency_precision(currency) == 0)


def different_currencies(rows: Mapping[str, int]) -> list[str]:
    """Name the currencies that amounts are marked with, if they are certainly not one.

    Parameters
    ----------
    rows : mapping of str to int
        Rows by the currency from `currency_of`.

    Returns
    -------
    list of str
        Most frequent first; a sign that several share, such as ``kr``, is one with each of those. Empty for one
        currency, and where the others stand on single rows, as slips do.

    Examples
    --------
    >>> different_currencies({"EUR": 70, "GBP": 30}), different_currencies({"$": 70, "USD": 30})
    (['EUR', 'GBP'], [])
    """
    found = [currency for currency, count in sorted(rows.items(), key=lambda item: (-item[1], item[0])) if count > 2]
    signs = [currency for currency in found if not any(currency in _SHARED_BY.get(sign, "").split() for sign in found)]
    return signs if len(signs) > 1 else []


@cache
def _codes() -> frozenset[str]:
    from babel.numbers import list_currencies

    return frozenset(list_currencies())


@cache
def _symbols() -> dict[str, str]:
    from babel import Locale

    codes: dict[str, set[str]] = defaultdict(set)
    for name in _LOCALES.split():
        for code, symbol in Locale.parse(name).currency_symbols.items():
            folded = _folded(symbol)
            if folded and symbol != code and (len(folded) > 1 or not folded.isascii() or not folded.isalpha()):
                codes[folded].add(code)
    found = {symbol: several.pop() if len(several) == 1 else symbol for symbol, several in codes.items()}
    named = {_folded(word): code for code, words in _WORDS.items() for word in words.split()}
    return {**found, **named, **{symbol: symbol for symbol in _SHARED}}


def _folded(word: str) -> str:
    visible = "".join(letter for letter in word if unicodedata.category(letter) != "Cf")
    return " ".join(unicodedata.normalize("NFKC", visible).casefold().replace(".", "").split())
