"""What stands in padded positions of a history changes no output of a model."""

import keras
import numpy as np
import pytest

from keras_infnet.models import MODELS
from tests import tiny

pytestmark = pytest.mark.one_backend


@pytest.mark.parametrize("name", ["RankMixer", "HyFormer", "UniMixer"])
@pytest.mark.parametrize("history", ["exposures", "positives"])
def test_what_stands_in_padding_changes_nothing(name, history):
    schema = tiny.schema(history, tasks=tiny.TASKS[:1])
    keras.utils.set_random_seed(0)
    model = tiny.randomise(MODELS[name](schema, dim=8), scale=0.3)
    x = tiny.inputs(schema)
    garbage = {n: a.copy() for n, a in x.items()}
    for s in schema.histories:
        padding = x[s.name][:, :, 0] == 0
        assert padding.any()
        for packed in (s.name, *(f"{s.name}_{q.key}" for q in s.of_row)):
            garbage[packed][padding] = 1
        # A history's first number alone says that there is no event.
        garbage[s.name][:, :, 0] = x[s.name][:, :, 0]
    expected, outputs = tiny.predict(model, x), tiny.predict(model, garbage)
    np.testing.assert_allclose(outputs["click"], expected["click"], atol=1e-6)
