"""Child process under TensorFlow, where models that JAX has trained are exported."""

import subprocess
import sys
from collections.abc import Callable
from os import environ
from pathlib import Path


def call_under_tensorflow(function: Callable[[str, str], None], source: Path, out: Path) -> None:
    """Calls a function of a module, with the names of two paths, in a process under TensorFlow.

    A graph that JAX exports holds programs of its own; a model that TensorFlow reloads does not.

    Raises:
        OSError: The process failed; the end of what it printed is shown.
    """
    name = function.__name__
    code = f"import sys; from {function.__module__} import {name}; {name}(*sys.argv[1:])"
    command = [sys.executable, "-c", code, str(source), str(out)]
    environment = {**environ, "KERAS_BACKEND": "tensorflow"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise OSError(
            f"the child process that reloads it under TensorFlow failed:\n{done.stderr[-3000:]}"
        )
