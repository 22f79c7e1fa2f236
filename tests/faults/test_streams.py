"""Standard output and error that are closed, full or noisy decide nothing; what leaves them is redacted."""

import json
import os
import subprocess
from pathlib import Path

import pytest

FULL = Path("/dev/full")
PANIC = """
import polars as pl
class PanicException(BaseException):
    pass
def panic(*_, **__):
    os.write(2, b"thread panicked at crates/polars: c000017\\n" * 75)
    raise PanicException("c000017")
pl.LazyFrame.collect = panic
"""


def shell(shop, words: str, redirections: str) -> subprocess.CompletedProcess[str]:
    script = f'exec "{shop.command}" {words} {redirections}'
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", script], env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")
@pytest.mark.parametrize(
    "redirections",
    [">/dev/full 2>/dev/full --log-format json", ">&- 2>&-", "2>&1 | true"],
)
def test_scores_come_whatever_becomes_of_the_reports(shop, undisturbed, tmp_path, redirections):
    out = tmp_path / "out" / "scores.parquet"

    done = shell(shop, f"score {shop.orders} --home {shop.home} --out {out}", redirections)

    assert done.returncode == 0, done.stderr
    shop.require_whole(out, undisturbed.scores)
    assert shop.hidden(out.parent) == []


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")
@pytest.mark.parametrize("stream", [">/dev/full", "2>/dev/full", "2>&-"])
def test_a_fault_keeps_its_exit_code(shop, stream):
    assert shell(shop, "check nowhere.csv", stream).returncode == 2


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_panic_of_native_code_is_a_defect_in_order(shop, home, tmp_path, log_format):
    fault = shop.fault("import", "repurchase.jobs.order_intake", PANIC)

    outcome = shop.run(*shop.scoring(tmp_path / "scores.parquet", home=home), "--log-format", log_format, fault=fault)

    assert outcome.code == 1, outcome.err
    if log_format == "text":
        assert "PanicException: c000017\nrepurchase: this is a defect of the program" in outcome.err
        return
    lines = [json.loads(line) for line in outcome.err.splitlines()]
    assert [line["event"] for line in lines[-3:]] == ["error", "noise", "end"]
    assert (lines[-3]["error"], lines[-1]["exit_code"]) == ("PanicException", 1)
    assert "75 lines that libraries printed" in lines[-2]["message"]
    assert "c000017" not in outcome.err


def test_values_are_logged_where_that_is_asked_for(shop, home, tmp_path):
    fault = shop.fault("import", "repurchase.jobs.order_intake", PANIC)
    words = shop.scoring(tmp_path / "scores.parquet", home=home)

    outcome = shop.run(*words, "--log-format", "json", "--log-values", fault=fault)

    assert outcome.code == 1, outcome.err
    error, noise, _ = [json.loads(line) for line in outcome.err.splitlines()][-3:]
    assert error["message"] == "A defect: c000017"
    assert "panicked at crates/polars: c000017" in noise["message"]
