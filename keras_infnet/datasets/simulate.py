"""A simulated log in KuaiRand-Pure's layout, whose true probabilities are known."""

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv

from keras_infnet._base.checks import bad
from keras_infnet._base.paths import local_path
from keras_infnet._base.whole_files import whole_folder
from keras_infnet.datasets import kuairand_files as names
from keras_infnet.datasets.simulation_feedback import FEEDBACK_NAMES, Impressions, run_rounds
from keras_infnet.datasets.simulation_world import (
    NUM_GENEROSITY_LEVELS,
    NUM_PREFERENCE_LEVELS,
    NUM_SEGMENTS,
    SECOND_LOG_START,
    SimulationSettings,
    Timeline,
    World,
    make_timeline,
    make_world,
)

MIN_ROWS = 100
_SUFFIX = "_pure.csv"
_CANT_WRITE = (
    "simulate: can't write {path}: {error}. Nothing is left of it; choose a folder that can be "
    "written and has room."
)
_ACTIVITY = ("middle_active", "high_active", "full_active")
_UPLOAD_TYPES = ("LongImport", "Web", "ShortImport", "Kmovie", "LongCamera", "PictureSet")
_NUM_TABS = 5
# Numbers of values of the one-hot-coded fields; -1: zeros and ones, missing for some users.
_ONE_HOT_VALUES = (2, NUM_SEGMENTS, 50, 1471, 15, 34, NUM_GENEROSITY_LEVELS, 118, 454)
_ONE_HOT_VALUES += (NUM_PREFERENCE_LEVELS, 5, 5, -1, -1, -1, -1, -1, -1)
_MISSING_SHARE = 0.03
# Edges and names of each count's range, and the median count.
_RANGES = {
    "follow_user_num": (
        (0, 10, 50, 100, 150, 250, 500),
        ("0", "(0,10]", "(10,50]", "(50,100]", "(100,150]", "(150,250]", "(250,500]", "500+"),
        150,
    ),
    "fans_user_num": (
        (0, 9, 99, 999, 4999, 9999, 99999),
        ("0", "[1,10)", "[10,100)", "[100,1k)", "[1k,5k)", "[5k,1w)", "[1w,10w)", "[10w,100w)"),
        50,
    ),
    "friend_user_num": (
        (0, 4, 29, 59, 119, 249),
        ("0", "[1,5)", "[5,30)", "[30,60)", "[60,120)", "[120,250)", "250+"),
        16,
    ),
    "register_days": (
        (30, 60, 90, 180, 365, 730),
        ("15-30", "31-60", "61-90", "91-180", "181-365", "366-730", "730+"),
        1000,
    ),
}


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
        >>> simulate = keras_infnet.datasets.simulate
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     simulation = simulate(f"{folder}/log", rows=500, users=20, items=50)
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
        >>> simulate = keras_infnet.datasets.simulate
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     simulation = simulate(f"{folder}/log", rows=500, users=20, items=50)
        >>> len(simulation.truth)
        500
    """
    path = local_path(path, "simulate", "path", written=True)
    settings = settings or SimulationSettings()
    _check(path, rows, users, items, overwrite)
    rng = np.random.default_rng(seed)
    world = make_world(users, items, settings, rng)
    timeline = make_timeline(rows, users, settings, rng)
    impressions = run_rounds(world, timeline, settings, same_tasks, rng)
    log = _log_table(world, timeline, impressions, rng)
    logs = _cut_into_files(log)
    tables = {
        names.USER_TABLE_NAME: _user_table(world, timeline, rng),
        names.VIDEO_TABLE_NAME: _video_table(world, rng),
        names.STATISTICS_NAME: _statistics_table(log, items),
        **{name: log.iloc[rows_of] for name, rows_of in logs.items()},
    }
    order = np.concatenate(list(logs.values()))
    truth, best = (
        pd.DataFrame(values[order], columns=list(FEEDBACK_NAMES))
        for values in (impressions.truth, impressions.best)
    )
    files = np.repeat([f"{name}{_SUFFIX}" for name in logs], [len(r) for r in logs.values()])
    known = pd.concat([truth.add_suffix("_true"), best.add_suffix("_best")], axis=1)
    known.insert(0, "file", pd.Series(pd.Categorical(files)))
    with whole_folder(path, _CANT_WRITE, replace=True) as folder:
        (folder / "data").mkdir()
        for name, table in tables.items():
            _write_csv(folder / "data" / f"{name}{_SUFFIX}", table)
        known.to_parquet(folder / "data" / names.TRUTH_FILE, index=False)
    standard = sum(len(logs.get(name, ())) for name in names.LOG_NAMES)
    return Simulation(path, truth.head(standard), best.head(standard))


def _check(path: Path, rows: int, users: int, items: int, overwrite: bool) -> None:
    least = {"rows": (rows, MIN_ROWS), "users": (users, 1), "items": (items, 1)}
    for name, (value, minimum) in least.items():
        if value < minimum:
            raise bad("simulate", name, value, f"{minimum} or more")
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


def _write_csv(path: Path, table: pd.DataFrame) -> None:
    options = csv.WriteOptions(include_header=False, quoting_style="needed")
    with path.open("wb") as file:
        file.write((",".join(table.columns) + "\n").encode())
        csv.write_csv(pa.Table.from_pandas(table, preserve_index=False), file, options)


def _user_table(world: World, timeline: Timeline, rng: np.random.Generator) -> pd.DataFrame:
    """Columns of `user_features_*.csv`.

    Segment, generosity and preferred duration are `onehot_feat1`, `onehot_feat6` and
    `onehot_feat9`. The other fields say nothing about feedback.
    """
    users, n = world.users, len(world.users.user_id)
    level = np.digitize(timeline.count, np.quantile(timeline.count, [0.25, 0.5]))
    table = {
        "user_id": users.user_id,
        "user_active_degree": np.array(_ACTIVITY)[level],
        "is_lowactive_period": np.zeros(n, int),
        "is_live_streamer": np.where(rng.random(n) < 0.2, 0, -124),
        "is_video_author": (rng.random(n) < 0.8).astype(int),
    }
    for column, (edges, ranges, median) in _RANGES.items():
        count = np.floor(median * np.exp(1.5 * rng.normal(size=n))).astype(int)
        table[column] = np.clip(count, 15, 3600) if column == "register_days" else count
        table[f"{column}_range"] = np.array(ranges)[np.digitize(table[column], edges, right=True)]
    informed = {1: users.segment, 6: users.generosity, 9: users.preference}
    for i, values in enumerate(_ONE_HOT_VALUES):
        table[f"onehot_feat{i}"] = informed.get(i, rng.integers(abs(values) + (values < 0), size=n))
        if values < 0:
            table[f"onehot_feat{i}"] = _with_missing(table[f"onehot_feat{i}"], rng)
    return pd.DataFrame(table).sort_values("user_id", ignore_index=True)


def _video_table(world: World, rng: np.random.Generator) -> pd.DataFrame:
    """Columns of `video_features_basic_*.csv`; the first tag is the topic, a second is noise."""
    videos, n = world.videos, len(world.videos.topic)
    topic = pd.Series(videos.topic).astype(str)
    second = topic.iloc[rng.integers(n, size=n)].to_numpy()
    days = pd.Timestamp("2022-04-08") + pd.to_timedelta(rng.integers(4, size=n), unit="D")
    table = {
        "video_id": np.arange(n),
        "author_id": videos.author,
        "video_type": np.where(rng.random(n) < 0.01, "AD", "NORMAL"),
        "upload_dt": days.strftime("%Y-%m-%d"),
        "upload_type": np.array(_UPLOAD_TYPES)[videos.upload_type],
        "visible_status": np.zeros(n),
        "video_duration": videos.duration_ms.astype(float),
        "server_width": np.where(rng.random(n) < 0.8, 720.0, 960.0),
        "server_height": np.full(n, 1280.0),
        "music_id": 9_000_000_000 + videos.music,
        "music_type": _with_missing(rng.choice([4, 9, 11], n, p=[0.1, 0.8, 0.1]), rng),
        "tag": topic.where(rng.random(n) < 0.75, topic + "," + second),
    }
    return pd.DataFrame(table)


def _log_table(
    world: World, timeline: Timeline, impressions: Impressions, rng: np.random.Generator
) -> pd.DataFrame:
    """Columns of the logs, in the order of the timeline."""
    feedback = dict(zip(FEEDBACK_NAMES, impressions.feedback.astype("int8").T, strict=True))
    n, duration = len(impressions.video), world.videos.duration_ms[impressions.video]
    viewed = np.clip(0.9 * np.exp(0.35 * rng.normal(size=n)), 0.5, 5)
    left = np.where(feedback["click"] == 1, 0.6 * rng.beta(2, 4, n), rng.beta(1, 12, n))
    play = np.floor(np.where(feedback["long_view"] == 1, viewed, left) * duration)
    stay = np.floor(rng.exponential(8_000, (2, n))).astype("int64")
    table = {
        "user_id": world.users.user_id[timeline.user],
        "video_id": impressions.video,
        "date": timeline.date,
        "hourmin": timeline.hour * 100,
        "time_ms": timeline.time_ms,
        **{c: feedback[name] for name, c in names.FEEDBACKS.items() if name != "profile_enter"},
        "play_time_ms": play.astype("int64"),
        "duration_ms": duration,
        "profile_stay_time": stay[0] * feedback["profile_enter"],
        "comment_stay_time": stay[1] * feedback["comment"],
        "is_profile_enter": feedback["profile_enter"],
        "is_rand": timeline.is_random.astype("int8"),
        "tab": np.minimum(rng.geometric(0.7, n), _NUM_TABS) % _NUM_TABS,
    }
    return pd.DataFrame(table)


def _statistics_table(log: pd.DataFrame, items: int) -> pd.DataFrame:
    """Columns of `video_features_statistic_*.csv`: daily means over the whole log, so they leak.

    What the simulated log has no event for, such as downloads, is 0.
    """
    days = log["date"].nunique()
    events = {
        "show": pd.Series(1, log.index),
        "play": log["is_click"],
        "long_time_play": log["long_view"],
        "short_time_play": log["is_click"] * (1 - log["long_view"]),
        "like": log["is_like"],
        "comment": log["is_comment"],
        "follow": log["is_follow"],
        "share": log["is_forward"],
        "report": log["is_hate"],
    }
    table = {"video_id": np.arange(items), **dict.fromkeys(names.STATISTICS, np.zeros(items))}
    for name, happened in events.items():
        where = log.loc[happened == 1, ["video_id", "user_id"]]
        users = where.drop_duplicates()
        table[f"{name}_cnt"] = np.bincount(where["video_id"], minlength=items) / days
        table[f"{name}_user_num"] = np.bincount(users["video_id"], minlength=items) / days
    played = np.bincount(log["video_id"], log["play_time_ms"], minlength=items)
    whole = np.bincount(log["video_id"], log["duration_ms"], minlength=items)
    table |= {"counts": np.full(items, days), "play_duration": played / days}
    table["play_progress"] = np.divide(played, whole, out=np.zeros(items), where=whole > 0)
    return pd.DataFrame(table)


def _with_missing(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.where(rng.random(len(values)) < _MISSING_SHARE, np.nan, values)
