import errno
import json
import os
import re
import signal
import subprocess
import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from keras_infnet import FeatureSchema
from keras_infnet.callbacks import Checkpoints
from keras_infnet.training import checkpoint_folder
from keras_infnet.training.checkpoint_folder import CheckpointFolder
from tests.house.source import ROOT
from tests.logs import log_schema
from tests.prepared import large_log, prepared
from tests.training.resumed_run import train
from tests.training.tiny_ranker import batches_of, tiny_ranker, tiny_rows

NAMES = [f"step-{step:010d}" for step in (4, 8, 12)]


@pytest.fixture(scope="module")
def log_folder(tmp_path_factory):
    schema = log_schema()
    # Histories are nothing to a checkpoint, and cost compilation.
    schema = FeatureSchema(schema.features, schema.tasks)
    path = tmp_path_factory.mktemp("prepared") / "log"
    prepared(path, large_log(), schema)
    return path


@pytest.mark.parametrize(("kind", "when"), [("stream", "11"), ("memory", "while writing")])
def test_a_killed_run_ends_with_the_weights_of_one_that_was_not(kind, when, log_folder, tmp_path):
    command = [sys.executable, "-m", "tests.training.resumed_run", log_folder, tmp_path / "killed"]
    child = subprocess.run([*map(str, command), kind, when], cwd=ROOT, capture_output=True)
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()[-2000:]
    found = [re.sub(r"\.\w{8}\.partial", "", n) for n in listed(tmp_path / "killed")]
    wanted = {"11": [f"step-{s:010d}" for s in (6, 9)], "while writing": [".step-0000000003"]}
    assert found == wanted[when]
    resumed = train(kind, log_folder, tmp_path / "killed")
    whole = train(kind, log_folder, tmp_path / "whole")
    assert resumed.epoch == whole.epoch and len(whole.epoch) == {"stream": 2, "memory": 4}[kind]
    assert_same(resumed, whole)
    weights = zip(resumed.model.variables, whole.model.variables, strict=True)
    for there, here in weights:
        np.testing.assert_allclose(there, here, atol=1e-6, err_msg=here.path)


def listed(folder):
    """What lies in a folder, but for its lock."""
    return sorted(name for name in os.listdir(folder) if name != ".lock")


class Stop(BaseException):
    """What ends a run without a word to its callbacks."""


class StoppedAt(keras.callbacks.Callback):
    def __init__(self, step):
        super().__init__()
        self.left = step

    def on_train_batch_begin(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            raise Stop


class Seen(keras.callbacks.Callback):
    """Epoch and batches of each epoch."""

    def __init__(self):
        super().__init__()
        self.epochs = {}

    def on_epoch_begin(self, epoch, logs=None):
        self.epochs[epoch] = 0

    def on_train_batch_begin(self, batch, logs=None):
        self.epochs[max(self.epochs)] += 1


def run(folder, *callbacks, epochs=2, model=None, every=4, steps=6, rows=60, **kwargs):
    """`fit` of a tiny ranker, 6 batches an epoch."""
    keras.utils.set_random_seed(0)
    model = tiny_ranker() if model is None else model
    model.compile("adam", run_eagerly=keras.backend.backend() == "tensorflow")
    checkpoints = Checkpoints(folder, every=every, **kwargs)
    return model.fit(
        checkpoints.batches(batches_of(tiny_rows(rows))),
        epochs=epochs,
        steps_per_epoch=steps,
        callbacks=[*callbacks, checkpoints],
        shuffle=False,
        verbose=0,
    )


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A folder of a run that ended in its eleventh step, with checkpoints of steps 4 and 8."""
    folder = tmp_path_factory.mktemp("stopped") / "checkpoints"
    with pytest.raises(Stop):
        run(folder, StoppedAt(11))
    assert listed(folder) == NAMES[:2]
    return folder


@pytest.fixture
def folder(stopped, tmp_path):
    return checkpoint_folder.shutil.copytree(stopped, tmp_path / "checkpoints")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return run(tmp_path_factory.mktemp("whole"))


def assert_same(history, whole):
    assert list(history.history) == list(whole.history)
    for name, values in whole.history.items():
        np.testing.assert_allclose(history.history[name], values, atol=1e-6, err_msg=name)
    for there, here in zip(history.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_allclose(there, here, atol=1e-6)


def test_only_the_steps_that_lack_are_trained_and_the_history_is_whole(folder, whole):
    seen = Seen()
    history = run(folder, seen)
    assert seen.epochs == {1: 4}
    assert_same(history, whole)
    assert listed(folder) == NAMES[1:]


def test_a_run_that_ended_is_not_trained_again_but_goes_on_to_more_epochs(folder, whole):
    run(folder)
    again, more = Seen(), Seen()
    assert_same(run(folder, again), whole)
    assert again.epochs == {}
    assert run(folder, more, epochs=3).epoch == [0, 1, 2]
    assert more.epochs == {2: 6}


def test_the_patience_of_early_stopping_goes_on(tmp_path):
    def stopping():
        return keras.callbacks.EarlyStopping(
            "loss", mode="max", patience=2, restore_best_weights=True
        )

    def trained(folder, *more, epochs=9):
        early = stopping()
        return run(folder, *more, early, epochs=epochs, callbacks=[early])

    whole = trained(tmp_path / "whole")
    assert len(whole.epoch) == 3
    with pytest.raises(Stop):
        trained(tmp_path / "killed", StoppedAt(15))
    assert_same(trained(tmp_path / "killed"), whole)
    seen = Seen()
    assert_same(trained(tmp_path / "killed", seen), whole)
    assert seen.epochs == {}


def damage_end(path):
    content = (path / "variables.npz").read_bytes()
    (path / "variables.npz").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (damage_end, "variables.npz has another checksum"),
        (lambda path: os.truncate(path / "variables.npz", 100), "variables.npz has another"),
        (lambda path: (path / "state.json").unlink(), "state.json is missing"),
        (lambda path: (path / "checksums.json").write_text("{"), "checksums.json can't be read"),
    ],
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_is_taken(folder, damage, why):
    damage(folder / NAMES[1])
    with pytest.warns(UserWarning, match=f"{NAMES[1]} is damaged .{why}.*goes on from {NAMES[0]}"):
        path, state = CheckpointFolder(folder).newest()
    assert path.name == NAMES[0] and state["step"] == 4
    assert listed(folder) == [NAMES[0], f"{NAMES[1]}.damaged"]


def test_training_goes_on_from_the_checkpoint_before_a_damaged_one(folder, whole):
    damage_end(folder / NAMES[1])
    seen = Seen()
    with pytest.warns(UserWarning, match=f"goes on from {NAMES[0]}"):
        history = run(folder, seen)
    assert seen.epochs == {0: 2, 1: 6}
    assert_same(history, whole)


def test_all_damaged_is_an_error_and_not_a_new_start(folder):
    for name in NAMES[:2]:
        damage_end(folder / name)
    with pytest.raises(
        ValueError, match=f"every checkpoint.*{NAMES[1]}: variables.npz.*{NAMES[0]}"
    ):
        run(folder)
    assert listed(folder) == NAMES[:2]


def with_fingerprint(fingerprint):
    model = tiny_ranker()
    model.schema = SimpleNamespace(fingerprint=fingerprint)
    return model


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": with_fingerprint}, "schema .fingerprint. is None there and abc here"),
        (
            {"model": lambda _: tiny_ranker(num_ids=50)},
            r"model variable `fused_embedding/embeddings` \(40, 4\) float32 there is "
            r"`fused_embedding/embeddings` \(50, 4\) float32 here",
        ),
        ({"steps": 5}, "steps_per_epoch is 6 there, 5 here"),
        ({"callbacks": [Seen()]}, "state of 0 callbacks there, 1 here"),
    ],
)
def test_a_checkpoint_of_another_training_is_an_error_that_names_what_differs(
    folder, arguments, message
):
    if "model" in arguments:
        arguments = {"model": arguments["model"]("abc")}
    with pytest.raises(ValueError, match=f"{NAMES[1]} is of another training: .*{message}"):
        run(folder, **arguments)


def test_another_optimizer_is_named(folder):
    model = tiny_ranker()
    model.compile = lambda *_, **kwargs: type(model).compile(model, "sgd", **kwargs)
    with pytest.raises(ValueError, match="optimizer is Adam there and SGD here"):
        run(folder, model=model)


def test_a_full_disk_is_an_error_and_older_checkpoints_stay(folder, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    before = {path: path.read_bytes() for path in folder.rglob("*.*") if path.is_file()}
    monkeypatch.setattr(checkpoint_folder, "_write_files", full)
    message = (
        f"can't write the checkpoint of step 12: No space left.*intact: {NAMES[0]}, {NAMES[1]}"
    )
    with pytest.raises(OSError, match=message) as error:
        run(folder, epochs=3)
    assert error.value.errno == errno.ENOSPC
    assert {path: path.read_bytes() for path in before} == before


def test_a_folder_that_cannot_be_written_to_is_refused_before_training(folder, monkeypatch):
    def refused(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("pathlib.Path.touch", refused)
    with pytest.raises(OSError, match="can't write to it: Read-only file system. Free disk"):
        run(folder)
    monkeypatch.undo()
    (folder / "file").touch()
    with pytest.raises(OSError, match="file.*can't write to it"):
        run(folder / "file" / "checkpoints")


def test_bad_arguments_say_what_to_do(tmp_path):
    with pytest.raises(ValueError, match="must be 1 or more. Received: every=0, keep=2"):
        Checkpoints(tmp_path, every=0)
    data = batches_of(tiny_rows())
    with pytest.raises(ValueError, match="cardinality is -1. Leave `repeat` out"):
        Checkpoints(tmp_path).batches(data.repeat())
    model = tiny_ranker()
    model.compile("adam")
    with pytest.raises(ValueError, match=r"the data `checkpoints.batches\(train\)`, made anew"):
        model.fit(data, callbacks=[Checkpoints(tmp_path)], shuffle=False, verbose=0)
    model.compile("adam", steps_per_execution=4)
    checkpoints = Checkpoints(tmp_path)
    with pytest.raises(ValueError, match="steps_per_epoch=6 is no multiple of steps_per_execut"):
        data = checkpoints.batches(data)
        model.fit(data, steps_per_epoch=6, callbacks=[checkpoints], shuffle=False, verbose=0)


def test_the_state_says_what_it_is_of(stopped):
    state = json.loads((stopped / NAMES[1] / "state.json").read_text())
    assert state["step"] == 8 and state["steps_per_epoch"] == 6
    assert state["is"]["optimizer"] == "Adam" and list(state["history"]) and state["epochs"] == [0]


HOLD = """
import sys
from pathlib import Path
from keras_infnet.training.checkpoint_folder import CheckpointFolder
CheckpointFolder(Path(sys.argv[1])).take()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.one_backend
def test_two_processes_do_not_train_in_one_folder(folder):
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdin=-1, stdout=-1, text=True) as other:
        assert other.stdout.readline() == "held\n"
        (folder / ".step-0000000012.12345678.partial").mkdir()
        message = f"another process trains with the checkpoints in {folder}. Wait for its end"
        with pytest.raises(ValueError, match=re.escape(message)):
            Checkpoints(folder).batches(batches_of(tiny_rows()))
        # Nothing was touched there.
        assert listed(folder) == [".step-0000000012.12345678.partial", *NAMES[:2]]
        other.kill()
    Checkpoints(folder).batches(batches_of(tiny_rows()))
    assert listed(folder) == NAMES[:2]


@pytest.mark.one_backend
def test_of_two_callbacks_of_one_process_the_first_stops(folder):
    first, second = CheckpointFolder(folder), CheckpointFolder(folder)
    first.take()
    second.take()
    with pytest.raises(ValueError, match="another callback of this process trains with the chec"):
        first.write(16, {}, [], keep=2)
    first.release()
    second.write(16, {}, [], keep=2)
    second.release()
    with pytest.raises(ValueError, match="another callback"):
        second.write(20, {}, [], keep=2)
