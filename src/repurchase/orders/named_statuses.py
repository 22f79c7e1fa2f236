"""Whether the statuses that the settings name occur in a log: a word mistyped would leave out its orders unseen."""

import difflib
from collections.abc import Iterable, Iterator

from repurchase.errors import OrdersError, first_few
from repurchase.orders.layouts import Layout
from repurchase.orders.statuses import classify_status, status_key
from repurchase.orders.tally import Tally
from repurchase.settings import Settings

__all__ = ["notes_on_named_statuses"]

_CLOSE = 0.8
_SHOWN = 8


def notes_on_named_statuses(tally: Tally, layout: Layout, *, settings: Settings, source: str) -> tuple[str, ...]:
    """Compare the statuses that the settings name with those of a log.

    Parameters
    ----------
    tally : Tally
        Of all rows.
    layout : Layout
        How they were understood.
    settings : Settings
        With ``sale_statuses`` and ``not_sale_statuses``.
    source : str
        What messages call the log.

    Returns
    -------
    tuple of str
        A note about words that no row has, as a short log may lack some.

    Raises
    ------
    OrdersError
        If the log has no column of statuses, if it has none of the words, or if one is close to a status that occurs.
    """
    named = list(_named(settings))
    if not named:
        return ()
    if not {"status", "payment_status"} & layout.columns.keys():
        raise OrdersError(
            f"{source}: {_options(named)} names {_quoted(word for _, word in named)}, but no column of statuses was "
            "found. Name it, --columns status=..., or leave the setting out."
        )
    found = {status_key(word): word for word in sorted(tally.written_statuses, reverse=True)}
    absent = [(option, word) for option, word in named if status_key(word) not in found]
    likely = [meant for _, word in absent if (meant := _meant(word, found, {status_key(word) for _, word in named}))]
    if not absent or not (likely or len(absent) == len(named)):
        return (f"No row has the status {_quoted(word for _, word in absent)} that the settings name.",) * bool(absent)
    hint = f" Did you mean {_quoted(likely)}?" if likely else ""
    shown = first_few((f"'{word}'" for word in sorted(found.values())), shown=_SHOWN) or "none"
    raise OrdersError(
        f"{source}: no row has the status {_quoted(word for _, word in absent)} of {_options(absent)}.{hint} "
        f"Statuses found: {shown}.",
        withheld=(shown, _quoted(likely)),
    )


def _named(settings: Settings) -> Iterator[tuple[str, str]]:
    for word in settings.sale_statuses:
        yield "--sale-statuses", word
    for word in settings.not_sale_statuses:
        yield "--not-sale-statuses", word


def _meant(word: str, found: dict[str, str], named: set[str]) -> str | None:
    """The status that a word was probably meant to be: one that is not named itself and says nothing else."""
    key, meaning = status_key(word), classify_status(word)
    others = [
        other
        for other, text in found.items()
        if other not in named
        and not other.endswith(key)  # "unshipped" is not "shipped" mistyped
        and not key.endswith(other)
        and meaning in {"unknown", classify_status(text)}
    ]
    close = difflib.get_close_matches(key, others, n=1, cutoff=_CLOSE)
    return found[close[0]] if close else None


def _options(named: list[tuple[str, str]]) -> str:
    return " and ".join(dict.fromkeys(option for option, _ in named))


def _quoted(words: Iterable[str]) -> str:
    return first_few((f"'{word}'" for word in words), shown=_SHOWN)
