import keras
import pandas as pd
import pytest

from keras_infnet.calibration import Calibration
from keras_infnet.data import FeatureEncoder, Histories
from keras_infnet.models import FM
from keras_infnet.serving import export
from tests import tiny
from tests.cases import days
from tests.serving.conftest import difference_of


@pytest.mark.one_backend
def test_a_grown_model_is_served_with_free_ids_and_the_old_calibration(tmp_path):
    keras.utils.set_random_seed(0)
    encoder = FeatureEncoder(days.schema()).fit(days.log(0))
    model = tiny.randomise(FM(encoder.schema, dim=4))
    encoder = encoder.extend(days.log(1), keep_days=0.6, max_ids={"video_id": 15})
    assert encoder.programs["video_id"].free.any()
    grown = model.grow(encoder)
    log = pd.concat([days.log(0), days.log(1), days.log(2)], ignore_index=True)
    rows = Histories(encoder, log).attach(log).sample(60, random_state=0)
    calibration = Calibration({"click": {"method": "platt", "slope": 1.5, "intercept": 0.2}})
    path = export(grown, encoder, tmp_path / "ranker", rows, calibration=calibration)
    assert difference_of(path) < 1e-5
