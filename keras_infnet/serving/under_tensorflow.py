"""Child process under TensorFlow, where models that JAX has trained are exported."""

import operator
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from keras_infnet._keras_internals import layers_inside
from keras_infnet.encoding.encoder import FeatureEncoder


def write_under_tensorflow(
    write: Callable[[Any, FeatureEncoder, Path], None],
    model: Any,
    encoder: FeatureEncoder,
    path: Path,
) -> None:
    """Calls `write(model, encoder, path)`: here, or under JAX in a process under TensorFlow.

    A graph that JAX exports holds programs of its own; a model that TensorFlow reloads does not.
    The process imports the modules of the user's own classes.

    Args:
        write: A function of a module, or a partial call of one.
        model: The model.
        encoder: Its encoder.
        path: What is written; the folder above is for this alone.

    Raises:
        ValueError: A class of the user's can't be imported by another process.
        OSError: The process failed; its error is shown.
    """
    if keras.backend.backend() == "tensorflow":
        write(model, encoder, path)
        return
    modules = _modules_of_user(model)
    source = path.with_name("source")
    encoder.save(source / "encoder")
    model.save(source / "model.keras")
    (source / "write.pickle").write_bytes(pickle.dumps(write))
    code = f"from {__name__} import main; main({str(source)!r}, {str(path)!r}, {modules!r})"
    # What is imported here is found there.
    found_here = os.pathsep.join(folder or os.getcwd() for folder in sys.path)
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "PYTHONPATH": found_here}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        error = source / "error.txt"
        shown = error.read_text("utf-8") if error.exists() else done.stderr[-3000:]
        raise OSError(
            f"the child process that reloads `{type(model).__name__}` under TensorFlow failed: "
            f"{shown}\nTo see it whole, save the model, and load and export it in a process with "
            "KERAS_BACKEND=tensorflow."
        )


def main(source: str, path: str, modules: list[str]) -> None:
    """What the child process does; an error is written as one line beside its source."""
    try:
        for module in modules:
            __import__(module)
        write_loaded(source, path)
    except Exception as error:
        shown = f"{type(error).__name__}: {' '.join(str(error).split())}"
        (Path(source) / "error.txt").write_text(shown[:1000], "utf-8")
        raise


def write_loaded(source: str, path: str) -> None:
    """Reads function, model and encoder in the folder `source`, and calls the function."""
    folder = Path(source)
    write = pickle.loads((folder / "write.pickle").read_bytes())
    model = keras.saving.load_model(folder / "model.keras", compile=False)
    write(model, FeatureEncoder.load(folder / "encoder"), Path(path))


def _modules_of_user(model: Any) -> list[str]:
    """Modules of the classes of model and layers that are neither Keras's nor ours."""
    modules: dict[str, None] = {}
    for kind in {type(part): None for part in (model, *layers_inside(model))}:
        module, name = kind.__module__, kind.__qualname__
        if module.split(".")[0] in ("keras", "keras_infnet"):
            continue
        try:
            found = operator.attrgetter(name)(sys.modules.get(module))
        except AttributeError:
            found = None
        if module == "__main__" or found is not kind:
            raise ValueError(
                f"export: `{kind.__name__}` is defined in `{module}`, where another process can't "
                "import it: a model that JAX has trained is written by a process under TensorFlow. "
                "Put the class at the top of a module of its own and import it here, or save the "
                "model, and load and export it where KERAS_BACKEND=tensorflow."
            )
        modules[module] = None
    return list(modules)
