import keras
import numpy as np
import pandas as pd
import pytest

from keras_infnet import BinaryTask, CategoricalFeature, FeatureSchema, INFNet, NumericFeature
from keras_infnet.data import FeatureEncoder
from keras_infnet.explain import explain

FEATURES = [
    CategoricalFeature("user_id", "user"),
    NumericFeature("views", "item", token="counts", buckets=4),
    CategoricalFeature("video_id", "item"),
    NumericFeature("clicks", "item", token="counts", encoding=("value", "ple"), buckets=4),
]


@pytest.mark.one_backend
def test_a_token_that_numbers_share_is_told_as_a_whole_and_number_by_number():
    rng = np.random.default_rng(0)
    log = pd.DataFrame({name: rng.integers(0, 9, 60) for name in ("user_id", "video_id", "views")})
    log = log.assign(clicks=rng.random(60), click=rng.integers(0, 2, 60))
    encoder = FeatureEncoder(FeatureSchema(FEATURES, [BinaryTask("click")])).fit(log)
    keras.utils.set_random_seed(0)
    model = INFNet(encoder.schema, dim=4, head_dim=4)
    explanation = explain(model, encoder, log, repeats=2)
    importance = explanation.importance.loc["click", "auc"]
    names = ["user_id", "video_id", "views", "clicks", "counts"]
    assert importance.index.tolist() == [("field", name) for name in names]
    fields = explanation.fields(0)
    assert fields.index.tolist() == ["user_id", "video_id", "counts"]
    expected = {"views": log.views[0], "clicks": log.clicks[0]}
    assert fields.value["counts"] == expected and fields.value["video_id"] == log.video_id[0]
    assert explanation.agreement["compared"].tolist() == [3] * len(explanation.agreement)
