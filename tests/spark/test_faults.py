"""What stands in the way of Spark, in one line; none of this needs a cluster."""

import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from repurchase.errors import InputError, LeakageError
from repurchase.spark import session
from repurchase.spark.session import translate_spark_errors

pytestmark = pytest.mark.spark

ASKED = ("score", "orders.csv", "--out", "scores.parquet")


def one_line(outcome: Any) -> str:
    assert outcome.code == 2
    assert len(outcome.err.splitlines()) == 1
    return str(outcome.err)


def test_without_pyspark(repurchase: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyspark", None)
    assert "pip install 'repurchase[spark]'" in one_line(repurchase(*ASKED, "--engine", "spark"))


def test_without_java(
    java_and_spark: None, repurchase: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    assert "needs Java 17 or later" in one_line(repurchase(*ASKED, "--engine", "spark"))
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert "needs Java 17 or later" in one_line(repurchase(*ASKED, "--engine", "spark"))


def test_a_master_that_is_not_there(java_and_spark: None, repurchase: Callable[..., Any]) -> None:
    with socket.socket() as door:  # bound, but nobody listens
        door.bind(("127.0.0.1", 0))
        master = f"spark://127.0.0.1:{door.getsockname()[1]}"
        said = one_line(repurchase(*ASKED, "--engine", "spark", "--master", master))
    assert f"--master {master}: no master answers there" in said
    assert "no port" not in said
    assert "no master answers" in one_line(repurchase(*ASKED, "--engine", "spark", "--master", "spark://nowhere"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--engine", "flink"), "'flink' is not one of"),
        (("--master", "local[2]"), "require --engine spark"),
        (("--engine", "spark", "--dry-run"), "--dry-run"),
        (("--engine", "spark", "--spark-conf", "memory=4g"), "'memory=4g' is not of the form spark.name=value"),
    ],
)
def test_words_that_do_not_go_together(repurchase: Callable[..., Any], words: tuple[str, ...], said: str) -> None:
    assert said in one_line(repurchase(*ASKED, *words))


def test_faults_in_a_task_keep_their_kind(java_and_spark: None) -> None:
    from pyspark.errors import PySparkException

    def raising(words: str) -> Callable[[], None]:
        def work() -> None:
            raise PySparkException(words)

        return work

    traceback = 'Traceback (most recent call last):\n  File "worker.py", line 1, in main\n'
    with pytest.raises(LeakageError, match=r"^a return before its sale\. Leave it empty\.$"):
        translate_spark_errors(
            raising(
                f"{traceback}repurchase.errors.LeakageError: a return before\nits sale. Leave it empty.\n\n\tat org"
            )
        )
    with pytest.raises(InputError, match=r"repurchase is not installed where the executors run"):
        translate_spark_errors(raising(f"{traceback}ModuleNotFoundError: No module named 'repurchase'"))
    with pytest.raises(InputError, match=r"^Spark: No FileSystem for scheme s3a$"):
        translate_spark_errors(
            raising("org.apache.hadoop.fs.UnsupportedFileSystemException: No FileSystem for scheme s3a")
        )
    with pytest.raises(PySparkException, match="KeyError"):
        translate_spark_errors(raising(f"An exception was thrown from the Python worker:\n{traceback}KeyError: 'x'"))


def test_log_lines_of_java_tell_why(tmp_path: Path) -> None:
    log = tmp_path / "spark.log"
    log.write_text("WARN x\norg.apache.spark.SparkException: Could not parse Master URL: 'there'\n\tat org.apache\n")
    assert session._start_failure(RuntimeError("[JAVA_GATEWAY_EXITED] Java gateway process exited"), log) == (
        "Could not parse Master URL: 'there'"
    )
    log.write_text("ERROR StandaloneSchedulerBackend: ... Reason: All masters are unresponsive! Giving up.\n")
    assert "not as a Spark master" in session._start_failure(RuntimeError("stopped"), log)
