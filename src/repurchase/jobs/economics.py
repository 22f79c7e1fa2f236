"""`repurchase economics`: what retention and reaching customers is worth; figures, a table, a picture."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from repurchase import __version__
from repurchase.errors import InputError
from repurchase.evaluation.summary import to_json_values
from repurchase.i18n.formatting import format_money, format_percent, significant_places
from repurchase.jobs.campaign_planning import choose_horizon
from repurchase.jobs.outputs import JobResult, economics_outputs, load_scores, scores_inputs, stage_record
from repurchase.marketing.economics import (
    CampaignCandidates,
    CampaignTerms,
    ReachCurve,
    format_points,
    reach_curve,
    reach_outcome,
    retention_cost_limit,
    retention_point_value,
    table_rows,
)
from repurchase.storage.delivery import require_distinct_paths, require_replaceable, staged_delivery
from repurchase.storage.run_records import ScoredRun

_ECONOMICS_SCHEMA = 1
_MAX_DEFAULT_DAYS = 366
_MAX_POINTS = 50
_MAX_MONEY = 1e12


def calculate_economics(
    scores: Path,
    *,
    out: Path | None = None,
    margin: float | None = None,
    contact_cost: float = 0.0,
    offer_cost: float = 0.0,
    new_customer_cost: float | None = None,
    reach: int | None = None,
    uplift_points: float = 1.0,
    horizon_days: int | None = None,
) -> JobResult:
    """Count what a point of retention and reaching the best customers is worth."""
    if out is not None:
        require_distinct_paths(economics_outputs(out), scores_inputs(scores))
        require_replaceable({out: economics_outputs(out)[out]})
    terms = _contact_terms(margin, contact_cost, offer_cost)
    _require_options(uplift_points=uplift_points, new_customer_cost=new_customer_cost, reach=reach)
    scored = load_scores(scores)
    usual = max((days for days in scored.horizons if days <= _MAX_DEFAULT_DAYS), default=scored.horizons[0])
    horizon = choose_horizon(scored, usual if horizon_days is None else horizon_days)
    who, off = _candidates(scored, horizon, scores), _calibration_errors(scored, horizon)
    uplift = uplift_points / 100
    curve = reach_curve(who, uplift=uplift, terms=terms)
    retention = retention_point_value(who, margin=terms.margin, sales_bias=off)
    found = reach_outcome(
        who, max(curve.best, 1) if reach is None else reach, uplift=uplift, terms=terms, sales_bias=off
    )
    rows = table_rows(retention, found)
    record: dict[str, Any] = to_json_values(
        {
            "schema": _ECONOMICS_SCHEMA,
            "command": "economics",
            "repurchase_version": __version__,
            "scores": {"path": scores.name, "as_of": str(scored.as_of), "customers": len(who.p)},
            "horizon_days": horizon,
            "currency": scored.currency,
            "assumptions": {
                "margin": terms.margin,
                "contact_cost": contact_cost,
                "offer_cost": offer_cost,
                "new_customer_cost": new_customer_cost,
                "uplift_points": uplift_points,
            },
            "sales_were_off": off,
            "rows": rows,
            "best_reach": curve.best,
            "reach": found.customers,
            "break_even_points": found.break_even and 100 * found.break_even,
            "reach_points": 100 * found.scenarios[1][2].buyers_more / found.customers,
            "keeping_one_costs": [retention_cost_limit(one) for _, _, one in found.scenarios],
            "curve": {"reached": curve.reached.tolist(), "profit": curve.profit.tolist()},
        }
    )
    if out is not None:
        _write_outputs(out, record, curve)
    return JobResult(out, record, tuple(economics_lines(record, out)))


def _require_options(*, uplift_points: float, new_customer_cost: float | None, reach: int | None) -> None:
    if not 0 < uplift_points <= _MAX_POINTS:
        raise InputError(
            f"--uplift must be above 0 and at most {_MAX_POINTS} points, because twice the uplift is calculated too. "
            f"Got {uplift_points:g} instead."
        )
    if new_customer_cost is not None:
        _require_money("--new-customer-cost", new_customer_cost)
    if reach is not None and reach < 1:
        raise InputError(f"--reach must be 1 or more customers. Got {reach:,} instead.")


def economics_lines(record: Mapping[str, Any], path: Path | None) -> list[str]:
    """Say it in lines."""
    assumptions, currency = record["assumptions"], record["currency"]
    margin = format_percent(assumptions["margin"], significant_places(100 * assumptions["margin"]))
    lines = [
        (
            f"{record['scores']['customers']:,} customers as of {record['scores']['as_of']}; purchases within "
            f"{record['horizon_days']} days; margin {margin}."
        ),
        (
            f"ASSUMED: contacts would raise the share of buyers by {format_points(assumptions['uplift_points'])}, "
            "were all reached"
            f"{_targeting_note(record)}. Only a measured campaign can tell (`repurchase campaign`)."
        ),
        _uncertainty_lines(record),
        "",
    ]
    head = ""
    for row in record["rows"]:
        about = f"{row['what']} ({row['assumption']})"
        if about != head:
            lines.append(f"{about[0].upper()}{about[1:]}:")
            head = about
        lines.append(f"  {row['figure']:<15}{_format_figure(row, currency)}")
    pays = record["break_even_points"]
    lines.append("")
    lines.append(
        "It pays at no uplift." if pays is None else f"It pays from an uplift of {pays:.2f} points over all customers."
    )
    half, middle, twice = record["keeping_one_costs"]
    if middle is not None:
        won = assumptions["new_customer_cost"]
        beside = "" if won is None else f" Winning a new one costs {format_money(won, currency)}."
        lines.append(
            f"Keeping one customer costs {_format_money(middle, currency)} "
            f"({_format_money(twice, currency)} at twice the uplift, "
            f"{_format_money(half, currency)} at half).{beside}"
        )
    return [*lines, *([f"Figures: {path}; a table and a chart are next to it."] if path else [])]


def _targeting_note(record: Mapping[str, Any]) -> str:
    """Those on the fence move most, and they are reached first."""
    if record["reach"] == record["scores"]["customers"]:
        return ""
    return f"; among the best {record['reach']:,} that is {format_points(record['reach_points'])}"


def _contact_terms(margin: float | None, contact_cost: float, offer_cost: float) -> CampaignTerms:
    if margin is None:
        raise InputError("--margin is missing: the share of sales that is left after the goods are paid, such as 0.3.")
    _require_money("--contact-cost", contact_cost)
    _require_money("--offer-cost", offer_cost)
    return CampaignTerms(margin=margin, cost_per_contact=contact_cost, offer_cost=offer_cost)


def _require_money(option: str, value: float) -> None:
    if not 0 <= value <= _MAX_MONEY:
        raise InputError(f"{option} must be 0 or more, and at most a trillion. Got {value:g} instead.")


def _candidates(scored: ScoredRun, horizon: int, scores: Path) -> CampaignCandidates:
    rows = scored.scored.select(f"p_repurchase_{horizon}d", f"spend_expected_{horizon}d")
    if not rows.height or any(rows.null_count().row(0)):
        raise InputError(
            f"{scores}: no expected spend within {horizon} days, so nothing is worth money here. Train on orders with "
            "amounts."
        )
    p, spend = (rows[name].to_numpy() for name in rows.columns)
    return CampaignCandidates.of(p, spend)


def _calibration_errors(scored: ScoredRun, horizon: int) -> list[float]:
    """Expected sales over those that came, less one, at each cut-off the model was judged at."""
    rows = scored.evaluation.get("backtest") or []
    found = [row.get("spend_bias") for row in rows if row["predictor"] == "model" and row["horizon_days"] == horizon]
    return [float(one) for one in found if one is not None]


def _write_outputs(out: Path, record: dict[str, Any], curve: ReachCurve) -> None:
    from repurchase.report.charts import to_png, to_svg
    from repurchase.report.prediction_charts import reach_chart

    with staged_delivery(out, formats=(".json",), kinds=economics_outputs(out)) as delivery:
        picture = reach_chart(
            curve,
            uplift_points=record["assumptions"]["uplift_points"],
            horizon_days=record["horizon_days"],
            currency=record["currency"],
        )
        stage_record(delivery, record)
        pl.DataFrame(record["rows"]).write_csv(delivery.staged(delivery.sibling(".csv")), include_bom=True)
        delivery.staged(delivery.sibling(".svg")).write_text(_standalone_svg(to_svg(picture)), encoding="utf-8")
        delivery.staged(delivery.sibling(".png")).write_bytes(to_png(picture))
        delivery.publish()


def _standalone_svg(svg: str) -> str:
    return (
        svg if "xmlns=" in svg.split(">", 1)[0] else svg.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    )


def _uncertainty_lines(record: Mapping[str, Any]) -> str:
    off = record["sales_were_off"]
    judged = (
        "how far expected sales were off is not known, so ranges are too narrow"
        if not off
        else (
            f"expected sales were off by {100 * float(np.min(off)):+.0f} to {100 * float(np.max(off)):+.0f}% "
            "when judged"
        )
    )
    return f"Ranges: 95% intervals, and {judged}."


def _format_figure(row: dict[str, Any], currency: str | None) -> str:
    if row["figure"].startswith("customers"):
        return f"{row['value']:,.1f}"
    value = format_money(row["value"], currency)
    if row["low"] == row["high"]:
        return value
    return f"{value} ({format_money(row['low'], currency)} to {format_money(row['high'], currency)})"


def _format_money(value: float, currency: str | None) -> str:
    return f"{value:,.2f}{f' {currency}' if currency else ''}"
