"""Export: encoder and model to one SavedModel that takes raw features by name."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from keras_infnet._base.paths import local_path
from keras_infnet.calibration.calibration import Calibration
from keras_infnet.encoding.encoder import FeatureEncoder
from keras_infnet.serving.answers import ask, compare, encoder_and_rows, load_signatures
from keras_infnet.serving.artefacts import fingerprint, write_artefacts
from keras_infnet.serving.new_path import new_version
from keras_infnet.serving.signatures import ExportOptions, make_signatures
from keras_infnet.serving.under_tensorflow import write_under_tensorflow
from keras_infnet.serving.user_state import number_of_version
from keras_infnet.serving.weights import check_finite_weights, exported_variables


def export(
    model: Any,
    data: Any,
    path: str | Path,
    verify: pd.DataFrame | None = None,
    *,
    version: int | None = None,
    score: Mapping[str, float] | None = None,
    top_k: int | None = None,
    calibration: Calibration | None = None,
    table_dtype: str = "float32",
    metrics: Mapping[str, Any] | None = None,
    user_state: bool = False,
    state_dtype: str = "float32",
) -> Path:
    """Writes the next version of a model: a SavedModel that any TensorFlow Serving runs.

    The graph is of plain TensorFlow ops, with the vocabularies inside. Beside it, in
    `assets.extra`, lie `schema.json`, an example request (`request.json` for REST, `request.pb` for
    gRPC), warm-up requests, `fingerprint.json` and a model card.

    A version is written and checked under a temporary name, and renamed at the end: a failed export
    leaves none, a server that watches the folder sees whole ones only, and exports at the same time
    get different numbers.

    Inputs are those of `schema.raw_inputs()` by name (strings, integers, floats; histories padded
    anywhere, oldest event first, ages in seconds). Unknown values and empty histories are served.
    Signatures:

    - `serving_default`: a row for each pair of user and candidate, `(batch, ...)`; gives one output
      a task, `(batch, units)`: one unit, or one for each class of the task.
    - `rank`: one user and any number of candidates, none included. The item's features have a row
      for each candidate; all others, and the histories, have one row. Gives one output a task,
      `(candidates, units)`. What no candidate changes is computed once.
    - `rank_top_k`: inputs of `rank`, `exponents`, a float32 for each unit of each task in the order
      of the schema, and `k`, int32 without dimension. Gives the best candidates by `score = prod_i
      max(output_i, 0)^exponents_i`, best first: `index (k,)`, `score (k,)` and their outputs. `k`
      above the number of candidates gives all.
    - `examples`: `examples (batch,)`, serialised `tf.Example`s with the same names, of which any
      but dense vectors may be left out. Gives what `serving_default` does. In a history's column of
      bags, feature `{name}_lengths` has the number of values of each event.
    - `user_state`, if it is asked for: the features and histories of one user. Gives his state, a
      few tensors `user_state_...`, and `user_state_fingerprint`, a number of the model's version.
      `user_state_packed_...` are his encoded features; the others are what operations with
      candidates read of his part of the graph.
    - `score`, with it: a state, the context's features with one row, and the item's with a row for
      each candidate. Gives what `rank` gives, to rounding, without the user's part of the work.
      Another version's state is refused. Ages of events are those of the state's time.

    `rank` and `rank_top_k` are left out where no feature of the schema is the item's.

    A model trained on JAX is reloaded under TensorFlow in a child process, so that its graph holds
    no JAX program.

    Args:
        model: A model of this library, built from the schema of `data`.
        data: The `FeatureEncoder` the model was trained with, or what has it as `encoder`.
        path: Folder of the versions, such as `models/ranker`; its name is the model's in requests.
            It is made if need be.
        verify: Rows with feature columns, and histories as list columns (`Histories.attach`). The
            exported model must answer them as the Keras model does, in `serving_default` and in
            `rank`, to the tolerance of its `table_dtype`; see the function `verify`. Defaults to
            `None`: the rows that `data` keeps for this; with an encoder alone there is no check.
        version: Number of the version. Defaults to `None`: one more than the highest there.
        score: Exponents that `rank_top_k` sorts by, by task (`task/class` for one of its classes),
            such as `{"click": 1.0, "like": 2.0}`; others have 0. Defaults to `None`: they are an
            input.
        top_k: Number of candidates that `rank_top_k` gives. Defaults to `None`: `k` is an input.
        calibration: What `fit_calibration` learned; its maps become a part of every signature.
            Defaults to `None`: outputs are the model's.
        table_dtype: How embedding tables are stored: `"float32"`, `"float16"` (half the bytes) or
            `"int8"` (about a quarter; each row has a float32 scale of its own). Look-ups give
            float32 again, and the rest of the graph is as before. Defaults to `"float32"`.
        metrics: What was measured, such as `{"gauc": {"click": 0.66}}`, for the model card.
            Defaults to `None`.
        user_state: Whether to write `user_state` and `score`, which takes some more time.
            Defaults to `False`.
        state_dtype: How the numbers of a state are given: `"float32"`, or `"float16"`, half the
            bytes, for which REST has no type. Defaults to `"float32"`.

    Returns:
        The new folder, such as `models/ranker/3`. Its model card has the largest absolute
            difference on the rows of `verify`.

    Raises:
        ValueError: The model is of another schema or holds NaN, `score`, `top_k` or `version` is
            out of range, a calibrated task is unknown or a regression, `table_dtype` or
            `state_dtype` is unknown, `user_state` has nothing to keep, a feature is called
            `user_state_...`, or the answers differ.
        FileExistsError: The version exists.
        OSError: The folder can't be written.

    Example:
        ```python
        path = keras_infnet.serving.export(model, data, "models/ranker")
        print(path)  # models/ranker/1
        ```
    """
    folder = local_path(path, "export", "path", written=True)
    encoder, rows = encoder_and_rows(data, verify, "export")
    encoder.check_model(model, "export")
    check_finite_weights(model, "export")
    options = ExportOptions(
        calibration or Calibration({}), table_dtype, score, top_k, user_state, state_dtype
    )
    options.check_schema(encoder.schema)

    def write(written: Path) -> None:
        identity = fingerprint(model, encoder, options)
        number = number_of_version(identity["fingerprint"])
        write_under_tensorflow(partial(write_saved_model, options, number), model, encoder, written)
        served = load_signatures(written) if rows is not None or options.user_state else {}
        difference = None if rows is None else compare(served, model, encoder, rows, options)
        name, given = folder.resolve().name, (options, identity, rows, metrics)
        states = partial(ask, served["user_state"]) if "user_state" in served else None
        write_artefacts(written, model, encoder, *given, name, difference, states)

    return new_version(folder, version, write)


def write_saved_model(
    options: ExportOptions, number: int, model: Any, encoder: FeatureEncoder, path: Path
) -> None:
    """Writes the SavedModel, whose states have this number; the backend must be TensorFlow."""
    import tensorflow as tf

    module = tf.Module(name="ranker")
    module.encoder = encoder.to_tensorflow()
    with exported_variables(model, options.table_dtype) as module.model_variables:
        given = (encoder.schema, options, number)
        signatures = make_signatures(model, module.encoder, *given)
    # Nobody trains it on, and TensorFlow never forgets the gradients of a model that it loads.
    plain = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(module, str(path), signatures=signatures, options=plain)
