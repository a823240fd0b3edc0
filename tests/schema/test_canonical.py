import ast
import datetime
import decimal
import uuid

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from keras_infnet.schema.canonical import (
    feedbacks,
    id_lists,
    id_values,
    infer_dtype,
    number_values,
    user_codes,
    vectors,
)

pytestmark = pytest.mark.one_backend


def as_text(series):
    return series.map(str, na_action="ignore")


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        (pd.Series([3, -1, -7, None], dtype="Int8"), "int", [3, -1, -7, -1]),
        (pd.Series([0, 200, 255], dtype="uint8"), "int", [0, 200, 255]),
        (pd.Series([2**63 - 1, 0], dtype="uint64"), "int", [2**63 - 1, 0]),
        (pd.Series([True, False, None], dtype=object), "int", [1, 0, -1]),
        (pd.Series([2.0**53 - 1, np.nan]), "int", [2**53 - 1, -1]),
        (pd.Series([2.0, np.nan], dtype="float16"), "int", [2, -1]),
        (pd.Series([decimal.Decimal(2**60 + 1), None]), "int", [2**60 + 1, -1]),
        (pd.Series([2**60 + 1, None], dtype=object), "int", [2**60 + 1, -1]),
        (pd.Series(pd.Categorical([2**60 + 1, 7, None])), "int", [2**60 + 1, 7, -1]),
        (pd.Series(pd.Categorical(["b", None, "a"])), "string", ["b", "", "a"]),
        (pd.Series(pd.arrays.SparseArray([0, 5, 0])), "int", [0, 5, 0]),
        (
            pd.Series(["x", None]).astype(pd.ArrowDtype(pa.dictionary(pa.int8(), pa.string()))),
            "string",
            ["x", ""],
        ),
        (pd.Series([np.nan, np.nan]), "string", ["", ""]),
        (pd.Series([None, None], dtype="str"), "int", [-1, -1]),
    ],
)
def test_identifiers_of_every_type_are_exact(values, dtype, expected):
    assert infer_dtype(values, "x") in (dtype, None)
    assert id_values(values, dtype, "x").to_pylist() == expected


@pytest.mark.parametrize(
    ("values", "message", "repair"),
    [
        ([1, "a", None], r"type int, str;.*Make all of one type, such as text: `frame", as_text),
        ([b"a", None], "binary.*`frame.name..str.decode", lambda s: s.str.decode("utf-8")),
        ([uuid.UUID(int=5), None], "uuid.*Make text of them by `frame", as_text),
        ([datetime.date(2026, 1, 1), None], "date32.*or declare a DateTimeFeature", as_text),
        ([pd.Timedelta(5)], "duration.*Make text of them by", as_text),
        ([{"a": 1}, None], "struct.*Make text of them by", as_text),
        ([2**64, 1], "beyond 64 bits: make text of them by `frame", as_text),
        (pd.Series([2**63], dtype="uint64"), "expected integers; .*or text by `frame", as_text),
        ([1.5, None], "expected integers; .*or text by `frame", as_text),
        ([decimal.Decimal("1.5")], "expected integers; .*or text by `frame", as_text),
        ([[1, 2], None], "of one list a row declare a Cat.*`max_values`", lambda s: s.str[0]),
    ],
)
def test_the_advice_of_an_error_works(values, message, repair):
    series = pd.Series(values, dtype=getattr(values, "dtype", object))

    def read(series):
        return id_values(series, infer_dtype(series, "Feature `x`") or "int", "Feature `x`")

    with pytest.raises(ValueError, match=f"^Feature `x`: .*{message}"):
        read(series)
    assert len(read(repair(series)).unique()) == series.map(str).nunique()


@pytest.mark.parametrize("text", ["['a', 'b']", '["a"]', "[1, 2]", "['a' 'b']", " ('a', 'b') "])
def test_a_list_written_as_text_is_no_bag(text):
    series = pd.Series([text, "c", None])
    dtype = "string"
    with pytest.raises(ValueError, match=r"1 values are lists written as text.*literal_eval"):
        id_lists(series, dtype, ",", "Feature `x`")
    assert id_lists(pd.Series(["[a],b", "a[1]"]), dtype, ",", "x").to_pylist() == [
        ["[a]", "b"],
        ["a[1]"],
    ]


def test_a_list_written_as_text_is_read_as_the_error_says():
    series = pd.Series(["['a', 'b']", "[]", None]).map(ast.literal_eval, na_action="ignore")
    assert id_lists(series, "string", None, "x").to_pylist() == [["a", "b"], [], []]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[["a"], ["b"]]], "Of nested lists make one list a row"),
        ([["a", 1]], "found values of type lists of int, str; expected lists of strings"),
    ],
)
def test_lists_of_other_things_are_refused_by_what_they_hold(values, message):
    with pytest.raises(ValueError, match=message):
        id_lists(pd.Series(values), "string", None, "Feature `x`")


def test_arrays_may_be_empty_beside_others():
    # An empty one has floats, and another texts.
    series = pd.Series([np.array([]), np.array(["a", "b"]), None])
    assert id_lists(series, "string", None, "x").to_pylist() == [[], ["a", "b"], []]
    series = pd.Series([np.array([]), np.array(["a", 1], object)])
    with pytest.raises(ValueError, match="found values of type lists of int, str; expected lists"):
        id_lists(series, "string", None, "x")


def test_feedbacks_are_read_as_labels_are():
    for values in (
        [True, None, False],
        pd.array([True, None, False], dtype="boolean"),
        pd.array([True, None, False], dtype=pd.ArrowDtype(pa.bool_())),
        ["1", None, "0"],
        pd.array([1, -1, 0], dtype="int8"),
        pd.array([1, pd.NA, 0], dtype=object),
    ):
        assert feedbacks(pd.Series(values), "x").tolist() == [1, -1, 0]
    with pytest.raises(ValueError, match="x: 1 values are not 0, 1 or missing .such as 0.5"):
        feedbacks(pd.Series([1, 0.5, np.nan]), "x")
    with pytest.raises(ValueError, match="x: found values of type str; expected numbers.$"):
        feedbacks(pd.Series(["yes", "no"]), "x")


def test_numbers_may_lack_in_every_way_of_pandas():
    for kind in (object, "string", "category"):
        for missing in (None, np.nan, pd.NA):
            values = number_values(pd.Series(["1.5", missing], dtype=kind), True, "x")
            np.testing.assert_array_equal(values, np.float32([1.5, np.nan]))
    with pytest.raises(ValueError, match="x: 1 of 2 values are NaN"):
        number_values(pd.Series([1.5, pd.NA], dtype=object), False, "x")


def test_numbers_may_be_categories_and_objects_that_are_read_only():
    fixed = np.array([1, 0, 1], dtype=object)
    fixed.flags.writeable = False
    kinds = [
        pd.Series(fixed, copy=False),
        pd.Series([1, 0, 1]).astype("category"),
        pd.Series(["1", "0", "1"]).astype("category"),
        pd.Series(pd.arrays.ArrowExtensionArray(pa.array([1, 0, 1]).dictionary_encode())),
    ]
    for series in kinds:
        assert number_values(series, False, "x").tolist() == [1.0, 0.0, 1.0]
    assert np.isnan(number_values(pd.Series([1, None]).astype("category"), True, "x")[1])


def test_numbers_may_be_sparse_decimal_or_categories():
    for values in (
        pd.arrays.SparseArray([0.0, 1.5]),
        [decimal.Decimal(0), decimal.Decimal("1.5")],
        pd.Categorical([0.0, 1.5]),
    ):
        assert number_values(pd.Series(values), False, "x").tolist() == [0.0, 1.5]
    with pytest.raises(ValueError, match="datetime64.*expected numbers.*declare a DateTimeFeature"):
        number_values(pd.Series(pd.to_datetime(["2026-01-01"])), False, "x")


def test_vectors_may_be_of_arrows_fixed_size():
    kind = pd.ArrowDtype(pa.list_(pa.float32(), 2))
    series = pd.Series(pd.array([[1.0, 2.0], [3.0, 4.0]], dtype=kind))
    assert vectors(series, 2, "x").to_pylist() == [[1, 2], [3, 4]]


def test_users_are_coded_and_nobody_is_minus_one():
    for users in ([7, None, 9, 7], ["a", "", "b", "a"], [2.0, np.nan, -1, 2.0], [7, -1, "b", 7]):
        codes = user_codes(pd.Series(users, dtype=object), "x")
        assert codes[1] == -1 and codes[0] == codes[3] == 0
