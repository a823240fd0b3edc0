"""Kills at random moments of a job of several days, which must end as if nobody had killed it.

    KERAS_BACKEND=tensorflow python -m tests.daily.kills --kills 30 --days 5 --out runs/kills.json

A job runs once undisturbed. Others begin, are killed by SIGKILL after a random time, and begin
again, until they are done. After each kill what serves is whole, and what TensorFlow Serving would
find; at the end versions and their weights are those of the undisturbed job.
"""

import argparse
import datetime
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import keras
import numpy as np

from keras_infnet._base.whole_files import write_json
from keras_infnet.daily import Versions
from tests.daily.small_job import JIT, day_name, schema, write_days
from tests.house.source import ROOT

_TOLERANCE = 1e-6


def main() -> int:
    """Runs the jobs and prints what was killed where."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--days", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the kills as JSON")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kills = run(Path(folder), args.kills, args.days, args.seed)
    stages = sorted({kill["stage"] for kill in kills})
    print(
        f"{len(kills)} kills in {kills[-1]['job'] + 1} jobs, in {', '.join(stages)}: as undisturbed"
    )
    if args.out:
        write_json(args.out, kills)
    return 0


def run(folder: Path, kills: int, days: int, seed: int = 0) -> list[dict]:
    """Kills jobs until as many kills have hit one; the last job runs to its end.

    Args:
        folder: An empty folder.
        kills: Number of kills.
        days: Days of a job.
        seed: Seed of the moments.

    Returns:
        Each kill: number of the job, stage and day that it hit, and seconds after its first event.

    Raises:
        AssertionError: Something half-written serves, or a job ends otherwise.
    """
    logs = write_days(folder, days)
    (folder / "schema.json").write_text(schema().to_json())
    undisturbed = _job(folder, "undisturbed", logs)
    assert _start(undisturbed, days).wait() == 0
    times = [datetime.datetime.fromisoformat(event["time"]) for event in _events(undisturbed)]
    # A process lives for two days of the job at most, and for one in the mean.
    most = 2 * (times[-1] - times[0]).total_seconds() / days
    draw, found, job = np.random.default_rng(seed), [], 0
    while len(found) < kills:
        config = _job(folder, f"job{job}", logs)
        while len(found) < kills:
            killed = _killed(config, days, draw.uniform(0, most))
            _check_whole(config.parent / f"job{job}")
            if killed is None:
                break
            found.append({"job": job, **killed})
            print(json.dumps(found[-1]), file=sys.stderr, flush=True)
        else:
            assert _start(config, days).wait() == 0
        _check_same(folder / "undisturbed", folder / f"job{job}")
        job += 1
    return found


def _job(folder: Path, name: str, logs: Path) -> Path:
    """The configuration of a job in a folder of its own."""
    training = {"batch_size": 64, "holdout": 0.25, "checkpoint_every": 2, "jit_compile": JIT}
    config = {
        "folder": name, "schema": "schema.json", "log": f"{logs}/{{day}}", "gate": {"least": -1.0},
        "model": {"name": "FM", "arguments": {"dim": 4}}, "training": training,
        "calibration": {"method": "none"},
    }  # fmt: skip
    path = folder / f"{name}.json"
    path.write_text(json.dumps(config))
    return path


def _start(config: Path, days: int) -> subprocess.Popen[str]:
    command = [
        sys.executable, "-m", "keras_infnet.daily", "backfill", "--config", str(config),
        "--from", day_name(0), "--to", day_name(days - 1),
    ]  # fmt: skip
    output = config.with_suffix(".jsonl").open("w")
    with output:
        return subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.DEVNULL)


def _killed(config: Path, days: int, seconds: float) -> dict | None:
    """What a kill hit, so many seconds after the first event; `None`: the job was done before."""
    process = _start(config, days)
    while process.poll() is None and not _events(config):
        time.sleep(0.02)
    try:
        code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    else:
        assert code == 0, config.with_suffix(".jsonl").read_text()
        return None
    last = [event for event in _events(config) if event["event"] == "stage"][-1]
    return {"stage": last["stage"], "day": last["day"], "seconds": round(seconds, 2)}


def _events(config: Path) -> list[dict]:
    """Events of the last process of a job; a line that a kill cut is left out."""
    lines = config.with_suffix(".jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines if line.endswith("}")]


def _check_whole(folder: Path) -> None:
    """What serves, and all that TensorFlow Serving finds, has the digests of its version."""
    versions = Versions(folder)
    serving = versions.serving
    if serving is not None:
        versions.check(serving.number)
    there = versions.serving_folder.iterdir() if versions.serving_folder.is_dir() else ()
    for path in there:
        if path.name.isdecimal():
            version = versions.check(int(path.name))
            served = [name for name in version.files if name.startswith("saved_model/")]
            found = [file for file in path.rglob("*") if file.is_file()]
            assert len(found) == len(served) > 0


def _check_same(undisturbed: Path, killed: Path) -> None:
    """The same versions serve, of the same numbers, days and weights."""
    one, other = Versions(undisturbed), Versions(killed)
    for versions in (one, other):
        assert versions.serving is not None
        versions.check(versions.serving.number)
    assert [v.day for v in one.records()] == [v.day for v in other.records()]
    assert one.serving.number == other.serving.number
    assert one.serving.measured == other.serving.measured
    left = [path for path in killed.rglob("*.partial")]
    assert left == []
    number = one.serving.number
    models = [keras.saving.load_model(v.path(number) / "model.keras") for v in (one, other)]
    variables = [[*model.weights, *model.optimizer.variables] for model in models]
    for a, b in zip(*variables, strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), atol=_TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
