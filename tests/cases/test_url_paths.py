"""Paths but those of logs are local: stores are refused by name, and `~` is the home folder."""

import os

import keras
import numpy as np
import pandas as pd
import pytest

import keras_infnet as ki
from keras_infnet import datasets, search, serving
from keras_infnet.callbacks import Checkpoints
from keras_infnet.data import Batches, FeatureEncoder, prepare
from keras_infnet.serving.__main__ import main

pytestmark = pytest.mark.one_backend

STORE = "s3://bucket/models/ranker"


@pytest.fixture(scope="module")
def log():
    r = np.random.default_rng(0)
    times = 1_650_000_000_000 + np.arange(600) * 60_000
    columns = {"user_id": r.integers(1, 30, 600), "video_id": r.integers(1, 40, 600)}
    return pd.DataFrame({**columns, "time_ms": times, "click": r.integers(0, 2, 600)})


@pytest.fixture(scope="module")
def data(log):
    features = [ki.CategoricalFeature("user_id", "user", dtype="int")]
    return ki.RankingData(ki.FeatureSchema(features, tasks=[ki.BinaryTask("click")]), log)


@pytest.fixture(scope="module")
def model(data):
    return ki.models.FM(data.schema, dim=4)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


WRITERS = {"export", "export_onnx", "prepare", "Checkpoints", "ProxySearch", "simulate"}
# Every public function that takes a path: who refuses it, which argument, and the call.
CALLS = {
    "export": ("path", lambda p, d, m, log: serving.export(m, d, p)),
    "export_onnx": ("path", lambda p, d, m, log: serving.export_onnx(m, d, p)),
    "verify": ("path", lambda p, d, m, log: serving.verify(p, m, d)),
    "run_c_api": ("saved_model", lambda p, d, m, log: serving.run_c_api(p, "rank", [])),
    "Client": ("schema", lambda p, d, m, log: serving.Client(p)),
    "FeatureEncoder.save": ("path", lambda p, d, m, log: d.encoder.save(p)),
    "FeatureEncoder.load": ("path", lambda p, d, m, log: FeatureEncoder.load(p)),
    "RankingData.save": ("folder", lambda p, d, m, log: d.save(p)),
    "RankingData.load": ("folder", lambda p, d, m, log: ki.RankingData.load(p)),
    "RankingData.open": ("folder", lambda p, d, m, log: ki.RankingData.open(p)),
    "Batches.from_folder": ("folder", lambda p, d, m, log: Batches.from_folder(d.encoder, p)),
    "Batches.from_rows": ("rows", lambda p, d, m, log: Batches.from_rows(d.encoder, [p])),
    "prepare": ("out", lambda p, d, m, log: prepare(d.encoder, log, p)),
    "Checkpoints": ("folder", lambda p, d, m, log: Checkpoints(p)),
    "ProxySearch": (
        "folder",
        lambda p, d, m, log: search.ProxySearch(d.schema, d.train, d.train, p),
    ),
    "search_trials": ("folder", lambda p, d, m, log: search.search_trials(p)),
    "load_config": ("path", lambda p, d, m, log: search.load_config(p)),
    "CensusIncome": ("path", lambda p, d, m, log: datasets.CensusIncome(p)),
    "CompleteJourney": ("path", lambda p, d, m, log: datasets.CompleteJourney(p)),
    "EBNeRD": ("path", lambda p, d, m, log: datasets.EBNeRD(p)),
    "KuaiRand": ("path", lambda p, d, m, log: datasets.KuaiRand(p)),
    "MovieLens": ("path", lambda p, d, m, log: datasets.MovieLens(p)),
    "QBVideo": ("path", lambda p, d, m, log: datasets.QBVideo(p)),
    "simulate": ("path", lambda p, d, m, log: datasets.simulate(p, 200, 10, 20)),
}


@pytest.mark.parametrize("who", CALLS)
def test_an_address_is_refused_and_nothing_is_written(who, data, model, log):
    argument, call = CALLS[who]
    message = f"^{who}: {argument} is '{STORE}', an address of `s3`; expected a path of this mach"
    with pytest.raises(ValueError, match=message) as refused:
        call(STORE, data, model, log)
    writes = who in WRITERS or who.endswith(".save")
    advice = "write to a local folder, then copy" if writes else "Copy it to a local folder first"
    assert advice in str(refused.value)
    assert not os.listdir(".")


def test_the_command_refuses_an_address(capsys):
    for option in (["--rows", STORE], ["--rows", "a.json", "--model", STORE]):
        with pytest.raises(SystemExit):
            main(["check", "models/1", *option])
        assert f"path is '{STORE}', an address of `s3`" in capsys.readouterr().err


def test_home_is_where_files_go_and_come_from(home, data, log):
    data.encoder.save("~/encoder")
    data.save("~/data")
    prepare(data.encoder, log, "~/prepared", verbose=False)
    log.to_parquet(home / "log.parquet")
    prepare(data.encoder, "~/log.parquet", "~/again", verbose=False)
    with pytest.raises(FileNotFoundError, match=f"{home}/none does not exist"):
        datasets.QBVideo("~/none")
    assert FeatureEncoder.load("~/encoder").digest() == data.encoder.digest()
    assert ki.RankingData.load("~/data").rows == data.rows
    assert ki.RankingData.open(f"file://{home}/prepared").rows == {"train": 600}
    assert ki.RankingData.open("~/again").rows == {"train": 600}
    assert Checkpoints("~/run").folder.path == home / "run"
    assert sorted(os.listdir(home)) == ["again", "data", "encoder", "log.parquet", "prepared"]
    assert not os.listdir(".")


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="no child process needed")
def test_a_version_is_exported_at_home(home, data, model):
    assert serving.export(model, data, "~/models/ranker") == home / "models" / "ranker" / "1"
    assert serving.Client("~/models/ranker/1").schema == data.schema
    assert not os.listdir(".")
