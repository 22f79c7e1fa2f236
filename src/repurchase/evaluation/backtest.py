"""Rolling-origin backtest: fit on earlier days, predict windows whose outcomes are known."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
from joblib import Parallel, delayed

from repurchase.evaluation.comparison import BTYD, PredictorOutput, fit_rules
from repurchase.features.history import Outcomes
from repurchase.features.ledger import train_cutoffs
from repurchase.i18n.messages import Message, message
from repurchase.models.horizons import Forecaster, fit_forecaster
from repurchase.models.snapshots import Snapshot, Snapshots

_MAX_CUTOFFS = 3
_MIN_STEP_DAYS = 30
_MAX_JUDGED_CUSTOMERS = 50_000
"""More than that are sampled: enough that a figure's own noise is far below a grade's step."""


@dataclass(frozen=True)
class _Backtest:
    """Predictions made on earlier days, and the horizons for which none could be made."""

    predictions: pl.DataFrame
    not_judged: Mapping[int, Message]


def backtest_days(
    snapshots: Snapshots, as_of: date, *, horizon_days: int, most_cutoffs: int = _MAX_CUTOFFS
) -> Sequence[date]:
    """Choose days to judge a horizon on: outcomes known by ``as_of``, and earlier outcomes to learn from."""
    days = train_cutoffs(
        first_day=snapshots.ledger.first_day,
        as_of=as_of,
        horizon_days=horizon_days,
        most=most_cutoffs,
        step_days=max(_MIN_STEP_DAYS, horizon_days // 30 * 10),
    )
    return [day for day in days if snapshots.train_days(day, horizon_days=horizon_days, most=1)]


def backtest(
    snapshots: Snapshots,
    as_of: date,
    *,
    random_state: int,
    jobs: int = 1,
    on_progress: Callable[[int, int], None] | None = None,
) -> _Backtest:
    """Fit on what was known on earlier days, and predict what is known by now."""
    days = {h: backtest_days(snapshots, as_of, horizon_days=h) for h in snapshots.horizons}
    fits = [(h, day) for h, some in days.items() for day in some]
    frames = []
    judging = Parallel(n_jobs=jobs, return_as="generator")(
        delayed(_fit_and_predict)(snapshots, day, horizon_days=h, random_state=random_state) for h, day in fits
    )
    for frame in judging:
        frames.append(frame)
        if on_progress:
            on_progress(len(frames), len(fits))
    not_judged = {h: message("not_judged.too_short") for h, some in days.items() if not some}
    return _Backtest(pl.concat(frames) if frames else _no_predictions(), not_judged)


def _fit_and_predict(snapshots: Snapshots, day: date, *, horizon_days: int, random_state: int) -> pl.DataFrame:
    forecaster = fit_forecaster(snapshots, day, horizons=(horizon_days,), random_state=random_state, days_ahead=(0,))
    return record_predictions(forecaster, snapshots, day, horizon_days=horizon_days)


def record_predictions(forecaster: Forecaster, snapshots: Snapshots, day: date, *, horizon_days: int) -> pl.DataFrame:
    """Predictions of fitted models and of the rules on a day, with the outcomes."""
    snapshot = snapshots.sample(day, most=_MAX_JUDGED_CUSTOMERS, random_state=0)
    outcome = snapshots.outcomes(snapshot, horizon_days=horizon_days)
    outputs = _predictor_outputs(forecaster, snapshots, snapshot, horizon_days=horizon_days)
    frames = [_prediction_frame(name, snapshot, outcome, expected) for name, expected in outputs]
    labels = (
        pl.lit(horizon_days, dtype=pl.Int64).alias("horizon_days"),
        pl.lit(snapshots.ledger.calendar_date(day)).alias("cutoff"),
    )
    return pl.concat(frames).select(*labels, pl.all())


def _predictor_outputs(
    forecaster: Forecaster, snapshots: Snapshots, snapshot: Snapshot, *, horizon_days: int
) -> Iterator[tuple[str, PredictorOutput]]:
    """Outputs of each predictor; a rule's buyers have as many purchase days as earlier buyers had on average."""
    forecast, h = forecaster.forecast(snapshot, days=(horizon_days,)), horizon_days
    yield "model", PredictorOutput(forecast.p[h], forecast.spend.get(h), forecast.orders[h])
    btyd_days = np.clip(snapshot.btyd_forecast(forecaster.reference.btyd).expected_purchases(h), 0.0, h)
    for part, by_horizon in forecast.p_parts.items():
        if h in by_horizon:
            yield part, PredictorOutput(by_horizon[h], None, btyd_days if part == BTYD else None)
    rules, days_if_bought = fit_rules(snapshots, snapshot.as_of, horizon_days=h)
    for name, rule in rules.items():
        p = rule.p_purchase(snapshot)
        yield name, PredictorOutput(p, None, p * days_if_bought)


def _prediction_frame(name: str, snapshot: Snapshot, outcome: Outcomes, expected: PredictorOutput) -> pl.DataFrame:
    n = len(expected.p)
    nothing = np.full(n, np.nan)
    spend, days = (nothing if values is None else values for values in (expected.spend, expected.purchase_days))
    return pl.DataFrame(
        {
            "predictor": pl.Series([name] * n, dtype=pl.String()),
            "customer": snapshot.history.customer.astype(np.uint32),
            "p": expected.p,
            "spend_expected": pl.Series(spend).fill_nan(None),
            "purchase_days_expected": pl.Series(days).fill_nan(None),
            "bought": outcome.bought,
            "spend": pl.Series(outcome.spend).fill_nan(None),
            "purchase_days": outcome.purchase_days,
        }
    )


def _no_predictions() -> pl.DataFrame:
    return pl.DataFrame(
        schema={
            "horizon_days": pl.Int64(),
            "cutoff": pl.Date(),
            "predictor": pl.String(),
            "customer": pl.UInt32(),
            "p": pl.Float64(),
            "spend_expected": pl.Float64(),
            "purchase_days_expected": pl.Float64(),
            "bought": pl.Boolean(),
            "spend": pl.Float64(),
            "purchase_days": pl.Int64(),
        }
    )
