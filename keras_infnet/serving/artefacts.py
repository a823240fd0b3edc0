"""Artefacts beside an exported graph, in `assets.extra`: requests, fingerprint and model card."""

import json
import platform
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from keras_infnet._base.digest import digest
from keras_infnet.calibration.calibration import Calibration
from keras_infnet.encoding.encoder import FeatureEncoder
from keras_infnet.encoding.labels import read_labels
from keras_infnet.encoding.requests import example_request, frame_to_request
from keras_infnet.schema.schema import FeatureSchema
from keras_infnet.serving.requests import Arrays, read_artefact, read_signatures, signature_requests
from keras_infnet.serving.signatures import ExportOptions
from keras_infnet.serving.wire import predict_request, prediction_log, rest_json

EXAMPLE_ROWS, WARM_UP_ROWS = 2, 64
PACKAGES = ("keras-infnet", "keras", "tensorflow", "tensorflow-cpu", "jax", "numpy")


def write_artefacts(
    folder: Path,
    model: Any,
    encoder: FeatureEncoder,
    options: ExportOptions,
    identity: Mapping[str, str],
    rows: pd.DataFrame | None,
    metrics: Mapping[str, Any] | None,
    model_name: str,
    difference: float | None = None,
    states: Callable[[Arrays], Arrays] | None = None,
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
        identity: Its `fingerprint`.
        rows: Rows that the export is checked on; requests are made of the first ones. With `None`
            they are made of the vocabularies.
        metrics: What was measured, for the model card.
        model_name: Name under which a server has the model.
        difference: The largest difference from Keras on `rows`, for the model card.
        states: Asks `user_state`, for a request of `score`; `None`: there is none.
    """
    import tensorflow as tf

    extra, schema = folder / "assets.extra", encoder.schema
    extra.mkdir(exist_ok=True)
    signatures = read_signatures(folder)
    if rows is None:
        request = example_request(encoder)
    else:
        request = frame_to_request(schema, rows.iloc[:WARM_UP_ROWS])
    few = {name: values[:EXAMPLE_ROWS] for name, values in request.items()}
    card = model_card(model, encoder, options, identity, rows, metrics, difference)
    card["signatures"], card["units"] = signatures, schema.raw_units()
    (extra / "schema.json").write_text(schema.to_json(), encoding="utf-8")
    files = {"fingerprint": card["fingerprint"], "model_card": card}
    for name, plain in files.items():
        (extra / f"{name}.json").write_text(json.dumps(plain, indent=1), encoding="utf-8")
    (extra / "model_card.md").write_text(markdown(card), encoding="utf-8")
    text = rest_json("serving_default", few)
    (extra / "request.json").write_text(text, encoding="utf-8")
    (extra / "request.pb").write_bytes(predict_request(model_name, "serving_default", few))
    with tf.io.TFRecordWriter(str(extra / "tf_serving_warmup_requests")) as writer:
        for some in (few, request):
            for name, made in signature_requests(signatures, schema, some, states).items():
                writer.write(prediction_log(predict_request(model_name, name, made)))


def model_card(
    model: Any,
    encoder: FeatureEncoder,
    options: ExportOptions,
    identity: Mapping[str, str],
    rows: pd.DataFrame | None,
    metrics: Mapping[str, Any] | None,
    difference: float | None,
) -> dict[str, Any]:
    """What `model_card.json` holds, without signatures; arguments as `write_artefacts`.

    Returns:
        Plain values by section.
    """
    config, schema = model.get_config(), encoder.schema
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
                "entire_space": task.counts_unobserved,
                "mean_label_in_training": list(schema.base_rate(task.name)),
            }
            for task in schema.tasks
        },
        "verified_on": None if rows is None else _verified_on(schema, rows, difference),
        "metrics": dict(metrics or {}),
        "calibration": options.calibration.to_dict() or None,
        "table_dtype": options.table_dtype,
        "state_dtype": options.state_dtype,
        "versions": {
            "python": platform.python_version(),
            "backend": keras.backend.backend(),
            **{name: found for name in PACKAGES if (found := _version(name))},
        },
        "fingerprint": dict(identity),
    }


def markdown(card: Mapping[str, Any]) -> str:
    """The card as text: one section a key, tables where there are rows."""
    title = f"# {card['model']} for {', '.join(card['tasks'])}\n"
    tasks = card["tasks"]
    head = ["task", *(key.replace("_", " ") for key in next(iter(tasks.values())))]
    table = _table(head, [[name, *task.values()] for name, task in tasks.items()])
    sections = [f"## Tasks\n\n{table}"]
    for name, value in card.items():
        if name not in ("model", "signatures", "tasks"):
            sections.append(_section(name.replace("_", " ").capitalize(), value))
    for name, signature in card["signatures"].items():
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
    words = (
        f"{who}: `{{path}}` is no model card; expected the one that `export` wrote: it tells the "
        "calibration and the table dtype, which Keras's outputs need. ({error})"
    )
    return read_artefact(
        saved_model / "assets.extra" / "model_card.json",
        lambda card: ExportOptions(
            Calibration(card["calibration"] or {}),
            card["table_dtype"],
            # Cards that were written before have none.
            state_dtype=card.get("state_dtype", "float32"),
        ),
        words,
    )


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
    chosen = json.dumps(vars(options), sort_keys=True, default=Calibration.to_dict)
    parts = {
        "schema": encoder.schema.fingerprint,
        "vocabularies": encoder.digest(),
        "weights": digest(*map(keras.ops.convert_to_numpy, model.weights)),
        "options": digest(chosen),
    }
    config = {k: v for k, v in model.get_config().items() if k not in ("name", "trainable")}
    whole = json.dumps([parts, type(model).__name__, config], sort_keys=True)
    return {**parts, "fingerprint": digest(whole)}


def _verified_on(
    schema: FeatureSchema, rows: pd.DataFrame, difference: float | None
) -> dict[str, Any]:
    means = None
    needed = {column for task in schema.tasks for column in (task.label, *task.conditions)}
    if needed | {schema.sample_weight} <= {*rows.columns, None}:
        labels, weights = read_labels(schema, rows)
        means = {
            name: float(np.average(labels[name], weights=weights[name]))
            for name in labels
            if weights[name].sum() > 0
        }
    return {"rows": len(rows), "mean_labels": means, "largest_difference": difference}


def _section(title: str, value: Any) -> str:
    if not value or not isinstance(value, Mapping):
        return f"{title}: {_text(value)}\n"
    return f"## {title}\n\n{_table(['name', 'value'], list(value.items()))}"


def _table(head: list[str], rows: list) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(map(_text, line))} |\n" for line in lines)


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_text(inner)}" for key, inner in value.items()) or "none"
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
