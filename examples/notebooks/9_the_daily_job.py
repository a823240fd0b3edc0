# %% [markdown]
# # The daily job
#
# A ranker is trained again every day: it goes on from yesterday's version, grows by the new ids,
# and is published where it is no worse. Days are simulated here, with videos that come and go. One
# of the logs is broken, and one version is taken back.
#
# Needs `pip install "keras-infnet[tensorflow-cpu,plots]"`.

# %%
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

try:
    import matplotlib.pyplot as plt
except ModuleNotFoundError as error:
    raise ImportError('The figures need `pip install "keras-infnet[plots]"`.') from error
import html
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf
from IPython.display import HTML, display

import keras_infnet
from keras_infnet import BinaryTask, CategoricalFeature, History

tf.get_logger().setLevel("ERROR")  # Each day compiles anew, of which TensorFlow would warn.
for folder in ("logs", "ranker"):  # Of an earlier run.
    shutil.rmtree(folder, ignore_errors=True)

# %% [markdown]
# ## Days whose videos come and go
#
# Each day shows 120 videos, of which 40 are new, and 40 of the day before are gone. Authors stay,
# and each has one topic. In your house, another program writes such a file a day.

# %%
days = [f"2026-11-0{number}" for number in range(1, 5)]
users, authors, topics, rows = 300, 30, 5, 4000
world = np.random.default_rng(0)
taste = world.normal(size=(users, topics))
topic, quality = world.integers(topics, size=authors), world.normal(size=authors)


def simulate(day):
    number = days.index(day)
    draw = np.random.default_rng([1, number])
    user = draw.integers(users, size=rows)
    video = draw.integers(40 * number, 40 * number + 120, rows)
    author = video * 7919 % authors
    logit = 1.2 * taste[user, topic[author]] + quality[author] - 0.5
    click = draw.random(rows) < 1 / (1 + np.exp(-logit))
    return pd.DataFrame(
        {
            "user_id": user,
            "video_id": video,
            "author_id": author,
            "time_ms": pd.Timestamp(day, tz="UTC").value // 10**6
            + np.sort(draw.integers(86_400_000, size=rows)),
            "click": click.astype(int),
            "like": (click & (draw.random(rows) < 1 / (1 + np.exp(-logit)))).astype(int),
        }
    )


def write_log(day, log):
    Path("logs").mkdir(exist_ok=True)
    log.to_parquet(f"logs/{day}.parquet", index=False)


for day in days:
    write_log(day, simulate(day))
simulate(days[0]).head(3)

# %% [markdown]
# ## One file says what is done
#
# `like:author_id`: a new video begins like the others of its author. `errors: -2`: a version is
# published unless it is worse than the one before by two standard errors. A third of all videos is
# new each day, which would be strange elsewhere: `checks` says that it is not here.

# %%
schema = keras_infnet.FeatureSchema(
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
    "model": {"name": "SharedBottom", "arguments": {"dim": 8, "hidden_dims": [32]}},
    "training": {
        "learning_rate": 0.01,
        "next_learning_rate": 0.005,
        "batch_size": 64,
        "jit_compile": False,
    },
    "growth": {"start": "like:author_id"},
    "gate": {"errors": -2.0, "floors": {"click": 0.5}},
    "checks": {"warn": {"unknown_ids": 0.6, "drift": None}},
}
Path("schema.json").write_text(schema.to_json())
Path("daily.json").write_text(json.dumps(config, indent=1))
job = keras_infnet.daily.DailyJob("daily.json")

# %% [markdown]
# ## Two days
#
# A scheduler would call `python -m keras_infnet.daily run --config daily.json --day 2026-11-01`.

# %%
for outcome in job.backfill(days[0], days[1]):
    print(f"{outcome.day}: version {outcome.number} {outcome.status}, {outcome.reason}")

# %% [markdown]
# The first day again: its rows are those that were trained on, so nothing is done.

# %%
print(job.run(days[0]).status)

# %% [markdown]
# ## A broken log
#
# On the third day, no click reached the log. The day is refused, by the name of the stage, and what
# serves goes on.

# %%
write_log(days[2], simulate(days[2]).assign(click=0, like=0))
try:
    job.run(days[2])
except keras_infnet.daily.DailyError as error:
    print(f"stage {error.stage}, exit code {int(error.code)}: {error.message}")
print("version", job.versions.serving.number, "serves")

# %% [markdown]
# The log is mended, and the day run again; then the fourth. The day that was refused had number 3,
# which no other version gets.

# %%
write_log(days[2], simulate(days[2]))
for outcome in job.backfill(days[2], days[3]):
    print(f"{outcome.day}: version {outcome.number} {outcome.status}, {outcome.reason}")

# %% [markdown]
# ## Does it keep up?
#
# Each day is scored by the version before, which has not seen it: all rows, and those with an id
# that it does not know. Bars are two standard errors, over users.

# %%
scored = [version for version in job.versions.records() if version.measured]
figure, axis = plt.subplots(figsize=(6, 3))
for kind, words in (("all", "all rows"), ("new", "rows with new ids")):
    auc = np.array([version.measured[kind]["click"]["auc"] for version in scored])
    axis.errorbar(
        [v.day for v in scored], auc[:, 0], 2 * auc[:, 1], fmt="o-", capsize=3, label=words
    )
axis.set_ylabel("AUC of click, before training")
axis.legend()
plt.show()

# %% [markdown]
# ## Back
#
# A rollback publishes an older version again, under a new number: TensorFlow Serving, which watches
# `ranker/serving/ranker`, takes the highest. `job.backfill(days[3], days[3])` would do the day
# again.

# %%
third = next(version for version in job.versions.records() if version.day == days[2])
job.rollback(to=third.number)
pd.DataFrame(job.status()["versions"]).drop(columns="reason").convert_dtypes()

# %%
for path in sorted(Path("ranker").glob("*/*")) + sorted(Path("ranker/serving/ranker").iterdir()):
    print(path)

# %% [markdown]
# ## The page
#
# `ranker/index.html` is the page of all versions; each has one of its own, with the checks of its
# log, drift, calibration and the training curve. They need no server and no network. The links of
# the page work where the folder is.

# %%
page = html.escape(Path("ranker/index.html").read_text("utf-8"))
display(HTML(f'<div><iframe srcdoc="{page}" width="100%" height="480"></iframe></div>'))
