# %% [markdown]
# # Your own data frame in 30 lines
#
# A shop's log: who was shown which product, at what price, and whether it was clicked and bought.
# No data set of this library is involved: a pandas frame, a schema of your columns, and the rest
# follows. The log here is drawn so that we know what there is to find: buyers of a brand come
# back to it, and a product above a buyer's usual price is rarely bought.
#
# Needs `pip install "keras-infnet[tensorflow-cpu,plots]"`.

# %%
import os
import shutil

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

try:
    import matplotlib.pyplot as plt
except ModuleNotFoundError as error:
    raise ImportError('The figures need `pip install "keras-infnet[plots]"`.') from error
import numpy as np
import pandas as pd

import keras_infnet
from keras_infnet import BinaryTask, CategoricalFeature, History, NumericFeature

# %% [markdown]
# ## The frame
#
# Skip this cell if you have one. All it needs is one row an impression, a user, a time in
# milliseconds, and labels of 0 and 1.

# %%
random = np.random.default_rng(0)
start = pd.Timestamp("2026-11-01").value // 10**6
rows, users, products, brands = 20_000, 100, 240, 6
brand_of, price_of = random.integers(brands, size=products), random.lognormal(3, 0.8, products)
loved_brand, usual_price = random.integers(brands, size=users), random.lognormal(3, 0.6, users)
user, product = random.integers(users, size=rows), random.integers(products, size=rows)
loved = brand_of[product] == loved_brand[user]
dear = np.log(price_of[product] / usual_price[user])
click = random.random(rows) < 1 / (1 + np.exp(1.5 - 3.5 * loved))
buy = click & (random.random(rows) < 1 / (1 + np.exp(0.3 + 1.8 * dear)))
log = pd.DataFrame(
    {
        "user_id": user,
        "product": [f"p{i}" for i in product],
        "brand": [f"brand {i}" for i in brand_of[product]],
        "price": price_of[product].round(2),
        "device": random.choice(["phone", "desktop"], size=rows),
        "time_ms": start + np.sort(random.integers(14 * 86_400_000, size=rows)),
        "clicked": click.astype(int),
        "bought": buy.astype(int),
    }
)
log.head(4)

# %% [markdown]
# ## The thirty lines
#
# `observed_when="clicked"` says that a purchase only counts where there was a click: loss, metrics
# and data checks follow from that word.

# %%
schema = keras_infnet.FeatureSchema(
    features=[
        CategoricalFeature("user_id", "user"),
        CategoricalFeature("product", "item"),
        CategoricalFeature("brand", "item"),
        NumericFeature("price", "item", buckets=16),
        CategoricalFeature("device", "context"),
    ],
    histories=[
        History("seen", ("product", "brand", "price"), max_length=40, actions=("clicked", "bought"))
    ],
    tasks=[
        BinaryTask("click", "clicked"),
        BinaryTask("buy", "bought", observed_when="clicked"),
    ],
)
data = keras_infnet.RankingData(
    schema, log, validation="2026-11-11", test="2026-11-13", batch_size=128
)

keras_infnet.training.set_seeds(0)
model = keras_infnet.INFNet(data.schema, dim=16)
trained = keras_infnet.fit_ranker(
    model, data, epochs=5, learning_rate=5e-3, evaluations_per_epoch=1, verbose=0
)
measured = data.evaluate(model, "test")
shutil.rmtree("shop", ignore_errors=True)  # Of an earlier run.
path = keras_infnet.serving.export(model, data, "shop")  # shop/1
keras_infnet.serving.verify(path, model, data)

# %% [markdown]
# The returned number is the largest difference between the exported graph, fed with raw columns,
# and the Keras model.
#
# ## What was learned
#
# Purchases are measured on clicked rows alone, since the others have no label. We know the
# probabilities that the labels were drawn with, hence the best AUC there is.

# %%
test = data.frame("test")
clicked = test["clicked"] == 1
best_click = keras_infnet.metrics.auc(test["clicked"], loved[test.index])
best_buy = keras_infnet.metrics.auc(test["bought"][clicked], -dear[test.index][clicked])
measured.assign(best_auc=[best_click, best_buy]).round(4)

# %% [markdown]
# The model was told neither the loved brand nor the usual price of a user: whatever it knows is
# from the user's id and history. Its predictions by what is true of a row:

# %%
predicted = data.predict(model, "test")
shown = pd.DataFrame(
    {
        "loved brand": np.where(loved[test.index], "loved brand", "other brand"),
        "price above the usual": pd.cut(dear[test.index], [-9, -1, -0.3, 0.3, 1, 9]).astype(str),
        "click": predicted["click"],
        "buy": predicted["buy"],
    }
)
shown["clicked"], shown["bought"] = test["clicked"], test["bought"]
order = [str(i) for i in pd.cut([-2, -0.5, 0, 0.5, 2], [-9, -1, -0.3, 0.3, 1, 9])]
by_brand = shown.groupby("loved brand")[["clicked", "click"]].mean()
by_price = shown[clicked].groupby("price above the usual")[["bought", "buy"]].mean().loc[order]
figure, axes = plt.subplots(1, 2, figsize=(10, 3), layout="constrained")
by_brand.set_axis(["observed rate", "mean prediction"], axis=1).plot.bar(
    ax=axes[0], rot=0, title="click", xlabel=""
)
by_price.set_axis(["observed rate", "mean prediction"], axis=1).plot.bar(
    ax=axes[1], rot=20, title="buy, of clicked rows", xlabel="log(price / usual price of the user)"
)
plt.show()

# %% [markdown]
# Clicks follow the brand, purchases the price, as the log was drawn. Where bars differ, the model
# has seen too few rows of a user: the table above says how far it is from the best.
