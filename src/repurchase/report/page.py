"""One self-contained HTML page from a scores file and the ``run.json`` beside it.

Nothing on the page leaves it: style and pictures are inside, and its content policy forbids every request.
"""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import polars as pl

from repurchase import __version__
from repurchase.errors import DeliveryError, InputError
from repurchase.registry.disk import write_whole
from repurchase.report import customer_sections, figures, run_sections, since, words
from repurchase.report.reading import Facts, gather, read_monitor, read_run, read_scores

__all__ = ["build_report", "write_report"]


def write_report(scores_path: str | Path, out_path: str | Path) -> Path:
    """Make the page of a scores file.

    Parameters
    ----------
    scores_path : str or Path
        What `repurchase score` wrote; the record of its run is read from ``<stem>.run.json`` beside it, and where
        that is missing or belongs to other scores, the page says what it cannot show. What came since is read from
        ``<stem>.monitor.json``, if `repurchase monitor` wrote it.
    out_path : str or Path
        Where the page goes. It appears whole or not at all.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    InputError
        If the scores are missing, are not scores, or would be overwritten.
    DeliveryError
        If the page cannot be written there.
    """
    source, target = Path(scores_path), Path(out_path)
    if target.exists() and target.resolve() == source.resolve():
        raise InputError(
            f"{target}: these are the scores, which would be overwritten. Choose another name for the page."
        )
    scores = read_scores(source)
    run, why_not = read_run(source)
    monitored, why_not_monitored = read_monitor(source)
    facts = gather(scores, run, name=str(source))
    notices = [words for words in (why_not, why_not_monitored) if words]
    _write_whole(target, _render(facts, notices, monitored, made_from=_seen_from(target.parent, source)))
    return target


def build_report(
    scores: pl.DataFrame, run: Mapping[str, Any] | None = None, monitored: Mapping[str, Any] | None = None
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

    Returns
    -------
    str
        HTML. The same scores and run give the same bytes.

    Raises
    ------
    InputError
        If these are not scores.
    """
    return _render(gather(scores, run), [] if run else ["There is no record of the run."], monitored or {})


def _seen_from(folder: Path, scores: Path) -> str:
    """Say where the scores of a page lie, without their ending and without telling more of this machine than needed."""
    place, here = scores.absolute().with_suffix(""), folder.absolute()
    return (place.relative_to(here) if place.is_relative_to(here) else Path(place.name)).as_posix()


def _render(facts: Facts, notices: Sequence[str], monitored: Mapping[str, Any], *, made_from: str = "") -> str:
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    here = files("repurchase.report")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(
        count=words.count, day=words.day, horizon=words.horizon, money=words.money, share=words.share
    )
    template = environment.from_string(here.joinpath("page.html").read_text(encoding="utf-8"))
    style = here.joinpath("page.css").read_text(encoding="utf-8")
    page = template.render(
        facts=facts,
        made_from=made_from,
        style=Markup(style),  # noqa: S704 - our own file
        pictures={picture.name: _figure(picture) for picture in _pictures(facts)},
        notices=[*notices, *_what_is_missing(facts, recorded=bool(facts.run))],
        since=since.since_part(monitored, facts),
        drift=since.drift_part(facts),
        **_tables(facts),
    )
    return page + "\n"


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
        "key_figures": customer_sections.key_figures(facts),
        "bands": customer_sections.band_rows(facts),
        "segments": customer_sections.segment_rows(facts),
        "at_risk": customer_sections.at_risk_rows(facts),
        "intake": run_sections.intake_rows(facts.cleaning),
        "measures": run_sections.measure_rows(facts),
        "grade": run_sections.grade(facts.evaluation),
        "judged": run_sections.evaluation_rows(facts.evaluation),
        "provenance": run_sections.provenance(facts),
        "run_notes": list(facts.run.get("notes") or []),
        "discounted": f", later money counted less at {words.share(rate)} a year" if rate else "",
        "horizons": customer_sections.horizons_in_words(facts),
        "risk_within": words.horizon(int(facts.risk_column.removeprefix("churn_risk_").removesuffix("d"))),
        "version": __version__,
    }


def _what_is_missing(facts: Facts, *, recorded: bool) -> list[str]:
    missing = []
    if not recorded:
        missing.append(
            "What came in, repeat business in the past, and how good the predictions are cannot be shown without it. "
            "Score again, and keep the two files together."
        )
    elif not facts.evaluation:
        missing.append("The model came without an evaluation: how good its predictions are is not known.")
    if not facts.has_money and facts.scored.height:
        missing.append("The orders have no amounts: there is no lifetime value and no money at risk.")
    unscored = facts.scores.height - facts.scored.height
    if unscored:
        missing.append(
            f"Without a purchase up to the day, and so without scores: {words.counted(unscored, 'customer')} asked for."
        )
    if 0 < facts.scored.height < 100:
        missing.append(f"Only {words.counted(facts.scored.height, 'customer')}: shares and totals here are rough.")
    return missing


def _write_whole(target: Path, page: str) -> None:
    try:
        write_whole(target, page.encode("utf-8"))
    except DeliveryError as fault:
        why = fault.__cause__
        reason = (why.strerror if isinstance(why, OSError) else None) or type(why).__name__
        raise DeliveryError(
            f"{target}: the report cannot be written there ({reason}). Choose a writable folder that exists."
        ) from fault
