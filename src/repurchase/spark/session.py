"""A Spark session: begun and ended in order, quiet on the terminal, its faults in one line."""

import os
import re
import shutil
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from repurchase import errors
from repurchase.errors import InputError, RepurchaseError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


_MASTER_SECONDS = 10.0
"""How long a master may take to answer the door."""
_WORKER_SECONDS = 120.0
"""How long the cluster may take to begin with the first task."""

_DEFAULTS = {
    "spark.app.name": "repurchase",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.caseSensitive": "true",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "100000",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.executorEnv.POLARS_MAX_THREADS": "1",
    "spark.executorEnv.OMP_NUM_THREADS": "1",
}
_LOG4J = """rootLogger.level = warn
rootLogger.appenderRef.stderr.ref = stderr
appender.stderr.type = Console
appender.stderr.name = stderr
appender.stderr.target = SYSTEM_ERR
appender.stderr.layout.type = PatternLayout
appender.stderr.layout.pattern = %d{yy/MM/dd HH:mm:ss} %p %c{1}: %m%n
"""
_OWN_ERROR = re.compile(r"^repurchase\.errors\.(\w+): (.*)", re.MULTILINE | re.DOTALL)
_MISSING_MODULE = re.compile(r"ModuleNotFoundError: No module named '(\w+)")
_JAVA_CAUSE = re.compile(r"(?:Caused by: )?(?:[\w$]+\.)+[\w$]*(?:Exception|Error): (.+)")
_NO_PYSPARK = (
    "--engine spark needs pyspark, which is not installed. Install it with pip install 'repurchase[spark]', or leave "
    "--engine spark out."
)
_NO_JAVA = (
    "--engine spark needs Java 17 or later, and there is none: neither a command java nor JAVA_HOME. Install it, or "
    "leave --engine spark out."
)

Answer = TypeVar("Answer")


def parse_spark_settings(words: Sequence[str]) -> dict[str, str]:
    """Read settings of Spark as given on the command line."""
    parts = [word.partition("=") for word in words]
    for word, (name, sign, _) in zip(words, parts, strict=True):
        if not (sign and name.startswith("spark.")):
            raise InputError(f"--spark-conf: '{word}' is not of the form spark.name=value.")
    return {name: value for name, _, value in parts}


@contextmanager
def spark_session(master: str | None, options: Mapping[str, str], folder: Path) -> Iterator["SparkSession"]:
    """Hold a session with a cluster."""
    _require_java()
    with _silence_loggers():
        session = _start_session(master, options, folder)
        try:
            _require_worker(session, master)
            yield session
        finally:
            session.stop()


def translate_spark_errors(work: Callable[[], Answer]) -> Answer:
    """Do something on the cluster, and say in one line what goes wrong there."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        return work()
    except (PySparkException, Py4JError) as fault:
        known = _known_failure(str(fault))
        if known is None:
            raise
        raise known from fault


def _known_failure(words: str) -> RepurchaseError | None:
    """Find what is not a defect: a fault raised on purpose, a missing package, and what Spark or Java refuse."""
    ours = _OWN_ERROR.search(words)
    if ours:
        kind = getattr(errors, ours[1], InputError)
        cause = re.split(r"\n\s*(?:at |\n|Driver stacktrace|Caused by)", ours[2], maxsplit=1)[0]
        return kind(" ".join(cause.split())) if issubclass(kind, RepurchaseError) else None
    missing = _MISSING_MODULE.search(words)
    if missing:
        return InputError(
            f"Spark: {missing[1]} is not installed where the executors run. Install 'repurchase[spark]' there in the "
            "same version, or send it along with --spark-conf spark.archives=... (see docs/spark.md)."
        )
    if "Python worker" in words and "Traceback" in words:
        return None
    causes = _JAVA_CAUSE.findall(words)
    cause = causes[-1] if causes else words.strip().splitlines()[0]
    return InputError(f"Spark: {' '.join(cause.split())[:400]}")


def _require_java() -> None:
    try:
        import pyspark  # noqa: F401 - whether it is there
    except ImportError as fault:
        raise InputError(_NO_PYSPARK) from fault
    home = os.environ.get("JAVA_HOME")
    if not (shutil.which(str(Path(home) / "bin" / "java")) if home else shutil.which("java")):
        raise InputError(_NO_JAVA)


@contextmanager
def _silence_loggers() -> Iterator[None]:
    # PySpark 4.3 about pandas 3, which is not used here; drop when it is silent.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, module="pyspark")
        warnings.filterwarnings("ignore", message=".*pandas.*", category=FutureWarning)
        warnings.filterwarnings("ignore", category=ResourceWarning)
        yield


def _start_session(master: str | None, options: Mapping[str, str], folder: Path) -> "SparkSession":
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    _require_master(master or options.get("spark.master"))
    folder.mkdir(parents=True, exist_ok=True)
    log4j, log = folder / "log4j2.properties", folder / "spark.log"
    log4j.write_text(_LOG4J, encoding="utf-8")
    os.environ.setdefault("PYSPARK_PYTHON", options.get("spark.pyspark.python", sys.executable))
    java = f"-Dlog4j2.configurationFile={log4j.absolute().as_uri()} {options.get('spark.driver.extraJavaOptions', '')}"
    settings: dict[str, Any] = {**_DEFAULTS, **options, "spark.driver.extraJavaOptions": java.strip()}
    builder = SparkSession.builder.config(map=settings)
    if master:
        builder = builder.master(master)
    try:
        with _redirected_to(log), _keep_signal_handlers():
            return builder.getOrCreate()
    except (PySparkException, Py4JError, RuntimeError) as fault:
        where = f"--master {master}" if master else "Spark"
        raise InputError(f"{where}: no session could be begun: {_start_failure(fault, log)}.") from fault


def _start_failure(fault: Exception, log: Path) -> str:
    logged = log.read_text(errors="replace")
    if "All masters are unresponsive" in logged:
        return "something answers there, but not as a Spark master of this version; the port may be that of a web page"
    causes = [*_JAVA_CAUSE.findall(str(fault)), *_JAVA_CAUSE.findall(logged)]
    cause = causes[0] if causes else str(fault).strip().splitlines()[0]
    return " ".join(cause.split()).rstrip(".")[:300]


def _require_master(master: str | None) -> None:
    """Knock at a standalone master's door: Spark itself tries for minutes, and then ends without a word."""
    if master is None or not master.startswith("spark://"):
        return
    faults = []
    for address in master.removeprefix("spark://").split(","):
        host, _, port = address.rpartition(":")
        try:
            with socket.create_connection((host, int(port)), timeout=_MASTER_SECONDS):
                return
        except (OSError, ValueError) as fault:
            faults.append(f"{address}: {getattr(fault, 'strerror', None) or fault}")
    raise InputError(
        f"--master {master}: no master answers there ({'; '.join(faults)}). Check host and port, such as "
        "spark://host:7077."
    )


def _require_worker(session: "SparkSession", master: str | None) -> None:
    """Do one task; without a worker, or with one that is too small, Spark would wait for ever."""
    late = threading.Event()

    def give_up() -> None:
        late.set()
        session.sparkContext.cancelAllJobs()

    timer = threading.Timer(_WORKER_SECONDS, give_up)
    timer.start()
    try:
        translate_spark_errors(session.range(1).count)
    except RepurchaseError as fault:
        if not late.is_set():
            raise
        raise InputError(
            f"--master {master}: no worker took a task within {_WORKER_SECONDS:.0f} seconds. See whether workers are "
            "there, and whether they have the memory and cores requested (spark.executor.memory, spark.executor.cores)."
        ) from fault
    finally:
        timer.cancel()


@contextmanager
def _keep_signal_handlers() -> Iterator[None]:
    """Keep what Ctrl-C does here: PySpark puts a handler of its own in its place."""
    before = signal.getsignal(signal.SIGINT)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, before)


@contextmanager
def _redirected_to(log: Path) -> Iterator[None]:
    """Begin Spark's process with both of its outputs in a file: what it says is not for the terminal."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with log.open("ab") as file:
        try:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            yield
        finally:
            for place, before in enumerate(kept, start=1):
                os.dup2(before, place)
                os.close(before)
