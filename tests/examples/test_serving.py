"""The files for TensorFlow Serving in Docker, with a program in Docker's place."""

import os
import re
import subprocess

import pytest

from tests.house.source import ROOT

FOLDER = ROOT / "examples" / "serving"


@pytest.fixture
def serve(tmp_path):
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    docker.chmod(0o755)
    version = tmp_path / "models" / "feed" / "1"
    version.mkdir(parents=True)
    (version / "saved_model.pb").touch()

    def run(*arguments):
        environment = {**os.environ, "PATH": f"{docker.parent}:{os.environ['PATH']}"}
        command = [str(FOLDER / "serve.sh"), *map(str, arguments)]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True
        )

    return run


def test_the_folder_is_mounted_as_a_model_of_its_name(serve, tmp_path):
    words = serve("models/feed").stdout.splitlines()
    source = tmp_path / "models" / "feed"
    assert f"type=bind,source={source},target=/models/feed,readonly" in words
    assert f"type=bind,source={FOLDER},target=/config,readonly" in words
    assert {"MODEL_NAME=feed", "8500:8500", "8501:8501"} <= set(words)
    image = words.index("tensorflow/serving")
    assert words[image + 1 :] == ["--monitoring_config_file=/config/monitoring.config"]


def test_batching_is_on_where_it_is_asked_for(serve):
    words = serve("models/feed", "--batching").stdout.splitlines()
    batching = ["--enable_batching", "--batching_parameters_file=/config/batching.config"]
    assert words[-2:] == batching
    for flag in words[words.index("tensorflow/serving") + 1 :]:
        _, _, path = flag.partition("=/config/")
        assert not path or (FOLDER / path).is_file()


def test_what_runs_at_a_time_is_bounded_where_it_is_asked_for(serve):
    words = serve("models/feed", "--bounded").stdout.splitlines()
    threads = [f"--tensorflow_{kind}_op_parallelism=1" for kind in ("intra", "inter")]
    assert words[-3:] == [*threads, "--grpc_channel_arguments=grpc.max_concurrent_streams=16"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "usage: .*serve.sh FOLDER_OF_VERSIONS"),
        (("nowhere",), "usage: .*serve.sh FOLDER_OF_VERSIONS"),
        (("models",), "models holds no version; expected a SavedModel such as .*models/1"),
        (("models/feed", "--batch"), "unknown option --batch"),
    ],
)
def test_what_can_not_be_served_is_an_error(serve, arguments, message):
    done = serve(*arguments)
    assert done.returncode == 2
    assert re.search(message, done.stderr)


def test_the_configurations_say_nothing_twice():
    text = (FOLDER / "batching.config").read_text()
    fields = re.findall(r"^(\w+) \{ value: (\d+) \}$", text, re.MULTILINE)
    assert dict(fields).keys() == {
        "max_batch_size",
        "batch_timeout_micros",
        "num_batch_threads",
        "max_enqueued_batches",
    }
    assert all(line.startswith(("#", *dict(fields))) for line in text.splitlines())
