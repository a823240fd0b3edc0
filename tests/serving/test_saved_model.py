import functools
import gc
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from keras_infnet import FeatureSchema, INFNet
from keras_infnet.data import FeatureEncoder, Histories
from keras_infnet.encoding.requests import frame_to_request
from keras_infnet.models import SharedBottom
from keras_infnet.models.infnet import Form
from keras_infnet.serving import answers, export, run_c_api, saved_model, verify
from keras_infnet.serving.requests import rank_request
from tests import tiny
from tests.logs import log_schema, make_log, viewed_videos
from tests.serving.conftest import difference_of

FORMS = {
    "paper_v2": functools.partial(INFNet.paper_v2, num_blocks=1),
    "options": functools.partial(
        INFNet,
        dim=8,
        num_own_proxies=2,
        num_encoder_layers=1,
        form=Form(gate="interpolate", pooling="attention", cross_rank=4),
    ),
}


@pytest.fixture(scope="module")
def encoder():
    return FeatureEncoder(log_schema()).fit(make_log())


@pytest.fixture(scope="module")
def rows(encoder):
    log = make_log(rows=64, seed=4)
    return Histories(encoder, log).attach(log)


@pytest.fixture(scope="module")
def data():
    """A log whose graph is small."""
    return viewed_videos()


def ranker(encoder, form=SharedBottom):
    keras.utils.set_random_seed(0)
    model = form(encoder.schema)
    # Every weight off its start, so that nothing is compared at zero.
    noise = np.random.default_rng(0)
    model.set_weights([w + 0.1 * noise.normal(size=w.shape) for w in model.get_weights()])
    model.compile(**tiny.quick())
    return model


@pytest.fixture(scope="module")
def exported(encoder, rows, tmp_path_factory):
    model, folder = ranker(encoder, INFNet), tmp_path_factory.mktemp("models") / "ranker"
    path = export(model, encoder, folder, verify=rows)
    return model, path, difference_of(path)


@pytest.fixture(scope="module")
def serve(exported):
    import tensorflow as tf

    return tf.saved_model.load(str(exported[1])).signatures["serving_default"]


def test_the_signature_has_raw_features_by_name_and_one_output_a_task(serve, encoder):
    found = {
        name: (tuple(spec.shape[1:]), spec.dtype.name)
        for name, spec in serve.structured_input_signature[1].items()
    }
    assert found == encoder.schema.raw_inputs()
    assert set(serve.structured_outputs) == {"click", "like"}


def test_the_exported_model_answers_as_keras_does(exported, serve, encoder, rows):
    import tensorflow as tf

    model, _, difference = exported
    expected = model.predict(encoder.transform(rows), verbose=0)
    request = {k: tf.constant(v) for k, v in frame_to_request(encoder.schema, rows).items()}
    served = serve(**request)
    for task in ("click", "like"):
        np.testing.assert_allclose(served[task], expected[task], atol=1e-5)
        assert np.std(expected[task]) > 1e-3
    largest = max(np.abs(served[t].numpy() - expected[t]).max() for t in ("click", "like"))
    # It has that of `rank` in it too.
    assert largest <= difference <= 1e-5


def test_the_c_api_answers_as_keras_on_either_backend(exported, encoder, rows):
    model, path, _ = exported
    request = frame_to_request(encoder.schema, rows)
    halves = [{k: v[half] for k, v in request.items()} for half in (slice(9), slice(9, None))]
    outputs, seconds = run_c_api(
        path, "serving_default", halves, repeat=3, warm_up=1, intra_threads=1
    )
    expected = model.predict(encoder.transform(rows), verbose=0)
    for task in ("click", "like"):
        found = np.concatenate([output[task] for output in outputs])
        np.testing.assert_allclose(found, expected[task], atol=1e-5)
    assert seconds.shape == (2, 3) and (seconds > 0).all()


# `test_weights.py` and `test_calibrated_export.py` export `SharedBottom`.
@pytest.mark.one_backend
@pytest.mark.parametrize("name", FORMS)
def test_other_forms_are_exported_too(encoder, rows, tmp_path, name):
    export(ranker(encoder, FORMS[name]), encoder, tmp_path, version=1, verify=rows)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1"]


def test_a_process_without_keras_infnet_serves_it(exported, encoder, rows, tmp_path):
    request = frame_to_request(encoder.schema, rows)
    lists = {name: values.tolist() for name, values in request.items()}
    (tmp_path / "request.json").write_text(json.dumps(lists))
    script = f"""
import json, sys
sys.modules["keras_infnet"] = sys.modules["keras"] = sys.modules["jax"] = None
import tensorflow as tf
serve = tf.saved_model.load({str(exported[1])!r}).signatures["serving_default"]
specs = serve.structured_input_signature[1]
raw = json.load(open("request.json"))
out = serve(**{{n: tf.constant(v, specs[n].dtype) for n, v in raw.items()}})
print(json.dumps({{t: v.numpy().tolist() for t, v in out.items()}}))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    served = json.loads(done.stdout)
    expected = exported[0].predict(encoder.transform(rows), verbose=0)
    for task in ("click", "like"):
        np.testing.assert_allclose(served[task], expected[task], atol=1e-5)


def test_the_graph_is_plain_tensorflow(exported):
    from tensorflow.core.protobuf import saved_model_pb2

    graph = saved_model_pb2.SavedModel.FromString((exported[1] / "saved_model.pb").read_bytes())
    functions = graph.meta_graphs[0].graph_def.library.function
    operations = {node.op for function in functions for node in function.node_def}
    assert "LookupTableFindV2" in operations
    assert not {op for op in operations if "Xla" in op or "PyFunc" in op}


def test_the_schema_lies_beside_the_graph(exported, encoder):
    plain = json.loads((exported[1] / "assets.extra" / "schema.json").read_text())
    assert FeatureSchema.from_dict(plain) == encoder.schema


def test_strange_requests_are_served(serve, encoder, rows):
    import tensorflow as tf

    request = frame_to_request(encoder.schema, rows.iloc[:2])
    for name, (shape, dtype) in encoder.schema.raw_inputs().items():
        if name.startswith(("seen_", "liked_")):
            request[name] = np.zeros((2, 0, *(1 for _ in shape[1:])), request[name].dtype)
        elif dtype == "string":
            request[name] = np.full(request[name].shape, "\N{SNOWMAN} unheard of", object)
        request[name] = tf.constant(request[name], dtype)
    out = serve(**request)
    assert all(np.isfinite(values.numpy()).all() for values in out.values())


def test_a_difference_is_an_error_that_names_task_and_row(exported, encoder, rows):
    other = ranker(encoder, INFNet)
    head = next(w for w in other.weights if "like_head" in w.path and w.shape == (1,))
    head.assign(head + 0.5)
    with pytest.raises(ValueError, match="task `like` differs by .* in row .*at most 1e-05"):
        verify(exported[1], other, encoder, rows)


def test_a_difference_of_rank_is_an_error_too(exported, encoder, rows, monkeypatch):
    def of_other_items(schema, request):
        return rank_request(schema, {name: values[::-1] for name, values in request.items()})

    monkeypatch.setattr(answers, "rank_request", of_other_items)
    with pytest.raises(ValueError, match="task `click` of `rank` differs by .* in row"):
        verify(exported[1], exported[0], encoder, rows)


@pytest.mark.one_backend
def test_a_failed_check_leaves_nothing(data, tmp_path, monkeypatch):
    model = ranker(data)
    predict = model.predict
    monkeypatch.setattr(
        model, "predict", lambda *a, **k: {t: p + 0.1 for t, p in predict(*a, **k).items()}
    )
    with pytest.raises(ValueError, match="task `click` differs"):
        export(model, data, tmp_path, version=1)
    assert not list(tmp_path.iterdir())


def test_a_version_is_never_overwritten(exported, encoder):
    with pytest.raises(FileExistsError, match="1` exists. A version is never overwritten"):
        export(exported[0], encoder, exported[1].parent, version=1)


def test_a_model_of_another_schema_is_refused(exported, tmp_path):
    other = FeatureEncoder(log_schema()).fit(make_log(seed=8))
    with pytest.raises(ValueError, match="the model is of another schema than the encoder"):
        export(exported[0], other, tmp_path, version=1)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_can_not_be_written_is_named(exported, encoder, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OSError, match="file/models/1` can't be written"):
        export(exported[0], encoder, tmp_path / "file" / "models", version=1)


def test_a_full_disk_leaves_nothing(encoder, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(OSError, match="1` can't be written: .*Nothing was left there"):
            export(ranker(encoder), encoder, tmp_path, version=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path) == []


@pytest.mark.one_backend
def test_what_holds_an_encoder_and_rows_is_as_good(data, tmp_path):
    rows, encoder = data.verification_rows().head(3), data.encoder
    data = SimpleNamespace(encoder=encoder, verification_rows=lambda: rows)
    model = ranker(encoder)
    path = export(model, data, tmp_path / "feed")
    assert path == tmp_path / "feed" / "1"
    card = json.loads((path / "assets.extra" / "model_card.json").read_text())
    assert card["verified_on"]["rows"] == 3 and difference_of(path) <= 1e-5
    assert verify(path, model, data) <= 1e-5
    with pytest.raises(ValueError, match="verify: there are no rows to ask for. Give `rows`"):
        verify(path, model, encoder)


def test_a_version_below_one_is_refused(exported, encoder, tmp_path):
    with pytest.raises(ValueError, match="export: version is 0; expected 1 or more"):
        export(exported[0], encoder, tmp_path, version=0)


def test_an_export_knows_the_name_of_its_model(encoder, tmp_path, monkeypatch):
    def write(path, *rest):
        path.mkdir()
        names.append(rest[-3])

    names, model = [], ranker(encoder)
    monkeypatch.setattr(saved_model, "write_under_tensorflow", lambda *arguments: None)
    monkeypatch.setattr(saved_model, "write_artefacts", write)
    monkeypatch.chdir(tmp_path)
    paths = [export(model, encoder, "."), export(model, encoder, "ranker")]
    assert names == [tmp_path.name, "ranker"]
    assert paths == [Path("1"), Path("ranker/1")]


def test_a_model_without_its_encoder_is_refused(exported, tmp_path):
    with pytest.raises(ValueError, match="encoder is NoneType; expected the FeatureEncoder"):
        export(exported[0], None, tmp_path, version=1)


def test_rows_without_a_column_are_refused_by_its_name(exported, encoder, rows):
    other = rows.rename(columns={"country": "contry"})
    with pytest.raises(ValueError, match="no column `country`.*`contry`"):
        verify(exported[1], exported[0], encoder, other)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exports in child processes")
def test_an_export_leaves_no_graph_behind(data, tmp_path):
    import tensorflow as tf

    def graphs():
        gc.collect()
        return sum(isinstance(found, tf.Graph) for found in gc.get_objects())

    model, left = ranker(data), []
    for _ in range(3):
        export(model, data, tmp_path / "ranker")
        left.append(graphs())
    # The first traces what Keras keeps of the model itself.
    assert left[1] == left[2]
