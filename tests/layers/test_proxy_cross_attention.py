import itertools

import keras
import numpy as np
import pytest

from keras_infnet.layers import ProxyCrossAttention
from tests import tiny
from tests.gradients import gradients
from tests.reference.textbook import Weights, cross_attention

RNG = np.random.default_rng(0)
MEMORY = RNG.normal(size=(4, 6, 5)).astype("float32")
MASK = np.arange(6)[None] >= np.array([6, 0, 3, 5])[:, None]
GATE = RNG.uniform(size=(4, 1, 5)).astype("float32")
QUERIES = [RNG.normal(size=(4, m, 8)).astype("float32") for m in (2, 3)]
BIAS = RNG.normal(size=(4, 5, 6)).astype("float32")


def built(**arguments):
    layer = ProxyCrossAttention(dim=8, query_sets=2, **arguments)
    layer.build([q.shape for q in QUERIES], MEMORY.shape)
    return tiny.randomise(layer)


@pytest.mark.parametrize(("qk_norm", "gate"), [(True, False), (False, False), (True, True)])
@pytest.mark.parametrize("share_kv", [True, False])
@pytest.mark.parametrize("num_heads", [1, 4])
def test_output_equals_projected_keys_and_values(num_heads, share_kv, qk_norm, gate):
    layer = built(num_heads=num_heads, share_kv=share_kv, qk_norm=qk_norm, output_gate=gate)
    arguments = {"memory_mask": MASK, "memory_gate": GATE, "score_bias": BIAS}
    outputs, w = layer(QUERIES, MEMORY, **arguments), Weights.of(layer)
    w.prefix = f"{layer.name}/"
    for i, (query, output) in enumerate(zip(QUERIES, outputs, strict=True)):
        kv, rows = 0 if share_kv else i, slice(0, 2) if i == 0 else slice(2, 5)
        kernels = w[f"query_kernel_{i}"], w[f"key_kernel_{kv}"], w[f"value_kernel_{kv}"]
        w_g = w[f"gate_kernel_{i}"] if gate else None
        expected = cross_attention(
            query, MEMORY * GATE, *kernels, num_heads, MASK, BIAS[:, rows], qk_norm, w_g
        )
        np.testing.assert_allclose(output, expected, atol=1e-5)
        np.testing.assert_array_equal(output[0], 0)


def test_without_a_gate_kernel_half_of_the_output_stays():
    plain, gated = built(), built(output_gate=True)
    gated.set_weights([*plain.get_weights(), *(np.zeros((8, 8)) for _ in QUERIES)])
    for half, whole in zip(gated(QUERIES, MEMORY), plain(QUERIES, MEMORY), strict=True):
        np.testing.assert_allclose(half, np.array(whole) / 2, rtol=1e-6)


def test_one_query_tensor_gives_one_output():
    layer = tiny.randomise_after(ProxyCrossAttention(dim=8), QUERIES[0], MEMORY)
    output, w = layer(QUERIES[0], MEMORY), [np.array(x) for x in layer.get_weights()]
    np.testing.assert_allclose(output, cross_attention(QUERIES[0], MEMORY, *w), atol=1e-5)


def test_a_memory_of_one_token_is_read_without_a_warning():
    layer = tiny.randomise_after(ProxyCrossAttention(dim=8), QUERIES[0], MEMORY)
    expected = np.repeat(MEMORY[:, :1] @ np.array(layer.value_kernels[0]), 2, axis=1)
    np.testing.assert_allclose(layer(QUERIES[0], MEMORY[:, :1]), expected, atol=1e-5)


@pytest.mark.parametrize("activation", ["softmax", "silu"])
@pytest.mark.parametrize("qk_norm", [True, False])
def test_attention_weights_pool_to_the_output(qk_norm, activation):
    layer = built(share_kv=True, qk_norm=qk_norm, activation=activation)
    weights = np.array(layer.attention_weights(QUERIES, MEMORY, memory_mask=MASK))
    pooled = weights @ MEMORY @ np.array(layer.value_kernels[0])
    np.testing.assert_allclose(
        layer(QUERIES, MEMORY, memory_mask=MASK)[1], pooled[:, 2:], atol=1e-5
    )
    np.testing.assert_array_equal(weights.swapaxes(1, 2)[~MASK], 0)
    if activation == "softmax":
        np.testing.assert_allclose(weights.sum(-1)[1:], 1, atol=1e-6)


def test_silu_in_place_of_the_softmax():
    layer = built(share_kv=True, num_heads=2, activation="silu")
    w_q, w_k, w_v = (np.array(x) for x in (layer.query_kernels[1], *layer.get_weights()[2:4]))
    expected = np.zeros((4, 3, 8))
    for row, query, head in itertools.product(range(4), range(3), range(2)):
        columns = slice(4 * head, 4 * head + 4)
        for k in np.flatnonzero(MASK[row]):
            token = MEMORY[row, k] * GATE[row, 0]
            score = (QUERIES[1][row, query] @ w_q[:, columns]) @ (token @ w_k[:, columns])
            score = score / 2 + BIAS[row, 2 + query, k]
            weight = score / (1 + np.exp(-score)) / MASK[row].sum()
            expected[row, query, columns] += weight * (token @ w_v[:, columns])
    given = {"memory_mask": MASK, "memory_gate": GATE, "score_bias": BIAS}
    np.testing.assert_allclose(layer(QUERIES, MEMORY, **given)[1], expected, atol=1e-5)


def test_one_memory_stands_for_all_with_silu():
    layer = built(qk_norm=True, activation="silu")
    rows = {"memory_mask": MASK[2:3], "score_bias": BIAS[2:3]}
    repeated = {name: np.repeat(x, 4, axis=0) for name, x in rows.items()}
    expected = layer(QUERIES, np.repeat(MEMORY[2:3], 4, axis=0), **repeated)
    for output, of_rows in zip(layer(QUERIES, MEMORY[2:3], **rows), expected, strict=True):
        np.testing.assert_allclose(output, of_rows, atol=1e-6)


def test_another_activation_is_an_error():
    with pytest.raises(ValueError, match="`activation` must be one of .'silu', 'softmax'.* 'relu'"):
        ProxyCrossAttention(dim=8, activation="relu")


def test_keras_fills_the_mask_of_the_memory():
    memory = keras.layers.Masking()(np.where(MASK[:, :, None], MEMORY, 0))
    layer = tiny.randomise_after(ProxyCrossAttention(dim=8), QUERIES[0], MEMORY)
    expected = layer(QUERIES[0], MEMORY, memory_mask=MASK)
    np.testing.assert_allclose(layer(QUERIES[0], memory), expected, atol=1e-6)


@pytest.mark.parametrize("shared", ["memory", "memory and queries", "queries", "all but the gate"])
@pytest.mark.parametrize("row", [0, 1], ids=["full", "empty"])
@pytest.mark.parametrize("qk_norm", [True, False])
def test_one_row_stands_for_all(shared, row, qk_norm):
    layer = built(num_heads=2, qk_norm=qk_norm)
    one = slice(row, row + 1)
    memory = MEMORY if shared == "queries" else MEMORY[one]
    mask = MASK if shared == "queries" else MASK[one]
    first = QUERIES[0] if shared == "memory" else QUERIES[0][one]
    second = QUERIES[1][one] if shared == "all but the gate" else QUERIES[1]
    gate = GATE if shared == "all but the gate" else GATE[one]
    arguments = {"memory_mask": mask, "memory_gate": gate, "score_bias": BIAS[one]}
    outputs, w = layer([first, second], memory, **arguments), Weights.of(layer)
    w.prefix = f"{layer.name}/"
    for i, (query, rows) in enumerate([(first, slice(0, 2)), (second, slice(2, 5))]):
        kernels = [w[f"{kind}_kernel_{i}"] for kind in ("query", "key", "value")]
        query, gated, bias = (
            np.repeat(x, 4 // len(x), axis=0) for x in (query, memory * gate, BIAS[one, rows])
        )
        repeated = np.repeat(mask, 4 // len(mask), axis=0)
        expected = cross_attention(query, gated, *kernels, 2, repeated, bias, qk_norm)
        output = np.broadcast_to(outputs[i], expected.shape)
        np.testing.assert_allclose(output, expected, atol=1e-5)
    once = shared == "memory and queries"
    assert [x.shape[0] for x in outputs] == [1 if once else 4, 4]


def test_a_shared_memory_of_one_token_is_read_without_a_warning():
    layer = tiny.randomise_after(ProxyCrossAttention(dim=8), QUERIES[0], MEMORY)
    expected = np.tile(MEMORY[:1, :1] @ np.array(layer.value_kernels[0]), (4, 2, 1))
    np.testing.assert_allclose(layer(QUERIES[0], MEMORY[:1, :1]), expected, atol=1e-5)


def test_weights_depend_on_directions_alone_where_they_are_normalised():
    layer = built(share_kv=True, qk_norm=True)
    before = layer.attention_weights(QUERIES, MEMORY, memory_mask=MASK)
    scaled = layer.attention_weights([3 * q for q in QUERIES], 0.5 * MEMORY, memory_mask=MASK)
    np.testing.assert_allclose(scaled, before, atol=1e-4)


@pytest.mark.parametrize("qk_norm", [True, False])
def test_gradients_of_padding_are_zero_and_finite(qk_norm):
    inputs = [keras.Input(q.shape[1:]) for q in (QUERIES[0], MEMORY, MASK)]
    memory = keras.layers.EinsumDense("blc,cd->bld", (None, 5), name="memory")(inputs[1])
    mask = keras.ops.cast(inputs[2], "bool")
    output = ProxyCrossAttention(dim=8, qk_norm=qk_norm)(inputs[0], memory, memory_mask=mask)
    model = keras.Model(inputs, output)
    all_padding = [QUERIES[0], MEMORY, np.zeros_like(MASK, "float32")]
    for gradient in gradients(model, all_padding, keras.ops.sum).values():
        np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize("qk_norm", [True, False])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_large_scores_are_safe_in_half_precision(dtype, qk_norm):
    layer = ProxyCrossAttention(dim=8, dtype=dtype, qk_norm=qk_norm)
    tiny.randomise_after(layer, QUERIES[0], MEMORY)
    output = layer(20 * QUERIES[0], 20 * MEMORY, memory_mask=MASK)
    output = np.asarray(keras.ops.cast(output, "float32"))
    assert np.isfinite(output).all() and not output[0].any() and output[1:].any()


def test_heads_that_do_not_divide_the_width_are_an_error():
    with pytest.raises(ValueError, match="divisor of `dim`.*dim=8, num_heads=3"):
        ProxyCrossAttention(dim=8, num_heads=3)


def test_another_number_of_query_sets_is_an_error():
    with pytest.raises(ValueError, match="`queries` holds 3 sets; expected query_sets=2"):
        ProxyCrossAttention(dim=8, query_sets=2)([QUERIES[0]] * 3, MEMORY)
