import json
import sys

import keras
import numpy as np
import pytest

import keras_infnet
from benchmarks import gpu, models
from benchmarks.model_speed import full_histories, make_batches, with_length
from tests.benchmarks.eager import compile_nothing

KEYS = [
    "model",
    "backend",
    "length",
    "batch",
    "train_examples_per_second",
    "inference_examples_per_second",
    "train_ratio",
    "inference_ratio",
    "parameters",
]
SMALL = "--models FM --lengths 3 --batch 2 --rounds 1 --steps 2 --rows 300".split()


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """What a run for FM alone writes; nothing is compiled, which is what takes long."""
    out = tmp_path_factory.mktemp("models") / "new" / "records.json"
    with pytest.MonkeyPatch.context() as patch:
        compile_nothing(patch)
        patch.setattr(sys, "argv", ["models.py", *SMALL, "--out", str(out)])
        models.main()
    return json.loads(out.read_text())


def test_there_is_a_record_for_each_length_and_model(records):
    assert all(list(record) == KEYS for record in records)
    cells = [(r["length"], r["model"]) for r in records]
    assert cells == [(3, "SharedBottom"), (3, "FM")]
    assert {(r["backend"], r["batch"]) for r in records} == {(keras.backend.backend(), 2)}


def test_ratios_are_to_shared_bottom(records):
    reference, fm = records
    assert reference["train_ratio"] == reference["inference_ratio"] == 1
    for mode in ("train", "inference"):
        name = f"{mode}_examples_per_second"
        assert fm[f"{mode}_ratio"] == pytest.approx(fm[name] / reference[name])


def test_the_table_has_speed_and_ratio(records):
    speeds = {"train_examples_per_second": 1234.4, "inference_examples_per_second": 5000}
    ratios = {"train_ratio": 0.5, "inference_ratio": 2, "length": 1000, "parameters": 98765}
    made = [{**records[0], **speeds, **ratios, "backend": "jax", "device": "Card"}]
    lines = models.markdown_table(made).splitlines()
    assert lines[0].startswith("Examples a second (jax on Card, batch 2)")
    assert lines[2] == "| model | parameters | train, 1,000 events | inference, 1,000 events |"
    assert lines[-1] == "| SharedBottom | 98,765 | 1,234 (0.50) | 5,000 (2.00) |"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("log") / "log"
    keras_infnet.datasets.simulate(path, rows=300, users=20, items=40)
    data = keras_infnet.datasets.KuaiRand(path)
    return data.frame(), data.schema()


def test_histories_are_full_and_come_from_the_log(data):
    log, schema = data
    frame = full_histories(log, with_length(schema, 7), rows=6)
    lists = np.stack(frame["exposures_video_id"])
    assert lists.shape == (6, 7) and np.isin(lists, log.video_id).all()
    assert (np.diff(np.stack(frame["exposures_age_seconds"])) <= 0).all()
    fitted, batches = make_batches(log, schema, length=7, batch=3)
    assert [x["exposures"].shape[:2] for x, *_ in batches] == [(3, 7)] * 2
    assert fitted.history("exposures").max_length == 7
    # Every event has at least one id: the history has no padding.
    ids = keras.ops.convert_to_numpy(batches[0][0]["exposures"])
    assert (ids[:, :, 0] > 0).all()


@pytest.mark.parametrize("arguments", [["--steps", "1"], ["--lengths", "0"]])
def test_arguments_out_of_range_are_an_error(monkeypatch, capsys, arguments):
    monkeypatch.setattr(sys, "argv", ["models.py", *arguments])
    with pytest.raises(SystemExit):
        models.main()
    assert "rounds must be 1 or more, steps 2 or more" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("backend", "message"),
    [
        ("jax", r"jax.devices\(\) are .*\[jax-cuda\]"),
        ("tensorflow", r"TensorFlow.s devices are .*CPU:0.*\[tensorflow\]"),
    ],
)
def test_without_a_gpu_the_error_says_what_was_looked_for(monkeypatch, backend, message):
    hide_gpus(monkeypatch)
    with pytest.raises(SystemExit, match=f"there is no GPU: {message}"):
        gpu.name_of_gpu(backend)


def hide_gpus(monkeypatch):
    import jax
    import tensorflow as tf

    cpus = tf.config.list_physical_devices("CPU")
    monkeypatch.setattr(
        tf.config, "list_physical_devices", lambda kind=None: cpus if kind != "GPU" else []
    )
    monkeypatch.setattr(jax, "devices", lambda: [])


def test_on_a_gpu_records_say_card_and_policy(monkeypatch, tmp_path, records):
    def measured(measurement, lengths):
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
        assert measurement.jit_compile is True and lengths == [3]
        return records

    out = tmp_path / "gpu.json"
    monkeypatch.setattr(gpu, "name_of_gpu", lambda backend: "A Card")
    monkeypatch.setattr("benchmarks.model_speed.measure", measured)
    monkeypatch.setattr(sys, "argv", ["gpu.py", *SMALL, "--out", str(out)])
    before = keras.config.dtype_policy()
    gpu.main()
    assert keras.config.dtype_policy() == before
    card = {"policy": "mixed_bfloat16", "device": "A Card"}
    assert json.loads(out.read_text()) == [record | card for record in records]
