# %% [markdown]
# # How many proxies?
#
# INFNet's proxies are the few tokens through which all information flows. More of them cost time.
# How many does a log need? `ProxySearch` answers on your own schema, with keras-tuner, in three
# lines.
#
# Needs `pip install "keras-infnet[tensorflow-cpu,tuning,plots]"`.

# %%
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

try:
    import matplotlib.pyplot as plt
except ModuleNotFoundError as error:
    raise ImportError('The figures need `pip install "keras-infnet[plots]"`.') from error
import json
from pathlib import Path

import numpy as np
import pandas as pd

import keras_infnet
from keras_infnet import BinaryTask, CategoricalFeature

# %% [markdown]
# ## A log in which fields work together
#
# Whether a user clicks depends on pairs of fields: the user's taste with the topic, and the hour
# with the length of the video.

# %%
random = np.random.default_rng(0)
rows, users, videos = 14_000, 200, 200
user, video = random.integers(users, size=rows), random.integers(videos, size=rows)
hour, device = random.integers(4, size=rows), random.integers(3, size=rows)
topic_of, length_of = random.integers(8, size=videos), random.integers(4, size=videos)
taste, rhythm = random.normal(size=(users, 8)), random.normal(size=(4, 4))
logit = 1.3 * taste[user, topic_of[video]] + rhythm[hour, length_of[video]] - 0.5
click = random.random(rows) < 1 / (1 + np.exp(-logit))
log = pd.DataFrame(
    {
        "user_id": user,
        "video_id": video,
        "topic": topic_of[video],
        "length": length_of[video],
        "hour": hour,
        "device": device,
        "is_click": click.astype(int),
        "is_like": (click & (random.random(rows) < 0.3)).astype(int),
    }
)
owners = {"user_id": "user", "video_id": "item", "topic": "item", "length": "item"}
schema = keras_infnet.FeatureSchema(
    features=[
        CategoricalFeature(name, owners.get(name, "context"))
        for name in ("user_id", "video_id", "topic", "length", "hour", "device")
    ],
    tasks=[BinaryTask("click", "is_click"), BinaryTask("like", "is_like")],
    time_key=None,
)
data = keras_infnet.RankingData(schema, log, validation=log[11_000:], batch_size=128)

# %% [markdown]
# ## The search
#
# Here the space is tiny as well; leave `space` out for the usual one, and give a `budget` such as
# `"30m"`. Each trial is trained with each seed and its inference is timed. A search that was
# killed goes on when the cell is run again.

# %%
search = keras_infnet.search.ProxySearch(
    data.schema,
    data.train,
    data.validation,
    "search",
    space=keras_infnet.search.SearchSpace(
        num_field_proxies=(1, 2, 6),
        num_task_proxies=(1,),
        num_blocks=(1,),
        dim=(8,),
        learning_rate=(5e-3,),
        dropout=(0.0,),
    ),
    seeds=(0, 1),
    fixed={"head_dim": 16},
)
trials = search.run(max_trials=3, verbose=0)
shown = ["num_field_proxies", "quality", "quality_std", "milliseconds", "parameters", "on_front"]
trials = trials.sort_values("num_field_proxies")
trials[shown].round(4)

# %% [markdown]
# ## AUC against proxies, and against time
#
# The left figure is the paper's Figure 4, with a bar of one standard deviation over the seeds. On
# the right, nothing is better in both AUC and time than the trials on the front.

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
axes[0].errorbar(
    trials["num_field_proxies"], trials["quality"], trials["quality_std"], marker="o", capsize=3
)
axes[0].set(xlabel="field proxies", ylabel="mean AUC of the tasks")
axes[0].set_xticks(trials["num_field_proxies"], trials["num_field_proxies"].astype(str))
front = trials["on_front"].astype(bool)
for on_front, label in ((True, "on the front"), (False, "beaten in both")):
    part = trials[front == on_front]
    axes[1].scatter(part["milliseconds"], part["quality"], label=label)
for _, trial in trials.iterrows():
    place = (trial["milliseconds"], trial["quality"])
    axes[1].annotate(f" {trial['num_field_proxies']}", place)
axes[1].set(xlabel="milliseconds for 256 rows", ylabel="mean AUC of the tasks")
axes[1].legend()
plt.show()

# %%
best, fewest = trials.loc[trials["quality"].idxmax()], trials.iloc[0]
gain = best["quality"] - fewest["quality"]
# Of the difference of two means over two seeds, with the deviation of all trials together.
noise = np.sqrt((trials["quality_std"] ** 2).mean())
print(f"Best: {best['num_field_proxies']} field proxies, {gain:.4f} above the fewest.")
print(f"Standard error of such a difference: {noise:.4f}.")
print("More than noise." if gain > 2 * noise else "Within noise: take the fewest proxies.")

# %% [markdown]
# Read the last line before the first: a best trial there always is. Times of models as small as
# these are noise as well. On a log of your own, take more seeds, and the same search with
# `oracle="bayesian"` or `"hyperband"` where the space is large.
#
# ## Use what was found
#
# `best_model` is compiled and has its trained weights; `best_config.json` is a preset for the
# next training.

# %%
model = search.best_model()
print({name: getattr(model.config, name) for name in ("num_field_proxies", "dim", "num_blocks")})
print(data.evaluate(model, "validation").round(4))
preset = json.loads(Path("search/best_config.json").read_text())
print(sorted(preset))
