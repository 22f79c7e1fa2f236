"""The result as people and programs read it."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.accuracy.metrics import HIGHER_IS_BETTER, PROBABILITY, SPEND
from benchmarks.accuracy.run import Row

PACKAGES = ("repurchase", "lifetimes", "scikit-learn", "lightgbm", "numpy", "scipy", "polars")
TITLES = {
    "auc": "AUC",
    "average_precision": "AP",
    "log_loss": "log loss",
    "ece": "ECE",
    "spend_gini": "spend Gini",
    "spearman": "Spearman",
    "decile_error": "decile error",
    "bias": "bias",
}


def document(summary: list[Row], ranges: list[Row], dates: list[Row], about: dict[str, object]) -> str:
    """The whole result as one page."""
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())  # type: ignore[attr-defined]
    parts = [
        "# Accuracy beside the peers",
        (
            "Means over cut-offs (lowest – highest); the best of a log in bold. "
            f"Commit {about['commit']}; Python {about['python']}; {versions}."
        ),
        _main_table(summary),
        *_mean_log_loss(summary),
    ]
    if ranges:
        parts += ["## 80 % range of spend over the log's horizon", _range_table(ranges)]
    if dates:
        parts += ["## Next order date, of those who ordered before the log ends", _date_table(dates)]
    return "\n\n".join([*parts, ""])


def _main_table(summary: list[Row]) -> str:
    metrics = (*PROBABILITY, *SPEND)
    lines = ["| log | model | " + " | ".join(TITLES[m] for m in metrics) + " |", "|---" * (len(metrics) + 2) + "|"]
    for row in summary:
        same_log = [other for other in summary if other["log"] == row["log"]]
        cells = [_cell(row, metric, same_log) for metric in metrics]
        lines.append(f"| {row['log']} | {row['model']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _mean_log_loss(summary: list[Row]) -> list[str]:
    logs = {row["log"] for row in summary}
    losses: dict[str, list[float]] = {}
    for row in summary:
        losses.setdefault(str(row["model"]), []).append(float(row["log_loss"]))  # type: ignore[arg-type]
    means = {model: sum(values) / len(values) for model, values in losses.items() if len(values) == len(logs)}
    if len(logs) < 2 or not means:
        return []
    return [f"Log loss, mean of {len(logs)} logs: " + ", ".join(f"{model} {mean:.4f}" for model, mean in means.items())]


def _range_table(ranges: list[Row]) -> str:
    lines = ["| log | model | inside | inside, lowest decile of a cut-off | mean width |", "|---|---|---|---|---|"]
    for (log, model), rows in _grouped(ranges, "log", "model").items():
        inside, lowest, width = (_mean(rows, name) for name in ("coverage", "lowest_decile", "width"))
        least = min(float(row["lowest_decile"]) for row in rows)  # type: ignore[arg-type]
        lines.append(f"| {log} | {model} | {inside:.3f} | {lowest:.3f} (least {least:.3f}) | {width:.1f} |")
    return "\n".join(lines)


def _date_table(dates: list[Row]) -> str:
    lines = ["| log | watched days | dates given | came | inside | before | by the median |", "|---" * 7 + "|"]
    for row in dates:
        shares = " | ".join(f"{row[name]:.3f}" for name in ("inside", "early", "by_median"))
        lines.append(f"| {row['log']} | {row['watched_days']} | {row['given']} | {row['came']} | {shares} |")
    return "\n".join(lines)


def _grouped(rows: list[Row], *keys: str) -> dict[tuple[object, ...], list[Row]]:
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    return groups


def _mean(rows: list[Row], name: str) -> float:
    return sum(float(row[name]) for row in rows) / len(rows)  # type: ignore[arg-type]


def _cell(row: Row, metric: str, same_log: list[Row]) -> str:
    if metric not in row:
        return "–"
    low, high = row[f"{metric}_range"]  # type: ignore[misc]
    shown = "{:+.0%}" if metric == "bias" else "{:.3f}" if metric in SPEND else "{:.4f}"
    mean = shown.format(row[metric])
    spread = f"{shown.format(low)} – {shown.format(high)}"
    return f"**{mean}** ({spread})" if _is_best(row, metric, same_log) else f"{mean} ({spread})"


def _is_best(row: Row, metric: str, same_log: list[Row]) -> bool:
    def badness(other: Row) -> float:
        value = float(other[metric])  # type: ignore[arg-type]
        return -value if metric in HIGHER_IS_BETTER else abs(value)

    return badness(row) == min(badness(other) for other in same_log if metric in other)


def about_this_run() -> dict[str, object]:
    """What a reader needs to run it again."""
    return {"commit": _commit(), "python": platform.python_version(), "versions": _versions()}


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _commit() -> str:
    here = Path(__file__).resolve().parent
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"
