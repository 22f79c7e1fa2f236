"""``python -m benchmarks.speed [--customers N]... [--runs N] [--out DIR]``."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.accuracy.table import about_this_run
from benchmarks.speed.orders import write_orders

RESULTS = Path(__file__).resolve().parent / "results"
STEPS = ("scan", "our_features", "our_fit", "our_parametric", "their_summary", "their_fit", "their_scores")
RATIOS = (
    ("features against lifetimes' summary", "their_summary", "our_features", "≥ 5"),
    ("features against a bare scan", "our_features", "scan", "≤ 10"),
    ("fit against lifetimes on raw rows", "their_fit", "our_fit", "≥ 4"),
    ("score, all of it, against lifetimes' own path", "their_scores", "score", "≥ 3"),
    ("parametric part against lifetimes' own path", "their_scores", "our_parametric", "≥ 10"),
)


@dataclass(frozen=True)
class Run:
    """One process, seen from outside."""

    wall_seconds: float
    cpu_seconds: float
    peak_gigabytes: float


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("--customers", type=int, action="append", help="default: 100,000 and 1,000,000")
    parser.add_argument("--runs", type=int, default=3, help="of each step; the median is kept")
    parser.add_argument("--train", action="store_true", help="also time `repurchase train` on each size")
    parser.add_argument("--only-score", type=int, action="append", default=[], help="sizes of which only that is timed")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for speed.md and speed.json")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for customers in arguments.customers or (100_000, 1_000_000):
            rows += _measure(Path(folder), customers, runs=arguments.runs, train=arguments.train)
        for customers in arguments.only_score:
            rows += _measure(Path(folder), customers, runs=1, train=False, steps=())
    about = about_this_run()
    text = _markdown(rows, about)
    print(text)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "speed.md").write_text(text, encoding="utf-8")
    (arguments.out / "speed.json").write_text(json.dumps(about | {"steps": rows}, indent=1), encoding="utf-8")


def _measure(
    folder: Path, customers: int, *, runs: int, train: bool, steps: tuple[str, ...] = STEPS
) -> list[dict[str, object]]:
    orders = folder / f"orders_{customers}.parquet"
    n_orders = write_orders(orders, customers)
    rows: list[dict[str, object]] = []

    def keep(step: str, command: list[str], times: int) -> None:
        done = [_run(command) for _ in range(times)]
        middle = {name: statistics.median(asdict(run)[name] for run in done) for name in asdict(done[0])}
        rows.append({"customers": customers, "orders": n_orders, "step": step, "runs": times, **middle})
        print(json.dumps(rows[-1]), file=sys.stderr)

    for step in steps:
        keep(step, [sys.executable, "-m", "benchmarks.speed.steps", step, str(orders)], runs)
    home = folder / f"home_{customers}"
    home.mkdir()
    # Logging the run to MLflow is a process of its own after delivery; it costs the same for any number of customers.
    (home / "repurchase.toml").write_text("tracking_seconds = 0\n", encoding="utf-8")
    command = [str(Path(sys.executable).with_name("repurchase"))]
    sample = orders
    if not train and customers > 100_000:
        sample = folder / "orders_to_learn.parquet"
        write_orders(sample, 100_000, seed=1)
    learn = [*command, "train", str(sample), "--home", str(home)]
    if train:
        keep("train", learn, 1)
    else:
        subprocess.run(learn, check=True, capture_output=True)
    keep("score", [*command, "score", str(orders), "--home", str(home), "--out", str(home / "scores.parquet")], runs)
    return rows


def _run(command: list[str]) -> Run:
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    if status:
        raise SystemExit(f"{' '.join(command)}: status {status}")
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20)


def _markdown(rows: list[dict[str, object]], about: dict[str, object]) -> str:
    lines = [
        "# Speed beside lifetimes",
        "",
        f"Whole processes, median of runs. Commit {about['commit']}; Python {about['python']}.",
        "",
        "| customers | orders | step | runs | wall s | CPU s | peak GB |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        figures = " | ".join(f"{row[name]:.2f}" for name in ("wall_seconds", "cpu_seconds", "peak_gigabytes"))
        lines.append(f"| {row['customers']:,} | {row['orders']:,} | {row['step']} | {row['runs']} | {figures} |")
    lines += ["", "| customers | ratio | asked | wall | CPU |", "|---|---|---|---|---|"]
    for customers in dict.fromkeys(row["customers"] for row in rows):
        by_step = {row["step"]: row for row in rows if row["customers"] == customers}
        if "scan" not in by_step:
            continue
        for name, over, under, asked in RATIOS:
            wall, cpu = (by_step[over][unit] / by_step[under][unit] for unit in ("wall_seconds", "cpu_seconds"))
            lines.append(f"| {customers:,} | {name} | {asked} | {wall:.1f} | {cpu:.1f} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
