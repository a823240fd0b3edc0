import os
import subprocess
import sys
import sysconfig
import venv
import zipfile

import pytest

from tests.house.source import PACKAGE, ROOT

SHOW = """
import keras_infnet, importlib.metadata, pathlib
print(pathlib.Path(keras_infnet.__file__).parent)
print(importlib.metadata.version("keras-infnet"), keras_infnet.__version__)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    built = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = folder.glob("keras_infnet-*.whl")
    return path


def test_the_wheel_holds_the_package_and_its_type_marker_alone(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    files = [path for kind in ("*.py", "*.c", "*.h") for path in PACKAGE.rglob(kind)]
    sources = {path.relative_to(ROOT).as_posix() for path in files}
    assert sources | {"keras_infnet/py.typed"} <= names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"keras_infnet"}
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_the_wheel_installs_into_an_empty_environment_and_imports(wheel, tmp_path):
    """The dependencies come from this environment by path; the package itself does not."""
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    where = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-index", "--target", where, wheel], check=True)
    dependencies = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    child = subprocess.run(
        [python, "-c", SHOW],
        cwd=tmp_path,
        # The empty environment comes first: this one may hold an editable installation.
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([where, *dependencies]),
            "KERAS_BACKEND": "jax",
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert child.returncode == 0, child.stderr
    folder, installed, version = child.stdout.split()
    assert folder == f"{where}/keras_infnet"
    assert installed == version
