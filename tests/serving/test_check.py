import json
import re
import shutil

import keras
import numpy as np
import pandas as pd
import pytest

from keras_infnet.calibration import Calibration
from keras_infnet.models import SharedBottom
from keras_infnet.serving import export
from keras_infnet.serving.__main__ import main
from keras_infnet.serving.check import CheckReport
from keras_infnet.serving.requests import read_signatures
from keras_infnet.serving.signatures import ExportOptions
from tests.serving.conftest import change_card, tiny

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the same graph, whatever trained it"
)


@pytest.fixture(scope="module")
def parquet(attached, tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "rows.parquet"
    attached.iloc[:30].to_parquet(path)
    return path


def test_rows_of_a_frame_agree_with_python_and_keras(ranker, parquet, tmp_path, capsys):
    ranker.model.save(tmp_path / "model.keras")
    ranker.encoder.save(tmp_path / "encoder")
    keras_model = ["--model", str(tmp_path / "model.keras"), "--encoder", str(tmp_path / "encoder")]
    code = main(["check", str(ranker.path), "--rows", str(parquet), "--repeat", "3", *keras_model])
    printed = capsys.readouterr().out
    assert code == 0, printed
    lines = [line.split() for line in printed.splitlines()]
    compared = {(words[0], words[1], " ".join(words[2:-2])) for words in lines if words[-2] == "30"}
    signatures = read_signatures(ranker.path)
    expected = {(s, o, "Python's runtime") for s in signatures for o in signatures[s]["outputs"]}
    expected |= {("serving_default", task, "Keras") for task in ("click", "like")}
    pairs = {"rank", "examples"} & set(signatures)
    expected |= {(s, task, "serving_default") for s in pairs for task in ("click", "like")}
    expected |= {("score", task, "rank") for task in ("click", "like")}
    assert compared == expected
    assert "serving_default: p50 " in printed
    assert "Answers agree (tolerance 1e-05 of max(1, |answer|))." in printed


@pytest.fixture(scope="module")
def small(fitted, tmp_path_factory):
    """An export with int8 tables and a calibration, and the arguments that name its model."""
    folder = tmp_path_factory.mktemp("small")
    calibration = Calibration({"click": {"method": "platt", "slope": 0.5, "intercept": -1}})
    model = tiny(fitted, SharedBottom)
    path = export(model, fitted, folder, calibration=calibration, table_dtype="int8")
    model.save(folder / "model.keras")
    fitted.save(folder / "encoder")
    named = ["--model", str(folder / "model.keras"), "--encoder", str(folder / "encoder")]
    return path, named


def test_a_rest_request_is_checked(small, capsys):
    path = small[0]
    request = path / "assets.extra" / "request.json"
    assert main(["check", str(path), "--rows", str(request)]) == 0
    assert "serving_default  click   Python's runtime  2 " in capsys.readouterr().out


def test_another_model_differs(small, fitted, parquet, tmp_path, capsys):
    path, (_, _, *encoder) = small
    other = tiny(fitted, SharedBottom)
    other.set_weights([weight + 0.1 for weight in other.get_weights()])
    other.save(tmp_path / "model.keras")
    keras_model = ["--model", str(tmp_path / "model.keras"), *encoder]
    assert main(["check", str(path), "--rows", str(parquet), *keras_model]) == 1
    assert "Answers DIFFER" in capsys.readouterr().out


def test_calibration_and_table_dtype_of_the_export_count(small, parquet, capsys):
    path, keras_model = small
    assert main(["check", str(path), "--rows", str(parquet), *keras_model]) == 0
    printed = capsys.readouterr().out
    assert "agree (tolerance 1e-05 of max(1, |answer|), from Keras 0.01 before c" in printed
    (found,) = re.findall(r"click +Keras +30 +(\S+)", printed)
    assert 1e-5 < float(found) < 1e-2


def test_int8_answers_differ_by_the_tolerance_of_float32(small, parquet, tmp_path, capsys):
    path, keras_model = small
    shutil.copytree(path, tmp_path / "1")
    change_card(tmp_path / "1", table_dtype="float32")
    assert main(["check", str(tmp_path / "1"), "--rows", str(parquet), *keras_model]) == 1
    assert "Answers DIFFER" in capsys.readouterr().out


def test_answers_are_compared_with_calibrated_outputs():
    maps = {"a": {"method": "temperature", "slope": 0.5}}
    calibrated, plain = ExportOptions(Calibration(maps)), ExportOptions()
    predicted, found = {"a": np.float32([[0.8]])}, {"a": np.float32([[2 / 3]])}
    for options, agrees in ((calibrated, True), (plain, False)):
        report = CheckReport(keras_tolerance=1e-5)
        report.add_keras("s", found, predicted, options)
        assert report.ok(1e-5) == agrees


def test_a_missing_model_card_is_named(small, parquet, tmp_path, capsys):
    path, keras_model = small
    shutil.copytree(path, tmp_path / "1")
    (tmp_path / "1" / "assets.extra" / "model_card.json").unlink()
    assert main(["check", str(tmp_path / "1"), "--rows", str(parquet), *keras_model]) == 1
    assert "model_card.json` is no model card; expected the one that" in capsys.readouterr().err


def test_answers_far_from_keras_or_not_a_number_are_outside():
    report, options = CheckReport(keras_tolerance=1e-3), ExportOptions(table_dtype="float16")
    predicted = {"a": np.float32([[0.5], [0.25]])}
    report.add_keras("s", {"a": np.float32([[0.5009], [0.25]])}, predicted, options)
    assert report.ok(1e-5)
    report.add_keras("s", {"a": np.float32([[0.5], [np.nan]])}, predicted, options)
    assert report.outside == {("s", "a", "Keras")} and not report.ok(1)
    shorter = CheckReport(keras_tolerance=1e-3)
    shorter.add_keras("s", {"a": np.float32([[0.5]])}, predicted, options)
    assert not shorter.ok(1)


def test_a_difference_is_relative_above_one_and_nan_never_agrees():
    report = CheckReport()
    expected = {"a": np.float32([[0.5], [200.0]])}
    report.add("s", "Python", {"a": np.float32([[0.25], [300.0]])}, expected)
    assert report.differences == {("s", "a", "Python"): 0.5}
    report.add("s", "Python", {"a": np.float32([[0.5], [np.nan]])}, expected)
    assert report.differences == {("s", "a", "Python"): np.inf}
    texts = {"b": np.array([b"x"], object)}
    report.add("t", "Python", texts, texts)
    assert report.differences["t", "b", "Python"] == 0 and not report.ok(1e-5)


def run_with(ranker, rows, capsys):
    code = main(["check", str(ranker.path), "--rows", str(rows)])
    assert code == 1
    return capsys.readouterr().err


def test_columns_that_are_missing_are_named(ranker, tmp_path, capsys):
    frame = ranker.rows.iloc[:3].rename(columns={"country": "contry"})
    frame.to_parquet(tmp_path / "rows.parquet")
    error = run_with(ranker, tmp_path / "rows.parquet", capsys)
    assert "no column `country`" in error and "`contry`" in error


@pytest.mark.parametrize(
    "text, message",
    [
        ("{", "is not REST JSON in columnar form"),
        ('{"instances": []}', "is not REST JSON in columnar form"),
        ('{"signature_name": "rnak", "inputs": {}}', "there is no signature `rnak`"),
        ('{"inputs": {"contry": ["a"]}}', "has no input `contry`. Did you mean `country`"),
        ('{"inputs": {"user_id": ["a"]}}', "input `user_id`: expected int64 values"),
        ('{"inputs": {"country": [1]}}', "input `country`: expected string values"),
        ('{"inputs": {"user_id": [2, 1.7]}}', "`user_id`: expected int64 .*found 1.7 at .1."),
        ('{"inputs": {"user_id": [2, 1.0]}}', "`user_id`: expected int64 .*found 1.0 at .1."),
        ('{"inputs": {"user_id": [true]}}', "`user_id`: expected int64 .*found True at .0."),
        ('{"inputs": {"user_id": ["3"]}}', "`user_id`: expected int64 .*found '3' at .0."),
        ('{"inputs": {"user_id": [9223372036854775808]}}', "`user_id`: expected int64 .*too large"),
        (
            '{"inputs": {"liked_video_id": [[1, 2], [3, null]]}}',
            "`liked_video_id`: expected int64 .*found None at .1, 1.",
        ),
        ('{"inputs": {"fans": [1, "2"]}}', "`fans`: expected float32 .*found '2' at .1."),
        ('{"inputs": {"fans": [false]}}', "`fans`: expected float32 .*found False at .0."),
        (
            '{"inputs": {"liked_video_id": [[1], [1, 2]]}}',
            "expected int64 values in lists of one l",
        ),
        ('{"inputs": {"country": ["NL"]}}', "the request lacks input"),
    ],
)
def test_a_wrong_rest_request_is_named(ranker, tmp_path, capsys, text, message):
    path = tmp_path / "request.json"
    path.write_text(text)
    assert re.search(message, run_with(ranker, path, capsys))


def test_other_folders_and_files_are_named(ranker, parquet, tmp_path, capsys):
    assert main(["check", str(tmp_path), "--rows", str(parquet)]) == 1
    assert "schema.json` is no schema" in capsys.readouterr().err
    shutil.copytree(ranker.path / "assets.extra", tmp_path / "assets.extra")
    assert main(["check", str(tmp_path), "--rows", str(parquet)]) == 1
    assert "holds no saved model; expected a folder that" in capsys.readouterr().err
    assert "is no file; expected Parquet" in run_with(ranker, tmp_path / "none.parquet", capsys)
    pd.DataFrame({"a": []}).to_parquet(tmp_path / "empty.parquet")
    assert "the frame is empty" in run_with(ranker, tmp_path / "empty.parquet", capsys)


def test_binary_strings_of_a_rest_request():
    from keras_infnet.serving.wire import parse_rest_json, rest_json

    request = {"examples": np.array([b"\xff\x00", b""], object)}
    text = rest_json("examples", request)
    assert json.loads(text)["inputs"]["examples"] == [{"b64": "/wA="}, {"b64": ""}]
    signatures = {"examples": {"inputs": {"examples": ("string", (-1,))}}}
    name, arrays = parse_rest_json(text, signatures)
    assert name == "examples" and arrays["examples"].tolist() == [b"\xff\x00", b""]


def test_a_model_needs_its_encoder(ranker, parquet, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["check", str(ranker.path), "--rows", str(parquet), "--model", "model.keras"])
    assert "--model and --encoder go together" in capsys.readouterr().err
