"""One self-contained HTML page from a scores file and the ``run.json`` beside it.

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
from repurchase.marketing.companions import LEAST_LIFT, LEAST_SUPPORT
from repurchase.marketing.refill import DUE_CHANCE
from repurchase.marketing.yardsticks import YARDSTICKS, read_yardsticks
from repurchase.registry.disk import write_whole
from repurchase.report import customer_sections, figures, people, run_sections, since, words
from repurchase.report.campaign_sections import campaign_rows, read_campaigns
from repurchase.report.language import locale as spoken
from repurchase.report.language import say, speaking
from repurchase.report.measure_sections import measure_part
from repurchase.report.purchases import Bought, product_rows
from repurchase.report.reading import Facts, gather, one_run, read_monitor, read_run, read_scores
from repurchase.report.reading_decision import reading_rows
from repurchase.report.retold import retold

__all__ = ["build_report", "write_report"]

SCRIPTS = ("page.js", "story.js")


@dataclass(frozen=True)
class _Beside:
    """What lies beside scores: what came since, campaigns, yardsticks of one's own, and from where the page is made."""

    monitored: Mapping[str, Any] = field(default_factory=dict)
    campaigns: Sequence[dict[str, Any]] = ()
    yardsticks: Path | None = None
    made_from: str = ""
    bought: Bought | None = None


def write_report(
    scores_path: str | Path,
    out_path: str | Path,
    *,
    locale: str = "en",
    campaigns: str | Path | None = None,
    bought: Bought | None = None,
) -> Path:
    """Make the page of a scores file.

    Parameters
    ----------
    scores_path : str or Path
        What `repurchase score` wrote; the record of its run is read from ``<stem>.run.json`` beside it, and where
        that is missing or belongs to other scores, the page says what it cannot show. What came since is read from
        ``<stem>.monitor.json``, if `repurchase monitor` wrote it.
    out_path : str or Path
        Where the page goes. It appears whole or not at all.
    locale : str
        Its language: ``en``, ``nb``, ``nl`` or ``ru``.
    campaigns : str or Path, optional
        Folder with campaign files, or with folders of them; default that of the scores. ``yardsticks.toml`` beside the
        scores replaces the yardsticks that ship with the package.
    bought : Bought, optional
        What the orders tell beyond the scores (see ``jobs.report``).

    Returns
    -------
    Path
        The page.

    Raises
    ------
    InputError
        If the scores are missing, are not those of one run, or would be overwritten; if the locale is not known, or a
        named folder of campaigns is not there.
    DeliveryError
        If the page cannot be written there.
    """
    source, target = Path(scores_path), Path(out_path)
    if target.exists() and target.resolve() == source.resolve():
        raise InputError(
            f"{target}: these are the scores, which would be overwritten. Choose another name for the page."
        )
    with speaking(locale):
        scores = read_scores(source)
        run, why_not = read_run(source)
        monitored, why_not_monitored = read_monitor(source)
        facts = one_run(gather(scores, run, name=str(source)), name=str(source))
        notices = [retold(words) or words for words in (why_not, why_not_monitored) if words]
        own = source.with_name(YARDSTICKS)
        beside = _Beside(
            monitored=monitored,
            campaigns=read_campaigns(Path(campaigns or source.parent), must_be=campaigns is not None),
            yardsticks=own if own.is_file() else None,
            made_from=_seen_from(target.parent, source),
            bought=bought,
        )
        _write_whole(target, _render(facts, notices, beside))
    return target


def build_report(
    scores: pl.DataFrame,
    run: Mapping[str, Any] | None = None,
    monitored: Mapping[str, Any] | None = None,
    *,
    locale: str = "en",
    campaigns: Sequence[dict[str, Any]] = (),
    bought: Bought | None = None,
) -> str:
    """Make the page of a scores table.

    Parameters
    ----------
    scores : DataFrame
        Scores (see ``tables.scores_table``).
    run : mapping, optional
        The record of the run that made them, as in ``run.json``.
    monitored : mapping, optional
        What came since, as in ``monitor.json``.
    locale : str
        Its language: ``en``, ``nb``, ``nl`` or ``ru``.
    campaigns : sequence of dict
        Records of campaigns, as `repurchase campaign` writes them.
    bought : Bought, optional
        What the orders tell beyond the scores.

    Returns
    -------
    str
        HTML. The same scores and run give the same bytes.

    Raises
    ------
    InputError
        If these are not the scores of one run, or the locale is not known.
    """
    with speaking(locale):
        notices = [] if run else [say("missing.no_run")]
        beside = _Beside(monitored=monitored or {}, campaigns=campaigns, bought=bought)
        return _render(one_run(gather(scores, run)), notices, beside)


def _seen_from(folder: Path, scores: Path) -> str:
    """Say where the scores of a page lie, without their ending and without telling more of this machine than needed."""
    place, here = scores.absolute().with_suffix(""), folder.absolute()
    return (place.relative_to(here) if place.is_relative_to(here) else Path(place.name)).as_posix()


def _render(facts: Facts, notices: Sequence[str], beside: _Beside) -> str:
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup

    loader = FunctionLoader(_own)
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=loader
    )
    environment.filters.update(
        count=words.count, day=words.day, horizon=words.horizon, money=words.money, share=words.share
    )
    environment.globals.update(t=say, retold=retold, lang=spoken())
    style, script = _own("page.css"), "\n".join(_own(name) for name in SCRIPTS)
    listed = people.listed_customers(facts)
    page = environment.get_template("page.html").render(
        facts=facts,
        made_from=beside.made_from,
        policy=_policy(style, script),
        style=Markup(style),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own files
        pictures={picture.name: _figure(picture) for picture in _pictures(facts)},
        notices=[
            *notices,
            *_what_is_missing(facts, recorded=bool(facts.run)),
            *_what_has_changed(facts, beside.bought),
        ],
        shown=people.shown_rows(facts, listed),
        listed=listed.height,
        list_data=Markup(people.list_data(facts, listed, beside.bought)),  # noqa: S704 - no sign in it ends the element
        list_words=Markup(people.list_words(facts)),  # noqa: S704 - as above
        since=since.since_part(beside.monitored, facts),
        drift=since.drift_part(facts),
        has_orders=beside.bought is not None,
        products=product_rows(beside.bought),
        within_due=words.within(beside.bought.within_days) if beside.bought else "",
        least_chance=DUE_CHANCE,
        least_support=LEAST_SUPPORT,
        least_lift=words.decimal(LEAST_LIFT, 1),
        measures=measure_part(facts, read_yardsticks(beside.yardsticks)),
        campaigns=campaign_rows(list(beside.campaigns)),
        **_tables(facts),
    )
    return page + "\n"


def _own(name: str) -> str:
    return files("repurchase.report").joinpath(name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """Forbid every request, and every style and script but these."""
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script))
    known_style, known_script = (f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; style-src {known_style}; script-src {known_script}; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )


def _figure(picture: figures.Picture) -> dict[str, Any]:
    from markupsafe import Markup

    svg = Markup(figures.to_svg(picture))  # noqa: S704 - drawn here, its texts escaped
    return {"finding": picture.finding, "svg": svg}


def _pictures(facts: Facts) -> list[figures.Picture]:
    drawn = [
        figures.intake(facts.cleaning),
        figures.repeat_within(facts.measures),
        figures.repeat_over_time(facts.measures),
        figures.sales_by_month(facts.measures, facts.currency),
        figures.cohorts(facts.measures),
        figures.money_cohorts(facts.measures),
        figures.calibration(facts.evaluation),
        figures.gains(facts.evaluation),
        figures.rfm_map(facts.scored, horizon_days=facts.primary_days),
        figures.risk_and_worth(facts.scored, currency=facts.currency),
        figures.probabilities(facts.scored, horizon_days=facts.primary_days),
        figures.lifetime_value(facts.scored, clv_days=facts.clv_days, currency=facts.currency),
    ]
    return [picture for picture in drawn if picture is not None]


def _tables(facts: Facts) -> dict[str, Any]:
    rate = facts.run.get("discount_rate")
    return {
        "headline": customer_sections.headline(facts),
        "summary": customer_sections.summary(facts),
        "key_figures": customer_sections.key_figures(facts),
        "bands": customer_sections.band_rows(facts),
        "segments": customer_sections.segment_rows(facts),
        "rules": customer_sections.segment_rules(facts),
        "intake": run_sections.intake_rows(facts.cleaning),
        "reading": reading_rows(facts.run.get("orders") or {}),
        "grade": run_sections.grade(facts.evaluation),
        "judged": run_sections.evaluation_rows(facts.evaluation),
        "provenance": run_sections.provenance(facts),
        "run_notes": list(facts.run.get("notes") or []),
        "discounted": say("words.discounted", rate=words.share(rate)) if rate else "",
        "horizons": customer_sections.horizons_in_words(facts),
        "within": words.within(facts.primary_days),
        "clv_within": words.within(facts.clv_days),
        "risk_horizon": words.horizon(int(facts.risk_column.removeprefix("churn_risk_").removesuffix("d"))),
        "version": __version__,
    }


def _what_is_missing(facts: Facts, *, recorded: bool) -> list[str]:
    missing = []
    if not recorded:
        missing.append(say("missing.record"))
    elif not facts.evaluation:
        missing.append(say("missing.evaluation"))
    if not facts.has_money and facts.scored.height:
        missing.append(say("missing.money"))
    for status, message in (("no_history", "missing.unscored"), ("no_purchases", "missing.no_purchases")):
        if number := facts.scores.filter(pl.col("status") == status).height:
            missing.append(say(message, customers=words.counted(number, "customer")))
    if 0 < facts.scored.height < 100:
        missing.append(say("missing.few", customers=words.counted(facts.scored.height, "customer")))
    return missing


def _what_has_changed(facts: Facts, bought: Bought | None) -> list[str]:
    is_changed = bought is not None and bought.changed
    return [say("missing.orders_changed", day=words.day(facts.as_of))] if is_changed else []


def _write_whole(target: Path, page: str) -> None:
    try:
        write_whole(target, page.encode("utf-8"))
    except DeliveryError as fault:
        why = fault.__cause__
        reason = (why.strerror if isinstance(why, OSError) else None) or type(why).__name__
        raise DeliveryError(
            f"{target}: the report cannot be written there ({reason}). Choose a writable folder that exists."
        ) from fault
