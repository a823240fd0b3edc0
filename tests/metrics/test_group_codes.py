import numpy as np
import pandas as pd
import pytest

from keras_infnet.metrics.group_codes import group_codes

pytestmark = pytest.mark.one_backend

USER, DAY = ["b", "a", "b", "b"], [1, 1, 2, 1]
BY_BOTH = [0, 1, 2, 0]


@pytest.mark.parametrize(
    "groups",
    [
        pd.DataFrame({"user": USER, "day": DAY}, dtype="category"),
        list(np.array([5, 9, 3, 5])),
        ["b", 1, ("c",), "b"],
        np.array(["b1", "a1", "b2", "b1"], dtype=object),
        [USER, DAY],
        (np.array(USER), pd.Series(DAY)),
        pd.DataFrame({"user": USER, "day": DAY}),
        np.array([[7, 1], [3, 1], [7, 2], [7, 1]]),
        list(zip(USER, DAY, strict=True)),
        pd.Series(["b1", "a1", "b2", "b1"], dtype="category"),
        [40, 2**40, -1, 40],
    ],
)
def test_rows_have_one_code_where_their_keys_are_equal(groups):
    codes = group_codes(groups)
    assert codes.dtype == "int64"
    np.testing.assert_array_equal(codes[:, None] == codes, np.equal.outer(BY_BOTH, BY_BOTH))


def test_no_rows_are_no_codes():
    assert len(group_codes([])) == len(group_codes([np.array([]), np.array([])])) == 0


@pytest.mark.parametrize(
    "groups",
    [
        ["ann", None, "bob"],
        [1.0, np.nan, 2.0],
        np.array([1.0, np.nan, 2.0]),
        pd.Series(["ann", None, "bob"]),
        pd.Series([1, None, 2], dtype="Int64"),
        np.array(["2022-04-22", "NaT", "2022-04-23"], dtype="datetime64[D]"),
        [["ann", "bob", "eve"], [1, None, 2]],
    ],
)
def test_a_missing_key_is_an_error(groups):
    with pytest.raises(ValueError, match="hold 1 missing keys, the first at position 1"):
        group_codes(groups)


def test_columns_of_two_lengths_are_an_error():
    with pytest.raises(ValueError, match=r"one length. Received: \[2, 3\]"):
        group_codes([[1, 2], [1, 2, 3]])
