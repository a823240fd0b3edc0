"""Seconds and memory of twenty rates of the past of a million rows, as a Markdown table.

Six rates have windows, four have two keys, two are known late; users are Zipf-distributed strings.
Timed are the past rows of the log, the values of all its rows, the table for a feature store, and
the same values from that table for one more day. Memory is the highest of the whole process.

    python -m benchmarks.rates --rows 1000000 --out rates.json
"""

import argparse
import os
import platform
import resource
import time
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.measuring import write_records
from keras_infnet import BinaryTask, FeatureSchema, RateFeature
from keras_infnet.data import Rates

ACTIONS = ("click", "like", "long_view", "follow")
PLAIN = (("user_id",), ("video_id",))
WINDOWS = ((("video_id",), "1h"), (("video_id",), "1d"), (("video_id",), "7d"))
WINDOWS += ((("user_id",), "1h"), (("user_id",), "1d"), (("author_id",), "7d"))
PAIRS = (("user_id", "tab"), ("user_id", "author_id"), ("video_id", "tab"), ("user_id", "video_id"))
START, DAY = 1_790_000_000_000, 86_400_000


def main() -> None:
    """Measures each step once."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the records as JSON")
    options = parser.parse_args()
    records = measure(options.rows, options.seed)
    cores = len(os.sched_getaffinity(0))
    print(f"\n{options.rows:,} rows, 20 rates, {platform.machine()}, {cores} cores\n")
    print("| step | seconds | seconds of CPU | highest memory (GB) |\n|---|---|---|---|")
    for r in records:
        print(f"| {r['step']} | {r['seconds']:.2f} | {r['cpu_s']:.2f} | {r['memory_gb']:.2f} |")
    if options.out:
        write_records(records, options.out)


def features() -> list[RateFeature]:
    """Twenty rates."""
    made = [RateFeature(f"{k[0]}_{a}", keys=k, action=a) for k in PLAIN for a in ACTIONS]
    made += [RateFeature(f"{k[0]}_{w}", keys=k, action="click", window=w) for k, w in WINDOWS]
    made += [RateFeature("_".join(keys), keys=keys, action="click") for keys in PAIRS]
    late = (("author_id",), ("video_id",))
    return made + [RateFeature(f"{k[0]}_late", keys=k, action="click", delay="10min") for k in late]


def make_log(rows: int, seed: int) -> pd.DataFrame:
    """Twelve days of impressions in the order of time."""
    rng = np.random.default_rng(seed)
    users = pd.Series(rng.zipf(1.2, rows) % 50_000).astype("str")
    videos = rng.zipf(1.2, rows) % 100_000
    columns = {"user_id": "u" + users, "video_id": videos, "author_id": videos % 7919}
    columns["tab"] = rng.choice(["home", "feed", "search", "profile"], rows)
    columns["time_ms"] = START + np.sort(rng.integers(0, 12 * DAY, rows))
    columns |= {action: rng.integers(0, 2, rows) for action in ACTIONS}
    return pd.DataFrame(columns)


def measure(rows: int, seed: int) -> list[dict[str, object]]:
    """Seconds and memory of each step."""
    log = make_log(rows, seed)
    fitted = FeatureSchema(features(), [BinaryTask("click")]).with_sizes(
        {feature.name: 2 for feature in features()}
    )
    rates_of_actions = dict.fromkeys(ACTIONS, 0.5)
    records: list[dict[str, object]] = []

    def timed(step: str, work: object) -> object:
        start, cpu = time.perf_counter(), time.process_time()
        found = work()
        seconds, cpu_s = time.perf_counter() - start, time.process_time() - cpu
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        records.append({"step": step, "rows": rows, "seconds": seconds, "cpu_s": cpu_s})
        records[-1]["memory_gb"] = memory
        return found

    timed("the log", lambda: log.copy())
    rates = timed("past rows", lambda: Rates(fitted, log, rates_of_actions))
    timed("values of all rows", lambda: rates.attach(log))
    timed("state", rates.state)
    day = make_log(max(1, rows // 12), seed + 1)
    day["time_ms"] = rates.until + (day["time_ms"] - START) // 12
    timed("update by one more day", lambda: rates.update(day))
    return records


if __name__ == "__main__":
    main()
