# %% [markdown]
# # Reading the model: what does each task look at?
#
# A log is simulated in which each task reads something else: a click depends on the video's topic
# (`tag`), a like on its author and its music, a long view on its duration. Does the trained model
# show it? We look at attention, which says where a task looks, and at permutation importance,
# which says what the predictions depend on, and ask whether the two agree.
#
# Needs `pip install "keras-infnet[tensorflow-cpu,plots]"`.

# %%
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

try:
    import matplotlib.pyplot as plt  # noqa: F401
except ModuleNotFoundError as error:
    raise ImportError('The figures need `pip install "keras-infnet[plots]"`.') from error
import pandas as pd

import keras_infnet

# %% [markdown]
# ## A small model on the fields that matter
#
# KuaiRand's layout has some fifty features; ten of them are enough here, and keep the figures
# readable.

# %%
keras_infnet.datasets.simulate("log", rows=24_000, users=240, items=300, seed=1, overwrite=True)
kuairand = keras_infnet.datasets.KuaiRand("log")
log = kuairand.frame()
split = kuairand.split(log)
kept = (
    "user_id video_id author_id music_id tag video_duration upload_type music_type tab hour".split()
)
full = kuairand.schema()
schema = keras_infnet.FeatureSchema(
    features=[feature for feature in full.features if feature.name in kept],
    histories=full.histories,
    tasks=full.tasks,
)
data = keras_infnet.RankingData(
    schema, log, validation=split.validation, test=split.test, batch_size=128
)

keras_infnet.training.set_seeds(0)
model = keras_infnet.INFNet(data.schema, dim=16)
keras_infnet.fit_ranker(
    model, data, epochs=2, evaluations_per_epoch=1, learning_rate=5e-3, verbose=0
)
rows = data.frame("test").head(1000)
explanation = keras_infnet.explain.explain(
    model, data.encoder, rows, data.histories, repeats=2, batch_size=1000
)
print(explanation)

# %% [markdown]
# ## Where the tasks look
#
# Each row of the heat map is a task token; the panels are the fields and the positions of the
# history, the newest first. This is Figure 5 of the paper.

# %%
explanation.plot_attention()

# %% [markdown]
# Mind the scale beside each panel before reading colours: with ten fields a uniform weight is
# 0.1. The long view's token reads the duration most, as the simulator would have it; those of click
# and like read other fields than the simulator's. Newer events get more than older ones, in part
# because not every row has a hundred.
#
# ## What the predictions depend on
#
# Each bar is the AUC that is lost when one column is shuffled between the rows, or the whole
# history.

# %%
explanation.plot_importance("auc", top=8)

# %% [markdown]
# The three most important fields of each task, next to what the simulator used:

# %%
used = {"click": {"tag"}, "like": {"author_id", "music_id"}, "long_view": {"video_duration"}}
importance = explanation.importance.xs(("auc", "field"), level=("metric", "kind"))["importance"]
attention = explanation.task_attention()["fields"]
rows = []
for task, fields in used.items():
    by_importance = importance[task].nlargest(3).index
    by_attention = attention.loc[task].nlargest(3).index
    rows.append(
        {
            "task": task,
            "simulated": ", ".join(sorted(fields)),
            "important": ", ".join(by_importance),
            "attended": ", ".join(by_attention),
            "in both": ", ".join(sorted(fields & {*by_importance} & {*by_attention})) or "none",
        }
    )
pd.DataFrame(rows).set_index("task")

# %% [markdown]
# ## Is attention an explanation?
#
# It is plausible, but is it true? `agreement` is the rank correlation of attention and
# importance. Random orders stay below `chance` in 19 of 20 cases.

# %%
explanation.agreement.round(2)

# %%
explanation.plot_agreement("auc")

# %% [markdown]
# On this run no correlation of six is above chance, and the printed explanation says so. Importance
# has the simulated field of click and of long view among its first, and says that a like depends on
# the history; attention has the simulated field for the long view alone. Attention is one way of a
# field to a prediction, and not the only one: heads also read the proxies, and the candidate's
# products with them. Read importance first, and read attention as importance only where the table
# allows it.
#
# ## From fields to heads
#
# The bands of the diagram are as wide as what flows through them: fields make up proxies, tasks
# attend to memories, heads read tokens.

# %%
explanation.plot_flow()

# %% [markdown]
# ## One request
#
# Which past events did one prediction read? The newest events of one row, and the weights of the
# task tokens on them:

# %%
row = 7
events = explanation.events(row)
newest = events.head(5)
shown = newest["event"][["position", "video_id", "is_click", "is_like", "long_view"]]
pd.concat({"event": shown, "attention": newest["attention"][list(used)].round(4)}, axis=1)

# %%
explanation.plot_events(row)
