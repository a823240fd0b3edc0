"""How INFNet's tensors are read: attention, gates, proxies and heads, averaged over rows."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import pandas as pd
from keras import ops

from keras_infnet.models.infnet import HEAD_PROXIES, INFNet, tasks_apart

_BATCH = 512
# Levels of the rows of each table.
_INDEX = {
    "attention": ["member", "block", "group", "token"],
    "gates": ["member", "block", "tokens"],
    "field_proxies": ["member", "proxy"],
    "sequence_proxies": ["history", "proxy"],
    "attention_proxies": ["member", "proxy"],
    "combination": ["member", "task"],
    "heads": ["member", "task"],
}


class InfnetReader:
    """Reads what an INFNet does on rows; it is compiled once, and reads any number of times.

    Args:
        model: The model.
    """

    def __init__(self, model: INFNet) -> None:
        self._names, self._model = TokenNames(model), model
        self._readings = [_reading(model, member) for member in range(model.config.members)]

    def attention(self, inputs: Mapping[str, Any]) -> pd.DataFrame:
        """Attention of each token in each block, averaged over heads and rows.

        Args:
            inputs: Packed inputs of the rows.

        Returns:
            Index `(member, block, group, token)`, columns of `TokenNames.memories`; NaN where a
            group does not read a memory. Without heterogeneous flow it is empty.
        """
        return self.tables(inputs)["attention"]

    def tables(self, inputs: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
        """Tables by name: `attention`, `gates`, those of proxies, `combination` and `heads`.

        Args:
            inputs: Packed inputs of the rows.

        Returns:
            The tables that `Explanation` describes; one is empty where the model has no such part.
        """
        sums: dict[str, dict[Any, pd.DataFrame]] = {table: {} for table in _INDEX}
        rows = len(next(iter(inputs.values())))
        for start in range(0, rows, _BATCH):
            batch = {name: values[start : start + _BATCH] for name, values in inputs.items()}
            for member, reading in enumerate(self._readings):
                values: Any = keras.tree.map_structure(_as_array, reading.predict_on_batch(batch))
                for table, place, summed in self._sums(member, values):
                    sums[table][place] = summed + sums[table].get(place, 0)
        tables = {table: stacked(parts, _INDEX[table]) / rows for table, parts in sums.items()}
        norms, events = tables["field_proxies"], tables["sequence_proxies"]
        read = set(tables["attention"].columns)
        in_order = [column for of in self._names.memories.values() for column in of]
        tables["attention"] = tables["attention"][[column for column in in_order if column in read]]
        tables["field_proxies"] = norms.div(norms.sum(axis=1), axis=0)
        if len(events):
            # A history's events are in no proxy of another one.
            tables["sequence_proxies"] = events.fillna(0.0).droplevel("history")
        return tables

    def _sums(
        self, member: int, values: Mapping[str, Any]
    ) -> Iterator[tuple[str, Any, pd.DataFrame]]:
        """Sums over the rows of a batch: the table, its first index levels, and the rest of it."""
        names, network = self._names, self._model.member(member)
        for block, found in enumerate(values["blocks"]):
            for group, tokens in names.groups.items():
                parts = [
                    pd.DataFrame(weights[group].sum(0), tokens, names.memories[memory])
                    for memory, weights in found["attention"].items()
                    if group in weights
                ]
                if parts:
                    yield "attention", (member, block, group), pd.concat(parts, axis=1)
            if found["gates"]:
                gates = {tokens: gate.sum(0) for tokens, gate in found["gates"].items()}
                yield "gates", (member, block), pd.DataFrame(gates).T
        if "fields" in values:
            kernel = _as_array(network.get_layer("field_proxies").kernel)
            fields = values["fields"].reshape(len(values["fields"]), len(names.fields), -1)
            norms = field_norm_sums(fields, kernel)
            frame = pd.DataFrame(norms, names.groups["field_proxies"], names.fields)
            yield "field_proxies", member, frame
        if "attended" in values:
            weights, events = values["attended"].sum(0, "float64"), names.memories["history"]
            yield "attention_proxies", member, pd.DataFrame(weights, names.attended, events)
        combined = values.get("combined")
        if combined is not None:
            weights = combined["weights"].sum(0)
            yield "combination", member, pd.DataFrame(weights, names.tasks, names.combined)
        shares = {}
        for i, task in enumerate(names.tasks):
            x = values["heads"][task]
            kernel = _as_array(network.get_layer(f"{task}_head").hidden.kernel)
            if combined is not None:
                x, kernel = _with_proxies_apart(x, kernel, combined, i)
            shares[task] = head_share_sums(x, kernel, names.head_parts)
        yield "heads", member, pd.DataFrame(shares, names.head_tokens).T
        if member == 0 and "events" in values:
            for history, groups in zip(names.pooled, values["events"], strict=True):
                # A pooled event weighs `1 / n_f`, with `n_f` events in its group `f`.
                weights = groups / np.maximum(groups.sum(-1, keepdims=True), 1)
                frame = pd.DataFrame(weights.sum(0, "float64"), *names.pooled[history])
                yield "sequence_proxies", history, frame


class TokenNames:
    """Names of INFNet's tokens by group, and of what they and the heads read.

    Args:
        model: The model.
    """

    def __init__(self, model: INFNet) -> None:
        config, schema = model.config, model.schema
        histories = [h for kind in schema.event_kinds() for h in kind]
        candidate = config.form.uses_candidate
        self.fields, self.tasks = list(schema.field_names), list(schema.task_names)
        # By history, the proxies of its groups and its positions, oldest first.
        self.pooled = {
            h.name: (
                [f"{h.name}: {group}" if h.groups else h.name for group in h.group_names],
                pd.MultiIndex.from_product([[h.name], range(h.max_length)[::-1]]),
            )
            for h in histories
        }
        pooled = [token for tokens, _ in self.pooled.values() for token in tokens]
        adapts = config.form.pooling == "attention"
        self.attended = [f"{token} (attention)" for token in pooled if adapts]
        own, shared = range(config.num_own_proxies), range(config.num_task_proxies)
        self.groups = {
            "tasks": self.tasks if config.task_tokens else [],
            "task_proxies": [f"shared {i}" for i in shared],
            "own_proxies": [f"{task} {i}" for task in self.tasks for i in own],
            "candidate_proxy": ["candidate"] if candidate else [],
            "field_proxies": [f"field proxy {i}" for i in range(config.num_field_proxies)],
            "sequence_proxies": [*pooled, *self.attended],
        }
        events = [event for _, positions in self.pooled.values() for event in positions]
        self.memories = {
            "fields": pd.MultiIndex.from_product([["fields"], self.fields]),
            "history": pd.MultiIndex.from_tuples(events) if events else [],
            "tasks": pd.MultiIndex.from_product([["tasks"], self.tasks]),
        }
        task = [("tasks", "task token")] if config.task_tokens else []
        read = HEAD_PROXIES if candidate else ()
        proxies = [(group, token) for group in read for token in self.groups[group]]
        # What a task combines, of which `own 0` is another token for each task.
        combined = [("own_proxies", f"own {i}") for i in own]
        if own:
            combined += [("task_proxies", token) for token in self.groups["task_proxies"]]
        self.combined = [token for _, token in combined]
        # Everything that a head reads, as (group, token), and of which token each part of its input
        # is, and its width: a proxy, its product with the candidate, what a task takes of it and
        # its place in the crosses are one token.
        parts = [(token, config.dim) for token in [*task, *combined, *proxies, *proxies]]
        if config.form.cross_rank is not None:
            parts += [(("fields", name), config.dim) for name in self.fields]
            groups = [("sequence_proxies", token) for token in pooled]
            if groups:
                candidate = [("candidate_proxy", token) for token in self.groups["candidate_proxy"]]
                parts += [(token, config.dim) for token in [*candidate, *groups]]
                parts += [(token, 1) for token in groups]
        tokens = list(dict.fromkeys(token for token, _ in parts))
        self.head_tokens = pd.MultiIndex.from_tuples(tokens, names=("group", "token"))
        self.head_parts = [(tokens.index(token), width) for token, width in parts]


def _reading(model: INFNet, member: int) -> keras.Model:
    """From packed inputs to what one member does: one graph, that backends compile as a whole.

    Args:
        model: The model, whose weights it shares.
        member: Index of the member.

    Returns:
        A model with the outputs `blocks` (of each, `attention` and `gates`), `fields` (what field
        proxies are made of), `events` (which groups each event is in), `attended` (its weight in
        the proxies of attention), `combined` (proxies and their weights) and `heads` (what each
        task's head reads).
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
    if "attention_proxies" in layers:
        outputs["attended"] = _weights_of(layers["attention_proxies"])
    if "proxy_combination" in layers:
        layer = layers["proxy_combination"]
        outputs["combined"] = {"weights": _weights_of(layer), "proxies": list(layer.input[1:])}
    outputs["blocks"] = []
    for i in range(model.config.num_blocks):
        attention = {
            memory: tasks_apart(_Read(layer, "attention_weights")(given), len(schema.tasks))
            for memory, (layer, given) in model.attention_calls(i, member).items()
        }
        gates = {
            tokens: _mean_gate(layers[name])
            for tokens in ("fields", "history", "tasks")
            if (name := f"block_{i}_{tokens}_gate") in layers
        }
        outputs["blocks"].append({"attention": attention, "gates": gates})
    reading = model.reading(outputs, member)
    # JAX compiles a whole sooner than each operation; TensorFlow takes longer to trace than to run.
    reading.compile(run_eagerly=keras.backend.backend() == "tensorflow")
    return reading


class _Read(keras.layers.Layer):
    """What a method of a layer returns; the layer stays as it is."""

    def __init__(self, layer: keras.layers.Layer, method: str) -> None:
        super().__init__(dtype=layer.dtype_policy, name=f"{layer.name}_{method}")
        self.layer, self.method = layer, method

    def build(self, arguments_shape: Any) -> None:
        pass

    def call(self, arguments: dict[str, Any]) -> Any:
        return getattr(self.layer, self.method)(**arguments)


def _weights_of(layer: keras.layers.Layer) -> Any:
    """The weights of a layer's attention, called as the layer is."""
    names = list(inspect.signature(layer.call).parameters)
    given = zip(names, layer._inbound_nodes[0].arguments.args, strict=False)
    return _Read(layer, "attention_weights")({n: x for n, x in given if x is not None})


def _with_proxies_apart(
    x: np.ndarray, kernel: np.ndarray, combined: Mapping[str, Any], task: int
) -> tuple[np.ndarray, np.ndarray]:
    """Input and kernel of a head with `a_k p_k` of each proxy in place of their sum `z_i`."""
    weights, (own, *shared) = combined["weights"], combined["proxies"]
    number, dim = own.shape[1] // weights.shape[1], own.shape[2]
    read = np.concatenate([own[:, task * number : (task + 1) * number], *shared], axis=1)
    parts = (weights[:, task, :, None] * read).reshape(len(x), -1)
    # `z_i` stands behind `T_i`.
    before, z, after = np.split(kernel, [dim, 2 * dim])
    x = np.concatenate([x[:, :dim], parts, x[:, 2 * dim :]], axis=1)
    return x, np.concatenate([before, np.tile(z, (read.shape[1], 1)), after])


def _mean_gate(unit: keras.layers.Layer) -> Any:
    """Mean `(batch, dim)` of a unit's gates of the tokens that are there."""
    called = unit._inbound_nodes[0].arguments
    tokens, proxies = called.args
    gate = _Read(unit, "channel_gates")({"tokens": tokens, "proxies": proxies})
    mask = called.kwargs.get("tokens_mask")
    if gate.shape[1] == 1 or mask is None:
        return ops.mean(gate, axis=1)
    there = ops.cast(ops.expand_dims(mask, -1), gate.dtype)
    return ops.sum(gate * there, axis=1) / ops.maximum(ops.sum(there, axis=1), 1)


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
    given = (fields.swapaxes(0, 1) @ kernel[:, :, p] for p in range(kernel.shape[2]))
    return np.stack([np.linalg.norm(of_proxy, axis=-1).sum(1) for of_proxy in given])


def head_share_sums(
    x: np.ndarray, kernel: np.ndarray, parts: Sequence[tuple[int, int]]
) -> np.ndarray:
    """`sum_b |W_j x_bj| / sum_k |W_k x_bk|` over rows `b`, for each token `j`.

    Args:
        x: Input of a head, `(rows, width)`.
        kernel: Kernel of its hidden layer, `(width, hidden)`.
        parts: Index of the token of each part of the input, and the part's width.

    Returns:
        `(tokens,)`.
    """
    tokens, widths = zip(*parts, strict=True)
    arrived = np.zeros((max(tokens) + 1, len(x), kernel.shape[1]), "float32")
    ends = np.cumsum(widths)[:-1]
    xs, kernels = np.split(x, ends, axis=1), np.split(kernel, ends)
    for token, of_x, of_kernel in zip(tokens, xs, kernels, strict=True):
        arrived[token] += of_x @ of_kernel
    norms = np.linalg.norm(arrived, axis=-1)
    total = norms.sum(0)
    return (norms / np.where(total > 0, total, 1)).sum(1)


def stacked(parts: Mapping[Any, pd.DataFrame], names: list[str]) -> pd.DataFrame:
    """Tables below one another; empty without any.

    Levels keep the order of appearance: pandas then looks up parts without a search.

    Args:
        parts: Tables by their first index levels.
        names: Names of all levels.
    """
    if not parts:
        return pd.DataFrame()
    keys = pd.Index(list(parts))
    levels = [list(keys.get_level_values(i).unique()) for i in range(keys.nlevels)]
    return pd.concat(parts, names=names, levels=levels)


def _as_array(values: Any) -> np.ndarray:
    """A tensor of any backend and float width as float32."""
    return ops.convert_to_numpy(values).astype("float32")
