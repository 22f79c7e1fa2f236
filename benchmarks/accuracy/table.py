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


def markdown(summary: list[Row], about: dict[str, object]) -> str:
    """Means over the cut-offs with the lowest and highest beneath; the best of a log in bold."""
    metrics = (*PROBABILITY, *SPEND)
    lines = ["| log | model | " + " | ".join(TITLES[m] for m in metrics) + " |", "|---" * (len(metrics) + 2) + "|"]
    for row in summary:
        same_log = [other for other in summary if other["log"] == row["log"]]
        cells = [_cell(row, metric, same_log) for metric in metrics]
        lines.append(f"| {row['log']} | {row['model']} | " + " | ".join(cells) + " |")
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())  # type: ignore[attr-defined]
    foot = f"Means over cut-offs (lowest – highest). Commit {about['commit']}; Python {about['python']}; {versions}."
    return "\n".join([*lines, "", foot, ""])


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
