"""The model card: what a model was made from, how good it is and where not to trust it, in plain words."""

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["model_card"]


def model_card(
    *,
    version: str,
    as_of: str,
    horizons: Iterable[int],
    orders: Mapping[str, Any],
    cleaning: Mapping[str, Any],
    evaluation: Mapping[str, Any],
) -> str:
    """Write the card of a model.

    Parameters
    ----------
    version : str
        The model's version.
    as_of : str
        Last day the model saw, ISO.
    horizons : iterable of int
        Days ahead it speaks about.
    orders : mapping
        What is known of the orders, as in a run's ``orders``: source, digest, days, counts. Keys may be missing.
    cleaning : mapping
        ``CleaningReport.to_dict()``; keys may be missing.
    evaluation : mapping
        How it was judged; keys may be missing.

    Returns
    -------
    str
        Markdown.

    Examples
    --------
    >>> text = model_card(
    ...     version="3", as_of="1998-06-30", horizons=[90], orders={"n_customers": 23570}, cleaning={},
    ...     evaluation={"grade": "B", "grade_words": "Clearly better than the rules."},
    ... )
    >>> print(text.splitlines()[0])
    # repurchase, version 3
    >>> "Grade **B**. Clearly better than the rules." in text
    True
    """
    ahead = ", ".join(str(days) for days in horizons)
    blocks = [
        f"# repurchase, version {version}",
        f"Knows orders up to {as_of}. Says who buys again within {ahead} days, who does not, and what they spend.",
        "## Data",
        *_bullets(_data(orders, cleaning)),
        "## Grade",
        f"Grade **{evaluation.get('grade', '-')}**. {evaluation.get('grade_words', 'This model was not judged.')}",
        *_bullets([*_gains(evaluation), *_sentences(evaluation, "reasons")]),
        "## Limits",
        *_bullets([*_sentences(evaluation, "limits"), *_ALWAYS]),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


_ALWAYS = (
    "It learned from this shop's own past. A new assortment, a price change or a crisis is not in it.",
    "It knows orders only: not who was contacted, and not why someone bought. A low risk is no reason not to ask.",
    "Customers without a purchase have no score.",
    "No customer and no order line is kept in this folder.",
)


def _data(orders: Mapping[str, Any], cleaning: Mapping[str, Any]) -> list[str]:
    facts = []
    counts = [f"{orders[key]:,} {word}" for key, word in _COUNTS if isinstance(orders.get(key), int)]
    if counts:
        facts.append(" and ".join(counts) + ".")
    first, last = orders.get("first_order_date"), orders.get("last_order_date")
    if first and last:
        facts.append(f"First order {first}, last order {last}.")
    raw, kept = cleaning.get("n_raw"), cleaning.get("n_kept")
    if isinstance(raw, int) and isinstance(kept, int):
        why = "; why the others were not is in the run's cleaning.json" if kept < raw else ""
        facts.append(f"{kept:,} of {raw:,} rows were used{why}.")
    if orders.get("digest"):
        facts.append(f"SHA-256 of the files: `{orders['digest']}`.")
    return facts


_COUNTS = (("n_customers", "customers"), ("n_orders", "orders"))


def _gains(evaluation: Mapping[str, Any]) -> list[str]:
    lines = []
    for horizon in evaluation.get("horizons", []):
        days, model, gain = horizon.get("horizon_days"), horizon.get("model") or {}, horizon.get("log_loss_gain")
        if horizon.get("judged") and gain is not None and model.get("log_loss") is not None:
            better = "better" if gain > 0 else "worse"
            lines.append(
                f"{days} days: log loss {model['log_loss']:.4f}, {abs(gain) * 100:.1f} % {better} than the best rule."
            )
        elif horizon.get("why_not_judged"):
            lines.append(f"{days} days: not judged. {horizon['why_not_judged']}")
    return lines


def _sentences(evaluation: Mapping[str, Any], key: str) -> list[str]:
    return [str(sentence) for sentence in evaluation.get(key, [])]


def _bullets(sentences: Iterable[str]) -> list[str]:
    lines = [f"- {sentence}" for sentence in sentences]
    return ["\n".join(lines)] if lines else []
