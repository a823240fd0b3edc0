import re

import numpy as np
import pandas as pd
import pytest

from keras_infnet.datasets.qb_video import QBVideo


@pytest.fixture
def rows() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    columns = {"user_id": rng.integers(3, size=90), "item_id": rng.integers(20, size=90)}
    columns |= {f: rng.integers(2, size=90) for f in ("click", "follow", "like", "share")}
    columns |= {"video_category": rng.integers(2, size=90), "watching_times": 1}
    return pd.DataFrame(columns | {"gender": columns["user_id"], "age": 3})


@pytest.fixture
def path(tmp_path, rows):
    rows.to_csv(tmp_path / "QB-video.csv", index=False)
    return tmp_path / "QB-video.csv"


def test_frame_is_the_file_from_its_path_or_folder(path, rows):
    for given in (path, path.parent, str(path)):
        frame = QBVideo(given).frame()
        pd.testing.assert_frame_equal(frame, rows, check_dtype=False)
    assert frame["click"].dtype == "int8"
    assert "QB-video.csv" in QBVideo(path).describe()


def test_missing_values_are_minus_one(path, rows):
    rows.assign(age=[None, *[2] * 89]).to_csv(path, index=False)
    assert QBVideo(path).frame()["age"].tolist() == [-1, *[2] * 89]


def test_schema_has_no_time_and_no_watching_times(path):
    schema = QBVideo(path).schema()
    assert schema.time_key is None and not schema.histories[0].quantities
    assert schema.task_names == ("click", "follow", "like", "share")
    assert set(schema.field_names) == {"user_id", "gender", "age", "item_id", "video_category"}
    assert schema.histories[0].actions == ("click", "follow", "like", "share")
    leaking = QBVideo(path, watching_times=True).schema()
    assert leaking.feature("watching_times").owner == "context"


def test_positives_are_one_history_a_feedback(path):
    sequences = QBVideo(path, history="positives", tasks=("like",)).schema().histories
    assert [(s.name, s.where) for s in sequences] == [
        ("clicked", "click"),
        ("followed", "follow"),
        ("liked", "like"),
        ("shared", "share"),
    ]


def test_the_last_rows_of_each_user_test(path):
    data = QBVideo(path)
    frame = data.frame()
    split = data.split(frame)
    for user, part in frame.groupby("user_id"):
        tenth = len(part) // 10
        test = split.test[split.test["user_id"] == user]
        validation = split.validation[split.validation["user_id"] == user]
        assert test.index.tolist() == part.index[-tenth:].tolist()
        assert validation.index.tolist() == part.index[-2 * tenth : -tenth].tolist()
    assert len(split.train) + len(split.validation) + len(split.test) == len(frame)


def test_it_has_no_warm_histories_and_no_truth(path):
    assert QBVideo(path).warm() is None and QBVideo(path).truth() is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tasks": ("shares",)}, "QBVideo: unknown task `shares`. Did you mean `share`?"),
        (
            {"history": "all"},
            "QBVideo: history is 'all'; expected one of ('exposures', 'positives')",
        ),
    ],
)
def test_bad_arguments(path, arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        QBVideo(path, **arguments)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="QB-video.csv does not exist; expected QB-video"):
        QBVideo(tmp_path)


def test_a_misspelt_column(path, rows):
    rows.rename(columns={"item_id": "itemid"}).to_csv(path, index=False)
    with pytest.raises(ValueError, match="column `item_id` is missing. Did you mean `itemid`?"):
        QBVideo(path).frame()


def test_a_file_without_rows(path, rows):
    rows.iloc[:0].to_csv(path, index=False)
    with pytest.raises(ValueError, match="QB-video.csv has no row"):
        QBVideo(path).frame()
