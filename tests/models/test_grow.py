"""Models that grow with their encoder, against tables and slots that `np.insert` makes."""

import dataclasses

import keras
import numpy as np
import pytest

from keras_infnet import INFNet
from keras_infnet.data import Batches, FeatureEncoder, Histories
from keras_infnet.models import FM, MODELS, STEM, SharedBottom, embedded_inputs
from keras_infnet.optimizers import LazyAdam, SparseAdagrad, split_optimizer
from keras_infnet.training import shard_tables
from tests import tiny
from tests.cases import days

BATCH = 90


@pytest.fixture(scope="module")
def encoders():
    first = FeatureEncoder(days.schema()).fit(days.log(0))
    return first, first.extend(days.log(1))


def decaying():
    return keras.optimizers.schedules.PolynomialDecay(0.1, 10, 0.0)


# By name: model, its arguments, its optimizer.
CASES = {
    "lazy": (FM, {"dim": 4}, lambda: LazyAdam(0.1, row_updates_from=0)),
    "split": (
        SharedBottom,
        {"dim": 4, "hidden_dims": (8,), "dropout": 0.5},
        lambda: split_optimizer(SparseAdagrad(0.1, row_updates_from=0), keras.optimizers.AdamW()),
    ),
    "members": (
        FM,
        {"dim": 4, "members": 2, "own_tables": True, "dtype": "mixed_float16"},
        lambda: keras.optimizers.Adam(decaying(), amsgrad=True),
    ),
    "tasks": (STEM, {"dim": 4}, lambda: SparseAdagrad(0.1, clipnorm=1.0)),
    "scores": (INFNet, {"dim": 4, "num_heads": 2}, lambda: keras.optimizers.RMSprop(0.1)),
    "average": (
        FM,
        {"dim": 4, "members": 2},
        lambda: keras.optimizers.SGD(0.1, 0.9, use_ema=True, loss_scale_factor=8.0),
    ),
}
ON_BOTH = ("lazy", "split")
PARAMETERS = [
    pytest.param(case, marks=() if case in ON_BOTH else pytest.mark.one_backend) for case in CASES
]


def sizes(schema):
    return {**schema.table_rows(), "#action": schema.layout.sizes["seen/#action"]}


def inserted(path, before, after):
    """Rows of a weight before which new ones lie, each as often as there are; none: no table."""
    was, now = sizes(before), sizes(after)
    if path.endswith("fused_embedding/embeddings"):
        tables = list(before.table_rows())
    elif path.endswith("action_table"):
        tables = ["#action"]
    else:
        return np.zeros(0, int)
    ends = np.cumsum([was[table] for table in tables])
    return np.repeat(ends, [now[table] - was[table] for table in tables])


def by_hand(before, places, first):
    """An array with rows inserted: all are `first`, or each one of `first`."""
    return np.insert(before, places, first, axis=0) if len(places) else before


def new_rows(now, places):
    """The rows that stand where `np.insert` puts new ones."""
    return now[places + np.arange(len(places))]


def trained(case, encoder):
    kind, arguments, optimizer = CASES[case]
    model = kind(encoder.schema, **arguments)
    model.compile(optimizer(), loss_weights={"click": 2.0}, **tiny.quick())
    x, y = days.inputs(encoder, 0), days.labels()
    for _ in range(2):
        model.train_on_batch(x, y)
    return model, x


def slots(model, places_of):
    """The optimizer's variables, with the places of new rows and what these begin at."""
    paths = {v.path.replace("/", "_"): v for v in model.trainable_variables}
    found = []
    for variable in model.optimizer.variables:
        of = [path for path in paths if variable.name.startswith(path)]
        if variable.name.endswith("_positions"):
            continue
        places = places_of(paths[max(of, key=len)].path) if of else np.zeros(0, int)
        found.append((variable, places))
    return found


@pytest.mark.parametrize("case", PARAMETERS)
def test_old_rows_slots_and_the_next_step_are_those_of_inserted_tables(encoders, case):
    before, after = encoders
    model, x = trained(case, before)
    expected = tiny.predict(model, x)
    weights = [np.array(w) for w in model.weights]
    grown = model.grow(after, seed=3)
    assert type(grown) is type(model) and grown.config == model.config
    assert grown.schema == after.schema and model.schema == before.schema
    for task, values in tiny.predict(grown, days.inputs(after, 0)).items():
        np.testing.assert_array_equal(values, expected[task])

    def places(path):
        return inserted(path, before.schema, after.schema)

    hand = CASES[case][0](after.schema, **CASES[case][1])
    hand.compile(CASES[case][2](), loss_weights={"click": 2.0}, **tiny.quick())
    grew = 0
    for was, now, other in zip(weights, grown.weights, hand.weights, strict=True):
        at = places(now.path)
        other.assign(by_hand(was, at, new_rows(np.array(now), at)))
        np.testing.assert_array_equal(np.array(now), np.array(other), now.path)
        grew += len(at) > 0
    assert grew >= 2 + (case == "members")
    hand.optimizer.build(hand.trainable_variables)
    parts = [slots(m, places) for m in (model, grown, hand)]
    for (was, at), (now, _), (other, _) in zip(*parts, strict=True):
        first = {"accumulator": 0.1}.get(now.name.rsplit("_", 1)[-1], 0.0)
        if now.name.endswith("_average"):
            first = new_rows(np.array(now), at)
            assert np.abs(first).max(initial=1) > 0
        other.assign(by_hand(np.array(was), at, first))
        np.testing.assert_array_equal(np.array(now), np.array(other), now.name)
    for state, other in zip(model._random_states(), hand._random_states(), strict=True):
        other.assign(state)
    steps = []
    for each in (grown, hand):
        logs = each.train_on_batch(days.inputs(after, 1), days.labels(), return_dict=True)
        steps.append((logs["loss"], [np.array(w) for w in each.weights]))
    assert steps[0][0] == pytest.approx(steps[1][0], rel=1e-6)
    for found, wanted in zip(steps[0][1], steps[1][1], strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-7)
    # The model that grew is what it was.
    for was, now in zip(weights, model.weights, strict=True):
        np.testing.assert_array_equal(was, np.array(now))


def table(model, name):
    """A table as the model reads it."""
    layer = next(x for x in model._flatten_layers() if x.name == "fused_embedding")
    return layer.rows_of(name)


@pytest.fixture(scope="module")
def small(encoders):
    """A model that was not compiled, with weights that are not trivial."""
    return tiny.randomise(FM(encoders[0].schema, dim=4, embedding_stddev=0.001))


def test_new_rows_begin_near_the_row_of_unknown_values(encoders, small):
    before, after = encoders
    grown = small.grow(after.schema, seed=1)
    assert not grown.compiled
    old = before.schema.num_ids("video_id")
    rows, unknown = table(grown, "video_id"), table(small, "video_id")[1]
    noise = rows[old:] - unknown
    assert len(noise) == 10 and 0 < np.abs(noise).max() < 0.005
    assert len(np.unique(noise)) == noise.size
    # Of two ids for unknown values it is their mean.
    new_tags = table(grown, "tag")[before.schema.num_ids("tag") :]
    np.testing.assert_allclose(
        new_tags - table(small, "tag")[1:3].mean(0), np.zeros_like(new_tags), atol=0.005
    )
    patterns, was = (
        next(np.array(w) for w in m.weights if w.path.endswith("action_table"))
        for m in (grown, small)
    )
    assert len(patterns) == len(was) + 1
    np.testing.assert_allclose(patterns[-2], was[1], atol=0.005)
    np.testing.assert_array_equal(patterns[[*range(len(was) - 1), -1]], was)
    for seed, equal in ((1, True), (2, False)):
        again = small.grow(after.schema.layout, seed=seed)
        assert np.array_equal(table(again, "video_id"), rows) == equal
    noise = table(small.grow(after, "random"), "video_id")[old:]
    assert 0 < np.abs(noise).max() < 0.005


def test_new_rows_may_begin_like_those_that_share_a_field(encoders, small):
    before, after = encoders
    rows = days.log(1)
    # Two videos that are new have no author, or one of their own.
    new = sorted(set(rows.video_id) - set(days.log(0).video_id))
    rows.loc[rows.video_id == new[0], "author_id"] = None
    rows.loc[rows.video_id == new[1], "author_id"] = "nobody else"
    rows.loc[rows.index[rows.video_id == new[2]][0], "author_id"] = "author 0"
    grown = small.grow(after, start="like:author_id", rows=rows)
    known = dict(zip(before.programs["video_id"].values.to_pylist(), range(2, 99), strict=False))
    ids = after.programs["video_id"].numpy(np.array(new))
    for video, found in zip(new, table(grown, "video_id")[ids], strict=True):
        alike = [
            table(small, "video_id")[known[other]]
            for author in {a for a in rows.author_id[rows.video_id == video] if a is not None}
            for other in sorted(set(rows.video_id[rows.author_id == author]) & set(known))
        ]
        expected = np.mean(alike, axis=0) if alike else table(small, "video_id")[1]
        np.testing.assert_allclose(found, expected, atol=1e-6 if alike else 0.005)
    # What is the user's starts as unknown; another feature when it is asked for.
    old = before.schema.num_ids("user_id")
    unknown = table(small, "user_id")[1]
    np.testing.assert_allclose(table(grown, "user_id")[old:] - unknown, 0, atol=0.005)
    alone = small.grow(after, start={"tag": "like:author_id"}, rows=rows)
    new = table(alone, "video_id")[before.schema.num_ids("video_id") :]
    np.testing.assert_allclose(new - table(small, "video_id")[1], 0, atol=0.005)
    new = table(alone, "tag")[before.schema.num_ids("tag") :]
    assert np.abs(new - table(small, "tag")[1:3].mean(0)).max() > 0.01


def test_rows_of_freed_ids_begin_anew_with_their_slots(encoders):
    before, _ = encoders
    after = before.extend(days.log(2), max_ids={"video_id": 22})
    renewed = after.schema.layout.renewed["video_id"]
    assert len(renewed) > 5
    model = FM(before.schema, dim=4)
    model.compile(keras.optimizers.Adam(0.1), **tiny.quick())
    model.train_on_batch(days.inputs(before, 0), days.labels())
    model.set_embeddings("video_id", {v: np.ones(4) for v in range(20)}, before)
    grown = model.grow(after)
    layer, was = (
        next(x for x in m._flatten_layers() if x.name == "fused_embedding") for m in (grown, model)
    )
    first, first_before = (x._offsets["video_id"] for x in (layer, was))
    moments = [
        np.array(
            next(v for v in m.optimizer.variables if "embedding" in v.name and "vel" in v.name)
        )
        for m in (grown, model)
    ]
    assert np.abs(moments[1][[first_before + i for i in renewed]]).max() > 0
    np.testing.assert_array_equal(moments[0][[first + i for i in renewed]], 0)
    rows = table(grown, "video_id")
    unknown = table(model, "video_id")[1]
    np.testing.assert_allclose(rows[renewed], unknown[None].repeat(len(renewed), 0), atol=0.1)
    kept = np.setdiff1d(np.arange(2, before.schema.num_ids("video_id")), renewed)
    np.testing.assert_array_equal(rows[kept], 1.0)
    is_frozen = np.array(layer._frozen_rows["video_id"][0])[:, 0]
    assert np.flatnonzero(is_frozen).tolist() == kept.tolist()


@pytest.mark.filterwarnings("ignore:Layer")
def test_what_can_not_grow_is_refused(encoders, small):
    before, after = encoders
    third = after.extend(days.log(2))
    with pytest.raises(ValueError, match="FM.grow: the schema .*extends .*each one in turn"):
        small.grow(third)
    with pytest.raises(ValueError, match="extends none, and the model is of"):
        small.grow(FeatureEncoder(days.schema()).fit(days.log(1)))
    with pytest.raises(ValueError, match="the model is of this schema already"):
        small.grow(before)
    other = FeatureEncoder(dataclasses.replace(days.schema(), histories=())).fit(days.log(0))
    with pytest.raises(ValueError, match="the histories are others than the model's .see liked"):
        small.grow(other)
    layout = dataclasses.replace(
        after.schema.layout, sizes={**after.schema.layout.sizes, "video_id": 3}
    )
    with pytest.raises(ValueError, match="`video_id` has 3 ids of dtype int, and the model"):
        small.grow(layout)
    with pytest.raises(ValueError, match="`extended` is a dict; expected the FeatureEncoder"):
        small.grow({})
    quantized = FM(before.schema, dim=4)
    quantized.quantize("int8")
    with pytest.raises(ValueError, match="is quantized.*quantize the grown one"):
        quantized.grow(after)


@pytest.mark.parametrize(
    ("start", "rows", "message"),
    [
        ("mean", None, 'start is \'mean\'; expected "unknown", "random", or "like:"'),
        ("like:author", days.log(1), "start='like:author': no feature `author`.*`author_id`"),
        ("like:author_id", None, "start='like:author_id' needs `rows`"),
        ("unknown", days.log(1), '`rows` are given, which start="like:..." alone reads'),
        (
            "like:author_id",
            days.log(1).drop(columns="author_id"),
            "FM.grow, feature `author_id`: the frame has no column `author_id`",
        ),
        ("like:seconds", days.log(1), "feature `seconds` holds numbers; expected a Categorical"),
        ({"video": "random"}, None, "no feature `video`.*`video_id`"),
    ],
)
def test_a_start_that_is_none_is_refused(encoders, small, start, rows, message):
    with pytest.raises(ValueError, match=message):
        small.grow(encoders[1], start, rows)


def test_batches_of_the_other_encoder_are_refused(encoders, small):
    before, after = encoders
    rows = Histories(before, days.log(0)).attach(days.log(0))
    grown = small.grow(after)
    for model, encoder in ((small, after), (grown, before)):
        with pytest.raises(ValueError, match="the batches are of another encoder than the model"):
            model.predict(Batches.from_rows(encoder, rows))


def test_frozen_layers_stay_frozen_and_a_grown_model_is_saved(encoders, tmp_path, monkeypatch):
    before, after = encoders
    model = SharedBottom(before.schema, dim=4, hidden_dims=(8,))
    frozen = next(x for x in model._flatten_layers() if isinstance(x, keras.layers.Dense))
    frozen.trainable = False
    model.compile(keras.optimizers.Adam(0.1), **tiny.quick())
    y = days.labels()
    model.train_on_batch(days.inputs(before, 0), y)
    expected = tiny.predict(model, days.inputs(before, 0))
    # Beyond this size events are read in another way.
    monkeypatch.setattr(embedded_inputs, "_SMALL_TABLE", before.schema.num_ids("video_id"))
    grown = model.grow(after)
    assert [w.shape[1:] for w in grown.trainable_weights] == [
        w.shape[1:] for w in model.trainable_weights
    ]
    assert len(grown.trainable_weights) < len(grown.weights)
    assert int(grown.optimizer.iterations) == 1
    for task, values in tiny.predict(grown, days.inputs(after, 0)).items():
        np.testing.assert_allclose(values, expected[task], atol=1e-6)
    x = days.inputs(after, 1)
    grown.train_on_batch(x, y)
    grown.save(tmp_path / "grown.keras")
    loaded = keras.saving.load_model(tmp_path / "grown.keras")
    assert loaded.schema == after.schema
    outputs = [tiny.predict(m, x) for m in (grown, loaded)]
    for task, values in outputs[0].items():
        np.testing.assert_allclose(values, outputs[1][task], rtol=1e-6)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="Keras shards on JAX alone")
def test_sharded_tables_grow_within_their_scope(encoders):
    before, after = encoders
    with shard_tables(1, shard_from=0).scope():
        model = FM(before.schema, dim=4)
        grown = model.grow(after)
    layers = [
        next(x for x in m._flatten_layers() if x.name == "fused_embedding") for m in (model, grown)
    ]
    parts = [layer.embeddings.value.sharding for layer in layers]
    assert parts[0] == parts[1]
    with pytest.raises(ValueError, match="for several devices.*Grow it within that scope"):
        model.grow(after)


@pytest.mark.one_backend
@pytest.mark.parametrize("name", MODELS)
def test_all_weights_of_every_model_are_carried(encoders, name):
    before, after = encoders
    model = tiny.randomise(MODELS[name](before.schema, dim=8))
    grown = model.grow(after)
    for was, now in zip(model.weights, grown.weights, strict=True):
        places = inserted(now.path, before.schema, after.schema)
        first = new_rows(np.array(now), places) if len(places) else None
        np.testing.assert_array_equal(
            np.array(now), by_hand(np.array(was), places, first), now.path
        )


@pytest.mark.one_backend
def test_a_table_may_come_to_be_updated_by_rows_and_a_balance_goes_on(encoders):
    before, after = encoders
    rows = sum(before.schema.table_rows().values())
    model = FM(before.schema, dim=4)
    optimizer = LazyAdam(0.1, row_updates_from=rows + 1)
    model.compile(optimizer, balance="famo", **tiny.quick())
    model.train_on_batch(days.inputs(before, 0), days.labels())
    grown = model.grow(after)
    tables = [next(v for v in m.trainable_weights if "fused" in v.path) for m in (model, grown)]
    by_row = [m.optimizer.updates_rows(v) for m, v in zip((model, grown), tables, strict=True)]
    assert by_row == [False, True]
    assert grown.balance.weights == model.balance.weights != {"click": 1.0, "like": 1.0}
    grown.train_on_batch(days.inputs(after, 1), days.labels())
    assert int(grown.optimizer.iterations) == 2
