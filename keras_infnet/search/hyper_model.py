"""Hypermodel: INFNet as a function of keras-tuner's hyperparameters."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from keras_infnet.models.infnet import INFNet
from keras_infnet.search.space import SearchSpace
from keras_infnet.training.lazy_adam import LazyAdam
from keras_infnet.training.optimizers import split_optimizer

# Of the space, and no arguments of the model: `form` is the name of one that makes it.
_TRAINING = ("learning_rate", "table_rate_factor", "form")


class INFNetHyperModel:
    """A hypermodel for keras-tuner: from a point of a search space to a compiled `INFNet`.

    keras-tuner's tuners take it wherever they take a hypermodel; `ProxySearch` adds our training
    recipe, the inference time and the records.

    Args:
        schema: A fitted schema.
        space: Which values are tried. Defaults to `SearchSpace()`.
        fixed: Further arguments of `INFNet`, the same in every trial. Defaults to `None`: none.

    Raises:
        ValueError: A value of the space, or an argument of `fixed`, is not possible for the model.

    Example:
        ```python
        tuner = keras_tuner.RandomSearch(
            keras_infnet.search.INFNetHyperModel(data.schema),
            objective=keras_tuner.Objective("val_click_auc", "max"),
        )
        tuner.search(data.train, validation_data=data.validation, shuffle=False)
        ```
    """

    def __init__(
        self,
        schema: Any,
        space: SearchSpace | None = None,
        fixed: Mapping[str, Any] | None = None,
    ) -> None:
        self.schema = schema
        self.space = SearchSpace() if space is None else space
        self.fixed = dict(fixed or {})
        self._check()

    def __call__(self, hp: Any) -> INFNet:
        """The compiled model of a trial; keras-tuner calls it.

        Args:
            hp: `keras_tuner.HyperParameters`.

        Returns:
            The model, compiled with a constant learning rate.
        """
        values = self.declare(hp)
        model = self.build(values)
        model.compile(self.optimizer(values, steps=None))
        return model

    def declare(self, hp: Any) -> dict[str, Any]:
        """Makes the hyperparameters known to keras-tuner.

        Args:
            hp: `keras_tuner.HyperParameters`.

        Returns:
            Hyperparameter -> its value in this trial.
        """
        return {
            name: hp.Choice(name, list(values), ordered=name != "form")
            for name, values in self.space.items()
        }

    def build(self, values: Mapping[str, Any]) -> INFNet:
        """The model, not compiled.

        Args:
            values: Hyperparameter -> value, as `declare` returns them.

        Returns:
            The model.
        """
        make = INFNet if values["form"] == "default" else getattr(INFNet, values["form"])
        searched = {k: v for k, v in values.items() if k not in _TRAINING}
        return make(self.schema, **{**self.fixed, **searched})

    def optimizer(self, values: Mapping[str, Any], steps: int | None) -> keras.optimizers.Optimizer:
        """Adam whose learning rates fall linearly to 0, as in `fit_ranker`.

        Args:
            values: Hyperparameter -> value.
            steps: Number of training steps; `None`: the learning rates stay.

        Returns:
            The optimizer; one for tables and dense weights each where `table_rate_factor` is
            not 1.
        """

        def adam(rate: float) -> keras.optimizers.Optimizer:
            made = LazyAdam(rate)
            if steps is not None:
                first: Any = keras.initializers.Constant(rate)
                variable = made.add_variable((), initializer=first, name="first_rate")
                made.learning_rate = FallingRate(variable, steps)
            return made

        rate, factor = values["learning_rate"], values["table_rate_factor"]
        return adam(rate) if factor == 1 else split_optimizer(adam(rate * factor), adam(rate))

    def _check(self) -> None:
        """Asks the model for each value, with the first values of the others."""
        searched = {name: v for name, v in self.space.items() if name not in _TRAINING}
        both = [name for name, _ in self.space.items() if name in self.fixed]
        if both:
            raise ValueError(
                f"INFNetHyperModel: {', '.join(both)} stands in `fixed` and in the search space. "
                "Give it one value in the space instead, such as `dim=(32,)`."
            )
        first = {name: values[0] for name, values in searched.items()}
        for point in ({**first, name: v} for name, values in searched.items() for v in values):
            given = {**self.fixed, **point}
            try:
                INFNet.Config.checked("INFNet", given)
            except ValueError as error:
                shown = ", ".join(f"{name}={value!r}" for name, value in given.items())
                raise ValueError(
                    "INFNetHyperModel: with `fixed` the space has "
                    f"{shown}, which the model does not allow. {error}"
                ) from error


class FallingRate(keras.optimizers.schedules.LearningRateSchedule):
    """`rate * (1 - step / steps)`, and 0 beyond.

    Args:
        rate: The first rate, as a variable of the optimizer: steps that differ in it alone are one
            program, which is compiled once.
        steps: Steps over which it falls.
    """

    def __init__(self, rate: keras.Variable, steps: int) -> None:
        self.rate, self.steps = rate, steps

    def __call__(self, step: Any) -> Any:
        left = 1 - ops.cast(step, "float32") / self.steps
        return ops.convert_to_tensor(self.rate) * ops.maximum(left, 0.0)

    def get_config(self) -> dict[str, Any]:
        """Its numbers; a variable is not written."""
        return {"rate": float(self.rate), "steps": self.steps}
