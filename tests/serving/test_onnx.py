import keras
import numpy as np
import pytest

from keras_infnet import fit_ranker
from keras_infnet.data import Batches, FeatureEncoder, Histories
from keras_infnet.models import SharedBottom
from keras_infnet.serving import export_onnx, onnx
from tests import tiny
from tests.logs import log_schema, make_log


@pytest.fixture(scope="module")
def encoder():
    return FeatureEncoder(log_schema()).fit(make_log())


@pytest.fixture(scope="module")
def rows(encoder):
    log = make_log(seed=4)
    return Histories(encoder, log).attach(log)


@pytest.fixture(scope="module")
def model(encoder, rows):
    keras.utils.set_random_seed(0)
    model = SharedBottom(encoder.schema)
    noise = np.random.default_rng(0)
    model.set_weights([w + 0.1 * noise.normal(size=w.shape) for w in model.get_weights()])
    model.compile(**tiny.quick())
    # The recipe puts a learning rate in the place of its schedule.
    fit_ranker(model, Batches.from_rows(encoder, rows[:16], batch_size=8), verbose=0)
    return model


@pytest.fixture(scope="module")
def exported(model, encoder, rows, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "ranker.onnx"
    return path, export_onnx(model, encoder, path, verify=rows)


def test_onnx_runtime_answers_as_keras_does_for_any_batch(exported, model, encoder, rows):
    import onnxruntime

    path, difference = exported
    session = onnxruntime.InferenceSession(str(path))
    assert {i.name for i in session.get_inputs()} == set(encoder.schema.packed_inputs())
    assert {o.name for o in session.get_outputs()} == {"click", "like"}
    expected = model.predict(encoder.transform(rows), verbose=0)
    assert np.std(expected["click"]) > 1e-3
    for part in (rows.iloc[:1], rows):
        packed = encoder.transform(part)
        answers = session.run(["click", "like"], packed)
        for task, answer in zip(["click", "like"], answers, strict=True):
            np.testing.assert_allclose(answer, expected[task][: len(part)], atol=1e-5)
    assert difference <= 1e-5
    assert [p.name for p in path.parent.iterdir()] == ["ranker.onnx"]


def test_an_existing_file_is_kept(exported, model, encoder):
    with pytest.raises(FileExistsError, match="export_onnx: `.*ranker.onnx` exists"):
        export_onnx(model, encoder, exported[0])


def test_a_difference_is_an_error_that_names_task_and_row(
    exported, model, encoder, rows, tmp_path, monkeypatch
):
    def write(write, model, encoder, path):
        path.write_bytes(exported[0].read_bytes())

    monkeypatch.setattr(onnx, "write_under_tensorflow", write)
    predict = model.predict
    monkeypatch.setattr(
        model, "predict", lambda *a, **k: {t: p + 0.1 for t, p in predict(*a, **k).items()}
    )
    with pytest.raises(ValueError, match="task `click` differs by .* in row .*at most 1e-05"):
        export_onnx(model, encoder, tmp_path / "ranker.onnx", verify=rows)
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named_with_its_extra(model, encoder, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'tf2onnx and onnxruntime .*"keras-infnet\[onnx\]"'):
        export_onnx(model, encoder, tmp_path / "ranker.onnx")


def test_a_model_of_another_schema_is_refused(model, tmp_path):
    other = FeatureEncoder(log_schema()).fit(make_log(seed=8))
    with pytest.raises(ValueError, match="export_onnx: the model is of another schema"):
        export_onnx(model, other, tmp_path / "ranker.onnx")
