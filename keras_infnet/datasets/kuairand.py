"""KuaiRand: logs of a short-video app, in the layout of the original archives."""

import warnings
from collections.abc import Iterable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from keras_infnet._base.checks import check_choice, known_names
from keras_infnet._base.did_you_mean import check_known
from keras_infnet._base.paths import local_path
from keras_infnet.datasets import kuairand_files as layout
from keras_infnet.datasets.csv_table import (
    MISSING_ID,
    count_csv_rows,
    read_csv_chunks,
    read_csv_table,
)
from keras_infnet.datasets.kuairand_files import KuaiRandFiles
from keras_infnet.datasets.parquet_table import read_parquet_table
from keras_infnet.datasets.side_table import Absent, SideTable
from keras_infnet.datasets.split import Split, split_by_date
from keras_infnet.schema.binary_task import BinaryTask
from keras_infnet.schema.categorical import CategoricalFeature
from keras_infnet.schema.event_quantity import Age, Ratio
from keras_infnet.schema.feature import Owner
from keras_infnet.schema.history import History, HistoryGroup
from keras_infnet.schema.numeric import NumericFeature
from keras_infnet.schema.schema import FeatureSchema

EVENT_FIELDS = ("video_id", "author_id", "music_id", "tag", "video_duration")
_LOG_KINDS = (layout.LOG_COLUMNS, layout.OPTIONAL_LOG_COLUMNS)
MAX_TAGS = 4
EXPOSURES_LENGTH = 100
POSITIVES_LENGTH = 50


class KuaiRand:
    """KuaiRand-Pure, -1K or -27K, or a log that `simulate` wrote in its layout.

    `path`, or `path/data`, holds the files of the original archive: `log_standard_*`,
    `log_random_*`, `user_features_*`, `video_features_basic_*` and `video_features_statistic_*`,
    each ending in `_pure`, `_1k` or `_27k`, in one file or in `_part1`, `_part2`, ... Any subset of
    the logs is enough. A file `warm_histories.parquet` (user_id, position, video_id and known
    feedbacks), if there, holds what users did before the log.

    Args:
        path: Folder with the files.
        tasks: Feedbacks to predict: `"click"`, `"like"`, `"follow"`, `"comment"`, `"forward"`,
            `"hate"`, `"long_view"`, `"profile_enter"`.
        statistics: Whether the daily statistics of videos are features. They were averaged over the
            whole period of the log, test days included: using them leaks.
        random_log: Whether the log of randomly exposed videos is read too.
        history: `"exposures"`: one history of all exposures with what the user did there;
            `"positives"`: one history each of clicked, liked, long-viewed and followed videos.
        absent: What a user or video of the log that its table lacks is: `"error"`, or `"missing"`,
            where its features are missing.

    Raises:
        FileNotFoundError: The folder, its logs or a table is not there.
        ValueError: An argument is unknown, or the folder holds several variants.

    Example:
        >>> import tempfile
        >>> datasets = keras_infnet.datasets
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     simulation = datasets.simulate(f"{folder}/log", rows=500, users=20, items=50)
        ...     frame = datasets.KuaiRand(f"{folder}/log", tasks=("click", "like")).frame()
        >>> len(frame)
        500

    Reference:
        Gao et al., KuaiRand: An Unbiased Sequential Recommendation Dataset with Randomly Exposed
        Videos, CIKM 2022.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        tasks: Iterable[str] = ("click", "like", "long_view"),
        statistics: bool = False,
        random_log: bool = False,
        history: Literal["exposures", "positives"] = "exposures",
        absent: Absent = "error",
    ) -> None:
        self.tasks = known_names("KuaiRand", "task", tasks, layout.FEEDBACKS)
        self.history = check_choice("KuaiRand", "history", history, ("exposures", "positives"))
        self.absent = check_choice("KuaiRand", "absent", absent, ("error", "missing"))
        self.statistics, self.random_log = statistics, random_log
        self.found = KuaiRandFiles.find(local_path(path, "KuaiRand", "path"))
        self._check_files()

    @property
    def log_files(self) -> tuple[Path, ...]:
        """The log files that `frame` reads, in the order of its rows."""
        return self.found.logs + (self.found.random_logs if self.random_log else ())

    def describe(self) -> str:
        """Which variant and which files were found, one line a kind."""
        return str(self.found)

    def frame(self) -> pd.DataFrame:
        """The log with its user and video features.

        Rows are in the order of the files, exact repeats included; the index is the row number.
        Missing values are -1 in integer columns, else NaN. `hour` is the hour of `hourmin` (UTC+8).

        Returns:
            One row an impression.

        Raises:
            ValueError: A file can't be read, a column is missing, no row is there, or a user or
                video is absent from its table.
        """
        log = _read_parts(self.log_files, *_LOG_KINDS)
        if log.empty:
            raise ValueError(f"KuaiRand: the logs in {self.found.folder} have no row.")
        return _joined(log, [self._user_table(), *self._video_tables()])

    def frames(self, chunk_rows: int = 500_000) -> Iterator[pd.DataFrame]:
        """The rows of `frame` in pieces, for logs that do not fit in memory.

        Args:
            chunk_rows: Rows of a piece.

        Yields:
            Frames whose index goes on from one to the next.

        Raises:
            ValueError: As `frame`.
        """
        tables, first = [self._user_table(), *self._video_tables()], 0
        for file in self.log_files:
            for log in read_csv_chunks(file, chunk_rows, *_LOG_KINDS):
                rows = pd.RangeIndex(first, first + len(log))
                yield _joined(log.set_axis(rows), tables)
                first += len(log)

    def warm(self) -> pd.DataFrame | None:
        """What users did before the log's first row, with the features of the videos.

        Returns:
            Rows sorted by `user_id` and `position` (0 the oldest), or `None` without such a file.
            Feedbacks are int8, -1 where unknown; `play_time_ms` is NaN where unknown.

        Raises:
            ValueError: The file can't be read, a column is missing, or a video is absent from its
                table.
        """
        path = self.found.warm_histories
        if path is None:
            return None
        warm = read_parquet_table(path).to_pandas()
        for column in layout.WARM_COLUMNS:
            check_known(column, warm.columns, f"{path}: column `{column}` is missing.")
        warm = warm.sort_values(["user_id", "position"], kind="stable", ignore_index=True)
        for label in layout.FEEDBACKS.values():
            known = warm[label] if label in warm else pd.Series(np.nan, warm.index)
            warm[label] = known.fillna(MISSING_ID).astype("int8")
        for column in ("play_time_ms", "duration_ms"):
            warm[column] = warm[column] if column in warm else np.float32(np.nan)
        return _joined(warm, self._video_tables())

    def schema(self) -> FeatureSchema:
        """Fields, histories and tasks; the same for all variants and subsets of the files.

        User: `user_id`, flags, ranges, one-hot-coded fields and counts. Item: `video_id`,
        `author_id`, `music_id`, types, the bag `tag`, `video_duration`, and the statistics on
        request. Context: `tab` and `hour`.
        """
        daily = [f"{layout.STATISTICS_PREFIX}{column}" for column in layout.STATISTICS]
        features = (
            *_integers(("user_id",), "user", min_frequency=3),
            *(CategoricalFeature(column, "user") for column in layout.USER_RANGES),
            *_integers(layout.USER_FLAGS + layout.USER_ONE_HOT, "user"),
            *_log_numbers(layout.USER_COUNTS, "user"),
            *_integers(("video_id", "author_id", "music_id"), "item", min_frequency=2),
            CategoricalFeature("video_type", "item"),
            CategoricalFeature("upload_type", "item"),
            *_integers(("music_type",), "item"),
            *_integers(("tag",), "item", max_values=MAX_TAGS, separator=","),
            NumericFeature("video_duration", "item", allow_missing=True),
            *_integers(("tab", "hour"), "context"),
            *_log_numbers(daily if self.statistics else (), "item"),
        )
        return FeatureSchema(
            features=features,
            tasks=tuple(BinaryTask(task, layout.FEEDBACKS[task]) for task in self.tasks),
            histories=(_exposures(),) if self.history == "exposures" else _positives(),
        )

    def split(self, frame: pd.DataFrame, validation_days: int = 2, test_days: int = 2) -> Split:
        """Splits by `date`: the last days test, the days before them validate, all others train."""
        return split_by_date(frame, validation_days, test_days)

    def truth(self) -> pd.DataFrame | None:
        """True probabilities of a simulated log, in the order of `frame`.

        Returns:
            Columns `{feedback}_true` and `{feedback}_best` (see `simulate`), or `None` for a real
            log.

        Raises:
            ValueError: The file can't be read, or does not fit the logs.
        """
        path = self.found.truth
        if path is None:
            return None
        truth = read_parquet_table(path).to_pandas()
        parts = [truth[truth["file"] == file.name] for file in self.log_files]
        for file, part in zip(self.log_files, parts, strict=True):
            rows, known = count_csv_rows(file), len(part)
            if rows != known:
                raise ValueError(f"{path}: {known} rows for {file.name}, which has {rows} rows.")
        return pd.concat(parts, ignore_index=True).drop(columns="file")

    def _check_files(self) -> None:
        folder, variant = self.found.folder, self.found.variant
        if not self.log_files:
            raise FileNotFoundError(
                f"KuaiRand: {folder} holds the random-exposure log only; expected a standard log. "
                "Pass random_log=True to read it."
            )
        names = [file.name.lower() for file in self.found.logs]
        absent = [log for log in layout.LOG_NAMES if not any(n.startswith(log) for n in names)]
        # A simulated log, which has its truth, has the days that were asked for.
        if names and absent and self.found.truth is None:
            warnings.warn(
                f"KuaiRand: {folder} has {len(layout.LOG_NAMES) - len(absent)} of the "
                f"{len(layout.LOG_NAMES)} standard logs: `{absent[0]}_{variant}.csv` is missing, "
                "and with it the rows and histories of its days.",
                stacklevel=3,
            )
        needed = {
            "user_features": self.found.user_features,
            "video_features_basic": self.found.video_features,
            "video_features_statistic": self.found.statistics or not self.statistics,
        }
        for name, found in needed.items():
            if not found:
                raise FileNotFoundError(
                    f"KuaiRand: {folder} has no `{name}_{variant}.csv`; the schema needs it."
                )

    def _user_table(self) -> SideTable:
        return self._side_table("user_id", self.found.user_features, layout.USER_COLUMNS)

    def _video_tables(self) -> list[SideTable]:
        kinds = (layout.VIDEO_COLUMNS, layout.OPTIONAL_VIDEO_COLUMNS)
        tables = [self._side_table("video_id", self.found.video_features, *kinds)]
        if self.statistics:
            kind = {"video_id": "int32", **dict.fromkeys(layout.STATISTICS, "float32")}
            files, prefix = self.found.statistics, layout.STATISTICS_PREFIX
            tables.append(self._side_table("video_id", files, kind, prefix=prefix))
        return tables

    def _side_table(
        self, key: str, files: tuple[Path, ...], *kinds: Mapping[str, str], prefix: str = ""
    ) -> SideTable:
        table = _read_parts(files, *kinds).set_index(key).add_prefix(prefix)
        return SideTable(table, ", ".join(map(str, files)), self.absent)


def _read_parts(files: Iterable[Path], *kinds: Mapping[str, str]) -> pd.DataFrame:
    return pd.concat([read_csv_table(file, *kinds) for file in files], ignore_index=True)


def _joined(frame: pd.DataFrame, tables: Iterable[SideTable]) -> pd.DataFrame:
    if "hourmin" in frame:
        frame["hour"] = (frame["hourmin"] // 100).astype("int8")
    for table in tables:
        frame = table.join(frame)
    return frame


def _integers(columns: Iterable[str], owner: Owner, **options: Any) -> Iterator[CategoricalFeature]:
    return (CategoricalFeature(c, owner, dtype="int", **options) for c in columns)


def _log_numbers(columns: Iterable[str], owner: Owner) -> Iterator[NumericFeature]:
    return (NumericFeature(c, owner, bucketing="log", allow_missing=True) for c in columns)


def _exposures() -> History:
    groups = (
        HistoryGroup("all"),
        HistoryGroup("click", any_of=("is_click",)),
        HistoryGroup("like", any_of=("is_like",)),
        HistoryGroup("long_view", any_of=("long_view",)),
        HistoryGroup("skip", none_of=("is_click",)),
        HistoryGroup("strong", any_of=("is_follow", "is_comment", "is_forward")),
    )
    return History(
        "exposures",
        fields=EVENT_FIELDS,
        max_length=EXPOSURES_LENGTH,
        actions=tuple(layout.FEEDBACKS.values()),
        quantities=(Ratio("play_time_ms", "duration_ms"), Age()),
        groups=groups,
    )


def _positives() -> tuple[History, ...]:
    names = ("clicked", "liked", "long_viewed", "followed")
    labels = ("is_click", "is_like", "long_view", "is_follow")
    return tuple(
        History(name, fields=EVENT_FIELDS, max_length=POSITIVES_LENGTH, where=label)
        for name, label in zip(names, labels, strict=True)
    )
