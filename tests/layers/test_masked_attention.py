import keras
import numpy as np
import pytest

from keras_infnet.layers import MaskedAttention

RNG = np.random.default_rng(0)


def draw(*shape):
    return RNG.normal(size=shape).astype("float32")


def attend(queries, keys, values, allowed, num_heads=1):
    """Query by query and head by head, over the keys that it may read alone."""
    output = np.zeros((*queries.shape[:2], values.shape[-1]))
    size, value_size = queries.shape[-1] // num_heads, values.shape[-1] // num_heads
    for b, i in np.ndindex(*queries.shape[:2]):
        for h in range(num_heads):
            of, to = slice(h * size, (h + 1) * size), slice(h * value_size, (h + 1) * value_size)
            weights = [np.exp(queries[b, i, of] @ k[of] / size**0.5) for k in keys[b]]
            weights = np.array(weights, "float64") * allowed[b, i]
            if weights.any():
                output[b, i, to] = weights @ values[b][:, to] / weights.sum()
    return output


def rotate(x, places):
    """Pairs of columns as complex numbers, turned by `place * 10000^(-2 i / d)`."""
    half = x.shape[-1] // 2
    angles = np.asarray(places)[..., None] * 10000.0 ** (-2 * np.arange(half) / x.shape[-1])
    turned = (x[..., :half] + 1j * x[..., half:]) * np.exp(1j * angles)
    return np.concatenate([turned.real, turned.imag], -1)


def test_it_equals_the_formula_and_nothing_allowed_gives_zeros():
    queries, keys, values = draw(3, 4, 8), draw(3, 6, 8), draw(3, 6, 4)
    allowed = RNG.random((3, 4, 6)) < 0.5
    allowed[1, 2] = False
    output = MaskedAttention(2)(queries, keys, values, allowed)
    np.testing.assert_allclose(output, attend(queries, keys, values, allowed, 2), atol=1e-6)
    assert not np.any(output[1, 2])


def test_parts_are_one_softmax_and_a_part_of_one_row_is_that_of_all():
    queries, own, shared = draw(3, 2, 4), draw(3, 2, 4), draw(1, 5, 4)
    valid = np.array([[[True, False, True, True, True]]])
    output = MaskedAttention(2)(queries, [shared, own], [shared, own], [valid, None])
    keys = np.concatenate([np.repeat(shared, 3, 0), own], 1)
    allowed = np.concatenate([np.broadcast_to(valid, (3, 2, 5)), np.ones((3, 2, 2), bool)], 2)
    np.testing.assert_allclose(output, attend(queries, keys, keys, allowed, 2), atol=1e-6)


def test_queries_of_one_row_read_the_keys_of_all():
    query, keys = draw(1, 2, 4), draw(3, 5, 4)
    expected = attend(np.repeat(query, 3, 0), keys, keys, np.ones((3, 2, 5)))
    np.testing.assert_allclose(MaskedAttention()(query, keys, keys), expected, atol=1e-6)


def test_more_axes_before_the_tokens_are_a_batch_too():
    keys, allowed = draw(2, 3, 4, 6), RNG.random((2, 3, 1, 4)) < 0.6
    output = MaskedAttention(2)(keys, keys, keys, allowed)
    flat = keys.reshape(6, 4, 6)
    allowed = np.broadcast_to(allowed.reshape(6, 1, 4), (6, 4, 4))
    expected = attend(flat, flat, flat, allowed, 2).reshape(output.shape)
    np.testing.assert_allclose(output, expected, atol=1e-6)


def test_places_rotate_queries_and_keys_by_their_distance():
    queries, keys = draw(2, 3, 6), draw(2, 4, 6)
    of_queries, of_keys = np.array([[7, 0, 3]]), np.array([[0, 1, 2, 9]])
    layer, allowed = MaskedAttention(), np.ones((2, 3, 4))
    places = {"query_places": of_queries, "key_places": of_keys}
    output = layer(queries, keys, keys, **places)
    expected = attend(rotate(queries, of_queries), rotate(keys, of_keys), keys, allowed)
    np.testing.assert_allclose(output, expected, atol=1e-5)
    moved = layer(queries, keys, keys, query_places=of_queries + 5, key_places=of_keys + 5)
    np.testing.assert_allclose(moved, output, atol=1e-5)


def test_large_scores_stay_finite():
    keys = 1e4 * np.eye(3, 4, dtype="float32")[None]
    output = MaskedAttention()(keys, keys, keys, np.tril(np.ones((3, 3), bool)))
    np.testing.assert_allclose(output, keys)


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("heads", "call", "message"),
    [
        (3, {}, "num_heads=3 does not divide the width 8"),
        (1, {"keys": draw(2, 3, 6)}, "expected keys as wide as the queries"),
        (1, {"values": [draw(2, 3, 8)] * 2}, "as many parts of values"),
        (1, {"allowed": [None, None]}, "`allowed` has 2 parts; expected 1"),
        (8, {"query_places": np.zeros((1, 3), int)}, "heads of width 1 can't be rotated"),
    ],
)
def test_what_does_not_fit_is_an_error(heads, call, message):
    tokens = draw(2, 3, 8)
    with pytest.raises(ValueError, match=message):
        MaskedAttention(heads)(**{"queries": tokens, "keys": tokens, "values": tokens, **call})


def test_no_heads_are_an_error():
    with pytest.raises(ValueError, match="num_heads=0"):
        MaskedAttention(0)


def test_a_graph_learns_lengths_when_it_runs():
    x, there = keras.Input((None, 8)), keras.Input((1, None), dtype="bool")
    model = keras.Model([x, there], MaskedAttention(2)(x, x, x, there))
    tokens, mask = draw(2, 5, 8), RNG.random((2, 1, 5)) < 0.7
    expected = attend(tokens, tokens, tokens, np.broadcast_to(mask, (2, 5, 5)), 2)
    np.testing.assert_allclose(model.predict_on_batch([tokens, mask]), expected, atol=1e-6)
