"""Judge refill dates out of time against two rules, at equal list lengths, one product per customer.

Rules: the product the customer buys most (latest first among equals), and the same interval as last time (products
whose last purchase plus last interval falls into the window, most bought first). A hit is a purchase of that very
product by that customer within the window. Date error: days between the date told and the day of the next purchase, of
pairs bought at least twice before and again within three windows. Run it as ``python -m benchmarks.refill FOLDER``.
"""

import sys
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from repurchase.marketing.products import NON_PRODUCT_PATTERN, due_products, product_gaps, refill_rates

LOGS = {
    "completejourney_lines": (14, (date(2017, 8, 15), date(2017, 9, 30), date(2017, 10, 31))),
    "shopify_store_lines": (30, (date(2022, 12, 15), date(2023, 1, 15), date(2023, 3, 15))),
}
"""Window in days; cut-offs on which the constants were chosen, and last the one on which they were confirmed, once."""
LENGTHS = (200, 500, 1000, 2000)
_OWN = ["customer_id", "product_id"]


def product_days(path: Path) -> pl.DataFrame:
    """Read customers, products and days."""
    lines = pl.read_parquet(path).filter(pl.col("product_id").is_not_null() & (pl.col("amount") > 0))
    if "product_name" in lines.columns:
        lines = lines.filter(~pl.col("product_name").str.contains(NON_PRODUCT_PATTERN))
    return lines.select(*_OWN, day=pl.col("order_date").dt.date()).unique()


def judged(days: pl.DataFrame, cutoff: date, window: int) -> Iterator[dict[str, Any]]:
    """Compare at one cut-off, a row per list length."""
    gaps = product_gaps(days, as_of=cutoff)
    due = due_products(gaps, refill_rates(gaps), as_of=cutoff, within_days=window)
    again = pl.col("last") + pl.duration(days=pl.col("last_gap"))
    until = cutoff + timedelta(days=window)
    due = due.with_columns(again=again, falls=((again > cutoff) & (again <= until)).fill_null(value=False))
    bought = days.filter((pl.col("day") > cutoff) & (pl.col("day") <= until)).select(_OWN).unique()
    lists = {
        "refill": _one_each(due, ["chance"]),
        "most_bought": _one_each(due, ["purchases", "last"]),
        "same_interval": _one_each(due.filter(pl.col("last_gap").is_not_null()), ["falls", "purchases", "last"]),
    }
    dates = _date_errors(due, days, cutoff, 3 * window)
    for length in LENGTHS:
        hits = {name: listed.head(length).join(bought, on=_OWN).height / length for name, listed in lists.items()}
        yield {"cutoff": cutoff, "window_days": window, "length": length, **hits, **dates}


def _one_each(due: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    ranked = due.sort(*by, *_OWN, descending=[True] * len(by) + [False] * 2)
    return ranked.unique("customer_id", keep="first", maintain_order=True)


def _date_errors(due: pl.DataFrame, days: pl.DataFrame, cutoff: date, horizon: int) -> dict[str, float]:
    later = days.filter((pl.col("day") > cutoff) & (pl.col("day") <= cutoff + timedelta(days=horizon)))
    known = due.filter(pl.col("last_gap").is_not_null())
    seen = known.join(later.group_by(_OWN).agg(next=pl.col("day").min()), on=_OWN)
    same = pl.max_horizontal("again", pl.lit(cutoff + timedelta(days=1)))
    off = {"refill": pl.col("refill_on"), "same": same}
    return seen.select(
        pairs=pl.len(),
        **{f"days_off_{name}": (told - pl.col("next")).dt.total_days().abs().mean() for name, told in off.items()},
        in_range=pl.col("next").is_between(pl.col("refill_low"), pl.col("refill_high")).mean(),
    ).row(0, named=True)


def main(folder: Path) -> str:
    """Judge every log and put the rows into a table."""
    lines = [
        "| log | cut-off | window | list | hits | most bought | same interval | days off | same interval | in range |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, (window, cutoffs) in LOGS.items():
        days = product_days(folder / f"{name}.parquet")
        for cutoff in cutoffs:
            lines += [
                f"| {name} | {cutoff}{' (confirmed)' if cutoff == cutoffs[-1] else ''} | {window} | {row['length']} "
                f"| {row['refill']:.3f} | {row['most_bought']:.3f} | {row['same_interval']:.3f} "
                f"| {row['days_off_refill']:.1f} | {row['days_off_same']:.1f} | {100 * row['in_range']:.0f} % |"
                for row in judged(days, cutoff, window)
            ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(main(Path(sys.argv[1])) + "\n")
