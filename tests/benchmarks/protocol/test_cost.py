import pytest

import keras_infnet
from benchmarks.protocol.cost import measure_costs
from benchmarks.protocol.runs import RunConfig
from benchmarks.protocol.tables import Tables


def run_of(model, **arguments):
    return RunConfig(model, arguments, 2e-3, 1, "exposures", ("click",), "0123456789ab")


def test_costs_are_measured_beside_ple(tmp_path):
    keras_infnet.datasets.simulate(tmp_path / "log", rows=500, users=20, items=40)
    settings = {
        ("PLE", "default"): run_of("PLE", dim=2, num_levels=1, expert_dims=[4]),
        ("FM", "default"): run_of("FM", dim=4),
    }
    tables = Tables([tmp_path])
    measure_costs(tables, tmp_path / "log", settings, rounds=1)
    table = tables["cost.csv"].set_index("model")
    ple, fm = table.loc["PLE"], table.loc["FM"]
    assert ple["train_time_relative_to_PLE"] == ple["inference_time_relative_to_PLE"] == 1
    assert fm["train_time_relative_to_PLE"] == pytest.approx(
        fm["train_step_ms"] / ple["train_step_ms"], rel=1e-4
    )
    assert fm["train_examples_per_second"] == pytest.approx(256e3 / fm["train_step_ms"])
    assert fm["inference_examples_per_second"] == pytest.approx(2048e3 / fm["inference_step_ms"])
    assert fm["table_parameters"] == 2 * ple["table_parameters"]
    assert (table["parameters"] == table["table_parameters"] + table["dense_parameters"]).all()
