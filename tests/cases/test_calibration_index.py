import pandas as pd
import pytest

from keras_infnet.calibration import fit_calibration
from keras_infnet.metrics import auc, group_auc

pytestmark = pytest.mark.one_backend

LABELS = pd.DataFrame({"c": [0, 0, 1, 0, 1, 1]}, index=[0, 1, 3, 2, 5, 4])
PREDICTED = pd.DataFrame({"c": [0.2, 0.35, 0.3, 0.4, 0.5, 0.33]})


def test_the_same_index_in_another_order_is_refused_as_by_the_metrics():
    words = r"same index in another order.*`predictions.loc\[labels.index\]`"
    with pytest.raises(ValueError, match=f"Task `c`: .*{words}"):
        fit_calibration(LABELS, PREDICTED)
    with pytest.raises(ValueError, match=words):
        auc(LABELS["c"], PREDICTED["c"])
    weights = pd.DataFrame({"c": [1.0] * 6})
    with pytest.raises(ValueError, match="labels and the weights have the same index"):
        fit_calibration(LABELS, PREDICTED.loc[LABELS.index], sample_weight=weights)
    groups = pd.Series([1, 1, 1, 2, 2, 2])
    for keys in (groups, groups.to_frame(), [groups, groups]):
        with pytest.raises(ValueError, match="labels and the groups have the same index"):
            group_auc(LABELS["c"], PREDICTED["c"].to_numpy(), keys)


def test_aligned_rows_give_the_calibration_of_arrays():
    aligned = PREDICTED.loc[LABELS.index]
    of_arrays = fit_calibration({"c": LABELS["c"].to_numpy()}, {"c": aligned["c"].to_numpy()})
    assert fit_calibration(LABELS, aligned).to_dict() == of_arrays.to_dict()
