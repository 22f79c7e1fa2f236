"""The shape of the record of a scoring run, as far as it is read: an edited one is told of, not stumbled over."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from typing import Any, NamedTuple

__all__ = ["misshapen", "misshapen_monitor"]


_LARGEST = 1e15
"""Beyond money and rows of any shop."""


class _Maybe(NamedTuple):
    shape: Any


# A shape is a test of one value; [shape], a list of such; or fields by name: "name?" may be absent, "*" is any other.
_Shape = Callable[[Any], bool] | list[Any] | Mapping[str, Any] | _Maybe


def misshapen(run: Any) -> str | None:
    """Say what in the record of a run is not as `repurchase score` writes it.

    Parameters
    ----------
    run : object
        What the JSON holds.

    Returns
    -------
    str or None
        Where the first fault stands; None where there is none.

    Examples
    --------
    >>> misshapen({"tiers": None, "evaluation": {"horizons": [{"horizon_days": 30}, {"horizon_days": "90"}]}})
    'evaluation.horizons[1].horizon_days'
    """
    return _fault(run, _RUN, "") or _unequal_curve(run)


def misshapen_monitor(record: Any) -> str | None:
    """Say what in a record of monitoring is not as `repurchase monitor` writes it.

    Parameters
    ----------
    record : object
        What the JSON holds.

    Returns
    -------
    str or None
        Where the first fault stands; None where there is none.

    Examples
    --------
    >>> misshapen_monitor({"observed_until": "yesterday"})
    'observed_until'
    """
    return _fault(record, _MONITOR, "")


def _fault(value: Any, shape: _Shape, at: str) -> str | None:
    if isinstance(shape, _Maybe):
        is_absent = value is None or (value == {} and isinstance(shape.shape, Mapping))
        return None if is_absent else _fault(value, shape.shape, at)
    parts: Iterable[tuple[str, Any, _Shape]] | None
    if isinstance(shape, list):
        parts = ((f"{at}[{n}]", one, shape[0]) for n, one in enumerate(value)) if isinstance(value, list) else None
    elif isinstance(shape, Mapping):
        parts = _fields(value, shape, at) if isinstance(value, dict) else None
    else:
        return None if shape(value) else at
    if parts is None:
        return at
    return next((found for place, one, inner in parts if (found := _fault(one, inner, place)) is not None), None)


def _unequal_curve(run: Mapping[str, Any]) -> str | None:
    """The first gains curve whose two sides differ in length."""
    for number, curve in enumerate((run.get("evaluation") or {}).get("gains") or []):
        buyers, contacted = curve.get("buyers_share"), curve.get("contacted_share")
        if buyers and contacted and len(buyers) != len(contacted):
            return f"evaluation.gains[{number}]"
    return None


def _fields(value: dict[str, Any], shape: Mapping[str, Any], at: str) -> Iterator[tuple[str, Any, _Shape]]:
    for named, inner in shape.items():
        name = named.removesuffix("?")
        if named == "*":
            yield from ((f"{at}.{key}".lstrip("."), one, inner) for key, one in value.items())
        elif name in value:
            yield f"{at}.{name}".lstrip("."), value[name], inner
        elif named == name:
            yield f"{at}.{name}".lstrip("."), None, _never


def _anything(_: Any) -> bool:
    return True


def _never(_: Any) -> bool:
    return False


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LARGEST


def _day(value: Any) -> bool:
    try:
        return bool(date.fromisoformat(value))
    except (TypeError, ValueError):
        return False


def _month(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", value) is not None


def _period(value: Any) -> bool:
    return value in ("week", "month", "quarter", "year")


def _param(value: Any) -> bool:
    """A parameter of a fact: text, a number, or a list of texts with the count of each."""
    if not isinstance(value, list):
        return _text(value) or _number(value)
    pairs = all(isinstance(item, list) and len(item) == 2 for item in value)
    return pairs and all(_text(name) and (number is None or _count(number)) for name, number in value)


def _by_days(shape: _Shape) -> _Shape:
    return lambda told: (
        isinstance(told, dict)
        and all(days.isdecimal() and _fault(one, shape, days) is None for days, one in told.items())
    )


def _known(**fields: Any) -> dict[str, Any]:
    return {f"{name}?": _Maybe(shape) for name, shape in fields.items()}


_FIGURES = _known(log_loss=_number, auc=_number, ece=_number, base_rate=_number, top_decile_lift=_number)
_JUDGED = {
    "horizon_days": _count,
    **_known(
        judged=_flag,
        n_cutoffs=_count,
        grade=_text,
        log_loss_gain=_number,
        why_not_judged=_text,
        model=_FIGURES,
        rules={"*": _Maybe(_FIGURES)},
    ),
}
_CURVE = {"horizon_days": _count, "predictor": _text}
_BIN = {"n": _count, "p_mean": _Maybe(_number), "bought_share": _Maybe(_number)}
_GAINS = {**_CURVE, "buyers_share": _Maybe([_number]), "contacted_share?": _Maybe([_number])}
_EVALUATION = _known(
    primary_horizon_days=_count,
    grade=_text,
    grade_words=_text,
    rule=_text,
    best_rule=_text,
    reasons=[_text],
    limits=[_text],
    horizons=[_JUDGED],
    backtest=[{**_CURVE, "spend_bias?": _Maybe(_number)}],
    calibration=[{**_CURVE, "bins": _Maybe([_BIN])}],
    gains=[_GAINS],
    money_top_decile=_known(model=_number, best_rule=_number, currency=_text),
)
_MONTH = {
    "month": _month,
    "repeat_rate": _Maybe(_number),
    "retention": _Maybe(_number),
    "customers": _count,
    "returning_customers": _count,
    **_known(new_customers=_count, orders=_count, sales=_number, returning_sales=_number, reorders=_count),
    **_known(retention_year=_number, complete=_flag),
}
_COHORT = {"cohort": _text, "size": _count, "active_share": [_number], "sales_share?": _Maybe([_Maybe(_number)])}
_SPENDER = {
    "customers": _count,
    "sales_per_customer": _Maybe(_number),
    "sales_per_purchase_day": _Maybe(_number),
}
_RHYTHM = {"quarter_days": _number, "median_days": _number, "three_quarters_days": _number}
_MEASURES = {
    "as_of": _day,
    **_known(
        n_customers=_count,
        n_orders=_count,
        repeat_purchase_rate=_number,
        repeat_within=_by_days(_Maybe(_number)),
        repeat_within_observed=_by_days(_count),
        median_days_to_second=_number,
        median_within_days=_count,
        sales_total=_number,
        returning_sales_share=_number,
        reorder_rate=_number,
        spenders={"*": _Maybe(_SPENDER)},
        rhythm=_RHYTHM,
        monthly=[_MONTH],
        cohorts=[_COHORT],
    ),
    "retention_window_days?": _count,
    "cohort_period?": _period,
}
_REASON = {"reason": _text, "rows": _count, **_known(found=_count, treatment=_text, words=_text)}
_CLEANING = {"reasons?": [_REASON], **_known(n_raw=_count, n_kept=_count, notes=[_text], currency=_text)}
_FEATURE = {"feature": _text, "level": _text, "psi": _Maybe(_number), "usual": _Maybe(_number)}
_DRIFT = {"words": _text, "drifted": _flag, "features?": _Maybe([_FEATURE])}
_TIERS = {
    "risk_horizon_days": _count,
    "high_value": _number,
    "second_purchase_days": _number,
    "worth_winning": _number,
    "worth_value?": _number,
    "second_purchase_from_days?": _Maybe(_number),
    "second_purchase_median_days?": _Maybe(_number),
    "usual_gap_days?": _number,
    "late_from?": _number,
    "loyal_purchases?": _count,
}
_FACT = {"key": _text, "params": {"*": _param}}
_UNUSED = {"column": _text, "why": _FACT}
_ROLE = {"role": _text, "column": _Maybe(_text), "meaning": _FACT, "evidence": [_FACT], "rejected": [_UNUSED]}
_READING = {"roles": [_ROLE], "ignored": [_UNUSED]}
_RUN = _known(
    created_at=_text,
    repurchase_version=_text,
    model_version=_text,
    model_as_of=_day,
    clv_horizon_days=_count,
    discount_rate=_number,
    currency=_text,
    notes=[_text],
    duplicates=[_text],
    forgotten=[{"*": _anything}],
    list=_text,
    pseudonyms={"method": _text, "key": _text},
    engine=_known(engine=_text),
    orders=_known(source=_text, digest=_text, layout=_text, columns={"*": _text}, reading=_READING),
    outputs={"*": _Maybe({"path?": _text, "sha256?": _Maybe(_text)})},
    cleaning=_Maybe(_CLEANING),
    drift=_DRIFT,
    tiers=_TIERS,
    measures=_MEASURES,
    evaluation=_EVALUATION,
)
_TOTALS = {"expected": _number, "came": _number}
_TOP_DECILE = {
    "available": _number,
    "by_expected_spend": _number,
    **_known(by_value_at_risk=_number, by_best_rule=_number),
}
_PASSED = {
    "passed": _flag,
    "horizon_days": _count,
    "n_customers": _count,
    "p_mean": _number,
    "bought_share": _number,
    "model": {
        "log_loss": _Maybe(_number),
        "auc": _Maybe(_number),
        "ece": _Maybe(_number),
        "excess_ece?": _Maybe(_number),
    },
    "rules": {"*": {"log_loss": _Maybe(_number)}},
    "orders": _TOTALS,
    "spend": _Maybe(_TOTALS),
    "money_top_decile": _Maybe(_TOP_DECILE),
    "grade": _Maybe(_text),
    "then?": _Maybe(_known(grade=_text, ece=_number, auc=_number)),
}
_WAITING = {"passed": _flag, "horizon_days": _count, "days_missing": _count, "ends": _day}


def _horizon(row: Any) -> bool:
    shape = _PASSED if isinstance(row, dict) and row.get("passed") is True else _WAITING
    return _fault(row, shape, "") is None


_RANGE = {"n": _count, "inside": _Maybe(_number)}
_MONITOR = {
    "observed_until": _day,
    "horizons": [_horizon],
    "ranges": {"clv": _RANGE, "next_order": _RANGE},
    "advice": {"retrain": _flag, "words": _text},
    "notes?": _Maybe([_text]),
}
