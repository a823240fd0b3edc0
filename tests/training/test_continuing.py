"""Training that goes on, against loops of `train_on_batch` on a copy of the model."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_infnet import RankingData
from keras_infnet.callbacks import Checkpoints
from keras_infnet.data import Batches, prepare
from keras_infnet.models import FM
from keras_infnet.optimizers import LazyAdam, split_optimizer
from keras_infnet.training import fit_ranker
from keras_infnet.training.continuing import LinearRestart
from tests import tiny
from tests.logs import viewed_videos
from tests.training.tiny_ranker import batches_of, numbered_rows, row_counter, tiny_rows

OPTIMIZERS = {
    "lazy": lambda: LazyAdam(0.01),
    "adam": lambda: keras.optimizers.Adam(0.01),
    "split": lambda: split_optimizer(dense=keras.optimizers.Adam(0.01)),
}


def day(seed=0, batch=48, size=16):
    schema = tiny.schema("none")
    rows = (tiny.inputs(schema, batch=batch, seed=seed), *tiny.labels(schema, batch=batch))
    return tf.data.Dataset.from_tensor_slices(rows).batch(size)


def compiled(optimizer="lazy"):
    keras.utils.set_random_seed(0)
    model = FM(tiny.schema("none"), dim=4)
    model.compile(OPTIMIZERS[optimizer](), weighted_metrics=[], **tiny.quick())
    return model


def trained(optimizer="lazy"):
    """A model after its first day."""
    model = compiled(optimizer)
    model.fit(day(), verbose=0, shuffle=False)
    return model


def by_hand(optimizer, days, rates=None):
    """Weights and moments after further batches, each at its learning rate."""
    model = trained(optimizer)
    for number, (x, y, weights) in enumerate(days.as_numpy_iterator()):
        if rates is not None:
            model.optimizer.learning_rate = float(rates[number])
        model.train_on_batch(x, y, sample_weight=weights)
    return model


def assert_equal(model, expected, **tolerance):
    tolerance = tolerance or {"rtol": 1e-6, "atol": 1e-7}
    for found, value in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(found, value, **tolerance)
    moments, right = ([v for v in m.optimizer.variables if len(v.shape)] for m in (model, expected))
    for found, value in zip(moments, right, strict=True):
        np.testing.assert_allclose(np.array(found), np.array(value), **tolerance)
    assert int(model.optimizer.iterations) == int(expected.optimizer.iterations)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_optimizer_goes_on_at_its_own_rate(optimizer):
    model = trained(optimizer)
    before = model.optimizer
    fit_ranker(model, day(seed=1), continue_training=True, verbose=0)
    assert model.optimizer is before
    assert_equal(model, by_hand(optimizer, day(seed=1)))


def test_a_constant_rate_may_be_given_and_stays():
    model = trained()
    fit_ranker(model, day(seed=1), continue_training=True, learning_rate=0.003, verbose=0)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.003)
    assert_equal(model, by_hand("lazy", day(seed=1), [0.003] * 3))


def test_a_warm_restart_falls_to_zero_again_and_ends_at_its_first_rate(tmp_path):
    model = trained()
    fit_ranker(
        model,
        day(seed=1),
        continue_training=True,
        warm_restart=True,
        learning_rate=0.02,
        verbose=0,
    )
    assert_equal(model, by_hand("lazy", day(seed=1), 0.02 * (1 - np.arange(3) / 3)))
    assert isinstance(model.optimizer.learning_rate, keras.Variable)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.02)
    # A third day, from the file: without a rate it begins where the second did.
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for later in (model, loaded):
        fit_ranker(later, day(seed=2), continue_training=True, warm_restart=True, verbose=0)
    assert_equal(loaded, model)


def test_a_model_of_the_recipe_goes_on_from_its_file(tmp_path):
    model = FM(tiny.schema("none"), dim=4)
    fit_ranker(model, day(), learning_rate=0.01, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    fit_ranker(loaded, day(seed=1), day(seed=2), continue_training=True, verbose=0)
    model.fit(day(seed=1), shuffle=False, verbose=0)
    assert int(loaded.optimizer.iterations) == 6
    moments = [[np.array(v) for v in m.optimizer.variables] for m in (model, loaded)]
    for right, found in zip(*moments, strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-5, atol=1e-7)


def test_a_killed_run_goes_on_with_its_restart(tmp_path):
    class Killed(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 3:
                raise KeyboardInterrupt

    def run(folder, *callbacks):
        model = trained()
        checkpoints = Checkpoints(tmp_path / folder, every=1)
        fit_ranker(
            model,
            day(seed=1),
            continue_training=True,
            warm_restart=True,
            replay=day(seed=2, size=16),
            callbacks=[checkpoints, *callbacks],
            verbose=0,
        )
        return model

    with pytest.raises(KeyboardInterrupt):
        run("killed", Killed())
    assert_equal(run("killed"), run("whole"))


def test_a_pass_sees_all_rows_of_the_day_once_and_some_of_replay():
    model = row_counter(np.zeros((11, 1)))
    model.compile(keras.optimizers.SGD(1.0))
    new, old = (numbered_rows(11).skip(k).take(n).batch(1) for k, n in ((0, 8), (8, 3)))
    arguments = {"continue_training": True, "verbose": 0, "replay_share": 1 / 3}
    fit_ranker(model, new, replay=old, **arguments)
    # Four of twelve, of which the first row of three comes again.
    np.testing.assert_array_equal(-model.get_weights()[0][:, 0], [1] * 8 + [2, 1, 1])


def test_places_of_replay_by_hand():
    from keras_infnet._backend.mixed_batches import mixed_batches

    new, old = (tf.data.Dataset.range(start, start + 6) for start in (0, 100))
    mixed = mixed_batches(new, 6, old, 3)
    assert list(mixed.as_numpy_iterator()) == [0, 100, 1, 2, 101, 3, 4, 102, 5]
    assert int(mixed.cardinality()) == 9
    again = mixed_batches(new.take(2), 2, old.take(1), 2)
    assert list(again.as_numpy_iterator()) == [0, 100, 1, 100]


@pytest.fixture(scope="module")
def videos():
    return viewed_videos()


def test_replay_of_a_ranking_data_is_the_same_for_the_same_seed(videos):
    found = []
    for _ in range(2):
        keras.utils.set_random_seed(0)
        model = FM(videos.schema, dim=4)
        model.compile(LazyAdam(0.01), **tiny.quick())
        today = videos.batches(videos.frame("train")[-50:], batch_size=10)
        fit_ranker(model, today, continue_training=True, replay=_copy_of(videos), verbose=0)
        found.append(model.get_weights())
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def _copy_of(data):
    class Days:
        train = data.batches(data.frame("train"), shuffle=True, seed=3)

    return Days


def test_a_grown_model_goes_on_with_an_appended_day_and_a_sample_of_the_first(tmp_path):
    log, schema = viewed_videos().frame("train"), viewed_videos().schema.with_layout(None)
    days = [log[:120], log[120:].assign(video_id=log.video_id[120:] + 9)]
    encoders = [
        prepare(schema, day, tmp_path / "out", splits={f"day{n}": None}, append=True, verbose=False)
        for n, day in enumerate(days)
    ]

    def batches(encoder, split, **options):
        return Batches.from_folder(encoder, tmp_path / "out", split, batch_size=20, **options)

    model = FM(encoders[0].schema, dim=4)
    model.compile(LazyAdam(0.01), weighted_metrics=[], **tiny.quick())
    fit_ranker(model, batches(encoders[0], "day0", shuffle=True), continue_training=True, verbose=0)
    grown = model.grow(encoders[1].schema)
    # Each reads the rows of the first day with its own encoder, and says the same of them.
    pairs = zip((model, grown), encoders, strict=True)
    said = [m.predict(batches(e, "day0"), verbose=0) for m, e in pairs]
    np.testing.assert_allclose(said[1]["click"], said[0]["click"], atol=1e-6)
    fit_ranker(
        grown,
        batches(encoders[1], "day1", shuffle=True),
        continue_training=True,
        replay=batches(encoders[1], "day0", shuffle=True),
        replay_share=0.5,
        verbose=0,
    )
    of_day = -(-len(days[1]) // 20)
    assert int(grown.optimizer.iterations) == 6 + 2 * of_day


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"optimizer": "adam"}, "goes on as the model was compiled, and `optimizer` would change"),
        ({"loss": "mse", "balance": "dwa"}, "`loss`, `balance` would change that"),
        ({"replay": [1]}, "`replay` is a list; expected batches, such as `data.batches"),
        ({"replay": day(), "replay_share": 1.0}, "must lie between 0 and 1.*Received: 1.0"),
        ({"replay": day().take(0)}, "`replay` has no batch"),
        (
            {"replay": batches_of(tiny_rows())},
            "other inputs, shapes or dtypes than those of `data`",
        ),
        (
            {
                "warm_restart": True,
                "callbacks": keras.callbacks.LearningRateScheduler(lambda part, rate: rate),
            },
            "warm_restart=True, and a callback sets the learning rate",
        ),
    ],
)
def test_what_can_not_go_on_says_what_to_do(arguments, message):
    with pytest.raises(ValueError, match=message):
        fit_ranker(compiled(), day(), continue_training=True, **arguments)


@pytest.mark.one_backend
def test_a_model_that_is_not_compiled_has_nothing_to_go_on_with():
    with pytest.raises(ValueError, match="FM is not compiled.*Load it with its optimizer"):
        fit_ranker(FM(tiny.schema("none"), dim=4), day(), continue_training=True)
    with pytest.raises(ValueError, match="warm_restart=True needs continue_training=True"):
        fit_ranker(compiled(), day(), warm_restart=True)
    with pytest.raises(ValueError, match="has 2 parts with learning rates of their own"):
        fit_ranker(compiled("split"), day(), continue_training=True, learning_rate=0.1)
    model = compiled()
    model.recompile(LazyAdam(LinearRestart(0.1, 4, 0)))
    with pytest.raises(ValueError, match="is a schedule, so that a warm restart has no rate"):
        fit_ranker(model, day(), continue_training=True, warm_restart=True)
    fit_ranker(model, day(), continue_training=True, learning_rate=0.1, verbose=0)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.1)


@pytest.mark.one_backend
def test_replay_must_be_shuffled(videos):
    assert isinstance(videos, RankingData)
    model = FM(videos.schema, dim=4)
    model.compile("adam")
    today = videos.batches(videos.frame("train"))
    with pytest.raises(ValueError, match="batches of `replay` are not shuffled"):
        fit_ranker(model, today, continue_training=True, replay=today)


def test_steps_per_execution_is_one_in_parts_of_an_epoch():
    model = trained()
    model.recompile(model.optimizer, weighted_metrics=None, steps_per_execution=4)
    fit_ranker(model, day(seed=1), day(), continue_training=True, verbose=0, patience=9)
    assert model.steps_per_execution == 1
    assert int(model.optimizer.iterations) == int(by_hand("lazy", day(seed=1)).optimizer.iterations)
