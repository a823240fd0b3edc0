"""How INFNet's tensors are read: attention, gates, proxies and heads, averaged over rows."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import pandas as pd
from keras import ops

from keras_infnet.models.infnet import INFNet, tasks_apart

_BATCH = 512
_GROUPS = ("tasks", "task_proxies", "candidate_proxy", "field_proxies", "sequence_proxies")
# What heads read after the task token, in this order.
_HEAD_GROUPS = (
    "field_proxies",
    "sequence_proxies",
    "task_proxies",
    "candidate_proxy",
)

Means = dict[tuple, np.ndarray]


class InfnetReader:
    """Reads what an INFNet does on rows; it is compiled once, and reads any number of times.

    Args:
        model: The model.
    """

    def __init__(self, model: INFNet) -> None:
        self.names, self._model = TokenNames(model), model
        self._fields = list(model.schema.field_names)
        self._readings = [_reading(model, member) for member in range(model.config.members)]

    def attention(self, inputs: Mapping[str, Any]) -> pd.DataFrame:
        """Attention of each token in each block, averaged over heads and rows.

        Args:
            inputs: Packed inputs of the rows.

        Returns:
            Index `(member, block, group, token)`, columns of `TokenNames.memories`; NaN where a
            group does not read a memory. Without heterogeneous flow it is empty.
        """
        return self._attention_table(self._means(inputs))

    def tables(self, inputs: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
        """Tables by name: `attention`, `gates`, `field_proxies`, `sequence_proxies` and `heads`.

        Args:
            inputs: Packed inputs of the rows.

        Returns:
            The tables that `Explanation` describes; one is empty where the model has no such part.
        """
        means, names = self._means(inputs), self.names
        norms = _table(means, "fields", ("member", "proxy"), self._fields, names["field_proxies"])
        heads = pd.MultiIndex.from_tuples(names.head_tokens, names=("group", "token"))
        events = pd.DataFrame()
        if ("events",) in means:
            proxies = pd.Index(names["sequence_proxies"], name="proxy")
            columns = pd.MultiIndex.from_tuples(names.memories["history"])
            events = pd.DataFrame(means["events",], proxies, columns)
        return {
            "attention": self._attention_table(means),
            "gates": _table(means, "gates", ("member", "block", "tokens")),
            "field_proxies": norms.div(norms.sum(axis=1), axis=0),
            "sequence_proxies": events,
            "heads": _table(means, "heads", ("member", "task"), heads),
        }

    def _means(self, inputs: Mapping[str, Any]) -> Means:
        """Means over the rows by (what, member, ...)."""
        total: Means = {}
        rows = len(next(iter(inputs.values())))
        for start in range(0, rows, _BATCH):
            part = {name: values[start : start + _BATCH] for name, values in inputs.items()}
            for member, reading in enumerate(self._readings):
                values: Any = keras.tree.map_structure(_as_array, reading.predict_on_batch(part))
                for key, summed in self._sums(member, values):
                    total[key] = total.get(key, 0) + summed
        return {key: summed / rows for key, summed in total.items()}

    def _sums(self, member: int, values: Mapping[str, Any]) -> Iterator[tuple[tuple, np.ndarray]]:
        """Sums over the rows of a batch, by (what, member, ...)."""
        for block, found in values.get("blocks", {}).items():
            for memory, groups in found["attention"].items():
                for group, weights in groups.items():
                    yield ("attention", member, int(block), group, memory), weights.sum(0)
            for tokens, gate in found["gates"].items():
                yield ("gates", member, int(block), tokens), gate.sum(0)
        network = self._model.member(member)
        if "fields" in values:
            kernel = _as_array(network.get_layer("field_proxies").kernel)
            fields = values["fields"].reshape(len(values["fields"]), len(self._fields), -1)
            yield ("fields", member), field_norm_sums(fields, kernel)
        for task, x in values["heads"].items():
            kernel = _as_array(network.get_layer(f"{task}_head").hidden.kernel)
            yield ("heads", member, task), head_share_sums(x, kernel, self.names.head_parts)
        if member == 0 and "events" in values:
            yield ("events",), _event_weight_sums(values["events"])

    def _attention_table(self, means: Means) -> pd.DataFrame:
        found: dict[tuple, dict[str, np.ndarray]] = {}
        for (what, *place), weights in means.items():
            if what == "attention":
                *tokens, memory = place
                found.setdefault(tuple(tokens), {})[memory] = weights
        if not found:
            return pd.DataFrame()
        names, columns = self.names, self.names.memories
        places = sorted(found, key=lambda place: (*place[:2], _GROUPS.index(place[2])))
        memories = [memory for memory in columns if any(memory in of for of in found.values())]

        def part(place: tuple, memory: str) -> np.ndarray:
            shape = (len(names[place[2]]), len(columns[memory]))
            return found[place].get(memory, np.full(shape, np.nan, "float32"))

        return pd.DataFrame(
            np.block([[part(place, memory) for memory in memories] for place in places]),
            ordered_index(
                [(*place, token) for place in places for token in names[place[2]]],
                ("member", "block", "group", "token"),
            ),
            pd.MultiIndex.from_tuples([column for m in memories for column in columns[m]]),
        )


class TokenNames:
    """Names of INFNet's tokens by group, and of what they and the heads read.

    Args:
        model: The model.
    """

    def __init__(self, model: INFNet) -> None:
        config, schema = model.config, model.schema
        histories = [h for kind in schema.event_kinds() for h in kind]
        self._groups = {
            "tasks": list(schema.task_names) if config.task_tokens else [],
            "field_proxies": [f"field proxy {i}" for i in range(config.num_field_proxies)],
            "sequence_proxies": [
                f"{h.name}: {group}" if h.groups else h.name
                for h in histories
                for group in h.group_names
            ],
            "task_proxies": [f"shared {i}" for i in range(config.num_task_proxies)],
            "candidate_proxy": ["candidate"] if config.form.uses_candidate else [],
        }
        self.memories: dict[str, list[tuple[str, str | int]]] = {
            "fields": [("fields", name) for name in schema.field_names],
            "history": [(h.name, i) for h in histories for i in reversed(range(h.max_length))],
            "tasks": [("tasks", name) for name in schema.task_names],
        }
        task = [("tasks", "task token")] if config.task_tokens else []
        proxies = [(group, token) for group in _HEAD_GROUPS for token in self[group]]
        proxies = proxies if config.form.uses_candidate else []
        # Everything that a head reads, as (group, token), and what each part of its input is of,
        # as (index of the token, width): a proxy and its product with the candidate are one token.
        self.head_tokens = [*task, *proxies]
        reads = range(len(task), len(task) + len(proxies))
        self.head_parts = [(i, config.dim) for i in (*range(len(task)), *reads, *reads)]

    def __getitem__(self, group: str) -> list[str]:
        return self._groups[group]


def _reading(model: INFNet, member: int) -> keras.Model:
    """From packed inputs to what one member does: one graph, that backends compile as a whole.

    Args:
        model: The model, whose weights it shares.
        member: Index of the member.

    Returns:
        A model with the outputs `blocks` (by index, `attention` and `gates`), `fields` (what field
        proxies are made of), `events` (which groups each event is in) and `heads` (what each task's
        head reads).
    """
    schema = model.schema
    layers = {layer.name: layer for layer in model.member(member).layers}
    outputs: dict[str, Any] = {
        "heads": {task: layers[f"{task}_head"].input for task in schema.task_names}
    }
    if "field_proxies" in layers:
        outputs["fields"] = layers["field_proxies"].input
    if "sequence_proxies" in layers:
        outputs["events"] = list(layers["sequence_proxies"].input[1:])
    blocks = {}
    for i in range(model.config.num_blocks):
        attention = {
            memory: tasks_apart(_Weights(layer)(given), len(schema.tasks))
            for memory, (layer, given) in model.attention_calls(i, member).items()
        }
        gates = {
            tokens: _MeanGate(layers[name])(**_arguments(layers[name]))
            for tokens in ("fields", "history", "tasks")
            if (name := f"block_{i}_{tokens}_gate") in layers
        }
        if attention or gates:
            blocks[str(i)] = {"attention": attention, "gates": gates}
    if blocks:
        outputs["blocks"] = blocks
    reading = model.reading(outputs, member)
    # JAX compiles a whole sooner than each operation; TensorFlow takes longer to trace than to run.
    reading.compile(run_eagerly=keras.backend.backend() == "tensorflow")
    return reading


def _arguments(gate: keras.layers.Layer) -> dict[str, Any]:
    """What a gate is called with."""
    called = gate._inbound_nodes[0].arguments
    tokens, proxies = called.args
    return {"tokens": tokens, "proxies": proxies, **called.kwargs}


class _Weights(keras.layers.Layer):
    """Attention weights of a layer, which stays as it is."""

    def __init__(self, attention: Any) -> None:
        super().__init__(dtype=attention.dtype_policy, name=f"{attention.name}_weights")
        self.attention = attention

    def build(self, arguments_shape: Any) -> None:
        pass

    def call(self, arguments: dict[str, Any]) -> dict[str, Any]:
        return self.attention.attention_weights(**arguments)

    def compute_output_spec(self, arguments: dict[str, Any]) -> dict[str, keras.KerasTensor]:
        length = arguments["memory"].shape[1]
        return {
            group: keras.KerasTensor((None, queries.shape[1], length), dtype="float32")
            for group, queries in arguments["queries"].items()
        }


class _MeanGate(keras.layers.Layer):
    """Mean `(batch, dim)` of the gates of the tokens that are there; the layer stays as it is."""

    def __init__(self, gate: Any) -> None:
        super().__init__(dtype=gate.dtype_policy, name=f"{gate.name}_mean")
        self.gate = gate

    def build(self, tokens_shape: tuple, proxies_shape: tuple) -> None:
        pass

    def call(self, tokens: Any, proxies: Any, tokens_mask: Any = None) -> Any:
        gate = self.gate.channel_gates(tokens, proxies)
        if gate.shape[1] == 1 or tokens_mask is None:
            return ops.mean(gate, axis=1)
        there = ops.cast(ops.expand_dims(tokens_mask, -1), gate.dtype)
        return ops.sum(gate * there, axis=1) / ops.maximum(ops.sum(there, axis=1), 1)

    def compute_output_spec(
        self, tokens: Any, proxies: Any, tokens_mask: Any = None
    ) -> keras.KerasTensor:
        return keras.KerasTensor((None, self.gate.dim), dtype=self.compute_dtype)


def field_norm_sums(fields: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """`sum_b |W_pf C_bf|` over rows `b`, for proxy `p` and field `f`.

    Args:
        fields: Field tokens `(rows, fields, dim)`.
        kernel: `W_c`, `(fields * dim, proxies * dim)`.

    Returns:
        `(proxies, fields)`.
    """
    _, count, dim = fields.shape
    kernel = kernel.reshape(count, dim, -1, dim)
    sums = []
    for p in range(kernel.shape[2]):
        parts = np.matmul(fields.swapaxes(0, 1), kernel[:, :, p])
        sums.append(np.linalg.norm(parts, axis=-1).sum(1))
    return np.stack(sums)


def head_share_sums(
    x: np.ndarray, kernel: np.ndarray, parts: Sequence[tuple[int, int]]
) -> np.ndarray:
    """`sum_b |W_j x_bj| / sum_k |W_k x_bk|` over rows `b`, for each token `j`.

    Args:
        x: Input of a head, `(rows, width)`.
        kernel: Kernel of its hidden layer, `(width, hidden)`.
        parts: Index of the token, and width, of each part of the input.

    Returns:
        `(tokens,)`.
    """
    arrived = np.zeros((max(token for token, _ in parts) + 1, len(x), kernel.shape[1]), "float32")
    start = 0
    for token, width in parts:
        arrived[token] += x[:, start : start + width] @ kernel[start : start + width]
        start += width
    norms = np.linalg.norm(arrived, axis=-1)
    total = norms.sum(0)
    return (norms / np.where(total > 0, total, 1)).sum(1)


def ordered_index(rows: Sequence[tuple], names: tuple[str, ...]) -> pd.MultiIndex:
    """Index whose levels keep the order of appearance: pandas then looks up parts without a search.

    Args:
        rows: A tuple each row.
        names: Names of the levels.

    Returns:
        The index; empty without rows.
    """
    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    coded: list[Any] = [pd.Index(column).factorize() for column in columns]
    return pd.MultiIndex([level for _, level in coded], [codes for codes, _ in coded], names=names)


def _event_weight_sums(groups: Sequence[np.ndarray]) -> np.ndarray:
    """`(proxies, events)`: a pooled event weighs `1 / n_f`, with `n_f` events in its group `f`.

    Args:
        groups: For each history `(rows, groups, length)`: 1 where an event is in a group.
    """
    shares = [(x / np.maximum(x.sum(-1, keepdims=True), 1)).sum(0) for x in groups]
    weights = np.zeros(np.sum([share.shape for share in shares], axis=0))
    top = left = 0
    for share in shares:
        height, width = share.shape
        weights[top : top + height, left : left + width] = share
        top, left = top + height, left + width
    return weights


def _table(
    means: Means, what: str, names: tuple[str, ...], columns: Any = None, rows: Any = None
) -> pd.DataFrame:
    """Means of one kind: a row each, or the rows of each one's matrix."""
    places = [key[1:] for key in means if key[0] == what]
    if not places:
        return pd.DataFrame()
    values = np.vstack([means[what, *place] for place in places])
    index = [(*place, row) for place in places for row in rows] if rows else places
    return pd.DataFrame(values, ordered_index(index, names), columns)


def _as_array(values: Any) -> np.ndarray:
    """A tensor of any backend and float width as float32."""
    return ops.convert_to_numpy(values).astype("float32")
