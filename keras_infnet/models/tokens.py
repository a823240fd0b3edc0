"""Tokens of a network: fields, past events side by side, the candidate, groups and masks."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_infnet.layers.configured_layer import ConfiguredLayer, joined
from keras_infnet.layers.grouped_pooling import over_all_histories
from keras_infnet.layers.history_token_embedding import HistoryTokenEmbedding
from keras_infnet.models.config import ModelConfig
from keras_infnet.models.embedded_inputs import EmbeddedInputs, as_numbers
from keras_infnet.schema.event_quantity import EventQuantity
from keras_infnet.schema.history import History
from keras_infnet.schema.number_forms import STEPS, ZERO
from keras_infnet.schema.schema import FeatureSchema

# A pattern of matches is an id of its own, and there are 2^fields of them.
_MAX_MATCHED_FIELDS = 6


class Tokens:
    """The part of a network's graph from embedded inputs to tokens.

    `fields (batch, fields, dim)` are `C`, one for each feature. `history (batch, length, dim)` is
    `S`, the events of all histories side by side along time, or None in a schema without history;
    `history_mask (batch, length)` is True where there is an event, and `groups` has for each
    history `(batch, groups, length)`, 1 where an event is in a group. `buckets` has what is known
    of events besides their items, `(batch, length)` by quantity, and their positions `(1, length)`;
    `num_buckets` says how many there are. `histories` are those of the schema in their order in
    `S`: those whose events have the same fields are neighbours, so that one product projects them.

    Args:
        embedded: Inputs and their rows.
        config: Configuration of the model.
        name: Name of the layer that makes the tokens of events.
    """

    def __init__(
        self, embedded: EmbeddedInputs, config: ModelConfig, name: str = "history_tokens"
    ) -> None:
        self._embedded, self._config, self._candidate, self._name = embedded, config, None, name
        self.schema, self.dim, self.inputs = embedded.schema, embedded.dim, embedded.inputs
        self.task_names, self.fields = self.schema.task_names, embedded.fields
        self.histories = histories_in_order(self.schema)
        self.history: Any = None
        if not self.histories:
            return
        self.history_mask = joined([_is_event(x) for x in self.packed_histories])
        self.groups = [in_groups(self.schema, h, self.inputs) for h in self.histories]
        self.num_buckets = self._known_of_events()
        self.buckets = {quantity: self._bucket_ids(quantity) for quantity in self.num_buckets}
        several = any(len(h.fields) > 1 for h in self.histories)
        self._item_embedding = HistoryTokenEmbedding(
            self.dim,
            self.num_buckets,
            use_projection=config.projects_events or several,
            initializer=keras.initializers.RandomNormal(stddev=embedded.stddev),
            name=name,
        )
        self.history = self._item_embedding(embedded.events, self.buckets or None)
        numbers = self._numbers_of_events()
        if numbers:
            name = self._name.replace("history_tokens", "history_numbers")
            start: Any = keras.initializers.RandomNormal(stddev=embedded.stddev)
            project = keras.layers.Dense(self.dim, None, False, start, name=name)
            self.history = self.history + project(ops.stack(numbers, axis=-1))

    @property
    def packed_histories(self) -> list[Any]:
        """The packed inputs of the histories, in the order of `histories`."""
        return [self.inputs[h.name] for h in self.histories]

    @property
    def parts_of_history(self) -> list[slice]:
        """Where each of `histories` lies in `S` at full length."""
        ends = np.cumsum([0, *(h.max_length for h in self.histories)]).tolist()
        return [slice(*part) for part in itertools.pairwise(ends)]

    def own(self, task: str) -> "Tokens":
        """The tokens that one task makes of its own tables."""
        own = self._embedded.own(self.task_names.index(task))
        return Tokens(own, self._config, name=f"{task}_history_tokens")

    @property
    def events(self) -> list[Any]:
        """What the tokens of events are made of, as `HistoryTokenEmbedding` takes it."""
        return self._embedded.events

    def candidate(self) -> Any:
        """The candidate in the space of the events, `(batch, dim)`.

        `W_tok [E_1; E_2; ...] + W_o [other field tokens of the item]`, `W_o` starting at 0: what an
        event has, and what else is known of the item, numbers included. Without history it is a
        projection of the item's field tokens, or of all if no feature is the item's: our choice.
        """
        if self._candidate is not None:
            return self._candidate
        names = self.schema.field_names
        items = [name for name in names if self.schema.token_owner(name) == "item"]
        if self.history is None:
            project = keras.layers.Dense(self.dim, use_bias=False, name="candidate_projection")
            self._candidate = project(self._tokens_of(items or names))
            return self._candidate
        kinds = [kind[0].fields for kind in self.schema.event_kinds()]
        self._candidate = self._item_embedding([self._tokens_of(kind) for kind in kinds])
        others = [name for name in items if name not in {f for kind in kinds for f in kind}]
        if others:
            name = self._name.replace("history_tokens", "candidate_of_item")
            project = keras.layers.Dense(
                self.dim, use_bias=False, kernel_initializer="zeros", name=name
            )
            self._candidate = self._candidate + project(self._tokens_of(others))
        return self._candidate

    def _tokens_of(self, names: Sequence[str]) -> Any:
        """Field tokens by name side by side, `(batch, names * dim)`."""
        places, parts = [self.schema.field_names.index(name) for name in names], []
        # Neighbours in one part: the gradient of each part is written as wide as all fields.
        for _, run in itertools.groupby(enumerate(places), lambda pair: pair[1] - pair[0]):
            of_run = [place for _, place in run]
            part = self.fields[:, of_run[0] : of_run[-1] + 1]
            parts.append(ops.reshape(part, (-1, len(of_run) * self.dim)))
        return joined(parts, axis=-1)

    def context(self) -> Any:
        """Fields of user and context side by side, `(batch, width)`; None where there are none."""
        schema = self.schema
        names = [name for name in schema.field_names if schema.token_owner(name) != "item"]
        return self._tokens_of(names) if names else None

    def item(self) -> Any:
        """The candidate and its fields side by side, `(batch, (1 + fields of the item) * dim)`."""
        names = [n for n in self.schema.field_names if self.schema.token_owner(n) == "item"]
        return joined([self.candidate(), self._tokens_of(names)]) if names else self.candidate()

    def group_means(self) -> tuple[Any, Any]:
        """Mean token `(batch, groups, dim)` and log1p of the number of events `(batch, groups)`."""
        groups = over_all_histories(self.groups)
        counts = ops.sum(groups, axis=-1)
        weights = groups / ops.expand_dims(ops.maximum(counts, 1.0), -1)
        means = ops.matmul(ops.cast(weights, self.fields.dtype), self.history)
        return means, ops.log1p(counts)

    def flat(self) -> Any:
        """What MLPs read, `(batch, width)`: `[flatten(C); cand; flatten(means); log1p(n_f)]`.

        Means and counts are those of the groups of events; without history it is `flatten(C)`.
        """
        parts = [ops.reshape(self.fields, (-1, self.fields.shape[1] * self.dim))]
        if self.history is not None:
            means, log_counts = self.group_means()
            means = ops.reshape(means, (-1, means.shape[1] * self.dim))
            parts += [self.candidate(), means, ops.cast(log_counts, means.dtype)]
        return joined(parts)

    def interaction_tokens(self) -> Any:
        """What feature interactions read, `(batch, tokens, dim)`: `[C; cand; group means]`.

        Without history it is `C`.
        """
        if self.history is None:
            return self.fields
        candidate = ops.expand_dims(self.candidate(), 1)
        return ops.concatenate([self.fields, candidate, self.group_means()[0]], axis=1)

    def event_ids(self, history: History, quantity: str) -> Any:
        """Ids `(batch, length)` of a quantity of one history's events; 0 where it has none."""
        packed = self.inputs[history.name]
        if quantity == "match":
            return match_patterns(self.schema, history, self.inputs)
        found = history.quantity(quantity)
        if found is None:
            return ops.zeros_like(packed[:, :, 0])
        if found.of_row:
            return self.inputs[f"{history.name}_{quantity}"]
        ids = self._column(history, quantity)
        # The whole buckets below, from 1 on; of unknown the result would be negative.
        return ops.maximum(1 + (ids - ZERO) // STEPS, 0) if found.is_number else ids

    def _column(self, history: History, quantity: str) -> Any:
        """The packed ids `(batch, length)` of a quantity of one history's events."""
        start = self.schema.history_columns(history.name)[f"#{quantity}"].start
        return self.inputs[history.name][:, :, start]

    def _numbers_of_events(self) -> list[Any]:
        """Each number `(batch, length)` of `buckets`: its place among them, from -1 to 1."""
        found = []
        for key in self.buckets:
            of_histories = [h.quantity(key) for h in self.histories]
            if not any(q is not None and q.is_number for q in of_histories):
                continue
            parts = []
            for history, quantity in zip(self.histories, of_histories, strict=True):
                if quantity is None:
                    parts.append(ops.zeros_like(self.inputs[history.name][:, :, 0], "float32"))
                    continue
                ids = self._column(history, key)
                last = max(1, self.schema.quantity_size(history.name, quantity) - 2)
                centred = as_numbers(ids) * (2.0 / last) - 1.0
                parts.append(ops.where(ops.equal(ids, 0), 0.0, centred))
            found.append(joined(parts))
        return found

    def _known_of_events(self) -> dict[str, int]:
        """Buckets by quantity, positions last; those that no history knows are left out."""
        names = self._config.event_context
        if names is None:
            position = ("position",) if self._config.adds_positions else ()
            names = (*self.schema.event_quantities(), *position)
        found = {}
        for quantity in names:
            sizes = quantity_sizes(self.schema, quantity)
            if quantity != "position" and max(sizes) > 1:
                found[quantity] = sum(sizes)
        if "position" in names:
            found["position"] = sum(h.max_length for h in self.histories)
        return found

    def _bucket_ids(self, quantity: str) -> Any:
        """Ids `(batch, length)`, or `(1, length)` of positions; histories have ids of their own."""
        if quantity == "position":
            lengths = [h.max_length for h in self.histories]
            return EventPositions(lengths)(self.packed_histories)
        parts, offset = [], 0
        for h, size in zip(self.histories, quantity_sizes(self.schema, quantity), strict=True):
            parts.append(self.event_ids(h, quantity) + offset)
            offset += size
        return joined(parts)


def histories_in_order(schema: FeatureSchema) -> list[History]:
    """Histories as they lie side by side: those whose events have the same fields together."""
    return [h for kind in schema.event_kinds() for h in kind]


def quantity_sizes(schema: FeatureSchema, quantity: str) -> list[int]:
    """Number of ids of a quantity of events for each of `histories_in_order`.

    In a table of the quantity they lie one below the other; 1, unknown, where a history lacks it.
    """
    sizes = []
    for history in histories_in_order(schema):
        found = history.quantity(quantity)
        if quantity == "match":
            sizes.append(num_match_patterns(history))
        else:
            sizes.append(1 if found is None else schema.quantity_size(history.name, found))
    return sizes


def check_event_context(
    model: str, event_context: Sequence[str] | None, schema: FeatureSchema
) -> None:
    """Raises a ValueError for a name that no event quantity has, nor a number of the schema's."""
    known = (*EventQuantity.embedded_keys(), "position", "match")
    known = tuple(dict.fromkeys((*known, *schema.event_quantities())))
    unknown = sorted(set(event_context or ()) - set(known))
    if unknown:
        raise ValueError(f"{model}: event_context has {unknown}; expected any of {known}.")


@keras.saving.register_keras_serializable(package="keras_infnet")
class EventPositions(ConfiguredLayer):
    """Rows of the position table, `(1, total length)`, for histories of any length.

    Positions count from a history's newest event, which has 0 and stands last; histories side by
    side have positions of their own, one below the other. Oldest positions may be lacking.
    """

    def __init__(self, lengths: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.lengths = tuple(lengths)

    def call(self, histories: Sequence[Any]) -> Any:
        rows, first = [], 0
        for history, longest in zip(histories, self.lengths, strict=True):
            if (history.shape[1] or 0) > longest:
                raise ValueError(
                    f"Layer `{self.name}`: a history of {history.shape[1]} positions; expected at "
                    f"most {longest}. Keep the newest."
                )
            length = ops.shape(history)[1]
            rows.append(first + length - 1 - ops.arange(length, dtype="int32"))
            first += longest
        return ops.expand_dims(joined(rows, axis=0), 0)

    def compute_output_spec(self, histories: Sequence[Any]) -> keras.KerasTensor:
        lengths = [history.shape[1] for history in histories]
        length = None if None in lengths else sum(lengths)
        return keras.KerasTensor((1, length), dtype="int32")


def in_groups(schema: FeatureSchema, history: History, inputs: Mapping[str, Any]) -> Any:
    """Which events of a history are in which of its groups.

    Args:
        schema: A fitted schema.
        history: One of its histories.
        inputs: Packed inputs by name; histories may lack their oldest positions.

    Returns:
        Float32 tensor `(batch, groups, length)`: 1 where an event is in a group.
    """
    packed, groups = inputs[history.name], history.groups
    there = ops.expand_dims(_is_event(packed), 1)
    if groups:
        column = schema.history_columns(history.name)["#groups"].start
        bits = ops.expand_dims(packed[:, :, column], 1)
        powers = (1 << np.arange(len(groups), dtype="int32"))[None, :, None]
        belongs = ops.equal(ops.mod(ops.floor_divide(bits, powers), 2), 1)
        there = ops.logical_and(there, belongs)
    if (ages := history.age_within) is not None:
        ids = ops.expand_dims(inputs[f"{history.name}_{ages.key}"], 1)
        bounds = np.array([ages.ids_below(group.seconds) for group in groups], "int32")
        least, largest = bounds.T[:, None, :, None]
        is_young = ops.logical_and(ops.less_equal(least, ids), ops.less_equal(ids, largest))
        there = ops.logical_and(there, is_young)
    if any(group.last is not None for group in groups):
        longest = history.max_length
        last = np.array([group.last or longest for group in groups], "int32")[None, :, None]
        places = ops.expand_dims(EventPositions([longest])([packed]), 1)
        there = ops.logical_and(there, ops.less(places, last))
    return ops.cast(there, "float32")


def num_match_patterns(sequence: History) -> int:
    """Number of patterns of `match_patterns`."""
    return 2 ** min(len(sequence.fields), _MAX_MATCHED_FIELDS)


def match_patterns(schema: FeatureSchema, sequence: History, inputs: Mapping[str, Any]) -> Any:
    """`sum_k 2^k [event's field k = candidate's field k]` over the first six fields.

    A value that is missing or not in the vocabulary matches nothing; bags match where they have a
    value in common.

    Args:
        schema: A fitted schema.
        sequence: One of its histories.
        inputs: Packed inputs by name.

    Returns:
        Integer tensor `(batch, length)`.
    """
    columns = schema.history_columns(sequence.name)
    pattern = 0
    for k, field in enumerate(sequence.fields[:_MAX_MATCHED_FIELDS]):
        events = ops.expand_dims(inputs[sequence.name][:, :, columns[field]], -1)
        candidate = _candidate_ids(schema, field, inputs)[:, None, None, :]
        unknown = schema.feature(schema.table_of(field)).last_unknown
        same = ops.logical_and(ops.equal(events, candidate), events > unknown)
        pattern = pattern + ops.cast(ops.any(same, axis=(2, 3)), "int32") * np.int32(2**k)
    return pattern


def _candidate_ids(schema: FeatureSchema, field: str, inputs: Mapping[str, Any]) -> Any:
    """Ids of a field of the candidate, `(batch, values)`."""
    packed = schema.feature(field).packed
    return inputs[packed][:, schema.packed_columns(packed)[field]]


def _is_event(history: Any) -> Any:
    return ops.not_equal(history[:, :, 0], 0)
