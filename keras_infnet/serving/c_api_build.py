"""Builds the C program of the check against the installed TensorFlow wheel."""

import os
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

SOURCES = ("c_api_check.c", "c_api_wire.h")
LIBRARY = "libtensorflow_cc.so.2"


def build_c_api_program(folder: Path) -> Path:
    """Compiles `c_api_check.c` into `folder`, in less than a second.

    Returns:
        The program.

    Raises:
        OSError: There is no C compiler, or TensorFlow's headers or library are missing.
    """
    compiler = os.environ.get("CC", "gcc")
    if shutil.which(compiler.split()[0]) is None:
        raise OSError(
            f"check: the C compiler `{compiler}` was not found; the check builds a small program. "
            "Install gcc (Debian, Ubuntu: `apt-get install gcc`), or name one in CC."
        )
    wheel = _tensorflow_folder()
    sources = [Path(__file__).with_name(name) for name in SOURCES]
    names = {n for s in sources for n in re.findall(r"\bTF_\w+(?=\()", s.read_text("utf-8"))}
    # Linking against the library itself reads a gigabyte; one with the same names is enough.
    (folder / "stub.c").write_text("".join(f"void {name}(void) {{}}\n" for name in sorted(names)))
    stub, program = folder / "stub" / LIBRARY, folder / "c_api_check"
    stub.parent.mkdir()
    shared = ["-shared", f"-Wl,-soname,{LIBRARY}", "-o", stub, folder / "stub.c"]
    _compile([*compiler.split(), *shared])
    include, found_at_run_time = f"-I{wheel / 'include'}", f"-Wl,-rpath,{wheel}"
    command = ["-O2", "-Wall", include, sources[0], "-o", program, stub, found_at_run_time]
    _compile([*compiler.split(), *command])
    return program


def _tensorflow_folder() -> Path:
    spec = find_spec("tensorflow")
    if spec is None or not spec.submodule_search_locations:
        raise OSError('check: TensorFlow is missing: pip install "keras-infnet[tensorflow-cpu]"')
    wheel = Path(next(iter(spec.submodule_search_locations))).resolve()
    for needed in (wheel / "include" / "tensorflow" / "c" / "c_api.h", wheel / LIBRARY):
        if not needed.exists():
            raise OSError(
                f"check: `{needed}` was not found; expected TensorFlow's wheel for Linux, which "
                'has it: pip install "keras-infnet[tensorflow-cpu]"'
            )
    return wheel


def _compile(command: list) -> None:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise OSError(f"check: the C program can't be built:\n{done.stderr[-3000:]}")
