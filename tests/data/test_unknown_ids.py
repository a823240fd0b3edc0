import keras
import numpy as np
import pandas as pd
import pytest

from keras_infnet import BinaryTask, CategoricalFeature, FeatureSchema, History, RankingData
from keras_infnet.data import Batches, Histories, prepare
from keras_infnet.models import SharedBottom
from tests.prepared import collect

RATE = 0.3
MASK = 2**64 - 1
START = 1_790_000_000_000


def schema():
    """`row` tells rows apart; `item`, `last` and the history share a table."""
    return FeatureSchema(
        features=[
            CategoricalFeature("row", "context", dtype="int"),
            CategoricalFeature("item", "item", dtype="int"),
            CategoricalFeature("last", "user", dtype="int", table="item"),
            CategoricalFeature("tags", "item", dtype="int", max_values=3),
            CategoricalFeature("hashed", "item", dtype="int", hash_buckets=9),
        ],
        histories=[History("seen", ("item", "tags"), max_length=5)],
        tasks=[BinaryTask("click")],
    )


@pytest.fixture(scope="module")
def log():
    rng = np.random.default_rng(0)
    ids = {name: rng.integers(0, 40, 400) for name in ("item", "last", "hashed")}
    log = pd.DataFrame({"row": np.arange(400), "user_id": rng.integers(0, 9, 400), **ids})
    tags = [list(rng.integers(0, 20, n)) for n in rng.integers(0, 4, 400)]
    log["time_ms"] = START + 1000 * np.arange(400)
    return log.assign(tags=tags, click=rng.integers(0, 2, 400))


@pytest.fixture(scope="module")
def data(log):
    rates = {"item": RATE, "tags": RATE}
    return RankingData(schema(), log, test=START + 350_000, batch_size=64, unknown_rate=rates)


def in_order(dataset):
    """The inputs of a dataset in the order of the rows."""
    found = collect(dataset)
    order = np.argsort(found["categorical"][:, 0], kind="stable")
    return {name: array[order] for name, array in found.items()}


def parts(x):
    """Ids by what they are of: candidate, user, bags, fields of events."""
    names = {"item": x["categorical"][:, 1], "last": x["categorical"][:, 2], "tags": x["bags"]}
    return {**names, "seen item": x["seen"][..., 0], "seen tags": x["seen"][..., 1:]}


def whole(data):
    return in_order(data.batches("train"))


@pytest.mark.one_backend
def test_the_share_of_known_ids_is_unknown_and_nothing_else_changes(data):
    plain, drawn = whole(data), in_order(data.train)
    for name, before in parts(plain).items():
        after = parts(drawn)[name]
        known = before > 1
        np.testing.assert_array_equal(after[~known], before[~known])
        changed = after[known] != before[known]
        assert set(after[known][changed]) == {1}
        share = RATE * (1 - RATE) / known.sum()
        # Ids of a row are one draw, so that of tags and events fewer count.
        assert abs(changed.mean() - RATE) < 5 * share**0.5 + 0.02
    others = [c for c in plain if c not in ("categorical", "bags", "seen")]
    for name in others:
        np.testing.assert_array_equal(drawn[name], plain[name])
    columns = [i for i in range(4) if i not in (1, 2)]
    np.testing.assert_array_equal(
        drawn["categorical"][:, columns], plain["categorical"][:, columns]
    )
    # Padding stays padding, and no event is lost.
    np.testing.assert_array_equal(drawn["seen"][..., 0] == 0, plain["seen"][..., 0] == 0)


@pytest.mark.one_backend
def test_candidate_user_and_history_of_a_row_agree(data):
    plain, drawn = whole(data), in_order(data.train)
    number = 0
    for row in range(len(plain["seen"])):
        fate = {}
        for name in ("item", "last", "seen item"):
            before, after = (np.ravel(parts(x)[name][row]) for x in (plain, drawn))
            for was, now in zip(before, after, strict=True):
                if was > 1:
                    number += was in fate
                    assert fate.setdefault(was, now == 1) == (now == 1)
    assert number > 50


def mixed(bits):
    """The last steps of SplitMix64, as its authors have them."""
    bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & MASK
    return bits ^ (bits >> 31)


@pytest.mark.one_backend
def test_a_folder_draws_by_seed_epoch_row_and_id_alone(tmp_path, log):
    encoder = prepare(schema(), log, tmp_path / "log", partitions=3, block_rows=50, verbose=False)
    options = {"unknown_rate": {"item": RATE}, "shuffle": True, "seed": 7, "labels": False}

    def batches(**more):
        return Batches.from_folder(encoder, tmp_path / "log", batch_size=64, **options, **more)

    step = 0x9E3779B97F4A7C15
    plain = in_order(Batches.from_rows(encoder, log, Histories(encoder, log)))
    drawn = in_order(batches().starting_at(len(batches())).take(len(batches())))
    # The second epoch, of seed 7.
    key = mixed(1 + 7)
    for row, (before, after) in enumerate(
        zip(plain["categorical"][:, 1], drawn["categorical"][:, 1], strict=True)
    ):
        of_row = mixed(mixed((key + row * step) & MASK))
        draw = mixed((of_row + int(before) * step) & MASK) >> 11
        assert after == (1 if draw < RATE * 2**53 else before)
    # Neither how rows are mixed nor by how many they are read matters.
    wanted = in_order(batches())["seen"]
    np.testing.assert_array_equal(in_order(batches(mix_blocks=2))["seen"], wanted)


@pytest.mark.one_backend
def test_each_epoch_draws_anew_and_goes_on_where_it_stopped(data):
    train = data.train
    first, second = in_order(train), in_order(train)
    assert (first["categorical"] != second["categorical"]).any()
    again = data.train
    np.testing.assert_array_equal(in_order(again)["seen"], first["seen"])
    epochs = [*data.train.repeat(2).as_numpy_iterator()]
    for start in (5, len(train) + 3):
        wanted = epochs[start]
        found = next(data.train.starting_at(start).as_numpy_iterator())
        for name in ("categorical", "bags", "seen"):
            np.testing.assert_array_equal(found[0][name], wanted[0][name])


@pytest.mark.one_backend
def test_what_is_not_trained_on_is_never_changed(tmp_path, log, data):
    without = RankingData(data.encoder, log, test=START + 350_000, batch_size=64)
    for ask in (lambda d: d.test, lambda d: d.batches("train"), lambda d: d.batches(log)):
        here, there = collect(ask(data)), collect(ask(without))
        for name in ("categorical", "bags", "seen"):
            np.testing.assert_array_equal(here[name], there[name])
    data.save(tmp_path / "data")
    loaded = RankingData.load(tmp_path / "data")
    np.testing.assert_array_equal(collect(loaded.train)["seen"], collect(data.train)["seen"])


def test_the_row_of_unknown_is_trained(log):
    def row_of_unknown(rates):
        data = RankingData(schema(), log, batch_size=64, unknown_rate=rates)
        keras.utils.set_random_seed(0)
        model = SharedBottom(data.schema, dim=2, hidden_dims=(4,), head_dim=4)
        model.compile("sgd")
        (layer,) = model._embeddings()
        row = layer._offsets["item"] + 1
        before = np.array(layer.embeddings)[row]
        model.fit(data.train.take(3), verbose=0, shuffle=False)
        return before, np.array(layer.embeddings)[row]

    before, after = row_of_unknown({"item": RATE})
    assert (before != after).all()
    before, after = row_of_unknown(None)
    np.testing.assert_array_equal(before, after)


@pytest.mark.one_backend
def test_rates_that_can_not_be_are_refused(log, data):
    for rates, message in [
        (0.1, "unknown_rate is 0.1; expected a dict by feature, such as"),
        ({"itm": 0.1}, "Did you mean `item`"),
        ({"item": 1.0}, "unknown_rate of `item` is 1.0; expected a share from 0 to below 1"),
        ({"item": "much"}, "unknown_rate of `item` is 'much'"),
        (
            {"hashed": 0.1},
            '`hashed`, whose values have no id for "unknown"; expected a categorical',
        ),
        ({"item": 0.1, "last": 0.1}, "two rates for the table `item`; give one"),
    ]:
        with pytest.raises(ValueError, match=message):
            RankingData(data.encoder, log, unknown_rate=rates)
    with pytest.raises(ValueError, match="`unknown_rate` is for training rows, which are shuffled"):
        Batches.from_rows(data.encoder, log, data.histories, unknown_rate={"item": 0.1})
