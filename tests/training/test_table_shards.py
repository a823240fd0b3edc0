import re

import keras
import numpy as np
import pytest

from keras_infnet.layers import FusedEmbedding
from keras_infnet.training import shard_tables
from tests.training.row_ranker import DIM, ROWS
from tests.training.two_devices import OPTIMIZERS, child

on_jax = pytest.mark.skipif(keras.backend.backend() != "jax", reason="Keras shards on JAX alone")
SHARDED = [*(("sharded", optimizer) for optimizer in OPTIMIZERS), ("in a group", "adagrad")]


@pytest.fixture(scope="module")
def runs():
    return child(
        [*SHARDED, *(("one", optimizer) for optimizer in OPTIMIZERS), ("small", "split adam")]
    )


def tables_parts(run):
    """Shapes of what one device holds of the table and of its slots."""
    return [shape for path, shape in run["parts"].items() if "fused_embedding" in path]


@on_jax
@pytest.mark.parametrize("run", SHARDED)
def test_losses_metrics_and_weights_are_those_of_one_device(runs, run):
    one, two = runs["one", run[1]], runs[run]
    for name in ("losses", "auc"):
        np.testing.assert_allclose(two[name], one[name], rtol=0, atol=1e-5)
    for found, weight in zip(two["weights"], one["weights"], strict=True):
        np.testing.assert_allclose(found, weight, rtol=0, atol=1e-5)


@on_jax
@pytest.mark.parametrize("run", SHARDED)
def test_each_device_holds_half_the_rows_of_a_table_and_of_its_slots(runs, run):
    parts = tables_parts(runs[run])
    slots = {"dense": 2, "adagrad": 1, "split adam": 2}[run[1]]
    positions = [[ROWS // 2]] if run[1] != "dense" else []
    assert sorted(parts) == sorted([[ROWS // 2, DIM]] * (1 + slots) + positions)


@on_jax
@pytest.mark.parametrize("run", SHARDED)
def test_no_step_puts_a_table_together(runs, run):
    step = runs[run]["step"]
    assert re.search(rf"\[{ROWS // 2},{DIM}\]", step)
    assert not re.search(rf"\[{ROWS}[,\]]", step)


@on_jax
def test_tables_with_few_rows_are_copied(runs):
    parts = [
        s for path, s in runs["small", "split adam"]["parts"].items() if "fused_embedding" in path
    ]
    assert sorted(parts) == [[ROWS], *[[ROWS, DIM]] * 3]


@on_jax
def test_rows_that_the_shards_can_not_share_out_equally_are_an_error():
    # There is one device; as if there were three.
    distribution = shard_tables(1, shard_from=0)
    distribution.num_shards = 3
    message = (
        r"shard_tables: `.*embeddings` has 50 rows, which 3 devices can't share out equally.*"
        "divides 64, or copy the table: shard_from=51"
    )
    with distribution.scope(), pytest.raises(ValueError, match=message):
        FusedEmbedding({"video_id": 50}, dim=2).build((None, 1))


@on_jax
@pytest.mark.parametrize(("shards", "replicas"), [(0, None), (2, 0)])
def test_a_number_below_1_is_an_error_that_shows_it(shards, replicas):
    message = f"must be 1 or more. Received: num_shards={shards}, num_replicas={replicas}"
    with pytest.raises(ValueError, match=message):
        shard_tables(shards, replicas)


@on_jax
def test_fewer_devices_than_asked_is_an_error_that_says_how_many():
    with pytest.raises(ValueError, match="shard_tables: 98 devices were asked for, and there are"):
        shard_tables(49, num_replicas=2)


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX shards variables")
def test_on_tensorflow_it_is_an_error_that_says_what_to_do():
    message = "shards variables on JAX, and the backend is tensorflow.*data_parallel"
    with pytest.raises(ValueError, match=message):
        shard_tables(2)
