import numpy as np
import pytest

from keras_infnet.layers import HSTULayer
from tests import tiny
from tests.reference import sequences
from tests.reference.textbook import Weights

RNG = np.random.default_rng(0)
TOKENS = RNG.normal(size=(4, 6, 8)).astype("float32")
AGES = RNG.integers(0, 23, (4, 6)).astype("int32")
MASK = np.arange(6)[None] >= np.array([5, 0, 3, 4])[:, None]
ARGUMENTS = {"num_heads": 2, "max_distance": 4, "num_age_buckets": 23}


def make(**arguments):
    layer = HSTULayer(**{**ARGUMENTS, **arguments})
    return tiny.randomise_after(layer, TOKENS, AGES if layer.num_age_buckets else None)


@pytest.mark.parametrize("last_only", [False, True])
@pytest.mark.parametrize("num_age_buckets", [0, 23])
def test_output_equals_a_loop_over_tokens(num_age_buckets, last_only):
    layer = make(num_age_buckets=num_age_buckets, last_only=last_only)
    w = Weights.of(layer) / layer.name
    outputs = np.array(layer(TOKENS, AGES if num_age_buckets else None, tokens_mask=MASK))
    for b, there in enumerate(MASK):
        ages = AGES[b][there] if num_age_buckets else None
        events = TOKENS[b][there].astype("float64")
        expected = sequences.hstu_layer(w, events, ages, num_heads=2, max_distance=4)
        output = outputs[b] if last_only else outputs[b][there]
        np.testing.assert_allclose(output, expected[-1:] if last_only else expected, atol=2e-5)


def test_padding_comes_out_as_zeros_and_later_tokens_change_nothing():
    layer = make()
    outputs = np.array(layer(TOKENS, AGES, tokens_mask=MASK))
    assert not outputs[~MASK].any()
    later = TOKENS.copy()
    later[:, 4:] = 9
    np.testing.assert_allclose(layer(later, AGES)[1, :4], layer(TOKENS, AGES)[1, :4], atol=1e-5)


def test_a_row_of_padding_alone_is_finite():
    assert np.isfinite(make()(TOKENS, AGES, tokens_mask=np.zeros((4, 6), bool))).all()


@pytest.mark.parametrize(
    ("seconds", "bucket"), [((0, 0), 1), ((0, 1), 2), ((3, 1), 2), ((7, 0), 4), ((1023, 511), 10)]
)
def test_interval_is_the_bucket_of_the_difference(seconds, bucket):
    """Seconds at the lower end of a bucket stand for themselves."""
    layer = make(max_distance=1)
    distances = [w.path.endswith("distances") for w in layer.weights]
    values = [w * 0 if d else w for w, d in zip(layer.get_weights(), distances, strict=True)]
    layer.set_weights(values)
    ages = np.array([[1 + int(np.log2(s + 1)) for s in seconds]] * 4)
    bias = np.array(layer._bias(np.array([[0, -1], [1, 0]]), ages))[0, 0]
    np.testing.assert_allclose(bias[1, 0], np.array(layer.intervals)[bucket, 0], atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_distance": 0}, "Sizes must be 1 or more.*max_distance=0"),
        ({"dropout": 1.0}, "dropout=1.0"),
    ],
)
def test_arguments_out_of_range_are_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        HSTULayer(**arguments)


def test_heads_that_do_not_divide_the_width_are_an_error():
    with pytest.raises(ValueError, match="num_heads=3 does not divide the token width 8"):
        HSTULayer(num_heads=3)(TOKENS)


def test_age_buckets_without_ages_are_an_error():
    with pytest.raises(ValueError, match="num_age_buckets=23, but there are no `ages`"):
        HSTULayer(num_age_buckets=23)(TOKENS)
