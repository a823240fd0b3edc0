# %% [markdown]
# # KuaiRand: a public log, and an evaluation that can lie
#
# [KuaiRand](https://kuairand.com) is a public log of a short-video app. What is in it, how do we
# predict from it, and why must an evaluation say which histories it used?
#
# Needs `pip install "keras-infnet[tensorflow-cpu,plots]"`. Download and unpack KuaiRand-Pure, and
# set the environment variable `KUAIRAND_DIR` to its folder before the kernel starts. Without it,
# a log in the same layout is simulated.

# %%
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

try:
    import matplotlib.pyplot as plt
except ModuleNotFoundError as error:
    raise ImportError('The figures need `pip install "keras-infnet[plots]"`.') from error
import numpy as np
import pandas as pd

import keras_infnet

# %%
folder = os.environ.get("KUAIRAND_DIR")
if not folder:
    folder = "log"
    keras_infnet.datasets.simulate(folder, rows=16_000, users=250, items=300, overwrite=True)
kuairand = keras_infnet.datasets.KuaiRand(folder)
log = kuairand.frame()
print("a simulated log" if kuairand.truth() is not None else "the real log")
print(
    f"{len(log):,} rows, {log['user_id'].nunique():,} users, {log['video_id'].nunique():,} videos"
)

# %% [markdown]
# ## What is in it?
#
# Rates of the feedbacks differ by orders of magnitude, which is why one model for all of them
# must not be led by the most frequent alone. The shares of users and videos say how long the
# tails are.

# %%
feedbacks = ["is_click", "long_view", "is_like", "is_follow", "is_comment", "is_forward"]
figure, axes = plt.subplots(1, 3, figsize=(11, 3), layout="constrained")
log[feedbacks].mean().iloc[::-1].plot.barh(ax=axes[0], logx=True, title="rate of each feedback")
log.groupby("hour")[["is_click", "long_view"]].mean().plot(
    ax=axes[1], title="rate by hour of the day", ylim=(0, None)
)
for key in ("user_id", "video_id"):
    counts = np.sort(log[key].value_counts().to_numpy())[::-1]
    axes[2].plot(np.linspace(0, 1, len(counts)), np.cumsum(counts) / counts.sum(), label=key)
axes[2].set(title="share of the rows", xlabel="share of users or videos, most frequent first")
axes[2].legend()
plt.show()

# %% [markdown]
# ## An evaluation that lies
#
# Take a user's own past click rate as the only score: no model, no video. With rolling histories
# it takes up the events of the test days as they pass; frozen, it stays what it was before them.

# %%
split = kuairand.split(log)
start = log.loc[split.test.index, "time_ms"].min()
by_time = log.sort_values("time_ms", kind="stable")
past = by_time.groupby("user_id")["is_click"]
clicks, seen = past.cumsum() - by_time["is_click"], past.cumcount()
rolling = ((clicks + 1) / (seen + 2)).loc[split.test.index]
before = by_time[by_time["time_ms"] < start].groupby("user_id")["is_click"].agg(["sum", "count"])
frozen = split.test["user_id"].map((before["sum"] + 1) / (before["count"] + 2)).fillna(0.5)
rates = {"rolling past click rate": rolling, "frozen past click rate": frozen}
labels, users = split.test["is_click"], split.test["user_id"]
pd.DataFrame(
    {
        name: {
            "AUC": keras_infnet.metrics.auc(labels, rate),
            "gAUC": keras_infnet.metrics.group_auc(labels, rate, users),
        }
        for name, rate in rates.items()
    }
).T.round(4)

# %% [markdown]
# Across users the rate is a good score: some click more than others. Within a user, a frozen rate
# is one number, so its gAUC is one half. The rolling rate is lowest just before a click and
# higher after it: it ranks the user's own rows backwards, and its gAUC falls below one half. A
# model that reads the user's recent state well is punished by such a gAUC. So say which histories
# you used, and compare models on the same.
#
# ## Train
#
# On at most forty thousand rows, to be quick: whole users, since histories need all rows of a
# user.

# %%
share = max(1, round(len(log) / 40_000))
kept = log["user_id"] % share == 0
warm = kuairand.warm()
data = keras_infnet.RankingData(
    kuairand.schema(),
    log[kept],
    validation=split.validation["date"].min(),
    test=split.test["date"].min(),
    split_key="date",
    warm=None if warm is None else warm[warm["user_id"] % share == 0],
    batch_size=256,
)
print(f"{data.rows['train']:,} rows train, {data.rows['test']:,} test")

keras_infnet.training.set_seeds(0)
model = keras_infnet.INFNet(data.schema, dim=16)
trained = keras_infnet.fit_ranker(model, data, verbose=0)

# %% [markdown]
# ## Evaluate, by both kinds of histories

# %%
measured = {
    name: data.evaluate(model, "test", freeze_at=freeze_at)
    for name, freeze_at in {"rolling": "never", "frozen": start}.items()
}
table = pd.concat(measured, axis=1)
table.round(4)

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 2.8), layout="constrained")
for axis, metric in zip(axes, ("auc", "gauc"), strict=True):
    table.xs(metric, axis=1, level=1).plot.bar(ax=axis, rot=0, title=metric, ylim=(0, 1.1))
    axis.axhline(0.5, color="grey", linewidth=1)
plt.show()

# %% [markdown]
# Rolling histories know more, and AUC shows it; gAUC is lower with them, by the effect above, and
# of a rare task such as like it can fall below one half. Who compares a frozen gAUC with a
# rolling one compares nothing. AUC of a rare task comes from few positives, and moves most from
# seed to seed: `docs/results.md` has all models on the real log, by one protocol and several
# seeds.
