import graphlib
import os
import re
import subprocess
import sys

import pytest

from tests.house.source import PACKAGE, ROOT, Import, imports_of, python_files

MAY_IMPORT = {
    "losses": (),
    "balances": (),
    "metrics": (),
    "layers": (),
    "schema": ("losses", "metrics"),
    "calibration": ("schema", "metrics"),
    "encoding": ("schema",),
    "datasets": ("schema",),
    "data": ("schema", "encoding", "metrics", "calibration"),
    "models": ("schema", "layers", "losses", "metrics", "balances"),
    "training": ("schema", "layers", "losses", "metrics"),
    "serving": ("schema", "encoding", "data", "models", "metrics", "calibration"),
    "explain": ("schema", "encoding", "data", "models", "metrics"),
    "search": ("schema", "data", "models", "metrics", "training"),
    "daily": (
        "schema",
        "encoding",
        "data",
        "models",
        "metrics",
        "calibration",
        "training",
        "serving",
    ),
    "_base": (),
    "_backend": (),
}
EVERY_ROOM_MAY_IMPORT = ("_base", "_backend", "_keras_internals")
KERAS_AND_NUMPY_ONLY = ("layers", "losses", "models")
CORE = {"keras", "numpy", "pandas", "pyarrow"} | set(sys.stdlib_module_names)
TENSORFLOW_IN_FUNCTIONS = re.compile(r"keras_infnet/(encoding|data|serving|_backend)/")

IMPORTS = [found for path in python_files("keras_infnet") for found in imports_of(path)]
OURS = [found for found in IMPORTS if found.module.split(".")[0] == "keras_infnet"]
OTHERS = [found for found in IMPORTS if found.module.split(".")[0] != "keras_infnet"]


def folder_of(found: Import) -> str:
    parts = found.file.split("/")
    return parts[1] if len(parts) > 2 else ""


def shown(imports: list[Import]) -> str:
    return "\n".join(f"{found.file}:{found.line} imports {found.module}" for found in imports)


def test_every_folder_stands_in_the_table():
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert folders == set(MAY_IMPORT)


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_a_folder_imports_what_the_table_says(folder):
    allowed = [
        f"keras_infnet.{name}" for name in (folder, *EVERY_ROOM_MAY_IMPORT, *MAY_IMPORT[folder])
    ]
    wrong = [
        found
        for found in OURS
        if folder_of(found) == folder
        and not any(found.module == name or found.module.startswith(f"{name}.") for name in allowed)
    ]
    assert not wrong, shown(wrong)


def test_what_every_room_imports_imports_nothing_of_ours():
    wrong = [found for found in OURS if found.file == "keras_infnet/_keras_internals.py"]
    assert not wrong, shown(wrong)


def test_no_file_imports_itself_through_others():
    names = {
        path.relative_to(ROOT).as_posix(): path.relative_to(ROOT).with_suffix("").as_posix()
        for path in python_files("keras_infnet")
    }
    graph = {name.replace("/", ".").removesuffix(".__init__"): set() for name in names.values()}
    for found in OURS:
        if not found.deferred:
            file = names[found.file].replace("/", ".").removesuffix(".__init__")
            graph[file].add(found.module)
    graphlib.TopologicalSorter(graph).prepare()


def test_without_extras_the_package_still_imports():
    wrong = [
        found
        for found in OTHERS
        if not found.deferred
        and folder_of(found) != "_backend"
        and found.module.split(".")[0] not in CORE
    ]
    assert not wrong, shown(wrong)


@pytest.mark.parametrize("folder", KERAS_AND_NUMPY_ONLY)
def test_layers_losses_and_models_import_keras_and_numpy_alone(folder):
    allowed = {"keras", "numpy"} | set(sys.stdlib_module_names)
    wrong = [
        found
        for found in OTHERS
        if folder_of(found) == folder and found.module.split(".")[0] not in allowed
    ]
    assert not wrong, shown(wrong)


def test_tensorflow_and_jax_stay_where_they_belong():
    wrong = [
        found
        for found in OTHERS
        if found.module.split(".")[0] in ("tensorflow", "jax", "torch")
        and folder_of(found) != "_backend"
        and not (
            found.deferred
            and found.module.split(".")[0] == "tensorflow"
            and TENSORFLOW_IN_FUNCTIONS.match(found.file)
        )
    ]
    assert not wrong, shown(wrong)


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


IMPORT = """
import sys, keras_infnet
loaded = {name.removeprefix("keras_infnet.") for name in sys.modules}
print(*sorted(loaded & {"tensorflow", "jax", "keras_tuner", "grpc", "data", "serving", "daily"}))
print(set(keras_infnet.__all__) <= set(dir(keras_infnet)), keras_infnet.serving.Client.__name__)
"""


def test_importing_loads_the_backend_alone_and_no_room_that_training_does_not_need():
    child = run_python(IMPORT, KERAS_BACKEND="jax")
    assert child.stdout.splitlines() == ["data jax", "True Client"], child.stderr


HIDE_BACKENDS = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name in ("tensorflow", "jax", "torch"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())
import keras_infnet
"""


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_without_its_backend_the_error_names_the_extras(backend):
    child = run_python(HIDE_BACKENDS, KERAS_BACKEND=backend)
    assert child.returncode != 0
    last = child.stderr.strip().splitlines()[-1]
    assert last.startswith(f"ImportError: keras_infnet: Keras's backend is `{backend}`")
    assert 'pip install "keras-infnet[tensorflow-cpu]"' in last
    assert 'pip install "keras-infnet[jax]"' in last
