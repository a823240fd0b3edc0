import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_infnet.metrics.group_auc import WEIGHTINGS, GroupAUC, group_auc
from tests.metrics.sklearn_loop import group_auc_loop

# Few groups and few scores: ties, groups with one class and groups with one row all occur.
ROWS = st.lists(
    st.tuples(st.booleans(), st.integers(0, 4), st.integers(0, 5), st.integers(0, 3)), min_size=1
)


@settings(max_examples=100, deadline=None)
@given(rows=ROWS, weighting=st.sampled_from(WEIGHTINGS))
def test_equals_a_loop_over_groups_around_scikit_learn(rows, weighting):
    labels, scores, keys, weights = np.array(rows).T
    found = group_auc(labels, scores, keys, weighting, weights)
    expected = group_auc_loop(labels, scores, keys, weighting, weights)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_several_key_columns_group_by_all_of_them():
    rng = np.random.default_rng(1)
    labels, scores = rng.integers(0, 2, 400), rng.normal(size=400)
    user, day = rng.choice(["ann", "bob", "eve"], 400), rng.integers(0, 4, 400)
    expected = group_auc_loop(labels, scores, list(zip(user, day, strict=True)))
    assert group_auc(labels, scores, [user, day]) == pytest.approx(expected, abs=1e-12)


def test_rows_of_nobody_are_in_no_group():
    labels, scores, keys = ranked_rows(400, 6)
    scores = np.random.default_rng(4).choice([0.02, 0.1, 0.3, 0.6, 0.9], len(labels))
    keys[::3] = -1
    known = keys >= 0
    expected = group_auc_loop(labels[known], scores[known], keys[known])
    users = [None if key < 0 else f"u{key}" for key in keys]
    found = [group_auc(labels, scores, groups) for groups in (keys, users, [users, keys % 1])]
    streaming = update_in_batches(GroupAUC(num_buckets=60), labels, scores, keys)
    assert [*found, streaming] == pytest.approx([expected] * 4, abs=1e-5)
    assert np.isnan(group_auc([0, 1], [0.1, 0.2], ["", ""]))


def test_no_group_with_both_classes_is_nan():
    assert np.isnan(group_auc([0, 1], [0.1, 0.2], ["ann", "bob"]))
    assert np.isnan(group_auc([], [], []))


def test_keys_of_another_length_are_an_error():
    with pytest.raises(ValueError, match="one key a row. Received: 3 keys and 2 labels"):
        group_auc([0, 1], [0.1, 0.2], [1, 1, 2])


@pytest.mark.parametrize("make", [GroupAUC, lambda w: group_auc([0], [0.1], [1], w)])
def test_an_unknown_weighting_is_an_error_that_lists_the_known(make):
    with pytest.raises(ValueError, match="'impressions', 'positives', 'uniform'.*'clicks'"):
        make("clicks")


def ranked_rows(num_rows=4000, num_groups=60):
    rng = np.random.default_rng(2)
    keys = rng.integers(0, num_groups, num_rows)
    logits = rng.normal(-2, 1, num_rows) + rng.normal(size=num_groups)[keys]
    probabilities = (1 / (1 + np.exp(-logits))).astype("float32")
    return (rng.random(num_rows) < probabilities).astype("float32"), probabilities, keys


def update_in_batches(metric, labels, scores, keys, weights=None):
    for rows in np.array_split(np.arange(len(labels)), 7):
        weight = None if weights is None else weights[rows, None]
        metric.update_state(labels[rows, None], scores[rows, None], keys[rows], weight)
    return float(metric.result())


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_the_streaming_form_approaches_the_exact_value(weighting):
    labels, scores, keys = ranked_rows()
    weights = np.random.default_rng(3).integers(0, 3, len(labels)).astype("float32")
    labels[weights == 0] = np.nan
    exact = group_auc_loop(labels, scores, keys, weighting, weights)
    errors = []
    for num_bins in (4, 40, 400):
        metric = GroupAUC(weighting, num_buckets=64, num_bins=num_bins)
        errors.append(abs(update_in_batches(metric, labels, scores, keys, weights) - exact))
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-3


def test_scores_on_a_grid_of_bins_are_exact():
    labels, _, keys = ranked_rows()
    scores = np.random.default_rng(4).choice([0.02, 0.1, 0.3, 0.6, 0.9], len(labels))
    metric = GroupAUC(num_buckets=60)
    found = update_in_batches(metric, labels, scores, keys)
    assert found == pytest.approx(group_auc_loop(labels, scores, keys), abs=1e-5)


def test_a_compiled_update_counts_what_an_eager_one_counts():
    labels, scores, keys = ranked_rows(100, 6)
    weights = np.linspace(0, 2, 100, dtype="float32")
    eager, compiled = GroupAUC(num_buckets=8), GroupAUC(num_buckets=8)
    eager.update_state(labels, scores, keys, weights)
    if keras.backend.backend() == "jax":
        import jax

        update = jax.jit(compiled.stateless_update_state)
        (counts,) = update([compiled.counts.value], labels, scores, keys, weights)
        compiled.counts.assign(counts)
    else:
        import tensorflow as tf

        tf.function(compiled.update_state)(labels, scores, tf.constant(keys), weights)
    assert float(compiled.result()) == float(eager.result()) > 0


def test_key_columns_are_hashed_together():
    labels, _, keys = ranked_rows(2000, 6)
    scores = np.random.default_rng(5).choice([0.1, 0.3, 0.6], len(labels))
    columns = np.stack([keys // 2, keys % 2], axis=1)
    found = update_in_batches(GroupAUC(num_buckets=4096), labels, scores, columns)
    assert found == pytest.approx(group_auc_loop(labels, scores, keys), abs=1e-5)


def test_reset_forgets_and_nothing_is_nan():
    metric = GroupAUC(num_buckets=8, num_bins=10)
    metric.update_state([0, 1], [0.9, 0.1], [1, 1])
    assert float(metric.result()) == 0.0
    metric.reset_state()
    assert np.isnan(float(metric.result()))


def test_config_round_trip():
    metric = GroupAUC("uniform", num_buckets=8, num_bins=10, name="user_auc")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    assert again.get_config() == metric.get_config()
    assert (again.name, again.weighting, again.counts.shape) == ("user_auc", "uniform", (80, 2))


def test_too_few_buckets_or_bins_are_an_error():
    with pytest.raises(ValueError, match="num_bins` 2 or more.*num_buckets=8, num_bins=1"):
        GroupAUC(num_buckets=8, num_bins=1)
