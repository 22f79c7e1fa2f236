"""Where a job's heavy part is done: in this process, or on a Spark cluster; imports nothing of Spark unless asked."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from repurchase.errors import InputError

if TYPE_CHECKING:
    from repurchase.jobs.spark.engine import Cluster

__all__ = ["ENGINES", "EngineName", "Master", "SparkConf", "chosen_engine"]

ENGINES = ("local", "spark")

EngineName = Annotated[
    str, typer.Option("--engine", metavar="local|spark", help="Where the heavy part is done: here, or on Spark.")
]
Master = Annotated[str | None, typer.Option(help="Of Spark: spark://host:7077, yarn, k8s://... or local[n].")]
SparkConf = Annotated[
    list[str] | None, typer.Option(help="Of Spark: a setting, spark.name=value; may be given more than once.")
]


@contextmanager
def chosen_engine(
    engine: str, master: str | None, spark_conf: list[str] | None, *, dry_run: bool = False
) -> Iterator["Cluster | None"]:
    """Hold what does the heavy part of a job.

    Parameters
    ----------
    engine : str
        Of ``ENGINES``.
    master : str, optional
        Of Spark.
    spark_conf : list of str, optional
        Further settings of Spark, ``name=value``.
    dry_run : bool
        Whether nothing is to be written.

    Yields
    ------
    Cluster or None
        None for this process.

    Raises
    ------
    InputError
        If there is no such engine, or the words do not go together.

    Examples
    --------
    >>> with chosen_engine("spork", None, None):
    ...     pass
    Traceback (most recent call last):
        ...
    repurchase.errors.InputError: --engine must be local or spark. Got 'spork' instead.
    """
    if engine not in ENGINES:
        raise InputError(f"--engine must be {' or '.join(ENGINES)}. Got '{engine}' instead.")
    if engine == "local":
        if master or spark_conf:
            raise InputError("--master and --spark-conf are for --engine spark. Say that, or leave them out.")
        yield None
        return
    if dry_run:
        raise InputError("--dry-run reads everything here, on one machine. Leave --engine spark out for it.")
    from repurchase.jobs.intake import workspace
    from repurchase.jobs.spark.engine import on_cluster
    from repurchase.jobs.spark.session import pairs_of

    told = pairs_of(spark_conf or [])
    with workspace() as folder, on_cluster(master, told, folder) as cluster:
        yield cluster
