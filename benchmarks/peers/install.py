"""The other libraries, in an environment of their own."""

import subprocess
import sys
from pathlib import Path

from benchmarks.peers.adapter import Adapter

# The log is read with it, which not all of them ask for.
_OF_THE_WORK = "pandas"


def python_of(venv: Path) -> Path:
    """The interpreter of an environment."""
    return venv / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def install(venv: Path, adapter: type[Adapter]) -> str | None:
    """Installs a library, unless an earlier run did; the environment is made if need be.

    pip finds packages as its configuration says.

    Returns:
        Why it is not installed, in pip's words, or `None`.
    """
    stamp = venv / f"installed-{adapter.library}"
    requirements = [*adapter.requirements, _OF_THE_WORK]
    wanted = "\n".join(requirements)
    if stamp.exists() and stamp.read_text() == wanted:
        return None
    if not python_of(venv).exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    command = [str(python_of(venv)), "-m", "pip", "install", "--disable-pip-version-check"]
    command += ["--quiet", *requirements]
    done = subprocess.run(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    if done.returncode:
        return reason_of(done.stderr)
    stamp.write_text(wanted)
    return None


def reason_of(said: str) -> str:
    """The last error in what pip said."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return [*lines, *errors][-1] if lines else "pip said nothing"
