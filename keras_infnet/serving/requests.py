"""Requests of every signature, made from rows; `tf.Example`s, written and parsed."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_infnet.schema.relative import RelativeFeature
from keras_infnet.schema.schema import FeatureSchema

Arrays = Mapping[str, np.ndarray]
# How tensors of a user's state are called, and no feature may be; one is the version's number.
STATE_PREFIX = "user_state_"
FINGERPRINT = f"{STATE_PREFIX}fingerprint"
# How the graph, and the client by itself, refuse a state.
OTHER_VERSION = "the state is of another version of the model"
Signature = dict[str, dict[str, tuple[str, tuple[int, ...]]]]


def read_artefact(path: Path, make: Callable[[Any], Any], words: str) -> Any:
    """What `make` gives for the JSON in a file.

    Args:
        path: The file.
        make: Called with the JSON's value.
        words: What an error says, with `{path}` and `{error}`.

    Raises:
        ValueError: The file is missing, or of something else.
    """
    try:
        return make(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(words.format(path=path, error=error)) from error


def read_signatures(saved_model: Path) -> dict[str, Signature]:
    """Each signature's `inputs` and `outputs`: dtype and shape by name, -1 for any size.

    Raises:
        ValueError: The folder holds no saved model.
    """
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    try:
        data = (saved_model / "saved_model.pb").read_bytes()
        (graph,) = saved_model_pb2.SavedModel.FromString(data).meta_graphs
    except (OSError, DecodeError, ValueError) as error:
        raise ValueError(
            f"`{saved_model}` holds no saved model; expected a folder that `export` wrote. "
            f"({error})"
        ) from error
    return {
        name: {"inputs": _tensors(found.inputs), "outputs": _tensors(found.outputs)}
        for name, found in sorted(graph.signature_def.items())
        if not name.startswith("__")
    }


def _tensors(infos: Mapping[str, Any]) -> dict[str, tuple[str, tuple[int, ...]]]:
    import tensorflow as tf

    return {
        name: (tf.as_dtype(info.dtype).name, tuple(dim.size for dim in info.tensor_shape.dim))
        for name, info in sorted(infos.items())
    }


def item_inputs(schema: FeatureSchema) -> list[str]:
    """Names of the raw inputs that are the item's; histories are the user's."""
    return list(schema.raw_inputs(("item",)))


def score_inputs(schema: FeatureSchema) -> dict[str, Any]:
    """Raw inputs of `score` beside the state: the context's, with one row, and the item's."""
    return schema.ranked.raw_inputs(("context", "item"))


def column_names(schema: FeatureSchema) -> list[str]:
    """Columns of all outputs, side by side: `rank_top_k` has an exponent for each."""
    return [column for task in schema.tasks for column in task.columns]


def rank_request(schema: FeatureSchema, request: Arrays) -> dict[str, np.ndarray]:
    """A request of `rank`: every row's item as a candidate for the user of the first row."""
    items, names = item_inputs(schema), schema.ranked.raw_inputs()
    return {n: v if n in items else v[:1] for n, v in request.items() if n in names}


def paired_request(schema: FeatureSchema, request: Arrays) -> dict[str, np.ndarray]:
    """The request of `serving_default` with the same pairs as a request of `rank`."""
    items = item_inputs(schema)
    rows = next(len(request[name]) for name in items if name in request)
    pairs = {n: v if n in items else np.repeat(v, rows, axis=0) for n, v in request.items()}
    return pairs | of_one_list(schema, pairs)


def of_one_list(schema: FeatureSchema, request: Arrays) -> dict[str, np.ndarray]:
    """The features relative to a list, by name, of rows whose items are the candidates of one."""
    return {
        f.name: f.of_lists(np.asarray(request[f.of]), np.zeros(len(request[f.of]), "int64"))
        for f in schema.features
        if isinstance(f, RelativeFeature)
    }


def signature_requests(
    signatures: Mapping[str, Signature],
    schema: FeatureSchema,
    request: Arrays,
    states: Callable[[Arrays], Arrays] | None = None,
) -> dict[str, dict[str, np.ndarray]]:
    """A request for each signature that this library makes.

    Args:
        signatures: Signatures by name, as `read_signatures` gives them.
        schema: The schema.
        request: Rows as `frame_to_request` gives them.
        states: Asks the signature `user_state`. Defaults to `None`: there is no request of `score`.

    Returns:
        Arrays by input name, by signature.
    """
    rows = len(next(iter(request.values())))
    exponents = np.ones(len(column_names(schema)), "float32")
    ranked = rank_request(schema, request)
    made = {
        "serving_default": request,
        "rank": ranked,
        "rank_top_k": {**ranked, "exponents": exponents, "k": np.array(min(3, rows), "int32")},
        "examples": {"examples": tf_examples(request)},
        "user_state": ranked,
    }
    if states is not None and "score" in signatures:
        of_user = {n: ranked[n] for n in signatures["user_state"]["inputs"]}
        made["score"] = {**ranked, **states(of_user)}
    return {
        name: {k: v for k, v in made[name].items() if k in signature["inputs"]}
        for name, signature in signatures.items()
        if name in made
    }


def tf_examples(request: Arrays) -> np.ndarray:
    """Serialised `tf.Example`s, one a row, with the values of each input in order.

    A history's column of bags has besides, as `{name}_lengths`, how many values each event has.
    """
    import tensorflow as tf

    lengths = {
        f"{name}_lengths": np.full(values.shape[:2], values.shape[2])
        for name, values in request.items()
        if values.ndim == 3
    }
    examples = []
    for row in range(len(next(iter(request.values())))):
        example = tf.train.Example()
        for name, values in {**request, **lengths}.items():
            feature, found = example.features.feature[name], values[row : row + 1].ravel()
            if values.dtype.kind == "f":
                feature.float_list.value.extend(found)
            elif values.dtype.kind == "i":
                feature.int64_list.value.extend(found)
            else:
                texts = [v if isinstance(v, bytes) else str(v).encode() for v in found]
                feature.bytes_list.value.extend(texts)
        examples.append(example.SerializeToString(deterministic=True))
    return np.array(examples, object)


def parse_examples(schema: FeatureSchema, serialised: Any) -> dict[str, Any]:
    """Raw features of a batch, by the names of `schema.raw_inputs()`.

    A feature that an example lacks is missing there, and a history empty; a dense vector must be
    there. In a history's column of bags, `{name}` holds the values of all events and
    `{name}_lengths` how many each event has.

    Args:
        schema: The schema.
        serialised: String tensor `(batch,)`.

    Returns:
        Dict of tensors `(batch, ...)`.
    """
    import tensorflow as tf

    inputs = schema.raw_inputs()
    missing = schema.raw_missing()
    kinds = {name: _kind(tf, name, *spec, missing[name]) for name, spec in inputs.items()}
    parsed = tf.io.parse_example(serialised, kinds)
    raw = {}
    for names in schema.same_width():
        width = tf.reduce_max([parsed[name].bounding_shape(axis=1) for name in names])
        for name in names:
            shape = tf.stack([-1, width, *(-1 for _ in inputs[name][0][1:])])
            raw[name] = parsed[name].to_tensor(missing[name], shape=shape)
    return {name: raw.get(name, parsed[name]) for name in inputs}


def _kind(tf: Any, name: str, shape: tuple[int | None, ...], dtype: str, missing: Any) -> Any:
    """How a feature lies in an example."""
    if shape == ():
        return tf.io.FixedLenFeature((), dtype, missing)
    if None not in shape:
        return tf.io.FixedLenFeature(shape, dtype)
    lengths = [tf.io.RaggedFeature.RowLengths(f"{name}_lengths")] if len(shape) == 2 else []
    return tf.io.RaggedFeature(
        tf.as_dtype(dtype), value_key=name, partitions=lengths, row_splits_dtype=tf.int32
    )
