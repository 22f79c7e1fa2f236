"""``python -m benchmarks.reading [--shops 2000] [--seed 1] [--only SEED] [--out FILE]``.

A reading is right, a refusal (expected where the export leaves something open), or wrong; a crash counts as wrong.
"""

import argparse
import re
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks.reading.trying import Tried, try_all
from tests.exports.random_layout import RandomExport, check_reading, generate_export

SHOWN_SEEDS = 30
SHOWN_LINES = 8


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reading", description=__doc__)
    parser.add_argument("--shops", type=int, default=2000, help="how many; default 2000")
    parser.add_argument("--seed", type=int, default=1, help="the first; each shop has the next")
    parser.add_argument("--only", type=int, metavar="SEED", help="read one shop, keep its files and show them")
    parser.add_argument("--out", type=Path, help="file that takes the tables too")
    arguments = parser.parse_args()
    if arguments.only is not None:
        _show(arguments.only)
        return
    tried = try_all(range(arguments.seed, arguments.seed + arguments.shops))
    text = _tables(tried)
    print(text)
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")


def _tables(tried: Sequence[Tried]) -> str:
    clear = [one for one in tried if not one.is_ambiguous]
    return "\n".join(
        [
            _outcomes("All exports", tried),
            _outcomes("Of these, exports that leave nothing open", clear),
            "",
            "## By kind (refused: of exports that leave nothing open)",
            "",
            "| kind | tried | right | refused | wrong | failed % | first seed |",
            "|---|--:|--:|--:|--:|--:|--:|",
            *_rows_by_trait(tried),
            "",
            "## What is wrong",
            "",
            *_grouped([one for one in tried if one.outcome == "wrong"]),
            "",
            "## Refusals of exports that leave nothing open",
            "",
            *_grouped([one for one in clear if one.outcome == "refused"]),
            "",
        ]
    )


def _outcomes(title: str, tried: Sequence[Tried]) -> str:
    counts = Counter(one.outcome for one in tried)
    shares = ", ".join(f"{counts[name]} {name}" for name in ("right", "refused", "wrong"))
    return f"{title}: {len(tried)}: {shares}"


def _rows_by_trait(tried: Sequence[Tried]) -> list[str]:
    rows = []
    for trait in {trait for one in tried for trait in one.traits}:
        of_kind = [one for one in tried if trait in one.traits]
        right = sum(one.outcome == "right" for one in of_kind)
        wrong = sum(one.outcome == "wrong" for one in of_kind)
        failed = [
            one for one in of_kind if one.outcome == "wrong" or (one.outcome == "refused" and not one.is_ambiguous)
        ]
        share = 100 * len(failed) / len(of_kind)
        counts = f"{len(of_kind)} | {right} | {len(failed) - wrong} | {wrong} | {share:.0f}"
        rows.append((share, f"| {trait} | {counts} | {failed[0].seed if failed else ''} |"))
    return [row for _, row in sorted(rows, key=lambda pair: (-pair[0], pair[1]))]


def _grouped(tried: Sequence[Tried]) -> list[str]:
    """Count equal reasons, with numbers and quoted values left out, the most frequent first."""
    reasons: dict[str, list[Tried]] = {}
    for one in tried:
        words = re.sub(r"Found: .*|\(.*", "", re.sub(r"'[^']*'", "'…'", one.detail))
        words = words if one.outcome == "refused" else re.sub(r" [\d.,-]+ instead of [^;\[]+", "", words)
        reasons.setdefault(re.sub(r"\d[\d,.-]*", "N", words)[:150], []).append(one)
    lines = []
    for words, ones in sorted(reasons.items(), key=lambda item: -len(item[1])):
        seeds = ", ".join(str(one.seed) for one in ones[:SHOWN_SEEDS])
        lines += [f"- {len(ones)} × {words}", f"  - seeds {seeds}", f"  - {ones[0].seed}: {ones[0].detail[:300]}"]
    return lines


def _show(seed: int) -> None:
    folder = Path(tempfile.mkdtemp(prefix=f"reading-{seed}-"))
    export = generate_export(folder, seed)
    print(f"{export.path}\nsettings: {dict(export.settings)}\ncolumns: {dict(export.headings)}")
    print(
        f"traits: {', '.join(export.traits)}\nopen: {', '.join(export.ambiguous) or 'nothing'}\ntruth: {export.truth}"
    )
    _show_files(export)
    verdict = check_reading(export)
    print(f"\n{verdict.outcome}: {verdict.detail}")


def _encoding(export: RandomExport) -> str:
    used = [trait.removeprefix("encoding:") for trait in export.traits if trait.startswith("encoding:")]
    return used[0] if len(used) == 1 else "latin-1"


def _show_files(export: RandomExport) -> None:
    files = sorted(export.path.iterdir()) if export.path.is_dir() else [export.path]
    for file in files:
        if file.suffix == ".csv":
            print(f"\n{file.name}")
            text = file.read_bytes()
            encoding = "utf-16" if text.startswith(b"\xff\xfe") else _encoding(export)
            for line in text.decode(encoding).splitlines()[:SHOWN_LINES]:
                print(f"  {line}")


if __name__ == "__main__":
    main()
