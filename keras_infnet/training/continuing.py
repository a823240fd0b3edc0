"""Training that goes on: the optimizer's moments stay, its learning rate is set or starts anew."""

from typing import Any

import keras
from keras import ops

from keras_infnet._backend.devices import scope_of
from keras_infnet._backend.mixed_batches import mixed_batches
from keras_infnet._keras_internals import end_schedule, has_schedule


@keras.saving.register_keras_serializable(package="keras_infnet")
class LinearRestart(keras.optimizers.schedules.LearningRateSchedule):
    """`rate (1 - (step - first) / steps)`, at least 0: a decay from the step `first` on.

    Args:
        rate: Learning rate of the step `first`.
        steps: Steps until it is 0.
        first: Step, as the optimizer counts them, at which it begins.
    """

    def __init__(self, rate: float, steps: int, first: int) -> None:
        super().__init__()
        self.rate, self.steps, self.first = rate, steps, first

    def __call__(self, step: Any) -> Any:
        done = ops.cast(step - self.first, "float32") / self.steps
        return self.rate * (1 - ops.clip(done, 0.0, 1.0))

    def get_config(self) -> dict[str, Any]:
        return {"rate": self.rate, "steps": self.steps, "first": self.first}


def check_continues(model: Any, given: dict[str, Any]) -> None:
    """A ValueError unless a model is compiled, and nothing is given that compiling decides.

    Args:
        model: The model.
        given: Arguments by name, `None` where they were left out.
    """
    if not getattr(model, "compiled", False) or getattr(model, "optimizer", None) is None:
        raise ValueError(
            f"fit_ranker: continue_training=True, and {type(model).__name__} is not compiled, so "
            "that there is no optimizer to go on with. Load it with its optimizer, or train it "
            "first without continue_training."
        )
    names = [f"`{name}`" for name, value in given.items() if value is not None]
    if names:
        raise ValueError(
            f"fit_ranker: continue_training=True goes on as the model was compiled, and "
            f"{', '.join(names)} would change that. Leave it out, or call "
            "`model.recompile(model.optimizer, ...)` before."
        )


def go_on(model: Any, learning_rate: float | None, restart_over: int | None) -> float | None:
    """Gives the model's optimizer its learning rate; moments and iterations stay.

    Args:
        model: A compiled model.
        learning_rate: The rate; `None`: what the optimizer has.
        restart_over: Steps over which it falls to 0; `None`: it stays.

    Returns:
        The rate at which a restarted schedule began; `None` without one.

    Raises:
        ValueError: The optimizer has several rates, of which one can't be set, or its rate is a
            schedule that a restart can't begin at.
    """
    if model.steps_per_execution != 1:
        # Parts of an epoch end at any step.
        model.steps_per_execution = 1
        model.train_function = None
    if learning_rate is None and restart_over is None:
        return None
    optimizer = the_optimizer(model)
    if learning_rate is None:
        if has_schedule(optimizer):
            raise ValueError(
                "fit_ranker: the optimizer's learning rate is a schedule, so that a warm restart "
                "has no rate to begin at. Give `learning_rate`."
            )
        learning_rate = float(ops.convert_to_numpy(optimizer.learning_rate))
    with scope_of(model):
        if has_schedule(optimizer):
            end_schedule(optimizer, float(learning_rate))
            model.train_function = None
        if restart_over is None:
            optimizer.learning_rate = float(learning_rate)
            return None
        first = int(ops.convert_to_numpy(optimizer.iterations))
        optimizer.learning_rate = LinearRestart(float(learning_rate), restart_over, first)
    model.train_function = None
    return learning_rate


def the_optimizer(model: Any) -> Any:
    """The optimizer that has the learning rate, below one that scales losses."""
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    parts = getattr(optimizer, "optimizers", None)
    if parts is not None:
        raise ValueError(
            f"fit_ranker: the optimizer has {len(parts)} parts with learning rates of their own "
            f"({', '.join(type(part).__name__ for part in parts)}). Leave `learning_rate` and "
            "`warm_restart` out, and set those of `model.optimizer.optimizers`."
        )
    return optimizer


def with_replay(train: Any, batches: int, replay: Any, share: float) -> tuple[Any, int]:
    """Training batches with some of earlier days between them, and how many there are.

    Args:
        train: Training batches.
        batches: Their number.
        replay: Batches of earlier days, or what has them as `train`.
        share: Share of all batches that are of earlier days.

    Raises:
        ValueError: They are no batches, none, not shuffled, or of another kind; or the share is
            out of range.
    """
    if not 0 < share < 1:
        raise ValueError(
            f"fit_ranker: `replay_share` must lie between 0 and 1, both left out. Received: {share}"
        )
    found = replay
    if not hasattr(replay, "cardinality") and hasattr(replay, "train"):
        found = replay.train
    if not hasattr(found, "cardinality"):
        raise ValueError(
            f"fit_ranker: `replay` is a {type(replay).__name__}; expected batches, such as "
            "`data.batches(rows, shuffle=True)`, or a `RankingData`, whose `train` is used."
        )
    if int(found.cardinality()) == 0:
        raise ValueError("fit_ranker: `replay` has no batch. Leave it out, or check its days.")
    if not getattr(found, "shuffled", True):
        raise ValueError(
            "fit_ranker: the batches of `replay` are not shuffled, so that its oldest rows alone "
            "would be taken. Make them with shuffle=True."
        )
    number = max(1, round(share / (1 - share) * batches))
    try:
        return mixed_batches(train, batches, found, number), batches + number
    except TypeError as error:
        raise ValueError(
            "fit_ranker: the batches of `replay` have other inputs, shapes or dtypes than those of "
            f"`data`: {error}. Make both from one encoder, with the same arguments."
        ) from error
