"""What the numbers of a bundle may be: digests say that it is as it was written, not that a model wrote it."""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from repurchase.errors import BundleError

__all__ = ["require_sound"]

DEEPEST = 40
MOST_NOTES, LONGEST_TEXT = 200, 2000

Check = tuple[Callable[[Any], bool], str]


def _number(least: float, most: float) -> Check:
    return lambda value: _is_number(value) and least <= value <= most, f"a number from {least:g} to {most:g}"


def _whole(least: int, most: int) -> Check:
    return lambda value: type(value) is int and least <= value <= most, f"a whole number from {least} to {most}"


def _optional(check: Check) -> Check:
    return lambda value: value is None or check[0](value), f"{check[1]}, or null"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_horizons(value: Any) -> bool:
    is_list = isinstance(value, list) and 1 <= len(value) <= 60
    return is_list and all(type(day) is int and 1 <= day <= 3650 for day in value) and len(set(value)) == len(value)


def _is_texts(value: Any) -> bool:
    is_list = isinstance(value, list) and len(value) <= MOST_NOTES
    return is_list and all(isinstance(text, str) and len(text) <= LONGEST_TEXT for text in value)


def _is_day(value: Any) -> bool:
    try:
        return bool(date.fromisoformat(value))
    except (TypeError, ValueError):
        return False


_SHAPE = _number(1e-12, 1e12)
_DAYS = _optional(_number(0, 1e6))
_SHARE = _optional(_number(0, 1))
_HORIZONS: Check = (_is_horizons, "1 to 60 different numbers of days, each from 1 to 3650")
_TABLE: Check = (lambda value: isinstance(value, dict), "a table")
_CHECKS: Mapping[str, Mapping[str, Check]] = {
    "manifest.json": {
        "as_of": (_is_day, "a day such as 2024-12-31"),
        "horizons": _HORIZONS,
        "model_version": (
            lambda value: isinstance(value, str) and bool(re.fullmatch(r"\d{1,9}|unregistered", value)),
            "a version number",
        ),
        "grade": (lambda value: isinstance(value, str) and len(value) <= 10, "a grade such as B"),
        "settings": _TABLE,
    },
    "model.json": {
        "horizons": _HORIZONS,
        "settings": _TABLE,
        "settings.clv_horizon_days": _whole(1, 3650),
        "settings.discount_rate": _number(0, 0.999999),
        "settings.n_jobs": _whole(-1, 4096),
        "settings.random_state": _whole(0, 2**32 - 1),
        "notes": (_is_texts, f"up to {MOST_NOTES} texts of up to {LONGEST_TEXT} characters"),
    },
    "btyd.json": {
        **{f"{family}.{name}": _SHAPE for family in ("mbgnbd", "bgnbd") for name in ("r", "alpha", "a", "b")},
        **{f"gamma_gamma.{name}": _optional(_SHAPE) for name in ("p", "q", "v")},
        "gamma_gamma.fallback_mean": _optional(_number(0, 1e15)),
    },
    "tiers.json": {
        "risk_horizon_days": _optional(_whole(1, 3650)),
        **dict.fromkeys(("worth_winning", "high_risk_from", "low_risk_below"), _SHARE),
        **dict.fromkeys(("second_purchase_days", "second_purchase_from_days", "second_purchase_median_days"), _DAYS),
        **dict.fromkeys(("usual_gap_days", "late_from"), _DAYS),
        **dict.fromkeys(("high_value", "worth_value"), _optional(_number(-1e15, 1e15))),
        "loyal_purchases": _optional(_whole(1, 100_000)),
    },
}
"""What a part may hold where it holds it; what a model needs, it demands itself when it is put together."""


def require_sound(folder: Path, parts: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Refuse a bundle whose digests are right and whose content no training wrote.

    Parameters
    ----------
    folder : Path
        Where it lies.
    parts : mapping of str to JSON value
        Its files by name, the manifest among them.
    state : mapping
        What the model is made of.

    Raises
    ------
    BundleError
        If a value is of another type, out of its range or nested without end, or no model can be made of the state.
    """
    for name, content in parts.items():
        _require_shallow(folder / name, content)
        if not isinstance(content, dict) and content is not None:
            raise BundleError(_refusal(folder / name, "its content", "a table", content))
        for key, (holds, expected) in _CHECKS.get(name, {}).items():
            for value in _found(content or {}, key.split(".")):
                if not holds(value):
                    raise BundleError(_refusal(folder / name, f"'{key}'", expected, value))
    _require_model(folder, state)


def _found(content: Any, keys: list[str]) -> Iterator[Any]:
    if not keys:
        yield content
    elif isinstance(content, dict) and keys[0] in content:
        yield from _found(content[keys[0]], keys[1:])


def _require_shallow(path: Path, content: Any) -> None:
    level, depth = [content], 0
    while level:
        level = [
            item
            for value in level
            if isinstance(value, dict | list)
            for item in (value.values() if isinstance(value, dict) else value)
        ]
        depth += 1
        if depth > DEEPEST:
            raise BundleError(
                f"{path}: nested more than {DEEPEST} levels deep. Fetch the bundle again, or train again."
            )


def _require_model(folder: Path, state: Mapping[str, Any]) -> None:
    calibration = state.get("calibration")
    if not isinstance(calibration, dict) or "heads" not in calibration:
        return  # kept by a program that has a model of its own; ours always has them
    from repurchase.estimators.fitted import FittedModel

    try:
        FittedModel.from_state(state)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as fault:
        raise BundleError(
            f"{folder}: no model can be made of this bundle ({type(fault).__name__}: {fault}). Fetch it again, or "
            "train again."
        ) from fault


def _refusal(path: Path, what: str, expected: str, value: object) -> str:
    shown = repr(value)
    shown = shown if len(shown) <= LONGEST_TEXT // 25 else f"{shown[: LONGEST_TEXT // 25]}…"
    return f"{path}: {what} must be {expected}. Got {shown} instead. Fetch the bundle again, or train again."
