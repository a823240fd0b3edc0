"""What every public layer must do."""

import functools
import inspect
import re

import keras
import numpy as np
import pytest
from keras import ops, tree

import keras_infnet
from tests import tiny
from tests.contracts.layer_cases import CASES, MASK, PADDED
from tests.gradients import gradients

LAYERS = sorted({layer for layer, _, _ in CASES.values()}, key=lambda layer: layer.__name__)


@functools.cache
def model_of(case, dtype="float32"):
    """The layer in a functional model, with weights that are not trivial."""
    layer, arguments, call = CASES[case]
    inputs = tree.map_structure(lambda x: keras.Input(x.shape[1:], dtype=str(x.dtype)), call)
    outputs = layer(**arguments, dtype=dtype, name="layer")(**inputs)
    model = keras.Model(tree.flatten(inputs), outputs)
    return tiny.randomise(model, scale=0.3)


def outputs_of(case, call=None, dtype="float32"):
    flat = tree.flatten(CASES[case][2] if call is None else call)
    outputs = tiny.predict(model_of(case, dtype), flat)
    return [np.asarray(x, "float32") for x in tree.flatten(outputs)]


def test_every_public_layer_has_a_case():
    public = {getattr(keras_infnet.layers, name) for name in keras_infnet.layers.__all__}
    assert public == set(LAYERS)


@pytest.mark.parametrize("case", CASES)
def test_config_makes_the_same_layer(case):
    layer, arguments, _ = CASES[case]
    config = layer(**arguments).get_config()
    again = layer.from_config(config).get_config()
    assert again == config
    assert set(inspect.signature(layer).parameters) - {"kwargs"} <= set(config)


@pytest.mark.parametrize("case", CASES)
def test_keras_file_round_trip(case, tmp_path):
    model_of(case).save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for old, new in zip(model_of(case).weights, loaded.weights, strict=True):
        assert old.path == new.path
        np.testing.assert_array_equal(old, new)
    outputs = tree.flatten(tiny.predict(loaded, tree.flatten(CASES[case][2])))
    for old, new in zip(outputs_of(case), outputs, strict=True):
        np.testing.assert_allclose(old, new, atol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_symbolic_shapes_and_dtypes_are_the_real_ones(case):
    model = model_of(case)
    symbolic = tree.flatten(model.output)
    real = tree.flatten(tiny.predict(model, tree.flatten(CASES[case][2])))
    for x, y in zip(symbolic, real, strict=True):
        assert (y.shape[0], *x.shape[1:]) == y.shape
        assert x.dtype == y.dtype.name
    layer, _, call = CASES[case]
    shapes = {f"{name}_shape": _shapes_of(x) for name, x in call.items()}
    names = list(inspect.signature(layer.compute_output_shape).parameters)[1:]
    given = [shapes.get(name, next(iter(shapes.values()))) for name in names]
    computed = model.get_layer("layer").compute_output_shape(*given)
    assert sorted(map(str, _shapes(computed))) == sorted(str(y.shape) for y in real)


@pytest.mark.parametrize("case", CASES)
def test_every_weight_has_a_gradient(case):
    def loss(outputs):
        flat = tree.flatten(outputs)
        rng = np.random.default_rng(1)
        noise = [rng.normal(size=x.shape).astype("float32") for x in flat]
        return sum(ops.sum(x * n) for x, n in zip(flat, noise, strict=True))

    # In training, when losses are added, which some weights are of.
    found = gradients(model_of(case), tree.flatten(CASES[case][2]), loss, training=True)
    assert [path for path, g in found.items() if g is None or not np.any(g)] == []


@pytest.mark.parametrize("case", PADDED)
def test_what_stands_in_padding_changes_nothing(case):
    _, _, call = CASES[case]
    garbage = tree.map_structure(np.copy, call)
    for name in PADDED[case]:
        holder = garbage["state"] if "state" in garbage else garbage
        holder[name][~MASK] = 1e3
    for old, new in zip(outputs_of(case), outputs_of(case, garbage), strict=True):
        if old.shape[1:2] == MASK.shape[1:]:
            old, new = old[MASK], new[MASK]
        np.testing.assert_allclose(old, new, atol=1e-5)


@pytest.mark.parametrize("case", PADDED)
def test_a_row_of_padding_alone_is_finite(case):
    assert not MASK[0].any()
    assert all(np.isfinite(x[0]).all() for x in outputs_of(case))


def behind_an_embedding(case):
    """The layer in a user's model: ids, `Embedding(mask_zero=True)`, the layer; no mask by hand."""
    layer, arguments, call = CASES[case]
    (masked,) = PADDED[case]
    ids = keras.Input((None,), dtype="int32")
    width = call[masked].shape[-1]
    given, others = {}, {}
    for name, x in call.items():
        if name == masked:
            given[name] = keras.layers.Embedding(50, width, mask_zero=True)(ids)
        elif not name.endswith("_mask"):
            others[name] = given[name] = tree.map_structure(_any_length, x)
    outputs = layer(**arguments, name="layer")(**given)
    model = keras.Model([ids, *tree.flatten(others)], outputs)
    return tiny.randomise(model, scale=0.3), {name: call[name] for name in others}


def _any_length(x):
    return keras.Input((None, *x.shape[2:]) if _in_time(x) else x.shape[1:], dtype=str(x.dtype))


def _in_time(x):
    return x.ndim > 1 and x.shape[1] == MASK.shape[1]


@pytest.mark.parametrize("case", [c for c in PADDED if "pooling" not in c])
def test_an_embedding_with_a_mask_before_it_needs_no_other_word(case):
    model, others = behind_an_embedding(case)
    ids = np.where(MASK, np.random.default_rng(3).integers(1, 50, MASK.shape), 0).astype("int32")

    def of(padding):
        def longer(x):
            return np.pad(x, ((0, 0), (padding, 0), *((0, 0),) * (x.ndim - 2)))

        given = tree.map_structure(lambda x: longer(x) if _in_time(x) else x, others)
        return tree.flatten(model([longer(ids), *tree.flatten(given)]))

    for short, long in zip(of(0), of(4), strict=True):
        left_out = long.shape[1] - short.shape[1] if short.ndim == 3 else 0
        short, long = np.asarray(short), np.asarray(long)
        if left_out:
            short, long = short[MASK], long[:, left_out:][MASK]
        assert np.isfinite(short).all()
        np.testing.assert_allclose(long, short, atol=1e-5)


@pytest.mark.parametrize("case", [c for c in PADDED if "pooling" not in c])
def test_a_mask_goes_on_only_with_an_output_of_its_shape(case):
    model, others = behind_an_embedding(case)
    ids = np.ones(MASK.shape, "int32")
    for output in tree.flatten(model([ids, *tree.flatten(others)])):
        mask = keras.src.backend.get_keras_mask(output)
        assert mask is None or tuple(mask.shape) == tuple(output.shape[:2])


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("case", CASES)
def test_mixed_precision_computes_in_the_policy(case, dtype):
    model_of(case, dtype).set_weights(model_of(case).get_weights())
    outputs = outputs_of(case, dtype=dtype)
    for x, half in zip(outputs_of(case), outputs, strict=True):
        np.testing.assert_allclose(half, x, atol=0.15 * max(1, np.abs(x).max()))
    layers = keras_infnet.layers
    always = {layers.TaskHead: "float32", layers.CausalMask: "bool"}
    expected = always.get(CASES[case][0], dtype.removeprefix("mixed_"))
    assert {x.dtype for x in tree.flatten(model_of(case, dtype).output)} == {expected}
    assert {w.dtype for w in model_of(case, dtype).weights} <= {"float32"}


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.__name__)
def test_defaults_in_the_docstring_are_those_of_the_signature(layer):
    assert_defaults_are_documented(layer)


def assert_defaults_are_documented(documented):
    text = inspect.getdoc(documented).split("Args:\n")[1].split("\n\n")[0]
    entries = dict(re.findall(r"^    (\w+): ((?:.|\n     )*)", text, re.MULTILINE))
    parameters = inspect.signature(documented).parameters
    for name, parameter in parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            continue
        found = re.search(r"Defaults?\s+to\s+`([^`]*)`", entries[name])
        if parameter.default is parameter.empty:
            assert found is None, name
        else:
            expected = repr(parameter.default).replace("'", '"')
            assert found and " ".join(found[1].split()) == expected, (name, expected)


def _shapes_of(call):
    return tree.map_structure(lambda x: x.shape, call)


def _shapes(shapes):
    if isinstance(shapes, dict):
        return [s for shape in shapes.values() for s in _shapes(shape)]
    if isinstance(shapes, list):
        return [s for shape in shapes for s in _shapes(shape)]
    return [tuple(shapes)]
