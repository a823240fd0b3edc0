"""A Spark session for a preparation, and Spark's errors in plain words."""

import contextlib
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from keras_infnet._base.checks import bad

_OURS = re.compile(
    r"^(?P<kind>ValueError|OSError): (?P<text>prepare: .*?)(?=\n\s+at |\n\w+(\.\w+)+: |\n File |"
    r"\s+SQLSTATE|\nDriver stacktrace|\Z)",
    re.MULTILINE | re.DOTALL,
)
_UNREADABLE = re.compile(r"Encountered error while reading file (?:file:/*(?=/))?(.*?)\.\s+[A-Z]")
_ERRNO = re.compile(r"\[Errno (\d+)\]")


def check_engine(engine: str, spark: Any, sources: Mapping[str, Any]) -> None:
    """A ValueError unless the engine is known and takes these sources."""
    if engine not in ("local", "spark"):
        raise bad("prepare", "engine", engine, "'local' or 'spark'")
    if engine == "spark":
        return
    if spark is not None:
        raise ValueError("prepare: `spark` is given; pass engine='spark' to use it.")
    for name, rows in sources.items():
        if is_spark_frame(rows):
            raise ValueError(f"prepare: {name} is a Spark DataFrame; pass engine='spark'.")


def is_spark_frame(rows: Any) -> bool:
    """Whether rows are a DataFrame of Spark, of whichever kind of session."""
    return any(kind.__module__.startswith("pyspark.sql") for kind in type(rows).__mro__)


@contextlib.contextmanager
def spark_session(given: Any) -> Iterator[Any]:
    """The session that was given, the active one, or one that is stopped at the end.

    Raises:
        ImportError: pyspark is not installed.
        RuntimeError: There is no Java to start a session with.
    """
    try:
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise ImportError(
            "prepare: engine='spark' needs pyspark, which is not installed. Install it with "
            '`pip install "keras-infnet[spark]"`.'
        ) from error
    session = given or SparkSession.getActiveSession()
    if session is not None:
        yield session
        return
    _require_java()
    # Workers run the interpreter that has this package, unless the user says which.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    session = SparkSession.builder.appName("keras_infnet.data.prepare").getOrCreate()
    try:
        yield session
    finally:
        session.stop()


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """Errors of workers and of Spark's readers as the local engine has them."""
    try:
        yield
    except Exception as error:
        text = str(error)
        ours, unreadable = _OURS.search(text), _UNREADABLE.search(text)
        if ours is not None and ours["kind"] == "OSError":
            refused = OSError(ours["text"])
            refused.errno = int(number[1]) if (number := _ERRNO.search(text)) else None
            raise refused from error
        if ours is not None:
            raise ValueError(ours["text"]) from error
        if unreadable is not None:
            raise ValueError(
                f"prepare: {unreadable[1]} can't be read. It is cut short or damaged: write it "
                "again."
            ) from error
        raise


def _require_java() -> None:
    home = os.environ.get("JAVA_HOME")
    found = Path(home, "bin", "java").is_file() if home else shutil.which("java")
    if not found and "SPARK_REMOTE" not in os.environ:
        raise RuntimeError(
            "prepare: engine='spark' needs Java 17 or newer, and there is no `java` "
            f"({f'JAVA_HOME is {home}' if home else 'on the path'}). Install it, such as Debian's "
            "openjdk-17-jre-headless, or set JAVA_HOME."
        )
