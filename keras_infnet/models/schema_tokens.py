"""From embedded inputs to tokens: what every model of the library shares."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_infnet.layers.grouped_pooling import over_all_histories
from keras_infnet.layers.history_token_embedding import HistoryTokenEmbedding
from keras_infnet.layers.sequence_encoder import SequenceEncoder
from keras_infnet.models.embedded_inputs import EmbeddedInputs
from keras_infnet.models.event_rows import joined
from keras_infnet.models.history_tokens import EVENT_CONTEXT, HistoryLayout


class SchemaTokens:
    """The part of a network's graph from embedded inputs to tokens.

    `fields (batch, fields, dim)`; `history (batch, length, dim)`, all histories side by side, is
    None in a schema without history; `history_mask (batch, length)`; `groups` and `buckets` as in
    `HistoryLayout`.

    Args:
        embedded: Inputs and their rows.
        event_context: What a token knows of its event besides the item.
        project_events: Whether events of one field are projected too; those of several always are.
        num_encoder_layers: Layers of a `SequenceEncoder` on each history, shared by all; 0: none.
        num_heads: Heads of the encoder.
        dropout: Dropout of the encoder.
        name: Name of the layer that makes the tokens of events.
    """

    def __init__(
        self,
        embedded: EmbeddedInputs,
        event_context: Sequence[str] = EVENT_CONTEXT,
        project_events: bool = True,
        num_encoder_layers: int = 0,
        num_heads: int = 1,
        dropout: float = 0.0,
        name: str = "history_tokens",
    ) -> None:
        self.schema, self.dim, self.dtype = embedded.schema, embedded.dim, embedded.dtype
        self.fields = embedded.fields
        self.layout = HistoryLayout(self.schema, event_context)
        self.history = None
        self._candidate = None
        if not self.schema.histories:
            return
        self.history_mask = self.layout.mask(embedded.inputs)
        self.groups = self.layout.groups(embedded.inputs)
        self.buckets = self.layout.buckets(embedded.inputs)
        self._item_embedding = HistoryTokenEmbedding(
            self.dim,
            self.layout.num_buckets,
            self.layout.position_lengths,
            use_projection=project_events or any(len(s.fields) > 1 for s in self.schema.histories),
            initializer=keras.initializers.RandomNormal(stddev=embedded.stddev),
            dtype=self.dtype,
            name=name,
        )
        self.history = self._item_embedding(embedded.events, self.buckets or None)
        if num_encoder_layers:
            encoder = SequenceEncoder(
                num_encoder_layers,
                num_heads,
                dropout=dropout,
                dtype=self.dtype,
                name="sequence_encoder",
            )
            self.history = self._encode(encoder)

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
            project = keras.layers.Dense(
                self.dim, use_bias=False, dtype=self.dtype, name="candidate_projection"
            )
            self._candidate = project(joined(parts))
        return self._candidate

    def group_means(self) -> tuple[Any, Any]:
        """Mean token `(batch, groups, dim)` and log1p of the number of events `(batch, groups)`."""
        groups = over_all_histories(self.groups)
        counts = ops.sum(groups, axis=-1)
        weights = groups / ops.expand_dims(ops.maximum(counts, 1.0), -1)
        means = ops.matmul(ops.cast(weights, self.history.dtype), self.history)
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

    def _encode(self, encoder: SequenceEncoder) -> Any:
        """Each history by itself: what comes later in `S` is not later in time."""
        parts = []
        for position in self.layout.positions.values():
            mask = self.history_mask[:, position]
            parts.append(encoder(self.history[:, position], tokens_mask=mask))
        return joined(parts, axis=1)
