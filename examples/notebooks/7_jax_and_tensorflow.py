# %% [markdown]
# # JAX and TensorFlow side by side
#
# One process has one backend, chosen by the environment variable `KERAS_BACKEND` before Keras is
# imported. This notebook runs on JAX, and starts a child process for TensorFlow. Both begin with
# the same weights and read the same batches. Do they learn the same, and how fast is each?
#
# Needs `pip install "keras-infnet[jax,plots]"`, which brings TensorFlow for the CPU too.

# %%
import os

os.environ["KERAS_BACKEND"] = "jax"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

try:
    import matplotlib.pyplot as plt
except ModuleNotFoundError as error:
    raise ImportError('The figures need `pip install "keras-infnet[plots]"`.') from error
import json
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd

import keras_infnet
from keras_infnet import BinaryTask, CategoricalFeature, History

print("backend:", keras.backend.backend())
print("TensorFlow loaded by the import:", "tensorflow" in sys.modules)

# %% [markdown]
# ## The same start for both
#
# The rows with their fitted encoder, and an untrained model, lie in files. A `.keras` file is of
# no backend.

# %%
random = np.random.default_rng(0)
rows, users, videos = 20_000, 200, 300
user, video = random.integers(users, size=rows), random.integers(videos, size=rows)
author_of, quality = random.integers(20, size=videos), random.normal(size=videos)
follows = random.random((users, 20)) < 0.2
click = 1 / (1 + np.exp(1.5 - 2.0 * follows[user, author_of[video]] - quality[video]))
log = pd.DataFrame(
    {
        "user_id": user,
        "video_id": video,
        "author_id": author_of[video],
        "time_ms": 1_790_000_000_000 + np.arange(rows) * 1000,
        "is_click": random.binomial(1, click),
        "is_like": random.binomial(1, 0.3 * click),
    }
)
schema = keras_infnet.FeatureSchema(
    features=[
        CategoricalFeature("user_id", "user"),
        CategoricalFeature("video_id", "item"),
        CategoricalFeature("author_id", "item"),
    ],
    histories=[History("seen", ("video_id", "author_id"), max_length=50, actions=("is_click",))],
    tasks=[BinaryTask("click", "is_click"), BinaryTask("like", "is_like")],
)
keras_infnet.training.set_seeds(0)
data = keras_infnet.RankingData(schema, log, test=log[16_000:])
model = keras_infnet.INFNet(data.schema, dim=16)
data.save("data", overwrite=True)
model.save("start.keras")

# %% [markdown]
# ## The same program for both
#
# Nothing in it names a backend. The rows are not shuffled, so that both read the same batches:
# they were drawn independently of each other, and have no order to learn.

# %%
PROGRAM = '''
import time

import keras

import keras_infnet


class Steps(keras.callbacks.Callback):
    """Loss and end of each step."""

    def on_train_begin(self, logs=None):
        self.losses, self.times = [], []

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(float(logs["loss"]))
        self.times.append(time.perf_counter())


def run():
    data = keras_infnet.RankingData.load("data")
    batches = data.batches("train", batch_size=160)
    model = keras.saving.load_model("start.keras")
    steps = Steps()
    start = time.perf_counter()
    keras_infnet.fit_ranker(model, batches, callbacks=[steps], verbose=0)
    measured = data.evaluate(model, "test")
    model.save(f"{keras.backend.backend()}.keras")
    return {
        "losses": steps.losses,
        "first step, seconds": steps.times[0] - start,
        "examples a second": 160 * 80 / (steps.times[-1] - steps.times[-81]),
        "predicted": data.predict(model, "test")["click"].tolist(),
        "AUC of click": measured.loc["click", "auc"],
        "AUC of like": measured.loc["like", "auc"],
    }
'''
Path("side_by_side.py").write_text(PROGRAM)
sys.path.insert(0, "")

import side_by_side  # noqa: E402

results = {"jax": side_by_side.run()}

# %%
child = subprocess.run(
    [sys.executable, "-c", "import json, side_by_side; print(json.dumps(side_by_side.run()))"],
    env=os.environ | {"KERAS_BACKEND": "tensorflow"},
    stdout=subprocess.PIPE,
    text=True,
    check=True,
)
results["tensorflow"] = json.loads(child.stdout.splitlines()[-1])

# %% [markdown]
# ## The same curve

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 3), layout="constrained")
for (name, result), style in zip(results.items(), ("-", ":"), strict=True):
    axes[0].plot(result["losses"], style, linewidth=3, label=name)
axes[0].set(xlabel="step", ylabel="running mean of the loss", title="training")
axes[0].legend()
ours, theirs = (np.array(result["predicted"]) for result in results.values())
axes[1].scatter(ours, theirs, s=2)
axes[1].set(xlabel="jax", ylabel="tensorflow", title="predicted clicks of the test rows")
plt.show()

# %%
table = pd.DataFrame(results).drop(index=["losses", "predicted"]).astype(float)
table["difference"] = table["jax"] - table["tensorflow"]
table.round(4)

# %% [markdown]
# Each step rounds differently, and training carries the differences on, so the weights are equal
# at the beginning only. The losses and the AUCs show how little that matters. The first step
# holds the compilation. Speed is of this machine and of a small model; measure yours.
#
# ## Crossing over
#
# A model trained on JAX, loaded on TensorFlow, predicts what it predicted on JAX, and exports a
# SavedModel of plain TensorFlow operations. That is the way to serve a model that was trained on
# JAX.

# %%
EXPORT = """
import keras
import numpy as np
import keras_infnet

data = keras_infnet.RankingData.load("data")
model = keras.saving.load_model("jax.keras")
np.save("predicted.npy", data.predict(model, "test")["click"])
keras_infnet.serving.export(model, data, "ranker")
"""
shutil.rmtree("ranker", ignore_errors=True)  # Of an earlier run.
subprocess.run(
    [sys.executable, "-c", EXPORT],
    env=os.environ | {"KERAS_BACKEND": "tensorflow"},
    check=True,
)
print("largest difference:", f"{np.abs(np.load('predicted.npy') - ours).max():.1e}")
print("exported:", Path("ranker/1/saved_model.pb").is_file())
