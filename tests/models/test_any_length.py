"""Batches whose histories come without their oldest positions, as in batches of short ones."""

import keras
import numpy as np
import pytest

from keras_infnet import FeatureSchema, History
from keras_infnet.models import MODELS
from tests import tiny


def plain_schema():
    """One history without ages, whose events have one field."""
    videos = History("exposures", ("video_id",), max_length=8, quantities=())
    return tiny.sized(FeatureSchema(tiny.FEATURES, tiny.TASKS[:1], [videos]))


def short_histories(schema, longest):
    """Packed inputs where no history has more than `longest` events; whole, and cut."""
    whole = tiny.inputs(schema)
    cut = dict(whole)
    for sequence in schema.histories:
        kept = min(longest, sequence.max_length)
        for name in (sequence.name, *(f"{sequence.name}_{q.key}" for q in sequence.of_row)):
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


SEVERAL = ("INFNet", "DIN", "DIEN", "HSTU", "OneTrans", "LONGER", "HyFormer", "TokenFormer", "STEM")


@pytest.mark.parametrize(
    ("name", "history"),
    [
        *tiny.marked(MODELS, "exposures", on_both=SEVERAL),
        *tiny.marked(SEVERAL, "mixed", on_both=["INFNet"]),
    ],
)
def test_outputs_are_those_of_whole_histories(name, history):
    # Models of fewer tasks have the same histories, and compile faster.
    schema = tiny.schema(history, tasks=tiny.TASKS[:2])
    assert_equal_outputs(make(name, schema), schema, longest=3)


@pytest.mark.parametrize("context", [(), ("position",)])
def test_one_history_without_ages_may_be_short_too(context):
    schema = plain_schema()
    assert_equal_outputs(make("DIN", schema, event_context=context), schema, longest=5)


def test_a_history_longer_than_its_positions_is_an_error():
    schema = plain_schema()
    x = tiny.inputs(schema)
    x["exposures"] = np.concatenate([x["exposures"]] * 2, axis=1)
    with pytest.raises(ValueError, match="a history of 16 positions; expected at most 8"):
        make("DIN", schema)(x)
