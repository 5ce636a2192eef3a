"""The process's Spark, started when it is first needed."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from feature_repo.errors import SparkError

if TYPE_CHECKING:
    from pyspark import SparkConf
    from pyspark.sql import SparkSession

LOG: Final = "spark.log"
_starting = threading.Lock()


def new_session(master: str, folder: Path) -> SparkSession:
    """A session with views and settings of its own, on the Spark of this process, wherever that is.

    Args:
        master: Spark's master URL, for the first session. What else is to be set, like memory, Spark reads from
            `spark-defaults.conf` in `SPARK_CONF_DIR` and from `PYSPARK_SUBMIT_ARGS`.
        folder: where it logs to, and keeps scratch files while it runs.

    Raises:
        SparkError: pyspark or Java is missing, or the master cannot be reached.
    """
    try:
        from pyspark import SparkContext
        from pyspark.sql import SparkSession
    except ModuleNotFoundError as error:
        raise SparkError("KAIROS_ENGINE=spark needs pyspark: pip install 'kairos-recsys[spark]'") from error
    with _starting, errors_named(folder):
        context = SparkContext._active_spark_context
        if context is None or context._jsc.sc().isStopped():
            return _start(master, folder)
        return SparkSession(context).newSession()


@contextmanager
def errors_named(folder: Path) -> Iterator[None]:
    """Turns what Spark, or Ibis for it, raises into one error without Java's stack.

    Raises:
        SparkError: names the cause, and the log that has the rest.
    """
    from ibis.common.exceptions import IbisError
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        yield
    except IbisError as error:
        raise SparkError(f"an expression cannot run on Spark: {_reason(error)}; see docs/engines.md") from error
    except (PySparkException, Py4JError) as error:
        raise SparkError(f"Spark failed: {_reason(error)}; {folder / LOG} has the rest") from error


def _start(master: str, folder: Path) -> SparkSession:
    from pyspark import SparkConf, SparkContext
    from pyspark.java_gateway import launch_gateway
    from pyspark.sql import SparkSession

    _check_java()
    folder.mkdir(parents=True, exist_ok=True)
    conf = _conf(SparkConf(), master, folder)
    if SparkContext._active_spark_context:  # stopped by its cluster, which Python is not told
        SparkContext._active_spark_context.stop()
    try:
        # Java and Spark greet on the standard error before their logging can be told not to.
        with errors_named(folder), (folder / LOG).open("w") as log:
            gateway = SparkContext._gateway or launch_gateway(conf, {"stderr": log})
            # A master that does not answer shows when the session is made: its context is stopped by then.
            return SparkSession(SparkContext(conf=conf, gateway=gateway)).newSession()
    except SparkError as error:
        raise SparkError(f"Spark did not start, KAIROS_SPARK_MASTER={master}: {error}") from error


def _conf(conf: SparkConf, master: str, folder: Path) -> SparkConf:
    settings = {
        "spark.app.name": "kairos",
        "spark.master": master,
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.local.dir": str(folder / "scratch"),
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        # No Hive, whose Derby database would be made in the current folder.
        "spark.sql.catalogImplementation": "in-memory",
    }
    return conf.setAll(list(settings.items()))


def _check_java() -> None:
    home = os.environ.get("JAVA_HOME")
    if not shutil.which("java", path=f"{home}/bin" if home else None):
        where = f"JAVA_HOME={home} has no bin/java" if home else "there is no java on the PATH and no JAVA_HOME"
        raise SparkError(f"KAIROS_ENGINE=spark needs Java 17 or 21, and {where}: install openjdk-17-jre-headless")


def _reason(error: Exception) -> str:
    """What an error says and what caused it, without Java's stack."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    said = next((line[2:] for line in lines if line.startswith(": ")), lines[0])
    causes = [line.strip() for line in lines if line.startswith("Caused by: ")]
    return f"{said} {causes[-1]}" if causes and causes[-1] not in said else said
