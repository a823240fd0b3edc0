"""What a first step costs: when TensorFlow's are compiled by XLA, and no run for shapes alone."""

import keras
import numpy as np
import pytest

from keras_infnet._backend import steps_by_worth
from keras_infnet._backend.steps_by_worth import StepsByWorth, StepsToCome
from keras_infnet._keras_internals import layers_inside, make_training_variables
from keras_infnet.layers import FusedEmbedding
from keras_infnet.models import MMoE, SharedBottom
from tests import tiny

tensorflow_alone = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="JAX compiles every step"
)
PLAIN, BY_XLA = "plain", "XLA"


class Timed(StepsByWorth):
    """Steps that take given seconds, the first of a kind more, and say of what kind they are."""

    def __init__(self, monkeypatch, plain=0.1, by_xla=0.04, tracing=2.0, compiling=5.0):
        super().__init__(lambda batch: batch, trains=True)
        self.clock, self.kinds, self.seen = 0.0, [], set()
        self.seconds = {False: (tracing, plain), True: (compiling, by_xla)}
        monkeypatch.setattr(steps_by_worth.time, "perf_counter", lambda: self.clock)

    def _traced(self, by_xla, batch, batches):
        first, step = self.seconds[by_xla]
        if not by_xla:
            self.clock += first

        def function(batch):
            if by_xla and batch.shape not in self.seen:
                self.clock += first
                self.seen.add(batch.shape)
            self.clock += step
            self.kinds.append(BY_XLA if by_xla else PLAIN)

        return function

    def take(self, steps, rows=8):
        """The kinds of so many steps."""
        before = len(self.kinds)
        batches = iter([np.zeros((rows, 2))] * steps)
        for _ in range(steps):
            self(batches)
        return self.kinds[before:]


@tensorflow_alone
def test_few_steps_stay_without_xla(monkeypatch):
    steps = Timed(monkeypatch)
    # 3 times the first call, of 2.1 seconds, is 6.3; 240 steps save 240 * 0.1 * 0.25 = 6.
    steps.expect(240)
    assert steps.take(240) == [PLAIN] * 240


@tensorflow_alone
def test_many_steps_are_compiled_once_five_are_timed(monkeypatch):
    steps = Timed(monkeypatch)
    steps.expect(300)
    assert steps.take(300) == [PLAIN] * 6 + [BY_XLA] * 294


@tensorflow_alone
def test_steps_that_xla_makes_slower_go_back(monkeypatch):
    steps = Timed(monkeypatch, by_xla=0.2)
    steps.expect(300)
    # The first with XLA compiles, and five are timed.
    assert steps.take(300) == [PLAIN] * 6 + [BY_XLA] * 6 + [PLAIN] * 288


@tensorflow_alone
def test_where_nobody_knows_as_many_come_as_have_been(monkeypatch):
    # 241 * 0.1 * 0.25 = 6.025, of 2 seconds times 3 = 6.
    steps = Timed(monkeypatch, tracing=1.9001)
    assert steps.take(300) == [PLAIN] * 241 + [BY_XLA] * 59


@tensorflow_alone
def test_earlier_fits_count(monkeypatch):
    steps, kinds = Timed(monkeypatch), []
    for _ in range(4):
        steps.begin_fit()
        steps.expect(100)
        kinds.append(steps.take(100))
    # In the third, 200 earlier steps and 100 to come; in the second, 100 and 100.
    assert kinds[1] == [PLAIN] * 100 and kinds[2] == kinds[3] == [BY_XLA] * 100


@tensorflow_alone
def test_a_last_smaller_batch_is_not_compiled(monkeypatch):
    steps = Timed(monkeypatch)
    for _ in range(10):
        steps.expect(1000)
        steps.take(99)
        assert steps.take(1, rows=3) == [PLAIN]
    assert steps.take(1) == [BY_XLA]


@tensorflow_alone
def test_what_compiling_took_decides_for_the_next_shape(monkeypatch):
    steps = Timed(monkeypatch, compiling=50.0)
    steps.expect(2000)
    assert BY_XLA in steps.take(100) and steps.take(100, rows=3) == [PLAIN] * 100


class Fit:
    """What a `StepsToCome` tells within a `fit` of so many epochs and steps of each."""

    def __init__(self, epochs, steps, callbacks=()):
        self.train_function, self.told = StepsByWorth(None), []
        self.train_function.expect = self.told.append
        told = StepsToCome(callbacks)
        told.set_model(self)
        told.set_params({"epochs": epochs, "steps": steps})
        told.on_train_begin()
        for epoch in range(epochs):
            told.on_epoch_begin(epoch)
            self.train_function.done += steps or 7
        told.on_train_end()


def test_all_steps_of_a_fit_are_sure():
    assert Fit(epochs=3, steps=10).told == [30, 20, 10, None]


def test_training_that_may_stop_is_sure_of_its_patience_and_as_likely_to_go_on_as_it_has():
    stopping = keras.callbacks.EarlyStopping(patience=2)
    told = Fit(epochs=9, steps=10, callbacks=[stopping]).told
    assert told == [30, 30, 30, 30, 40, 40, 30, 20, 10, None]


def test_after_an_epoch_its_steps_are_known():
    assert Fit(epochs=3, steps=None).told == [None, 14, 7, None]


def fitted(compiled, **options):
    keras.utils.set_random_seed(3)
    schema = tiny.schema()
    model = MMoE(schema, dim=4, num_experts=2, expert_dims=(4,), dropout=0.3)
    model.compile(keras.optimizers.Adam(0.01), jit_compile=compiled)
    x = tiny.inputs(schema, batch=70)
    y, w = tiny.labels(schema, batch=70)
    history = model.fit(x, y, 8, 3, 0, sample_weight=w, shuffle=False, **options).history
    found = [model.evaluate(x, y, 8, 0, w) for _ in range(2)]
    predicted = [model.predict(x, batch_size=8, verbose=0) for _ in range(2)]
    return model, [history, found, predicted]


@tensorflow_alone
def test_training_evaluation_and_prediction_give_the_same_numbers(monkeypatch):
    _, expected = fitted(False)
    monkeypatch.setattr(steps_by_worth, "_COMPILING", 0.0)
    monkeypatch.setattr(steps_by_worth, "_TIMED", 2)
    model, found = fitted("auto")
    functions = model.train_function, model.test_function, model.predict_function
    assert all(any(s.compiled for s in f._shapes.values()) for f in functions)
    # Batches of 8 rows, and the last of 6.
    assert all(len(function._shapes) == 2 for function in functions)
    leaves = zip(keras.tree.flatten(found), keras.tree.flatten(expected), strict=True)
    for value, other in leaves:
        np.testing.assert_allclose(value, other, rtol=1e-4, atol=1e-6)


@tensorflow_alone
@pytest.mark.parametrize("compiled", [True, False])
def test_what_is_said_is_not_chosen(compiled):
    model = SharedBottom(tiny.schema(), dim=4)
    model.compile("adam", jit_compile=compiled)
    model.make_train_function()
    model.make_predict_function()
    assert not isinstance(model.train_function, StepsByWorth)
    assert not isinstance(model.predict_function, StepsByWorth)


@pytest.mark.parametrize("members", [1, 2])
def test_variables_of_training_are_made_without_a_run_of_the_graph(members):
    schema = tiny.schema()
    model = SharedBottom(schema, dim=4, members=members)
    model.compile("adam")
    x, (y, w) = tiny.inputs(schema, batch=8), tiny.labels(schema, batch=8)
    called, table = [], next(x for x in layers_inside(model) if isinstance(x, FusedEmbedding))
    call = table.call

    def noted(*args, **kwargs):
        called.append(table.name)
        return call(*args, **kwargs)

    table.call = noted
    symbolic = keras.tree.map_structure(lambda v: keras.KerasTensor(v.shape, v.dtype), (x, y, w))
    make_training_variables(model, symbolic)
    assert not called and model.optimizer.built
    made = paths_of_training(model)
    model.fit(x, y, batch_size=8, sample_weight=w, verbose=0)
    assert called and made[1]
    # The step itself makes none.
    assert paths_of_training(model) == made


def paths_of_training(model):
    return [[v.path for v in of] for of in (model.optimizer.variables, model.metrics_variables)]
