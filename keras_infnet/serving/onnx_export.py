"""A model as an ONNX file that takes packed inputs."""

import subprocess
import sys
import warnings
from importlib.util import find_spec
from os import environ
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from keras_infnet._base.whole_files import scratch_folder, whole_file
from keras_infnet.encoding.encoder import FeatureEncoder
from keras_infnet.serving.answers import largest_difference
from keras_infnet.serving.saved_model import CANT_WRITE

TOLERANCE = 1e-5


def export_onnx(
    model: Any, encoder: FeatureEncoder, path: str | Path, verify: pd.DataFrame | None = None
) -> float | None:
    """Writes an ONNX file of the network, for runtimes other than TensorFlow's.

    Its inputs are those of `schema.packed_inputs()` with any batch size, its outputs are named
    after the tasks, `(batch, 1)`. ONNX has no look-up of strings that all runtimes know, so the
    vocabularies stay in Python: `encoder.transform` makes the inputs, and the encoder is saved on
    its own. A model trained on JAX is reloaded under TensorFlow in a child process, from where
    Keras's `export(format="onnx")` writes the file.

    Args:
        model: A model of this library, built from `encoder.schema`, in float32.
        encoder: The encoder it was trained with.
        path: File to write, such as `models/ranker.onnx`. It must not exist. It is written under a
            temporary name and renamed: a failed export leaves nothing.
        verify: Rows with feature columns, and histories as list columns (`Histories.attach`). ONNX
            Runtime must answer them as the Keras model does, to 1e-5. Defaults to `None`.

    Returns:
        The largest absolute difference on the rows of `verify`, or `None` without them.

    Raises:
        ValueError: The model is of another schema, or the answers differ.
        ImportError: tf2onnx or onnxruntime is missing.
        FileExistsError: `path` exists.
        OSError: The file can't be written.

    Example:
        ```python
        rows = histories.attach(test.head(1000))
        keras_infnet.serving.export_onnx(model, encoder, "models/ranker.onnx", verify=rows)

        session = onnxruntime.InferenceSession("models/ranker.onnx")
        packed = encoder.transform(rows)
        inputs = {i.name: packed[i.name] for i in session.get_inputs()}
        (click,) = session.run(["click"], inputs)
        ```
    """
    encoder.check_model(model, "export_onnx")
    _require_packages()
    import tensorflow as tf

    path = Path(path)
    if path.exists():
        raise FileExistsError(f"export_onnx: `{path}` exists. Choose another file.")
    errors = (OSError, tf.errors.OpError)
    with whole_file(path, f"export_onnx: {CANT_WRITE}", errors) as temporary:
        if keras.backend.backend() == "tensorflow":
            write_onnx(model, temporary)
        else:
            _write_in_child_process(model, temporary)
        return None if verify is None else _verify(temporary, model, encoder, verify)


def write_onnx(model: Any, path: Path) -> None:
    """Writes the ONNX file; the backend must be TensorFlow."""
    # Keras exports only what has been called.
    shapes = model.schema.packed_inputs().items()
    model({name: np.zeros((1, *shape), dtype) for name, (shape, dtype) in shapes})
    with warnings.catch_warnings():
        # tf2onnx uses names that newer packages are about to drop.
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        _register_log1p()
        model.export(str(path), format="onnx", verbose=False)


def _write_in_child_process(model: Any, path: Path) -> None:
    with scratch_folder(path) as scratch:
        source = scratch / "model.keras"
        model.save(source)
        command = [
            sys.executable,
            "-m",
            "keras_infnet.serving.onnx_convert",
            str(source),
            str(path),
        ]
        environment = {**environ, "KERAS_BACKEND": "tensorflow"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            raise OSError(
                f"the child process that reloads it under TensorFlow failed:\n{done.stderr[-3000:]}"
            )


def _verify(path: Path, model: Any, encoder: FeatureEncoder, frame: pd.DataFrame) -> float:
    import onnxruntime

    packed = encoder.transform(frame)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    tasks = list(encoder.schema.task_names)
    answers = session.run(tasks, {i.name: packed[i.name] for i in session.get_inputs()})
    served = dict(zip(tasks, answers, strict=True))
    return largest_difference(served, frame, model, encoder, TOLERANCE, who="export_onnx")


def _require_packages() -> None:
    missing = [name for name in ("tf2onnx", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise ImportError(
            f"export_onnx: {' and '.join(missing)} must be installed: "
            '`pip install "keras-infnet[onnx]"`.'
        )


def _register_log1p() -> None:
    """Teaches tf2onnx `log(1 + x)`, which it lacks; ours are of numbers of events."""
    from tf2onnx.handler import tf_op

    @tf_op("Log1p")
    class Log1p:
        @classmethod
        def version_1(cls, graph: Any, node: Any, **_: Any) -> None:
            dtype = graph.get_dtype(node.input[0])
            one = graph.make_const(f"{node.name}_one", np.ones((), "float32"))
            added = graph.make_node("Add", [node.input[0], one.output[0]], dtypes=[dtype])
            graph.replace_input(node, node.input[0], added.output[0], 0)
            node.type = "Log"
