import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from keras_infnet import (
    BinaryTask,
    CategoricalFeature,
    DenseFeature,
    FeatureSchema,
    History,
    NumericFeature,
)
from keras_infnet.data import FeatureEncoder
from keras_infnet.encoding.counts import EncoderCounts
from tests.logs import log_schema, make_log

CLICKS = [0, 1, 1]


def fit(*features, histories=(), **columns):
    frame = pd.DataFrame({"click": CLICKS, **columns})
    schema = FeatureSchema(features, [BinaryTask("click")], histories)
    return FeatureEncoder(schema).fit(frame), frame


def test_a_bag_is_cut_at_its_separator_and_at_its_width():
    encoder, frame = fit(
        CategoricalFeature("tag", "item", max_values=2, separator=","), tag=["a,b,c", "", "b"]
    )
    packed = encoder.transform(frame)
    # b occurs twice, so it has id 2; a and c follow by value.
    assert packed["bags"].tolist() == [[3, 2], [0, 0], [2, 0]]
    assert packed["bag_weights"].tolist() == [[1, 1], [0, 0], [1, 0]]


@pytest.mark.parametrize("kind", [pa.list_, pa.large_list])
def test_a_bag_with_a_separator_may_be_lists_too(kind):
    lists = pd.Series([["a", "b"], [], ["b"]], dtype=pd.ArrowDtype(kind(pa.string())))
    encoder, frame = fit(CategoricalFeature("tag", "item", max_values=2, separator=","), tag=lists)
    assert encoder.transform(frame)["bags"].tolist() == [[3, 2], [0, 0], [2, 0]]


def test_weights_of_a_bag_pass_through():
    encoder, frame = fit(
        CategoricalFeature("tag", "item", dtype="int", max_values=2, weights="w"),
        tag=[[5, 6], [], [5, 6, 7]],
        w=[[0.5, 2.0], [], [1.0, 0.0, 9.0]],
    )
    packed = encoder.transform(frame)
    assert packed["bags"].tolist() == [[2, 3], [0, 0], [2, 3]]
    assert packed["bag_weights"].tolist() == [[0.5, 2], [0, 0], [1, 0]]


def test_integers_with_gaps_may_come_as_floats_or_nullable_or_categorical():
    feature = CategoricalFeature("a", "user", dtype="int")
    for values in (
        [4.0, np.nan, 4.0],
        pd.array([4, None, 4], dtype="Int64"),
        pd.Categorical([4, None, 4]),
        [4, -1, 4],
    ):
        encoder, frame = fit(feature, a=values)
        assert encoder.transform(frame)["categorical"].tolist() == [[2], [0], [2]]


def test_a_shared_table_learns_from_both_columns_and_gives_both_the_same_ids():
    encoder, frame = fit(
        CategoricalFeature("video", "item", dtype="int"),
        CategoricalFeature("last_video", "user", dtype="int", table="video"),
        video=[1, 2, 2],
        last_video=[2, 3, 2],
    )
    assert encoder.transform(frame)["categorical"].tolist() == [[3, 2], [2, 4], [2, 2]]
    assert encoder.schema.table_rows() == {"video": 5}


def test_events_teach_the_vocabulary_of_their_fields():
    encoder, _ = fit(
        CategoricalFeature("video", "item", dtype="int"),
        histories=[History("liked", ("video",))],
        video=[1, 1, 1],
    )
    assert encoder.programs["video"].values.to_pylist() == [1]
    frame = pd.DataFrame({"click": CLICKS, "video": [1, 1, 1]})
    schema = FeatureSchema(
        [CategoricalFeature("video", "item", dtype="int")],
        [BinaryTask("click")],
        [History("liked", ("video",))],
    )
    more = FeatureEncoder(schema).fit(frame, {"liked": pd.DataFrame({"video": [8, 9, 9, 9, 9]})})
    assert more.programs["video"].values.to_pylist() == [9, 1, 8]


def test_list_columns_keep_the_newest_events_and_drop_events_without_id():
    sequence = History("seen", ("video",), max_length=2)
    encoder, frame = fit(
        CategoricalFeature("video", "item", dtype="int"),
        histories=[sequence],
        video=[1, 1, 2],
        seen_video=[[1, 2, 1], [], [2, -1]],
        seen_age_seconds=[[9, 3, 0], [], [1, 1]],
    )
    packed = encoder.transform(frame)
    assert packed["seen"].tolist() == [[[3], [2]], [[0], [0]], [[0], [3]]]
    assert packed["seen_age"].tolist() == [[3, 1], [0, 0], [0, 2]]


def test_every_packed_input_has_the_declared_shape_and_dtype():
    log = make_log()
    encoder = FeatureEncoder(log_schema()).fit(log)
    packed = encoder.transform(log)
    declared = encoder.schema.packed_inputs()
    assert set(packed) == {"categorical", "numbers", "bags", "bag_weights", "dense"}
    for name, array in packed.items():
        assert (array.shape[1:], str(array.dtype)) == declared[name]


def test_ids_stay_below_the_size_of_their_table_on_rows_never_seen():
    encoder = FeatureEncoder(log_schema()).fit(make_log())
    packed = encoder.transform(make_log(seed=9))
    rows = encoder.schema.table_rows()
    for column, feature in enumerate(encoder.schema.one_valued):
        assert packed["categorical"][:, column].max() < rows[feature.name]
    events = encoder.encode_events("seen", make_log(seed=9))
    columns = encoder.schema.history_columns("seen")
    assert events[:, columns["#action"]].max() < encoder.programs["seen/#action"].num_ids
    assert events.min() >= 0


def test_an_action_is_the_pattern_of_the_feedbacks_with_unknown_ones_apart():
    log = make_log()
    encoder = FeatureEncoder(log_schema()).fit(log)
    column = encoder.schema.history_columns("seen")["#action"]
    events = log.iloc[:3].assign(is_click=[1, 0, np.nan], is_like=[1, 0, 1])
    ids = encoder.encode_events("seen", events)[:, column].ravel()
    known = {
        (c, k): encoder.encode_events("seen", log.iloc[:1].assign(is_click=c, is_like=k))[0, column]
        for c in (0, 1)
        for k in (0, 1)
    }
    assert len({int(v[0]) for v in known.values()}) == 4
    # Click unknown was never seen in training: the out-of-vocabulary pattern.
    assert ids.tolist() == [int(known[1, 1][0]), int(known[0, 0][0]), 1]


def test_group_bits_follow_the_known_feedbacks():
    log = make_log()
    encoder = FeatureEncoder(log_schema()).fit(log)
    column = encoder.schema.history_columns("seen")["#groups"]
    events = log.iloc[:3].assign(is_click=[1, 0, np.nan])
    # Bits: all = 1, click = 2, skip = 4; an unknown click is neither a click nor a skip.
    assert encoder.encode_events("seen", events)[:, column].ravel().tolist() == [3, 5, 1]


@pytest.mark.parametrize(
    ("feature", "values", "message"),
    [
        (
            CategoricalFeature("a", "user", dtype="string"),
            [1, 2, 3],
            'type int64; expected strings.*dtype="int"',
        ),
        (
            CategoricalFeature("a", "user"),
            pd.to_datetime(["2026-01-01"] * 3),
            "`a`: found values of type timestamp.*expected integers or strings",
        ),
        (CategoricalFeature("a", "user"), [2.0**53, 1, 2], r"2\*\*53 or more"),
        (CategoricalFeature("a", "user", dtype="int"), list("xyz"), 'expected integers.*"string"'),
        (CategoricalFeature("a", "user", dtype="int"), [1.5, 2, 3], "expected integers; Float"),
        (CategoricalFeature("a", "user"), ["x", 3, None], "`a`: found values of type int, str"),
        (CategoricalFeature("a", "user", max_values=2), list("xyz"), "expected one list a row"),
        (
            CategoricalFeature("a", "user", dtype="int", max_values=2, separator=","),
            ["1,x", "2", ""],
            "`a`: expected integers between separators",
        ),
        (NumericFeature("a", "user"), [1, np.nan, 2], "1 of 3 values are NaN.*allow_missing=True"),
        (NumericFeature("a", "user"), [1, np.inf, 2], "`a`: 1 values are infinite"),
        (NumericFeature("a", "user"), list("xyz"), "values of type str; expected numbers"),
    ],
)
def test_a_column_of_another_kind_is_refused_by_name(feature, values, message):
    with pytest.raises(ValueError, match=message):
        fit(feature, a=values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[1, 2], [3], [4, 5]], "1 of 3 rows .* .such as row 1: 1.; expected one list of 2 floats"),
        (
            [[1, 2, 3]] * 3,
            "3 of 3 rows have another length .such as row 0: 3.; .* list of 2 floats",
        ),
        ([[1, 2], None, [4, 5]], "1 of 3 rows have another length .such as row 1: 0"),
        ([["a", "b"]] * 3, "expected lists of numbers"),
        ([1.0, 2.0, 3.0], "values of type double; expected one list a row"),
        ([[1, np.nan], [1, 2], [3, 4]], "1 of 3 vectors hold NaN"),
    ],
)
def test_vectors_of_the_wrong_shape_are_refused(values, message):
    country = CategoricalFeature("country", "user")
    encoder, frame = fit(country, DenseFeature("image", "item", dim=2), country=list("abc"))
    with pytest.raises(ValueError, match=message):
        encoder.transform(frame.assign(image=values))


def test_vectors_may_be_lists_or_arrays_of_any_numbers():
    image = DenseFeature("image", "item", dim=2)
    country = CategoricalFeature("country", "user")
    for values in ([[1, 2], [3, 4], [5, 6]], list(np.array([[1.0, 2], [3, 4], [5, 6]]))):
        encoder, frame = fit(country, image, country=list("abc"), image=values)
        dense = encoder.transform(frame)["dense"]
        assert dense.dtype == np.float32 and dense.tolist() == [[1, 2], [3, 4], [5, 6]]


def test_a_misspelt_column_suggests_the_nearest():
    encoder, frame = fit(CategoricalFeature("country", "user"), country=list("abc"))
    with pytest.raises(ValueError, match="`country`.*no column `country`. Did you mean `contry`"):
        encoder.transform(frame.rename(columns={"country": "contry"}))


def test_an_empty_frame_and_no_frame_are_refused():
    encoder, frame = fit(CategoricalFeature("country", "user"), country=list("abc"))
    with pytest.raises(ValueError, match="the frame is empty"):
        encoder.transform(frame.iloc[:0])
    with pytest.raises(ValueError, match="found dict; expected a pandas DataFrame"):
        encoder.transform({"country": ["a"]})


def test_an_encoder_must_be_fitted_first():
    schema = FeatureSchema([CategoricalFeature("country", "user")], [BinaryTask("click")])
    with pytest.raises(ValueError, match="Fit an encoder on training rows"):
        FeatureEncoder(schema).transform(pd.DataFrame({"country": ["a"]}))


def test_weights_must_match_their_values():
    feature = CategoricalFeature("tag", "item", max_values=2, weights="w")
    encoder, frame = fit(feature, tag=[["a"], ["b"], []], w=[[1.0], [2.0], []])
    with pytest.raises(
        ValueError, match="1 rows have another number of weights .*row 1: 2 weights"
    ):
        encoder.transform(frame.assign(w=[[1.0], [2.0, 3.0], []]))
    with pytest.raises(ValueError, match="weights must be finite and 0 or more"):
        encoder.transform(frame.assign(w=[[1.0], [-2.0], []]))


def test_lists_of_different_length_and_events_out_of_order_are_refused():
    encoder, frame = fit(
        CategoricalFeature("video", "item", dtype="int"),
        histories=[History("seen", ("video",), max_length=2)],
        video=[1, 1, 2],
        seen_video=[[1, 2], [], [2]],
        seen_age_seconds=[[9, 3], [], [1]],
    )
    with pytest.raises(ValueError, match="differ in length in 1 rows .row 2: 1 and 2"):
        encoder.transform(frame.assign(seen_age_seconds=[[9, 3], [], [1, 2]]))
    with pytest.raises(ValueError, match="out of order in 1 rows .such as row 0"):
        encoder.transform(frame.assign(seen_age_seconds=[[3, 9], [], [1]]))
    with pytest.raises(ValueError, match="seen_age_seconds`: 1 values are below -1 .such as -4"):
        encoder.transform(frame.assign(seen_age_seconds=[[9, -4], [], [1]]))


def test_an_action_other_than_zero_and_one_is_refused():
    log = make_log()
    encoder = FeatureEncoder(log_schema()).fit(log)
    with pytest.raises(ValueError, match="`seen`, action `is_click`: 200 values are not 0, 1"):
        encoder.encode_events("seen", log.assign(is_click=7))


def test_unknown_history_names_are_refused():
    with pytest.raises(ValueError, match="no history `seem`. Did you mean `seen`"):
        FeatureEncoder(log_schema()).fit(make_log(), {"seem": make_log()})


def test_a_bag_of_sets_is_refused():
    schema = FeatureSchema([CategoricalFeature("tag", "item", max_values=2)], [BinaryTask("click")])
    frame = pd.DataFrame({"tag": [None, {"a", "b"}, {"c"}], "click": [0, 1, 0]})
    with pytest.raises(ValueError, match="`tag`.* found sets, whose order is not defined"):
        FeatureEncoder(schema).fit(frame)


def test_a_dtype_that_is_not_declared_is_that_of_the_log():
    encoder, frame = fit(
        CategoricalFeature("video", "item"),
        CategoricalFeature("country", "user"),
        CategoricalFeature("tags", "item", max_values=2),
        CategoricalFeature("page", "item", hash_buckets=5),
        video=[7.0, np.nan, 7.0],
        country=["NL", None, "PT"],
        tags=[[1, 2], [], [2]],
        page=["a", "b", "c"],
    )
    dtypes = {name: encoder.schema.dtype_of(name) for name in encoder.schema.field_names}
    assert dtypes == {"video": "int", "country": "string", "tags": "int", "page": "string"}
    assert encoder.schema.feature("video").dtype is None
    assert encoder.schema.raw_inputs()["video"] == ((), "int64")
    assert encoder.transform(frame)["categorical"][:, 0].tolist() == [2, 0, 2]
    with pytest.raises(ValueError, match='`video`.*expected integers.*dtype="string"'):
        encoder.transform(frame.assign(video=["x", "y", "z"]))


def test_chunks_of_other_dtypes_are_refused():
    schema = FeatureSchema([CategoricalFeature("a", "user")], [BinaryTask("click")])
    counts, other = EncoderCounts(schema), EncoderCounts(schema)
    counts.add_rows(pd.DataFrame({"a": [1, 2], "click": [0, 1]}))
    with pytest.raises(ValueError, match='`a`.*expected integers.*dtype="string"'):
        counts.add_rows(pd.DataFrame({"a": ["x", "y"], "click": [0, 1]}))
    other.add_rows(pd.DataFrame({"a": ["x", "y"], "click": [0, 1]}))
    with pytest.raises(ValueError, match="some chunks hold int values and others string"):
        counts.merge(other)
