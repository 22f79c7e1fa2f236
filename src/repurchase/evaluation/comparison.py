"""The model against simple rules: predictions by cutoff, calibrated rules, gains with intervals, curves for charts."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from repurchase.errors import InputError, first_few
from repurchase.evaluation.metrics import (
    Estimate,
    calibration_bins,
    estimate_with_interval,
    exact_mean,
    found_share,
    log_loss,
    log_losses,
    ratio_influence,
    top_influence,
    top_total,
    total_bias,
)
from repurchase.features.history import Floats
from repurchase.models.snapshots import Snapshot, Snapshots

_Bools = npt.NDArray[np.bool_]
_MAX_RULE_CUSTOMERS = 50_000
"""Customers of a snapshot from whom rules are calibrated, at most."""


def _days_since_last(snapshot: Snapshot) -> Floats:
    return np.asarray(-snapshot.features["days_since_last"])


def _past_rate(snapshot: Snapshot) -> Floats:
    """Repeat purchase days a day, with half a purchase and a month in hand for newcomers."""
    frequency, _, age = snapshot.rfm
    return np.asarray((frequency + 0.5) / (age + 30.0))


RULE_SCORES: dict[str, Callable[[Snapshot], Floats]] = {"days_since_last": _days_since_last, "past_rate": _past_rate}
"""Name to the number that ranks; higher means likelier to buy."""


@dataclass(frozen=True)
class _CalibratedRule:
    """A rule with the probabilities its number stood for."""

    name: str
    knots: tuple[float, ...]
    shares: tuple[float, ...]

    def p_purchase(self, snapshot: Snapshot) -> Floats:
        """Probability of a purchase day in the horizon the rule was fitted for."""
        return np.asarray(np.interp(RULE_SCORES[self.name](snapshot), self.knots, self.shares))

    def to_dict(self) -> dict[str, Any]:
        """Turn into plain JSON values."""
        return {"name": self.name, "knots": list(self.knots), "shares": list(self.shares)}


def fit_rule(
    name: str, snapshots: Sequence[Snapshot], bought: Sequence[_Bools], *, horizon_days: int
) -> _CalibratedRule:
    """Learn which probabilities a rule's number stood for at earlier snapshots.

    Cut-offs count as they do for the model, less the older they are. Each group of equal shares is moved toward the
    overall share as by one more customer, so that a small group never gets an extreme probability.
    """
    from sklearn.isotonic import IsotonicRegression

    rank = np.concatenate([RULE_SCORES[name](snapshot) for snapshot in snapshots])
    outcome = np.concatenate(bought).astype(np.float64)
    weight = np.concatenate(
        [np.full(snapshot.n_customers, _recency_weight(snapshots[0], snapshot, horizon_days)) for snapshot in snapshots]
    )
    fitted = IsotonicRegression(y_min=0.0, y_max=1.0).fit(rank, outcome, sample_weight=weight)
    shares = _shrunk_to_base_rate(fitted.predict(rank), outcome, weight)
    knots = fitted.X_thresholds_
    return _CalibratedRule(name, tuple(map(float, knots)), tuple(shares(level) for level in fitted.y_thresholds_))


def fit_rules(snapshots: Snapshots, as_of: date, *, horizon_days: int) -> tuple[dict[str, _CalibratedRule], float]:
    """Calibrate every rule on the windows known on a day; also the mean purchase days of the buyers in them."""
    days = snapshots.train_days(as_of, horizon_days=horizon_days)
    if not days:
        return {}, 1.0
    earlier = [snapshots.sample(day, most=_MAX_RULE_CUSTOMERS, random_state=0) for day in days]
    outcomes = [snapshots.outcomes(known, horizon_days=horizon_days) for known in earlier]
    bought = [outcome.bought for outcome in outcomes]
    rules = {name: fit_rule(name, earlier, bought, horizon_days=horizon_days) for name in RULE_SCORES}
    purchase_days = np.concatenate([outcome.purchase_days[outcome.bought] for outcome in outcomes])
    return rules, float(purchase_days.mean()) if len(purchase_days) else 1.0


def _recency_weight(latest: Snapshot, snapshot: Snapshot, horizon_days: int) -> float:
    """Weight of a snapshot, the latest one having 1: half for every horizon that it is older."""
    return float(2.0 ** (-(latest.as_of - snapshot.as_of).days / horizon_days))


def _shrunk_to_base_rate(levels: Floats, outcome: Floats, weight: Floats) -> Callable[[float], float]:
    blocks, member = np.unique(levels, return_inverse=True)
    size = np.bincount(member, weights=weight)
    base = float(np.average(outcome, weights=weight))
    moved = (np.bincount(member, weights=weight * outcome) + base) / (size + 1.0)
    rising = np.maximum.accumulate(np.clip(moved, 1e-6, 1.0 - 1e-6))
    return lambda level: float(rising[np.abs(blocks - level).argmin()])


MODEL = "model"
RULE_NAMES = {"days_since_last": "days since the last order", "past_rate": "the customer's own past rate"}
"""Rules a shop could follow without a model, calibrated on earlier outcomes, and their names in sentences."""
BTYD = "btyd"
MODEL_PARTS = (BTYD, "additive", "boosting")

_COLUMNS = ("horizon_days", "cutoff", "predictor", "customer", "p", "spend_expected", "bought", "spend")


@dataclass(frozen=True)
class PredictorOutput:
    """Predictions of one predictor at one cutoff."""

    p: Floats
    spend: Floats | None
    purchase_days: Floats | None = None

    @property
    def spend_order(self) -> Floats:
        """What customers are ranked by to find spend: expected spend, or the probability where there is none."""
        return self.p if self.spend is None else self.spend


@dataclass(frozen=True)
class Cutoff:
    """One horizon at one cutoff: outcomes, and the outputs of each predictor."""

    day: date
    horizon_days: int
    customers: npt.NDArray[np.int64]
    bought: npt.NDArray[np.bool_]
    spend: Floats | None
    outputs: dict[str, PredictorOutput]
    purchase_days: Floats | None = None


def cutoffs_at(predictions: pl.DataFrame, *, horizon_days: int) -> list[Cutoff]:
    """Split one horizon's predictions by cutoff.

    A predictor without probabilities at a cut-off is left out there; the model may not be.
    """
    missing = [name for name in _COLUMNS if name not in predictions.columns]
    if missing:
        raise InputError(f"predictions: {len(missing)} of {len(_COLUMNS)} columns are missing: {first_few(missing)}.")
    at_horizon = predictions.filter(pl.col("horizon_days") == horizon_days)
    days = sorted(at_horizon["cutoff"].unique().to_list())
    return [_cutoff(at_horizon.filter(pl.col("cutoff") == day), day, horizon_days) for day in days]


def rules_at_every_cutoff(cutoffs: Sequence[Cutoff]) -> list[str]:
    """Rules with predictions at every cutoff."""
    found = [rule for rule in RULE_NAMES if all(rule in cutoff.outputs for cutoff in cutoffs)]
    if not found:
        raise InputError(
            f"predictions: no rule at every one of {len(cutoffs)} cut-offs. Expected one of {', '.join(RULE_NAMES)}."
        )
    return found


def _cutoff(rows: pl.DataFrame, day: date, horizon_days: int) -> Cutoff:
    parts = dict(_complete_parts(rows, day, horizon_days))
    if MODEL not in parts:
        raise InputError(f"predictions: none of the model at cut-off {day}, {horizon_days} days ahead.")
    known = parts[MODEL].select("customer", "bought", "spend")
    n_twice = known.height - known["customer"].n_unique()
    if n_twice:
        raise InputError(f"predictions: {n_twice:,} customers appear more than once at cut-off {day}. Expected once.")
    other = [name for name, part in parts.items() if not part.select(known.columns).equals(known)]
    if other:
        raise InputError(
            f"predictions: {first_few(other)} at cut-off {day}, {horizon_days} days ahead, not on the model's "
            f"{known.height:,} customers and outcomes. Each predictor must see the same rows."
        )
    return Cutoff(
        day=day,
        horizon_days=horizon_days,
        customers=known["customer"].cast(pl.Int64).to_numpy(),
        bought=known["bought"].to_numpy(),
        spend=_complete(known, "spend"),
        outputs={
            name: PredictorOutput(
                part["p"].to_numpy(), _complete(part, "spend_expected"), _complete(part, "purchase_days_expected")
            )
            for name, part in parts.items()
        },
        purchase_days=_complete(parts[MODEL], "purchase_days"),
    )


def _complete_parts(rows: pl.DataFrame, day: date, horizon_days: int) -> Iterator[tuple[str, pl.DataFrame]]:
    for (name,), part in rows.partition_by("predictor", as_dict=True, maintain_order=True).items():
        n_missing = part["p"].null_count()
        if n_missing == part.height:
            continue
        n_wrong = n_missing + int((~part["p"].drop_nulls().is_between(0, 1)).sum())
        if n_wrong:
            raise InputError(
                f"predictions: {n_wrong:,} of {part.height:,} probabilities of '{name}' at cut-off {day}, "
                f"{horizon_days} days ahead, are missing or outside 0 to 1."
            )
        yield str(name), part.sort("customer")


def _complete(rows: pl.DataFrame, name: str) -> Floats | None:
    if name not in rows.columns or rows[name].null_count():
        return None
    return rows[name].cast(pl.Float64).to_numpy()


CONTACTED_SHARE = 0.1
"""Share of customers a campaign is taken to reach."""


@dataclass(frozen=True)
class ListComparison:
    """The model's contact list compared with the best rule's list of the same length."""

    model: float
    rule: float
    rule_name: str
    gain: Estimate
    available: float


@dataclass(frozen=True)
class TotalError:
    """How far the model's total is off."""

    bias: Estimate
    by_cutoff: tuple[float, ...]

    @property
    def error(self) -> float:
        """Mean size of the error at one cut-off, whichever its sign: what to expect next time."""
        return exact_mean(np.abs(np.asarray(self.defined)))

    @property
    def defined(self) -> tuple[float, ...]:
        """The errors of the cutoffs with a total above zero."""
        return tuple(bias for bias in self.by_cutoff if not math.isnan(bias))


def log_loss_gain(cutoffs: Sequence[Cutoff], *, rule: str) -> Estimate:
    """Share of a rule's log loss that the model saves.

    1 - M / R, with M and R the mean log losses of model and rule, each the mean over cut-offs of the mean over
    customers. Both are judged on the same customers, so what is hard for both cancels and the interval is narrow.
    """
    ours = [log_losses(cutoff.bought, cutoff.outputs[MODEL].p) for cutoff in cutoffs]
    theirs = [log_losses(cutoff.bought, cutoff.outputs[rule].p) for cutoff in cutoffs]
    below = math.fsum(map(exact_mean, theirs))
    left = math.fsum(map(exact_mean, ours)) / below
    influences = [(left * b - a) / (len(a) * below) for a, b in zip(ours, theirs, strict=True)]
    return estimate_with_interval(1 - left, influences, [cutoff.customers for cutoff in cutoffs])


def gains_by_cutoff(cutoffs: Sequence[Cutoff], *, rules: Sequence[str]) -> tuple[float, ...]:
    """Share of log loss saved against whichever rule was best at that very cut-off."""
    losses = [{name: log_loss(cutoff.bought, cutoff.outputs[name].p) for name in (MODEL, *rules)} for cutoff in cutoffs]
    return tuple(1 - loss[MODEL] / min(loss[rule] for rule in rules) for loss in losses)


def buyers_found(cutoffs: Sequence[Cutoff], *, rules: Sequence[str]) -> ListComparison:
    """Buyers found by contacting the top ``CONTACTED_SHARE`` by probability, model and best rule."""
    return _compare_lists(
        cutoffs, rules, lambda cutoff, name: (cutoff.bought.astype(np.float64), cutoff.outputs[name].p)
    )


def money_found(cutoffs: Sequence[Cutoff], *, rules: Sequence[str]) -> ListComparison | None:
    """Net spend found by contacting the top ``CONTACTED_SHARE``, model and best rule.

    Each ranks by its own expected spend, or by its probability where it expects none. It counts what the customers
    contacted spent anyway: not what contacting them would add.
    """
    spends = {id(cutoff): cutoff.spend for cutoff in cutoffs if cutoff.spend is not None}
    if len(spends) < len(cutoffs):
        return None
    return _compare_lists(cutoffs, rules, lambda cutoff, name: (spends[id(cutoff)], cutoff.outputs[name].spend_order))


def buyer_total_error(cutoffs: Sequence[Cutoff]) -> TotalError:
    """How far the model's probabilities, added up, are from the number that bought."""
    return _total_error(cutoffs, [(cutoff.bought.astype(np.float64), cutoff.outputs[MODEL].p) for cutoff in cutoffs])


def spend_total_error(cutoffs: Sequence[Cutoff]) -> TotalError | None:
    """How far the model's expected spend, added up, is from the actual total."""
    pairs = [(cutoff.spend, cutoff.outputs[MODEL].spend) for cutoff in cutoffs]
    known = [(spend, expected) for spend, expected in pairs if spend is not None and expected is not None]
    return _total_error(cutoffs, known) if len(known) == len(cutoffs) else None


def _total_error(cutoffs: Sequence[Cutoff], pairs: Sequence[tuple[Floats, Floats]]) -> TotalError:
    biases = tuple(total_bias(actual, expected) for actual, expected in pairs)
    judged = [index for index, bias in enumerate(biases) if not math.isnan(bias)]
    influences = [ratio_influence(pairs[index][1], pairs[index][0]) / len(judged) for index in judged]
    customers = [cutoffs[index].customers for index in judged]
    return TotalError(
        estimate_with_interval(exact_mean(np.asarray([biases[index] for index in judged])), influences, customers),
        biases,
    )


def _compare_lists(
    cutoffs: Sequence[Cutoff], rules: Sequence[str], values_and_score: Callable[[Cutoff, str], tuple[Floats, Floats]]
) -> ListComparison:
    count = len(cutoffs)
    pairs = {name: [values_and_score(cutoff, name) for cutoff in cutoffs] for name in (MODEL, *rules)}
    found = {name: math.fsum(top_total(*pair, share=CONTACTED_SHARE) for pair in pairs[name]) / count for name in pairs}
    rule = max(rules, key=found.__getitem__)
    influences = [
        (top_influence(*ours, share=CONTACTED_SHARE) - top_influence(*theirs, share=CONTACTED_SHARE)) / count
        for ours, theirs in zip(pairs[MODEL], pairs[rule], strict=True)
    ]
    gain = estimate_with_interval(found[MODEL] - found[rule], influences, [cutoff.customers for cutoff in cutoffs])
    available = math.fsum(math.fsum(values.tolist()) for values, _ in pairs[MODEL]) / count
    return ListComparison(model=found[MODEL], rule=found[rule], rule_name=rule, gain=gain, available=available)


_CURVE_SHARES = np.round(np.linspace(0, 1, 51), 2)
"""Shares of customers contacted at which gains curves are kept."""


def calibration_row(cutoffs: Sequence[Cutoff], *, predictor: str) -> dict[str, Any]:
    """Predicted against actual share of buyers, over all cutoffs together."""
    bought = np.concatenate([cutoff.bought for cutoff in cutoffs])
    bins = calibration_bins(bought, np.concatenate([cutoff.outputs[predictor].p for cutoff in cutoffs]))
    groups = zip(bins.predicted.tolist(), bins.observed.tolist(), bins.size.tolist(), strict=True)
    shown = [{"p_mean": p, "bought_share": share, "n": n} for p, share, n in groups]
    return {"horizon_days": cutoffs[0].horizon_days, "predictor": predictor, "bins": shown}


def gains_row(cutoffs: Sequence[Cutoff], *, predictor: str) -> dict[str, Any]:
    """Shares of buyers and of spend found by contacting the top of the list, mean of the cut-offs' curves.

    Buyers are sought by probability; spend by expected spend, or by probability where none is expected.
    """
    buyers = [found_share(cutoff.bought, cutoff.outputs[predictor].p, _CURVE_SHARES) for cutoff in cutoffs]
    money = [
        found_share(cutoff.spend, cutoff.outputs[predictor].spend_order, _CURVE_SHARES)
        for cutoff in cutoffs
        if cutoff.spend is not None
    ]
    return {
        "horizon_days": cutoffs[0].horizon_days,
        "predictor": predictor,
        "contacted_share": _CURVE_SHARES.tolist(),
        "buyers_share": _mean_curve(buyers),
        "spend_share": _mean_curve(money),
    }


def _mean_curve(curves: Sequence[Floats]) -> list[float] | None:
    defined = [curve.tolist() for curve in curves if not np.isnan(curve).any()]
    return [sum(points) / len(defined) for points in zip(*defined, strict=True)] if defined else None
