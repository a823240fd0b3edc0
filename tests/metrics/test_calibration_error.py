import numpy as np
import pandas as pd
import pytest

from keras_infnet.metrics import ExpectedCalibrationError, expected_calibration_error


def ece_loop(labels, p, weights, bins):
    """ECE of given bins, one bin after the other."""
    frame = pd.DataFrame({"y": labels, "p": p, "w": weights, "bin": bins})
    total = 0.0
    for _, rows in frame.groupby("bin"):
        gap = np.average(rows["p"], weights=rows["w"]) - np.average(rows["y"], weights=rows["w"])
        total += rows["w"].sum() * abs(gap)
    return total / frame["w"].sum()


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    p = rng.beta(1, 9, 600)
    return rng.binomial(1, p / 2), p, rng.uniform(0.1, 2, 600)


def test_equal_width_is_the_weighted_gap_of_each_bin(rows):
    labels, p, weights = rows
    expected = ece_loop(labels, p, weights, np.floor(p * 15))
    assert expected_calibration_error(labels, p, weights, num_bins=15) == pytest.approx(expected)


def test_equal_mass_cuts_at_quantiles(rows):
    labels, p, _ = rows
    expected = ece_loop(labels, p, np.ones(600), pd.qcut(p, 10, labels=False))
    found = expected_calibration_error(labels, p, binning="mass")
    assert found == pytest.approx(expected)


def test_predictions_that_are_rates_have_no_error():
    assert expected_calibration_error([0, 1, 0, 0], [0.5, 0.5, 0.0, 0.0]) == 0


def test_no_observed_row_is_nan():
    assert np.isnan(expected_calibration_error([], []))
    assert np.isnan(float(ExpectedCalibrationError().result()))


def stream(metric, labels, p, weights, parts=4):
    for part in np.array_split(np.arange(len(labels)), parts):
        metric.update_state(labels[part][:, None], p[part][:, None], weights[part][:, None])
    return float(metric.result())


def test_the_metric_of_equal_width_is_exact(rows):
    labels, p, weights = rows
    found = stream(ExpectedCalibrationError(num_bins=15), *(v.astype("float32") for v in rows))
    expected = ece_loop(labels, p, weights, np.floor(p * 15))
    assert found == pytest.approx(expected, abs=1e-5)


def test_the_metric_of_equal_mass_approaches_the_exact_value(rows):
    labels, p, _ = rows
    metric = ExpectedCalibrationError(binning="mass", num_cells=20000)
    found = stream(metric, labels, p.astype("float32"), np.ones(600, "float32"))
    expected = ece_loop(labels, p, np.ones(600), pd.qcut(p, 10, labels=False))
    assert found == pytest.approx(expected, abs=1e-3)


def test_the_metric_leaves_out_weight_zero_and_resets():
    metric = ExpectedCalibrationError()
    metric.update_state([1.0, np.nan], [0.25, 0.9], [1, 0])
    assert float(metric.result()) == pytest.approx(0.75)
    metric.reset_state()
    assert np.isnan(float(metric.result()))


def test_its_config_makes_it_again():
    metric = ExpectedCalibrationError(5, "mass", 50, name="calibration")
    again = ExpectedCalibrationError.from_config(metric.get_config())
    assert (again.num_bins, again.binning, again.num_cells, again.name) == (
        5,
        "mass",
        50,
        "calibration",
    )


def test_fewer_cells_than_bins_is_an_error():
    with pytest.raises(ValueError, match="`num_cells` must be `num_bins` or more.*num_cells=3"):
        ExpectedCalibrationError(num_cells=3)
