"""``python -m benchmarks.start [--runs 5] [--home DIR]``: how long commands take, from the shell's point of view.

Whole processes are timed, in turns, after one round that is not counted. Wall-clock time is what a person waits and
depends on what else the machine does; processor time beside it depends on that much less.
"""

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from repurchase.jobs.order_intake import cdnow_orders

BARE = "python -c pass"
HEADING = f"{'command':<26}{'runs':>5}{'median s':>10}{'min-max s':>14}{'CPU s':>8}{'x bare':>8}{'goal s':>8}"


@dataclass
class Timed:
    """A command, and how long each of its runs took."""

    name: str
    command: Sequence[str]
    goal_s: float | None = None
    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)

    def run(self) -> None:
        before, begin = _children_s(), time.perf_counter()
        subprocess.run(self.command, check=True, capture_output=True)
        self.wall_s.append(time.perf_counter() - begin)
        self.cpu_s.append(_children_s() - before)

    @property
    def median_s(self) -> float:
        return statistics.median(self.wall_s)


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as scratch:
        home = arguments.home or Path(scratch) / "home"
        if not (home / "models" / "aliases.json").exists():
            _train(home)
        timed = _commands(home, Path(scratch) / "out" / "scores.parquet")
        for command in timed:
            command.run()
            command.wall_s.clear()
            command.cpu_s.clear()
        begin = os.getloadavg()[0]
        for _ in range(arguments.runs):
            for command in timed:
                command.run()
        _tell(timed, load=(begin, os.getloadavg()[0]))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.start", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="counted runs of each command (default 5)")
    parser.add_argument("--home", type=Path, help="home folder with a champion; without it one is trained on CDNOW")
    return parser.parse_args()


def _train(home: Path) -> None:
    print("Training on CDNOW first (some minutes) ...", file=sys.stderr)
    subprocess.run([*_repurchase(), "train", str(cdnow_orders()), "--home", str(home)], check=True, capture_output=True)


def _commands(home: Path, out: Path) -> list[Timed]:
    score = ["score", str(cdnow_orders()), "--home", str(home), "--out", str(out)]
    return [
        Timed(BARE, [sys.executable, "-c", "pass"]),
        Timed("python -c 'import pandas'", [sys.executable, "-c", "import pandas"]),
        Timed("repurchase --help", [*_repurchase(), "--help"], goal_s=0.5),
        Timed("repurchase score CDNOW", [*_repurchase(), *score], goal_s=8.0),
    ]


def _repurchase() -> list[str]:
    return [str(Path(sys.executable).with_name("repurchase"))]


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _tell(timed: Sequence[Timed], *, load: tuple[float, float]) -> None:
    bare_s = next(command.median_s for command in timed if command.name == BARE)
    print(HEADING)
    for command in timed:
        goal = "" if command.goal_s is None else f"< {command.goal_s:g}"
        print(
            f"{command.name:<26}{len(command.wall_s):>5}{command.median_s:>10.2f}"
            f"{f'{min(command.wall_s):.2f}-{max(command.wall_s):.2f}':>14}{statistics.median(command.cpu_s):>8.2f}"
            f"{command.median_s / bare_s:>8.1f}{goal:>8}"
        )
    print(
        f"{platform.platform()}, {os.cpu_count()} cores, load {load[0]:.1f} at the start and {load[1]:.1f} at the end."
    )


if __name__ == "__main__":
    main()
