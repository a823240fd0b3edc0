"""Requests of every signature, made from rows; `tf.Example`s, written and parsed."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_infnet.encoding.encoder import FeatureEncoder
from keras_infnet.schema.categorical import CategoricalFeature
from keras_infnet.schema.dense import DenseFeature
from keras_infnet.schema.schema import FeatureSchema
from keras_infnet.serving.contract import PADDING, column_names, history_inputs, item_inputs

Signature = dict[str, dict[str, tuple[str, tuple[int, ...]]]]


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
        name: (
            tf.as_dtype(info.dtype).name,
            tuple(dim.size for dim in info.tensor_shape.dim),
        )
        for name, info in sorted(infos.items())
    }


def rank_request(schema: FeatureSchema, request: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A request of `rank`: every row's item as a candidate for the user of the first row."""
    items = item_inputs(schema)
    return {name: v if name in items else v[:1] for name, v in request.items()}


def paired_request(
    schema: FeatureSchema, request: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The request of `serving_default` with the same pairs as a request of `rank`."""
    items = item_inputs(schema)
    rows = next(len(request[name]) for name in items)
    return {n: v if n in items else np.repeat(v, rows, axis=0) for n, v in request.items()}


def signature_requests(
    inputs: Mapping[str, Iterable[str]], schema: FeatureSchema, request: Mapping[str, np.ndarray]
) -> dict[str, dict[str, np.ndarray]]:
    """A request for each signature that this library makes.

    Args:
        inputs: Names of the inputs of each signature.
        schema: The schema.
        request: Rows as `frame_to_request` gives them.

    Returns:
        Arrays by input name, by signature.
    """
    makers = {
        "serving_default": lambda: dict(request),
        "rank": lambda: rank_request(schema, request),
        "rank_top_k": lambda: _top_k_request(schema, request),
        "examples": lambda: {"examples": tf_examples(schema, request)},
    }
    made = {name: makers[name]() for name in inputs if name in makers}
    return {name: {k: v for k, v in r.items() if k in inputs[name]} for name, r in made.items()}


def _top_k_request(
    schema: FeatureSchema, request: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    rows = len(next(iter(request.values())))
    exponents = np.ones(len(column_names(schema)), "float32")
    k = np.array(min(3, rows), "int32")
    return {**rank_request(schema, request), "exponents": exponents, "k": k}


def tf_examples(schema: FeatureSchema, request: Mapping[str, np.ndarray]) -> np.ndarray:
    """Serialised `tf.Example`s, one a row, with the values of each input in order.

    A history's column of bags has besides, as `{name}_lengths`, how many values each event has.
    """
    import tensorflow as tf

    shapes = {name: shape for name, (shape, _) in schema.raw_inputs().items()}
    lengths = {
        f"{name}_lengths": np.full(values.shape[:2], values.shape[2])
        for name, values in request.items()
        if len(shapes[name]) == 2
    }
    request = {**request, **lengths}

    def feature(values: np.ndarray) -> Any:
        if values.dtype.kind == "f":
            return tf.train.Feature(float_list=tf.train.FloatList(value=values.ravel()))
        if values.dtype.kind == "i":
            return tf.train.Feature(int64_list=tf.train.Int64List(value=values.ravel()))
        texts = [v if isinstance(v, bytes) else str(v).encode() for v in values.ravel()]
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=texts))

    rows = len(next(iter(request.values())))
    examples = [
        tf.train.Example(
            features=tf.train.Features(
                feature={n: feature(v[row : row + 1]) for n, v in request.items()}
            )
        ).SerializeToString(deterministic=True)
        for row in range(rows)
    ]
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
    kinds = {name: _kind(tf, name, shape, dtype) for name, (shape, dtype) in inputs.items()}
    parsed = tf.io.parse_example(serialised, kinds)
    weights = {getattr(feature, "weights", None) for feature in schema.features}
    missing = {n: 0.0 if n in weights else PADDING[dtype] for n, (_, dtype) in inputs.items()}
    raw = {}
    for names in _same_width(schema):
        width = tf.reduce_max([parsed[name].bounding_shape(axis=1) for name in names])
        for name in names:
            shape = tf.stack([-1, width, *(-1 for _ in inputs[name][0][1:])])
            raw[name] = parsed[name].to_tensor(missing[name], shape=shape)
    return {name: raw.get(name, parsed[name]) for name in inputs}


def _kind(tf: Any, name: str, shape: tuple[int | None, ...], dtype: str) -> Any:
    """How a feature lies in an example."""
    if shape == ():
        return tf.io.FixedLenFeature((), dtype, PADDING[dtype])
    if None not in shape:
        return tf.io.FixedLenFeature(shape, dtype)
    lengths = [tf.io.RaggedFeature.RowLengths(f"{name}_lengths")] if len(shape) == 2 else []
    return tf.io.RaggedFeature(
        tf.as_dtype(dtype), value_key=name, partitions=lengths, row_splits_dtype=tf.int32
    )


def _same_width(schema: FeatureSchema) -> list[list[str]]:
    """Names of inputs of any width, those together that must be equally wide."""
    bags = [[name for name in (f.name, f.weights) if name] for f in schema.bags]
    return bags + [history_inputs(schema, s.name) for s in schema.histories]


def example_request(encoder: FeatureEncoder) -> dict[str, np.ndarray]:
    """Two rows of known values with two events in each history, for an export without rows."""
    schema, request = encoder.schema, {}
    for feature in schema.features:
        values = _two_values(encoder, feature)
        bag = getattr(feature, "is_bag", False)
        request[feature.name] = values[:, None] if bag else values
        if getattr(feature, "weights", None):
            request[feature.weights] = np.ones((2, 1), "float32")
    for sequence in schema.histories:
        name = sequence.name
        for field in sequence.fields:
            request[f"{name}_{field}"] = np.stack([request[field]] * 2, axis=1)
        request |= {f"{name}_{a}": np.array([[0, 1]] * 2) for a in sequence.actions}
        if sequence.ratio:
            request[f"{name}_ratio"] = np.full((2, 2), 0.5, "float32")
        if sequence.ages:
            request[f"{name}_age_seconds"] = np.array([[7200, 60]] * 2)
    return request


def _two_values(encoder: FeatureEncoder, feature: Any) -> np.ndarray:
    if isinstance(feature, DenseFeature):
        return np.zeros((2, feature.dim), "float32")
    table = encoder.schema.table_of(feature.name)
    if not isinstance(feature, CategoricalFeature):
        edges = encoder.edges[table]
        return np.resize(edges if len(edges) else [0], 2).astype("float32")
    dtype = object if feature.dtype == "string" else "int64"
    known = [1, 2] if dtype == "int64" else ["a", "b"]
    if table in encoder.vocabularies:
        known = encoder.vocabularies[table].values.to_pylist()[:2] or known
    return np.array(known * 2, dtype)[:2]
