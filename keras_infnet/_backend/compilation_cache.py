"""Compiled programs that later processes find again: a folder below the user's cache."""

import contextlib
import importlib.util
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import keras

from keras_infnet._base.digest import digest

_VARIABLE, _OFF = "KERAS_INFNET_CACHE", ("off", "0", "false", "no")
# Bytes of all programs of a backend. The disk must have as many besides: a program of TensorFlow's
# that can't be written is an error in a step.
_LIMIT = 2**30
_TENSORFLOW_FLAG = "--tf_xla_persistent_cache_directory"
# What TensorFlow says of each program that it finds. The processor is the same, by the folder's
# name; what it misses are preferences of the compiler.
_OF_LOADING = (b"cpu_aot_loader.cc", b"tensorflow.XlaSerializedCacheEntry")


def keep_compiled_programs() -> None:
    """Has the backend keep what XLA compiles, and look there before it compiles.

    The folder is `keras_infnet` below `$XDG_CACHE_HOME` or `~/.cache`, or what the environment
    variable `KERAS_INFNET_CACHE` says; `off` keeps nothing. Nothing is changed where the user has
    chosen a folder for JAX or TensorFlow, where the folder can't be written or the disk is full, or
    on JAX without `filelock`, by which it shares the folder between processes. Programs of other
    versions, processors or flags of XLA lie apart. Beyond 1 GiB those not used for longest go: of
    all versions on TensorFlow, when a process begins, and of one on JAX. TensorFlow reads its flag
    at its first operation.
    """
    root = os.environ.get(_VARIABLE) or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    if str(root).lower() in _OFF:
        return
    is_jax = keras.backend.backend() == "jax"
    if _is_chosen(is_jax) or (is_jax and importlib.util.find_spec("filelock") is None):
        return
    folder = Path(root).expanduser()
    folder = folder if os.environ.get(_VARIABLE) else folder / "keras_infnet"
    folder /= f"{keras.backend.backend()}-{_machine(is_jax)}"
    if not _is_writable(folder):
        return
    if is_jax:
        _keep_of_jax(folder)
        return
    _bound(folder)
    flags = f"{os.environ.get('TF_XLA_FLAGS', '')} {_TENSORFLOW_FLAG}={folder}"
    os.environ["TF_XLA_FLAGS"] = flags.strip()


@contextlib.contextmanager
def quiet_loading() -> Iterator[None]:
    """In its context, TensorFlow's lines about programs that it finds are left out of stderr."""
    stderr = _another_stderr() if _TENSORFLOW_FLAG in os.environ.get("TF_XLA_FLAGS", "") else None
    if stderr is None:
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            held.seek(0)
            for line in held:
                if not any(part in line for part in _OF_LOADING):
                    os.write(2, line)


def _another_stderr() -> int | None:
    """A copy of the descriptor; `None` in a process that has none."""
    try:
        return os.dup(2)
    except OSError:
        return None


def _is_chosen(is_jax: bool) -> bool:
    if not is_jax:
        return _TENSORFLOW_FLAG in os.environ.get("TF_XLA_FLAGS", "")
    import jax

    config: Any = jax.config
    return not config.jax_enable_compilation_cache or bool(config.jax_compilation_cache_dir)


def _keep_of_jax(folder: Path) -> None:
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_compilation_cache_max_size", _LIMIT)
    # What has been compiled before has told it that there is none.
    compilation_cache.reset_cache()


def _machine(is_jax: bool) -> str:
    """What a program depends on besides itself, in a few letters."""
    version = metadata.version("jaxlib") if is_jax else sys.modules["tensorflow"].__version__
    processor = platform.processor()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next((x for x in lines if x.startswith(("flags", "Features"))), processor)
    about = platform.machine(), processor, os.cpu_count(), os.environ.get("XLA_FLAGS", "")
    return f"{version}-{digest(*map(str, about))}"


def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return os.access(folder, os.W_OK) and shutil.disk_usage(folder).free > _LIMIT
    except OSError:
        return False


def _bound(folder: Path) -> None:
    """Deletes the programs used longest ago, of all versions, until what is left is in bounds."""
    found = []
    for path in folder.parent.glob("tensorflow-*/*"):
        # Another process may delete it.
        with contextlib.suppress(OSError):
            state = path.stat()
            found.append((max(state.st_atime, state.st_mtime), state.st_size, path))
    size = sum(held for _, held, _ in found)
    for _, held, path in sorted(found):
        if size <= _LIMIT:
            return
        path.unlink(missing_ok=True)
        size -= held
