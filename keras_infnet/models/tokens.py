"""Tokens of a network: fields, past events side by side, the candidate, groups and masks."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_infnet.schema.UNKNOWN import NUM_AGE_BUCKETS, NUM_RATIO_BUCKETS
from keras_infnet.schema.categorical import CategoricalFeature
from keras_infnet.schema.history import History
from keras_infnet.schema.schema import FeatureSchema
from keras_infnet.layers.grouped_pooling import over_all_histories
from keras_infnet.layers.history_token_embedding import HistoryTokenEmbedding
from keras_infnet.models.config import ModelConfig
from keras_infnet.models.embedded_inputs import EmbeddedInputs, event_kinds, joined

# A pattern of matches is an id of its own, and there are 2^fields of them.
_MAX_MATCHED_FIELDS = 6


class Tokens:
    """The part of a network's graph from embedded inputs to tokens.

    `fields (batch, fields, dim)` are `C`, one for each feature. `history (batch, length, dim)` is
    `S`, the events of all histories side by side along time, or None in a schema without history;
    `history_mask (batch, length)` is True where there is an event, and `groups` has for each
    history `(batch, groups, length)`, 1 where an event is in a group. `buckets` has what is known
    of events besides their items, `(batch, length)` by quantity.

    Args:
        embedded: Inputs and their rows.
        config: Configuration of the model.
        name: Name of the layer that makes the tokens of events.
    """

    def __init__(
        self, embedded: EmbeddedInputs, config: ModelConfig, name: str = "history_tokens"
    ) -> None:
        self._embedded, self._config, self._candidate = embedded, config, None
        self.schema, self.dim, self.inputs = embedded.schema, embedded.dim, embedded.inputs
        self.task_names = self.schema.task_names
        self.fields = embedded.fields
        self.layout = HistoryLayout(self.schema, config.event_context)
        self.history = None
        if not self.schema.histories:
            return
        self.history_mask = self.layout.mask(self.inputs)
        self.groups = self.layout.groups(self.inputs)
        self.buckets = self.layout.buckets(self.inputs)
        several = any(len(s.fields) > 1 for s in self.schema.histories)
        self._item_embedding = HistoryTokenEmbedding(
            self.dim,
            self.layout.num_buckets,
            self.layout.position_lengths,
            use_projection=config.projects_events or several,
            initializer=keras.initializers.RandomNormal(stddev=embedded.stddev),
            name=name,
        )
        self.history = self._item_embedding(embedded.events, self.buckets or None)

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

        Without history it is a projection of the item's field tokens, or of all if no feature is
        the item's: our choice.
        """
        if self._candidate is None and self.history is not None:
            self._candidate = self._item_embedding(self.layout.candidate(self.fields))
        elif self._candidate is None:
            names = self.schema.field_names
            items = [i for i, n in enumerate(names) if self.schema.feature(n).owner == "item"]
            parts = [self.fields[:, i] for i in items or range(len(names))]
            project = keras.layers.Dense(self.dim, use_bias=False, name="candidate_projection")
            self._candidate = project(joined(parts))
        return self._candidate

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


class HistoryLayout:
    """Where each history of a schema lies in the sequence tokens `S`.

    Histories whose events have the same fields are neighbours, so that one product projects them;
    otherwise the order is the schema's.

    Args:
        schema: A fitted schema.
        event_context: What a token knows of its event besides the item: `"position"`, `"match"`
            (which of its fields equal the candidate's) and quantities of the schema. Defaults to
            `None`: all but `"match"`.
    """

    def __init__(self, schema: FeatureSchema, event_context: Sequence[str] | None = None) -> None:
        self.schema = schema
        self.kinds = event_kinds(schema)
        self.histories: list[History] = [s for kind in self.kinds for s in kind]
        self.lengths = tuple(s.max_length for s in self.histories)
        ends = np.cumsum((0, *self.lengths)).tolist()
        self.positions = {
            s.name: slice(*part) for s, *part in zip(self.histories, ends, ends[1:], strict=False)
        }
        if event_context is None:
            event_context = (*_QUANTITIES, "position")
        self.num_buckets = {}
        for quantity in event_context:
            sizes = [self._buckets_of(s, quantity) for s in self.histories]
            if quantity != "position" and max(sizes, default=1) > 1:
                self.num_buckets[quantity] = sum(sizes)
        self.position_lengths = self.lengths if "position" in event_context else ()

    def mask(self, inputs: Mapping[str, Any]) -> Any:
        """Bool `(batch, length)`: where there is an event."""
        return joined([_is_event(inputs[s.name]) for s in self.histories])

    def groups(self, inputs: Mapping[str, Any]) -> list[Any]:
        """For each history, float `(batch, groups, length)`: 1 where an event is in a group."""
        groups = []
        for s in self.histories:
            there = ops.expand_dims(_is_event(inputs[s.name]), 1)
            if s.groups:
                column = self.schema.history_columns(s.name)["#groups"].start
                bits = ops.expand_dims(inputs[s.name][:, :, column], 1)
                powers = (1 << np.arange(len(s.groups), dtype="int32"))[None, :, None]
                belongs = ops.equal(ops.mod(ops.floor_divide(bits, powers), 2), 1)
                there = ops.logical_and(there, belongs)
            groups.append(ops.cast(there, "float32"))
        return groups

    def buckets(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Ids `(batch, length)` by quantity; histories have ids of their own.

        Positions, `(1, length)`, are among them where layers can't tell them from lengths.
        """
        buckets = {}
        for quantity in self.num_buckets:
            parts, offset = [], 0
            for s in self.histories:
                parts.append(self._bucket_ids(s, quantity, inputs) + offset)
                offset += self._buckets_of(s, quantity)
            buckets[quantity] = joined(parts)
        if self.position_lengths and self._lacks_positions(inputs):
            histories = [inputs[s.name] for s in self.histories]
            buckets["position"] = EventPositions(self.lengths)(histories)
        return buckets

    def candidate(self, fields: Any) -> list[Any]:
        """The candidate's fields, `(batch, fields * dim)` for each kind of event."""
        names = self.schema.field_names
        kinds = [[names.index(field) for field in kind[0].fields] for kind in self.kinds]
        return [ops.concatenate([fields[:, i] for i in kind], axis=-1) for kind in kinds]

    def _lacks_positions(self, inputs: Mapping[str, Any]) -> bool:
        """Whether nothing else tells positions: the length of buckets does in one history."""
        varies = any(inputs[s.name].shape[1] is None for s in self.histories)
        return not self.num_buckets or (varies and len(self.histories) > 1)

    def _buckets_of(self, s: History, quantity: str) -> int:
        """Number of buckets of a quantity in one history; 1, unknown, where it has none."""
        if quantity == "match":
            return num_match_patterns(s)
        return _QUANTITIES[quantity](s) if quantity in _QUANTITIES else 1

    def _bucket_ids(self, s: History, quantity: str, inputs: Mapping[str, Any]) -> Any:
        if self._buckets_of(s, quantity) == 1:
            return ops.zeros_like(inputs[s.name][:, :, 0])
        if quantity == "match":
            return match_patterns(self.schema, s, inputs)
        if quantity == "age":
            return inputs[f"{s.name}_age"]
        return inputs[s.name][:, :, self.schema.history_columns(s.name)[f"#{quantity}"].start]


# Quantities of the schema's events, and their buckets in a history; 1, unknown, where it has none.
_QUANTITIES = {
    "action": lambda s: s.num_actions if s.actions else 1,
    "ratio": lambda s: NUM_RATIO_BUCKETS if s.ratio else 1,
    "age": lambda s: NUM_AGE_BUCKETS if s.ages else 1,
}


def check_event_context(model: str, event_context: Sequence[str] | None) -> None:
    """Raises a ValueError for a name that no event quantity has."""
    known = (*_QUANTITIES, "position", "match")
    unknown = sorted(set(event_context or ()) - set(known))
    if unknown:
        raise ValueError(f"{model}: event_context has {unknown}; expected any of {known}.")


@keras.saving.register_keras_serializable(package="keras_infnet")
class EventPositions(keras.layers.Layer):
    """Rows of the position table, `(1, total length)`, for histories of any length."""

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

    def compute_output_shape(self, histories_shape: Sequence[tuple]) -> tuple:
        lengths = [shape[1] for shape in histories_shape]
        return (1, None if None in lengths else sum(lengths))

    def compute_output_spec(self, histories: Sequence[Any]) -> keras.KerasTensor:
        shape = self.compute_output_shape([history.shape for history in histories])
        return keras.KerasTensor(shape, dtype="int32")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "lengths": list(self.lengths)}


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
        same = ops.logical_and(ops.equal(events, candidate), events > _last_unknown(schema, field))
        pattern = pattern + ops.cast(ops.any(same, axis=(2, 3)), "int32") * np.int32(2**k)
    return pattern


def _candidate_ids(schema: FeatureSchema, field: str, inputs: Mapping[str, Any]) -> Any:
    """Ids of a field of the candidate, `(batch, values)`."""
    names = [feature.name for feature in schema.one_valued]
    if field in names:
        column = names.index(field)
        return inputs["categorical"][:, column : column + 1]
    start = 0
    for bag in schema.bags:
        if bag.name == field:
            break
        start += bag.max_values
    return inputs["bags"][:, start : start + bag.max_values]


def _last_unknown(schema: FeatureSchema, field: str) -> int:
    """Ids up to this one stand for "missing", or for all values outside the vocabulary."""
    table = schema.table_of(field)
    feature = schema.feature(table if table in schema.field_names else field)
    shared = isinstance(feature, CategoricalFeature) and feature.hash_buckets is None
    return 1 if shared and feature.oov_buckets == 1 else 0


def _is_event(history: Any) -> Any:
    return ops.not_equal(history[:, :, 0], 0)
