"""Two days that are trained, against the same by hand on all days at once; and killed ones."""

import json
import shutil
import signal
import subprocess
import sys
import threading

import keras
import numpy as np
import pandas as pd
import pytest

from keras_infnet import RankingData, fit_ranker
from keras_infnet.callbacks import Checkpoints
from keras_infnet.daily import Versions
from keras_infnet.daily.day_data import data_of, with_past
from keras_infnet.data import FeatureEncoder
from keras_infnet.models import FM
from keras_infnet.serving import Client
from keras_infnet.training import set_seeds
from tests.daily import kills
from tests.daily.conftest import made_up_export
from tests.daily.small_job import (
    JIT,
    ROWS,
    day_frame,
    day_name,
    schema,
    small_job,
    write_days,
)
from tests.house.source import ROOT
from tests.serving.prediction_server import serving

FIRST, SECOND = day_name(0), day_name(1)
TRAINING = {"batch_size": 64, "holdout": 0.25, "checkpoint_every": 2, "jit_compile": JIT}


@pytest.fixture(scope="module")
def two_days(tmp_path_factory):
    """A job that has done two days."""
    folder = tmp_path_factory.mktemp("trained")
    logs = write_days(folder, 2)
    job, _ = small_job(folder / "ranker", logs, training=TRAINING)
    job.backfill(FIRST, SECOND)
    return job


def variables(path):
    model = keras.saving.load_model(path / "model.keras")
    return [np.asarray(v) for v in (*model.weights, *model.optimizer.variables)]


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory):
    """Variables of the second day's model, from all days at once."""
    folder = tmp_path_factory.mktemp("by_hand")
    # With checkpoints JAX, which looks at a batch before, begins with the first epoch's order too.
    first_steps, more_steps = (Checkpoints(folder / name) for name in ("first", "second"))
    one, two = day_frame(0), day_frame(1)
    log = pd.concat([one, two], ignore_index=True)
    first = RankingData(schema(), one, validation=one[300:])
    set_seeds(1)
    model = FM(first.schema, dim=4)
    batches = first.batches("train", shuffle=True, batch_size=64, seed=1)
    options = {"callbacks": first_steps, "jit_compile": JIT}
    fit_ranker(model, batches, learning_rate=2e-3, verbose=0, **options)
    encoder = first.encoder.extend(log[300:700])
    second = RankingData(encoder, log)
    model = model.grow(encoder, seed=2)
    set_seeds(2)
    batches = second.batches(log[300:700], shuffle=True, batch_size=64, seed=2)
    options = {"callbacks": more_steps, "continue_training": True}
    fit_ranker(model, batches, learning_rate=1e-3, verbose=0, **options)
    return [np.asarray(v) for v in (*model.weights, *model.optimizer.variables)]


def test_two_days_are_what_all_days_at_once_give(two_days, by_hand):
    found = variables(two_days.versions.path(2))
    assert len(found) == len(by_hand)
    for one, other in zip(found, by_hand, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_what_is_served_was_verified_and_is_whole(two_days):
    served = two_days.versions.serving_folder / "2"
    card = json.loads((served / "assets.extra" / "model_card.json").read_text())
    assert card["verified_on"]["rows"] == 32
    assert card["verified_on"]["largest_difference"] < 1e-5
    two_days.versions.check(2)


class Killed(BaseException):
    pass


def test_a_training_that_was_killed_goes_on_to_the_same_weights(two_days, tmp_path, monkeypatch):
    logs = two_days.config.log.removesuffix("/{day}")
    monkeypatch.setattr("keras_infnet.daily.run.export", made_up_export)

    def killed(curve, batch, logs=None):
        if batch == 3:
            raise Killed

    for number, day in enumerate((FIRST, SECOND), 1):
        job, _ = small_job(tmp_path / "ranker", logs, training=TRAINING)
        with monkeypatch.context() as patched:
            patched.setattr("keras_infnet.daily.train._Curve.on_train_batch_end", killed)
            with pytest.raises(Killed):
                job.run(day)
        assert any((tmp_path / "ranker" / "work" / "run" / "checkpoints").iterdir())
        job, events = small_job(tmp_path / "ranker", logs, training=TRAINING)
        job.run(day)
        assert "resumed" in {event["event"] for event in events}
        folders = (some.versions.path(number) for some in (job, two_days))
        for one, other in zip(*map(variables, folders), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)


def test_rows_of_days_before_are_mixed_in(two_days, tmp_path, monkeypatch):
    logs = two_days.config.log.removesuffix("/{day}")
    replayed = {**TRAINING, "replay_days": 1, "replay_share": 0.25}
    job, _ = small_job(tmp_path / "ranker", logs, training=replayed)
    monkeypatch.setattr("keras_infnet.daily.run.export", made_up_export)
    job.backfill(FIRST, SECOND)
    kept = [
        pd.read_parquet(job.versions.path(number) / "past" / "replay.parquet") for number in (1, 2)
    ]
    # A third of 300 rows; and of 400, with those of the day before.
    assert len(kept[0]) == 100 and len(kept[1]) == 233
    assert {"seen_video_id", "seen_before"} <= {*kept[0].columns}
    iterations = [
        int(keras.saving.load_model(job.versions.path(n) / "model.keras").optimizer.iterations)
        for n in (1, 2)
    ]
    # 5 batches; then 7, and as many besides that they are a quarter of all.
    assert iterations[0] == 5 and iterations[1] == 5 + 9


@pytest.mark.one_backend
def test_a_client_that_keeps_asking_loses_nothing_while_versions_switch(two_days, tmp_path):
    shutil.copytree(two_days.versions.folder, tmp_path / "ranker")
    versions = Versions(tmp_path / "ranker")
    shutil.rmtree(versions.serving_folder / "2")
    past = versions.path(1) / "past"
    encoders = [FeatureEncoder.load(versions.path(number) / "encoder") for number in (1, 2)]
    rows = with_past(encoders[0].schema, day_frame(1), np.ones(ROWS, bool), past)
    asked = rows.tail(3)
    expected = [
        data_of(encoder, rows, past).predict(
            keras.saving.load_model(versions.path(number) / "model.keras"), asked
        )
        for number, encoder in enumerate(encoders, 1)
    ]
    request = data_of(encoders[0], rows, past).attach(asked)
    with serving(versions.serving_folder, version=None) as urls:
        client = Client(versions.serving_folder / "1", urls["grpc"])
        seen = []

        def answered_by():
            answer = client.predict(request)[["click", "like"]].to_numpy()
            differences = [np.abs(answer - e.to_numpy()).max() for e in expected]
            assert min(differences) < 1e-5, f"answer {len(seen)} is of no version: {differences}"
            seen.append(1 + int(np.argmin(differences)))
            return seen[-1]

        for _ in range(5):
            assert answered_by() == 1
        publishing = threading.Thread(target=versions.publish, args=[versions.record(2)])
        publishing.start()
        while answered_by() == 1:
            assert len(seen) < 100_000
        publishing.join()
        # What is loaded needs its folder no more.
        versions.clean(keep=1)
        for _ in range(5):
            assert answered_by() == 2
    assert seen == sorted(seen)


@pytest.mark.one_backend
def test_kill_9_leaves_what_serves_and_the_command_goes_on(two_days, tmp_path):
    logs = two_days.config.log
    schema_file = tmp_path / "schema.json"
    schema_file.write_text(schema().to_json())
    training = {**TRAINING, "checkpoint_every": 1}
    config = {
        "folder": "ranker", "schema": "schema.json", "log": logs, "gate": {"least": -1.0},
        "model": {"name": "FM", "arguments": {"dim": 4}}, "training": training,
        "calibration": {"method": "none"},
    }  # fmt: skip
    (tmp_path / "daily.json").write_text(json.dumps(config))
    command = [
        sys.executable, "-m", "keras_infnet.daily", "run", "--day", FIRST, "--config",
        str(tmp_path / "daily.json"),
    ]  # fmt: skip
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if json.loads(line).get("stage") == "export":
                process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    folder = tmp_path / "ranker"
    assert not (folder / "serving").exists() and not (folder / "serving.json").exists()
    job, events = small_job(folder, logs.removesuffix("/{day}"), training=training)
    outcome = job.run(FIRST)
    assert (outcome.status, outcome.number) == ("published", 1)
    assert "resumed" in {event["event"] for event in events}
    left = [path.name for path in folder.rglob("*.partial")]
    assert left == []
    pairs = zip(variables(job.versions.path(1)), variables(two_days.versions.path(1)), strict=True)
    for one, other in pairs:
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.one_backend
def test_kill_9_at_random_moments_changes_nothing(tmp_path):
    (kill,) = kills.run(tmp_path, kills=1, days=1, seed=3)
    assert kill["job"] == 0
