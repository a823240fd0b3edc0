"""TensorFlow's C API: a saved model in a process of a small C program, without Python."""

import io
import os
import re
import shutil
import struct
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from subprocess import PIPE, Popen
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from keras_infnet._base.paths import local_path

LIBRARY = "libtensorflow_cc.so.2"


def run_c_api(
    saved_model: str | Path,
    signature: str | Sequence[str],
    requests: Sequence[Mapping[str, Any]],
    repeat: int = 1,
    warm_up: int = 0,
    intra_threads: int = 0,
    inter_threads: int = 0,
) -> tuple[list[dict[str, np.ndarray]], np.ndarray]:
    """Answers of a saved model through TensorFlow's C API, and how long each run took.

    A small C program is built with gcc against the installed TensorFlow wheel, and loads the model
    once. TensorFlow Serving embeds the same runtime.

    Args:
        saved_model: The exported folder.
        signature: Name of the signature, such as `"serving_default"`, or a name for each request.
        requests: Arrays by the signature's input names; strings in arrays of `object` or `str`.
        repeat: Timed runs of each request. Defaults to `1`.
        warm_up: Runs of each request before them. Defaults to `0`.
        intra_threads: Threads of one operation, up to 127. Defaults to `0`: TensorFlow chooses.
        inter_threads: Operations at a time, up to 127. Defaults to `0`: TensorFlow chooses.

    Returns:
        The outputs of each request by name, and the seconds of each run, `(requests, repeat)`.

    Raises:
        ValueError: The model can't be loaded, a request is refused, or names and requests differ
            in number.
        OSError: The C program can't be built, or its process died.

    Example:
        ```python
        request = keras_infnet.data.frame_to_request(data.schema, data.attach(rows))
        (outputs,), seconds = keras_infnet.serving.run_c_api(
            "models/ranker/1", "serving_default", [request], repeat=100, warm_up=5
        )
        print(outputs["click"].shape, np.percentile(seconds, [50, 99]))
        ```
    """
    names = [signature] * len(requests) if isinstance(signature, str) else list(signature)
    if len(names) != len(requests):
        raise ValueError(
            f"run_c_api: {len(names)} signatures for {len(requests)} requests; expected one name "
            "for all requests or one for each."
        )
    outputs, seconds = [], []
    with CApiProcess(saved_model, intra_threads, inter_threads) as process:
        for name, request in zip(names, requests, strict=True):
            answer, taken = process.run(name, request, warm_up + repeat)
            outputs.append(answer)
            seconds.append(taken[warm_up:])
    return outputs, np.reshape(seconds, (len(requests), repeat))


class CApiProcess:
    """A process of `c_api_check.c` that keeps one saved model loaded; use it in `with`."""

    def __init__(
        self, saved_model: str | Path, intra_threads: int = 0, inter_threads: int = 0
    ) -> None:
        if not (0 <= intra_threads <= 127 and 0 <= inter_threads <= 127):
            raise ValueError(
                f"check: expected 0 to 127 threads. Received: {intra_threads=}, {inter_threads=}"
            )
        folder = local_path(saved_model, "run_c_api", "saved_model")
        self._arguments = [str(folder), str(intra_threads), str(inter_threads)]

    def __enter__(self) -> "CApiProcess":
        with ExitStack() as stack:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="c_api_check.")))
            command = [_built_program(folder), *self._arguments]
            environment = {"TF_CPP_MIN_LOG_LEVEL": "2", **os.environ}
            self._log = folder / "log"
            with self._log.open("wb") as log:
                process = Popen(command, stdin=PIPE, stdout=PIPE, stderr=log, env=environment)
            # At its end Popen closes the pipes, and waits.
            self._process: Any = stack.enter_context(process)
            self._check_status("the model can't be loaded")
            self._ended = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._ended.close()

    def run(
        self, signature: str, request: Mapping[str, Any], runs: int = 1
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Outputs by name, and the seconds of each run; a refused request is a ValueError."""
        if runs < 1:
            raise ValueError(f"check: expected one run or more. Received: {runs=}")
        parts = [_text(signature.encode()), struct.pack("<II", runs, len(request))]
        for name, values in request.items():
            parts += [_text(name.encode()), _tensor(name, values)]
        try:
            self._process.stdin.write(b"".join(parts))
            self._process.stdin.flush()
        except BrokenPipeError:
            self._died()
        self._check_status(f"signature `{signature}`")
        seconds = np.frombuffer(self._read(8 * runs), "<f8")
        outputs = {}
        for _ in range(self._number()):
            name = self._read(self._number()).decode()
            outputs[name] = self._read_tensor()
        return outputs, seconds

    def _check_status(self, what: str) -> None:
        code, message = self._number(), self._read(self._number()).decode(errors="replace")
        if code:
            raise ValueError(f"check: {what}: {message}")

    def _read_tensor(self) -> np.ndarray:
        import tensorflow as tf

        dtype, rank = struct.unpack("<II", self._read(8))
        shape = struct.unpack(f"<{rank}q", self._read(8 * rank))
        (size,) = struct.unpack("<Q", self._read(8))
        data = self._read(size)
        if dtype != tf.string.as_datatype_enum:
            return np.frombuffer(data, tf.as_dtype(dtype).as_numpy_dtype).reshape(shape)
        texts, stream = np.empty(shape, object), io.BytesIO(data)
        for i in np.ndindex(shape):
            (length,) = struct.unpack("<I", stream.read(4))
            texts[i] = stream.read(length)
        return texts

    def _number(self) -> int:
        return struct.unpack("<I", self._read(4))[0]

    def _read(self, size: int) -> bytes:
        data = self._process.stdout.read(size)
        if len(data) < size:
            self._died()
        return data

    def _died(self) -> None:
        code = self._process.wait()
        log = self._log.read_text("utf-8", "replace")[-2000:]
        raise OSError(f"check: the process of the C API ended with exit code {code}:\n{log}")


def _text(data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + data


def _tensor(name: str, values: Any) -> bytes:
    import tensorflow as tf

    array = np.asarray(values)
    if array.dtype.kind not in "OUSbiuf" or array.dtype == np.longdouble:
        raise ValueError(f"check: input `{name}` has dtype {array.dtype}; expected a tensor's.")
    if array.dtype.kind in "OUS":
        texts = [v if isinstance(v, bytes) else str(v).encode() for v in array.ravel()]
        data = b"".join(map(_text, texts))
    else:
        data = array.tobytes()
    dtype = tf.as_dtype(array.dtype).as_datatype_enum
    shape = struct.pack(f"<II{array.ndim}q", dtype, array.ndim, *array.shape)
    return shape + struct.pack("<Q", len(data)) + data


def _built_program(folder: Path) -> Path:
    """Compiles `c_api_check.c` into `folder`, against the installed TensorFlow wheel."""
    import tensorflow as tf

    compiler = os.environ.get("CC", "gcc").split()
    if shutil.which(compiler[0]) is None:
        raise OSError(
            f"check: the C compiler `{compiler[0]}` was not found; the check builds a small "
            "program. Install gcc (Debian, Ubuntu: `apt-get install gcc`), or name one in CC."
        )
    include, wheel = Path(tf.sysconfig.get_include()), Path(tf.sysconfig.get_lib())
    for needed in (include / "tensorflow" / "c" / "c_api.h", wheel / LIBRARY):
        if not needed.exists():
            raise OSError(
                f"check: `{needed}` was not found; expected TensorFlow's wheel for Linux, which "
                'has it: pip install "keras-infnet[tensorflow-cpu]"'
            )
    source = Path(__file__).with_name("c_api_check.c")
    names = set(re.findall(r"\bTF_\w+(?=\()", source.read_text("utf-8")))
    # Linking against the library itself reads a gigabyte; one with the same names is enough.
    (folder / "stub.c").write_text("".join(f"void {name}(void) {{}}\n" for name in sorted(names)))
    stub, program = folder / "stub" / LIBRARY, folder / "c_api_check"
    stub.parent.mkdir()
    for arguments in (
        ["-shared", f"-Wl,-soname,{LIBRARY}", "-o", stub, folder / "stub.c"],
        [
            "-O2",
            "-Wall",
            f"-I{include}",
            source,
            "-o",
            program,
            stub,
            f"-Wl,-rpath,{wheel}",
        ],
    ):
        done = subprocess.run([*compiler, *arguments], capture_output=True, text=True)
        if done.returncode != 0:
            raise OSError(f"check: the C program can't be built:\n{done.stderr[-3000:]}")
    return program
