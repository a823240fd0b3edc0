"""Expert shares in training: what the gates of a model listen to, epoch by epoch."""

from collections.abc import Collection
from typing import Any

import keras
import numpy as np

from keras_infnet._base.did_you_mean import check_known


class ExpertSharesCallback(keras.callbacks.Callback):
    """Adds `share_{gate}_{expert}`, a mean over rows, to the logs at each epoch's end.

    The shares of a gate sum to 1; gates and experts have the names of `model.expert_gates`. With
    several members it is `share_member_{m}_{gate}_{expert}`. The values are in the `History` of
    `fit`, in logs of other callbacks that come later, and in the progress bar.

    Args:
        dataset: Batched, finite `tf.data.Dataset` as for `fit`; labels and weights are not read.
            Some thousands of rows are enough.
        gates: Gates to measure, such as `["level_1_like"]`. Defaults to `None`: all.

    Raises:
        ValueError: The model has no experts or no gate of that name, or the dataset has no batch.

    Example:
        ```python
        shares = keras_infnet.callbacks.ExpertSharesCallback(validation.take(10), gates=["like"])
        history = keras_infnet.models.MMoE(schema).fit(train, callbacks=[shares]).history
        history["share_like_expert_0"]
        ```
    """

    model: Any  # Keras sets it before training begins.

    def __init__(self, dataset: Any, gates: Collection[str] | None = None) -> None:
        super().__init__()
        self.dataset = dataset
        self.gates = None if gates is None else tuple(gates)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        known = getattr(self.model, "expert_gates", None)
        if known is None:
            raise ValueError(
                f"ExpertSharesCallback: {type(self.model).__name__} has no experts; expected a "
                "model that has, such as MMoE, OMoE, PLE or STEM. Leave the callback out."
            )
        for gate in self.gates or ():
            where = type(self.model).__name__
            check_known(gate, known, f"ExpertSharesCallback: no gate `{gate}` in {where}.")
        self.model.check_inputs("fit, ExpertSharesCallback", self.dataset)
        members = range(self.model.config.members)
        self._functions = [self.model.expert_shares_function(member) for member in members]

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if logs is None:
            return
        for member, function in enumerate(self._functions):
            prefix = f"share_member_{member}" if len(self._functions) > 1 else "share"
            shares = function(self.dataset)
            for gate in shares if self.gates is None else self.gates:
                for expert, values in shares[gate].items():
                    logs[f"{prefix}_{gate}_{expert}"] = float(np.mean(values, dtype="float64"))
