import json

import pytest

from benchmarks.protocol.ablations import ABLATIONS, ablation_run
from benchmarks.protocol.runs import (
    RunConfig,
    check_folder,
    described,
    fail_unfinished,
    new_folder,
    read_json,
    remove_unfinished,
)
from benchmarks.protocol.train import NaNFound
from tests.benchmarks.protocol.cases import make_plan

RUN = make_plan().trial_runs("SharedBottom", "exposures")[0]


def test_a_folder_takes_its_name_when_it_is_whole(tmp_path):
    with new_folder(tmp_path, RUN) as folder:
        assert folder.name.startswith(f".{RUN.name}.unfinished")
        assert not (tmp_path / RUN.name).exists()
    kept = read_json(tmp_path / RUN.name / "config.json")
    assert kept["config"] == RUN.to_dict() and kept["hash"] == RUN.hash
    assert kept["defaults"]["hidden_dims"] == [256, 128]
    assert {"python", "keras"} <= set(read_json(tmp_path / RUN.name / "versions.json"))
    check_folder(tmp_path, RUN)


def test_runs_of_other_tables_have_names_of_their_own_and_all_others_those_of_before():
    (ablation,) = [a for a in ABLATIONS if a.name == "dims"]
    changed = ablation_run(ablation, RUN)
    assert changed.dims == "auto" and changed.name != RUN.name
    assert RunConfig.from_dict(changed.to_dict()) == changed
    assert "dims" not in RUN.to_dict() and RunConfig.from_dict(RUN.to_dict()) == RUN


def test_an_error_is_kept_with_its_step_beside_the_configuration(tmp_path):
    with pytest.raises(NaNFound), new_folder(tmp_path, RUN):
        raise NaNFound("the loss is nan at step 7", 7)
    (folder,) = tmp_path.iterdir()
    assert folder.name == f"{RUN.name}.failed"
    error = read_json(folder / "error.json")
    assert (error["reason"], error["step"]) == ("the loss is nan at step 7", 7)
    assert "Traceback" in error["traceback"]
    assert read_json(folder / "config.json")["hash"] == RUN.hash


def test_out_of_memory_is_told_from_other_errors():
    assert described(MemoryError("8 GiB"))["reason"] == "out of memory: 8 GiB"
    assert described(ValueError("bad\nmore"))["reason"] == "bad"


@pytest.mark.parametrize("begun", [False, True])
def test_a_killed_run_is_recorded_as_failed(tmp_path, begun):
    if begun:
        (tmp_path / f".{RUN.name}.unfinished-1").mkdir()
    fail_unfinished(tmp_path, RUN, "killed by SIGKILL")
    (folder,) = tmp_path.iterdir()
    assert folder.name == f"{RUN.name}.failed"
    assert read_json(folder / "error.json")["reason"] == "killed by SIGKILL"
    assert read_json(folder / "config.json")["config"] == RUN.to_dict()


def test_what_a_killed_command_left_is_removed(tmp_path):
    (tmp_path / f".{RUN.name}.unfinished-1").mkdir()
    (tmp_path / RUN.name).mkdir()
    remove_unfinished(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [RUN.name]


def change_config(tmp_path, part, **values):
    with new_folder(tmp_path, RUN):
        pass
    path = tmp_path / RUN.name / "config.json"
    kept = json.loads(path.read_text())
    kept[part] |= values
    path.write_text(json.dumps(kept))


def test_a_folder_of_another_configuration_is_an_error(tmp_path):
    change_config(tmp_path, "config", learning_rate=0.5)
    with pytest.raises(ValueError, match="another configuration than its name says.*never mixed"):
        check_folder(tmp_path, RUN)


def test_a_folder_whose_defaults_have_changed_since_is_an_error(tmp_path):
    change_config(tmp_path, "defaults", head_dim=7, gone=1)
    with pytest.raises(ValueError, match=r"have changed since \(head_dim was 7, is 64\)"):
        check_folder(tmp_path, RUN)


def test_a_broken_file_is_an_error_that_names_it(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="config.json: can't be read"):
        read_json(tmp_path / "config.json")
