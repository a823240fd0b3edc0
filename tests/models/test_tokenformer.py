import numpy as np
import pytest

from keras_infnet.models import TokenFormer
from tests import tiny
from tests.reference import one_stream
from tests.reference.textbook import Weights
from tests.states import input_of, output_of

SIZES = {"dim": 8, "head_dim": 5}
WITHOUT_POSITION = ("action", "ratio", "age")


def made(schema, **arguments):
    return tiny.randomise(TokenFormer(schema, **SIZES, **arguments), scale=0.3)


@pytest.mark.parametrize(
    ("history", "arguments"),
    [
        ("exposures", {"windows": (4,)}),
        ("exposures", {"num_full_layers": 2, "windows": (), "rope": False, "num_heads": 4}),
        ("mixed", {"num_full_layers": 1, "windows": (5, 3)}),
        # Without a bound that counts it is plain causal attention.
        ("positives", {"num_full_layers": 0, "windows": (40, 40)}),
    ],
)
def test_outputs_equal_the_formula(history, arguments):
    schema = tiny.schema(history)
    model, x = made(schema, **arguments), tiny.inputs(schema)
    w, config = Weights.of(model), model.config
    sizes = (config.num_heads, config.num_full_layers, config.windows)
    length = sum(h.max_length for h in schema.histories)

    def read(events, fields, context, item):
        rope = config.rope
        return one_stream.token_former(w, events, context, item, *sizes, length, rope)

    context = WITHOUT_POSITION if config.rope else one_stream.EVENT_CONTEXT
    expected = one_stream.predict(w, schema, x, read, context)
    outputs = tiny.predict(model, x)
    for task in schema.task_names:
        np.testing.assert_allclose(outputs[task], expected[task], atol=1e-5)


@pytest.mark.one_backend
def test_what_stands_before_the_candidate_does_not_see_it():
    model = made(tiny.schema(tasks=tiny.TASKS[:1]), num_full_layers=2)
    x, schema = tiny.inputs(model.schema), model.schema
    items, others = schema.packed_columns("categorical"), x["categorical"].copy()
    for name in ("video_id", "author_id"):
        others[:, items[name]] = np.roll(others[:, items[name]], 1, axis=0)
    others = x | {"categorical": others}
    for layer in ("feed_forward_0", "feed_forward_1"):
        candidate, prefix = (
            [output_of(model, layer, given, call) for given in (x, others)] for call in (0, 1)
        )
        np.testing.assert_array_equal(*prefix)
        assert np.abs(candidate[0] - candidate[1]).max() > 1e-3


@pytest.mark.one_backend
def test_windows_alone_reach_as_far_as_their_sum_and_no_field():
    model = made(tiny.schema(tasks=tiny.TASKS[:1]), num_full_layers=0, windows=(3, 2))
    x, columns = tiny.inputs(model.schema), model.schema.packed_columns("categorical")
    expected = tiny.predict(model, x)["click"]

    def other(name, where):
        given = {key: a.copy() for key, a in x.items()}
        given[name][where] = given[name][where] % 3 + 1
        return np.abs(tiny.predict(model, given)["click"] - expected)

    for field in ("user_id", "tab", "last_video_id"):
        assert other("categorical", (slice(None), columns[field])).max() == 0
    # Three places before the candidate: the separator and two events.
    assert other("exposures", (-1, slice(0, 6), 0)).max() == 0
    assert other("exposures", (-1, 6, 0))[-1] > 1e-5


@pytest.mark.one_backend
def test_a_gate_without_weights_lets_half_through():
    model = made(tiny.schema(tasks=tiny.TASKS[:1]), num_full_layers=1, windows=())
    for name in ("gate_0", "feed_forward_0"):
        model.get_layer(name).set_weights([np.zeros(model.get_layer(name).kernel.shape)])
    x = tiny.inputs(model.schema)
    before, after = output_of(model, "candidate_token", x), input_of(model, "last_norm", x)
    np.testing.assert_allclose(after - before, output_of(model, "output_0", x) / 2, atol=1e-6)


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_full_layers": 0, "windows": ()}, "TokenFormer: there is no layer"),
        ({"windows": (8, 1)}, "`windows` must be 2 or more"),
        ({"dim": 6, "num_heads": 2}, "heads of width 3 can't be rotated"),
    ],
)
def test_what_can_not_be_is_an_error(arguments, message):
    with pytest.raises(ValueError, match=message):
        TokenFormer(tiny.schema(), **arguments)
