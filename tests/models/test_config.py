import dataclasses
import inspect

import numpy as np
import pytest

from keras_infnet import INFNet
from keras_infnet.models import FM, MODELS, SharedBottom
from tests import tiny

EXPOSURES = tiny.schema("exposures")


@pytest.mark.parametrize("name", MODELS)
def test_an_argument_that_a_model_does_not_have_is_an_error(name):
    with pytest.raises(ValueError, match=f"{name}: unknown argument `dropot`.*`dropout`"):
        MODELS[name](EXPOSURES, dropot=0.1)
    with pytest.raises(ValueError, match=f"{name}: unknown argument `wibble`. Known: dim, "):
        MODELS[name](EXPOSURES, wibble=3)


@pytest.mark.parametrize("name", MODELS)
def test_each_argument_must_be_of_its_kind(name):
    parameters = inspect.signature(MODELS[name]).parameters
    of_all = ("schema", "name", "trainable", "dtype")
    given = {n: p.default for n, p in parameters.items() if n not in of_all}
    for argument, default in given.items():
        for wrong in _wrong_kinds(default):
            with pytest.raises(ValueError, match=f"{name}: `{argument}` must be .*Received: "):
                MODELS[name](EXPOSURES, **{argument: wrong})


def test_a_file_can_not_ask_for_networks_beyond_memory():
    model = FM(EXPOSURES, dim=4)
    config = model.get_config() | {"dim": 10**9}
    with pytest.raises(ValueError, match="FM: `dim` must be 65536 or less. Received: 1000000000"):
        FM.from_config(config)
    with pytest.raises(ValueError, match="`hidden_dims` must be 65536 or less"):
        SharedBottom(EXPOSURES, hidden_dims=(8, 1 << 40))


def _wrong_kinds(default):
    if isinstance(default, bool):
        return ("no", 1, None)
    if isinstance(default, str):
        return (True, 1, None)
    if isinstance(default, float):
        return ("0.1", None, True)
    if isinstance(default, tuple):
        return (8, "age", None, (None,))
    return ("8", 2.5, True, np.int64(8)) + (() if default is None else (None,))


def test_the_arguments_of_keras_and_an_int_for_a_float_are_taken():
    model = FM(EXPOSURES, dim=4, dropout=0, name="mine", trainable=False)
    assert model.name == "mine" and not model.trainable_variables
    assert model.config.dropout == 0


def test_versions_of_the_paper_know_their_arguments():
    for make in (INFNet.paper_v1, INFNet.paper_v2):
        with pytest.raises(ValueError, match="unknown argument `num_bloks`.*`num_blocks`"):
            make(EXPOSURES, num_bloks=1)


def test_a_configuration_is_frozen():
    config = FM(EXPOSURES, dim=4).config
    assert isinstance(config, FM.Config) and config.dim == 4
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.dim = 8


def test_the_signature_shows_the_arguments_and_their_defaults():
    parameters = inspect.signature(MODELS["MMoE"]).parameters
    assert next(iter(parameters)) == "schema" and [*parameters][-3:] == [
        "name",
        "trainable",
        "dtype",
    ]
    assert parameters["num_experts"].default == 8
    assert parameters["num_experts"].kind is inspect.Parameter.KEYWORD_ONLY


def test_heads_divide_the_width():
    with pytest.raises(
        ValueError, match="INFNet: `num_heads` must divide `dim`.*num_heads=3, dim=8"
    ):
        INFNet(EXPOSURES, dim=8, num_heads=3)


@pytest.mark.parametrize("stddev", [0.0, -1.0, float("nan"), float("inf")])
def test_embeddings_start_at_a_deviation_above_zero(stddev):
    with pytest.raises(ValueError, match="`embedding_stddev` must be above 0"):
        FM(EXPOSURES, embedding_stddev=stddev)


@pytest.mark.parametrize("wrong", [EXPOSURES.to_dict(), None, "schema"])
def test_what_is_no_schema_is_named(wrong):
    message = f"INFNet: the schema is a {type(wrong).__name__}; expected a fitted FeatureSchema"
    with pytest.raises(ValueError, match=message):
        INFNet(wrong)


def test_weights_of_some_losses_leave_the_others_to_the_schema():
    schema = tiny.schema("none", tasks=tiny.TASKS)
    x, (y, w) = tiny.inputs(schema, batch=16), tiny.labels(schema, batch=16)

    def loss(**arguments):
        model = SharedBottom(schema, dim=4, hidden_dims=(8,))
        model.set_weights([np.full(v.shape, 0.1) for v in model.weights])
        model.compile("sgd", **arguments)
        return model.evaluate(x, y, sample_weight=w, batch_size=16, return_dict=True, verbose=0)

    all_given = {t.name: t.loss_weight for t in schema.tasks} | {"click": 5.0}
    np.testing.assert_allclose(
        loss(loss_weights={"click": 5.0})["loss"], loss(loss_weights=all_given)["loss"], rtol=1e-6
    )
    with pytest.raises(ValueError, match="no task `clik`. Did you mean `click`"):
        loss(loss_weights={"clik": 5.0})
