"""Models with tables of several widths grow with their encoder."""

import keras
import numpy as np
import pandas as pd
import pytest

from keras_infnet import BinaryTask, CategoricalFeature, FeatureSchema
from keras_infnet.data import FeatureEncoder
from keras_infnet.models import SharedBottom
from keras_infnet.optimizers import LazyAdam
from tests import tiny

DIM, STDDEV = 16, 1e-4
TABLES = ("video_id", "tab")


def log(first, last, seed):
    """Videos of Zipf's law, of which there are so many that the table is cut, and a few tabs."""
    draw = np.random.default_rng(seed)
    frame = pd.DataFrame({"video_id": np.repeat(np.arange(first, last), 1 + (last - first) // 400)})
    frame = pd.concat([frame, pd.DataFrame({"video_id": first + draw.zipf(1.3, 4000) % 50})])
    frame["tab"] = draw.choice(["home", "feed"] if first == 0 else ["home", "search"], len(frame))
    frame["author_id"] = frame["video_id"] % 7
    frame["click"] = draw.integers(0, 2, len(frame))
    return frame.reset_index(drop=True)


@pytest.fixture(scope="module")
def grown():
    features = [
        CategoricalFeature("video_id", "item"),
        CategoricalFeature("tab", "context"),
        CategoricalFeature("author_id", "item"),
    ]
    schema = FeatureSchema(features, [BinaryTask("click")], time_key=None, dims="auto")
    encoder = FeatureEncoder(schema).fit(log(0, 1500, 0))
    keras.utils.set_random_seed(0)
    model = SharedBottom(
        encoder.schema, dim=DIM, hidden_dims=(8,), embedding_stddev=STDDEV, head_dim=4
    )
    tiny.randomise(model, scale=0.3)
    model.compile(LazyAdam(0.01, row_updates_from=0), **tiny.quick())
    rows = log(0, 1500, 1)[:512]
    x, y = encoder.transform(rows), {"click": rows[["click"]].to_numpy("float32")}
    model.train_on_batch(x, y)
    later = pd.concat([log(1400, 3000, 2), log(0, 100, 3)], ignore_index=True)
    return encoder, model, encoder.extend(later), later, rows


def table(model, name):
    """A table's vectors by hand: of each part the rows times the width's matrix."""
    (layer,) = (x for x in model.layers if x.name == "adaptive_embedding")
    weights = {w.path.split("/", 1)[1]: np.array(w, "float64") for w in layer.weights}
    vectors = []
    for width, ids in layer.table_parts[name]:
        at = 0
        for other, parts in layer.table_parts.items():
            if other == name:
                break
            at += sum(n + 1 for w, n in parts if w == width)
        rows = weights[f"fused_embedding_{width}/embeddings"][at : at + ids]
        vectors.append(rows @ weights[f"projection_{width}"] if width < DIM else rows)
    return np.concatenate(vectors)


def test_old_ids_are_read_as_before_and_go_on_with_their_slots(grown):
    encoder, model, extended, _, rows = grown
    new = model.grow(extended)
    parts = {m: m.schema.table_parts(DIM) for m in (model, new)}
    assert [w for w, _ in parts[new]["video_id"]] == [w for w, _ in parts[model]["video_id"]]
    assert parts[new]["video_id"][:-1] == parts[model]["video_id"][:-1]
    more = extended.schema.table_rows()["video_id"] - encoder.schema.table_rows()["video_id"]
    assert more > 1000 and len(parts[new]["video_id"]) == 3
    assert parts[new]["video_id"][-1][1] == parts[model]["video_id"][-1][1] + more
    for name in TABLES:
        old = encoder.schema.table_rows()[name]
        np.testing.assert_array_equal(table(new, name)[:old], table(model, name))
    x, after = encoder.transform(rows), extended.transform(rows)
    np.testing.assert_array_equal(x["categorical"], after["categorical"])
    before = tiny.predict(model, x)["click"]
    np.testing.assert_allclose(tiny.predict(new, after)["click"], before, atol=1e-6)
    # One more step: what Adam's moments of old rows do to them is as in the model before.
    y = {"click": rows[["click"]].to_numpy("float32")}
    model.train_on_batch(x, y), new.train_on_batch(after, y)
    for name in TABLES:
        old = encoder.schema.table_rows()[name]
        np.testing.assert_allclose(table(new, name)[:old], table(model, name), atol=1e-6)


def test_new_ids_begin_next_to_the_vector_of_unknown_values(grown):
    encoder, model, extended, *_ = grown
    new = model.grow(extended)
    for name in TABLES:
        old, width = encoder.schema.table_rows()[name], new.schema.table_parts(DIM)[name][-1][0]
        (layer,) = (x for x in model.layers if x.name == "adaptive_embedding")
        matrix = next(np.array(w) for w in layer.weights if w.path.endswith(f"_{width}"))
        unknown = table(model, name)[1]
        nearest = np.linalg.lstsq(matrix.T, unknown, rcond=None)[0] @ matrix
        found = table(new, name)[old:]
        np.testing.assert_allclose(found, np.tile(nearest, (len(found), 1)), atol=0.01)
        assert len(np.unique(found, axis=0)) == len(found)


def test_new_ids_may_begin_next_to_those_that_share_a_field(grown):
    encoder, model, extended, later, _ = grown
    new = model.grow(extended, start="like:author_id", rows=later)
    old, vectors = encoder.schema.table_rows()["video_id"], table(model, "video_id")
    width = new.schema.table_parts(DIM)["video_id"][-1][0]
    (layer,) = (x for x in model.layers if x.name == "adaptive_embedding")
    matrix = next(np.array(w) for w in layer.weights if w.path.endswith(f"_{width}"))
    found = table(new, "video_id")
    pairs = later[["video_id", "author_id"]].drop_duplicates()
    ids = extended.transform(pairs.assign(tab="home", click=0))["categorical"][:, 0]
    for id_, author in list(zip(ids, pairs["author_id"], strict=True))[::97]:
        if id_ < old:
            continue
        alike = ids[(pairs["author_id"] == author).to_numpy() & (ids < old)]
        mean = vectors[alike].mean(0)
        nearest = np.linalg.lstsq(matrix.T, mean, rcond=None)[0] @ matrix
        np.testing.assert_allclose(found[id_], nearest, atol=1e-5)
