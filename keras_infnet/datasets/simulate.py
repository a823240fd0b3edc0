"""A simulated log in KuaiRand-Pure's layout, whose true probabilities are known."""

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv

from keras_infnet.datasets import kuairand_files as names
from keras_infnet.datasets.simulation_feedback import FEEDBACK_NAMES
from keras_infnet.datasets.simulation_rounds import Impressions, run_rounds
from keras_infnet.datasets.simulation_settings import SimulationSettings
from keras_infnet.datasets.simulation_tables import (
    log_table,
    statistics_table,
    user_table,
    video_table,
)
from keras_infnet.datasets.simulation_timeline import SECOND_LOG_START, make_timeline
from keras_infnet.datasets.simulation_world import make_world

MIN_ROWS = 100
_SUFFIX = "_pure.csv"


@dataclass(frozen=True)
class Simulation:
    """A simulated log and what is true of it.

    Args:
        path: Folder of the files; `KuaiRand(path)` reads them.
        truth: Probability of each feedback, given all, the hidden mood included: one column a
            feedback (`"click"`, ...), rows in the order of `KuaiRand(path).frame()`.
        best: Probability of each feedback, given all but the hidden mood.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     simulation = keras_infnet.datasets.simulate(f"{folder}/log", rows=500, users=20, items=50)
        >>> simulation.best["long_view"].between(0, 1).all()
        np.True_
    """

    path: Path
    truth: pd.DataFrame
    best: pd.DataFrame


def simulate(
    path: str | PathLike[str],
    rows: int = 200_000,
    users: int = 5_000,
    items: int = 4_000,
    seed: int = 0,
    same_tasks: bool = False,
    settings: SimulationSettings | None = None,
    overwrite: bool = False,
) -> Simulation:
    """Writes logs of a simulated short-video app in KuaiRand-Pure's layout.

    Popularity follows Zipf's law; users come in sessions, at hours of their own frequency, over
    several days; what they clicked, liked and viewed draws more of the same, so that interests
    drift. A click depends on the topic (past clicks, skips, fatigue, repeats, hour), a like on the
    author and the music (past strong feedback), a long view on the duration (past long views): each
    task reads other fields and other parts of the history. `SimulationSettings` has the equations.

    `truth` is each row's probability; no model reaches it, since each impression has a hidden mood.
    `best` is its exact mean over the mood, given the user, the video, the hour and the user's whole
    past: what a model reaches that has read everything correctly and knows each user's and video's
    hidden bias, as unlimited data would tell. From limited data less can be reached.

    Files: `data/log_standard_*`, `log_random_*`, `user_features_*`, `video_features_basic_*`,
    `video_features_statistic_*`, all `_pure.csv`, and `truth.parquet` (columns `file`,
    `{feedback}_true`, `{feedback}_best`), which `KuaiRand.truth` reads. They are written to a
    temporary folder that is renamed at the end. The same arguments give the same files.

    Args:
        path: Folder to make; its parent folders are made too.
        rows: Rows of the standard logs, 100 or more.
        users: Number of users; some may have no row.
        items: Number of videos.
        seed: Seed of all random numbers.
        same_tasks: Whether all tasks read the same fields and the same parts of the history.
        settings: Parameters of the world. Defaults to `SimulationSettings()`.
        overwrite: Whether an earlier simulated log is replaced.

    Returns:
        The folder, and the probabilities of the standard logs' rows.

    Raises:
        ValueError: A number is out of range.
        FileExistsError: `path` exists, and `overwrite` is not set or it is no simulated log.
        OSError: The folder can't be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     simulation = keras_infnet.datasets.simulate(f"{folder}/log", rows=500, users=20, items=50)
        >>> len(simulation.truth)
        500
    """
    path, settings = Path(path), settings or SimulationSettings()
    _check(path, rows, users, items, overwrite)
    rng = np.random.default_rng(seed)
    world = make_world(users, items, settings, rng)
    timeline = make_timeline(rows, users, settings, rng)
    impressions = run_rounds(world, timeline, settings, same_tasks, rng)
    log = log_table(world, timeline, impressions, rng)
    logs = _cut_into_files(log)
    tables = {
        names.USER_TABLE_NAME: user_table(world, timeline, rng),
        names.VIDEO_TABLE_NAME: video_table(world, rng),
        names.STATISTICS_NAME: statistics_table(log, items),
        **{name: log.iloc[rows_of] for name, rows_of in logs.items()},
    }
    _write(path, tables, _truth_table(logs, impressions))
    standard = np.concatenate([logs[name] for name in names.LOG_NAMES if name in logs])
    frames = (
        pd.DataFrame(values[standard], columns=list(FEEDBACK_NAMES))
        for values in (impressions.truth, impressions.best)
    )
    return Simulation(path, *frames)


def _check(path: Path, rows: int, users: int, items: int, overwrite: bool) -> None:
    least = {"rows": (rows, MIN_ROWS), "users": (users, 1), "items": (items, 1)}
    for name, (value, minimum) in least.items():
        if value < minimum:
            raise ValueError(f"simulate: {name} is {value}; expected {minimum} or more.")
    if path.exists() and not overwrite:
        raise FileExistsError(
            f"simulate: {path} exists. Choose another folder, or pass overwrite=True to replace it."
        )
    if path.exists() and not (path / "data" / names.TRUTH_FILE).is_file():
        raise FileExistsError(
            f"simulate: {path} is no simulated log, so it is not replaced. Choose another folder."
        )


def _cut_into_files(log: pd.DataFrame) -> dict[str, np.ndarray]:
    """Rows of each log file, in the order of time; the first half of the log may have none."""
    order = np.lexsort((log["user_id"], log["time_ms"]))
    day, is_random = log["date"].to_numpy()[order], log["is_rand"].to_numpy()[order] == 1
    first_half = day < int(SECOND_LOG_START.strftime("%Y%m%d"))
    rows = {
        names.LOG_NAMES[0]: order[first_half & ~is_random],
        names.LOG_NAMES[1]: order[~first_half & ~is_random],
        names.RANDOM_LOG_NAME: order[is_random],
    }
    return {name: of_file for name, of_file in rows.items() if len(of_file)}


def _truth_table(logs: Mapping[str, np.ndarray], impressions: Impressions) -> pd.DataFrame:
    rows = np.concatenate(list(logs.values()))
    files = np.repeat([f"{name}{_SUFFIX}" for name in logs], [len(r) for r in logs.values()])
    columns = {"file": pd.Categorical(files)}
    for kind, values in (("true", impressions.truth), ("best", impressions.best)):
        columns |= {f"{name}_{kind}": values[rows, i] for i, name in enumerate(FEEDBACK_NAMES)}
    return pd.DataFrame(columns)


def _write(path: Path, tables: Mapping[str, pd.DataFrame], truth: pd.DataFrame) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        try:
            _fill(temporary, tables, truth)
            _replace(path, temporary)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise OSError(
            f"simulate: can't write {path}: {error}. Nothing is left of it; choose a folder that "
            "can be written and has room."
        ) from error


def _fill(folder: Path, tables: Mapping[str, pd.DataFrame], truth: pd.DataFrame) -> None:
    (folder / "data").mkdir()
    for name, table in tables.items():
        _write_csv(folder / "data" / f"{name}{_SUFFIX}", table)
    truth.to_parquet(folder / "data" / names.TRUTH_FILE, index=False)
    folder.chmod(0o755)


def _replace(path: Path, folder: Path) -> None:
    """Renames the folder to `path`; what was there goes when the new one is in place."""
    earlier = folder.with_name(f"{folder.name}.earlier")
    if path.exists():
        path.rename(earlier)
    folder.rename(path)
    shutil.rmtree(earlier, ignore_errors=True)


def _write_csv(path: Path, table: pd.DataFrame) -> None:
    options = csv.WriteOptions(include_header=False, quoting_style="needed")
    with path.open("wb") as file:
        file.write((",".join(table.columns) + "\n").encode())
        csv.write_csv(pa.Table.from_pandas(table, preserve_index=False), file, options)
