"""The model card beside an exported graph: what it is, what it was given, how good it was."""

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import keras
import numpy as np
import pandas as pd

from keras_infnet.encoding.labels import read_labels
from keras_infnet.schema.schema import FeatureSchema
from keras_infnet.serving.export_options import ExportOptions

PACKAGES = ("keras-infnet", "keras", "tensorflow", "tensorflow-cpu", "jax", "numpy")


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
                "kind": task.kind,
                "observed_when": task.observed_when,
                "mean_label_in_training": task.base_rate,
            }
            for task in schema.tasks
        },
        "verified_on": _rows(schema, rows),
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


def _rows(schema: FeatureSchema, rows: pd.DataFrame | None) -> dict[str, Any] | None:
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
