"""Batches whose histories come without their oldest positions, as in batches of short ones."""

import keras
import numpy as np
import pytest

from keras_infnet import MODELS, FeatureSchema, SequenceFeature
from tests import tiny

BARE = {"event_context": ()}
POSITIONS = {"event_context": ("position",)}


def plain_schema():
    """One history without ages, whose events have one field."""
    videos = SequenceFeature("exposures", ("video_id",), max_length=8, ages=False)
    return FeatureSchema(tiny.FEATURES, tiny.TASKS, [videos])


def short_histories(schema, longest):
    """Packed inputs where no history has more than `longest` events; whole, and cut."""
    whole = tiny.inputs(schema)
    cut = dict(whole)
    for sequence in schema.sequences:
        kept = min(longest, sequence.max_length)
        for name in (sequence.name, f"{sequence.name}_age"):
            if name in whole:
                whole[name] = whole[name].copy()
                whole[name][:, : sequence.max_length - kept] = 0
                cut[name] = whole[name][:, sequence.max_length - kept :]
    return whole, cut


def assert_equal_outputs(model, schema, longest):
    whole, cut = short_histories(schema, longest)
    expected, outputs = tiny.predict(model, whole), model.predict_on_batch(cut)
    for task in schema.task_names:
        np.testing.assert_allclose(outputs[task], expected[task], atol=1e-6)


def make(name, schema, **kwargs):
    keras.utils.set_random_seed(0)
    return tiny.randomise(MODELS[name](schema, dim=8, **kwargs), scale=0.1)


@pytest.mark.parametrize("history", ["exposures", "mixed"])
@pytest.mark.parametrize("name", MODELS)
def test_outputs_are_those_of_whole_histories(name, history):
    schema = tiny.schema(history)
    assert_equal_outputs(make(name, schema), schema, longest=3)


@pytest.mark.parametrize("context", [BARE, POSITIONS], ids=["bare", "positions"])
@pytest.mark.parametrize("name", ["INFNet", "DIN", "HSTU"])
def test_positions_are_counted_from_the_newest_event_without_other_quantities(name, context):
    schema = plain_schema()
    assert_equal_outputs(make(name, schema, **context), schema, longest=5)
