"""Child process under TensorFlow, where models that JAX has trained are exported."""

import pickle
import subprocess
import sys
from collections.abc import Callable
from os import environ
from pathlib import Path
from typing import Any

import keras

from keras_infnet.encoding.encoder import FeatureEncoder


def write_under_tensorflow(
    write: Callable[[Any, FeatureEncoder, Path], None],
    model: Any,
    encoder: FeatureEncoder,
    path: Path,
) -> None:
    """Calls `write(model, encoder, path)`: here, or under JAX in a process under TensorFlow.

    A graph that JAX exports holds programs of its own; a model that TensorFlow reloads does not.

    Args:
        write: A function of a module, or a partial call of one.
        model: The model.
        encoder: Its encoder.
        path: What is written; the folder above is for this alone.

    Raises:
        OSError: The process failed; the end of what it printed is shown.
    """
    if keras.backend.backend() == "tensorflow":
        write(model, encoder, path)
        return
    source = path.with_name("source")
    encoder.save(source / "encoder")
    model.save(source / "model.keras")
    (source / "write.pickle").write_bytes(pickle.dumps(write))
    code = f"from {__name__} import write_loaded; write_loaded({str(source)!r}, {str(path)!r})"
    environment = {**environ, "KERAS_BACKEND": "tensorflow"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise OSError(
            f"the child process that reloads it under TensorFlow failed:\n{done.stderr[-3000:]}"
        )


def write_loaded(source: str, path: str) -> None:
    """Reads function, model and encoder in the folder `source`, and calls the function."""
    folder = Path(source)
    write = pickle.loads((folder / "write.pickle").read_bytes())
    model = keras.saving.load_model(folder / "model.keras", compile=False)
    write(model, FeatureEncoder.load(folder / "encoder"), Path(path))
