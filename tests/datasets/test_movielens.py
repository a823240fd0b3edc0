import re

import numpy as np
import pandas as pd
import pytest

from keras_infnet.data.ranking_data import RankingData
from keras_infnet.datasets.movielens import GENRES, MovieLens

pytestmark = pytest.mark.one_backend
TITLES = {1: "Toy Story (1995)", 2: "Amélie :-) (2001)", 7: "Nothing known"}
WORDS = {1: "Animation|Comedy", 2: "Romance", 7: ""}
YEARS = {1: 1995, 2: 2001, 7: -1}
PEOPLE = {3: ("F", 25, "artist"), 5: ("M", 56, "7"), 9: ("M", 1, "other")}


def ratings() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    table = {"user_id": rng.choice([3, 5, 9], 60), "movie_id": rng.choice([1, 2, 7], 60)}
    table["rating"] = rng.integers(1, 6, 60)
    return pd.DataFrame(table).assign(timestamp=880_000_000 + rng.permutation(60) * 1000)


def write(folder, variant: str) -> None:
    rows = ratings()
    if variant == "25M":
        names = {"user_id": "userId", "movie_id": "movieId"}
        rows.assign(rating=rows["rating"] + 0.0).rename(columns=names).to_csv(
            folder / "ratings.csv", index=False
        )
        genres = {**WORDS, 7: "(no genres listed)"}
        movies = {"movieId": TITLES.keys(), "title": TITLES.values(), "genres": genres.values()}
        pd.DataFrame(movies).to_csv(folder / "movies.csv", index=False)
        return
    between, (log, movies, users) = {
        "100K": ("\t", ("u.data", "u.item", "u.user")),
        "1M": ("::", ("ratings.dat", "movies.dat", "users.dat")),
    }[variant]
    lines = [between.join(map(str, row)) for row in rows.itertuples(index=False)]
    (folder / log).write_text("\n".join(lines) + "\n")
    between = "|" if variant == "100K" else between
    lines, people = [], []
    for movie, title in TITLES.items():
        if variant == "1M":
            lines.append(f"{movie}::{title}::{WORDS[movie]}")
            continue
        released = "" if YEARS[movie] < 0 else f"01-Jan-{YEARS[movie]}"
        flags = "|".join(str(int(genre in WORDS[movie].split("|"))) for genre in GENRES)
        lines.append(f"{movie}|{title}|{released}||http://x|{flags}")
    for user, (gender, age, work) in PEOPLE.items():
        known = (user, age, gender, work) if variant == "100K" else (user, gender, age, work)
        people.append(between.join(map(str, (*known, "1234"))))
    (folder / movies).write_text("\n".join(lines) + "\n", encoding="latin-1")
    (folder / users).write_text("\n".join(people) + "\n")


@pytest.fixture(params=["100K", "1M", "25M"])
def variant(request, tmp_path):
    write(tmp_path, request.param)
    return request.param


def test_frame_is_the_ratings_with_movies_and_users(variant, tmp_path):
    movies = MovieLens(tmp_path, tasks={"like": 4, "fine": 2.5})
    frame = movies.frame()
    expected = ratings().sort_values("timestamp", ignore_index=True)
    for column in ("user_id", "movie_id", "rating"):
        assert frame[column].tolist() == expected[column].tolist()
    assert frame["time"].tolist() == expected["timestamp"].tolist()
    assert frame["like"].tolist() == [int(r >= 4) for r in expected["rating"]]
    assert frame["fine"].tolist() == [int(r >= 2.5) for r in expected["rating"]]
    genres = {movie: set(words.split("|")) for movie, words in WORDS.items()}
    assert [set(words.split("|")) for words in frame["genres"]] == [
        genres[movie] for movie in expected["movie_id"]
    ]
    assert frame["year"].tolist() == [YEARS[movie] for movie in expected["movie_id"]]
    if variant != "25M":
        person = frame[["gender", "age", "occupation"]].itertuples(index=False, name=None)
        assert list(person) == [PEOPLE[user] for user in expected["user_id"]]
    assert variant in movies.describe() and movies.warm() is movies.truth() is None


def test_times_split_and_histories_hold_earlier_ratings(variant, tmp_path):
    movies = MovieLens(tmp_path)
    frame = movies.frame()
    split = movies.split(frame, validation=0.2, test=0.1)
    assert [len(part) for part in (split.train, split.validation, split.test)] == [42, 12, 6]
    assert split.validation_start == split.validation["time"].min() > split.train["time"].max()
    schema = movies.schema()
    assert schema.task_names == ("like", "love")
    assert ("gender" in schema.field_names) == (variant != "25M")
    data = RankingData(schema, frame, validation=split.validation, test=split.test)
    for _, row in data.attach("test").iterrows():
        past = frame[(frame["user_id"] == row["user_id"]) & (frame["time"] < row["time"])]
        assert list(row["rated_movie_id"]) == past["movie_id"].tolist()
        assert list(row["rated_like"]) == past["like"].tolist()


def test_the_order_of_ratings_is_enough(tmp_path):
    write(tmp_path, "1M")
    movies = MovieLens(tmp_path, time="order")
    frame, schema = movies.frame(), movies.schema()
    assert schema.time_key is None and not schema.history("rated").of_row
    split = movies.split(frame)
    for user, rows in frame.groupby("user_id"):
        last = rows.index[-(len(rows) // 10) :]
        assert split.test.index[split.test["user_id"] == user].tolist() == last.tolist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tasks": {}}, "tasks is {}; expected stars above 0.5 and up to 5 by task, such as"),
        ({"tasks": {"like": 6}}, "tasks is {'like': 6}; expected stars above 0.5"),
        ({"tasks": ("like",)}, "tasks is ('like',); expected stars"),
        ({"tasks": {"rating": 3}}, "expected names other than the column `rating`"),
        ({"time": "date"}, "time is 'date'; expected one of ('timestamp', 'order')"),
    ],
)
def test_bad_arguments(tmp_path, arguments, message):
    write(tmp_path, "25M")
    with pytest.raises(ValueError, match=re.escape(message)):
        MovieLens(tmp_path, **arguments)


def test_errors_name_file_line_and_column(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no ratings; expected one of `u.data` \(100K\)"):
        MovieLens(tmp_path)
    write(tmp_path, "1M")
    movies = MovieLens(tmp_path)
    with pytest.raises(ValueError, match="validation is 0.6 and test is 0.5; expected shares"):
        movies.split(movies.frame(), 0.6, 0.5)
    file = tmp_path / "ratings.dat"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([lines[0], lines[1].replace("::", "::x", 1), *lines[2:]]))
    with pytest.raises(ValueError, match="ratings.dat, line 2: column `movie_id` is 'x"):
        movies.frame()
    file.write_text("\n".join([*lines, "3::99::4::880000001"]))
    with pytest.raises(ValueError, match="movies.dat: 1 values of `movie_id` .* not in this table"):
        movies.frame()
    (tmp_path / "users.dat").unlink()
    with pytest.raises(FileNotFoundError, match="no `users.dat`, which the archive 1M has"):
        MovieLens(tmp_path)
    write(tmp_path, "25M")
    with pytest.raises(ValueError, match="holds ratings.dat and ratings.csv; expected one archive"):
        MovieLens(tmp_path)
