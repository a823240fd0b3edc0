"""The whole way of a kind of task or column: from a log to the answers of a client."""

import keras
import numpy as np
import pandas as pd
import pytest

from keras_infnet import INFNet, RankingData, fit_ranker
from keras_infnet.serving import Client, export


def make_log(rows=300, seed=0):
    """A log whose labels follow from the video."""
    rng = np.random.default_rng(seed)
    video = rng.integers(0, 12, rows)
    return pd.DataFrame(
        {
            "user_id": rng.integers(0, 9, rows),
            "time_ms": 1_767_225_600_000 + np.sort(rng.integers(0, 10**9, rows)),
            "video_id": video,
            "is_click": (rng.random(rows) < 0.1 + video / 16).astype("int64"),
            "orders": rng.poisson(video / 4),
            "reaction": np.array(["none", "like", "share"])[video * 3 // 12],
        }
    )


def made(schema, log, kind=INFNet, **sizes):
    """Data of the log, split by time, and a model."""
    keras.utils.set_random_seed(0)
    data = RankingData(schema, log, validation=int(log.time_ms.quantile(0.7)), batch_size=32)
    return data, kind(data.schema, dim=4, head_dim=4, **sizes)


def trained(schema, log, kind=INFNet, **sizes):
    """What `made` gives, the model after two epochs."""
    data, model = made(schema, log, kind, **sizes)
    fit_ranker(model, data, epochs=2, learning_rate=0.05, verbose=0)
    return data, model


def check_served(data, model, folder):
    """Exports, which verifies pairs and `rank`, and compares a client's answers with Keras's."""
    pytest.importorskip("tensorflow_serving")
    from tests.serving.prediction_server import serving

    rows = data.attach(data.frame("validation").head(8))
    expected = data.predict(model, rows)
    path = export(model, data, folder / "ranker", verify=rows)
    with pytest.MonkeyPatch.context() as patch, serving(path) as urls:
        patch.setenv("no_proxy", "127.0.0.1")
        for url in urls.values():
            client = Client(path, url)
            answer = client.predict(rows)
            assert list(answer.columns) == list(expected.columns)
            np.testing.assert_allclose(answer, expected, rtol=1e-5, atol=1e-5)
            # `rank` gives the user's features of the first row to all candidates.
            ranked = client.rank(rows.head(1), rows)
            pairs = rows.assign(**{name: [rows[name].iloc[0]] * 8 for name in users(data, rows)})
            of_pairs = data.predict(model, pairs)
            np.testing.assert_allclose(ranked[expected.columns], of_pairs, rtol=1e-5, atol=1e-5)
            client.close()


def users(data, rows):
    """Columns of the rows that are not the item's."""
    items = [f.name for f in data.schema.features if f.owner == "item"]
    return [name for name in rows.columns if name not in items]
