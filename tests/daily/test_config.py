import dataclasses
import json

import pytest

from keras_infnet import RegressionTask
from keras_infnet.daily import DailyConfig
from tests.daily.small_job import schema

pytestmark = pytest.mark.one_backend


def with_seconds():
    given = schema()
    return dataclasses.replace(given, tasks=(*given.tasks, RegressionTask("seconds")))


def config(**changes):
    return DailyConfig(**{"folder": "f", "schema": schema(), "log": "{day}.csv", **changes})


def test_a_file_says_all_and_its_paths_are_of_its_folder(tmp_path):
    (tmp_path / "schema.json").write_text(schema().to_json())
    plain = {
        "folder": "ranker",
        "schema": "schema.json",
        "log": "logs/{day}.parquet",
        "model": {"name": "DCNv2", "arguments": {"dim": 4}},
        "gate": {"floors": {"click": 0.6}},
        "checks": {"refuse": {"drift": 1.0}},
    }
    (tmp_path / "daily.json").write_text(json.dumps(plain))
    found = DailyConfig.load(tmp_path / "daily.json")
    assert found.folder == tmp_path / "ranker"
    assert found.log == f"{tmp_path}/logs/{{day}}.parquet"
    assert found.schema == schema()
    assert found.model_class().__name__ == "DCNv2"
    assert found.checks.refuse == {"duplicates": 0.5, "drift": 1.0}
    assert found.gate.policy(found.schema).metric == "auc"
    assert found.digest() == DailyConfig.load(tmp_path / "daily.json").digest()


def test_schema_and_model_may_be_attributes_of_a_module():
    found = config(schema="tests.daily.small_job:schema", model={"name": "keras_infnet.models:FM"})
    assert found.schema == schema()
    assert found.model_class().__name__ == "FM"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"training": {"lerning_rate": 1}},
            r"`training.lerning_rate`. Did you mean `learning_rate`",
        ),
        ({"training": {"holdout": 1.5}}, r"`holdout` must be in \[0, 1\)"),
        ({"training": {"epochs": 0}}, "`epochs` must be 1 or more"),
        ({"checks": {"warn": {"drifts": 1}}}, "`checks.warn.drifts`. Did you mean `drift`"),
        ({"checks": {"refuse": {"drift": "x"}}}, "checks.refuse.drift is 'x'; expected a number"),
        ({"gate": {"floors": {"clik": 0.5}}}, "no task `clik`.*Did you mean `click`"),
        ({"gate": {"floors": {"click": "x"}}}, "floors must be finite numbers"),
        ({"gate": {"metric": "logloss"}}, "gate.metric is 'logloss'; expected one of auc, gauc, l"),
        (
            {"gate": {"metric": "mse", "floors": {"click": 1}}, "schema": with_seconds()},
            "no task `c",
        ),
        ({"checks": {"warn": [1]}}, r"checks.warn is \[1\]; expected a dict"),
        ({"model": {"arguments": [1]}}, r"model.arguments is \[1\]; expected a dict"),
        ({"export": {"score": {"clik": 1}}}, "`score` has `clik`; expected tasks"),
        ({"export": {"table_dtype": "int4"}}, "table_dtype='int4'; expected one of"),
        ({"export": {"state_dtype": "int8"}}, "state_dtype='int8'; expected float32 or float16"),
        ({"model": {"name": "INFnet"}}, "no model of this library.*Did you mean `INFNet`"),
        ({"model": {"name": "nowhere:Model"}}, "can't be imported: No module named 'nowhere'"),
        ({"log": "log.parquet"}, r"expected a path with \{day\}"),
        ({"name": "a b"}, "name is 'a b'; expected letters"),
        ({"keep_versions": 1}, "keep_versions is 1; expected 2 or more"),
        ({"gate": 3}, "gate is 3; expected a dict"),
        ({"schema": "nowhere:schema"}, "schema is 'nowhere:schema', which can't be imported"),
        ({"calibration": {"method": "plat"}}, '`method` must be "platt" or'),
    ],
)
def test_what_is_wrong_is_said(changes, text):
    with pytest.raises(ValueError, match=text):
        config(**changes)


def test_what_is_null_has_its_default():
    found = config(checks={"warn": None}, gate={"weights": None}, export={"user_state": True})
    assert found.checks.warn["drift"] == 0.25 and found.gate.weights is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "daily.json can't be read as JSON"),
        ("[]", "expected an object"),
        ('{"folder": "f", "log": "{day}"}', "has no key `schema`, which is needed"),
        ('{"folderr": "f"}', "unknown key `folderr`. Did you mean `folder`"),
    ],
)
def test_a_file_that_is_no_configuration_is_said(tmp_path, text, said):
    (tmp_path / "daily.json").write_text(text)
    with pytest.raises(ValueError, match=said):
        DailyConfig.load(tmp_path / "daily.json")
