"""Encoder + model -> one SavedModel that takes raw features by name."""

import json
import subprocess
import sys
from dataclasses import asdict
from os import environ
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from keras_infnet.features.encoder import FeatureEncoder
from keras_infnet.features.requests import frame_to_request
from keras_infnet.features.schema import FeatureSchema
from keras_infnet.serving.export_options import ExportOptions
from keras_infnet.serving.exported_variables import ExportedVariables
from keras_infnet.serving.new_path import renamed_at_the_end, scratch_folder
from keras_infnet.serving.table_dtypes import TOLERANCES


def export_saved_model(
    model: Any,
    encoder: FeatureEncoder,
    path: str | Path,
    verify: pd.DataFrame | None = None,
    *,
    table_dtype: str = "float32",
) -> float | None:
    """Writes a SavedModel of plain TensorFlow ops that any TF Serving runs.

    Its signature `serving_default` takes the inputs of `schema.raw_inputs()` by name (strings,
    integers, floats; histories padded anywhere, oldest event first, ages in seconds) and returns
    one output a task, `(batch, 1)`. Vocabularies are inside the graph. The schema lies beside it,
    in `assets.extra/schema.json`.

    A model trained on JAX is reloaded under TensorFlow in a child process, so that its graph holds
    no JAX program.

    Args:
        model: A model of this library, built from `encoder.schema`.
        encoder: The encoder it was trained with.
        path: Folder to write, such as `models/ranker/1`. It must not exist. It is written under a
            temporary name and renamed: a failed export leaves nothing.
        verify: Rows with feature columns, and histories as list columns (`Histories.attach`). The
            exported model must answer them as the Keras model does, to the tolerance of its
            `table_dtype`; see `verify_saved_model`.
        table_dtype: How embedding tables are stored: `"float32"`, `"float16"` (half the bytes) or
            `"int8"` (about a quarter; each row has a float32 scale of its own). Look-ups give
            float32 again, and the rest of the graph is as before. Defaults to `"float32"`.

    Returns:
        The largest absolute difference on the rows of `verify`, or `None` without them.

    Raises:
        ValueError: The model is of another schema, a feature's name can't be that of an input,
            `table_dtype` is unknown, or the answers differ.
        FileExistsError: `path` exists.
        OSError: The folder can't be written.

    Example:
        ```python
        keras_infnet.export_saved_model(
            model, encoder, "models/ranker/1", verify=histories.attach(test.head(1000))
        )
        ```
    """
    encoder.check_model(model, "export_saved_model")
    _check_names(encoder.schema)
    options = ExportOptions(table_dtype=table_dtype)
    path = Path(path)
    if path.exists():
        raise FileExistsError(
            f"export_saved_model: `{path}` exists. A version is never overwritten: choose another."
        )
    with renamed_at_the_end(path, "export_saved_model") as temporary:
        if keras.backend.backend() == "tensorflow":
            write_saved_model(model, encoder, temporary, options)
        else:
            _write_in_child_process(model, encoder, temporary, options)
        extra = temporary / "assets.extra"
        extra.mkdir()
        text = json.dumps(encoder.schema.to_dict(), indent=1)
        (extra / "schema.json").write_text(text, encoding="utf-8")
        if verify is None:
            return None
        return verify_saved_model(temporary, model, encoder, verify, table_dtype)


def verify_saved_model(
    path: str | Path,
    model: Any,
    encoder: FeatureEncoder,
    frame: pd.DataFrame,
    table_dtype: str = "float32",
) -> float:
    """Compares an exported model with its Keras model on real rows.

    Args:
        path: The SavedModel.
        model: The Keras model.
        encoder: Its encoder.
        frame: Rows with feature columns, and histories as list columns.
        table_dtype: The `table_dtype` of the export, which says how far an output may differ:
            `"float32"` 1e-5, `"float16"` 1e-3, `"int8"` 1e-2, relative to the output where that is
            above 1. Defaults to `"float32"`.

    Returns:
        The largest absolute difference of an output.

    Raises:
        ValueError: A difference is above the tolerance, or an answer is not a number.

    Example:
        ```python
        rows = histories.attach(test.head(1000))
        keras_infnet.verify_saved_model("models/ranker/1", model, encoder, rows)
        ```
    """
    import tensorflow as tf

    expected = model.predict(encoder.transform(frame), verbose=0)
    request = {k: tf.constant(v) for k, v in frame_to_request(encoder.schema, frame).items()}
    served = tf.saved_model.load(str(path)).signatures["serving_default"](**request)
    largest, tolerance = 0.0, TOLERANCES[table_dtype]
    for task in encoder.schema.task_names:
        difference = np.abs(served[task].numpy() - np.asarray(expected[task]))
        allowed = tolerance * np.maximum(1, np.abs(np.asarray(expected[task])))
        if not (difference <= allowed).all():
            row = int(np.argmax(np.where(np.isnan(difference), np.inf, difference)[:, 0]))
            raise ValueError(
                f"verify_saved_model: task `{task}` differs by {difference[row, 0]:.2e} in row "
                f"{frame.index[row]} (served {served[task].numpy()[row, 0]:.6f}, Keras "
                f"{np.asarray(expected[task])[row, 0]:.6f}); expected at most {tolerance:g}."
            )
        largest = max(largest, float(difference.max()))
    return largest


def write_saved_model(
    model: Any, encoder: FeatureEncoder, path: Path, options: ExportOptions
) -> None:
    """Writes the SavedModel; the backend must be TensorFlow."""
    import tensorflow as tf

    module = tf.Module(name="ranker")
    module.encoder = encoder.to_tensorflow()
    exported = ExportedVariables(model, options.table_dtype)
    module.model_variables = exported.variables

    def serve(**raw: Any) -> dict[str, Any]:
        with exported:
            return dict(model(module.encoder(raw), training=False))

    specs = {
        name: tf.TensorSpec((None, *shape), dtype, name=name)
        for name, (shape, dtype) in encoder.schema.raw_inputs().items()
    }
    signature = tf.function(serve, autograph=False).get_concrete_function(**specs)
    tf.saved_model.save(module, str(path), signatures={"serving_default": signature})


def _check_names(schema: FeatureSchema) -> None:
    bad = [name for name in schema.raw_inputs() if not name.isidentifier()]
    if bad:
        raise ValueError(
            f"export_saved_model: {', '.join(f'`{name}`' for name in bad)} can't be names of "
            "inputs; expected letters, digits and `_`. Rename the features."
        )


def _write_in_child_process(
    model: Any, encoder: FeatureEncoder, path: Path, options: ExportOptions
) -> None:
    with scratch_folder(path) as scratch:
        model.save(scratch / "model.keras")
        encoder.save(scratch / "encoder")
        (scratch / "options.json").write_text(json.dumps(asdict(options)), encoding="utf-8")
        command = [sys.executable, "-m", "keras_infnet.serving.convert", str(scratch), str(path)]
        environment = {**environ, "KERAS_BACKEND": "tensorflow"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            raise OSError(
                f"the child process that reloads it under TensorFlow failed:\n{done.stderr[-3000:]}"
            )
