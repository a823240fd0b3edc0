import numpy as np
import pytest

from keras_infnet.models import LONGER
from tests import tiny
from tests.models.test_any_length import assert_equal_outputs
from tests.reference import one_stream
from tests.reference.textbook import Weights, layer_norm
from tests.states import input_of, output_of

SIZES = {"dim": 8, "head_dim": 5}


def made(schema, **arguments):
    return tiny.randomise(LONGER(schema, **SIZES, **arguments), scale=0.3)


@pytest.mark.parametrize(
    ("history", "arguments"),
    [
        ("exposures", {"events_per_token": 3, "num_queries": 4}),
        ("exposures", {"num_queries": 10, "head": "flatten", "num_layers": 3}),
        ("positives", {"queries": "merged", "num_queries": 3, "num_heads": 4}),
        ("mixed", {"events_per_token": 2, "num_queries": 5, "num_layers": 1}),
    ],
)
def test_outputs_equal_the_formula(history, arguments):
    schema = tiny.schema(history)
    model, x = made(schema, **arguments), tiny.inputs(schema)
    w, config = Weights.of(model), model.config

    def read(events, fields, context, item):
        parts = [
            one_stream.feature_tokens(w / "user_tokens", context.ravel()),
            one_stream.feature_tokens(w / "item_tokens", item),
        ]
        sizes = (config.num_heads, config.num_layers, config.events_per_token, config.num_queries)
        return one_stream.longer(w, events, parts, *sizes, config.queries, config.head)

    expected = one_stream.predict(w, schema, x, read)
    outputs = tiny.predict(model, x)
    for task in schema.task_names:
        np.testing.assert_allclose(outputs[task], expected[task], atol=1e-5)


@pytest.mark.one_backend
def test_no_event_sees_a_global_token():
    model = made(tiny.schema(tasks=tiny.TASKS[:1]), num_queries=3)
    x = tiny.inputs(model.schema)
    others = x | {"categorical": np.roll(x["categorical"], 1, axis=0)}
    for layer in ("layer_0_feed_forward", "layer_1_feed_forward"):
        of_events, of_others = (output_of(model, layer, given) for given in (x, others))
        np.testing.assert_array_equal(of_events, of_others)
        of_globals, of_others = (output_of(model, layer, given, 2) for given in (x, others))
        assert np.abs(of_globals - of_others).max() > 1e-3


@pytest.mark.one_backend
def test_without_merging_events_pass_a_causal_transformer():
    schema = tiny.schema(tasks=tiny.TASKS[:1])
    model = made(schema, events_per_token=1, num_queries=8)
    for name in ("inner_output", "inner_feed_forward"):
        for weight in model.get_layer(name).weights:
            weight.assign(np.zeros(weight.shape))
    model.get_layer("merge").set_weights([np.eye(8)[None], np.zeros(8)])
    x, w = tiny.inputs(schema), Weights.of(model)
    found = output_of(model, "last_norm", x, call=1)
    for b, y in enumerate(one_stream.streams_of(w, schema, x, one_stream.EVENT_CONTEXT)):
        causal = np.tril(np.ones((len(y), len(y)), bool))
        for name in ("layer_0", "layer_1"):
            y = one_stream.block(w, name, y, y, causal, 2)
        expected = layer_norm(y, w / "last_norm", 1e-6)
        np.testing.assert_allclose(found[b, 8 - len(y) :], expected, atol=1e-5)


@pytest.mark.one_backend
def test_places_within_a_group_say_nothing_where_events_know_no_position():
    schema = tiny.schema(tasks=tiny.TASKS[:1])
    model, x = made(schema, event_context=("action", "age")), tiny.inputs(schema)
    order = [0, 1, 2, 3, 6, 4, 7, 5]
    moved = {n: a[:, order] if n.startswith("exposures") else a for n, a in x.items()}
    groups, others = (input_of(model, "merge", given) for given in (x, moved))
    full = -1
    np.testing.assert_allclose(others[full, 1], groups[full, 1][[2, 0, 3, 1]], atol=1e-6)
    np.testing.assert_allclose(others[full, 0], groups[full, 0], atol=1e-6)


@pytest.mark.one_backend
@pytest.mark.parametrize("queries", ["raw", "merged"])
def test_queries_that_are_more_than_a_short_batch_has_are_padded(queries):
    schema = tiny.schema(tasks=tiny.TASKS[:1])
    model = made(schema, num_queries=7, queries=queries, head="flatten")
    assert_equal_outputs(model, schema, longest=3)


@pytest.mark.one_backend
def test_what_is_no_head_and_no_query_is_an_error():
    for name in ("head", "queries"):
        with pytest.raises(ValueError, match=f"LONGER: `{name}` must be .* or .*other"):
            LONGER(tiny.schema(), **{name: "other"})
