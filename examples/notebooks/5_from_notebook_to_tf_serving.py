# %% [markdown]
# # From a notebook to TensorFlow Serving
#
# A trained model becomes a folder that any TensorFlow Serving loads, without Python. On the way
# it is calibrated, checked in the C runtime that TensorFlow Serving embeds, and asked to rank
# candidates.
#
# Needs `pip install "keras-infnet[tensorflow-cpu,plots]"`, and gcc for the C runtime.

# %%
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

try:
    import matplotlib.pyplot as plt
except ModuleNotFoundError as error:
    raise ImportError('The figures need `pip install "keras-infnet[plots]"`.') from error
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

import keras_infnet
from keras_infnet import BinaryTask, CategoricalFeature, History, NumericFeature

# %% [markdown]
# ## A model trained on a share of the negatives
#
# Clicks are rare, so nine of ten rows without a click were left out of training, as is usual.
# Such a model ranks well and predicts too much: its numbers are no rates.

# %%
random = np.random.default_rng(0)
rows, users, videos = 40_000, 300, 400
user, video = random.integers(users, size=rows), random.integers(videos, size=rows)
topic_of, quality = random.integers(10, size=videos), random.normal(size=videos)
likes_topic = topic_of[video] == random.integers(10, size=users)[user]
click = random.random(rows) < 1 / (1 + np.exp(3.2 - 2.0 * likes_topic - 0.7 * quality[video]))
like = random.random(rows) < 0.3 / (1 + np.exp(-quality[video]))
log = pd.DataFrame(
    {
        "user_id": user,
        "video_id": video,
        "topic": [f"topic {i}" for i in topic_of[video]],
        "seconds": (10 + 5 * np.exp(random.normal(size=videos)))[video].round(1),
        "time_ms": 1_790_000_000_000 + np.sort(random.integers(10**9, size=rows)),
        "is_click": click.astype(int),
        "is_like": (click & like).astype(int),
    }
)
train = log[:28_000]
kept = train[(train["is_click"] == 1) | (random.random(len(train)) < 0.1)]

schema = keras_infnet.FeatureSchema(
    features=[
        CategoricalFeature("user_id", "user"),
        CategoricalFeature("video_id", "item"),
        CategoricalFeature("topic", "item"),
        NumericFeature("seconds", "item", buckets=8),
    ],
    histories=[History("seen", ("video_id", "topic"), max_length=30, actions=("is_click",))],
    tasks=[BinaryTask("click", "is_click"), BinaryTask("like", "is_like")],
)
data = keras_infnet.RankingData(
    schema, log, validation=log[28_000:34_000], test=log[34_000:], batch_size=128
)
keras_infnet.training.set_seeds(0)
model = keras_infnet.INFNet(data.schema, dim=16)
keras_infnet.fit_ranker(model, data.batches(kept, shuffle=True), epochs=3, verbose=0)
print(f"{len(train):,} rows, {len(kept):,} trained on")

# %% [markdown]
# ## Calibrate
#
# Platt's two numbers a task are fitted on validation rows, which come as they will in serving.

# %%
calibration = data.calibrate(model, "validation", method="platt")

test = data.frame("test")
labels = {task.name: test[task.label] for task in data.schema.tasks}
predicted = data.predict(model, "test")
calibrated = calibration.transform(predicted)
measured = {
    name: pd.DataFrame(keras_infnet.metrics.task_metrics(labels, values, calibration=True)).T
    for name, values in {"as trained": predicted, "calibrated": calibrated}.items()
}
pd.concat(measured).round(4)

# %%
keras_infnet.metrics.plot_reliability(labels, predicted, calibrated)

# %% [markdown]
# On the diagonal, predictions are rates. Platt's curve is monotonic, so AUC is the same and only
# `ece` and the losses fall. A normalised entropy above 1 is worse than always predicting the base
# rate.
#
# ## Export a version
#
# `export` writes the next numbered folder and compares the graph with Keras on raw rows
# before the folder gets its name. The calibration and the score of `rank_top_k`, here `click *
# like ** 0.5`, become part of the graph.

# %%
path = keras_infnet.serving.export(
    model,
    data,
    "models/ranker",
    calibration=calibration,
    score={"click": 1.0, "like": 0.5},
    top_k=10,
)
print(path)
for file in sorted(p for p in path.rglob("*") if p.is_file()):
    print(f"{file.stat().st_size:>9,}  {file.relative_to(path)}")

# %% [markdown]
# ## Rank candidates
#
# A request has one user, with raw features and history, and any number of candidates. `rank`
# computes once what no candidate changes. The client types a request by the schema in the
# exported folder; it would send it to `http://localhost:8501`.

# %%
client = keras_infnet.serving.Client(path)
candidates = log.drop_duplicates("video_id").head(200)[["video_id", "topic", "seconds"]]
someone = data.attach(test.tail(1))
request = client.rank_inputs(someone, candidates)
{name: (values.dtype.name, values.shape) for name, values in request.items()}

# %% [markdown]
# We have no server here, but its runtime: `run_c_api` builds a small C program against
# TensorFlow's C API, loads the folder, and asks it, without Python.

# %%
if shutil.which("gcc"):
    (answer,), seconds = keras_infnet.serving.run_c_api(
        path, "rank", [request], repeat=50, warm_up=5
    )
    scores = pd.DataFrame(
        {task: values[:, 0] for task, values in answer.items()}, index=candidates.index
    )
    best = scores.assign(score=scores["click"] * scores["like"] ** 0.5).nlargest(5, "score")
    print(best.round(4).join(candidates[["video_id", "topic"]]).to_string(index=False))
else:
    print("No gcc here.")

# %% [markdown]
# The same candidates pair by pair, by the Keras model: the user's row is repeated for each
# candidate.

# %%
if shutil.which("gcc"):
    pairs = pd.concat([someone] * len(candidates), ignore_index=True)
    pairs[candidates.columns] = candidates.to_numpy()
    pairs = pairs.astype({"video_id": "int64", "seconds": "float64"})
    by_keras = calibration.transform(data.predict(model, pairs))
    print("equal to 1e-5:", np.allclose(by_keras, scores, atol=1e-5))

    (_,), by_pairs = keras_infnet.serving.run_c_api(
        path, "serving_default", [client.inputs(pairs)], 50, 5
    )
    medians = 1000 * pd.Series({"serving_default": np.median(by_pairs), "rank": np.median(seconds)})
    medians.plot.barh(figsize=(6, 1.5), xlabel="median milliseconds for 200 candidates")
    plt.show()

# %% [markdown]
# ## Serve it
#
# With Docker, from the folder of this notebook:
#
# ```
# docker run --rm -p 8500:8500 -p 8501:8501 \
#     --mount type=bind,source="$PWD/models/ranker",target=/models/ranker,readonly \
#     --env MODEL_NAME=ranker tensorflow/serving
# ```
#
# then `client.rank(someone, candidates)` and `client.rank_top_k(someone, candidates)`. Without
# Python, post this to `http://localhost:8501/v1/models/ranker:predict`:

# %%
small = client.rest_request(client.rank_inputs(someone, candidates.head(2)), "rank")
Path("request.json").write_text(json.dumps(small))
print(json.dumps(small)[:300], "...")
