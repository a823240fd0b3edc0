import numpy as np
import pytest

from keras_infnet.models import HSTU
from tests import tiny
from tests.reference import sequences
from tests.reference.textbook import Weights

SIZES = {"dim": 8, "hidden_dims": (10, 6), "head_dim": 5}


@pytest.mark.parametrize(
    ("history", "context", "depth"),
    [
        ("exposures", ("action", "ratio", "age", "position"), {}),
        ("exposures", ("action",), {"num_layers": 2}),
        ("positives", ("age",), {"num_layers": 2, "num_heads": 2}),
        ("mixed", ("age", "position"), {"num_heads": 2}),
    ],
)
def test_outputs_equal_the_formula(history, context, depth):
    schema = tiny.schema(history)
    model = HSTU(schema, event_context=context, **depth, **SIZES)
    tiny.randomise(model, scale=0.3)
    x, w = tiny.inputs(schema), Weights.of(model)

    def read(events, cand, ages):
        return sequences.encoded_candidate(w, events, cand, ages, **depth)

    expected = sequences.predict(w, schema, x, read, context)
    outputs = tiny.predict(model, x)
    for task in schema.task_names:
        np.testing.assert_allclose(outputs[task], expected[task], atol=1e-5)


def test_longer_padding_changes_nothing():
    schema, arguments = tiny.schema(), {**SIZES, "num_layers": 2}
    model, wide = HSTU(schema, **arguments), HSTU(tiny.longer(schema, 5), **arguments)
    tiny.randomise(model, scale=0.4), tiny.randomise(wide, seed=9)
    for old, new in zip(model.weights, wide.weights, strict=True):
        # Positions and distances count from the newest: the first rows are those that both have.
        new.assign(np.concatenate([np.array(old), np.array(new)[old.shape[0] :]]))
    x = tiny.inputs(schema)
    padding = {"exposures": ((0, 0), (5, 0), (0, 0)), "exposures_age": ((0, 0), (5, 0))}
    padded = {name: np.pad(a, padding[name]) if name in padding else a for name, a in x.items()}
    expected, outputs = tiny.predict(model, x), tiny.predict(wide, padded)
    for task in schema.task_names:
        np.testing.assert_allclose(outputs[task], expected[task], atol=1e-6)


def test_a_schema_without_history_is_an_error():
    with pytest.raises(ValueError, match="HSTU: the schema has no history.*History"):
        HSTU(tiny.schema("none"))


def test_heads_that_do_not_divide_the_width_are_an_error():
    with pytest.raises(ValueError, match="num_heads=3 does not divide the token width 8"):
        HSTU(tiny.schema(), dim=8, num_heads=3)
