"""EBNeRD: impressions of a news site, each a list of articles, with reads and counters."""

from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from keras_infnet._base.checks import bad, check_choice, known_names
from keras_infnet._base.paths import local_path
from keras_infnet.datasets.parquet_table import read_parquet_table
from keras_infnet.datasets.side_table import Absent, SideTable
from keras_infnet.datasets.split import Split
from keras_infnet.schema.binary_task import BinaryTask
from keras_infnet.schema.categorical import CategoricalFeature
from keras_infnet.schema.history import History, HistoryGroup
from keras_infnet.schema.numeric import NumericFeature
from keras_infnet.schema.schema import FeatureSchema

TASKS = ("click", "read", "scroll")
PARTS = ("train", "validation")
EVENT_FIELDS = ("article_id", "category", "subcategory", "topics")
HISTORY_LENGTH = 100
MAX_VALUES = 4
# Over the whole log before the impression, and over the hour before it.
WINDOWS = {"": None, "_1h": 3_600_000}
_USER = ("device_type", "is_sso_user", "gender", "postcode", "age", "is_subscriber")
_BEHAVIORS = {
    **dict.fromkeys(("impression_id", "user_id"), "int"),
    "impression_time": "time",
    **dict.fromkeys(("article_ids_inview", "article_ids_clicked"), "ints"),
    **dict.fromkeys(("next_read_time", "next_scroll_percentage"), "number"),
    **dict.fromkeys(("article_id", *_USER), "number"),
}
_READS = {
    "user_id": "int",
    "impression_time_fixed": "times",
    "article_id_fixed": "ints",
    **dict.fromkeys(("read_time_fixed", "scroll_percentage_fixed"), "numbers"),
}
_ARTICLES = {
    **dict.fromkeys(("article_id", "category"), "int"),
    "subcategory": "ints",
    "topics": "texts",
    "premium": "number",
    "sentiment_score": "number",
    **dict.fromkeys(("article_type", "sentiment_label"), "text"),
    "published_time": "time",
}


class EBNeRD:
    """The Ekstra Bladet news recommendation data, demo or small.

    `path` holds `articles.parquet`, and folders `train` and `validation` with `behaviors.parquet`
    and `history.parquet` each, as in the archives.

    A row is an article of an impression, which is the list of the schema's `list_key`.
    Labels: `click`; `read`, clicked and read for `read_seconds` or longer; `scroll`, clicked and
    scrolled to `scroll_percent` or further. The latter two count where what followed a click is
    known: the log has it where one article was clicked.

    Counters of an article, as features: impressions and clicks, and their ratio, of the rows of the
    log strictly before the impression, over the whole log and over the last hour. What the archive
    counted over the whole period (`total_inviews`, `total_pageviews`, `total_read_time`) is no
    column, nor how long the page itself was read: neither is known at the impression.

    Args:
        path: Folder with the files.
        tasks: What to predict: `"click"`, `"read"`, `"scroll"`.
        read_seconds: Seconds from which an article was read.
        scroll_percent: Percent from which an article was scrolled.
        absent: What an article that `articles.parquet` lacks is: `"error"`, or `"missing"`, where
            its features are missing.

    Raises:
        FileNotFoundError: The folder or a file is not there.
        ValueError: An argument is out of range.

    Example:
        ```python
        news = keras_infnet.datasets.EBNeRD("ebnerd_small")
        frame = news.frame()
        split = news.split(frame)
        data = keras_infnet.RankingData(
            news.schema(),
            frame,
            validation=split.validation,
            test=split.test,
            events={"reads": news.reads()},
        )
        ```

    Reference:
        Kruse et al., EB-NeRD: A Large-Scale Dataset for News Recommendation, RecSys Challenge 2024.
        Licence: Ekstra Bladet's own terms, for research; see recsys.eb.dk.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        tasks: Iterable[str] = TASKS,
        read_seconds: float = 30,
        scroll_percent: float = 50,
        absent: Absent = "error",
    ) -> None:
        self.tasks = known_names("EBNeRD", "task", tasks, TASKS)
        self.absent = check_choice("EBNeRD", "absent", absent, ("error", "missing"))
        self.read_seconds, self.scroll_percent = read_seconds, scroll_percent
        for name, value in (("read_seconds", read_seconds), ("scroll_percent", scroll_percent)):
            if not value > 0:
                raise bad("EBNeRD", name, value, "a number above 0")
        self.folder = local_path(path, "EBNeRD", "path")
        files = [f"{part}/{kind}.parquet" for part in PARTS for kind in ("behaviors", "history")]
        for name in ("articles.parquet", *files):
            if not (self.folder / name).is_file():
                raise FileNotFoundError(
                    f"EBNeRD: {self.folder} has no `{name}`; expected the files of an archive such "
                    "as ebnerd_small."
                )

    def describe(self) -> str:
        """Which folder was found."""
        return f"EBNeRD in {self.folder}"

    def frame(self) -> pd.DataFrame:
        """One row an article of an impression, in the order of the files.

        `part` is the folder of a row; `page_id` the article on whose page the list stood, -1 on the
        front page; `age_hours` counts from publication to impression; `articles_in_list` is the
        length of the list. Missing values are -1 in integer columns, else NaN.

        Raises:
            ValueError: A file can't be read, a column is missing, no row is there, or an article is
                absent from its table.
        """
        parts = [self._impressions(part) for part in PARTS]
        rows = pd.concat(parts, ignore_index=True)
        if rows.empty:
            raise ValueError(f"EBNeRD: {self.folder} has no row.")
        rows = _with_counters(rows)
        rows = self._articles().join(rows)
        since = (rows["impression_time"] - rows.pop("published_time")).dt.total_seconds()
        rows["age_hours"] = (since / 3600).astype("float32")
        rows["hour"] = rows["impression_time"].dt.hour.astype("int8")
        rows["weekday"] = rows["impression_time"].dt.day_of_week.astype("int8")
        return rows

    def reads(self) -> pd.DataFrame:
        """What users read, a log of its own: the events of the history `reads`.

        Those of both folders, each once. `read` and `scroll` are as the labels, missing where the
        log has no time or no scroll.
        """
        parts = [_reads(self.folder / part / "history.parquet") for part in PARTS]
        reads = pd.concat(parts, ignore_index=True)
        reads = reads.drop_duplicates(["user_id", "impression_time", "article_id"])
        reads = reads.reset_index(drop=True)
        reads["read"] = _at_least(reads.pop("read_time"), self.read_seconds)
        reads["scroll"] = _at_least(reads.pop("scroll_percentage"), self.scroll_percent)
        return self._articles().join(reads).drop(columns="published_time")

    def warm(self) -> None:
        """Histories from before the log: they are a log of their own, `reads()`."""

    def truth(self) -> None:
        """True probabilities: real data have none."""

    def schema(self) -> FeatureSchema:
        """User: id, device and what is known of her; article: ids, texts, counters; context.

        The history `reads` is that of `reads()`: `RankingData(..., events={"reads": reads})`.
        """
        counters = [f"article_{what}{window}" for window in WINDOWS for what in ("views", "clicks")]
        rates = [f"article_rate{window}" for window in WINDOWS]
        bag: dict[str, Any] = {"max_values": MAX_VALUES, "separator": "|"}
        features = (
            CategoricalFeature("user_id", "user", dtype="int", min_frequency=3),
            *(CategoricalFeature(column, "user", dtype="int") for column in _USER),
            CategoricalFeature("article_id", "item", dtype="int", min_frequency=2),
            CategoricalFeature("category", "item", dtype="int"),
            CategoricalFeature("subcategory", "item", dtype="int", **bag),
            CategoricalFeature("topics", "item", dtype="string", **bag),
            CategoricalFeature("premium", "item", dtype="int"),
            CategoricalFeature("article_type", "item", dtype="string"),
            CategoricalFeature("sentiment_label", "item", dtype="string"),
            NumericFeature("sentiment_score", "item", allow_missing=True),
            NumericFeature("age_hours", "item", allow_missing=True),
            *(NumericFeature(column, "item", bucketing="log") for column in counters),
            *(NumericFeature(column, "item", allow_missing=True) for column in rates),
            CategoricalFeature("page_id", "context", dtype="int", table="article_id"),
            NumericFeature("articles_in_list", "context"),
            *(CategoricalFeature(column, "context", dtype="int") for column in ("hour", "weekday")),
        )
        known = {"click": None, "read": "read_known", "scroll": "scroll_known"}
        reads = History(
            "reads",
            EVENT_FIELDS,
            HISTORY_LENGTH,
            actions=("read", "scroll"),
            groups=(HistoryGroup("all"), HistoryGroup("read", any_of=("read",))),
        )
        tasks = tuple(BinaryTask(task, observed_when=known[task]) for task in self.tasks)
        return FeatureSchema(
            features,
            tasks,
            (reads,),
            time_key="impression_time",
            list_key="impression_id",
        )

    def split(self, frame: pd.DataFrame, validation_days: float = 1) -> Split:
        """The folder `validation` tests, the last days of the folder `train` validate.

        Args:
            frame: Rows of `frame()`.
            validation_days: Number of days of 24 hours.

        Raises:
            ValueError: The number is out of range, or a part is empty.
        """
        tests, times = frame["part"] == PARTS[1], frame["impression_time"]
        start = times[~tests].max() - pd.Timedelta(days=validation_days)
        validates = ~tests & (times > start)
        parts = frame[~tests & ~validates], frame[validates], frame[tests]
        if any(part.empty for part in parts):
            raise ValueError(
                f"EBNeRD.split: {', '.join(str(len(part)) for part in parts)} rows would train, "
                f"validate and test with validation_days={validation_days}; expected some in each."
            )
        starts = (part["impression_time"].min() for part in parts[1:])
        return Split(*parts, *starts)

    def _impressions(self, part: str) -> pd.DataFrame:
        """The articles of a folder's impressions, a row each, with labels."""
        table = read_parquet_table(self.folder / part / "behaviors.parquet", _BEHAVIORS)
        shown, clicked = (table[f"article_ids_{kind}"] for kind in ("inview", "clicked"))
        impressions, articles = _flat(shown)
        clicks = _pairs(impressions, articles, *_flat(clicked))
        columns = table.drop_columns(["article_ids_inview", "article_ids_clicked"])
        rows = columns.to_pandas().iloc[impressions].reset_index(drop=True)
        rows = rows.rename(columns={"article_id": "page_id"})
        for column in ("page_id", *_USER):
            rows[column] = pd.to_numeric(rows[column]).astype("float64").fillna(-1).astype("int32")
        of_list = np.bincount(impressions, minlength=len(table))[impressions]
        one = np.asarray(pc.fill_null(pc.list_value_length(clicked), 0))[impressions] == 1
        new = {"article_id": articles.astype("int32"), "articles_in_list": of_list}
        rows = rows.assign(**new, click=clicks.astype("int8"), part=part)
        bounds = (("read", "next_read_time", self.read_seconds),)
        bounds += (("scroll", "next_scroll_percentage", self.scroll_percent),)
        for label, column, least in bounds:
            found = _at_least(rows.pop(column), least).where(one)
            rows[label] = (clicks & (found == 1)).astype("int8")
            rows[f"{label}_known"] = (~clicks | found.notna()).astype("int8")
        return rows

    def _articles(self) -> SideTable:
        path = self.folder / "articles.parquet"
        table = read_parquet_table(path, _ARTICLES)
        for column in ("subcategory", "topics"):
            words = table[column].cast(pa.list_(pa.string()))
            joined = pc.binary_join(words, "|")
            table = table.set_column(table.column_names.index(column), column, joined)
        articles = table.to_pandas().set_index("article_id")
        articles["premium"] = articles["premium"].astype("float64").fillna(-1).astype("int8")
        articles["sentiment_score"] = articles["sentiment_score"].astype("float32")
        return SideTable(articles, str(path), self.absent)


def _flat(lists: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """The row of each value of a column of lists, and the values below one another."""
    lists = lists.combine_chunks()
    rows = np.asarray(pc.list_parent_indices(lists)).astype("int64")
    return rows, np.asarray(pc.list_flatten(lists))


def _pairs(
    rows: np.ndarray, values: np.ndarray, of_rows: np.ndarray, among: np.ndarray
) -> np.ndarray:
    """Bool `(values,)`: whether a value is among those of its row."""
    codes, distinct = pd.factorize(np.concatenate([values, among]))
    keys = np.concatenate([rows, of_rows]) * max(1, len(distinct)) + codes
    return np.isin(keys[: len(values)], keys[len(values) :])


def _at_least(values: pd.Series, least: float) -> pd.Series:
    """1 or 0, NaN where a value is missing."""
    numbers = pd.to_numeric(values).astype("float64")
    return (numbers >= least).astype("float32").where(numbers.notna())


def _reads(path: Path) -> pd.DataFrame:
    """A history file's events, a row each."""
    table = read_parquet_table(path, _READS)
    names = [name for name in _READS if name != "user_id"]
    lengths = [np.asarray(pc.fill_null(pc.list_value_length(table[n]), 0)) for n in names]
    for name, found in zip(names[1:], lengths[1:], strict=True):
        if (other := np.flatnonzero(found != lengths[0])).size:
            row = other[0]
            raise ValueError(
                f"{path}: `{names[0]}` and `{name}` differ in length in {other.size} rows (row "
                f"{row}: {lengths[0][row]} and {found[row]}); expected one value an event in each."
            )
    users = np.repeat(np.asarray(table["user_id"]), lengths[0])
    flat = {name.removesuffix("_fixed"): pc.list_flatten(table[name]).to_pandas() for name in names}
    return pd.DataFrame({"user_id": users, **flat})


def _with_counters(rows: pd.DataFrame) -> pd.DataFrame:
    """Impressions and clicks of a row's article strictly before it, in each window."""
    codes = pd.factorize(rows["article_id"])[0]
    times = rows["impression_time"].astype("datetime64[ms]").astype("int64").to_numpy()
    longest = max(window or 0 for window in WINDOWS.values())
    # Articles lie so far apart that a window never reaches another one's.
    span = int(times.max() - times.min()) + longest + 1
    keys = codes * span + longest + times - times.min()
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    clicks = np.concatenate([[0], np.cumsum(rows["click"].to_numpy()[order], dtype="int64")])
    ends = np.searchsorted(ordered, keys)
    for name, window in WINDOWS.items():
        starts = np.searchsorted(ordered, codes * span if window is None else keys - window)
        seen, clicked = ends - starts, clicks[ends] - clicks[starts]
        rows[f"article_views{name}"] = seen.astype("float32")
        rows[f"article_clicks{name}"] = clicked.astype("float32")
        rates = np.divide(clicked, seen, out=np.full(len(rows), np.nan), where=seen > 0)
        rows[f"article_rate{name}"] = rates.astype("float32")
    return rows
