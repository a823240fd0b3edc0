import keras
import keras_tuner
import numpy as np
import pytest

from keras_infnet import INFNet
from keras_infnet.search import INFNetHyperModel, SearchSpace
from tests.search.small_search import SPACE, small_data, small_schema


def point(**values):
    return {**{name: known[0] for name, known in SPACE.items()}, **values}


def test_keras_tuner_takes_it_as_a_hypermodel():
    hp = keras_tuner.HyperParameters()
    hp.Fixed("num_field_proxies", 4)
    model = INFNetHyperModel(small_schema(), SPACE, {"head_dim": 4})(hp)
    assert model.get_config()["num_field_proxies"] == 4
    assert model.get_config()["head_dim"] == 4
    assert float(np.array(model.optimizer.learning_rate)) == pytest.approx(1e-2)
    assert [known.name for known in hp.space][1:] == [n for n, _ in SPACE.items()][1:]


def test_the_forms_of_the_paper_are_built_by_their_names():
    model = INFNetHyperModel(small_schema(), SPACE).build(point(form="paper_v1"))
    sizes = {n: v for n, v in point().items() if not n.endswith(("_rate", "_factor", "form"))}
    expected = INFNet.paper_v1(small_schema(), name=model.name, **sizes)
    assert model.get_config() == expected.get_config()
    assert model.count_params() != INFNet(small_schema(), **sizes).count_params()


def test_tables_get_a_learning_rate_of_their_own():
    optimizer = INFNetHyperModel(small_schema(), SPACE).optimizer(
        point(learning_rate=0.02, table_rate_factor=4.0), steps=10
    )
    dense, tables = optimizer.optimizers
    rates = {float(np.array(part.learning_rate)) for part in (dense, tables)}
    np.testing.assert_allclose(sorted(rates), [0.02, 0.08], rtol=1e-6)


@pytest.mark.parametrize("factor", [1.0, 4.0])
def test_rates_fall_to_0_in_a_line(factor):
    values = point(learning_rate=0.02, table_rate_factor=factor)
    optimizer = INFNetHyperModel(small_schema(), SPACE).optimizer(values, steps=4)
    weights = [keras.Variable(np.zeros(2), name=n) for n in ("fused_embedding", "kernel")]
    optimizer.build(weights)
    steps = []
    for _ in range(5):
        before = [keras.ops.convert_to_numpy(w)[0] for w in weights]
        # Adam's step is the rate as long as gradients are the same.
        optimizer.apply_gradients([(keras.ops.ones(2), weight) for weight in weights])
        steps.append(
            [b - keras.ops.convert_to_numpy(w)[0] for b, w in zip(before, weights, strict=True)]
        )
    expected = np.outer([1, 0.75, 0.5, 0.25, 0], [0.02 * factor, 0.02])
    np.testing.assert_allclose(steps, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="TensorFlow's have names in them")
@pytest.mark.parametrize("factor", [1.0, 4.0])
def test_steps_that_differ_in_rates_alone_are_one_program(factor):
    import jax

    def program(rate):
        values = point(learning_rate=rate, table_rate_factor=factor)
        optimizer = INFNetHyperModel(small_schema(), SPACE).optimizer(values, steps=4)
        weights = [keras.Variable(np.zeros(2), name=n) for n in ("fused_embedding", "kernel")]
        optimizer.build(weights)
        state = [v.value for v in optimizer.variables], [w.value for w in weights]
        return jax.jit(optimizer.stateless_apply).lower(state[0], state[1], state[1]).as_text()

    assert program(0.02) == program(0.05)


def test_a_value_that_the_model_does_not_allow_is_an_error_before_any_trial():
    space = SearchSpace(dim=(6, 8))
    text = "space has .*dim=8.* which the model does not allow.*`num_heads` must divide `dim`"
    with pytest.raises(ValueError, match=text):
        INFNetHyperModel(small_schema(), space, {"num_heads": 3})
    INFNetHyperModel(small_schema(), SearchSpace(dim=(6, 9)), {"num_heads": 3})


def test_fixed_arguments_are_checked_by_name():
    with pytest.raises(ValueError, match="unknown argument `head_width`. Did you mean `head_dim`"):
        INFNetHyperModel(small_schema(), SPACE, {"head_width": 4})
    with pytest.raises(ValueError, match="dim stands in `fixed` and in the search space"):
        INFNetHyperModel(small_schema(), SPACE, {"dim": 4})


def test_keras_tuner_searches_with_it_alone(tmp_path):
    tuner = keras_tuner.RandomSearch(
        INFNetHyperModel(small_schema(), SPACE, {"head_dim": 4}),
        objective=keras_tuner.Objective("val_click_auc", "max"),
        max_trials=2,
        directory=tmp_path,
        project_name="tuner",
    )
    data = {"validation_data": small_data(seed=1), "shuffle": False}
    tuner.search(small_data(), **data, epochs=1, verbose=0)
    trials = tuner.oracle.get_best_trials(2)
    assert [trial.status for trial in trials] == ["COMPLETED"] * 2
    assert trials[0].score >= trials[1].score > 0
