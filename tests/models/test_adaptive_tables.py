import dataclasses
import re

import keras
import numpy as np
import pandas as pd
import pytest

from keras_infnet import BinaryTask, CategoricalFeature, FeatureSchema, History, INFNet, RankingData
from keras_infnet.models import MODELS, SharedBottom
from keras_infnet.optimizers import LazyAdam, SparseAdagrad, split_optimizer
from keras_infnet.serving import export
from keras_infnet.serving.weights import exported_variables
from keras_infnet.training.table_shards import TABLES
from tests import tiny
from tests.serving.conftest import difference_of

DIM = 16
# What is learned of tables that are cut, and the parts that follow at width 16.
SIZES = {"video_id": 1500, "author_id": 1100}
FREQUENT = {"video_id": [40, 300, 1500], "author_id": [20, 1100, 1100]}


def schema(history="exposures", dims="auto"):
    plain = tiny.schema(history)
    layout = dataclasses.replace(
        plain.layout, sizes={**plain.layout.sizes, **SIZES}, frequent=FREQUENT
    )
    return dataclasses.replace(plain, layout=layout, dims=dims)


def built(model_class=SharedBottom, history="exposures", **kwargs):
    keras.utils.set_random_seed(0)
    return tiny.randomise(model_class(schema(history), dim=DIM, **kwargs), scale=0.15)


def rows_by_hand(weights, parts):
    """Rows `(ids, dim)` of a table: of each id the row of its part times the width's matrix."""
    rows = []
    for table, of_table in parts.items():
        for width, ids in of_table:
            above = sum(
                n + 1
                for other in list(parts)[: list(parts).index(table)]
                for w, n in parts[other]
                if w == width
            )
            part = weights[f"adaptive_embedding/fused_embedding_{width}/embeddings"]
            part = part[above : above + ids]
            if width < DIM:
                part = part @ weights[f"adaptive_embedding/projection_{width}"]
            rows.append(part)
    return np.concatenate(rows)


def test_parts_of_these_tables():
    parts = schema().table_parts(DIM)
    assert parts["video_id"] == ((16, 40), (8, 260), (4, 1200))
    assert parts["author_id"] == ((16, 20), (8, 1080))
    assert parts["user_id"] == ((8, 12),)


@pytest.mark.parametrize(
    ("model_class", "history"),
    [
        (INFNet, "exposures"),
        (SharedBottom, "mixed"),
        pytest.param(SharedBottom, "none", marks=pytest.mark.one_backend),
    ],
)
def test_a_model_reads_what_one_of_one_width_reads_in_the_same_vectors(model_class, history):
    """Fields, bags and events: each id is the vector that is computed for it here."""
    model = built(model_class, history)
    plain = model_class(schema(history, dims=None), dim=DIM)
    weights = {w.path: np.array(w) for w in model.weights}
    for weight in plain.weights:
        if "fused_embedding" in weight.path:
            weight.assign(rows_by_hand(weights, model.schema.table_parts(DIM)))
        else:
            weight.assign(weights[weight.path])
    x = tiny.inputs(model.schema, batch=16)
    expected = tiny.predict(plain, x)
    for task, found in tiny.predict(model, x).items():
        np.testing.assert_allclose(found, expected[task], atol=1e-5)


@pytest.mark.one_backend
def test_tables_of_each_task_are_an_error():
    with pytest.raises(ValueError, match="STEM: the schema has dims='auto', and the model tables"):
        MODELS["STEM"](schema())


def trained(optimizer, model=None, steps=2):
    model = model or built(history="mixed")
    x, (y, _) = tiny.inputs(model.schema, batch=16), tiny.labels(model.schema, batch=16)
    model.compile(optimizer, **tiny.quick())
    for _ in range(steps):
        model.train_on_batch(x, y)
    return model, x


def test_updates_by_rows_are_the_steps_of_dense_adagrad():
    by_row, _ = trained(SparseAdagrad(0.1, row_updates_from=0))
    dense, _ = trained(keras.optimizers.Adagrad(0.1))
    for one, other in zip(by_row.weights, dense.weights, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)


def test_rows_that_no_step_looks_up_stay_and_matrices_are_no_tables():
    model = built(history="none")
    parts, before = model.schema.table_parts(DIM), {w.path: np.array(w) for w in model.weights}
    optimizer = split_optimizer(LazyAdam(0.1, row_updates_from=0), keras.optimizers.SGD(0.0))
    model, x = trained(optimizer, model, steps=3)
    after = {w.path: np.array(w) for w in model.weights}
    tables = {w.path for w in model.weights if re.fullmatch(TABLES, w.path)}
    assert tables == {path for path in after if path.endswith("/embeddings")}
    moved = np.any(rows_by_hand(before, parts) != rows_by_hand(after, parts), axis=1)
    sizes = [sum(ids for _, ids in of_table) for of_table in parts.values()]
    first = dict(zip(parts, np.cumsum([0, *sizes]), strict=False))
    names = [f.name for f in model.schema.one_valued]
    columns = [names.index(name) for name in ("video_id", "last_video_id")]
    seen = np.unique(x["categorical"][:, columns])
    found = np.flatnonzero(moved[first["video_id"] : first["video_id"] + 1500])
    np.testing.assert_array_equal(found, seen)
    for path in before:
        if "projection" in path:
            np.testing.assert_array_equal(before[path], after[path])


@pytest.mark.parametrize("own_tables", [pytest.param(False, marks=pytest.mark.one_backend), True])
def test_members_read_them(own_tables):
    model = built(members=2, own_tables=own_tables)
    tables = [w for w in model.weights if "fused_embedding_4/embeddings" in w.path]
    assert len(tables) == (2 if own_tables else 1)
    _, x = trained("adam", model, steps=1)
    assert all(np.isfinite(p).all() for p in tiny.predict(model, x).values())


def test_file_and_clone_answer_alike_and_go_on_training(tmp_path):
    model, x = trained(LazyAdam(0.01, row_updates_from=0))
    expected = tiny.predict(model, x)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    for other in (loaded, clone):
        for task, found in tiny.predict(other, x).items():
            np.testing.assert_allclose(found, expected[task], atol=1e-6)
    trained(loaded.optimizer, loaded, steps=1)


@pytest.fixture(scope="module")
def data():
    rng, rows = np.random.default_rng(0), 4000
    shares = np.arange(1, 4001) ** -0.5
    log = pd.DataFrame(
        {
            "user_id": rng.integers(0, 50, rows),
            "video_id": rng.choice(4000, rows, p=shares / shares.sum()),
            "tab": rng.integers(0, 3000, rows) % 40,
            "time_ms": 1_750_000_000_000 + 60_000 * np.arange(rows),
            "click": rng.integers(0, 2, rows),
        }
    )
    features = [
        CategoricalFeature("user_id", "user"),
        CategoricalFeature("video_id", "item"),
        CategoricalFeature("tab", "context"),
    ]
    history = History("seen", ("video_id",), max_length=4)
    wide = FeatureSchema(features, [BinaryTask("click")], [history], dims="auto")
    return RankingData(wide, log, test="2025-06-17", batch_size=64)


@pytest.mark.one_backend
@pytest.mark.parametrize("table_dtype", ["float32", "int8"])
def test_an_export_answers_as_the_model(data, tmp_path, table_dtype):
    keras.utils.set_random_seed(0)
    model = SharedBottom(data.schema, dim=DIM)
    assert [w for w, _ in data.schema.table_parts(DIM)["video_id"]] == [16, 8, 4]
    for weight in model.weights:
        weight.assign(weight + 0.1 * keras.random.normal(weight.shape, dtype=weight.dtype))
    path = export(model, data, tmp_path, verify=data.attach("test")[:64], table_dtype=table_dtype)
    assert difference_of(path) < {"float32": 1e-5, "int8": 1e-2}[table_dtype]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's graphs")
def test_an_exported_graph_looks_rows_up_and_computes_no_whole_table(data):
    import tensorflow as tf

    model = SharedBottom(data.schema, dim=DIM)
    specs = {
        name: tf.TensorSpec((None, *shape), dtype, name=name)
        for name, (shape, dtype) in data.schema.packed_inputs().items()
    }
    with exported_variables(model, "int8"):
        serve = tf.function(lambda **x: dict(model(x, training=False)), autograph=False)
        graph = serve.get_concrete_function(**specs)
    reached, waiting = set(), [tensor.op for tensor in graph.outputs]
    while waiting:
        if (operation := waiting.pop()) not in reached:
            reached.add(operation)
            waiting += [tensor.op for tensor in operation.inputs]
    videos = data.schema.table_rows()["video_id"]

    def is_whole(operation):
        return any(x.shape.rank and x.shape[0] == videos for x in operation.outputs)

    assert any(map(is_whole, graph.graph.get_operations()))
    assert not any(map(is_whole, reached))


@pytest.mark.one_backend
def test_given_vectors_need_a_table_of_their_width(data):
    model = SharedBottom(data.schema, dim=8)
    videos = {1: np.ones(8), 2: np.zeros(8)}
    with pytest.raises(ValueError, match=r"`video_id` have widths \[8, 4, 2\]; expected 8"):
        model.set_embeddings("video_id", videos, data)
    tabs = {3: np.ones(8), 7: np.full(8, 2.0)}
    assert model.set_embeddings("tab", tabs, data) == 2
    trained_rows(model, data)
    (layer,) = [x for x in model._flatten_layers() if x.name == "adaptive_embedding"]
    ids = data.encoder.programs["tab"].numpy(np.array([3, 7]))
    np.testing.assert_array_equal(layer(ids[:, None], tables=("tab",))[:, 0], list(tabs.values()))


def trained_rows(model, data):
    model.compile(SparseAdagrad(0.1, row_updates_from=0), **tiny.quick())
    model.fit(data.train.take(2), shuffle=False, verbose=0)
