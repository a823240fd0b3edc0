import keras
import numpy as np
import pytest
from keras import ops

from keras_infnet.layers.fused_embedding import FusedEmbedding
from keras_infnet.models import MODELS
from keras_infnet.models.ranking_model import RankingModel
from keras_infnet.models.shared_bottom import SharedBottom
from keras_infnet.training.lazy_adam import LazyAdam
from keras_infnet.training.sparse_adagrad import SparseAdagrad
from tests import tiny


@pytest.mark.parametrize(("name", "members"), [*tiny.marked(MODELS, 1), ("SharedBottom", 2)])
def test_of_a_model_the_looked_up_rows_move_alone_and_others_do_not_decay(name, members):
    keras.utils.set_random_seed(0)
    model = tiny.randomise(
        MODELS[name](tiny.schema("positives"), dim=8, members=members), scale=0.15
    )
    x, (y, _) = tiny.inputs(model.schema, batch=6), tiny.labels(model.schema, batch=6)
    inputs = model if members == 1 else model.get_layer("embedded_inputs")
    layer = inputs.get_layer("fused_embedding")
    names, sizes = list(layer.table_rows), list(layer.table_rows.values())
    first = dict(zip(names, np.cumsum([0, *sizes]), strict=False))["user_id"]
    users = first + np.arange(layer.table_rows["user_id"])
    seen = np.isin(users, first + x["categorical"][:, 0])
    before = layer.get_weights()[0]
    optimizer = SparseAdagrad(0.1, row_updates_from=0, weight_decay=0.5)
    model.compile(optimizer, **tiny.quick())
    model.fit(x, y, batch_size=6, verbose=0)
    after = layer.get_weights()[0]
    assert 0 < seen.sum() < len(users)
    np.testing.assert_array_equal(after[users[~seen]], before[users[~seen]])
    assert np.all(after[users[seen]] != before[users[seen]])


@pytest.mark.parametrize("history", ["exposures", "mixed"])
def test_events_by_rows_and_as_whole_tables_take_the_step_of_dense_adagrad(history):
    """Small tables of events are read whole, in a weight that is updated by rows."""
    schema = tiny.schema(history)
    x, (y, w) = tiny.inputs(schema, batch=16), tiny.labels(schema, batch=16)
    found = []
    for optimizer in SparseAdagrad(0.1, row_updates_from=0), keras.optimizers.Adagrad(0.1):
        keras.utils.set_random_seed(0)
        model = tiny.randomise(SharedBottom(schema, dim=8), scale=0.3)
        model.compile(optimizer, **tiny.quick())
        for _ in range(2):
            model.train_on_batch(x, y, sample_weight=w)
        found.append(model.get_weights())
    for by_row, dense in zip(*found, strict=True):
        np.testing.assert_allclose(by_row, dense, atol=2e-5)


def test_mixed_float16_scales_the_loss_and_leaves_out_steps_that_overflow():
    model = one_table("mixed_float16")
    if keras.backend.backend() == "jax":
        message = "LossScaleOptimizer.*can't scale gradients of rows on JAX.*auto_scale_loss=False"
        model.compile(SparseAdagrad(0.1, row_updates_from=0))
        with pytest.raises(ValueError, match=message):
            model.train_on_batch(*batch())
        optimizer = SparseAdagrad(0.1, row_updates_from=0, loss_scale_factor=256.0)
        model.compile(optimizer, auto_scale_loss=False)
        model.train_on_batch(*batch())
        np.testing.assert_allclose(model.get_weights()[0], adagrad_step(), atol=1e-3)
        return
    model.compile(SparseAdagrad(0.1, row_updates_from=0), run_eagerly=True)
    before = model.get_weights()[0]
    model.optimizer.build(model.trainable_variables)
    model.optimizer.dynamic_scale.assign(1e38)
    model.train_on_batch(*batch())
    np.testing.assert_array_equal(model.get_weights()[0], before)
    assert float(model.optimizer.dynamic_scale) == pytest.approx(5e37)
    model.optimizer.dynamic_scale.assign(256.0)
    model.train_on_batch(*batch())
    np.testing.assert_allclose(model.get_weights()[0], adagrad_step(), atol=1e-3)


def test_ids_beyond_the_table_train_no_row_of_another_id():
    model, (x, y) = one_table(), batch()
    # On TensorFlow such an id is an error of the look-up, but by XLA.
    optimizer = SparseAdagrad(0.1, row_updates_from=0)
    model.compile(optimizer, weighted_metrics=[], jit_compile=True)
    for step, ids in enumerate(([1, 3, 3], [1, 3, 9])):
        x["categorical"][:, 0] = ids
        before = model.get_weights()[0]
        model.train_on_batch(x, y)
        moved = np.any(model.get_weights()[0] != before, axis=1)
        assert moved.tolist() == [False, True, False, True, False, False], step


def test_a_table_that_the_loss_reads_besides_looking_it_up_is_not_trained_by_half():
    model = one_table(loss_of_table=True)
    model.compile(LazyAdam(0.01, row_updates_from=0), **tiny.quick())
    if keras.backend.backend() == "jax":
        message = "reads table `.*embeddings` besides looking its rows up.*row_updates_from=7"
        with pytest.raises(ValueError, match=message):
            model.train_on_batch(*batch())
    else:
        # TensorFlow adds both gradients up to a dense one: every row moves.
        before = model.get_weights()[0]
        model.train_on_batch(*batch())
        assert np.all(model.get_weights()[0] != before)


def test_a_look_up_in_remat_or_remat_is_an_error_on_jax():
    model = one_table(in_remat=True)
    model.compile(LazyAdam(0.01, row_updates_from=0), **tiny.quick())
    if keras.backend.backend() == "jax":
        message = "`.*embeddings` is looked up inside jit, remat.*row_updates_from=7"
        with pytest.raises(ValueError, match=message):
            model.train_on_batch(*batch())
    else:
        model.train_on_batch(*batch())
        assert [np.any(row != 0.5) for row in model.get_weights()[0]] == [0, 1, 0, 1, 0, 0]


class Table(FusedEmbedding):
    """A table that is added to the loss, or whose look-up is recomputed in the backward pass."""

    def __init__(self, *args, loss_of_table=False, in_remat=False, **kwargs):
        super().__init__(*args, **kwargs)
        self.loss_of_table, self.in_remat = loss_of_table, in_remat

    def call(self, ids):
        if self.loss_of_table:
            self.add_loss(ops.sum(ops.square(ops.convert_to_tensor(self.embeddings))))
        look_up = super().call
        return (keras.remat(look_up) if self.in_remat else look_up)(ids)


def one_table(dtype=None, **kwargs):
    """`click = sigmoid(sum of the row)`, from a table of 6 rows of 2 halves."""
    schema = tiny.schema("none", tasks=tiny.TASKS[:1], features=tiny.FEATURES[:1])

    class OneTable(RankingModel):
        @classmethod
        def graph(cls, schema, config):
            ids = keras.Input((1,), dtype="int32", name="categorical")
            half = keras.initializers.Constant(0.5)
            rows = Table({"user_id": 6}, 2, half, name="fused_embedding", **kwargs)(ids)
            click = keras.layers.Activation("sigmoid", dtype="float32")(ops.sum(rows, axis=-1))
            return {"categorical": ids}, {"click": click}

    return OneTable(schema, dtype=dtype)


def batch():
    return {"categorical": np.array([[1], [3], [3]], "int32")}, {
        "click": np.zeros((3, 1), "float32")
    }


def adagrad_step():
    """The table after a step of Adagrad with rate 0.1: both ids 3 are summed, then squared."""
    gradient = np.array([0, 1, 0, 2, 0, 0])[:, None] / 3 / (1 + np.exp(-1.0))
    return np.full((6, 2), 0.5) - 0.1 * gradient / np.sqrt(0.1 + gradient**2)
