"""Repeat-purchase measures with benchmarks, and past campaigns."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from repurchase.errors import InputError
from repurchase.i18n.catalogues import active_locale
from repurchase.i18n.formatting import (
    NO_VALUE,
    format_count,
    format_day,
    format_decimal,
    format_money,
    format_month,
    format_share,
)
from repurchase.i18n.messages import format_quantity, format_within, translate, translate_text
from repurchase.marketing.repeat_business import Benchmark
from repurchase.storage.json_files import read_json
from repurchase.storage.run_records import ScoredRun

_Row = dict[str, Any]


_MAX_CAMPAIGNS = 8
_MEASURED = ".measured.json"
_SCHEMA, _PLAN, _MEASURE = 1, "campaign plan", "campaign measure"
_MAX_CAMPAIGN_BYTES = 20_000_000


_CampaignFile = Mapping[str, Any]


def read_campaigns(folder: Path, *, must_be: bool = False) -> list[dict[str, Any]]:
    """Find the campaigns that lie in a folder, or in a folder in it."""
    if not folder.is_dir():
        if must_be:
            raise InputError(f"--campaigns {folder}: no such folder. Name the one that holds the campaign files.")
        return []
    found: dict[str, dict[str, Any]] = {}
    for path in sorted([*folder.glob("*.json"), *folder.glob("*/*.json")]):
        record = _record(path)
        if record is not None:
            place = str(path.with_name(path.name.removesuffix(_MEASURED).removesuffix(".json")))
            key = str((record.get("planned") or record).get("digest") or place)
            if key not in found or record.get("observed_days", -1) >= found[key].get("observed_days", -1):
                found[key] = record
    latest = sorted(found.values(), key=lambda record: (record["day"], record["campaign"]), reverse=True)
    return latest[:_MAX_CAMPAIGNS]


def _record(path: Path) -> dict[str, Any] | None:
    try:
        if path.stat().st_size > _MAX_CAMPAIGN_BYTES:
            return None
        record = read_json(path)
    except (OSError, ValueError):
        return None
    ours = isinstance(record, dict) and record.get("command") in {_PLAN, _MEASURE} and record.get("schema") == _SCHEMA
    return record if ours and _is_complete_record(record) else None


def _is_complete_record(record: dict[str, Any]) -> bool:
    """Whether everything is there that the page tells of a campaign, and of the kind it should be."""
    planned, observed = record.get("planned", {}), record.get("observed_days", 0)
    try:
        list(_rows([record]))
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
        return False
    named = all(isinstance(record[name], str) for name in ("campaign", "day"))
    return named and isinstance(planned, dict) and isinstance(observed, int)


def campaign_rows(records: list[dict[str, Any]]) -> list[_Row]:
    """Lay out campaigns."""
    return list(_rows(records))


def _rows(records: list[dict[str, Any]]) -> Iterator[_Row]:
    for record in records:
        row = {"name": record["campaign"], "day": format_day(record["day"], short=True)}
        yield {**row, **(_measured_row(record) if record["command"] == _MEASURE else _planned_row(record))}


def _planned_row(record: _CampaignFile) -> _Row:
    arms = record["arms"]
    return {
        "reached": format_count(arms["treatment"]),
        "held_out": format_count(arms["control"]),
        "uplift": "–",
        "sales": "–",
        "profit": "–",
        "verdict": translate("campaigns.planned", day=format_day(record["window_ends"], short=True)),
    }


def _measured_row(record: _CampaignFile) -> _Row:
    groups, found = record["groups"], record["repurchase"]["adjusted"]
    currency, totals = record.get("currency"), record.get("totals") or {}
    return {
        "reached": _group_text(groups["treatment"]),
        "held_out": _group_text(groups["control"]),
        "uplift": _interval_text(found, _signed),
        "sales": _interval_text(totals.get("sales"), lambda value: format_money(value, currency)),
        "profit": _interval_text(totals.get("profit"), lambda value: format_money(value, currency)),
        "verdict": _verdict_text(record),
    }


def _group_text(group: _CampaignFile) -> str:
    bought = translate("campaigns.bought_treated", share=format_share(group["share_bought"]))
    return f"{format_count(group['customers'])}; {bought}"


def _signed(value: float) -> str:
    return f"{'+' if value > 0 else '−' if value < 0 else ''}{format_decimal(abs(value), 1)}"


def _interval_text(found: _CampaignFile | None, write: Any) -> str:
    if not found:
        return "–"
    return translate("campaigns.range", **{name: write(found[name]) for name in ("value", "low", "high")})


def _verdict_text(record: _CampaignFile) -> str:
    found = record["repurchase"]["adjusted"]
    if not record["is_over"]:
        days = format_quantity(record["horizon_days"], "day")
        return translate("campaigns.not_over", observed=record["observed_days"], days=days)
    if not found["can_tell"]:
        return translate("campaigns.cannot_tell")
    return translate("campaigns.more" if found["value"] > 0 else "campaigns.less")


_PERIOD_MONTHS = 3
_YEAR_MONTHS = 12


_Month = Mapping[str, Any]
_Periods = tuple[Sequence[_Month], ...]


def measure_section(facts: ScoredRun, benchmarks: Sequence[Benchmark]) -> _Row | None:
    """Lay out the measures."""
    m = facts.measures
    if not m:
        return None
    periods = _periods(m)
    recent = periods[0]
    lead = ""
    if recent:
        lead = translate(
            "measures.lead",
            day=format_day(m["as_of"]),
            **{"from": format_month(recent[0]["month"]), "to": format_month(recent[-1]["month"])},
        )
    of = {benchmark.measure: benchmark for benchmark in benchmarks}
    rows = [
        *_shares(m, periods),
        *_rhythm_row(m),
        *_money_rows(m, facts.currency),
        *_size_rows(m, periods, facts.currency),
    ]
    for row in rows:
        benchmark = of.get(row["key"])
        row["benchmark"] = _benchmark_range_text(benchmark) if benchmark else ""
        if "name" not in row:
            row["name"] = translate(f"measure.{row['key']}")
        row["periods"] = row.get("periods") or ["", "", ""]
        row.setdefault("is_long", False)
        row.setdefault("note", "")
    shown = [of[row["key"]] for row in rows if row["key"] in of]
    return {"lead": lead, "rows": rows, "benchmarks": [_benchmark_texts(benchmark) for benchmark in shown]}


def _periods(m: Mapping[str, Any]) -> _Periods:
    """Whole months: the last three, the three before, and the last three a year earlier; empty where they lack."""
    whole = [row for row in m.get("monthly") or [] if row.get("complete", True)]

    def until(end: int) -> Sequence[_Month]:
        return whole[end - _PERIOD_MONTHS : end] if end >= _PERIOD_MONTHS else []

    n = len(whole)
    return until(n), until(n - _PERIOD_MONTHS), until(n - _YEAR_MONTHS)


def _measure_row(key: str, now: str, formula: str, periods_text: Sequence[str] = (), **name: str) -> _Row:
    return {"key": key, "now": now, "formula": formula, "periods": list(periods_text), **name}


def _at_end(periods: _Periods, key: str, *, rest: bool = False) -> list[str]:
    """A share as it stood at the end of each period, or what is left of it."""
    values = [part[-1].get(key) if part else None for part in periods]
    return [_share_text(value, rest=rest) for value in values]


def _share_text(value: float | None, *, rest: bool) -> str:
    return format_share(None if value is None else 1 - value if rest else value)


def _period_texts(periods: _Periods, write: Callable[[float], str], key: str) -> list[str]:
    return [NO_VALUE if (found := _sum(part, key)) is None else write(found) for part in periods]


def _sum(part: Sequence[_Month], key: str) -> float | None:
    values = [row.get(key) for row in part]
    return None if not values or None in values else float(sum(value for value in values if value is not None))


def _ratio(periods: _Periods, part: str, whole: str) -> list[str]:
    pairs = [(_sum(period, part), _sum(period, whole)) for period in periods]
    return [format_share(None if above is None or not below else above / below) for above, below in pairs]


def _shares(m: Mapping[str, Any], periods: _Periods) -> list[_Row]:
    everyone = format_quantity(m.get("n_customers") or 0, "customer")
    rate = translate("formula.repeat_purchase_rate", customers=everyone)
    rows = [
        _measure_row(
            "repeat_purchase_rate", format_share(m.get("repeat_purchase_rate")), rate, _at_end(periods, "repeat_rate")
        )
    ]
    observed = m.get("repeat_within_observed") or {}
    for days, part in (m.get("repeat_within") or {}).items():
        soon, watched = format_within(int(days)), format_quantity(observed.get(days, 0), "customer")
        how = translate("formula.repeat_within", within=soon, customers=watched)
        rows.append(
            _measure_row("repeat_within", format_share(part), how, name=translate("measure.repeat_within", within=soon))
        )
        rows[-1]["note"] = translate(
            "measures.watched", customers=format_quantity(observed.get(days, 0), "customer", form="of")
        )
    median, longest = m.get("median_days_to_second"), m.get("median_within_days")
    if median is not None and longest:
        how = translate("formula.time_to_second", within=format_within(longest))
        rows.append(_measure_row("time_to_second", format_quantity(round(median), "day"), how))
    for kept, lost in (("retention", "lost"), ("retention_year", "lost_year")):
        known = [row for row in m.get("monthly") or [] if row.get(kept) is not None]
        if known:
            now = known[-1][kept]
            rows.append(_measure_row(kept, format_share(now), translate(f"formula.{kept}"), _at_end(periods, kept)))
            rows.append(
                _measure_row(
                    lost, format_share(1 - now), translate(f"formula.{lost}"), _at_end(periods, kept, rest=True)
                )
            )
    if m.get("reorder_rate") is not None:
        periods_text = _ratio(periods, "reorders", "orders")
        rows.append(
            _measure_row(
                "reorder_rate", format_share(m["reorder_rate"]), translate("formula.reorder_rate"), periods_text
            )
        )
    return rows


def _rhythm_row(m: Mapping[str, Any]) -> list[_Row]:
    rhythm = m.get("rhythm")
    if not rhythm:
        return []
    ends = {
        "low": format_quantity(rhythm["quarter_days"], "day"),
        "high": format_quantity(rhythm["three_quarters_days"], "day"),
    }
    now = f"{format_quantity(rhythm['median_days'], 'day')}; {translate('measures.quartiles', **ends)}"
    return [{**_measure_row("rhythm", now, translate("formula.rhythm")), "is_long": True}]


def _money_rows(m: Mapping[str, Any], currency: str | None) -> list[_Row]:
    rows = []
    if m.get("returning_sales_share") is not None:
        how = translate("formula.returning_sales", sales=format_money(m.get("sales_total"), currency))
        periods_text = _ratio(_periods(m), "returning_sales", "sales")
        rows.append(_measure_row("returning_sales", format_share(m["returning_sales_share"]), how, periods_text))
    for name in ("returning", "once"):
        group = (m.get("spenders") or {}).get(name) or {}
        if group.get("sales_per_customer") is not None:
            how = translate(f"formula.spend_{name}", customers=format_quantity(group["customers"], "customer"))
            a_day = translate("measures.per_purchase", value=format_money(group["sales_per_purchase_day"], currency))
            rows.append(
                _measure_row(f"spend_{name}", f"{format_money(group['sales_per_customer'], currency)}; {a_day}", how)
            )
            rows[-1]["is_long"] = True
    return rows


def _size_rows(m: Mapping[str, Any], periods: _Periods, currency: str | None) -> list[_Row]:
    rows = [
        _measure_row(
            "new_customers",
            format_count(m.get("n_customers")),
            translate("formula.new_customers"),
            _period_texts(periods, format_count, "new_customers"),
        ),
        _measure_row(
            "orders",
            format_count(m.get("n_orders")),
            translate("formula.orders"),
            _period_texts(periods, format_count, "orders"),
        ),
    ]
    if m.get("sales_total") is not None:
        periods_text = _period_texts(periods, lambda value: format_money(value, currency), "sales")
        rows.append(
            _measure_row("sales", format_money(m["sales_total"], currency), translate("formula.sales"), periods_text)
        )
    return rows


def _benchmark_range_text(benchmark: Benchmark) -> str:
    low, high = format_share(benchmark.low), format_share(benchmark.high)
    return low if low == high else translate("risk.range_words", low=low, high=high)


def _benchmark_texts(benchmark: Benchmark) -> _Row:
    return {
        "name": translate(f"measure.{benchmark.measure}"),
        "range": _benchmark_range_text(benchmark),
        "source": translate_text(benchmark.source, "benchmark."),
        "address": benchmark.address,
        "caveat": translate_text(benchmark.caveat_in(active_locale()), "benchmark."),
    }
