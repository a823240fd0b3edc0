"""How INFNet's tensors are read: attention, gates, proxies and heads, averaged over rows."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import pandas as pd
from keras import ops

from keras_infnet.models.history_tokens import HistoryLayout
from keras_infnet.models.infnet import INFNet
from keras_infnet.models.members import network_of, rows_model

_BATCH = 512
_GROUPS = ("tasks", "task_proxies", "candidate_proxy", "field_proxies", "sequence_proxies")
# What heads read after the task token, in this order.
_HEAD_GROUPS = (
    "field_proxies",
    "sequence_proxies",
    "task_proxies",
    "candidate_proxy",
    "recent_proxies",
)

Means = dict[tuple, np.ndarray]


class InfnetReader:
    """Reads what an INFNet does on rows; it is compiled once, and reads any number of times.

    Args:
        model: The model.
    """

    def __init__(self, model: INFNet) -> None:
        self.names = TokenNames(model)
        self._fields = list(model.schema.field_names)
        self._readings = [_MemberReading(model, m) for m in range(self.names.members)]

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
                values = keras.tree.map_structure(_as_array, reading.predict_on_batch(part))
                for key, summed in self._sums(member, values):
                    total[key] = total.get(key, 0) + summed
        return {key: summed / rows for key, summed in total.items()}

    def _sums(self, member: int, values: Mapping[str, Any]) -> Iterator[tuple[tuple, np.ndarray]]:
        """Sums over the rows of a batch, by (what, member, ...)."""
        for block, memories in values.get("attention", {}).items():
            for memory, groups in memories.items():
                for group, weights in groups.items():
                    yield ("attention", member, int(block), group, memory), weights.sum(0)
        for block, gates in values.get("gates", {}).items():
            for tokens, gate in gates.items():
                yield ("gates", member, int(block), tokens), gate.sum(0)
        network = self._readings[member].network
        if "fields" in values:
            kernel = _as_array(network.get_layer("field_proxies").kernel)
            flat = values["fields"].reshape(len(values["fields"]), len(self._fields), -1)
            yield ("fields", member), field_norm_sums(flat, kernel)
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
            shape = (len(names.queries(place[2])), len(columns[memory]))
            return found[place].get(memory, np.full(shape, np.nan, "float32"))

        return pd.DataFrame(
            np.block([[part(place, memory) for memory in memories] for place in places]),
            ordered_index(
                [(*place, token) for place in places for token in names.queries(place[2])],
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
        given, schema = model.hyperparameters, model.schema
        histories = HistoryLayout(schema).histories
        recent, dim = given["num_recent_proxies"], given["dim"]
        self.members: int = given["members"]
        self._groups = {
            "tasks": list(schema.task_names) if given["task_tokens"] else [],
            "field_proxies": [f"field proxy {i}" for i in range(given["num_field_proxies"])],
            "sequence_proxies": [
                f"{s.name}: {group}" if s.groups else s.name
                for s in histories
                for group in schema.group_names(s.name)
            ],
            "task_proxies": [f"shared {i}" for i in range(given["num_task_proxies"])],
            "candidate_proxy": ["candidate"] if given["candidate_proxy"] else [],
            "recent_proxies": [
                f"{s.name} {position}"
                for s in histories
                for position in reversed(range(min(recent, s.max_length)))
            ],
        }
        positions = [(s.name, i) for s in histories for i in reversed(range(s.max_length))]
        self.memories: dict[str, list[tuple[str, str | int]]] = {
            "fields": [("fields", name) for name in schema.field_names],
            "history": positions,
            "tasks": [("tasks", name) for name in schema.task_names],
            # A block's proxies: it never sees the newest events themselves.
            "proxies": [
                ("proxies", name)
                for group in _HEAD_GROUPS
                if group != "recent_proxies"
                for name in self[group]
            ],
        }
        self._queries = dict(self._groups)
        if given["all_to_all"]:
            self._queries["field_proxies"] = list(schema.field_names)
            self._queries["sequence_proxies"] = [f"{name} {i}" for name, i in positions]

        own = [("own", "own tables")] if given["own_dim"] else []
        task = [("tasks", "task token")] if given["task_tokens"] else []
        proxies = [(group, token) for group in _HEAD_GROUPS for token in self[group]]
        proxies = proxies if given["read_proxies"] else []
        # Everything that a head reads, as (group, token), and what each part of its input is of,
        # as (index of the token, width): a proxy and its product with the candidate are one token.
        self.head_tokens = [*task, *proxies, *own]
        reads = range(len(task), len(task) + len(proxies))
        products = reads if given["candidate_products"] else ()
        self.head_parts = [(i, dim) for i in (*range(len(task)), *reads, *products)]
        self.head_parts += [(len(self.head_tokens) - 1, given["head_dim"])] if own else []

    def __getitem__(self, group: str) -> list[str]:
        return self._groups[group]

    def queries(self, group: str) -> list[str]:
        """Names of the tokens of a query group of a block."""
        return self._queries[group]


class _MemberReading(keras.Model):
    """From packed inputs to what one member does: one graph, that backends compile as a whole.

    `attention` and `gates` by block, `fields` (what field proxies are made of), `events` (which
    groups each event is in) and `heads` (what each task's head reads).
    """

    def __init__(self, model: INFNet, member: int) -> None:
        super().__init__(name=f"reading_{member}")
        self.model, self.member = model, member
        self.network = network_of(model, member)
        layers = {layer.name: layer for layer in self.network.layers}
        states = model._block_states[member]
        tensors: dict[str, Any] = {
            "heads": {task: layers[f"{task}_head"].input for task in model.schema.task_names}
        }
        if "field_proxies" in layers:
            tensors["fields"] = layers["field_proxies"].input
        if "sequence_proxies" in layers:
            tensors["events"] = list(layers["sequence_proxies"].input[1:])
        if states:
            tensors["states"] = {str(i): _plain(state) for i, state in enumerate(states)}
        self.tensors = keras.Model(self.network._inputs_struct, tensors)
        # Everything in it is built; otherwise it would first be run without being compiled.
        self.built = True
        # JAX compiles a whole sooner than single operations; TensorFlow traces longer than it runs.
        self.compile(run_eagerly=keras.backend.backend() == "tensorflow")

    def call(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        is_alone = self.network is self.model
        values = self.tensors(inputs if is_alone else rows_model(self.model)(inputs))
        attention, gates = {}, {}
        for i, state in values.pop("states", {}).items():
            attention[i] = self.model.attention_weights(inputs, int(i), self.member)
            block = self.network.get_layer(f"block_{i}")
            gates[i] = {
                tokens: _mean_gate(gate, state["history_mask"] if tokens == "history" else None)
                for tokens, gate in block.channel_gates(state).items()
            }
        return {**values, "attention": attention, "gates": gates}


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


def ordered_index(rows: Sequence[tuple], names: Sequence[str]) -> pd.MultiIndex:
    """Index whose levels keep the order of appearance: pandas then looks up parts without a search.

    Args:
        rows: A tuple each row.
        names: Names of the levels.

    Returns:
        The index; empty without rows.
    """
    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    coded = [pd.Index(column).factorize() for column in columns]
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


def _mean_gate(gate: Any, mask: Any) -> Any:
    """Mean `(batch, dim)` of the gates of the tokens that are there."""
    if gate.shape[1] == 1 or mask is None:
        return ops.mean(gate, axis=1)
    there = ops.cast(ops.expand_dims(mask, -1), gate.dtype)
    return ops.sum(gate * there, axis=1) / ops.maximum(ops.sum(there, axis=1), 1)


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


def _plain(state: Mapping[str, Any]) -> dict[str, Any]:
    """The state in plain dicts: JAX does not look into Keras's tracked ones."""
    return {n: dict(x) if isinstance(x, Mapping) else x for n, x in state.items()}


def _as_array(values: Any) -> np.ndarray:
    """A tensor of any backend and float width as float32."""
    return ops.convert_to_numpy(values).astype("float32")
