import keras
import numpy as np
import pytest

from keras_infnet.losses import JRC, RCR, CombinedPair
from tests.gradients import gradients

LOSSES = {
    "jrc": JRC,
    "rcr": RCR,
    "pair": CombinedPair,
    "pair in lists": lambda a: CombinedPair(a, within="list"),
}


def entropy(s, y):
    return -(y * np.log(1 / (1 + np.exp(-s))) + (1 - y) * np.log(1 / (1 + np.exp(s))))


def jrc_part(z0, z1, y, w, lists):
    """As the paper has it: two logits a row, a loop over rows and over the rows of their lists."""
    total = 0.0
    for i in range(len(y)):
        of_list = [j for j in range(len(y)) if lists[j] == lists[i] and w[j] > 0]
        if lists[i] < 0 or w[i] == 0:
            continue
        z = z1 if y[i] else z0
        total += w[i] * -(z[i] - np.log(sum(np.exp(z[j]) for j in of_list)))
    return total / sum(lists > -2)


def rcr_part(s, y, w, lists):
    p, of_lists = 1 / (1 + np.exp(-s)), []
    for g in {g for g, weight in zip(lists, w, strict=True) if g >= 0 and weight > 0}:
        rows = [i for i in range(len(y)) if lists[i] == g and w[i] > 0]
        whole, positives = sum(p[i] for i in rows), sum(y[i] for i in rows)
        lost = sum(-w[i] * y[i] * np.log(p[i] / whole) for i in rows)
        of_lists.append(lost / positives if positives else 0.0)
    return np.mean(of_lists) if of_lists else 0.0


def pair_part(s, y, w, lists):
    lost = [
        np.sqrt(w[i] * w[j]) * np.log(1 + np.exp(-(s[i] - s[j])))
        for i in range(len(y))
        for j in range(len(y))
        if y[i] and not y[j] and w[i] > 0 and w[j] > 0 and lists[i] == lists[j] >= 0
    ]
    return np.mean(lost) if lost else 0.0


PARTS = {
    "jrc": lambda s, *rows: jrc_part(-s / 2, s / 2, *rows),
    "rcr": rcr_part,
    "pair": pair_part,
    "pair in lists": pair_part,
}


def rows(seed=0, number=24):
    """Logits, labels, weights with some 0, and lists: of one row, one class, none, and no row."""
    draw = np.random.default_rng(seed)
    lists = draw.integers(0, 5, number)
    lists[:2], lists[2], lists[3:5] = -1, 7, -2
    y, w = draw.integers(0, 2, number), draw.choice([0.0, 1.0, 2.5], number)
    y[lists == 1], w[lists == -2] = 0, 0
    return draw.normal(0, 2, number), y, w, lists


def found(loss, s, y, w, lists):
    p = (1 / (1 + np.exp(-s)))[:, None].astype("float32")
    return float(loss(np.stack([y, lists], 1).astype("float32"), p, w.astype("float32")[:, None]))


@pytest.mark.parametrize("a", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("name", LOSSES)
def test_equals_loops_over_rows_and_mixes_with_cross_entropy(name, a):
    s, y, w, lists = rows()
    own = np.sum(w * entropy(s, y)) / np.sum(lists > -2)
    expected = (1 - a) * own + a * PARTS[name](s, y, w, lists)
    np.testing.assert_allclose(found(LOSSES[name](a), s, y, w, lists), expected, rtol=2e-5)


def test_jrcs_part_does_not_change_with_what_is_added_to_either_logit():
    s, y, w, lists = rows(1)
    expected = jrc_part(3 - s / 2, s / 2 - 5, y, w, lists)
    np.testing.assert_allclose(found(JRC(1.0), s, y, w, lists), expected, rtol=2e-5)
    np.testing.assert_allclose(found(JRC(1.0), s + 2, y, w, lists), expected, rtol=2e-5)


def test_a_number_added_to_all_logits_leaves_pairs_alone_and_changes_rcr():
    s, y, w, lists = rows(2)
    for within in ("batch", "list"):
        pair = CombinedPair(1.0, within)
        before, after = (found(pair, logits, y, w, lists) for logits in (s, s + 2))
        np.testing.assert_allclose(before, after, rtol=2e-5)
    before, after = (found(RCR(1.0), logits, y, w, lists) for logits in (s, s + 2))
    assert abs(before - after) > 0.01


@pytest.mark.parametrize("name", LOSSES)
def test_order_of_rows_names_of_lists_and_rows_of_weight_0_do_not_matter(name):
    s, y, w, lists = rows(3)
    before, order = (
        found(LOSSES[name](0.7), s, y, w, lists),
        np.random.default_rng(0).permutation(24),
    )
    renamed = np.where(lists >= 0, 9 - lists, lists)
    np.testing.assert_allclose(
        found(LOSSES[name](0.7), *(a[order] for a in (s, y, w, renamed))), before, rtol=1e-5
    )
    unseen = w == 0
    s[unseen], y[unseen] = -s[unseen], 1 - y[unseen]
    np.testing.assert_allclose(found(LOSSES[name](0.7), s, y, w, lists), before, rtol=1e-5)


def test_one_positive_among_equals_costs_the_logarithm_of_the_lists_size():
    y = np.eye(1, 6)[0]
    value = found(RCR(1.0), np.full(6, -1.3), y, np.ones(6), np.zeros(6))
    np.testing.assert_allclose(value, np.log(6), rtol=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_nothing_to_compare_costs_nothing(name):
    s, y, w = np.array([0.4, -2.0]), np.array([1, 1]), np.ones(2)
    if name != "rcr":  # its lists of positives alone are not 0
        np.testing.assert_allclose(found(LOSSES[name](1.0), s, y, w, np.arange(2)), 0, atol=1e-6)
    assert found(LOSSES[name](1.0), s, y, w, np.array([-1, -1])) == 0
    assert found(LOSSES[name](1.0), s, y, 0 * w, np.zeros(2)) == 0


def gradients_of_logits(loss, logits, y_true):
    rows = len(logits)
    dense = keras.layers.Dense(1, use_bias=False, activation="sigmoid")
    model = keras.Sequential([keras.Input((rows,)), dense])
    model.set_weights([np.array(logits, "float32")[:, None]])
    identity, y_true = np.eye(rows, dtype="float32"), np.array(y_true, "float32")
    (found,) = gradients(model, identity, lambda p: loss(y_true, p)).values()
    return found[:, 0]


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_of_certain_predictions_are_finite(name):
    y_true = [[1, 0], [0, 0], [1, 0]]
    found = gradients_of_logits(LOSSES[name](0.5), [90, 40, -90], y_true)
    assert np.isfinite(found).all()


def test_the_gradient_on_a_negative_is_the_mean_over_positives():
    s = np.array([0.3, -1.0, 2.0, -6.0])
    found = gradients_of_logits(CombinedPair(1.0), s, [[1, 0], [1, 0], [0, 0], [0, 0]])
    expected = [np.mean(1 / (1 + np.exp(-(s[j] - s[:2])))) / 2 for j in (2, 3)]
    np.testing.assert_allclose(found[2:], expected, rtol=1e-4)


def test_labels_alone_give_the_cross_entropy_of_an_evaluation():
    s, y, w, _ = rows(4)
    p = (1 / (1 + np.exp(-s)))[:, None].astype("float32")
    value = RCR()(y[:, None].astype("float32"), p, w.astype("float32")[:, None])
    np.testing.assert_allclose(float(value), np.mean(w * entropy(s, y)), rtol=1e-5)


@pytest.mark.parametrize("loss", [JRC(0.4), RCR(0.1), CombinedPair(0.2, "list")])
def test_configs_come_back(loss):
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(again) is type(loss) and again.get_config() == loss.get_config()


def test_arguments_out_of_range():
    with pytest.raises(ValueError, match="JRC: list_weight is 1.5; expected a number from 0"):
        JRC(1.5)
    with pytest.raises(ValueError, match='within is \'user\'; expected "batch" or "list"'):
        CombinedPair(within="user")
