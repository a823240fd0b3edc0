import re

import numpy as np
import pandas as pd
import pytest

from keras_infnet.data.ranking_data import RankingData
from keras_infnet.datasets.ebnerd import EBNeRD

pytestmark = pytest.mark.one_backend
ARTICLES = np.arange(100, 112)
START = pd.Timestamp("2023-05-18 07:00:00")


def behaviors(part: str) -> pd.DataFrame:
    """Impressions of two days a folder, some at one time, some with no or two clicks."""
    rng = np.random.default_rng(["train", "validation"].index(part))
    rows = []
    for number in range(40):
        shown = rng.choice(ARTICLES, int(rng.integers(2, 6)), replace=False)
        clicked = shown[: rng.choice([0, 1, 1, 1, 2])]
        known = rng.random() < 0.8
        rows.append(
            {
                "impression_id": 1000 * (part == "validation") + number,
                "article_id": rng.choice([100.0, np.nan]),
                "impression_time": START
                + pd.Timedelta(days=2 * (part == "validation"))
                + pd.Timedelta(minutes=int(rng.integers(0, 90)) * 30),
                "read_time": 13.0,
                "device_type": 2,
                "article_ids_inview": shown,
                "article_ids_clicked": clicked,
                "user_id": rng.integers(1, 6),
                "is_sso_user": rng.choice([True, False]),
                "gender": rng.choice([0.0, np.nan]),
                "postcode": np.nan,
                "age": 40,
                "is_subscriber": False,
                "next_read_time": rng.choice([5.0, 30.0, 90.0]) if known else np.nan,
                "next_scroll_percentage": rng.choice([10.0, 100.0]) if known else np.nan,
            }
        )
    return pd.DataFrame(rows)


def history(part: str) -> pd.DataFrame:
    rng = np.random.default_rng(7)
    rows = []
    for user in range(1, 6):
        number = int(rng.integers(0, 6))
        hours = np.sort(rng.integers(-100, 30, number))
        read = rng.choice([3.0, 45.0, np.nan], number)
        rows.append(
            {
                "user_id": user,
                "impression_time_fixed": [START + pd.Timedelta(hours=int(h)) for h in hours],
                "article_id_fixed": rng.choice(ARTICLES, number),
                "read_time_fixed": read,
                "scroll_percentage_fixed": np.where(read > 9, 80.0, np.nan),
            }
        )
    return pd.DataFrame(rows)


@pytest.fixture
def folder(tmp_path):
    for part in ("train", "validation"):
        (tmp_path / part).mkdir()
        behaviors(part).to_parquet(tmp_path / part / "behaviors.parquet")
        history(part).to_parquet(tmp_path / part / "history.parquet")
    articles = pd.DataFrame({"article_id": ARTICLES, "title": "t", "category": 5})
    articles["subcategory"] = [[1, 2] if a % 2 else [] for a in ARTICLES]
    articles["topics"] = [["Sport", "Cykling"]] * len(ARTICLES)
    articles["published_time"] = START - pd.Timedelta(hours=6)
    articles = articles.assign(premium=False, sentiment_score=0.5, sentiment_label="Neutral")
    articles.assign(article_type="article_default", total_inviews=9).to_parquet(
        tmp_path / "articles.parquet"
    )
    return tmp_path


def shown_one_by_one() -> list[dict]:
    """The rows, impression by impression, article by article."""
    rows = []
    for part in ("train", "validation"):
        for line in behaviors(part).itertuples():
            for article in line.article_ids_inview:
                clicked = article in line.article_ids_clicked
                follows = len(line.article_ids_clicked) == 1 and line.next_read_time > 0
                rows.append(
                    {
                        "impression_id": line.impression_id,
                        "impression_time": line.impression_time,
                        "article_id": article,
                        "click": clicked,
                        "read": clicked and follows and line.next_read_time >= 30,
                        "scroll": clicked and follows and line.next_scroll_percentage >= 50,
                        "read_known": not clicked or follows,
                        "scroll_known": not clicked or follows,
                        "articles_in_list": len(line.article_ids_inview),
                        "page_id": -1 if np.isnan(line.article_id) else line.article_id,
                        "is_sso_user": line.is_sso_user,
                        "gender": -1 if np.isnan(line.gender) else line.gender,
                        "part": part,
                    }
                )
    return rows


def test_rows_are_the_articles_of_the_lists(folder):
    frame = EBNeRD(folder).frame()
    expected = pd.DataFrame(shown_one_by_one())
    for column in expected:
        assert frame[column].tolist() == expected[column].tolist(), column
    assert frame["category"].eq(5).all() and frame["premium"].eq(0).all()
    assert frame["topics"].eq("Sport|Cykling").all()
    assert set(frame["subcategory"]) == {"", "1|2"}
    hours = (frame["impression_time"] - START).dt.total_seconds() / 3600 + 6
    np.testing.assert_allclose(frame["age_hours"], hours)
    assert not {"total_inviews", "read_time", "next_read_time"} & set(frame.columns)


def test_counters_count_what_was_strictly_before(folder):
    frame = EBNeRD(folder).frame()
    for row in frame.sample(80, random_state=0).itertuples():
        before = frame[frame["article_id"] == row.article_id]
        before = before[before["impression_time"] < row.impression_time]
        assert (row.article_views, row.article_clicks) == (len(before), before["click"].sum())
        hour = before[before["impression_time"] >= row.impression_time - pd.Timedelta(hours=1)]
        assert (row.article_views_1h, row.article_clicks_1h) == (len(hour), hour["click"].sum())
        for rate, rows in ((row.article_rate, before), (row.article_rate_1h, hour)):
            mean = rows["click"].mean() if len(rows) else np.nan
            np.testing.assert_allclose(rate, mean, rtol=1e-6)


def test_reads_are_a_log_of_their_own(folder):
    news = EBNeRD(folder)
    frame, reads = news.frame(), news.reads()
    lists = history("train")
    assert len(reads) == lists["article_id_fixed"].map(len).sum()
    seconds = np.concatenate(lists["read_time_fixed"])
    expected = np.where(np.isnan(seconds), np.nan, seconds >= 30)
    np.testing.assert_array_equal(reads["read"], expected)
    split = news.split(frame)
    parts = {"validation": split.validation, "test": split.test}
    data = RankingData(news.schema(), frame, events={"reads": reads}, **parts)
    for _, row in data.attach("test").head(40).iterrows():
        past = reads[reads["user_id"] == row["user_id"]]
        past = past[past["impression_time"] < row["impression_time"]]
        assert sorted(row["reads_article_id"]) == sorted(past["article_id"])
    last = split.train["impression_time"].max()
    assert split.test["part"].eq("validation").all() and split.train["part"].eq("train").all()
    assert split.validation_start > last and news.schema().list_key == ("impression_id",)
    assert news.warm() is news.truth() is None and str(folder) in news.describe()


def test_only_what_is_known_counts(folder):
    schema = EBNeRD(folder, tasks=("read", "click"), read_seconds=90).schema()
    assert [task.observed_when for task in schema.tasks] == ["read_known", None]
    frame = EBNeRD(folder, read_seconds=90).frame()
    known = frame["read"].sum(), EBNeRD(folder).frame()["read"].sum()
    assert 0 < known[0] < known[1]


def test_errors_name_file_and_column(folder):
    with pytest.raises(ValueError, match="EBNeRD: unknown task `clik`. Did you mean `click`"):
        EBNeRD(folder, tasks="clik")
    with pytest.raises(ValueError, match="read_seconds is 0; expected a number above 0"):
        EBNeRD(folder, read_seconds=0)
    news = EBNeRD(folder)
    with pytest.raises(ValueError, match=re.escape("validation_days=9; expected some in each")):
        news.split(news.frame(), validation_days=9)
    articles = pd.read_parquet(folder / "articles.parquet")
    articles[1:].to_parquet(folder / "articles.parquet")
    with pytest.raises(
        ValueError, match="articles.parquet: 1 values of `article_id` .* not in this"
    ):
        news.frame()
    assert EBNeRD(folder, absent="missing").frame()["category"].min() == -1
    lists = history("train")
    lists["read_time_fixed"] = lists["read_time_fixed"].map(lambda times: times[:-1])
    lists.to_parquet(folder / "train" / "history.parquet")
    with pytest.raises(ValueError, match="`impression_time_fixed` and `read_time_fixed` differ in"):
        news.reads()
    behaviors("train").drop(columns="user_id").to_parquet(folder / "train" / "behaviors.parquet")
    with pytest.raises(ValueError, match="behaviors.parquet: column `user_id` is missing"):
        news.frame()
    (folder / "validation" / "history.parquet").unlink()
    with pytest.raises(FileNotFoundError, match="no `validation/history.parquet`; expected the"):
        EBNeRD(folder)
