"""SIGKILL at any moment: no visible output, or the earlier whole, or the new whole; the next run goes on from there."""

import random
import signal
import subprocess
from pathlib import Path

import pytest

SINGLE, IN_A_CHAIN = 8, 22


def killed(shop, out: Path, *, seconds: float) -> None:
    process = shop.start(*shop.scoring(out))
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
    process.communicate()


@pytest.fixture(scope="module")
def moments(undisturbed) -> list[float]:
    """Seconds after the start, spread over a run's whole length."""
    count = SINGLE + IN_A_CHAIN
    fractions = [(number + random.Random(number).random()) / count for number in range(count)]
    return [undisturbed.seconds * fraction for fraction in random.Random(4).sample(fractions, count)]


def test_a_chain_of_kills_finishes_in_the_end(shop, undisturbed, moments, tmp_path):
    out = tmp_path / "out" / "scores.parquet"

    for seconds in moments[:IN_A_CHAIN]:
        killed(shop, out, seconds=seconds)
        if shop.visible(out.parent):
            shop.require_whole(out, undisturbed.scores)
    outcome = shop.run(*shop.scoring(out))

    assert outcome.code == 0, outcome.err
    shop.require_whole(out, undisturbed.scores)
    assert shop.hidden(out.parent) == []


def test_after_each_kill_last_nights_or_tonights_scores_are_there(shop, undisturbed, moments, tmp_path):
    for number, seconds in enumerate(moments[IN_A_CHAIN:]):
        out = tmp_path / str(number) / "scores.parquet"
        earlier = undisturbed.lay_out(out.parent)

        killed(shop, out, seconds=seconds)
        if shop.visible(out.parent) != earlier:
            shop.require_whole(out, undisturbed.scores)
        outcome = shop.run(*shop.scoring(out))

        assert outcome.code == 0, outcome.err
        shop.require_whole(out, undisturbed.scores)
        assert shop.hidden(out.parent) == []


def test_finished_partitions_are_used_again(shop, undisturbed, tmp_path):
    out = tmp_path / "out" / "scores.parquet"
    fault = shop.signalled(signal.SIGKILL, "os.rename", "00003.partial")

    assert shop.run(*shop.scoring(out), fault=fault).code == -signal.SIGKILL
    outcome = shop.run(*shop.scoring(out))

    assert outcome.code == 0, outcome.err
    assert shop.record(out)["partitions"]["reused"] == 3
    shop.require_whole(out, undisturbed.scores)
    assert shop.hidden(out.parent) == []


def test_partitions_of_other_orders_are_not(shop, undisturbed, tmp_path):
    out = tmp_path / "out" / "scores.parquet"
    more = tmp_path / "more.csv"
    more.write_text(shop.orders.read_text() + "new,o-new,2025-05-14,10.0\n")
    fault = shop.signalled(signal.SIGKILL, "os.rename", "00003.partial")

    assert shop.run(*shop.scoring(out), fault=fault).code == -signal.SIGKILL
    outcome = shop.run(*shop.scoring(out, orders=more))

    assert outcome.code == 0, outcome.err
    assert shop.record(out)["partitions"]["reused"] == 0
    assert shop.record(out)["counts"]["asked"] == undisturbed.scores.height + 1


def test_a_kill_between_the_record_and_the_scores_is_seen_and_mended(shop, undisturbed, tmp_path):
    """Two files cannot be renamed in one step: the scores come last, and the record names the digest of its scores."""
    out = tmp_path / "out" / "scores.parquet"
    earlier = undisturbed.lay_out(out.parent)
    fault = shop.fault("os.rename", "/scores.parquet", f"os.kill(os.getpid(), {int(signal.SIGKILL)})")

    assert shop.run(*shop.scoring(out), fault=fault).code == -signal.SIGKILL
    assert out.read_bytes() == earlier["scores.parquet"]
    page = tmp_path / "report.html"
    assert shop.run("report", out, "--out", page).code == 0
    assert "belongs to other scores" in page.read_text()
    outcome = shop.run(*shop.scoring(out))

    assert outcome.code == 0, outcome.err
    shop.require_whole(out, undisturbed.scores)
    assert shop.hidden(out.parent) == []
