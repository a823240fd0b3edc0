"""Artefacts beside an exported graph, in `assets.extra`: requests, fingerprint and model card."""

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from keras_infnet.encoding.encoder import FeatureEncoder
from keras_infnet.encoding.labels import read_labels
from keras_infnet.encoding.requests import example_request, frame_to_request
from keras_infnet.schema.schema import FeatureSchema
from keras_infnet.serving.requests import read_signatures, signature_requests
from keras_infnet.serving.signatures import ExportOptions
from keras_infnet.serving.wire import predict_request, prediction_log, rest_json

EXAMPLE_ROWS, WARM_UP_ROWS = 2, 64
PACKAGES = ("keras-infnet", "keras", "tensorflow", "tensorflow-cpu", "jax", "numpy")


def write_artefacts(
    folder: Path,
    model: Any,
    encoder: FeatureEncoder,
    options: ExportOptions,
    rows: pd.DataFrame | None,
    metrics: Mapping[str, Any] | None,
    model_name: str,
    difference: float | None = None,
) -> None:
    """Writes `assets.extra` into an exported folder that is not yet under its final name.

    - `schema.json`: the schema.
    - `request.json` and `request.pb`: a request of `serving_default`, for REST and gRPC.
    - `tf_serving_warmup_requests`: requests of every signature, which TensorFlow Serving runs
      before it takes others.
    - `fingerprint.json`: what identifies the model.
    - `model_card.json` and `model_card.md`.

    Args:
        folder: The SavedModel.
        model: The model.
        encoder: Its encoder.
        options: Options of the export.
        rows: Rows that the export is checked on; requests are made of the first ones. With `None`
            they are made of the vocabularies.
        metrics: What was measured, for the model card.
        model_name: Name under which a server has the model.
        difference: The largest difference from Keras on `rows`, for the model card.
    """
    extra, schema = folder / "assets.extra", encoder.schema
    extra.mkdir(exist_ok=True)
    signatures = read_signatures(folder)
    request = (
        example_request(encoder)
        if rows is None
        else frame_to_request(schema, rows.iloc[:WARM_UP_ROWS])
    )
    few = _first_rows(request)
    card = model_card(model, schema, options, rows, metrics)
    if difference is not None:
        card["verified_on"]["largest_difference"] = difference
    card |= {"fingerprint": fingerprint(model, encoder, options), "signatures": signatures}
    for name, plain in (
        ("schema.json", schema.to_dict()),
        ("fingerprint.json", card["fingerprint"]),
        ("model_card.json", card),
    ):
        (extra / name).write_text(json.dumps(plain, indent=1), encoding="utf-8")
    (extra / "model_card.md").write_text(markdown(card), encoding="utf-8")
    text = rest_json("serving_default", few)
    (extra / "request.json").write_text(text, encoding="utf-8")
    (extra / "request.pb").write_bytes(predict_request(model_name, "serving_default", few))
    _write_warm_up(extra / "tf_serving_warmup_requests", model_name, signatures, schema, request)


def model_card(
    model: Any,
    schema: FeatureSchema,
    options: ExportOptions,
    rows: pd.DataFrame | None,
    metrics: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """What `model_card.json` holds, without signatures and fingerprint.

    Args:
        model: The model.
        schema: Its schema.
        options: Options of the export.
        rows: The rows that the export was checked on.
        metrics: What was measured, as JSON holds it.

    Returns:
        Plain values by section.
    """
    config = model.get_config()
    left_out = ("schema", "name", "trainable", "dtype")
    return {
        "model": type(model).__name__,
        "parameters": int(model.count_params()),
        "hyperparameters": {k: v for k, v in config.items() if k not in left_out},
        "tasks": {
            task.name: {
                "label": task.label,
                "kind": type(task).__name__,
                "observed_when": task.observed_when,
                "mean_label_in_training": list(schema.base_rate(task.name)),
            }
            for task in schema.tasks
        },
        "verified_on": _verified_on(schema, rows),
        "metrics": dict(metrics or {}),
        "calibration": None if options.calibration is None else dict(options.calibration),
        "table_dtype": options.table_dtype,
        "versions": {
            "python": platform.python_version(),
            "backend": keras.backend.backend(),
            **{name: found for name in PACKAGES if (found := _version(name))},
        },
    }


def markdown(card: Mapping[str, Any]) -> str:
    """The card as text: one section a key, tables where there are rows."""
    title = f"# {card['model']} for {', '.join(card['tasks'])}\n"
    skipped = ("model", "signatures", "tasks")
    sections = [
        _section(name.replace("_", " ").capitalize(), value)
        for name, value in card.items()
        if name not in skipped
    ]
    tasks = [
        [name, task["label"], task["kind"], task["observed_when"], task["mean_label_in_training"]]
        for name, task in card["tasks"].items()
    ]
    head = ["task", "label", "kind", "observed when", "mean label in training"]
    sections.insert(0, "## Tasks\n\n" + _table(head, tasks))
    for name, signature in card.get("signatures", {}).items():
        tensors = [
            [kind, key, dtype, str(tuple("any" if n < 0 else n for n in shape)).replace("'", "")]
            for kind in ("inputs", "outputs")
            for key, (dtype, shape) in signature[kind].items()
        ]
        table = _table(["", "name", "dtype", "shape"], tensors)
        sections.append(f"## Signature `{name}`\n\n{table}")
    return "\n".join([title, *sections])


def read_options(saved_model: Path, who: str) -> ExportOptions:
    """The options that a model was exported with, as far as answers depend on them.

    Raises:
        ValueError: There is no model card, which has them.
    """
    path = saved_model / "assets.extra" / "model_card.json"
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        return ExportOptions(calibration=card["calibration"], table_dtype=card["table_dtype"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{who}: `{path}` is no model card; expected the one that `export` wrote: it tells the "
            f"calibration and the table dtype, which Keras's outputs need. ({error})"
        ) from error


def fingerprint(model: Any, encoder: FeatureEncoder, options: ExportOptions) -> dict[str, str]:
    """Twelve hexadecimal digits each of what an export consists of, and of all together.

    Two exports with the same `fingerprint` answer alike; the parts tell what differs.

    Args:
        model: The model.
        encoder: Its encoder.
        options: Options of the export.

    Returns:
        `schema`, `vocabularies`, `weights`, `options` and `fingerprint`.
    """
    weights = hashlib.sha256()
    for variable in model.weights:
        value = keras.ops.convert_to_numpy(variable)
        weights.update(f"{value.dtype} {value.shape} ".encode())
        weights.update(value.tobytes())
    parts = {
        "schema": encoder.schema.fingerprint,
        "vocabularies": encoder.digest(),
        "weights": weights.hexdigest()[:12],
        "options": _hex_digits(json.dumps(asdict(options), sort_keys=True)),
    }
    config = {k: v for k, v in model.get_config().items() if k not in ("name", "trainable")}
    whole = json.dumps([parts, type(model).__name__, config], sort_keys=True)
    return {**parts, "fingerprint": _hex_digits(whole)}


def _write_warm_up(
    path: Path, model_name: str, signatures: Mapping, schema: Any, request: Mapping
) -> None:
    import tensorflow as tf

    inputs = {name: signature["inputs"] for name, signature in signatures.items()}
    with tf.io.TFRecordWriter(str(path)) as writer:
        for rows in (_first_rows(request), request):
            for name, made in signature_requests(inputs, schema, rows).items():
                writer.write(prediction_log(predict_request(model_name, name, made)))


def _first_rows(request: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: values[:EXAMPLE_ROWS] for name, values in request.items()}


def _verified_on(schema: FeatureSchema, rows: pd.DataFrame | None) -> dict[str, Any] | None:
    if rows is None:
        return None
    needed = {task.label for task in schema.tasks}
    needed |= {task.observed_when for task in schema.tasks if task.observed_when}
    needed |= {schema.sample_weight} if schema.sample_weight else set()
    if not needed <= set(rows.columns):
        return {"rows": len(rows), "mean_labels": None}
    labels, weights = read_labels(schema, rows)
    means = {
        name: float(np.average(labels[name], weights=weights[name]))
        for name in labels
        if weights[name].sum() > 0
    }
    return {"rows": len(rows), "mean_labels": means}


def _section(title: str, value: Any) -> str:
    if not isinstance(value, Mapping):
        return f"{title}: {_text(value)}\n"
    if not value:
        return f"{title}: none\n"
    return f"## {title}\n\n{_table(['name', 'value'], list(value.items()))}"


def _table(head: list[str], rows: list) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(map(_text, line))} |\n" for line in lines)


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_text(inner)}" for key, inner in value.items())
    if isinstance(value, float):
        return f"{value:.6g}"
    if value is None:
        return "none"
    return str(value).replace("|", "\\|").replace("\n", " ")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _hex_digits(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
