"""Ctrl-C and SIGTERM at any moment: the exit code, one line, and nothing half-written."""

import signal
import subprocess

import pytest

WORDS = {
    signal.SIGINT: "repurchase: interrupted; no partial output was left.",
    signal.SIGTERM: "repurchase: terminated by SIGTERM; no partial output was left.",
}
BOTH = tuple(WORDS)
MOMENTS = {
    "first_import": ("import", "typer"),
    "import_of_the_command": ("import", "repurchase.cli.app"),
    "import_of_the_job": ("import", "repurchase.jobs.score"),
    "import_of_frames": ("import", "polars"),
    "reading_the_model": ("open", "champion"),
    "taking_the_place": ("sqlite3.connect", "scores.parquet.lock"),
    "spilling": ("os.mkdir", "rows/00003"),
    "cleaning": ("os.mkdir", "ledgers/00003"),
    "scoring": ("os.rename", "00003.partial"),
    "writing": ("open", "scores.run.json"),
    "publishing": ("os.rename", "scores.run.json"),
    "clearing_away": ("shutil.rmtree", ".scores.parquet.work"),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_signal_ends_a_run_in_order(shop, undisturbed, tmp_path, moment):
    number = BOTH[list(MOMENTS).index(moment) % 2]
    out = tmp_path / "out" / "scores.parquet"
    earlier = undisturbed.lay_out(out.parent)

    outcome = shop.run(*shop.scoring(out), fault=shop.signalled(number, *MOMENTS[moment]))

    assert outcome.code == 128 + number, outcome.err
    assert outcome.said == [WORDS[number]]
    if shop.visible(out.parent) != earlier:
        shop.require_whole(out, undisturbed.scores)
    assert shop.hidden(out.parent) in ([], [".scores.parquet.work"])


@pytest.mark.parametrize(
    ("fraction", "number"),
    [(0.3, signal.SIGINT), (0.5, signal.SIGTERM), (0.7, signal.SIGINT), (0.85, signal.SIGTERM)],
)
def test_a_signal_from_outside(shop, undisturbed, tmp_path, fraction, number):
    out = tmp_path / "out" / "scores.parquet"
    earlier = undisturbed.lay_out(out.parent)

    process = shop.start(*shop.scoring(out))
    try:
        process.wait(undisturbed.seconds * fraction)
    except subprocess.TimeoutExpired:
        process.send_signal(number)
    outcome = shop.finished(process)

    if outcome.code == -number:  # all was done, and the interpreter was leaving
        shop.require_whole(out, undisturbed.scores)
    elif outcome.code != 0:  # it may have been quicker than the signal
        assert outcome.code == 128 + number, outcome.err
        assert outcome.said == [WORDS[number]]
    if shop.visible(out.parent) != earlier:
        shop.require_whole(out, undisturbed.scores)
    assert shop.hidden(out.parent) in ([], [".scores.parquet.work"])


def test_what_was_finished_is_used_again(shop, undisturbed, tmp_path):
    out = tmp_path / "out" / "scores.parquet"
    fault = shop.signalled(signal.SIGTERM, "os.rename", "00003.partial")

    assert shop.run(*shop.scoring(out), fault=fault).code == 143
    outcome = shop.run(*shop.scoring(out))

    assert outcome.code == 0, outcome.err
    assert shop.record(out)["partitions"]["reused"] == 3
    shop.require_whole(out, undisturbed.scores)
    assert shop.hidden(out.parent) == []


def test_a_second_signal_does_not_disturb_the_clearing_away(shop, undisturbed, tmp_path):
    out = tmp_path / "out" / "scores.parquet"
    earlier = undisturbed.lay_out(out.parent)
    twice = f"""
again = lambda name, arguments: name == "shutil.rmtree" and os.kill(os.getpid(), {int(signal.SIGINT)})
__import__("sys").addaudithook(again)
os.kill(os.getpid(), {int(signal.SIGINT)})
"""

    outcome = shop.run(*shop.scoring(out), fault=shop.fault("os.mkdir", "ledgers/00003", twice))

    assert outcome.code == 130, outcome.err
    assert outcome.said == [WORDS[signal.SIGINT]]
    assert shop.visible(out.parent) == earlier
    assert shop.hidden(out.parent) == []


def test_a_signal_that_the_caller_ignores_stays_ignored(shop, undisturbed, tmp_path):
    """A shell starts background jobs so; nohup does it for another signal."""
    out = tmp_path / "out" / "scores.parquet"
    fault = shop.signalled(signal.SIGINT, "os.mkdir", "ledgers/00003")

    outcome = shop.run(
        *shop.scoring(out), fault=fault, program=["sh", "-c", 'trap "" INT; exec "$0" "$@"', shop.command]
    )

    assert outcome.code == 0, outcome.err
    shop.require_whole(out, undisturbed.scores)
