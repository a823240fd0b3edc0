"""Answers of an exported model beside those of its Keras model, and how far they may differ."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from keras_infnet._base.paths import local_path
from keras_infnet.calibration.calibration import Calibration
from keras_infnet.encoding.encoder import FeatureEncoder
from keras_infnet.encoding.requests import frame_to_request, owned_request
from keras_infnet.schema.frames import Frame, as_rows
from keras_infnet.schema.schema import FeatureSchema
from keras_infnet.serving.artefacts import read_options
from keras_infnet.serving.requests import item_inputs, of_one_list, rank_request
from keras_infnet.serving.signatures import ExportOptions
from keras_infnet.serving.weights import TOLERANCES, tolerance_of

_USERS = 4
_CANDIDATES = 50


def verify(path: str | Path, model: Any, data: Any, rows: Frame | None = None) -> float:
    """Compares an exported model with its Keras model on real rows.

    `serving_default` is asked for all rows, and `rank` for the user, context and histories of a few
    rows with the items of the first ones; so is `score`, if it is there, with states of these
    users. Calibration and dtypes are those of the export's model card. The dtype of tables, for
    `score` the coarser of tables' and states', says how far an output may differ: `"float32"` 1e-5,
    `"float16"` 1e-3, `"int8"` 1e-2, relative to the output where that is above 1; a model that is
    quantised or computes in float16 may differ by 1e-2, in bfloat16 by 5e-2. With a calibration,
    the answer must lie between the calibrated ends of `p` less and more the tolerance, widened by
    it: a steep map enlarges differences of rounding.

    Args:
        path: The SavedModel, such as `models/ranker/1`.
        model: The Keras model.
        data: The `FeatureEncoder` that the model was trained with, or what has it as `encoder`.
        rows: Rows with feature columns, and histories as list columns. Defaults to `None`: those
            that `data` keeps for this.

    Returns:
        The largest absolute difference of an output.

    Raises:
        ValueError: A difference is above the tolerance, an answer is not a number, there are no
            rows, or the folder has no model card.

    Example:
        ```python
        rows = data.attach(log.tail(1000))
        keras_infnet.serving.verify("models/ranker/1", model, data, rows)
        ```
    """
    path = local_path(path, "verify", "path")
    encoder, rows = encoder_and_rows(data, rows, "verify")
    if rows is None:
        raise ValueError(
            "verify: there are no rows to ask for. Give `rows`, with feature columns and with "
            "histories as list columns (`RankingData.attach`)."
        )
    options = read_options(path, "verify")
    return compare(load_signatures(path), model, encoder, rows, options)


def encoder_and_rows(
    data: Any, rows: Frame | None, who: str
) -> tuple[FeatureEncoder, pd.DataFrame | None]:
    """Encoder of an object that is or holds it, and rows: those given, or those that it keeps.

    Raises:
        ValueError: There is no encoder.
    """
    encoder = getattr(data, "encoder", data)
    if not isinstance(encoder, FeatureEncoder):
        raise ValueError(
            f"{who}: encoder is {type(encoder).__name__}; expected the FeatureEncoder that the "
            "model was trained with (`FeatureEncoder.load`): the graph holds its vocabularies."
        )
    if rows is None and hasattr(data, "verification_rows"):
        rows = data.verification_rows()
    return encoder, None if rows is None else as_rows(rows, f"{who}, rows to verify")


def compare(
    signatures: Mapping[str, Any],
    model: Any,
    encoder: FeatureEncoder,
    frame: pd.DataFrame,
    options: ExportOptions,
) -> float:
    """`verify` of loaded signatures of a model that was exported with these options."""
    served = ask(signatures["serving_default"], frame_to_request(encoder.schema, frame))
    largest = largest_difference(served, frame, model, encoder, options)
    if "rank" not in signatures:
        return largest
    pairs = rank_pairs(encoder.schema, frame)
    requests = [rank_request(encoder.schema, frame_to_request(encoder.schema, p)) for p in pairs]
    ways = {"rank": (lambda request: ask(signatures["rank"], request), options)}
    if "score" in signatures:
        wider = max(options.table_dtype, options.state_dtype, key=lambda dtype: TOLERANCES[dtype])
        by_state = replace(options, table_dtype=wider)
        ways["score"] = (lambda request: ask_by_state(signatures, request), by_state)
    for name, (way, its_options) in ways.items():
        answers = [way(request) for request in requests]
        served = {task: np.concatenate([answer[task] for answer in answers]) for task in served}
        against = (model, encoder, its_options)
        found = largest_difference(served, pd.concat(pairs), *against, f" of `{name}`")
        largest = max(largest, found)
    return largest


def load_signatures(path: Path) -> Mapping[str, Any]:
    """A saved model's signatures, which Python's runtime runs."""
    import tensorflow as tf

    return tf.saved_model.load(str(path)).signatures


def ask_by_state(signatures: Mapping[str, Any], request: Mapping[str, np.ndarray]) -> Any:
    """Outputs of `score` for a request of `rank`, by the state that `user_state` gives."""
    specs = {n: signatures[n].structured_input_signature[1] for n in ("user_state", "score")}
    state = ask(signatures["user_state"], {n: request[n] for n in specs["user_state"]})
    given = {**request, **state}
    return ask(signatures["score"], {n: given[n] for n in specs["score"]})


def ask(signature: Any, request: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Outputs of a loaded signature for raw features by name."""
    import tensorflow as tf

    outputs = signature(**{name: tf.constant(values) for name, values in request.items()})
    return {name: output.numpy() for name, output in outputs.items()}


def largest_difference(
    served: Mapping[str, np.ndarray],
    frame: pd.DataFrame,
    model: Any,
    encoder: FeatureEncoder,
    options: ExportOptions,
    signature: str = "",
    who: str = "verify",
) -> float:
    """Largest absolute difference of answers to a frame's rows from those of the Keras model.

    Args:
        served: Answers by task, `(rows, units)`.
        frame: Rows with feature columns, and histories as list columns.
        model: The Keras model.
        encoder: Its encoder.
        options: What the model was exported with: they say what a difference may be.
        signature: Whose answers they are, for the message.
        who: Function that compares, for the message.

    Returns:
        The difference.

    Raises:
        ValueError: A difference is above the tolerance, or an answer is not a number.
    """
    predicted = model.predict(encoder.transform(frame), verbose=0)
    tolerance, largest = tolerance_of(model, options.table_dtype), 0.0
    ranges = answer_range(predicted, tolerance, options.calibration)
    for task in encoder.schema.tasks:
        answer, (low, right, high) = served[task.name], ranges[task.name]
        difference = np.abs(answer - right)
        if not is_within(answer, ranges[task.name]):
            excess = np.nan_to_num(np.maximum(low - answer, answer - high), nan=np.inf)
            row, column = map(int, np.unravel_index(excess.argmax(), excess.shape))
            raise ValueError(
                f"{who}: task `{task.columns[column]}`{signature} differs by "
                f"{difference[row, column]:.2e} "
                f"in row {frame.index[row]} (served {answer[row, column]:.6f}, Keras "
                f"{right[row, column]:.6f}); "
                f"expected at most {tolerance:g}."
            )
        largest = max(largest, float(difference.max()))
    return largest


def is_within(answer: np.ndarray, around: tuple[np.ndarray, np.ndarray, np.ndarray]) -> bool:
    """Whether an answer has the shape of its range, and lies between its ends everywhere."""
    low, _, high = around
    return answer.shape == low.shape and bool(((low <= answer) & (answer <= high)).all())


def answer_range(
    predicted: Mapping[str, Any], tolerance: float, calibration: Calibration | None = None
) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Least, expected and greatest answer of each task.

    Without calibration `p -+ tolerance * max(1, |p|)`. A calibration may be steep, so that it
    enlarges differences of rounding: its range is that of its values between these ends, widened
    by `tolerance`.

    Args:
        predicted: Task name -> outputs of the Keras model.
        tolerance: Largest difference before calibration, relative to an output above 1.
        calibration: What the model was exported with.

    Returns:
        Task name -> three float64 arrays of the outputs' shape.
    """
    ranges = {}
    for task, values in predicted.items():
        p = np.asarray(values, "float64")
        allowed = tolerance * np.maximum(1, np.abs(p))
        ranges[task] = (p - allowed, p, p + allowed)
        if calibration is not None and task in calibration.tasks:
            one = Calibration({task: calibration.tasks[task]})
            ends = np.clip(ranges[task], 0, 1)
            low, middle, high = one.transform({task: ends})[task]
            ranges[task] = (low - tolerance, middle, high + tolerance)
    return ranges


def rank_pairs(schema: FeatureSchema, frame: pd.DataFrame) -> list[pd.DataFrame]:
    """For each of a few rows: its user, context and histories, with the items of several rows.

    Args:
        schema: The schema.
        frame: Rows with feature columns, and histories as list columns.

    Returns:
        Frames of pairs, one for each user, with the index of the rows whose items they are.
    """
    items = frame.iloc[:_CANDIDATES]
    of_item: Any = items[[name for name in item_inputs(schema) if name in frame]]
    chosen = np.unique(np.linspace(0, len(frame) - 1, _USERS).astype("int64"))
    of_users = (frame.iloc[[row] * len(items)].set_axis(items.index) for row in chosen)
    # The candidates are one list, whatever theirs were.
    listed: Any = {}
    if schema.ranked is not schema:
        listed = of_one_list(schema, owned_request(schema, items, ("item",)))
    return [of_user.assign(**{**of_item, **listed}) for of_user in of_users]
