"""Models with experts: how the shares of their gates are read, and what they have in common."""

import functools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_infnet.layers.expert_gate import ExpertGate
from keras_infnet.models.ranking_model import RankingModel

_GATE = "_gate"


class ExpertModel(RankingModel):
    """A model whose tasks read mixtures of experts, by `mixture`."""

    @property
    def expert_gates(self) -> dict[str, tuple[str, ...]]:
        """Names of the experts of each gate; all members have the same."""
        return {name: gate.expert_names for name, gate in self._gates(0).items()}

    def expert_shares(self, inputs: Any, member: int = 0) -> dict[str, dict[str, np.ndarray]]:
        """How much of each expert each gate takes, for each row.

        Args:
            inputs: Dict of packed inputs, or a batched `tf.data.Dataset` of them, as for `fit`;
                labels and weights are not read.
            member: Index of the network, of a model with several members. Defaults to `0`.

        Returns:
            `{gate: {expert: (rows,)}}`, float32 arrays, with the names of `expert_gates`; the
            shares of a gate sum to 1 in each row.

        Raises:
            ValueError: The model has no such member, or the dataset no batch.
        """
        return self.expert_shares_function(member)(inputs)

    def expert_shares_function(self, member: int = 0) -> Callable[[Any], dict[str, dict]]:
        """`expert_shares` of one member as a function, compiled once for all calls.

        Args:
            member: Index of the network, of a model with several members. Defaults to `0`.

        Returns:
            Function of inputs or a dataset; it reads the weights of the time of the call.

        Raises:
            ValueError: The model has no such member.
        """
        gates = self._gates(member)
        tensors = {name: gate.output[1] for name, gate in gates.items()}
        graph = self.reading(tensors, member)
        graph.run_eagerly = self.run_eagerly
        names = {name: gate.expert_names for name, gate in gates.items()}
        return functools.partial(_shares, graph, names)

    def _gates(self, member: int) -> dict[str, ExpertGate]:
        layers = self.member(member).layers
        return {g.name.removesuffix(_GATE): g for g in layers if isinstance(g, ExpertGate)}


def mixture(x: Any, experts: Any, names: Sequence[str], name: str, **options: Any) -> Any:
    """Mixture `(batch, dim)` of experts by a gate on `x`, whose shares are read under `name`."""
    output, _ = ExpertGate(names, name=f"{name}{_GATE}", **options)(x, experts)
    return output


def check_task_names(model: str, task_names: Collection[str]) -> None:
    """Raises a ValueError for a task with the name of what all tasks share."""
    if "shared" in task_names:
        raise ValueError(
            f'{model}: a task is called "shared", as the experts of all tasks are. Rename the task.'
        )


def _shares(
    graph: keras.Model, names: Mapping[str, Sequence[str]], inputs: Any
) -> dict[str, dict[str, np.ndarray]]:
    """Shares by gate and expert, from a graph with an output `(batch, experts)` for each gate."""
    parts = [graph.predict_on_batch(x) for x in _batches(inputs)]
    if not parts:
        raise ValueError("expert_shares: the dataset has no batch.")
    shares = {gate: np.concatenate([part[gate] for part in parts]) for gate in names}
    return {
        gate: dict(zip(experts, shares[gate].T.astype("float32"), strict=True))
        for gate, experts in names.items()
    }


def _batches(inputs: Any) -> Iterable[Any]:
    if isinstance(inputs, Mapping):
        return [inputs]
    return (keras.utils.unpack_x_y_sample_weight(b)[0] for b in inputs.as_numpy_iterator())
