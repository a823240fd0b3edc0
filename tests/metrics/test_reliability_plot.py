import sys

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from keras_infnet.metrics import plot_reliability


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    p = {"click": rng.beta(2, 6, 2000), "like": rng.beta(1, 40, 2000)}
    return {task: rng.binomial(1, values / 2) for task, values in p.items()}, p


def test_each_task_has_a_panel_whose_points_are_the_bins(rows):
    labels, predicted = rows
    calibrated = {task: p / 2 for task, p in predicted.items()}
    figure = plot_reliability(labels, predicted, calibrated, num_bins=5, binning="width")
    assert [axes.get_title() for axes in figure.axes] == ["click", "like"]
    for axes, task in zip(figure.axes, labels, strict=True):
        curves = {c.get_label(): c.lines[0].get_xydata() for c in axes.containers}
        assert list(curves) == ["predicted", "calibrated"]
        for name, p in (("predicted", predicted[task]), ("calibrated", calibrated[task])):
            rate, mean = calibration_curve(labels[task], p, n_bins=5)
            np.testing.assert_allclose(curves[name], np.stack([mean, rate], axis=1))


def test_it_can_be_drawn_where_a_bin_has_no_positive(rows, tmp_path):
    labels, predicted = rows
    labels = {"like": np.where(predicted["like"] < 0.02, 0, labels["like"])}
    figure = plot_reliability(labels, {"like": predicted["like"]})
    figure.savefig(tmp_path / "reliability.png")
    assert (tmp_path / "reliability.png").stat().st_size > 5000


def test_an_unknown_task_is_an_error(rows):
    with pytest.raises(ValueError, match="Task `share` is not in the labels. Known: click, like"):
        plot_reliability(rows[0], {"share": [0.1]})


def test_without_matplotlib_the_error_names_the_extra(rows, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'pip install "keras-infnet\[plots\]"'):
        plot_reliability(*rows)
