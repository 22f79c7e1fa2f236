"""Render the self-contained HTML report.

Nothing on the page leaves it: style, script and pictures are inside, and its content policy forbids every request and
runs no style or script but ours, known by their digests.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import polars as pl

from repurchase import __version__
from repurchase.errors import DeliveryError, InputError
from repurchase.i18n.catalogues import active_locale, use_locale
from repurchase.i18n.formatting import format_count, format_day, format_decimal, format_money, format_share
from repurchase.i18n.messages import format_horizon, format_quantity, format_within, render, translate
from repurchase.marketing.products import MIN_DUE_PROBABILITY, MIN_LIFT, MIN_SUPPORT
from repurchase.marketing.repeat_business import find_benchmarks, read_benchmarks
from repurchase.marketing.segments import require_single_run
from repurchase.report import charts, customer_list, customer_sections, history_charts, prediction_charts, run_sections
from repurchase.report.customer_list import PurchaseDetails, product_rows
from repurchase.report.history_sections import campaign_rows, measure_section, read_campaigns
from repurchase.report.run_sections import reading_rows
from repurchase.storage.atomic_files import write_file
from repurchase.storage.run_records import (
    ScoredRun,
    read_monitor_record,
    read_run_record,
    read_scores,
    validate_scored_run,
)

_PAGE_SCRIPTS = ("page.js", "story.js")


@dataclass(frozen=True)
class _PageInputs:
    """What lies beside scores: what came since, campaigns, benchmarks of one's own, and from where the page is made."""

    monitored: Mapping[str, Any] = field(default_factory=dict)
    campaigns: Sequence[dict[str, Any]] = ()
    benchmarks: Path | None = None
    made_from: str = ""
    bought: PurchaseDetails | None = None


def write_report(
    scores_path: str | Path,
    out_path: str | Path,
    *,
    locale: str = "en",
    campaigns: str | Path | None = None,
    bought: PurchaseDetails | None = None,
) -> Path:
    """Make the page of a scores file."""
    source, target = Path(scores_path), Path(out_path)
    if target.exists() and target.resolve() == source.resolve():
        raise InputError(
            f"{target}: these are the scores, which would be overwritten. Choose another name for the page."
        )
    with use_locale(locale):
        scores = read_scores(source)
        run, why_not = read_run_record(source)
        monitored, why_not_monitored = read_monitor_record(source)
        facts = require_single_run(validate_scored_run(scores, run, name=str(source)), name=str(source))
        notices = [render(reason) for reason in (why_not, why_not_monitored) if reason]
        beside = _PageInputs(
            monitored=monitored,
            campaigns=read_campaigns(Path(campaigns or source.parent), must_be=campaigns is not None),
            benchmarks=find_benchmarks(source),
            made_from=_relative_scores_path(target.parent, source),
            bought=bought,
        )
        _write_page(target, _render_page(facts, notices, beside))
    return target


def build_report(
    scores: pl.DataFrame,
    run: Mapping[str, Any] | None = None,
    monitored: Mapping[str, Any] | None = None,
    *,
    locale: str = "en",
    campaigns: Sequence[dict[str, Any]] = (),
    bought: PurchaseDetails | None = None,
) -> str:
    """Make the page of a scores table."""
    with use_locale(locale):
        notices = [] if run else [translate("missing.no_run")]
        beside = _PageInputs(monitored=monitored or {}, campaigns=campaigns, bought=bought)
        return _render_page(require_single_run(validate_scored_run(scores, run)), notices, beside)


def _relative_scores_path(folder: Path, scores: Path) -> str:
    """Say where the scores of a page lie, without their ending and without telling more of this machine than needed."""
    place, here = scores.absolute().with_suffix(""), folder.absolute()
    return (place.relative_to(here) if place.is_relative_to(here) else Path(place.name)).as_posix()


def _render_page(facts: ScoredRun, notices: Sequence[str], beside: _PageInputs) -> str:
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup

    loader = FunctionLoader(_read_asset)
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=loader
    )
    environment.filters.update(
        count=format_count,
        day=format_day,
        horizon=format_horizon,
        money=format_money,
        share=format_share,
    )
    environment.globals.update(t=translate, render=render, lang=active_locale())
    style, script = _read_asset("page.css"), "\n".join(_read_asset(name) for name in _PAGE_SCRIPTS)
    listed = customer_list.listed_customers(facts)
    page = environment.get_template("page.html").render(
        facts=facts,
        made_from=beside.made_from,
        policy=_content_security_policy(style, script),
        style=Markup(style),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own files
        pictures={picture.name: _chart_values(picture) for picture in _page_charts(facts)},
        notices=[
            *notices,
            *_missing_notices(facts, recorded=bool(facts.run)),
            *_changed_notices(facts, beside.bought),
        ],
        shown=customer_list.static_rows(facts, listed),
        listed=listed.height,
        list_data=Markup(customer_list.list_data(facts, listed, beside.bought)),  # noqa: S704 - no sign in it ends the element
        list_words=Markup(customer_list.list_messages(facts)),  # noqa: S704 - as above
        since=run_sections.monitoring_section(beside.monitored, facts),
        drift=run_sections.drift_section(facts),
        has_orders=beside.bought is not None,
        products=product_rows(beside.bought),
        within_due=format_within(beside.bought.within_days) if beside.bought else "",
        least_chance=MIN_DUE_PROBABILITY,
        least_support=MIN_SUPPORT,
        least_lift=format_decimal(MIN_LIFT, 1),
        measures=measure_section(facts, read_benchmarks(beside.benchmarks)),
        campaigns=campaign_rows(list(beside.campaigns)),
        **_page_tables(facts),
    )
    return page + "\n"


def _read_asset(name: str) -> str:
    return files("repurchase.report").joinpath(name).read_text(encoding="utf-8")


def _content_security_policy(style: str, script: str) -> str:
    """Forbid every request, and every style and script but these."""
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script))
    known_style, known_script = (f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; style-src {known_style}; script-src {known_script}; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )


def _chart_values(picture: charts.Chart) -> dict[str, Any]:
    from markupsafe import Markup

    svg = Markup(charts.to_svg(picture))  # noqa: S704 - drawn here, its texts escaped
    return {"finding": picture.finding, "svg": svg}


def _page_charts(facts: ScoredRun) -> list[charts.Chart]:
    drawn = [
        history_charts.cleaning_chart(facts.cleaning),
        history_charts.repeat_within_chart(facts.measures),
        history_charts.repeat_over_time_chart(facts.measures),
        history_charts.monthly_sales_chart(facts.measures, facts.currency),
        history_charts.cohort_chart(facts.measures),
        history_charts.cohort_sales_chart(facts.measures),
        prediction_charts.calibration_chart(facts.evaluation),
        prediction_charts.gains_chart(facts.evaluation),
        prediction_charts.rfm_chart(facts.scored, horizon_days=facts.primary_days),
        prediction_charts.risk_chart(facts.scored, currency=facts.currency),
        prediction_charts.probability_chart(facts.scored, horizon_days=facts.primary_days),
        prediction_charts.clv_chart(facts.scored, clv_days=facts.clv_days, currency=facts.currency),
    ]
    return [picture for picture in drawn if picture is not None]


def _page_tables(facts: ScoredRun) -> dict[str, Any]:
    rate = facts.run.get("discount_rate")
    return {
        "headline": customer_sections.headline(facts),
        "summary": customer_sections.summary(facts),
        "key_figures": customer_sections.key_figures(facts),
        "bands": customer_sections.band_rows(facts),
        "segments": customer_sections.segment_rows(facts),
        "rules": customer_sections.segment_rule_rows(facts),
        "intake": run_sections.intake_rows(facts.cleaning),
        "reading": reading_rows(facts.run.get("orders") or {}),
        "grade": run_sections.grade_section(facts.evaluation),
        "judged": run_sections.evaluation_rows(facts.evaluation),
        "provenance": run_sections.provenance_rows(facts),
        "run_notes": list(facts.run.get("notes") or []),
        "discounted": translate("words.discounted", rate=format_share(rate)) if rate else "",
        "horizons": customer_sections.horizon_texts(facts),
        "within": format_within(facts.primary_days),
        "clv_within": format_within(facts.clv_days),
        "risk_horizon": format_horizon(int(facts.risk_column.removeprefix("churn_risk_").removesuffix("d"))),
        "version": __version__,
    }


def _missing_notices(facts: ScoredRun, *, recorded: bool) -> list[str]:
    missing = []
    if not recorded:
        missing.append(translate("missing.record"))
    elif not facts.evaluation:
        missing.append(translate("missing.evaluation"))
    if not facts.has_money and facts.scored.height:
        missing.append(translate("missing.money"))
    for status, message in (("no_history", "missing.unscored"), ("no_purchases", "missing.no_purchases")):
        if number := facts.scores.filter(pl.col("status") == status).height:
            missing.append(translate(message, customers=format_quantity(number, "customer")))
    if 0 < facts.scored.height < 100:
        missing.append(translate("missing.few", customers=format_quantity(facts.scored.height, "customer")))
    return missing


def _changed_notices(facts: ScoredRun, bought: PurchaseDetails | None) -> list[str]:
    is_changed = bought is not None and bought.changed
    return [translate("missing.orders_changed", day=format_day(facts.as_of))] if is_changed else []


def _write_page(target: Path, page: str) -> None:
    try:
        write_file(target, page.encode("utf-8"))
    except DeliveryError as fault:
        why = fault.__cause__
        reason = (why.strerror if isinstance(why, OSError) else None) or type(why).__name__
        raise DeliveryError(
            f"{target}: the report cannot be written there ({reason}). Choose a writable folder that exists."
        ) from fault
