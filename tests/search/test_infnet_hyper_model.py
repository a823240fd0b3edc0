import keras_tuner
import numpy as np
import pytest

from keras_infnet.search import INFNetHyperModel, SearchSpace
from tests.search.small_search import SPACE, small_schema


def point(**values):
    return {**{name: known[0] for name, known in SPACE.items()}, **values}


def test_keras_tuner_takes_it_as_a_hypermodel():
    hp = keras_tuner.HyperParameters()
    hp.Fixed("num_field_proxies", 4)
    model = INFNetHyperModel(small_schema(), SPACE, {"head_dim": 4})(hp)
    assert model.config.num_field_proxies == 4
    assert model.config.head_dim == 4
    assert float(np.array(model.optimizer.learning_rate)) == pytest.approx(1e-2)
    assert [known.name for known in hp.space][1:] == [n for n, _ in SPACE.items()][1:]


def test_the_forms_of_the_paper_are_built_by_their_names():
    model = INFNetHyperModel(small_schema(), SPACE).build(point(form="paper_v1"))
    assert not model.config.form.uses_candidate


def test_tables_get_a_learning_rate_of_their_own():
    optimizer = INFNetHyperModel(small_schema(), SPACE).optimizer(
        point(learning_rate=0.02, table_rate_factor=4.0), steps=10
    )
    dense, tables = optimizer.optimizers
    rates = {float(np.array(part.learning_rate)) for part in (dense, tables)}
    np.testing.assert_allclose(sorted(rates), [0.02, 0.08], rtol=1e-6)


def test_a_value_that_the_model_does_not_allow_is_an_error_before_any_trial():
    space = SearchSpace(dim=(16, 18))
    message = "space has dim=18, which the model does not allow.*num_heads=4, dim=18"
    with pytest.raises(ValueError, match=message):
        INFNetHyperModel(small_schema(), space, {"num_heads": 4})


def test_fixed_arguments_are_checked_by_name():
    with pytest.raises(ValueError, match="no argument head_width in `fixed`. Known: .*head_dim"):
        INFNetHyperModel(small_schema(), SPACE, {"head_width": 4})
    with pytest.raises(ValueError, match="dim stands in `fixed` and in the search space"):
        INFNetHyperModel(small_schema(), SPACE, {"dim": 4})
