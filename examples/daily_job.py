"""A ranker that is trained again every day, on simulated days whose videos come and go.

    python examples/daily_job.py --days 3 --out runs/daily

Every day has new videos, and old ones vanish. The log of the last day is broken at first: half of
its clicks are lost. So its version is rolled back, the log written again, and the day backfilled.
"""

import argparse
import datetime
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import pandas as pd

from keras_infnet import BinaryTask, CategoricalFeature, FeatureSchema, History
from keras_infnet.daily import DailyError, DailyJob, Outcome

FIRST = datetime.date(2026, 11, 1)
USERS, AUTHORS, TOPICS = 300, 30, 5
NEW_VIDEOS, LIFE = 40, 3  # Videos a day, and for how many days each is shown.
DAY_MS = 86_400_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=int, default=3, help="days to simulate, 2 or more")
    parser.add_argument("--rows", type=int, default=4000, help="rows of a day")
    parser.add_argument("--out", type=Path, default=Path("runs/daily"), help="an empty folder")
    args = parser.parse_args()
    if args.days < 2 or args.rows < 100:
        parser.error("--days must be 2 or more, and --rows 100 or more.")
    if args.out.exists() and any(args.out.iterdir()):
        parser.error(f"--out {args.out} is not empty; choose another folder.")
    # Each day compiles anew, of which TensorFlow would warn.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    try:
        daily_job(args.out, args.days, args.rows)
    except DailyError as error:
        sys.exit(f"daily_job.py: {error}")


def daily_job(out: Path, days: int, rows: int) -> None:
    """The days, one after the other; then a rollback and a backfill."""
    names = [(FIRST + datetime.timedelta(day)).isoformat() for day in range(days)]
    job = DailyJob(write_config(out), log=print_strange)
    for day, name in enumerate(names):
        write_log(out, name, day, rows, is_broken=day == days - 1)
        print_outcome(job, job.run(name))

    good = [v for v in job.versions.records() if v.published and v.day < names[-1]][-1]
    print(f"\nThe log of {names[-1]} was broken: back to version {good.number}, of {good.day}.")
    print(f"Version {job.rollback(to=good.number).number} is version {good.number} again.")

    print("\nThe log is written again, and the day done again:")
    write_log(out, names[-1], days - 1, rows)
    for outcome in job.backfill(names[-1], names[-1]):
        print_outcome(job, outcome)

    status = job.status()
    print(f"\nVersion {status['serving']}, of {status['day']}, serves. All versions:")
    versions = pd.DataFrame(status["versions"]).drop(columns="reason").convert_dtypes()
    print(versions.to_string(index=False, na_rep="-"))
    print(f"\nTensorFlow Serving watches {job.versions.serving_folder}")
    print(f"The page of all versions is {job.versions.folder / 'index.html'}")
    print(f"By command: python -m keras_infnet.daily status --config {out / 'daily.json'}")


def write_config(out: Path) -> Path:
    """Writes schema and configuration; the path of the latter."""
    schema = FeatureSchema(
        features=[
            CategoricalFeature("user_id", "user"),
            CategoricalFeature("video_id", "item"),
            CategoricalFeature("author_id", "item"),
        ],
        histories=[History("seen", ("video_id", "author_id"), max_length=10, actions=("click",))],
        tasks=[BinaryTask("click"), BinaryTask("like", observed_when="click")],
    )
    config = {
        "folder": "ranker",
        "schema": "schema.json",
        "log": "logs/{day}.parquet",
        # Any model of the library; this one compiles fast.
        "model": {"name": "SharedBottom", "arguments": {"dim": 8, "hidden_dims": [32]}},
        "training": {
            "learning_rate": 0.01,
            "next_learning_rate": 0.005,
            "batch_size": 64,
            "jit_compile": False,
        },
        # A new video begins like the others of its author.
        "growth": {"start": "like:author_id"},
        # Not worse than the version before by two standard errors.
        "gate": {"errors": -2.0},
        # A third of all videos is new each day: that is not strange here.
        "checks": {"warn": {"unknown_ids": 0.6, "drift": None}},
    }
    (out / "logs").mkdir(parents=True, exist_ok=True)
    (out / "schema.json").write_text(schema.to_json(), encoding="utf-8")
    (out / "daily.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    return out / "daily.json"


def write_log(out: Path, name: str, day: int, rows: int, is_broken: bool = False) -> None:
    """Writes the log of a day, as another program would."""
    log = simulate(day, rows)
    if is_broken:
        log.loc[::2, ["click", "like"]] = 0
    log.to_parquet(out / "logs" / f"{name}.parquet", index=False)


def simulate(day: int, rows: int) -> pd.DataFrame:
    """Rows of a day: users like topics, an author has one topic, and some authors are better."""
    world, draw = np.random.default_rng(0), np.random.default_rng([1, day])
    taste = world.normal(size=(USERS, TOPICS))
    topic, quality = world.integers(TOPICS, size=AUTHORS), world.normal(size=AUTHORS)
    user = draw.integers(USERS, size=rows)
    video = draw.integers(NEW_VIDEOS * day, NEW_VIDEOS * (day + LIFE), rows)
    author = video * 7919 % AUTHORS
    logit = 1.2 * taste[user, topic[author]] + quality[author] - 0.5
    click = draw.random(rows) < 1 / (1 + np.exp(-logit))
    midnight = pd.Timestamp(FIRST + datetime.timedelta(day), tz="UTC").value // 10**6
    return pd.DataFrame(
        {
            "user_id": user,
            "video_id": video,
            "author_id": author,
            "time_ms": midnight + np.sort(draw.integers(DAY_MS, size=rows)),
            "click": click.astype(int),
            "like": (click & (draw.random(rows) < 1 / (1 + np.exp(-logit)))).astype(int),
        }
    )


def print_strange(event: dict[str, Any]) -> None:
    """Prints what the checks say of a log; all other events are left out here."""
    if event["event"] == "strange":
        print(f"{event['day']}  strange: {event['text']}")


def print_outcome(job: DailyJob, outcome: Outcome) -> None:
    """Prints what became of a day, and how well it was predicted before training."""
    print(f"{outcome.day}  version {outcome.number} {outcome.status}: {outcome.reason}")
    words = {"all": "all rows", "new": "rows with new ids"}
    for rows, tasks in job.versions.record(outcome.number).measured.items():
        value, error = tasks["click"]["auc"]
        print(f"            AUC of click before training, {words[rows]}: {value:.3f} ± {error:.3f}")


if __name__ == "__main__":
    main()
