"""A campaign in the lines that the command line prints."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from repurchase.marketing.campaigns import CONTROL, TREATMENT
from repurchase.report.words import counted, money, share

__all__ = ["measured_lines", "planned_lines"]

Record = Mapping[str, Any]


def planned_lines(record: Record, path: Path) -> list[str]:
    """Say whom a campaign reaches, what it can show, and what is expected of it.

    Parameters
    ----------
    record : mapping
        The campaign.
    path : Path
        Where it lies.

    Returns
    -------
    list of str
        A dozen lines.
    """
    arms, found = record["arms"], record["candidates"]
    return [
        (
            f"Campaign '{record['campaign']}', going out on {record['day']}; purchases up to {record['window_ends']} "
            f"count ({record['horizon_days']} days)."
        ),
        (
            f"{counted(found['asked'], 'customer')} looked at, {found['worth_reaching']:,} expected to bring more than "
            f"they cost, {found['chosen']:,} chosen: {arms[TREATMENT]:,} to reach, {arms[CONTROL]:,} held out by lot "
            f"({_percent(arms['control_share'])})."
        ),
        *_power_lines(record),
        *_assumption_lines(record),
        *_expected_lines(record),
        *_learned_lines(record),
        (
            f"Reach: {path.with_name(record['lists'][TREATMENT]['path'])}. Leave alone: "
            f"{path.with_name(record['lists'][CONTROL]['path'])}."
        ),
        f"Campaign file: {path}. Afterwards: repurchase campaign measure {path} ORDERS",
    ]


def measured_lines(record: Record, path: Path) -> list[str]:
    """Say what a campaign brought, and whether that can be told.

    Parameters
    ----------
    record : mapping
        What measuring gave.
    path : Path
        Where it lies.

    Returns
    -------
    list of str
        The verdict first.
    """
    groups, currency = record["groups"], record["currency"]
    treated, held = groups["treatment"], groups["control"]
    lines = [
        _verdict(record),
        (
            f"Bought within {record['observed_days']} days after {record['day']}: {share(treated['share_bought'])} of "
            f"{treated['customers']:,} to be reached, {share(held['share_bought'])} of {held['customers']:,} held out."
        ),
        (
            f"Repurchase: {_points(record['repurchase']['adjusted'])} points, adjusted for the scores; "
            f"{_points(record['repurchase']['unadjusted'])} without."
        ),
    ]
    if record["sales"] is not None:
        lines += _money_lines(record, currency)
    lines += _segment_lines(record["segments"])
    missing = record["customers"]["missing"]
    lines += [f"{counted(missing, 'customer')} of the plan no longer in the file: left out of all figures."] * bool(
        missing
    )
    return [*lines, f"Record: {path}"]


def _power_lines(record: Record) -> list[str]:
    power, arms = record["power"], record["arms"]
    if not arms[CONTROL]:
        return ["NOBODY IS HELD OUT: what this campaign brings cannot be measured."]
    effect, base, plain = f"{power['effect_points']:.3g} points", share(power["base_share"]), power["without_scores"]
    explained = f"the scores are counted on to explain {share(power['explained_by_scores'])} of who buys"
    if power["enough"]:
        would = plain["needed_control"]
        more = "no control group of this list would do" if would is None else f"{would:,} would have to be held out"
        return [
            (
                f"Of those held out about {base} should buy anyway. Adjusted for the scores, an uplift of {effect} "
                f"would be seen with a probability of {_percent(power['reached_power'])} (false alarms "
                f"{_percent(power['alpha'])}): {explained}."
            ),
            f"Without the scores: {_percent(plain['reached_power'])}"
            + ("." if plain["enough"] else f"; for {_percent(power['power'])}, {more}."),
        ]
    least = power["detectable_points"]
    could = f"of {least:.2f} points or more" if least is not None else "of no size"
    needed, without = power["needed_customers"], plain["needed_customers"]
    longer = "" if needed is None else f" About {needed:,} customers like these would show it, half of them held out"
    longer += f" ({without:,} without the scores)." if longer and without else "." * bool(longer)
    return [
        (
            f"TOO SMALL to see {effect} with a probability of {_percent(power['power'])} (about {base} buy anyway; "
            f"adjusted for the scores it would be seen with {_percent(power['reached_power'])}, without with "
            f"{_percent(plain['reached_power'])}). It can show an uplift {could}.{longer} A longer list, a larger "
            "control group or more days would help."
        )
    ]


def _assumption_lines(record: Record) -> list[str]:
    told = record["assumption"]
    points = f"{told['uplift_points']:.3g} points"
    if told["low_points"] is None:
        return [f"ASSUMED, not known: those reached buy {points} more often. Only a measured campaign can tell."]
    return [
        (
            f"Uplift from past campaigns: {points} ({told['low_points']:.1f} to {told['high_points']:.1f}), if this "
            "one is like them."
        )
    ]


def _expected_lines(record: Record) -> list[str]:
    found, currency = record["expected"], record["currency"]
    lines = [
        (
            f"On that: {found['buyers_more']:,.0f} buyers more than the {found['buyers_anyway']:,.0f} who buy anyway; "
            f"cost {_range(found['cost'], currency)}."
        )
    ]
    if "profit" in found:
        lines.append(
            f"Sales {_range(found['sales'], currency)}, profit after margin and costs "
            f"{_range(found['profit'], currency)} (95 % by chance, if the uplift is as said)."
        )
        lines += [f"  {row['name']}: profit {money(row['profit']['value'], currency)}" for row in record["scenarios"]]
        pays = record["break_even_points"]
        lines.append("It pays at no uplift." if pays is None else f"It pays from an uplift of {pays:.2f} points.")
    return lines


def _learned_lines(record: Record) -> list[str]:
    learned = (record.get("past") or {}).get("learning")
    return [learned["words"]] if learned else []


def _verdict(record: Record) -> str:
    found = record["repurchase"]["adjusted"]
    if not record["is_over"]:
        return (
            f"CANNOT TELL YET: {record['observed_days']} of {record['horizon_days']} days are over. Measure again with "
            f"orders up to {record['window_ends']}. So far:"
        )
    if found["can_tell"]:
        more = "MORE" if found["value"] > 0 else "LESS"
        return f"Those reached bought {more} often because of the campaign: {_points(found)} points."
    needed, n = record["needed_customers"], sum(group["customers"] for group in record["groups"].values())
    words = "CANNOT TELL: the difference may be chance, its range holds zero."
    if needed is not None and needed > n:
        words += (
            f" To see {record['effect_points']:.3g} points, about {needed:,} customers are needed, parted alike; these "
            f"were {n:,}."
        )
    elif found["high"] < record["effect_points"]:
        words += f" Its range leaves out {record['effect_points']:.3g} points: so much it did not bring."
    return words


def _money_lines(record: Record, currency: str | None) -> list[str]:
    sales, profit, totals = record["sales"], record["profit"], record["totals"]
    lines = [
        (
            f"Net sales per customer against those held out: {_amount(sales['adjusted'], currency)}, adjusted; "
            f"{_amount(sales['unadjusted'], currency)} without. {_tells(sales['adjusted'], record)}"
        ),
        (
            f"All in all: sales {_range(totals['sales'], currency)}, cost {money(totals['cost'], currency)}, profit "
            f"{_range(totals['profit'], currency)}; per contact {_amount(profit['adjusted'], currency)}."
        ),
    ]
    back = record["return_on_spend"]
    if back is not None:
        lines.append(
            f"Return on spend: {back['value']:+.2f} per unit spent ({back['low']:+.2f} to {back['high']:+.2f})."
            f" {_tells(profit['adjusted'], record)}"
        )
    return lines


def _segment_lines(rows: list[Record]) -> list[str]:
    if len(rows) < 2:
        return []
    stands = [row for row in rows if (row["p_value_for_all_looked_at"] or 1.0) < 0.05]
    lines = [f"By segment, in points ({len(rows)} looked at: one may look good by chance):"]
    for row in rows:
        told = "too few" if row["points"] is None else _points(row["points"])
        drawn = row["points_drawn_to_the_mean"]
        pooled = "" if drawn is None else f"; drawn to the mean {drawn:+.1f}"
        lines.append(f"  {row['segment']}: {told}{pooled} ({row['treatment']:,} against {row['control']:,})")
    names = ", ".join(str(row["segment"]) for row in stands)
    return [*lines, f"Beyond chance, for all looked at: {names or 'none'}."]


def _points(found: Record) -> str:
    return f"{found['value']:+.1f} ({found['low']:+.1f} to {found['high']:+.1f})"


def _tells(found: Record, record: Record) -> str:
    """Of money: told for certain only where repurchase says so too; of two figures, one is easily beyond chance."""
    if not record["is_over"]:
        return "Cannot tell yet."
    if not found["can_tell"]:
        return "Cannot tell: its range holds zero."
    if not record["repurchase"]["adjusted"]["can_tell"]:
        return "Beyond chance by itself, but repurchase is not: a hint, no proof."
    return "Beyond chance."


def _amount(found: Record, currency: str | None) -> str:
    unit = f" {currency}" if currency else ""
    return f"{found['value']:+,.2f}{unit} ({found['low']:+,.2f} to {found['high']:+,.2f})"


def _range(found: Record, currency: str | None) -> str:
    value = money(found["value"], currency)
    if found["low"] == found["high"]:
        return value
    return f"{value} ({money(found['low'], currency)} to {money(found['high'], currency)})"


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"
