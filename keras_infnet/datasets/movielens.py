"""MovieLens: ratings of movies, in the layouts of 100K, 1M and 25M."""

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import pandas as pd

from keras_infnet._base.checks import bad, check_choice
from keras_infnet._base.paths import local_path
from keras_infnet.datasets.csv_table import CsvForm, read_csv_table
from keras_infnet.datasets.side_table import SideTable
from keras_infnet.datasets.split import Split, split_by_order
from keras_infnet.schema.binary_task import BinaryTask
from keras_infnet.schema.categorical import CategoricalFeature
from keras_infnet.schema.history import History, HistoryGroup
from keras_infnet.schema.schema import FeatureSchema

TASKS = MappingProxyType({"like": 4.0, "love": 5.0})
EVENT_FIELDS = ("movie_id", "genres", "year")
HISTORY_LENGTH = 100
MAX_GENRES = 6
GENRES = (
    *(
        "unknown",
        "Action",
        "Adventure",
        "Animation",
        "Children's",
        "Comedy",
        "Crime",
        "Documentary",
    ),
    *("Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi"),
    *("Thriller", "War", "Western"),
)
_RATINGS = {"user_id": "int32", "movie_id": "int32", "rating": "float32", "timestamp": "int64"}
_PERSON = {"user_id": "int32", "gender": "str", "age": "int16", "occupation": "str"}
# The year is at the end of most titles.
_YEAR = r"\((\d{4})\)\s*$"


@dataclass(frozen=True)
class _Variant:
    """Files of one archive, with the names of their columns where the files have none."""

    name: str
    ratings: tuple[str, CsvForm]
    movies: tuple[str, CsvForm]
    users: tuple[str, CsvForm] | None = None


def _form(names: str, delimiter: str) -> CsvForm:
    return CsvForm(tuple(names.split()), delimiter, "latin-1")


_MOVIE_COLUMNS = "movie_id title genres"
_VARIANTS = (
    _Variant(
        "100K",
        ("u.data", _form("user_id movie_id rating timestamp", "\t")),
        ("u.item", _form(f"movie_id title released video url {' '.join(GENRES)}", "|")),
        ("u.user", _form("user_id age gender occupation zip", "|")),
    ),
    _Variant(
        "1M",
        ("ratings.dat", _form("user_id movie_id rating timestamp", "::")),
        ("movies.dat", _form(_MOVIE_COLUMNS, "::")),
        ("users.dat", _form("user_id gender age occupation zip", "::")),
    ),
    _Variant("25M", ("ratings.csv", CsvForm()), ("movies.csv", CsvForm())),
)


class MovieLens:
    """MovieLens 100K, 1M or 25M (and other archives of `ratings.csv` and `movies.csv`).

    `path` holds the files of the archive: `u.data`, `u.item` and `u.user`; `ratings.dat`,
    `movies.dat` and `users.dat`; or `ratings.csv` and `movies.csv`, which know nothing of users.

    A task is whether a rating is at least a number of stars. Everything was rated: a model learns
    what a user thinks of a movie, not whether she would watch it.

    Args:
        path: Folder with the files.
        tasks: Stars from which on a task's label is 1, by its name.
        time: `"timestamp"`: the time of the rating, and `split` goes by it; `"order"`: only the
            order of a user's ratings, and `split` takes the last of each user.

    Raises:
        FileNotFoundError: The folder or a file is not there.
        ValueError: An argument is out of range, or the folder holds several archives.

    Example:
        ```python
        movies = keras_infnet.datasets.MovieLens("ml-1m", tasks={"like": 4})
        frame = movies.frame()
        split = movies.split(frame)
        data = keras_infnet.RankingData(
            movies.schema(), frame, validation=split.validation, test=split.test
        )
        ```

    Reference:
        Harper and Konstan, The MovieLens Datasets: History and Context, ACM TiiS 2015. GroupLens'
        own licence, in the README of each archive: research use, no redistribution without leave.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        tasks: Mapping[str, float] = TASKS,
        time: Literal["timestamp", "order"] = "timestamp",
    ) -> None:
        self.tasks = _checked_tasks(tasks)
        self.time = check_choice("MovieLens", "time", time, ("timestamp", "order"))
        self.folder = local_path(path, "MovieLens", "path")
        self.variant = _variant_in(self.folder)

    def describe(self) -> str:
        """Which archive was found."""
        return f"MovieLens {self.variant.name} in {self.folder}"

    def frame(self) -> pd.DataFrame:
        """The ratings with columns of movie and user, in the order of time within the log.

        `time` is the timestamp in seconds, `genres` a text such as `"Comedy|War"`, `year` that of
        the title (100K: of the release), -1 where unknown. Each task is a column.

        Raises:
            ValueError: A file can't be read, a column is missing, no row is there, or a movie or
                user is absent from its table.
        """
        file, form = self.variant.ratings
        names = {} if form.names else {"userId": "user_id", "movieId": "movie_id"}
        ratings = _read(self.folder / file, form, _RATINGS, names)
        if ratings.empty:
            raise ValueError(f"MovieLens: {self.folder / file} has no row.")
        ratings = ratings.rename(columns={"timestamp": "time"})
        ratings = ratings.sort_values(["time", "user_id"], kind="stable", ignore_index=True)
        for task, stars in self.tasks.items():
            ratings[task] = (ratings["rating"] >= stars).astype("int8")
        frame = self._movies().join(ratings)
        return frame if self.variant.users is None else self._users(*self.variant.users).join(frame)

    def warm(self) -> None:
        """Histories from before the log: there are none."""

    def truth(self) -> None:
        """True probabilities: real data have none."""

    def schema(self) -> FeatureSchema:
        """User: id and, where known, gender, age and occupation; movie: id, genres and year.

        The history `rated` holds what the user rated before, with the tasks' labels as actions.
        """
        person = () if self.variant.users is None else ("gender", "age", "occupation")
        features = (
            CategoricalFeature("user_id", "user", dtype="int", min_frequency=3),
            *(
                CategoricalFeature(column, "user", dtype="int" if column == "age" else "string")
                for column in person
            ),
            CategoricalFeature("movie_id", "item", dtype="int", min_frequency=2),
            CategoricalFeature(
                "genres", "item", dtype="string", max_values=MAX_GENRES, separator="|"
            ),
            CategoricalFeature("year", "item", dtype="int"),
        )
        labels = tuple(self.tasks)
        groups = tuple(HistoryGroup(label, any_of=(label,)) for label in labels)
        others = HistoryGroup("others", none_of=labels[:1])
        options: dict[str, Any] = {} if self.time == "timestamp" else {"quantities": ()}
        rated = History(
            "rated",
            EVENT_FIELDS,
            HISTORY_LENGTH,
            actions=labels,
            groups=(HistoryGroup("all"), *groups, others),
            **options,
        )
        tasks = tuple(BinaryTask(label) for label in labels)
        key = "time" if self.time == "timestamp" else None
        return FeatureSchema(features, tasks, (rated,), time_key=key)

    def split(self, frame: pd.DataFrame, validation: float = 0.1, test: float = 0.1) -> Split:
        """The last share of ratings tests, the share before it validates.

        With `time="timestamp"` of all ratings, at times that no two parts share, so that many users
        of a part are new; with `"order"` of each user's.

        Args:
            frame: Rows of `frame()`.
            validation: Share that validates, above 0 and below 1.
            test: Share that tests, above 0 and below 1.

        Raises:
            ValueError: A share is out of range, or a part is empty.
        """
        if self.time == "order":
            return split_by_order(frame, validation, test)
        if not (0 < validation and 0 < test and validation + test < 1):
            raise ValueError(
                f"MovieLens.split: validation is {validation} and test is {test}; expected shares "
                "above 0 with a sum below 1."
            )
        times = frame["time"]
        starts = times.quantile([1 - test - validation, 1 - test], interpolation="higher").tolist()
        tests = times >= starts[1]
        validates = (times >= starts[0]) & ~tests
        parts = frame[~tests & ~validates], frame[validates], frame[tests]
        if any(part.empty for part in parts):
            raise ValueError(
                f"MovieLens.split: {', '.join(str(len(part)) for part in parts)} rows would train, "
                "validate and test; expected some in each. Take other shares."
            )
        return Split(*parts, *map(int, starts))

    def _movies(self) -> SideTable:
        file, form = self.variant.movies
        path = self.folder / file
        if "released" not in form.names:
            names = {} if form.names else {"movieId": "movie_id"}
            kinds = {"movie_id": "int32", "title": "str", "genres": "str"}
            movies = _read(path, form, kinds, names)
            genres, year = movies["genres"], movies["title"].str.extract(_YEAR)[0]
        else:
            flags = dict.fromkeys(GENRES, "flag")
            movies = _read(path, form, {"movie_id": "int32", "released": "str", **flags}, {})
            year = movies["released"].str[-4:]
            words = [movies[genre].map({0: "", 1: f"{genre}|"}) for genre in GENRES]
            genres = pd.concat(words, axis=1).agg("".join, axis=1).str.rstrip("|")
        columns = {"genres": genres.replace("(no genres listed)", "").fillna("")}
        columns["year"] = pd.to_numeric(year).fillna(-1).astype("int16")
        table = pd.DataFrame(columns).set_axis(pd.Index(movies["movie_id"], name="movie_id"))
        return SideTable(table, str(path), "error")

    def _users(self, file: str, form: CsvForm) -> SideTable:
        path = self.folder / file
        return SideTable(_read(path, form, _PERSON, {}).set_index("user_id"), str(path), "error")


def _checked_tasks(tasks: Any) -> dict[str, float]:
    known: Any = dict(tasks) if issubclass(type(tasks), Mapping) else {}
    stars = [isinstance(value, Real) and 0.5 < float(value) <= 5 for value in known.values()]
    if not stars or not all(stars):
        example = "stars above 0.5 and up to 5 by task, such as {'like': 4}"
        raise bad("MovieLens", "tasks", known or tasks, example)
    if taken := sorted({"rating", "time", *EVENT_FIELDS, *_PERSON} & set(known)):
        raise bad("MovieLens", "tasks", known, f"names other than the column `{taken[0]}`")
    return known


def _variant_in(folder: Path) -> _Variant:
    """The archive whose ratings a folder holds.

    Raises:
        FileNotFoundError: There is none, or another of its files is missing.
        ValueError: There are several.
    """
    found = [variant for variant in _VARIANTS if (folder / variant.ratings[0]).is_file()]
    if len(found) > 1:
        names = " and ".join(variant.ratings[0] for variant in found)
        raise ValueError(
            f"MovieLens: {folder} holds {names}; expected one archive. Put each in a folder of its "
            "own."
        )
    if not found:
        names = ", ".join(f"`{variant.ratings[0]}` ({variant.name})" for variant in _VARIANTS)
        raise FileNotFoundError(f"MovieLens: {folder} has no ratings; expected one of {names}.")
    (variant,) = found
    for file in (variant.movies, variant.users):
        if file is not None and not (folder / file[0]).is_file():
            raise FileNotFoundError(
                f"MovieLens: {folder} has no `{file[0]}`, which the archive {variant.name} has."
            )
    return variant


def _read(
    path: Path, form: CsvForm, kinds: Mapping[str, str], names: Mapping[str, str]
) -> pd.DataFrame:
    """Columns of a file; `names`: what the file calls some of them."""
    of_file = {ours: theirs for theirs, ours in names.items()}
    given = {of_file.get(column, column): kind for column, kind in kinds.items()}
    return read_csv_table(path, given, form=form).rename(columns=dict(names))
