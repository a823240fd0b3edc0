"""Features whose values are all missing, or all rare: they train, and are served as unknown."""

import numpy as np

from keras_infnet import BinaryTask, CategoricalFeature, FeatureSchema
from keras_infnet.data import FeatureEncoder
from keras_infnet.models import FM
from keras_infnet.serving import export
from tests.cases.test_float_ids import make_log


def test_a_feature_without_any_known_value_is_exported(tmp_path):
    log = make_log()
    log = log.assign(channel=None, campaign=log.index, rare=log.index, tag=None, none=None)
    schema = FeatureSchema(
        [
            CategoricalFeature("video_id", "item"),
            CategoricalFeature("channel", "context"),
            CategoricalFeature("campaign", "context", dtype="int", min_frequency=50),
            CategoricalFeature("rare", "item", min_frequency=50, oov_buckets=3),
            CategoricalFeature("tag", "item", max_values=2),
            CategoricalFeature("none", "item", oov_buckets=0),
        ],
        [BinaryTask("click")],
    )
    encoder = FeatureEncoder(schema).fit(log)
    rows = log[:20].assign(channel=["x", None] * 10, tag=[["a", "b"], []] * 10)
    model = FM(encoder.schema, dim=4)
    for weight in model.weights:
        weight.assign(np.random.default_rng(0).normal(size=weight.shape))
    # Its answers are compared with the model's.
    assert export(model, encoder, tmp_path / "ranker", verify=rows).is_dir()
