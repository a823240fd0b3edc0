"""Compiled programs are kept where the user's cache is, and nowhere else."""

import os
import subprocess
import sys

import keras
import pytest

from keras_infnet._backend import compilation_cache
from keras_infnet._backend.compilation_cache import keep_compiled_programs, quiet_loading

IS_JAX = keras.backend.backend() == "jax"
on_tensorflow = pytest.mark.skipif(IS_JAX, reason="JAX bounds its folder itself")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A user's cache; what is changed in the process goes back."""
    monkeypatch.delenv("KERAS_INFNET_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TF_XLA_FLAGS", "--tf_xla_max_cluster_size=9")
    if not IS_JAX:
        yield tmp_path
        return
    import jax

    names = "jax_compilation_cache_dir", "jax_compilation_cache_max_size"
    before = {name: getattr(jax.config, name) for name in names}
    jax.config.update(names[0], None)
    yield tmp_path
    for name, value in before.items():
        jax.config.update(name, value)


def chosen():
    """The folder that the backend is told; `None` of none."""
    if IS_JAX:
        import jax

        return jax.config.jax_compilation_cache_dir
    *_, flag = os.environ["TF_XLA_FLAGS"].split()
    name, _, folder = flag.partition("=")
    return folder if name == "--tf_xla_persistent_cache_directory" else None


def test_the_folder_is_of_backend_and_machine_below_the_users_cache(cache):
    keep_compiled_programs()
    (folder,) = (cache / "keras_infnet").iterdir()
    assert chosen() == str(folder) and folder.name.startswith(f"{keras.backend.backend()}-")


def test_the_variable_names_another_folder(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_INFNET_CACHE", str(tmp_path / "mine"))
    keep_compiled_programs()
    assert chosen().startswith(f"{tmp_path / 'mine'}{os.sep}")


@pytest.mark.parametrize("off", ["off", "OFF", "0"])
def test_the_variable_turns_it_off(cache, monkeypatch, off):
    monkeypatch.setenv("KERAS_INFNET_CACHE", off)
    keep_compiled_programs()
    assert chosen() is None and not any(cache.iterdir())


def test_the_users_own_folder_stays(cache, monkeypatch):
    flag = "--tf_xla_persistent_cache_directory=/own"
    monkeypatch.setenv("TF_XLA_FLAGS", flag)
    if IS_JAX:
        import jax

        jax.config.update("jax_compilation_cache_dir", "/own")
    keep_compiled_programs()
    assert chosen() == "/own" and os.environ["TF_XLA_FLAGS"] == flag
    assert not any(cache.iterdir())


def test_a_folder_that_can_not_be_is_none(cache, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("KERAS_INFNET_CACHE", str(tmp_path / "file"))
    keep_compiled_programs()
    assert chosen() is None


@on_tensorflow
def test_beyond_the_bound_what_was_used_longest_ago_goes(cache, monkeypatch):
    monkeypatch.setattr(compilation_cache, "_LIMIT", 250)
    keep_compiled_programs()
    folder = cache / "keras_infnet" / "tensorflow-of-another-version"
    folder.mkdir()
    for age in range(4):
        (folder / f"{age}").write_bytes(b"x" * 100)
        os.utime(folder / f"{age}", (1e9 - age, 1e9 - age))
    monkeypatch.setenv("TF_XLA_FLAGS", "")
    keep_compiled_programs()
    assert sorted(path.name for path in folder.iterdir()) == ["0", "1"]


@on_tensorflow
def test_lines_of_loading_alone_are_left_out(cache, capfd):
    keep_compiled_programs()
    with quiet_loading():
        os.write(2, b"E0000 cpu_aot_loader.cc:220] Loading\nan error\n")
    assert capfd.readouterr().err == "an error\n"


PROGRAM = """
import keras_infnet, keras
@JIT
def product(x):
    return keras.ops.sum(keras.ops.matmul(x, x))
product(keras.ops.ones((7, 7)))
"""
# What each says of a program that is there; of TensorFlow's lines, the processor decides which.
# The last is of reading its file, and does not tell whether the program was taken.
FOUND = "cache_hits", "cpu_aot_loader", "tensorflow.XlaSerializedCacheEntry"
TENSORFLOW = "import tensorflow as tf; JIT = tf.function(jit_compile=True)"
JAX = """
import jax
jax.monitoring.register_event_listener(lambda event, **_: print(event))
JIT = jax.jit
"""


def test_a_later_process_finds_what_an_earlier_one_compiled(tmp_path):
    environment = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    environment |= {"KERAS_INFNET_CACHE": str(tmp_path), "TF_CPP_MIN_LOG_LEVEL": "2"}
    environment |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    found = []
    for _ in range(2):
        command = [sys.executable, "-c", (JAX if IS_JAX else TENSORFLOW) + PROGRAM]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        found.append(any(said in done.stdout + done.stderr for said in FOUND))
    assert found == [False, True]
