# %% [markdown]
# # Huge tables
#
# Embedding tables grow with the number of ids; a step looks up those of one batch. Keras's
# optimizers read and write the whole table all the same. Here we measure what that costs, train
# by rows instead, and see what a served table loses with fewer bits.
#
# Needs `pip install "keras-infnet[tensorflow-cpu,plots]"`.

# %%
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

try:
    import matplotlib.pyplot as plt
except ModuleNotFoundError as error:
    raise ImportError('The figures need `pip install "keras-infnet[plots]"`.') from error
import shutil
import time
from pathlib import Path

import keras
import numpy as np
import pandas as pd

import keras_infnet
from keras_infnet import BinaryTask, CategoricalFeature, NumericFeature

# %% [markdown]
# ## A step against the number of rows
#
# A billion possible user ids, hashed into tables of different sizes. `LazyAdam` updates only rows
# that a step looks up; `Adam` is Keras's.

# %%
random = np.random.default_rng(0)
batch, timed = 512, 6
log = pd.DataFrame(
    {
        "user_id": random.integers(10**9, size=batch * (timed + 3)),
        "hour": random.integers(24, size=batch * (timed + 3)),
        "click": random.integers(2, size=batch * (timed + 3)),
    }
)


class StepTimes(keras.callbacks.Callback):
    """Seconds of each step."""

    def on_train_begin(self, logs=None):
        self.ends = []

    def on_train_batch_end(self, batch, logs=None):
        float(logs["loss"])
        self.ends.append(time.perf_counter())


def milliseconds(table_rows, optimizer):
    """Median milliseconds of a training step."""
    schema = keras_infnet.FeatureSchema(
        [
            CategoricalFeature("user_id", "user", hash_buckets=table_rows),
            NumericFeature("hour", "context", buckets=24),
        ],
        [BinaryTask("click")],
        time_key=None,
    )
    data = keras_infnet.RankingData(schema, log)
    model = keras_infnet.models.SharedBottom(data.schema, dim=16, hidden_dims=(32,), head_dim=16)
    model.compile(optimizer)
    times = StepTimes()
    batches = data.batches("train", batch_size=batch)
    model.fit(batches, shuffle=False, verbose=0, callbacks=[times])
    return 1000 * np.median(np.diff(times.ends[2:]))


sizes = [20_000, 200_000, 2_000_000]
steps = pd.DataFrame(
    {
        "Adam": [milliseconds(size, keras.optimizers.Adam()) for size in sizes],
        "LazyAdam": [
            milliseconds(s, keras_infnet.optimizers.LazyAdam(row_updates_from=0)) for s in sizes
        ],
    },
    index=pd.Index(sizes, name="rows of the table"),
)
steps.round(1)

# %%
axis = steps.plot(marker="o", loglog=True, figsize=(6, 3), ylabel="milliseconds a step")
plt.show()

# %%
print(f"At {sizes[-1]:,} rows a step by rows is", end=" ")
print(f"{steps['Adam'].iloc[-1] / steps['LazyAdam'].iloc[-1]:.0f} times as fast.")

# %% [markdown]
# ## Does it learn as well?
#
# `SparseAdagrad` is exactly Adagrad, since a row without a look-up has gradient zero. `LazyAdam`
# differs from Adam: a row's moments wait for its next look-up. On rows with something to learn:

# %%
users, videos, rows = 400, 300, 16_000
user, video = random.integers(users, size=rows), random.integers(videos, size=rows)
taste, theme = random.normal(size=(users, 2)), random.normal(size=(videos, 2))
truth = 1 / (1 + np.exp(-1.5 * (taste[user] * theme[video]).sum(1) - theme[video, 0]))
log = pd.DataFrame(
    {"user_id": user, "video_id": video, "click": random.binomial(1, truth), "truth": truth}
)
schema = keras_infnet.FeatureSchema(
    [
        CategoricalFeature("user_id", "user", hash_buckets=600_000),
        CategoricalFeature("video_id", "item"),
    ],
    [BinaryTask("click")],
    time_key=None,
)
data = keras_infnet.RankingData(schema, log, test=log[13_000:], batch_size=256)
optimizers = {
    "Adam": keras.optimizers.Adam(0.005),
    "LazyAdam": keras_infnet.optimizers.LazyAdam(0.005),
    "SparseAdagrad and AdamW": keras_infnet.optimizers.split_optimizer(
        keras_infnet.optimizers.SparseAdagrad(0.1), keras.optimizers.AdamW(0.005)
    ),
}
learned, models = {}, {}
for name, optimizer in optimizers.items():
    keras_infnet.training.set_seeds(0)
    model = models[name] = keras_infnet.models.SharedBottom(data.schema, dim=8, hidden_dims=(32,))
    start = time.perf_counter()
    keras_infnet.fit_ranker(model, data, epochs=3, optimizer=optimizer, verbose=0)
    seconds = time.perf_counter() - start
    learned[name] = {
        "test AUC": data.evaluate(model, "test").loc["click", "auc"],
        "seconds": round(seconds, 1),
    }
test = data.frame("test")
learned["the true probabilities"] = {
    "test AUC": keras_infnet.metrics.auc(test["click"], test["truth"])
}
pd.DataFrame(learned).T.round(4)

# %% [markdown]
# `LazyAdam`, the default of `fit_ranker`, reaches what Adam reaches. Adagrad, the tables' default
# in `split_optimizer`, is another optimizer with another rate: in three passes over these rows it
# has learned less, and would without row-wise updates too. The seconds hold compilation, which is
# most of them here. Updates by rows take over from 524,288 rows on.
#
# ## Served in fewer bits
#
# `table_dtype` stores an exported model's tables in fewer bits. `verify` returns the
# largest difference of a probability.

# %%
model, served = models["LazyAdam"], {}
for table_dtype in ("float32", "float16", "int8"):
    shutil.rmtree(table_dtype, ignore_errors=True)  # Of an earlier run.
    path = keras_infnet.serving.export(model, data, table_dtype, table_dtype=table_dtype)
    difference = keras_infnet.serving.verify(path, model, data, test.head(500))
    size = sum(p.stat().st_size for p in Path(path, "variables").iterdir())
    served[table_dtype] = {"MB": size / 1e6, "largest difference": difference}
served = pd.DataFrame(served).T
served["MB"].plot.barh(figsize=(6, 1.8), xlabel="MB of variables").invert_yaxis()
plt.show()

# %%
print(served.to_string(formatters={"MB": "{:.2f}".format, "largest difference": "{:.1e}".format}))
