"""The record of a folder of lists: rules, thresholds, assumptions, counts, and what was left out and why."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from repurchase import __version__
from repurchase.estimators.tiers import LOST
from repurchase.jobs.lists.folder import SCHEMA
from repurchase.marketing.contacts import Contacts
from repurchase.marketing.list_rules import ListRules
from repurchase.marketing.lists import CHANGES, Limit
from repurchase.marketing.segments import LISTED, NO_HISTORY, REFILL
from repurchase.marketing.suppression import REASONS
from repurchase.orders.addresses import DatabaseSource
from repurchase.report.language import speaking
from repurchase.report.reading import Facts
from repurchase.report.segment_rules import Rules, rules_told
from repurchase.report.words import THIN
from repurchase.storage.digests import sha256_of

__all__ = ["LIMITS", "Asked", "Made", "list_lines", "record_of"]

LIMITS = {
    "costs_more_than_it_brings": "a contact costs more than it is expected to bring",
    "beyond_the_budget": "beyond the budget",
    "beyond_the_length": "beyond the length",
}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What lists are asked for, beside the rules.

    Parameters
    ----------
    contacts, contacted, since : Path, optional
        Contact file; who was contacted; earlier scores.
    limit : Limit
        Money or length.
    orders : str or DatabaseSource, optional
        Orders that name products, for refills.
    """

    contacts: Path | None = None
    contacted: Path | None = None
    since: Path | None = None
    limit: Limit = field(default_factory=Limit)
    orders: str | DatabaseSource | None = None


@dataclass(frozen=True)
class Made:
    """Every customer's row, with what keeps some off the lists, and where it came from.

    Parameters
    ----------
    rows : DataFrame
        From `list_rows`, with ``left_out``.
    contacts : Contacts, optional
        Checked.
    matched : int
        Customers of the scores that the contacts know.
    facts : Facts
        The scores.
    refills : dict, optional
        How refills were found.
    """

    rows: pl.DataFrame
    contacts: Contacts | None
    matched: int
    facts: Facts
    refills: dict[str, Any] | None = None


def record_of(scores: Path, made: Made, files: list[dict[str, Any]], asked: Asked, rules: ListRules) -> dict[str, Any]:
    """Tell what was listed by which rules, and what was left out.

    Parameters
    ----------
    scores : Path
        Where they lie.
    made : Made
        Every customer's row.
    files : list of dict
        What was written: name, rows, segment, digest.
    asked : Asked
        Files and limits.
    rules : ListRules
        Assumptions, locale and column names.

    Returns
    -------
    dict
        JSON-able.
    """
    facts, rows = made.facts, made.rows
    tiers = facts.run.get("tiers")
    told = _rules(tiers, facts)
    return {
        "schema": SCHEMA,
        "command": "lists",
        "created_at": datetime.now(tz=UTC).isoformat(timespec="seconds"),
        "repurchase_version": __version__,
        "as_of": str(facts.as_of),
        "model_version": facts.scores["model_version"][0],
        "scores": {"path": str(scores.absolute()), "sha256": sha256_of(scores), "customers": rows.height},
        "pseudonyms": facts.run.get("pseudonyms"),
        "locale": rules.locale,
        "mail_tool": rules.mail_tool,
        "id_column": rules.names.get("customer_id", "customer_id"),
        "thresholds": tiers,
        "assumptions": rules.assumptions(),
        "rules": {"words": told.intro, "tried": list(told.by_segment)},
        "segments": [
            _segment(rows, segment, told.by_segment)
            for segment in (*LISTED, LOST, NO_HISTORY)
            if _is_told(segment, made)
        ],
        "left_out": _counted(rows),
        "bought_within_hours": rules.bought_within_hours,
        "contacted_within_days": rules.contacted_within_days if asked.contacted else None,
        "limit": {name: value for name, value in vars(asked.limit).items() if value is not None},
        "worth": _worth(rows, asked.limit, rules.costs),
        "changes": _change_counts(rows, asked),
        "contacts": _contact_counts(made),
        "refills": made.refills,
        "notes": _notes(made, asked, rules),
        "files": files,
    }


def _rules(tiers: Mapping[str, Any] | None, facts: Facts) -> Rules:
    """The rules in plain English, as a record is in whatever language the lists are."""
    with speaking("en"):
        told = rules_told(tiers, has_money=facts.has_money, currency=facts.currency)
    plain = {segment: rule.replace(THIN, " ") for segment, rule in told.by_segment.items()}
    return Rules(told.intro.replace(THIN, " "), plain)


def _is_told(segment: str, made: Made) -> bool:
    return segment != REFILL or made.refills is not None


def _segment(rows: pl.DataFrame, segment: str, words: Mapping[str, str]) -> dict[str, Any]:
    own = rows.filter(pl.col("segment") == segment)
    listed = own.filter(pl.col("left_out").is_null()) if segment != NO_HISTORY else own.clear()
    return {
        "segment": segment,
        "rule": words[segment],
        "customers": own.height,
        "listed": listed.height,
        "value_at_risk": _sum(own["value_at_risk"]),
        "expected_gain_listed": _sum(listed["contact_cost_at_most"]),
        "left_out": _counted(own),
        **({"worth_asking_why": int(own["ask_why"].sum())} if segment == LOST else {}),
    }


def _sum(values: pl.Series) -> float | None:
    return round(float(values.sum()), 2) if values.is_not_null().any() else None


def _counted(rows: pl.DataFrame) -> dict[str, int]:
    counted = dict(rows["left_out"].drop_nulls().value_counts().iter_rows())
    return {why: int(counted[why]) for why in (*REASONS, *LIMITS) if why in counted}


def _worth(rows: pl.DataFrame, limit: Limit, costs: Mapping[str, float]) -> dict[str, Any]:
    listed = rows.filter(pl.col("left_out").is_null() & pl.col("segment").is_in(LISTED))
    cost = listed["channel"].replace_strict(costs, default=limit.cost_per_contact, return_dtype=pl.Float64)
    return {
        "contacts": listed.height,
        "cost": _sum(cost),
        "expected_gain": _sum(listed["contact_cost_at_most"]),
        "value_at_risk": _sum(listed["value_at_risk"]),
    }


def _change_counts(rows: pl.DataFrame, asked: Asked) -> dict[str, int] | None:
    if asked.since is None:
        return None
    return {change: int((rows["changed"] == change).sum()) for change in CHANGES}


def _contact_counts(made: Made) -> dict[str, Any] | None:
    contacts = made.contacts
    if contacts is None:
        return None
    known = made.rows["customer_id"].implode()
    repair = contacts.repair.filter(pl.col("customer_id").is_in(known))
    return {
        "rows": contacts.n_rows,
        "without_id": contacts.without_id,
        "customers": contacts.rows.height,
        "of_the_scores": made.matched,
        "not_in_the_scores": contacts.rows.height - made.matched,
        "repair": dict(repair["what"].value_counts().sort("what").iter_rows()),
    }


def _notes(made: Made, asked: Asked, rules: ListRules) -> list[str]:
    notes = [
        "all.csv holds everyone to be reached; the lost stand in a list of their own, so that no money goes there.",
        "A customer who is left out is counted under the first reason that holds, in the order told.",
        "Cells that would run as a formula begin with an apostrophe; numbers are as they are.",
    ]
    if made.contacts is None:
        notes.append("No contact file was given: consent was not checked, and there are no addresses.")
    if rules.mail_tool != "plain" and rules.locale != "en":
        notes.append(f"{rules.mail_tool} imports commas and decimal points, so the lists have these.")
    if not made.facts.run:
        notes.append("There is no record beside the scores: thresholds are not known here.")
    if asked.contacted is None:
        notes.append("Who was contacted lately is not known: give --contacted FILE.")
    return notes


def list_lines(record: Mapping[str, Any], out: Path) -> list[str]:
    """Say who was listed and who was not.

    Parameters
    ----------
    record : mapping
        From `record_of`.
    out : Path
        The folder.

    Returns
    -------
    list of str
        A table of the segments, then what was left out.
    """
    worth = record["worth"]
    lines = [f"{'segment':<24}{'customers':>10}{'listed':>9}{'value at risk':>16}"]
    for told in record["segments"]:
        at_risk = "" if told["value_at_risk"] is None else f"{told['value_at_risk']:,.0f}"
        lines.append(f"{told['segment']:<24}{told['customers']:>10,}{told['listed']:>9,}{at_risk:>16}")
    left = "; ".join(f"{number:,} {({**REASONS, **LIMITS})[why]}" for why, number in record["left_out"].items())
    lines.append(f"Left out: {left}." if left else "Nobody was left out.")
    if record["changes"]:
        lines.append("Since then: " + ", ".join(f"{number:,} {why}" for why, number in record["changes"].items()) + ".")
    if record["contacts"]:
        repair = ", ".join(f"{number:,} {what}" for what, number in record["contacts"]["repair"].items())
        lines.append(f"For repair: {repair}. See repair.csv." if repair else "Every address is valid.")
    gain = "" if worth["expected_gain"] is None else f", expected to bring {worth['expected_gain']:,.2f}"
    paid = "" if worth["cost"] is None else f" at a cost of {worth['cost']:,.2f}"
    lines.append(f"{worth['contacts']:,} customers to reach{gain}{paid}. {record['assumptions']['words']}")
    return [*lines, f"Lists: {out}"]
