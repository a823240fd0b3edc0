import shutil

import keras
import numpy as np
import pytest

from keras_infnet.data import FeatureEncoder, Histories, frame_to_request
from keras_infnet.models import SharedBottom
from keras_infnet.serving import export, verify
from keras_infnet.serving.weights import quantise
from tests import tiny
from tests.logs import log_schema, make_log
from tests.serving.conftest import change_card, difference_of

# The same graph, whatever trained it; `test_own_parts.py` exports int8 tables from JAX.
pytestmark = pytest.mark.one_backend


@pytest.fixture(scope="module")
def log():
    return make_log(seed=4)


@pytest.fixture(scope="module")
def encoder():
    return FeatureEncoder(log_schema()).fit(make_log())


@pytest.fixture(scope="module")
def rows(encoder, log):
    return Histories(encoder, log).attach(log)


@pytest.fixture(scope="module")
def model(encoder):
    keras.utils.set_random_seed(0)
    model = SharedBottom(encoder.schema)
    noise = np.random.default_rng(0)
    model.set_weights([w + 0.1 * noise.normal(size=w.shape) for w in model.get_weights()])
    model.compile(**tiny.quick())
    return model


@pytest.fixture(scope="module", params=["float16", "int8"])
def exported(request, model, encoder, rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    path = export(model, encoder, folder, verify=rows, table_dtype=request.param)
    return request.param, path, difference_of(path)


def rounded_by_hand(table, dtype):
    if dtype == "float16":
        return table.astype("float16").astype("float32")
    scale = np.abs(table).max(1, keepdims=True) / 127
    return np.round(table / scale) * scale


def test_rows_are_scaled_by_their_largest_number():
    stored, scales = quantise(np.array([[0.5, -1.27], [0, 0], [254, 3]], "float32"))
    assert stored.dtype == np.int8 and scales.dtype == np.float32
    np.testing.assert_array_equal(stored, [[50, -127], [0, 0], [127, 2]])
    np.testing.assert_allclose(scales, [[0.01], [1], [2]], rtol=1e-6)


def test_the_exported_model_answers_as_one_with_rounded_tables(exported, model, encoder, rows):
    import tensorflow as tf

    dtype, path, difference = exported
    table = model.get_layer("fused_embedding").embeddings
    exact = np.array(table)
    plain = model.predict(encoder.transform(rows), verbose=0)
    table.assign(rounded_by_hand(exact, dtype))
    expected = model.predict(encoder.transform(rows), verbose=0)
    table.assign(exact)
    request = {k: tf.constant(v) for k, v in frame_to_request(encoder.schema, rows).items()}
    served = tf.saved_model.load(str(path)).signatures["serving_default"](**request)
    for task in ("click", "like"):
        np.testing.assert_allclose(served[task], expected[task], atol=1e-5)
    largest = max(np.abs(expected[task] - plain[task]).max() for task in expected)
    # `rank` is asked for other pairs too.
    assert largest - 1e-5 <= difference < {"float16": 1e-3, "int8": 1e-2}[dtype]


def test_the_file_has_no_table_in_float32(exported, model):
    import tensorflow as tf
    from tensorflow.core.protobuf import saved_model_pb2

    dtype, path, _ = exported
    shape = list(model.get_layer("fused_embedding").embeddings.shape)
    reader = tf.train.load_checkpoint(str(path / "variables" / "variables"))
    dtypes = reader.get_variable_to_dtype_map()
    stored = [dtypes[n].name for n, s in reader.get_variable_to_shape_map().items() if s == shape]
    assert stored == [dtype]
    graph = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    functions = graph.meta_graphs[0].graph_def.library.function
    constants = [
        [size.size for size in node.attr["value"].tensor.tensor_shape.dim]
        for function in functions
        for node in function.node_def
        if node.op == "Const"
    ]
    assert shape not in constants


def test_small_weights_are_constants_and_no_variables(exported):
    import tensorflow as tf

    dtype, path, _ = exported
    names = tf.train.load_checkpoint(str(path / "variables" / "variables"))
    stored = [n for n in names.get_variable_to_shape_map() if n.startswith("model_variables")]
    assert len(stored) == {"float16": 1, "int8": 2}[dtype]


def test_a_tolerance_belongs_to_each_dtype(exported, model, encoder, rows, tmp_path):
    assert verify(exported[1], model, encoder, rows) == pytest.approx(exported[2], rel=1e-3)
    exact = shutil.copytree(exported[1], tmp_path / "1")
    change_card(exact, table_dtype="float32")
    with pytest.raises(ValueError, match="task `.*` differs by .*expected at most 1e-05"):
        verify(exact, model, encoder, rows)


def test_an_unknown_dtype_is_refused(model, encoder, tmp_path):
    with pytest.raises(ValueError, match="table_dtype='int4'; expected one of float32, float16"):
        export(model, encoder, tmp_path, version=1, table_dtype="int4")
    assert not list(tmp_path.iterdir())
