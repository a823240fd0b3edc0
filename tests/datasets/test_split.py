import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_infnet.datasets.split import split_by_date, split_by_order


def frame_of_days(*days: int) -> pd.DataFrame:
    return pd.DataFrame({"date": days, "time_ms": [10 * i for i in range(len(days))]})


def test_days_without_rows_do_not_count():
    frame = frame_of_days(20220430, 20220501, 20220503, 20220509)
    split = split_by_date(frame, validation_days=1, test_days=1)
    assert split.train.index.tolist() == [0, 1]
    assert split.validation.index.tolist() == [2] and split.validation_start == 20
    assert split.test.index.tolist() == [3] and split.test_start == 30


def test_rows_without_a_date_are_in_no_part_and_said():
    frame = frame_of_days(20220501, 20220502, 20220503, None, None)
    with pytest.warns(UserWarning, match="split: 2 of 5 rows have no `date`, so that they are in"):
        split = split_by_date(frame, validation_days=1, test_days=1)
    parts = [part.index.tolist() for part in (split.train, split.validation, split.test)]
    assert parts == [[0], [1], [2]]


def test_datetimes_begin_parts_too():
    frame = frame_of_days(20220501, 20220502, 20220503)
    frame["time_ms"] = pd.to_datetime(frame["date"].astype(str))
    split = split_by_date(frame, validation_days=1, test_days=1)
    assert split.validation_start == pd.Timestamp("2022-05-02")
    assert split.test_start == pd.Timestamp("2022-05-03")


@pytest.mark.parametrize(
    ("frame", "days", "message"),
    [
        (
            frame_of_days(20220430, 20220501),
            (1, 1),
            r"2 days \(20220430 to 20220501\); expected more",
        ),
        (frame_of_days(), (2, 2), "the frame has 0 days; expected more than 2"),
        (frame_of_days(20220430), (0, 1), "validation_days is 0 and test_days is 1; expected 1"),
        (frame_of_days(20220430).drop(columns="date"), (1, 1), "no column `date`"),
    ],
)
def test_errors_of_split_by_date(frame, days, message):
    with pytest.raises(ValueError, match=message):
        split_by_date(frame, *days)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60))
def test_split_by_order_equals_a_loop_over_users(users):
    frame = pd.DataFrame({"user_id": [*users, *([9] * 20)]})
    split = split_by_order(frame, validation=0.2, test=0.3)
    parts = {"train": [], "validation": [], "test": []}
    for _, rows in frame.groupby("user_id"):
        test = len(rows) * 3 // 10
        last = test + len(rows) * 2 // 10
        for i, row in enumerate(rows.index):
            left = len(rows) - i
            name = "test" if left <= test else "validation" if left <= last else "train"
            parts[name].append(row)
    for name, rows in parts.items():
        assert getattr(split, name).index.tolist() == sorted(rows)
    assert split.validation_start is None and split.test_start is None


@pytest.mark.parametrize(
    ("rows", "shares", "message"),
    [
        (20, (0.5, 0.5), "validation is 0.5 and test is 0.5; expected shares above 0"),
        (20, (0.0, 0.5), "validation is 0.0 and test is 0.5; expected shares above 0"),
        (
            3,
            (0.1, 0.1),
            "no validation row with validation=0.1 and test=0.1; the longest user has 3",
        ),
        (0, (0.1, 0.1), "no train row .* the longest user has 0 rows"),
    ],
)
def test_errors_of_split_by_order(rows, shares, message):
    with pytest.raises(ValueError, match=message):
        split_by_order(pd.DataFrame({"user_id": [1] * rows}), *shares)


def test_split_by_order_without_users():
    with pytest.raises(ValueError, match="no column `user_id`"):
        split_by_order(pd.DataFrame({"user": [1]}))
