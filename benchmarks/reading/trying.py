"""Shops tried side by side, each in a file of its own."""

import multiprocessing
import os
import tempfile
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from tests.exports.random_layout import check_reading, generate_export

PROCESSES = 2


@dataclass(frozen=True)
class Tried:
    """One seed and what came out."""

    seed: int
    outcome: str
    detail: str
    traits: tuple[str, ...]
    is_ambiguous: bool


def try_all(seeds: Iterable[int]) -> list[Tried]:
    os.environ["POLARS_MAX_THREADS"] = "1"  # read by the new processes, each of which has one core
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, mp_context=spawn, max_tasks_per_child=500) as pool:
        futures = {seed: pool.submit(_try, seed) for seed in seeds}
        tried = []
        for seed, future in futures.items():
            fault = future.exception()
            if isinstance(fault, BrokenProcessPool):
                raise fault
            tried.append(Tried(seed, "wrong", f"crash: {fault!r}", ("crash",), False) if fault else future.result())
    return tried


def _try(seed: int) -> Tried:
    with tempfile.TemporaryDirectory() as folder:
        export = generate_export(Path(folder), seed)
        verdict = check_reading(export)
        detail = verdict.detail.replace(str(export.path), "EXPORT")
        return Tried(seed, verdict.outcome, detail, export.traits, bool(export.ambiguous))
