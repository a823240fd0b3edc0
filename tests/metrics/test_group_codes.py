import numpy as np
import pandas as pd
import pyarrow as pa
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
        [40, 2**40, -7, 40],
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
        ["ann", None, "bob", "ann"],
        ["ann", "", "bob", "ann"],
        [3, -1, 5, 3],
        [2**60, None, 2**60 + 1, 2**60],
        [1.0, np.nan, 2.0, 1.0],
        np.array([1.0, -1.0, 2.0, 1.0]),
        pd.Series(["ann", None, "bob", "ann"]),
        pd.Series(["ann", "", "bob", "ann"], dtype="category"),
        pd.Series([2**60, None, 2**60 + 1, 2**60], dtype="Int64"),
        pd.Series([5, 2**64 - 1, 7, 5], dtype="uint64").astype("int64"),
        np.array(["2022-04-22", "NaT", "2022-04-23", "2022-04-22"], dtype="datetime64[D]"),
        [["ann", "bob", "eve", "ann"], [1, None, 2, 1]],
        pd.Series([5, None, 7, 5], dtype=pd.ArrowDtype(pa.decimal128(5, 1))),
        pd.Series([5, None, 7, 5], dtype=pd.ArrowDtype(pa.date32())),
    ],
)
def test_rows_of_nobody_have_no_code(groups):
    codes = group_codes(groups)
    assert codes[1] == -1 and codes[0] == codes[3] >= 0 and codes[2] not in (-1, codes[0])


@pytest.mark.parametrize("kind", [list, np.array, pd.Series])
def test_floats_that_may_be_two_integers_are_an_error(kind):
    with pytest.raises(ValueError, match=r"floats of 2\*\*53 or more.*Int64"):
        group_codes(kind([float(2**53), 1.0]))
    with pytest.raises(ValueError, match=r"floats of 2\*\*24 or more \(float32\)"):
        group_codes(np.array([2**24, 1], "float32"))


@pytest.mark.parametrize("kind", [object, pd.ArrowDtype(pa.list_(pa.int64()))])
def test_lists_are_no_keys(kind):
    keys = pd.Series([[1], [2]], dtype=kind, name="tags")
    with pytest.raises(ValueError, match="in column `tags` hold values .*such as .*1.*; expected"):
        group_codes([keys, pd.Series([1, 2])])


def test_columns_of_two_lengths_are_an_error():
    with pytest.raises(ValueError, match=r"one length. Received: \[2, 3\]"):
        group_codes([[1, 2], [1, 2, 3]])
