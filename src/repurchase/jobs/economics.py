"""What retention and reaching customers is worth to one shop: figures, a table, a picture."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from repurchase import __version__
from repurchase.errors import InputError
from repurchase.evaluation.judgement import plain
from repurchase.jobs.campaigns.planning import horizon_of
from repurchase.jobs.outputs import economics_outputs, scores_read
from repurchase.jobs.scored import scores_of
from repurchase.marketing.economics import (
    Curve,
    keep_cost,
    point_of_retention,
    points,
    reach_curve,
    reaching,
    table_rows,
)
from repurchase.marketing.reach import Candidates, Terms
from repurchase.report.reading import Facts
from repurchase.report.words import money
from repurchase.storage.delivery import deliver_to
from repurchase.storage.outputs import require_apart, require_outputs

__all__ = ["Economics", "economics", "economics_lines"]

SCHEMA = 1
MOST_USUAL_DAYS = 366
MOST_POINTS = 50
MOST_MONEY = 1e12


@dataclass(frozen=True)
class Economics:
    """What was counted.

    Parameters
    ----------
    record : dict
        JSON-able.
    path : Path, optional
        Where it lies, if it was written.
    """

    record: dict[str, Any]
    path: Path | None


def economics(
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
) -> Economics:
    """Count what a point of retention and reaching the best customers is worth.

    Parameters
    ----------
    scores : Path
        What `repurchase score` wrote.
    out : Path, optional
        A .json file; beside it ``.csv``, ``.svg`` and ``.png``. Without it nothing is written.
    margin : float, optional
        Share of sales left after the goods; needed.
    contact_cost, offer_cost : float
        Money per customer reached, and per one of them who buys.
    new_customer_cost : float, optional
        Money that winning a new customer costs.
    reach : int, optional
        Customers to reach; default as many as earn most.
    uplift_points : float
        Assumed, in points, on average over all customers.
    horizon_days : int, optional
        Days in which purchases count; default the longest of the scores up to a year.

    Returns
    -------
    Economics
        The figures.

    Raises
    ------
    InputError
        If scores or figures cannot be used.
    DeliveryError
        If it cannot be written.
    """
    if out is not None:
        require_apart(economics_outputs(out), scores_read(scores))
        require_outputs({out: economics_outputs(out)[out]})
    terms = _terms(margin, contact_cost, offer_cost)
    if not 0 < uplift_points <= MOST_POINTS:
        raise InputError(
            f"--uplift must be above 0 and at most {MOST_POINTS} points: twice of it is counted too. Got "
            f"{uplift_points:g} instead."
        )
    if new_customer_cost is not None:
        _require_money("--new-customer-cost", new_customer_cost)
    if reach is not None and reach < 1:
        raise InputError(f"--reach must be 1 or more customers. Got {reach:,} instead.")
    facts = scores_of(scores)
    usual = max((days for days in facts.horizons if days <= MOST_USUAL_DAYS), default=facts.horizons[0])
    horizon = horizon_of(facts, usual if horizon_days is None else horizon_days)
    who, off = _customers(facts, horizon, scores), _off(facts, horizon)
    uplift = uplift_points / 100
    curve = reach_curve(who, uplift=uplift, terms=terms)
    retention = point_of_retention(who, margin=terms.margin, off=off)
    found = reaching(who, max(curve.best, 1) if reach is None else reach, uplift=uplift, terms=terms, off=off)
    rows = table_rows(retention, found)
    record: dict[str, Any] = plain(
        {
            "schema": SCHEMA,
            "command": "economics",
            "repurchase_version": __version__,
            "scores": {"path": scores.name, "as_of": str(facts.as_of), "customers": len(who.p)},
            "horizon_days": horizon,
            "currency": facts.currency,
            "told": {
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
            "keeping_one_costs": [keep_cost(one) for _, _, one in found.scenarios],
            "curve": {"reached": curve.reached.tolist(), "profit": curve.profit.tolist()},
        }
    )
    if out is not None:
        _write(out, record, curve)
    return Economics(record, out)


def economics_lines(made: Economics) -> list[str]:
    """Say it in lines.

    Parameters
    ----------
    made : Economics
        From `economics`.

    Returns
    -------
    list of str
        A table, what it assumes, and what keeping and winning customers cost.
    """
    record = made.record
    told, currency = record["told"], record["currency"]
    lines = [
        (
            f"{record['scores']['customers']:,} customers as of {record['scores']['as_of']}; purchases within "
            f"{record['horizon_days']} days; margin {100 * told['margin']:.3g} %."
        ),
        (
            f"ASSUMED: contacts would raise the share of buyers by {points(told['uplift_points'])}, were all reached"
            f"{_among(record)}. Only a measured campaign can tell (`repurchase campaign`)."
        ),
        _width_words(record),
        "",
    ]
    head = ""
    for row in record["rows"]:
        about = f"{row['what']} ({row['assumption']})"
        if about != head:
            lines.append(f"{about[0].upper()}{about[1:]}:")
            head = about
        lines.append(f"  {row['figure']:<15}{_figure(row, currency)}")
    pays = record["break_even_points"]
    lines.append("")
    lines.append(
        "It pays at no uplift." if pays is None else f"It pays from an uplift of {pays:.2f} points over all customers."
    )
    half, middle, twice = record["keeping_one_costs"]
    if middle is not None:
        won = told["new_customer_cost"]
        beside = "" if won is None else f" Winning a new one costs {money(won, currency)}, as told."
        lines.append(
            f"Keeping one customer costs {_cents(middle, currency)} ({_cents(twice, currency)} at twice the uplift, "
            f"{_cents(half, currency)} at half).{beside}"
        )
    return [*lines, *([f"Figures: {made.path}; table and picture beside it."] if made.path else [])]


def _among(record: dict[str, Any]) -> str:
    """Those on the fence move most, and they are reached first."""
    if record["reach"] == record["scores"]["customers"]:
        return ""
    return f"; among the best {record['reach']:,} that is {points(record['reach_points'])}"


def _terms(margin: float | None, contact_cost: float, offer_cost: float) -> Terms:
    if margin is None:
        raise InputError("Say --margin: the share of sales that is left after the goods are paid, such as 0.3.")
    _require_money("--contact-cost", contact_cost)
    _require_money("--offer-cost", offer_cost)
    return Terms(margin=margin, cost_per_contact=contact_cost, offer_cost=offer_cost)


def _require_money(option: str, value: float) -> None:
    if not 0 <= value <= MOST_MONEY:
        raise InputError(f"{option} must be 0 or more, and at most a trillion. Got {value:g} instead.")


def _customers(facts: Facts, horizon: int, scores: Path) -> Candidates:
    rows = facts.scored.select(f"p_repurchase_{horizon}d", f"spend_expected_{horizon}d")
    if not rows.height or any(rows.null_count().row(0)):
        raise InputError(
            f"{scores}: no expected spend within {horizon} days, so nothing is worth money here. Train on orders with "
            "amounts."
        )
    p, spend = (rows[name].to_numpy() for name in rows.columns)
    return Candidates.of(p, spend)


def _off(facts: Facts, horizon: int) -> list[float]:
    """Expected sales over those that came, less one, at each cut-off the model was judged at."""
    rows = facts.evaluation.get("backtest") or []
    found = [row.get("spend_bias") for row in rows if row["predictor"] == "model" and row["horizon_days"] == horizon]
    return [float(one) for one in found if one is not None]


def _write(out: Path, record: dict[str, Any], curve: Curve) -> None:
    from repurchase.report.canvas import to_png, to_svg
    from repurchase.report.economics_figures import reach_picture

    with deliver_to(out, formats=(".json",), kinds=economics_outputs(out)) as delivery:
        picture = reach_picture(
            curve,
            uplift_points=record["told"]["uplift_points"],
            horizon_days=record["horizon_days"],
            currency=record["currency"],
        )
        text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
        delivery.staged(out).write_text(text + "\n", encoding="utf-8")
        pl.DataFrame(record["rows"]).write_csv(delivery.staged(delivery.beside(".csv")), include_bom=True)
        delivery.staged(delivery.beside(".svg")).write_text(_alone(to_svg(picture)), encoding="utf-8")
        delivery.staged(delivery.beside(".png")).write_bytes(to_png(picture))
        delivery.publish()


def _alone(svg: str) -> str:
    return (
        svg if "xmlns=" in svg.split(">", 1)[0] else svg.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    )


def _width_words(record: dict[str, Any]) -> str:
    off = record["sales_were_off"]
    judged = (
        "how far expected sales were off is not known, so ranges are too narrow"
        if not off
        else (
            f"expected sales were off by {100 * float(np.min(off)):+.0f} to {100 * float(np.max(off)):+.0f} % "
            "when judged"
        )
    )
    return f"Ranges: 95 % by chance, and {judged}."


def _figure(row: dict[str, Any], currency: str | None) -> str:
    if row["figure"].startswith("customers"):
        return f"{row['value']:,.1f}"
    value = money(row["value"], currency)
    if row["low"] == row["high"]:
        return value
    return f"{value} ({money(row['low'], currency)} to {money(row['high'], currency)})"


def _cents(value: float, currency: str | None) -> str:
    return f"{value:,.2f}{f' {currency}' if currency else ''}"
