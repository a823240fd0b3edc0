import dataclasses
import json

import pytest

from keras_infnet import (
    Age,
    BinaryTask,
    CategoricalFeature,
    DenseFeature,
    FeatureSchema,
    History,
    HistoryGroup,
    NumericFeature,
    Ratio,
)

VIDEO = CategoricalFeature("video_id", "item", dtype="int")
TAG = CategoricalFeature("tag", "item", max_values=3, separator=",")
LENGTH = NumericFeature("length", "item")
IMAGE = DenseFeature("image", "item", dim=4)
LAST = CategoricalFeature("last_video", "user", dtype="int", table="video_id")
SEEN = History(
    "seen",
    ("video_id", "tag", "length"),
    max_length=6,
    actions=("is_click",),
    quantities=(Ratio("play", "length"), Age()),
    groups=(HistoryGroup("all"), HistoryGroup("skip", none_of=("is_click",))),
)
SIZES = {"video_id": 10, "tag": 5, "length": 7, "seen/#action": 5}
SCHEMA = FeatureSchema(
    [VIDEO, TAG, LENGTH, IMAGE, LAST], [BinaryTask("click", "is_click")], [SEEN]
).with_sizes(SIZES, dtype="string")


def test_packed_inputs_have_the_widths_of_their_features():
    assert SCHEMA.packed_inputs() == {
        "categorical": ((3,), "int32"),
        "numbers": ((1,), "float32"),
        "bags": ((3,), "int32"),
        "bag_weights": ((3,), "float32"),
        "dense": ((4,), "float32"),
        "seen": ((6, 9), "int32"),
        "seen_age": ((6,), "int32"),
    }
    assert SCHEMA.field_names == ("video_id", "length", "last_video", "tag", "image")


def test_history_columns_follow_the_fields_then_action_ratio_groups_and_numbers():
    assert {name: (s.start, s.stop) for name, s in SCHEMA.history_columns("seen").items()} == {
        "video_id": (0, 1),
        "tag": (1, 4),
        "length": (4, 5),
        "#action": (5, 6),
        "#ratio": (6, 7),
        "#groups": (7, 8),
        "length#numbers": (8, 9),
    }


def test_raw_inputs_have_every_feature_by_name_and_raw_type():
    raw = SCHEMA.raw_inputs()
    assert raw["tag"] == ((None,), "string")
    assert raw["seen_tag"] == ((None, None), "string")
    assert raw["seen_video_id"] == ((None,), "int64")
    assert raw["image"] == ((4,), "float32")
    assert raw["seen_age_seconds"] == ((None,), "int64")


def test_a_shared_table_has_rows_once():
    assert SCHEMA.table_rows() == {"video_id": 10, "tag": 5, "length": 7}
    assert SCHEMA.table_of("last_video") == "video_id"


def test_json_round_trip_keeps_everything_and_the_fingerprint():
    again = FeatureSchema.from_dict(json.loads(json.dumps(SCHEMA.to_dict())))
    assert again == SCHEMA
    assert again.fingerprint == SCHEMA.fingerprint


def test_the_fingerprint_tells_vocabularies_apart():
    layout = dataclasses.replace(SCHEMA.layout, vocabulary="0123456789ab")
    other = SCHEMA.with_layout(layout)
    assert other.fingerprint != SCHEMA.fingerprint


def test_an_unfitted_schema_says_what_to_do():
    schema = FeatureSchema([CategoricalFeature("a", "user")], [BinaryTask("click")])
    assert not schema.fitted
    with pytest.raises(ValueError, match="RankingData\\(schema, log\\)"):
        schema.table_rows()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FeatureSchema([], [BinaryTask("click")]), "at least one feature and one task"),
        (
            lambda: FeatureSchema([VIDEO, VIDEO], [BinaryTask("a")]),
            "features with the same name: video_",
        ),
        (
            lambda: FeatureSchema([VIDEO], [BinaryTask("a"), BinaryTask("a")]),
            "tasks with the same name: a",
        ),
        (
            lambda: FeatureSchema([VIDEO], [BinaryTask("a")], [History("s", ("vide_id",))]),
            "no feature `vide_id`. Did you mean `video_id`",
        ),
        (
            lambda: FeatureSchema([VIDEO, IMAGE], [BinaryTask("a")], [History("s", ("image",))]),
            "field `image` is a dense vector",
        ),
        (
            lambda: FeatureSchema([TAG], [BinaryTask("a")], [History("s", ("tag",))]),
            "first field `tag` identifies the event",
        ),
        (
            lambda: FeatureSchema([VIDEO], [BinaryTask("a")], [History("bags", ("video_id",))]),
            "can't be named `bags`",
        ),
        (lambda: FeatureSchema([LAST, VIDEO], [BinaryTask("a")]), "expected an earlier feature"),
        (
            lambda: FeatureSchema(
                [VIDEO, CategoricalFeature("w", "user", dtype="string", table="video_id")],
                [BinaryTask("a")],
            ),
            "`w`: dtype is 'string', and that of `video_id`",
        ),
        (
            lambda: FeatureSchema(
                [VIDEO, CategoricalFeature("s_video_id", "user")],
                [BinaryTask("a")],
                [History("s", ("video_id",))],
            ),
            "feature `s_video_id` has the name of a list column of history `s`",
        ),
        (
            lambda: FeatureSchema(
                [VIDEO], [BinaryTask("a")], [History("s", ("video_id",), actions=("video_id",))]
            ),
            "list columns of history `s` with the same name: s_video_id",
        ),
        (
            lambda: FeatureSchema(
                [CategoricalFeature("id", "user")], [BinaryTask("a")], [History("user", ("id",))]
            ),
            "column `user_id` has the name of a list column of history `user`",
        ),
        (
            lambda: FeatureSchema(
                [CategoricalFeature("b_c", "item"), CategoricalFeature("c", "item")],
                [BinaryTask("a")],
                [History("s", ("b_c",)), History("s_b", ("c",), quantities=())],
            ),
            "list columns of two histories with the same name: s_b_c",
        ),
        (
            lambda: FeatureSchema(
                [
                    CategoricalFeature("tag", "item", max_values=2, weights="w"),
                    NumericFeature("w", "item"),
                ],
                [BinaryTask("a")],
            ),
            "`w` is the weights of `tag` and a feature",
        ),
        (
            lambda: FeatureSchema([VIDEO, NumericFeature("a", "item")], [BinaryTask("a")]),
            "feature `a` is the label of task `a`, which is not known when the model is asked",
        ),
        (
            lambda: FeatureSchema(
                [NumericFeature("c", "item")], [BinaryTask("a", observed_when="c")]
            ),
            "feature `c` is `observed_when` of task `a`",
        ),
        (
            lambda: FeatureSchema([VIDEO], [BinaryTask("a")], sample_weight="video_id"),
            "feature `video_id` is the sample weight",
        ),
        (
            lambda: FeatureSchema(
                [VIDEO, CategoricalFeature("Video_ID", "user")], [BinaryTask("a")]
            ),
            "`Video_ID`, `video_id` differ in case alone",
        ),
        (
            lambda: FeatureSchema({"a": VIDEO}, [BinaryTask("a")]),
            "features: found dict; expected a list",
        ),
        (lambda: FeatureSchema([VIDEO], ["click"]), "tasks: found str; expected a list of Task"),
        (
            lambda: FeatureSchema([VIDEO], BinaryTask("a")),
            "tasks: found BinaryTask; expected a list of Task",
        ),
        (
            lambda: FeatureSchema([VIDEO], [BinaryTask("a")], [VIDEO]),
            "histories: found CategoricalFeature; expected a list of History",
        ),
        (lambda: SCHEMA.task("clik"), "no task `clik`. Did you mean `click`"),
        (lambda: SCHEMA.history("liked"), "no history `liked`. Known: seen"),
    ],
)
def test_a_schema_that_does_not_fit_together_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CategoricalFeature("", "user"), "name is ''; expected a name"),
        (lambda: CategoricalFeature("a", "video"), "`a`: owner is 'video'; expected one of"),
        (lambda: CategoricalFeature("a", "user", dtype="float"), "dtype is 'float'"),
        (lambda: CategoricalFeature("a", "user", min_frequency=0), "min_frequency is 0"),
        (lambda: CategoricalFeature("a", "user", weights="w"), "max_values is 1; expected 2"),
        (lambda: CategoricalFeature("a", "user", hash_buckets=0), "hash_buckets is 0"),
        (
            lambda: CategoricalFeature("a", "user", hash_buckets=4, min_frequency=5),
            "min_frequency is 5.*there is no vocabulary",
        ),
        (
            lambda: CategoricalFeature("a", "user", hash_buckets=4, oov_buckets=0),
            "oov_buckets is 0.*there is no vocabulary",
        ),
        (lambda: CategoricalFeature("a", "user", max_values=2, separator=""), "separator is ''"),
        (lambda: NumericFeature("a", "user", buckets=1), "buckets is 1"),
        (lambda: NumericFeature("a", "user", bucketing="equal"), "bucketing is 'equal'"),
        (lambda: DenseFeature("a", "user", dim=0), "dim is 0"),
        (lambda: DenseFeature("candidate", "item", dim=2), "'candidate'; expected another name"),
        (lambda: History("s", "video_id"), "not one string"),
        (lambda: History("s", ()), "at least one feature name"),
        (lambda: History("s", ("v",), max_length=0), "max_length is 0"),
        (
            lambda: History("s", ("v",), groups=(HistoryGroup("g", any_of=("like",)),)),
            r"group `g` is \['like'\]",
        ),
        (lambda: History("", ("v",)), "History: name is ''"),
        (lambda: History("s", ("v", "a", "v")), "each name once, not v twice"),
        (lambda: History("s", ("v",), actions=("a", "a")), "each name once, not a twice"),
        (lambda: History("s", ("v",), groups=("a",)), "expected a tuple of HistoryGroup"),
        (lambda: BinaryTask(3), "BinaryTask: name is 3"),
        (lambda: BinaryTask("a/b"), "name is 'a/b'; expected letters.*`label=`.* the task 'a_b'"),
        (
            lambda: BinaryTask("score"),
            "name is 'score'.*`score`, which `rank_top_k`.*'score_'",
        ),
        (lambda: CategoricalFeature("it's", "user"), "column is \"it's\".*frame.rename.*'it_s'"),
        (
            lambda: CategoricalFeature("k", "user"),
            "column is 'k'.*`k`, which `rank_top_k`.*'k_'",
        ),
        (lambda: CategoricalFeature("self", "user"), "'self'.*no word of Python.*'self_'"),
        (lambda: NumericFeature("prix_é", "user"), "expected letters a to z.*'prix_e'"),
        (lambda: NumericFeature("日本", "user"), "'日本'; expected letters a to z.*such as 'x'"),
        (lambda: DenseFeature("2d", "user", dim=2), "a letter first.*'x_2d'"),
        (
            lambda: CategoricalFeature("a", "user", max_values=2, weights="a w"),
            "`a`: column is 'a w'.*'a_w'",
        ),
        (lambda: History("a b", ("v",)), "name is 'a b'; expected letters.*Call it 'a_b'"),
        (lambda: History("s", ("v",), actions=("is-like",)), "`s`: an input is 's_is-like'"),
        (lambda: CategoricalFeature("a", "user", hash_buckets=2**31), "or less: ids are int32"),
        (lambda: CategoricalFeature("a", "user", oov_buckets=2**32), "or less: ids are int32"),
        (lambda: BinaryTask("a", label=["b"]), r"label is \['b'\]; expected a column name"),
        (lambda: BinaryTask("a", loss_weight="2"), "loss_weight is '2'"),
        (lambda: History("s", ("v",), quantities=("age",)), "expected a tuple of EventQuantity"),
        (lambda: History("s", ("v",), quantities=(Age(), Age())), "each kind once"),
        (lambda: BinaryTask("a", loss_weight=-1), "loss_weight is -1"),
        (lambda: BinaryTask("a", loss_weight=float("nan")), "loss_weight is nan"),
    ],
)
def test_a_part_checks_its_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
