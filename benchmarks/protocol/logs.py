"""The logs that models are compared on: what is read, which rates of the past, which groups."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

import keras_infnet
from keras_infnet import CountFeature, RateFeature, SecondsSinceFeature

# All metrics, in the order of a report; a log without users, days or lists has fewer.
METRICS = ("auc", "gauc", "gauc_frozen", "gauc_user_day", "gauc_list", "log_loss")


@dataclass(frozen=True)
class Log:
    """A public log of the comparison.

    Args:
        read: Makes the data set from its folder and the names of its tasks.
        tasks: Names of the tasks, unless others are asked for.
        row_key: Columns that tell rows apart in files of predictions.
        past: Features of the past for these labels, which every model reads.
        day: Column of the day, for AUC within user and day.
        lists: Columns of the list that a row is shown in.
        has_users: Whether users have several rows.
        warm: Whether events from before the log enter the histories.
        own_events: Histories of logs of their own, each made by the method of its name.
    """

    read: Callable[..., Any]
    tasks: tuple[str, ...]
    row_key: tuple[str, ...]
    past: Callable[[Sequence[str]], Iterable[Any]] = lambda labels: ()
    day: str | None = None
    lists: tuple[str, ...] = ()
    has_users: bool = True
    warm: bool = True
    own_events: tuple[str, ...] = ()

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that the log's rows have, in the order of `METRICS`."""
        of_users = ("gauc", "gauc_frozen") if self.has_users else ()
        of_days = ("gauc_user_day",) if self.day else ()
        return ("auc", *of_users, *of_days, *(("gauc_list",) if self.lists else ()), "log_loss")

    def schema(self, dataset: Any) -> keras_infnet.FeatureSchema:
        """The data set's schema with the features of the past."""
        schema = dataset.schema()
        past = self.past([task.label for task in schema.tasks])
        return replace(schema, features=(*schema.features, *past))

    def warm_events(self, dataset: Any) -> pd.DataFrame | None:
        """Events from before the log, where they are taken."""
        return dataset.warm() if self.warm else None

    def events(self, dataset: Any) -> dict[str, pd.DataFrame]:
        """Logs of their own by history."""
        return {name: getattr(dataset, name)() for name in self.own_events}


def _past(
    labels: Sequence[str], keys: dict[str, tuple[tuple[str, ...], str]], user: str
) -> Iterator[Any]:
    """A rate of each label by each key, the user's rows so far, and seconds since the last."""
    for name, (columns, owner) in keys.items():
        for label in labels:
            yield RateFeature(f"{name}_{label}_rate", owner, keys=columns, action=label)
        yield CountFeature(f"{name}_rows", owner, bucketing="log", keys=columns)
    yield CountFeature("user_rows_today", "user", bucketing="log", keys=(user,), window="day")
    yield SecondsSinceFeature("user_seconds_since", "user", bucketing="log", keys=(user,))


def _kuairand_past(labels: Sequence[str]) -> Iterator[Any]:
    keys = {
        "user": (("user_id",), "user"),
        "video": (("video_id",), "item"),
        "author": (("author_id",), "item"),
        "user_tab": (("user_id", "tab"), "context"),
        "user_author": (("user_id", "author_id"), "item"),
    }
    return _past(labels, keys, "user_id")


def _journey_past(labels: Sequence[str]) -> Iterator[Any]:
    keys = {
        "household": (("household_id",), "user"),
        "product": (("product_id",), "item"),
        "type": (("product_type",), "item"),
        "household_product": (("household_id", "product_id"), "item"),
        "household_type": (("household_id", "product_type"), "item"),
    }
    # All rows of a basket have one time, so that none is another's past.
    return _past(labels, keys, "household_id")


# Stars from which on a rating is a task's 1.
_STARS = {"like": 4, "love": 5}


def _movielens(path: Path, tasks: Sequence[str]) -> Any:
    if unknown := sorted(set(tasks) - set(_STARS)):
        raise ValueError(
            f"movielens: unknown tasks {', '.join(unknown)}; expected some of {', '.join(_STARS)}."
        )
    return keras_infnet.datasets.MovieLens(path, tasks={task: _STARS[task] for task in tasks})


def _movielens_past(labels: Sequence[str]) -> Iterator[Any]:
    keys = {
        "user": (("user_id",), "user"),
        "movie": (("movie_id",), "item"),
        "user_genres": (("user_id", "genres"), "item"),
    }
    return _past(labels, keys, "user_id")


def _ebnerd_past(labels: Sequence[str]) -> Iterator[Any]:
    keys = {
        "user": (("user_id",), "user"),
        "article": (("article_id",), "item"),
        "category": (("category",), "item"),
        "user_category": (("user_id", "category"), "item"),
    }
    # All rows of an impression have one time, so that none is another's past.
    return _past(labels, keys, "user_id")


_KUAIRAND = Log(
    keras_infnet.datasets.KuaiRand,
    ("click", "like", "long_view"),
    ("user_id", "time_ms", "video_id", "date"),
    _kuairand_past,
    day="date",
)
LOGS = {
    "kuairand": _KUAIRAND,
    "kuairand-cold": replace(_KUAIRAND, warm=False),
    "census-income": Log(
        keras_infnet.datasets.CensusIncome,
        ("income", "never_married", "college"),
        ("user_id",),
        has_users=False,
    ),
    "complete-journey": Log(
        keras_infnet.datasets.CompleteJourney,
        ("buy", "deal", "multi"),
        ("household_id", "time", "product_id", "basket_id"),
        _journey_past,
        lists=("basket_id",),
    ),
    "movielens": Log(_movielens, tuple(_STARS), ("user_id", "movie_id", "time"), _movielens_past),
    "ebnerd": Log(
        keras_infnet.datasets.EBNeRD,
        ("click", "read", "scroll"),
        ("impression_id", "article_id"),
        _ebnerd_past,
        lists=("impression_id",),
        own_events=("reads",),
    ),
}


def files_of(dataset: Any) -> list[Path]:
    """The files of a data set, for its fingerprint."""
    if not hasattr(dataset, "found"):
        # An archive, with files in folders.
        return sorted(path for path in dataset.folder.rglob("*") if path.is_file())
    found = dataset.found
    if isinstance(found, dict):
        return sorted(found.values())
    folder = found if isinstance(found, Path) else found.folder
    return sorted(p for p in folder.iterdir() if p.suffix in (".csv", ".parquet"))
