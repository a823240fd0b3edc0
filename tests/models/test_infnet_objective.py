"""INFNet with an objective for its proxies: the loss, the logs of fit, balances, bad input."""

import keras
import numpy as np
import pytest

from keras_infnet import INFNet
from keras_infnet._base.weights_of_tasks import weights_of_tasks
from keras_infnet.layers import ProxyObjective
from tests import tiny
from tests.balances.test_training import Fixed, sgd
from tests.reference.objective import information, redundancy

FIGURES = ["proxy_information", "proxy_redundancy"]
GROUPS = ("field_proxies", "sequence_proxies", "task_proxies")


def made(members=1, schema=None, **arguments):
    keras.utils.set_random_seed(0)
    arguments = {"beta": 0.3, "lam": 2.0, "tau": 0.4, **arguments}
    model = INFNet(schema or tiny.schema(), dim=8, head_dim=5, members=members, **arguments)
    return tiny.randomise(model, scale=0.3)


def objectives(model, member=0):
    found = model.member(member).layers
    return {layer.name: layer for layer in found if isinstance(layer, ProxyObjective)}


def figures_of(model, x, member):
    """Loops over what each objective of a member is given."""
    layers, mask = objectives(model, member), x["exposures"][:, :, 0] != 0
    calls = {name: layer._inbound_nodes[0].input_tensors for name, layer in layers.items()}
    given = model.reading({name: found[:2] for name, found in calls.items()}, member)(x)
    found = []
    for group in GROUPS:
        proxies, tokens = (np.array(part, "float64") for part in given[f"{group}_objective"])
        there = mask if group == "sequence_proxies" else np.ones(tokens.shape[:2], bool)
        kernel = np.array(layers[f"{group}_objective"].kernel, "float64")
        bound = information(proxies, tokens, there, kernel, model.config.tau)
        found.append((bound, redundancy(proxies, there)))
    return np.mean(found, 0)


@pytest.mark.one_backend
def test_loss_and_logs_are_means_over_groups_and_members():
    model = made(members=2)
    x, (y, _) = tiny.inputs(model.schema), tiny.labels(model.schema)
    assert not x["exposures"][0, :, 0].any()
    model.compile(keras.optimizers.SGD(0.0), weighted_metrics=[], **tiny.quick())
    logs = model.train_on_batch(x, y, return_dict=True)
    bound, alike = np.mean([figures_of(model, x, m) for m in range(2)], 0)
    np.testing.assert_allclose([logs[name] for name in FIGURES], [bound, alike], rtol=1e-4)
    of_tasks = np.sum([task.loss_weight * logs[f"{task.name}_loss"] for task in model.schema.tasks])
    np.testing.assert_allclose(logs["loss"] - of_tasks, 0.3 * (2 * alike - bound), atol=1e-5)
    evaluated = model.test_on_batch(x, y, return_dict=True)
    assert evaluated.keys() == logs.keys() - set(FIGURES)


def test_training_on_it_alone_raises_information_and_lowers_redundancy():
    model = made(schema=tiny.schema(tasks=tiny.TASKS[:1]), beta=1.0, tau=0.1)
    x, (y, _) = tiny.inputs(model.schema, batch=24), tiny.labels(model.schema, batch=24)
    model.compile(
        keras.optimizers.Adam(0.01),
        loss_weights=dict.fromkeys(model.schema.task_names, 0.0),
        weighted_metrics=[],
        jit_compile=keras.backend.backend() == "jax",
    )
    given = {"validation_data": (x, y), "batch_size": 12, "verbose": 0, "shuffle": False}
    logs = model.fit(x, y, epochs=15, **given).history
    assert {*FIGURES, "val_loss"} <= set(logs) and not {f"val_{n}" for n in FIGURES} & set(logs)
    shown, alike = (logs[name] for name in FIGURES)
    assert shown[-1] > shown[0] + 0.5 and shown[-1] <= np.log(12)
    assert alike[-1] < 0.6 * alike[0]
    # The logs of an epoch are the means of its batches, and nothing of the epochs before.
    np.testing.assert_allclose(logs["loss"], 1.0 * (2 * np.array(alike) - shown), atol=1e-4)
    assert not set(FIGURES) & set(model.evaluate(x, y, verbose=0, return_dict=True))


@pytest.mark.one_backend
def test_without_it_nothing_is_there():
    model = made(beta=0.0)
    model.compile("sgd")
    assert objectives(model) == {} and not set(FIGURES) & set(model.metrics_names)
    with_it = [w.path for w in made().weights if "_objective/" not in w.path]
    assert [w.path for w in model.weights] == with_it


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("history", "arguments", "groups"),
    [
        ("none", {}, ["field_proxies", "task_proxies"]),
        ("exposures", {"task_tokens": False}, ["field_proxies", "sequence_proxies"]),
        ("exposures", {"num_task_proxies": 0}, ["field_proxies", "sequence_proxies"]),
        ("positives", {"num_blocks": 2, "num_encoder_layers": 1}, GROUPS),
        ("exposures", {"num_blocks": 0}, GROUPS),
    ],
)
def test_groups_without_proxies_or_tokens_have_no_objective(history, arguments, groups):
    found = objectives(made(schema=tiny.schema(history), **arguments))
    assert sorted(found) == [f"{group}_objective" for group in groups]
    for layer in found.values():
        np.testing.assert_allclose(layer.weight, 0.3 / len(groups))


@pytest.mark.one_backend
def test_no_task_reads_the_weights_of_the_objective():
    model = made(2)
    found = weights_of_tasks(model, tuple(model.schema.task_names))
    for variable in model.trainable_variables:
        own = "_objective/" in variable.path or "_head/" in variable.path
        assert found.shared(variable, 3) == (not own), variable.path
        assert "_objective/" not in variable.path or found.owner(variable) is None


def test_balances_weigh_the_tasks_and_leave_the_objective_as_it_is():
    x, (y, _) = tiny.inputs(tiny.schema()), tiny.labels(tiny.schema())
    changes = []
    for balance in (None, Fixed((0.5, 2.0, 3.0))):
        model = made()
        model.compile(sgd(), weighted_metrics=[], balance=balance, **tiny.quick())
        before = {v.path: np.array(v) for v in model.trainable_variables}
        logs = model.train_on_batch(x, y, return_dict=True)
        assert np.isfinite([logs[name] for name in FIGURES]).all()
        changes.append({v.path: np.array(v) - before[v.path] for v in model.trainable_variables})
    plain, balanced = changes
    for path, change in plain.items():
        if "_objective/" in path:
            assert np.abs(change).max() > 1e-4
            np.testing.assert_allclose(balanced[path], change, atol=1e-6)
    assert np.abs(balanced["field_proxies/kernel"] - plain["field_proxies/kernel"]).max() > 1e-4


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"beta": -0.1}, "INFNet: `beta` must be 0 or more. Received: -0.1"),
        ({"lam": -1}, "INFNet: `lam` must be 0 or more. Received: -1"),
        ({"tau": 0}, "INFNet: `tau` must be above 0. Received: 0"),
        ({"beta": float("nan")}, "INFNet: `beta` must be 0 or more. Received: nan"),
    ],
)
def test_values_out_of_range_are_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        INFNet(tiny.schema(), **arguments)


@pytest.mark.one_backend
def test_a_form_whose_heads_read_no_proxies_is_an_error():
    with pytest.raises(ValueError, match="beta=0.1 in a form with uses_candidate=False.*beta=0"):
        INFNet.paper_v1(tiny.schema(), beta=0.1)
