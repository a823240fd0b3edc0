import warnings
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest

from keras_infnet import BinaryTask, FeatureSchema, History, NumericFeature
from keras_infnet.data import FeatureEncoder
from keras_infnet.schema.feature import Feature
from keras_infnet.schema.number_forms import Interpolate
from keras_infnet.schema.numeric import ENCODINGS

LARGEST = np.finfo("float32").max


def encoder_of(values, **arguments):
    arguments = {"buckets": 4, "encoding": ENCODINGS, "allow_missing": True, **arguments}
    schema = FeatureSchema([NumericFeature("x", "item", **arguments)], [BinaryTask("click")])
    frame = pd.DataFrame({"x": values})
    return FeatureEncoder(schema).fit(frame.assign(click=np.arange(len(frame)) % 2))


def columns(encoder, values):
    """`value`, `normal` and `ple` of some values."""
    packed = encoder.transform(pd.DataFrame({"x": values}))
    return packed["numbers"].T


def test_values_are_in_units_of_the_quartiles_and_grow_as_logarithms_further_out():
    data = np.random.default_rng(0).normal(50, 4, 4001)
    low, center, high = np.quantile(data.astype("float32"), [0.25, 0.5, 0.75])
    unit = (high - low) / 1.349
    z = np.array([-2, -1, 0, 1.5, 2, 4, 8, 3, 2048, 1e9])
    expected = [-2, -1, 0, 1.5, 2, 3, 4, 2.5, 12, 12]
    found = columns(encoder_of(data), center + unit * z)[0]
    np.testing.assert_allclose(found, expected, atol=2e-2)


def test_where_quartiles_are_equal_the_spread_is_that_of_values_further_out():
    found = columns(encoder_of([0] * 85 + [10] * 15), [0, 10])[0]
    # Between the quantiles .1 and .9 lie 10, which are 2.563 deviations.
    np.testing.assert_allclose(found, [0, 2 + (2.563 - 2) / 2], rtol=1e-5)


def test_normal_quantiles_are_those_of_the_mean_rank():
    data = [3, 1, 1, 7, 9]
    ranks = {1: 0.2, 3: 0.5, 7: 0.7, 9: 0.9}
    quantile = {x: NormalDist().inv_cdf(rank) for x, rank in ranks.items()}
    found = columns(encoder_of(data), [1, 3, 7, 9, 5, -4, 100])[1]
    between = (quantile[3] + quantile[7]) / 2
    np.testing.assert_allclose(
        found, [*quantile.values(), between, quantile[1], quantile[9]], atol=1e-6
    )


def test_places_are_whole_bins_and_the_share_of_the_next():
    # Quartiles of 0 .. 8 are the edges.
    found = columns(encoder_of(np.arange(9)), [0, 1, 2, 5, 8, -3, 99, np.nan])[2]
    np.testing.assert_allclose(found, [0, 0.5, 1, 2.5, 4, 0, 4, 0])


def test_the_sum_of_clipped_places_is_the_encoding_of_the_paper():
    data = np.random.default_rng(1).lognormal(size=500).astype("float32")
    edges = np.quantile(data, [0, 0.25, 0.5, 0.75, 1], method="higher")
    x = np.float32([data.min(), 0.4, 1.0, 1.7, 3.3, data.max()])
    for value, place in zip(x, columns(encoder_of(data), x)[2], strict=True):
        for j, (low, high) in enumerate(zip(edges, edges[1:], strict=False)):
            paper = 0.0 if value < low else 1.0 if value >= high else (value - low) / (high - low)
            assert abs(paper - np.clip(place - j, 0, 1)) < 1e-5


STRANGE = {
    "heavy": np.random.default_rng(0).lognormal(0, 4, 600),
    "mostly 0": np.where(np.arange(600) % 20 == 0, np.arange(600), 0),
    "constant": np.full(20, 7.0),
    "all missing": np.full(20, np.nan),
    "huge": np.random.default_rng(0).normal(size=300) * 3e38,
    "tiny": np.random.default_rng(0).normal(size=300) * 1e-38,
    "times": 1.7e12 + np.arange(300) * 1e5,
    "two": np.array([0.0, 1.0]),
}


@pytest.mark.one_backend
@pytest.mark.parametrize("name", STRANGE)
def test_numbers_are_finite_keep_the_order_and_are_the_graphs(name):
    import tensorflow as tf

    data = STRANGE[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder = encoder_of(data)
        ends = [-LARGEST, -1e30, -1e-38, 0, 1e-45, 1, 1e38, LARGEST]
        known = np.append(data[~np.isnan(data)], ends)
        asked = np.append(np.sort(known), np.nan)
        packed = encoder.transform(pd.DataFrame({"x": asked}))
    numbers = packed["numbers"]
    assert np.isfinite(numbers).all() and (np.abs(numbers) <= 12).all()
    assert (np.diff(numbers[:-1], axis=0) >= 0).all()
    assert packed["categorical"][-1] == 0 and not numbers[-1].any()
    raw = np.append(np.clip(asked, -LARGEST, LARGEST), [np.inf, -np.inf]).astype("float32")
    served = encoder.to_tensorflow()({"x": tf.constant(raw)})
    np.testing.assert_array_equal(served["categorical"][:-2], packed["categorical"])
    np.testing.assert_allclose(served["numbers"][:-2], numbers, atol=1e-6)
    # Infinity in a request is the largest number.
    np.testing.assert_array_equal(served["numbers"][-2], served["numbers"][-4])


@pytest.mark.one_backend
def test_distinct_numbers_of_the_training_rows_stay_distinct():
    data = np.random.default_rng(0).normal(size=2000).astype("float32")
    for column in columns(encoder_of(data, buckets=32), data):
        assert len(np.unique(column)) >= 0.999 * len(np.unique(data))


@pytest.mark.one_backend
@pytest.mark.parametrize("encoding", ["value", ("ple", "bucket"), "bucket"])
def test_an_encoder_is_the_same_when_it_is_read_again(encoding, tmp_path):
    encoder = encoder_of(np.arange(30.0), encoding=encoding)
    encoder.save(tmp_path / "encoder")
    again = FeatureEncoder.load(tmp_path / "encoder")
    assert again.schema == encoder.schema
    rows = pd.DataFrame({"x": [3.3, np.nan, -1]})
    packed, expected = again.transform(rows), encoder.transform(rows)
    assert set(packed) == {"categorical"} | ({"numbers"} if encoding != "bucket" else set())
    for name, array in expected.items():
        np.testing.assert_array_equal(packed[name], array)


def test_without_buckets_ids_tell_missing_from_known():
    encoder = encoder_of(np.arange(30.0), encoding="value")
    packed = encoder.transform(pd.DataFrame({"x": [0, 29, np.nan]}))
    assert packed["categorical"].tolist() == [[1], [1], [0]]
    assert encoder.schema.num_ids("x") == 2


def test_a_schema_that_was_saved_before_has_buckets_alone():
    feature = NumericFeature("x", "item", encoding="bucket")
    plain = feature.to_dict()
    assert not {"encoding", "token"} & set(plain)
    assert Feature.from_dict(plain) == feature
    other = NumericFeature("x", "item", encoding=("value", "bucket"), token="all")
    assert Feature.from_dict(other.to_dict()) == other
    assert other == NumericFeature("x", "item", encoding=("bucket", "value"), token="all")


def test_a_line_through_knots_is_numpys():
    knots, heights = np.float32([-2, 0, 1, 5]), np.float32([-1, 0, 4, 4.5])
    x = np.linspace(-4, 8, 101).astype("float32")
    found = Interpolate(knots, heights).numpy(x)
    np.testing.assert_allclose(found, np.interp(x, knots, heights), atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"encoding": "values"}, "unknown encoding `values`. Did you mean `value`"),
        ({"encoding": ()}, "no encoding; expected at least one of bucket, value, normal, ple"),
        ({"buckets": 257}, "buckets is 257; expected at most 256"),
        ({"token": "a token"}, "token is 'a token'; expected letters a to z"),
    ],
)
def test_an_argument_out_of_range_is_an_error(arguments, text):
    with pytest.raises(ValueError, match=text):
        NumericFeature("x", "item", **arguments)


@pytest.mark.parametrize(
    ("second", "text"),
    [
        ({"table": "a", "encoding": "ple"}, "encoding is another than that of `a`"),
        ({"owner": "user", "token": "t"}, "token 't' is the item's, and the feature the user's"),
        ({"token": "a"}, "token is 'a', which is a feature"),
    ],
)
def test_features_that_do_not_fit_together_are_an_error(second, text):
    arguments = {"owner": "item", **second}
    features = [NumericFeature("a", "item"), NumericFeature("b", **arguments)]
    if second.get("token") == "t":
        features.append(NumericFeature("c", "item", token="t"))
        features = [features[0], features[2], features[1]]
    with pytest.raises(ValueError, match=text):
        FeatureSchema(features, [BinaryTask("click")])


def test_a_field_of_a_history_has_a_token_of_its_own():
    from keras_infnet import CategoricalFeature

    features = [CategoricalFeature("id", "item"), NumericFeature("b", "item", token="t")]
    with pytest.raises(ValueError, match="history `seen` has it as a field, which needs a token"):
        FeatureSchema(features, [BinaryTask("click")], [History("seen", ["id", "b"])])
