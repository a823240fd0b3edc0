"""`fit_ranker`: the training recipe of the demo and the benchmarks, in one call."""

import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

import keras

from keras_infnet._backend.devices import scope_of
from keras_infnet._base.divergence_check import DivergenceCheck
from keras_infnet._keras_internals import end_schedule
from keras_infnet.training.checkpoints import Checkpoints
from keras_infnet.training.continuing import check_continues, go_on, the_optimizer, with_replay
from keras_infnet.training.group_auc_callback import GroupAUCCallback
from keras_infnet.training.lazy_adam import LazyAdam
from keras_infnet.training.policy import PolicyScore, TaskPolicy, default_policy

_INFINITE, _UNKNOWN = -1, -2
# Keras lets callbacks set a rate, but not that of a schedule.
_SETS_RATE = (keras.callbacks.LearningRateScheduler, keras.callbacks.ReduceLROnPlateau)
_RATE = 2e-3


def fit_ranker(
    model: keras.Model,
    data: Any,
    validation: Any = None,
    *,
    epochs: int = 1,
    learning_rate: float | None = None,
    optimizer: keras.optimizers.Optimizer | None = None,
    loss: Any = None,
    list_losses: Any = None,
    jit_compile: bool | str | None = None,
    balance: Any = None,
    evaluations_per_epoch: int = 2,
    policy: TaskPolicy | None = None,
    patience: int = 2,
    continue_training: bool = False,
    warm_restart: bool = False,
    replay: Any = None,
    replay_share: float = 0.2,
    callbacks: keras.callbacks.Callback | Iterable[keras.callbacks.Callback] = (),
    verbose: Any = "auto",
) -> keras.callbacks.History:
    """Compiles and trains a ranking model, and leaves it with its best weights.

    Adam whose learning rate falls linearly from `learning_rate` to 0 over all steps; a validation
    after each part of an epoch; weights restored from the validation that the policy scores best.
    Large embedding tables overfit in the second epoch, hence one epoch with validations inside.

    A model that was compiled keeps its losses, weights, metrics and the rest, but its optimizer;
    what is given here comes first. Afterwards the learning rate is `learning_rate` again, a plain
    variable that can be set, and the moments stay, so that `fit` goes on, also from a file.

    With `continue_training` a model that was trained before goes on with the next day's rows:
    nothing is compiled, its optimizer keeps moments and iterations, and the learning rate stays
    what it is.

    All batches of an epoch are seen once, in the dataset's order. What Keras's progress bars,
    history and callbacks call an epoch is one part, `ceil(batches / evaluations_per_epoch)`
    batches; the last part may be shorter.

    Args:
        model: Model with `schema`, or any model whose `compile(optimizer)` knows its losses and
            metrics.
        data: A `RankingData`, whose `train` and `validation` are used; or training batches alone, a
            batched `tf.data.Dataset` of (inputs, labels, weights) whose number of batches is known.
            They are repeated here: leave `repeat` out.
        validation: Like training batches, their number may be unknown; not with a `RankingData`.
            Without any nothing is evaluated or restored.
        epochs: Passes over the training batches.
        learning_rate: Learning rate of the first step; unused where `optimizer` is given. Defaults
            to 2e-3; with `continue_training`, to what the optimizer has.
        optimizer: Used as it is, such as `split_optimizer()`. Defaults to `LazyAdam` with linear
            decay, which is Adam but for large tables.
        loss: As in the model's `compile`. Defaults to `None`: as the model was compiled, or else
            as the schema says.
        list_losses: As in the model's `compile`. Defaults to `None`: as the model was compiled.
        jit_compile: As in the model's `compile`. Defaults to `None`: as the model was compiled.
        balance: As in the `compile` of a `RankingModel`. Defaults to `None`: as the model was
            compiled.
        evaluations_per_epoch: Validations in one epoch, at equal distances.
        policy: Which validation is best. Defaults to the highest mean AUC of the binary tasks, or,
            without one, to what the first task is judged by, such as the lowest mean squared error.
        patience: Training stops after so many validations without a better one.
        continue_training: Whether the model's own optimizer goes on, at a constant learning rate.
        warm_restart: Whether, where training continues, the learning rate falls linearly from
            `learning_rate` to 0 over all steps again.
        replay: Shuffled batches of earlier days, or a `RankingData`, whose `train` is used: some of
            them are mixed in, so that what is old is not forgotten. A pass takes all batches of
            `data` in their order and the first of `replay`, whole and evenly between them; the
            seed of its order decides which. Defaults to none.
        replay_share: Share of all batches that are of `replay`.
        callbacks: Further Keras callbacks, or one. They see `val_score`, except
            `GroupAUCCallback`s, which come before the policy's score. With `Checkpoints`, a killed
            run that is started again goes on where it was, best weights and patience included. With
            a `LearningRateScheduler` or `ReduceLROnPlateau`, the learning rate starts at
            `learning_rate` and does not fall by itself; a part of an epoch is what they call one.
        verbose: As in `keras.Model.fit`.

    Returns:
        The history, with one entry a validation.

    Raises:
        ValueError: The data are no `tf.data.Dataset`; the number of training batches is unknown,
            infinite or 0; the validation is infinite; a number is out of range; there is a policy
            and no validation; there are several `Checkpoints`; training is to continue, and the
            model is not compiled, or something is given that compiling decides; or the batches of
            `replay` are not shuffled, or not like those of `data`.
        FloatingPointError: The loss is NaN or infinite; see `DivergenceCheck`.

    Example:
        ```python
        model = keras_infnet.INFNet(data.schema)
        policy = keras_infnet.training.TaskPolicy(weights={"click": 1, "like": 2})
        history = keras_infnet.fit_ranker(model, data, policy=policy)
        history.history["val_score"]  # one value each half epoch
        ```
    """
    _check_positive(epochs=epochs, evaluations_per_epoch=evaluations_per_epoch, patience=patience)
    _check_rate(learning_rate)
    given = {"loss": loss, "list_losses": list_losses, "balance": balance}
    given |= {"jit_compile": jit_compile}
    if continue_training:
        check_continues(model, {"optimizer": optimizer, **given})
    train, validation = _train_and_validation(data, validation)
    batches = check_batches("fit_ranker", train, validation)
    if replay is not None:
        train, batches = with_replay(train, batches, replay, replay_share)
    if validation is None and policy is not None:
        raise ValueError("fit_ranker: a policy needs validation data. Received: validation=None")
    total = epochs * batches
    steps = batches if validation is None else math.ceil(batches / evaluations_per_epoch)
    before, after, checkpoints = _partition(callbacks)
    sets_rate = any(isinstance(callback, _SETS_RATE) for callback in after)
    _check_restart(warm_restart, continue_training, sets_rate)
    before.insert(0, DivergenceCheck())
    if validation is not None:
        default = default_policy(getattr(model, "schema", None))
        before.append(PolicyScore(default if policy is None else policy))
        after.append(
            keras.callbacks.EarlyStopping(
                "val_score", mode="max", patience=patience, restore_best_weights=True
            )
        )
    batches_of_fit, done = train.repeat(epochs), 0
    if checkpoints is not None:
        checkpoints.adopt(after[-1:] if validation is not None else [])
        batches_of_fit, done = checkpoints.batches(train), checkpoints.step
    if total % steps:
        after.append(_StopAtLastBatch(total, done))
    if continue_training:
        falls_from = go_on(model, learning_rate, total if warm_restart else None)
    else:
        falls_from = _start(model, optimizer, given, learning_rate, total, sets_rate)
    try:
        return model.fit(
            batches_of_fit,
            epochs=math.ceil(total / steps),
            steps_per_epoch=steps,
            validation_data=validation,
            callbacks=before + after + ([] if checkpoints is None else [checkpoints]),
            shuffle=False,
            verbose=verbose,
        )
    finally:
        if falls_from is not None:
            _end_decay(model, falls_from)


class _StopAtLastBatch(keras.callbacks.Callback):
    """Ends the last, shorter part: Keras warns of lacking data otherwise."""

    model: Any  # Keras sets it before training begins.

    def __init__(self, total: int, seen: int) -> None:
        super().__init__()
        self.total = total
        self.seen = seen

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        # At the beginning: Keras trains this batch and then stops, and JAX stays asynchronous.
        self.seen += 1
        if self.seen == self.total:
            self.model.stop_training = True


def _start(
    model: Any,
    optimizer: Any,
    given: dict[str, Any],
    learning_rate: float | None,
    steps: int,
    sets_rate: bool,
) -> float | None:
    """Compiles a model for a new training; the rate that falls over its steps, if one does."""
    rate = _RATE if learning_rate is None else float(learning_rate)
    falls = optimizer is None and not sets_rate
    if optimizer is None:
        decay = keras.optimizers.schedules.PolynomialDecay(rate, steps, 0.0)
        optimizer = LazyAdam(decay if falls else rate)
    _compile(model, optimizer, given)
    return rate if falls else None


def _compile(model: Any, optimizer: Any, given: dict[str, Any]) -> None:
    """Compiles a model, and keeps what a `RankingModel` was compiled with before."""
    changes = {name: value for name, value in given.items() if value is not None}
    if hasattr(model, "recompile"):
        # Parts of an epoch end at any step.
        model.recompile(optimizer, **changes, steps_per_execution=1)
    else:
        model.compile(optimizer, **changes)


def _end_decay(model: Any, learning_rate: float) -> None:
    """What trains next starts at the first rate, not at the last."""
    with scope_of(model):
        end_schedule(the_optimizer(model), float(learning_rate))
    # The schedule is a part of the step that was compiled.
    model.train_function = None


def _train_and_validation(data: Any, validation: Any) -> tuple[Any, Any]:
    """The batches of a `RankingData`, or those given."""
    if hasattr(data, "cardinality") or not hasattr(data, "train"):
        return data, validation
    if validation is not None:
        raise ValueError(
            "fit_ranker: the data have a validation of their own, and `validation` is given too. "
            "Leave it out, or pass `data.train` and `validation`."
        )
    return data.train, data.validation


def check_batches(who: str, train: Any, validation: Any) -> int:
    """The number of training batches, if they and the validation can be trained on.

    Args:
        who: Name of the function or class, for messages.
        train: Training batches.
        validation: Validation batches, or `None`.

    Returns:
        The number.

    Raises:
        ValueError: One is no `tf.data.Dataset`, never ends or has no batch, or the number of
            training batches is unknown.
    """
    for name, data in (("data", train), ("validation", validation)):
        if data is not None and not hasattr(data, "cardinality"):
            raise ValueError(
                f"{who}: `{name}` is a {type(data).__name__}; expected a batched "
                "`tf.data.Dataset`, such as `Batches`, or a `RankingData`."
            )
    if validation is not None and int(validation.cardinality()) == _INFINITE:
        raise ValueError(f"{who}: the validation data never end. Leave `repeat` out.")
    if validation is not None and int(validation.cardinality()) == 0:
        raise ValueError(f"{who}: the validation data have no batch. Check the split's dates.")
    batches = int(train.cardinality())
    if batches == _INFINITE:
        raise ValueError(
            f"{who}: the training data never end. Leave `repeat` out: epochs repeat them."
        )
    if batches == _UNKNOWN:
        raise ValueError(
            f"{who}: the number of training batches is unknown, and the learning rate falls to "
            "0 over all of them. Count them, and give the dataset the number: "
            "`train.apply(tf.data.experimental.assert_cardinality(batches))`."
        )
    if batches == 0:
        raise ValueError(f"{who}: the training data have no batch. Check the split's dates.")
    return batches


def _check_positive(**arguments: int) -> None:
    for name, value in arguments.items():
        if not isinstance(value, Integral) or value < 1:
            raise ValueError(
                f"fit_ranker: `{name}` must be a whole number, 1 or more. Received: {value!r}"
            )


def _check_rate(learning_rate: float | None) -> None:
    if learning_rate is None:
        return
    if not isinstance(learning_rate, Real) or not 0 < learning_rate < math.inf:
        raise ValueError(
            f"fit_ranker: `learning_rate` must be a number above 0. Received: {learning_rate!r}"
        )


def _check_restart(warm_restart: bool, continue_training: bool, sets_rate: bool) -> None:
    if warm_restart and not continue_training:
        raise ValueError(
            "fit_ranker: warm_restart=True needs continue_training=True; a new training begins at "
            "`learning_rate` in any case."
        )
    if warm_restart and sets_rate:
        raise ValueError(
            "fit_ranker: warm_restart=True, and a callback sets the learning rate. Leave one out."
        )


def _partition(
    callbacks: keras.callbacks.Callback | Iterable[keras.callbacks.Callback],
) -> tuple[list[keras.callbacks.Callback], list[keras.callbacks.Callback], Checkpoints | None]:
    """Callbacks that write what the policy may read, those that may read its score, checkpoints."""
    if isinstance(callbacks, keras.callbacks.Callback):
        callbacks = [callbacks]
    callbacks = list(callbacks)
    before: list[keras.callbacks.Callback] = [
        callback for callback in callbacks if isinstance(callback, GroupAUCCallback)
    ]
    checkpoints = [callback for callback in callbacks if isinstance(callback, Checkpoints)]
    if len(checkpoints) > 1:
        raise ValueError(f"fit_ranker: one `Checkpoints` at most. Received: {len(checkpoints)}")
    after = [callback for callback in callbacks if callback not in [*before, *checkpoints]]
    return before, after, checkpoints[0] if checkpoints else None
