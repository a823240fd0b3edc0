import itertools

import numpy as np
import pytest

from keras_infnet import FeatureSchema
from keras_infnet.models import OneTrans
from tests import tiny
from tests.reference import one_stream
from tests.reference.one_stream import attend, feature_tokens, rms
from tests.reference.textbook import Weights, dense, relu
from tests.states import output_of

SIZES = {"dim": 8, "head_dim": 5}
FEED_FORWARD, PARTS = ("event_hidden_0", "event_feed_forward_0"), ("kernel", "bias")


def made(schema, **arguments):
    return tiny.randomise(OneTrans(schema, **SIZES, **arguments), scale=0.3)


@pytest.mark.parametrize(
    ("history", "arguments", "kept"),
    [
        ("exposures", {}, [6, 0]),
        ("exposures", {"num_layers": 3, "pyramid": False}, [8, 8, 0]),
        ("positives", {"num_layers": 3, "num_heads": 4, "num_tokens": 2}, [12, 7, 0]),
        ("mixed", {"num_tokens": 3, "num_user_tokens": 2}, [6, 0]),
        ("mixed", {"num_layers": 1}, [0]),
    ],
)
def test_outputs_equal_the_formula(history, arguments, kept):
    schema = tiny.schema(history)
    model, x = made(schema, **arguments), tiny.inputs(schema)
    w = Weights.of(model)

    def read(events, fields, context, item):
        flat = {"field_tokens": fields.ravel()}
        if "num_user_tokens" in arguments:
            flat = {"user_tokens": context.ravel(), "item_tokens": item}
        parts = [feature_tokens(w / name, x) for name, x in flat.items()]
        return one_stream.one_trans(w, events, parts, arguments.get("num_heads", 2), kept)

    expected = one_stream.predict(w, schema, x, read)
    outputs = tiny.predict(model, x)
    for task in schema.task_names:
        np.testing.assert_allclose(outputs[task], expected[task], atol=1e-5)


@pytest.fixture(scope="module")
def model():
    return made(tiny.schema(tasks=tiny.TASKS[:1]), pyramid=False)


def changed(inputs, name, where, by=1):
    """The inputs with other ids somewhere."""
    other = {key: x.copy() for key, x in inputs.items()}
    other[name][where] += by
    return other


def events_of(model, x):
    return output_of(model, "event_feed_forward_0", x)


@pytest.mark.one_backend
def test_events_see_no_field_and_no_event_after_them(model):
    x = tiny.inputs(model.schema)
    states = events_of(model, x)
    np.testing.assert_array_equal(events_of(model, changed(x, "categorical", ..., -1)), states)
    other = events_of(model, changed(x, "exposures", (-1, 4, 0), -1))
    np.testing.assert_allclose(other[-1, :4], states[-1, :4], atol=1e-6)
    assert (np.abs(other[-1, 4:] - states[-1, 4:]).max(-1) > 1e-4).all()


@pytest.mark.one_backend
def test_the_first_field_token_sees_no_other(model):
    x = tiny.inputs(model.schema)
    tokens, shift = output_of(model, "last_norm", x), model.get_layer("field_tokens").shift
    before = np.array(shift)
    shift.assign(before + np.array([[0], [1], [1], [1]]))
    others = output_of(model, "last_norm", x)
    shift.assign(before)
    np.testing.assert_allclose(others[:, 0], tokens[:, 0], atol=1e-6)
    assert (np.abs(others[:, 1:] - tokens[:, 1:]).max((0, 2)) > 1e-3).all()


@pytest.mark.one_backend
def test_with_equal_weights_for_all_it_is_a_plain_causal_transformer(model):
    x, w = tiny.inputs(model.schema), Weights.of(model)
    for kind, i in itertools.product(("key", "value", "query"), (0, 1)):
        own = w[f"field_0_{kind}_{i}/kernel"]
        kernel = w.variables.get(f"event_{kind}_{i}/kernel", own[0])
        model.get_layer(f"field_0_{kind}_{i}").kernel.assign(np.broadcast_to(kernel, own.shape))
    for i in (0, 1):
        layer = model.get_layer(f"field_0_feed_forward_{i}")
        weights = (layer.in_kernel, layer.biases[0], layer.out_kernel, layer.biases[1])
        for weight, name in zip(weights, itertools.product(FEED_FORWARD, PARTS), strict=True):
            weight.assign(np.broadcast_to(w["/".join(name)], weight.shape))
    w = Weights.of(model)
    tokens = output_of(model, "field_tokens", x)
    events = one_stream.streams_of(w, model.schema, x, one_stream.EVENT_CONTEXT)
    found = output_of(model, "last_norm", x)
    for b, (y, fields) in enumerate(zip(events, tokens, strict=True)):
        y = np.concatenate([y, fields])
        for i in (0, 1):
            normed = rms(y, w / f"attention_norm_{i}")
            kernels = (w[f"field_0_{kind}_{i}/kernel"][0] for kind in ("query", "key", "value"))
            q, k, v = (normed @ kernel for kernel in kernels)
            y = y + attend(q, k, v, np.tril(np.ones((len(y),) * 2)), 2) @ w[f"output_{i}/kernel"]
            normed = rms(y, w / f"feed_forward_norm_{i}")
            y = y + dense(relu(dense(normed, w / "event_hidden_0")), w / "event_feed_forward_0")
        np.testing.assert_allclose(found[b], rms(y[-4:], w / "last_norm"), atol=1e-5)


@pytest.mark.one_backend
def test_no_two_kernels_of_a_token_start_alike_and_each_as_wide_as_one_matrix():
    model = OneTrans(tiny.schema(), dim=24)
    names = [f"field_0_{kind}_0" for kind in ("query", "key", "value")]
    kernels = np.concatenate([model.get_layer(name).kernel for name in names])
    assert np.unique(kernels).size > 0.99 * kernels.size
    np.testing.assert_allclose(kernels.std((1, 2)), (2 / (24 + 24)) ** 0.5, rtol=0.15)


@pytest.mark.one_backend
def test_tokens_of_the_user_that_can_not_be_are_errors():
    with pytest.raises(ValueError, match="num_user_tokens=4 of num_tokens=4 leave none"):
        OneTrans(tiny.schema(), num_user_tokens=4)
    items = [f for f in tiny.FEATURES if f.owner == "item"]
    schema = tiny.sized(FeatureSchema(items, tiny.TASKS, [tiny.EXPOSURES]))
    OneTrans(schema, **SIZES)
    with pytest.raises(
        ValueError, match="num_user_tokens=1, and the schema has no feature of user"
    ):
        OneTrans(schema, **SIZES, num_user_tokens=1)


def test_heads_that_do_not_divide_the_width_are_an_error():
    with pytest.raises(ValueError, match="num_heads=3 does not divide the width 8"):
        OneTrans(tiny.schema(), dim=8, num_heads=3)
