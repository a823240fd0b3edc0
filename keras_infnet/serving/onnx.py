"""ONNX: a model as a file that takes packed inputs, for runtimes other than TensorFlow's."""

import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from keras_infnet._base.paths import local_path
from keras_infnet._base.whole_files import whole_file
from keras_infnet.encoding.encoder import FeatureEncoder
from keras_infnet.serving.answers import encoder_and_rows, largest_difference
from keras_infnet.serving.signatures import ExportOptions
from keras_infnet.serving.under_tensorflow import write_under_tensorflow
from keras_infnet.serving.weights import check_finite_weights


def export_onnx(
    model: Any, data: Any, path: str | Path, verify: pd.DataFrame | None = None
) -> float | None:
    """Writes an ONNX file of the network, for runtimes other than TensorFlow's.

    Its inputs are those of `schema.packed_inputs()` with any batch size, its outputs are named
    after the tasks, `(batch, units)`. ONNX has no look-up of strings that all runtimes know, so the
    vocabularies stay in Python: `encoder.transform` makes the inputs, and the encoder is saved on
    its own. A model trained on JAX is reloaded under TensorFlow in a child process, from where
    Keras's `export(format="onnx")` writes the file.

    Args:
        model: A model of this library, built from `encoder.schema`, in float32.
        data: The `FeatureEncoder` it was trained with, or what has it as `encoder`.
        path: File to write, such as `models/ranker.onnx`. It must not exist. It is written under a
            temporary name and renamed: a failed export leaves nothing.
        verify: Rows with feature columns, and histories as list columns (`Histories.attach`). ONNX
            Runtime must answer them as the Keras model does, to 1e-5. Defaults to `None`: the rows
            that `data` keeps for this; with an encoder alone there is no check.

    Returns:
        The largest absolute difference on the rows of `verify`, or `None` without them.

    Raises:
        ValueError: The model is of another schema or holds NaN, or the answers differ.
        ImportError: tf2onnx or onnxruntime is missing.
        FileExistsError: `path` exists.
        OSError: The file can't be written.

    Example:
        ```python
        keras_infnet.serving.export_onnx(model, data, "models/ranker.onnx")

        session = onnxruntime.InferenceSession("models/ranker.onnx")
        packed = data.encoder.transform(data.attach("test"))
        inputs = {i.name: packed[i.name] for i in session.get_inputs()}
        (click,) = session.run(["click"], inputs)
        ```
    """
    path = local_path(path, "export_onnx", "path", written=True)
    encoder, verify = encoder_and_rows(data, verify, "export_onnx")
    encoder.check_model(model, "export_onnx")
    check_finite_weights(model, "export_onnx")
    missing = [name for name in ("tf2onnx", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise ImportError(
            f"export_onnx: {' and '.join(missing)} must be installed: "
            '`pip install "keras-infnet[onnx]"`.'
        )
    if path.exists():
        raise FileExistsError(f"export_onnx: `{path}` exists. Choose another file.")
    words = "export_onnx: `{path}` can't be written: {error}. Nothing was left there."
    with whole_file(path, words) as written:
        write_under_tensorflow(write_onnx, model, encoder, written)
        return None if verify is None else _compare(written, model, encoder, verify)


def write_onnx(model: Any, encoder: FeatureEncoder, path: Path) -> None:
    """Writes the ONNX file; the backend must be TensorFlow."""
    # Keras exports only what has been called.
    shapes = encoder.schema.packed_inputs().items()
    model({name: np.zeros((1, *shape), dtype) for name, (shape, dtype) in shapes})
    with warnings.catch_warnings():
        # tf2onnx uses names that newer packages are about to drop.
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        _register_log1p()
        model.export(str(path), format="onnx", verbose=False)


def _compare(path: Path, model: Any, encoder: FeatureEncoder, frame: pd.DataFrame) -> float:
    import onnxruntime

    packed = encoder.transform(frame)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    tasks = list(encoder.schema.task_names)
    answers: Any = session.run(tasks, {i.name: packed[i.name] for i in session.get_inputs()})
    served = dict(zip(tasks, answers, strict=True))
    return largest_difference(served, frame, model, encoder, ExportOptions(), who="export_onnx")


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
