import json

import pytest

from keras_infnet import CategoricalFeature
from tests.fuzz.__main__ import main
from tests.fuzz.test_planted import FAULTS, drawn, failure, ids_through_floats

pytestmark = pytest.mark.one_backend


def test_counts_of_all_outcomes_are_written(tmp_path, capsys):
    assert main(["--seconds", "2", "--seed", "2", "--out", str(tmp_path / "fuzz.json")]) == 0
    found = json.loads((tmp_path / "fuzz.json").read_text())
    assert found["logs"] == sum(found["outcomes"].values()) > 0
    assert found["failures"] == [] and found["refused_share"] <= 1 / 3
    assert set.union(*map(set, found["by_dtype"].values())) <= set(found["outcomes"])
    assert [path.name for path in tmp_path.iterdir()] == ["fuzz.json"]
    assert "all logs" in capsys.readouterr().out


def test_a_failure_is_printed_with_its_seed_and_smallest_frame(monkeypatch, capsys):
    monkeypatch.setattr(CategoricalFeature, "values", ids_through_floats(CategoricalFeature.values))
    may_show = FAULTS[ids_through_floats][2]
    seed = next(case.seed for case in drawn() if may_show(case) and failure(case))
    assert main(["--only", str(seed)]) == 1
    shown = capsys.readouterr().out
    assert f"seed {seed}: difference: " in shown and "what its values mean" in shown
