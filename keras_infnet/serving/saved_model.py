"""Encoder + model -> one SavedModel that takes raw features by name."""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from os import environ
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from keras_infnet._base.whole_files import scratch_folder, whole_folder, write_json
from keras_infnet.encoding.encoder import FeatureEncoder
from keras_infnet.encoding.requests import frame_to_request
from keras_infnet.schema.schema import FeatureSchema
from keras_infnet.serving.answers import ask, largest_difference
from keras_infnet.serving.artefacts import write_artefacts
from keras_infnet.serving.calibration import Calibration
from keras_infnet.serving.export_options import ExportOptions
from keras_infnet.serving.exported_variables import ExportedVariables
from keras_infnet.serving.rank_check import rank_pairs
from keras_infnet.serving.rank_top_k import check_score
from keras_infnet.serving.signature_requests import rank_request
from keras_infnet.serving.signatures import item_inputs, make_signatures
from keras_infnet.serving.table_dtypes import TOLERANCES

CANT_WRITE = "`{path}` can't be written: {error}. Nothing was left there."


def export_saved_model(
    model: Any,
    encoder: FeatureEncoder,
    path: str | Path,
    verify: pd.DataFrame | None = None,
    *,
    score: Mapping[str, float] | None = None,
    top_k: int | None = None,
    calibration: Calibration | None = None,
    table_dtype: str = "float32",
    metrics: Mapping[str, Any] | None = None,
) -> float | None:
    """Writes a SavedModel of plain TensorFlow ops that any TF Serving runs.

    Vocabularies are inside the graph. Beside it, in `assets.extra`, lie `schema.json`, an example
    request (`request.json` for REST, `request.pb` for gRPC), warm-up requests, `fingerprint.json`
    and a model card.

    Inputs are those of `schema.raw_inputs()` by name (strings, integers, floats; histories padded
    anywhere, oldest event first, ages in seconds). Unknown values and empty histories are served.
    Signatures:

    - `serving_default`: a row for each pair of user and candidate, `(batch, ...)`; gives one output
      a task, `(batch, 1)`.
    - `rank`: one user and any number of candidates, none included. The item's features have a row
      for each candidate; all others, and the histories, have one row. Gives one output a task,
      `(candidates, 1)`. What no candidate changes is computed once.
    - `rank_top_k`: inputs of `rank`, `exponents (tasks,)`, float32 in the order of the schema's
      tasks, and `k`, int32 without dimension. Gives the best candidates by `score = prod_i
      max(output_i, 0)^exponents_i`, best first: `index (k,)`, `score (k,)` and their outputs. `k`
      above the number of candidates gives all.
    - `examples`: `examples (batch,)`, serialised `tf.Example`s with the same names, of which any
      but dense vectors may be left out. Gives what `serving_default` does. In a history's column of
      bags, feature `{name}_lengths` has the number of values of each event.

    `rank` and `rank_top_k` are left out where no feature of the schema is the item's.

    A model trained on JAX is reloaded under TensorFlow in a child process, so that its graph holds
    no JAX program.

    Args:
        model: A model of this library, built from `encoder.schema`.
        encoder: The encoder it was trained with.
        path: Folder to write, such as `models/ranker/1`. It must not exist. It is written under a
            temporary name and renamed: a failed export leaves nothing.
        verify: Rows with feature columns, and histories as list columns (`Histories.attach`). The
            exported model must answer them as the Keras model does, in `serving_default` and in
            `rank`, to the tolerance of its `table_dtype`; see `verify_saved_model`.
        score: Exponents by task that `rank_top_k` sorts by, such as `{"click": 1.0, "like": 2.0}`;
            others have 0. Defaults to `None`: they are an input.
        top_k: Number of candidates that `rank_top_k` gives. Defaults to `None`: `k` is an input.
        calibration: What `fit_calibration` learned; its maps become a part of every signature.
            Defaults to `None`: outputs are the model's.
        table_dtype: How embedding tables are stored: `"float32"`, `"float16"` (half the bytes) or
            `"int8"` (about a quarter; each row has a float32 scale of its own). Look-ups give
            float32 again, and the rest of the graph is as before. Defaults to `"float32"`.
        metrics: What was measured, such as `{"gauc": {"click": 0.66}}`, for the model card.
            Defaults to `None`.

    Returns:
        The largest absolute difference on the rows of `verify`, or `None` without them.

    Raises:
        ValueError: The model is of another schema, a name can't be that of an input or output,
            `score` or `top_k` is out of range, a calibrated task is unknown or a regression,
            `table_dtype` is unknown, or the answers differ.
        FileExistsError: `path` exists.
        OSError: The folder can't be written.

    Example:
        ```python
        keras_infnet.serving.export_saved_model(
            model, encoder, "models/ranker/1", verify=histories.attach(test.head(1000))
        )
        ```
    """
    if not isinstance(encoder, FeatureEncoder):
        raise ValueError(
            f"export_saved_model: encoder is {type(encoder).__name__}; expected the FeatureEncoder "
            "that the model was trained with (`FeatureEncoder.load`): the graph holds its "
            "vocabularies."
        )
    encoder.check_model(model, "export_saved_model")
    _check_names(encoder.schema)
    check_score(score, top_k, encoder.schema)
    if calibration is not None:
        calibration.check_schema(encoder.schema)
    maps = None if calibration is None else calibration.to_dict()
    options = ExportOptions(score=score, top_k=top_k, calibration=maps, table_dtype=table_dtype)
    import tensorflow as tf

    path = Path(path)
    if path.exists():
        raise FileExistsError(
            f"export_saved_model: `{path}` exists. A version is never overwritten: choose another."
        )
    errors = (OSError, tf.errors.OpError)
    with whole_folder(path, f"export_saved_model: {CANT_WRITE}", errors) as temporary:
        if keras.backend.backend() == "tensorflow":
            write_saved_model(model, encoder, temporary, options)
        else:
            _write_in_child_process(model, encoder, temporary, options)
        difference = None
        if verify is not None:
            difference = verify_saved_model(
                temporary, model, encoder, verify, calibration, table_dtype
            )
        name = path.resolve().parent.name
        write_artefacts(temporary, model, encoder, options, verify, metrics, name, difference)
        return difference


def verify_saved_model(
    path: str | Path,
    model: Any,
    encoder: FeatureEncoder,
    frame: pd.DataFrame,
    calibration: Calibration | None = None,
    table_dtype: str = "float32",
) -> float:
    """Compares an exported model with its Keras model on real rows.

    With a calibration, the answer must lie between the calibrated ends of `p` less and
    more the tolerance, widened by it: a steep map enlarges differences of rounding.

    `serving_default` is asked for all rows, and `rank` for the user, context and histories of a few
    rows with the items of the first ones.

    Args:
        path: The SavedModel.
        model: The Keras model.
        encoder: Its encoder.
        frame: Rows with feature columns, and histories as list columns.
        calibration: What the model was exported with. Defaults to `None`.
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
        keras_infnet.serving.verify_saved_model("models/ranker/1", model, encoder, rows)
        ```
    """
    import tensorflow as tf

    tolerance = TOLERANCES[table_dtype]
    signatures = tf.saved_model.load(str(path)).signatures
    served = ask(signatures["serving_default"], frame_to_request(encoder.schema, frame))
    largest = largest_difference(served, frame, model, encoder, tolerance, calibration)
    if "rank" not in signatures:
        return largest
    pairs = rank_pairs(encoder.schema, frame)
    requests = [rank_request(encoder.schema, frame_to_request(encoder.schema, p)) for p in pairs]
    answers = [ask(signatures["rank"], request) for request in requests]
    served = {task: np.concatenate([answer[task] for answer in answers]) for task in served}
    frame = pd.concat(pairs)
    ranked = largest_difference(served, frame, model, encoder, tolerance, calibration, " of `rank`")
    return max(largest, ranked)


def write_saved_model(
    model: Any, encoder: FeatureEncoder, path: Path, options: ExportOptions
) -> None:
    """Writes the SavedModel; the backend must be TensorFlow."""
    import tensorflow as tf

    module = tf.Module(name="ranker")
    module.encoder = encoder.to_tensorflow()
    exported = ExportedVariables(model, options.table_dtype)
    module.model_variables = exported.variables

    with exported:
        signatures = make_signatures(model, module.encoder, encoder.schema, options)
    tf.saved_model.save(module, str(path), signatures=signatures)


def _check_names(schema: FeatureSchema) -> None:
    bad = [name for name in schema.raw_inputs() if not name.isidentifier()]
    if bad:
        raise ValueError(
            f"export_saved_model: {', '.join(f'`{name}`' for name in bad)} can't be names of "
            "inputs; expected letters, digits and `_`. Rename the features."
        )
    taken = {"exponents", "k"} & set(schema.raw_inputs())
    taken |= {"index", "score"} & set(schema.task_names)
    if taken and item_inputs(schema):
        raise ValueError(
            f"export_saved_model: {', '.join(f'`{name}`' for name in sorted(taken))} can't be "
            "names of features or tasks: `rank_top_k` has inputs `exponents` and `k`, and outputs "
            "`index` and `score`. Rename them."
        )


def _write_in_child_process(
    model: Any, encoder: FeatureEncoder, path: Path, options: ExportOptions
) -> None:
    with scratch_folder(path) as scratch:
        model.save(scratch / "model.keras")
        encoder.save(scratch / "encoder")
        write_json(scratch / "options.json", asdict(options))
        command = [sys.executable, "-m", "keras_infnet.serving.convert", str(scratch), str(path)]
        environment = {**environ, "KERAS_BACKEND": "tensorflow"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            raise OSError(
                f"the child process that reloads it under TensorFlow failed:\n{done.stderr[-3000:]}"
            )
