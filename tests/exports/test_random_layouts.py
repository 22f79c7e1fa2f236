"""A random shop in a random layout, language and dialect is read as it is, or refused; never something else."""

import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.exports.random_layout import RandomExport, Verdict, check_reading, generate_export

_SEEDS = range(1, 31)
_MOST_REFUSED = 0.2


def _read(seed: int) -> tuple[RandomExport, Verdict]:
    with tempfile.TemporaryDirectory() as folder:
        export = generate_export(Path(folder), seed)
        return export, check_reading(export)


def _names_something(message: str, export: RandomExport) -> bool:
    rest = message.replace(str(export.path), "")
    return any(name in rest for name in export.headings.values()) or bool(re.search(r"line [\d,]+|'[^']+'", rest))


# A seed has no smaller neighbour that fails for the same reason, so nothing is shrunk.
@settings(max_examples=40, derandomize=True, deadline=None, database=None, phases=[Phase.generate])
@given(seed=st.integers(1_000, 1_000_000))
def test_a_random_export_is_read_right_or_refused_with_a_reason(seed: int) -> None:
    export, verdict = _read(seed)
    assert verdict.outcome != "wrong", f"seed {seed}: {verdict.detail} ({', '.join(export.traits)})"
    if verdict.outcome == "refused":
        assert "\n" not in verdict.detail
        assert _names_something(verdict.detail, export), verdict.detail


def test_few_exports_are_refused_that_leave_nothing_open() -> None:
    read = [_read(seed) for seed in _SEEDS]
    clear = [(export, verdict) for export, verdict in read if not export.ambiguous]
    refused = [verdict.detail for _, verdict in clear if verdict.outcome == "refused"]
    assert len(clear) > len(read) / 2
    assert len(refused) <= _MOST_REFUSED * len(clear), "\n".join(refused)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_same_seed_writes_the_same_export(seed: int, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    exports = []
    for folder in (first, second):
        folder.mkdir()
        exports.append(generate_export(folder, seed))
    assert exports[0].traits == exports[1].traits
    texts = [[file.read_bytes() for file in sorted(folder.rglob("*.csv"))] for folder in (first, second)]
    assert texts[0] == texts[1]
    assert exports[0].truth == exports[1].truth
