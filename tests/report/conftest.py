"""Scores, measures and an evaluation to show: plausible, generated, and true to the contracts."""

import copy
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from repurchase.marketing.repeat_business import measure_orders
from repurchase.orders.layout import Fact, ReadingDecision, RoleDecision
from repurchase.schemas import scores_table

AS_OF = date(2024, 12, 31)
STATUSES = [["Betalt", 12345], ["Sendt", 1], *([f"S{number}", 1] for number in range(8))]
READING = ReadingDecision(
    (
        RoleDecision(
            "customer_id",
            "E-post",
            Fact("customer_email"),
            (Fact("by_name"),),
            (
                ("Kundenr", Fact("placeholder", {"value": "0", "rows": 1, "total": 2000})),
                ("Navn", Fact("lower_rank", {"column": "E-post"})),
            ),
        ),
        RoleDecision("order_id", None, Fact("no_order_id")),
        RoleDecision(
            "money", "Sum", Fact("money_order"), (Fact("named"), Fact("constant", {"share": 0.995, "orders": 21}))
        ),
        RoleDecision("status", "Status", Fact("status"), (Fact("status_sale", {"statuses": STATUSES}),)),
    ),
    (("Refusjonsnotat", Fact("unused_refund")),),
)
"""How an export was read."""
HORIZONS = (30, 90, 365)


def scores(customers: int = 300, *, money: bool = True, horizons: tuple[int, ...] = HORIZONS) -> pl.DataFrame:
    """Scores in which those who were silent for longer are less likely to buy."""
    rng = np.random.default_rng(7)
    silent = rng.integers(0, 400, customers)
    frequency = np.minimum(rng.geometric(0.4, customers) - 1, 12)
    spend = rng.gamma(2.0, 30.0, customers)
    frame = pl.DataFrame(
        {
            "customer_id": [f"c{number:04d}" for number in range(customers)],
            "as_of": [AS_OF] * customers,
            "model_version": ["4"] * customers,
            "status": ["scored"] * customers,
            "orders": (frequency + 1).astype(np.int64),
            "first_order_date": [AS_OF - timedelta(days=int(day) + 40) for day in silent],
            "last_order_date": [AS_OF - timedelta(days=int(day)) for day in silent],
            "days_since_last": silent.astype(np.int64),
            "spend_total": spend * (frequency + 1),
            "frequency": frequency.astype(np.int64),
            "recency_days": np.full(customers, 40, np.int64),
            "age_days": (silent + 40).astype(np.int64),
            "spend_mean": spend,
            "p_alive": np.exp(-silent / 300),
        }
    )
    for h in horizons:
        p = (1 - np.exp(-h / 90 * (0.2 + frequency / 4))) * np.exp(-silent / 200)
        values = {"p_repurchase": p, "churn_risk": 1 - p, "orders_expected": 1.3 * p, "spend_expected": spend * p}
        frame = frame.with_columns(pl.Series(f"{name}_{h}d", column) for name, column in values.items())
    risk = pl.col(f"churn_risk_{horizons[-1]}d")
    frame = frame.with_columns(
        clv=pl.col(f"spend_expected_{horizons[-1]}d") * 1.5,
        next_order_date=pl.lit(AS_OF),
        segment=pl.when(risk > 0.8).then(pl.lit("lost")).otherwise(pl.lit("regular")),
        risk_band=pl.when(risk >= 0.7)
        .then(pl.lit("high"))
        .when(risk >= 0.3)
        .then(pl.lit("medium"))
        .otherwise(pl.lit("low")),
        reason_1=pl.format("silent for {} days", "days_since_last"),
        reason_2=pl.lit(None, dtype=pl.String()),
        reason_3=pl.lit(None, dtype=pl.String()),
        action=pl.lit("remind when the next order is due"),
    ).with_columns(
        clv_low=pl.col("clv") * 0.1,
        clv_high=pl.col("clv") * 3,
        next_order_date_low=pl.col("next_order_date"),
        next_order_date_high=pl.col("next_order_date"),
        next_order_note=pl.lit(None, dtype=pl.String()),
        value_at_risk=pl.col("clv") * risk,
    )
    if not money:
        moneyed = [name for name in frame.columns if name.startswith(("spend", "clv", "value_at_risk"))]
        frame = frame.with_columns(pl.lit(None, dtype=pl.Float64()).alias(name) for name in moneyed)
    table = scores_table(horizons)
    return table.check(frame.select(table.names))


def _metrics(loss: float, ece: float) -> dict[str, float]:
    return {
        "log_loss": loss, "auc": 0.8, "average_precision": 0.5, "ece": ece, "brier": 0.1,
        "base_rate": 0.12, "top_decile_lift": 4.0, "spend_gini": 0.7, "spend_bias": 0.01,
    }  # fmt: skip


def evaluation() -> dict[str, Any]:
    """Two horizons judged, one not."""
    curves = {"model": (0.0, 0.62, 1.0), "days_since_last": (0.0, 0.44, 1.0), "past_rate": (0.0, 0.4, 1.0)}
    bins = [{"p_mean": 0.1, "bought_share": 0.12, "n": 50}, {"p_mean": 0.6, "bought_share": 0.55, "n": 50}]
    rules = {"days_since_last": _metrics(0.37, 0.14), "past_rate": _metrics(0.4, 0.1)}
    judged = {"judged": True, "n_cutoffs": 3, "model": _metrics(0.32, 0.011), "rules": rules, "parts": {}}
    return {
        "schema": 1,
        "primary_horizon_days": 90,
        "grade": "A",
        "grade_words": "Clearly better than every simple rule.",
        "rule": "A from 10 % less log loss than the best rule, at every cut-off.",
        "best_rule": "days_since_last",
        "reasons": ["Log loss 0.3200 against 0.3700."],
        "limits": ["How the model does at Christmas was not seen."],
        "horizons": [
            {"horizon_days": 30, **judged, "log_loss_gain": -0.02, "why_not_judged": None},
            {"horizon_days": 90, **judged, "grade": "A", "log_loss_gain": 0.135, "why_not_judged": None},
            {
                "horizon_days": 365,
                "judged": False,
                "n_cutoffs": 0,
                "model": None,
                "rules": {},
                "parts": {},
                "log_loss_gain": None,
                "why_not_judged": "the log is too short",
            },
        ],
        "backtest": [],
        "calibration": [{"horizon_days": h, "predictor": name, "bins": bins} for h in (30, 90) for name in curves],
        "gains": [
            {"horizon_days": h, "predictor": name, "contacted_share": [0.0, 0.2, 1.0], "buyers_share": list(curve)}
            for h in (30, 90)
            for name, curve in curves.items()
        ],
        "money_top_decile": {"model": 41234.0, "best_rule": 35012.0, "currency": "GBP"},
    }


def cleaning() -> dict[str, Any]:
    """1,000 rows, of which 850 are used."""
    reasons = [
        {"reason": "missing_customer", "rows": 100, "found": 100, "treatment": "set_aside", "words": "no customer id"},
        {"reason": "duplicate_line", "rows": 30, "found": 45, "treatment": "set_aside", "words": "equal to another"},
        {"reason": "return", "rows": 20, "found": 20, "treatment": "netted", "words": "a return"},
    ]
    return {"n_raw": 1000, "n_kept": 850, "reasons": reasons, "notes": ["read as Latin-1"], "currency": "GBP"}


@pytest.fixture(scope="session")
def scored() -> pl.DataFrame:
    return scores()


@pytest.fixture
def run(record: dict[str, Any]) -> dict[str, Any]:
    """A record of one's own, to spoil."""
    return copy.deepcopy(record)


@pytest.fixture(scope="session")
def record(simulate_orders: Any) -> dict[str, Any]:
    measures = measure_orders(simulate_orders(customers=200, days=365), as_of=AS_OF)
    return {
        "schema": 1,
        "command": "score",
        "created_at": "2025-01-01T03:00:00+00:00",
        "repurchase_version": "0.1.0",
        "as_of": AS_OF.isoformat(),
        "model_version": "4",
        "horizons": list(HORIZONS),
        "clv_horizon_days": 365,
        "discount_rate": 0.1,
        "currency": "GBP",
        "orders": {"source": "orders.csv", "digest": "ab" * 32, "layout": "own names", "reading": READING.to_dict()},
        "cleaning": cleaning(),
        "measures": measures,
        "evaluation": evaluation(),
        "notes": ["A year ahead is answered by one part of the model alone."],
    }


@pytest.fixture
def scores_without_money() -> pl.DataFrame:
    return scores(money=False)


@pytest.fixture
def judged() -> dict[str, Any]:
    return evaluation()


@pytest.fixture
def cleaned() -> dict[str, Any]:
    return cleaning()
