"""Check: a saved model behind TensorFlow's C API against Python's runtime and Keras."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from keras_infnet.encoding.requests import frame_to_request
from keras_infnet.schema.schema import FeatureSchema
from keras_infnet.serving.answers import answer_range, ask, is_within
from keras_infnet.serving.artefacts import read_options
from keras_infnet.serving.c_api import CApiProcess
from keras_infnet.serving.requests import (
    paired_request,
    read_artefact,
    read_signatures,
    signature_requests,
)
from keras_infnet.serving.signatures import ExportOptions
from keras_infnet.serving.weights import tolerance_of
from keras_infnet.serving.wire import parse_rest_json

BLOCK_ROWS = 256
PYTHON, KERAS, PAIRS, RANK = "Python's runtime", "Keras", "serving_default", "rank"


@dataclass
class CheckReport:
    """Largest differences by (signature, output, what it was compared with), and seconds of runs.

    A difference is `|a - b| / max(1, |b|)`; infinity where one of them is not a number. Answers
    that `outside` names are farther from Keras than the options of the export allow.
    `keras_tolerance` is 0 where Keras was not asked.
    """

    differences: dict[tuple[str, str, str], float] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    outside: set[tuple[str, str, str]] = field(default_factory=set)
    keras_tolerance: float = 0.0

    def add(self, signature: str, reference: str, found: Mapping, expected: Mapping) -> None:
        """Adds the outputs of one request."""
        for output in expected:
            key = (signature, output, reference)
            new = _difference(found[output], np.asarray(expected[output]))
            self.differences[key] = max(self.differences.get(key, 0.0), new)

    def add_keras(
        self, signature: str, found: Mapping, predicted: Mapping, options: ExportOptions
    ) -> None:
        """Adds the outputs of one request, beside the Keras model's before calibration."""
        ranges = answer_range(predicted, self.keras_tolerance, options.calibration)
        self.add(signature, KERAS, found, {task: middle for task, (_, middle, _) in ranges.items()})
        outside = {task for task, around in ranges.items() if not is_within(found[task], around)}
        self.outside |= {(signature, task, KERAS) for task in outside}

    def ok(self, tolerance: float) -> bool:
        """Whether no difference is above the tolerance, nor above that for Keras."""
        plain = [d for (*_, what), d in self.differences.items() if what != KERAS]
        return not self.outside and all(difference <= tolerance for difference in plain)


def check_rows(
    saved_model: Path,
    frame: pd.DataFrame,
    model: Any = None,
    encoder: Any = None,
    repeat: int = 1,
    tolerance: float = 1e-5,
    **threads: int,
) -> CheckReport:
    """Asks every signature for rows with feature columns.

    Keras's outputs are calibrated as the export's model card says, and compared to the tolerance
    of its table dtype. `rank` is also compared with `serving_default` for the same pairs of user
    and candidate, `examples` with `serving_default` for the same rows, and `score`, by states that
    are not rounded to float16, with `rank`.

    Args:
        saved_model: The exported folder.
        frame: Rows with feature columns, and histories as list columns.
        model: The Keras model, if `serving_default` is to be compared with it.
        encoder: Its `FeatureEncoder`.
        repeat: Timed runs of each request.
        tolerance: Largest difference from Keras, if it is above that of the table dtype.
        **threads: `intra_threads` and `inter_threads` of the C API.

    Returns:
        The report.
    """
    import tensorflow as tf

    words = "check: `{path}` is no schema; expected a folder that `export` wrote. ({error})"
    path = saved_model / "assets.extra" / "schema.json"
    schema = read_artefact(path, FeatureSchema.from_dict, words)
    signatures, report = read_signatures(saved_model), CheckReport()
    # A frame that lacks a column is refused before anything is loaded.
    frame_to_request(schema, frame.iloc[:1])
    python = tf.saved_model.load(str(saved_model)).signatures
    if model is not None:
        options = read_options(saved_model, "check")
        report.keras_tolerance = max(tolerance, tolerance_of(model, options.table_dtype))
    with CApiProcess(saved_model, **threads) as process:
        for start in range(0, len(frame), BLOCK_ROWS):
            block = frame.iloc[start : start + BLOCK_ROWS]
            rows = frame_to_request(schema, block)
            requests = signature_requests(
                signatures, schema, rows, lambda of_user: process.run("user_state", of_user)[0]
            )
            for name, request in requests.items():
                found = _ask(process, report, name, request, len(block), repeat)
                report.add(name, PYTHON, found, ask(python[name], request))
                if name == "serving_default" and model is not None:
                    predicted = model.predict(encoder.transform(block), verbose=0)
                    report.add_keras(name, found, predicted, options)
                if name in ("rank", "examples"):
                    same = paired_request(schema, request) if name == "rank" else rows
                    report.add(name, PAIRS, found, process.run("serving_default", same)[0])
                if name == "score" and not _is_rounded(signatures):
                    report.add(name, RANK, found, process.run("rank", requests["rank"])[0])
    return report


def check_request(saved_model: Path, text: str, repeat: int = 1, **threads: int) -> CheckReport:
    """Asks one signature for a REST request in columnar JSON; arguments as `check_rows`."""
    import tensorflow as tf

    name, request = parse_rest_json(text, read_signatures(saved_model))
    report, rows = CheckReport(), max((len(v) for v in request.values() if v.ndim), default=1)
    with CApiProcess(saved_model, **threads) as process:
        found = _ask(process, report, name, request, rows, repeat)
    python = tf.saved_model.load(str(saved_model)).signatures[name]
    report.add(name, PYTHON, found, ask(python, request))
    return report


def _is_rounded(signatures: Mapping) -> bool:
    """Whether states hold numbers in float16."""
    return any(dtype == "float16" for dtype, _ in signatures["user_state"]["outputs"].values())


def _ask(
    process: CApiProcess, report: CheckReport, name: str, request: Mapping, rows: int, repeat: int
) -> dict[str, np.ndarray]:
    # The first run prepares the graph; it is not timed where there are others.
    outputs, seconds = process.run(name, request, repeat + (repeat > 1))
    report.seconds.setdefault(name, []).extend(seconds[-repeat:])
    report.rows[name] = report.rows.get(name, 0) + rows
    return outputs


def _difference(found: np.ndarray, expected: np.ndarray) -> float:
    if found.shape != expected.shape:
        return float("inf")
    if found.dtype.kind not in "fiu":
        return 0.0 if (found == expected).all() else float("inf")
    expected = expected.astype("float64")
    difference = np.abs(found - expected) / np.maximum(1, np.abs(expected))
    return float(np.nan_to_num(difference, nan=np.inf, posinf=np.inf).max(initial=0.0))
