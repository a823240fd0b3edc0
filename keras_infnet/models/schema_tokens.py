"""From packed inputs to tokens: what every model of the library shares."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_infnet.features.schema import FeatureSchema
from keras_infnet.layers.grouped_pooling import over_all_histories
from keras_infnet.layers.history_token_embedding import HistoryTokenEmbedding
from keras_infnet.layers.sequence_encoder import SequenceEncoder
from keras_infnet.models.field_tokens import embed_fields
from keras_infnet.models.history_tokens import EVENT_CONTEXT, HistoryLayout
from keras_infnet.models.ranking_model import fused_embedding, packed_inputs


class SchemaTokens:
    """The part of a functional graph from the inputs of a schema to its tokens.

    `inputs` are the packed inputs; `fields (batch, fields, dim)`; `history (batch, length, dim)`,
    all histories side by side, is None in a schema without history; `history_mask (batch, length)`;
    `groups` and `buckets` as in `HistoryLayout`.

    Args:
        schema: A fitted schema.
        dim: Token width.
        event_context: What a token knows of its event besides the item.
        project_events: Whether events of one field are projected too; those of several always are.
        num_encoder_layers: Layers of a `SequenceEncoder` on each history, shared by all; 0: none.
        num_heads: Heads of the encoder.
        dropout: Dropout of the encoder.
        embedding_stddev: Standard deviation of the embeddings' start.
        dtype: Dtype policy of the layers.
    """

    def __init__(
        self,
        schema: FeatureSchema,
        dim: int,
        event_context: Sequence[str] = EVENT_CONTEXT,
        project_events: bool = True,
        num_encoder_layers: int = 0,
        num_heads: int = 1,
        dropout: float = 0.0,
        embedding_stddev: float = 0.01,
        dtype: Any = None,
    ) -> None:
        self.schema, self.dim, self.dtype = schema, dim, dtype
        self.inputs = packed_inputs(schema)
        embedding = fused_embedding(schema, dim, embedding_stddev, dtype)
        self.fields = embed_fields(schema, self.inputs, embedding, dim, dtype)
        self.layout = HistoryLayout(schema, event_context)
        self.history = None
        if not schema.sequences:
            return
        self.history_mask = self.layout.mask(self.inputs)
        self.groups = self.layout.groups(self.inputs)
        self.buckets = self.layout.buckets(self.inputs)
        self.item_embedding = HistoryTokenEmbedding(
            dim,
            self.layout.num_buckets,
            self.layout.position_lengths,
            use_projection=project_events or any(len(s.fields) > 1 for s in schema.sequences),
            initializer=keras.initializers.RandomNormal(stddev=embedding_stddev),
            dtype=dtype,
            name="history_tokens",
        )
        events = self.layout.embed_events(self.inputs, embedding)
        self.history = self.item_embedding(events, self.buckets or None)
        if num_encoder_layers:
            encoder = SequenceEncoder(
                num_encoder_layers, num_heads, dropout=dropout, dtype=dtype, name="sequence_encoder"
            )
            self.history = self._encode(encoder)

    def candidate(self) -> Any:
        """The candidate in the space of the events, `(batch, dim)`.

        Without history it is a projection of the item's field tokens, or of all if no feature is
        the item's: our choice.
        """
        if self.history is not None:
            return self.item_embedding(self.layout.candidate(self.fields))
        names = self.schema.field_names
        items = [i for i, n in enumerate(names) if self.schema.feature(n).owner == "item"]
        parts = [self.fields[:, i] for i in items or range(len(names))]
        flat = parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=-1)
        project = keras.layers.Dense(
            self.dim, use_bias=False, dtype=self.dtype, name="candidate_projection"
        )
        return project(flat)

    def group_means(self) -> tuple[Any, Any]:
        """Mean token `(batch, groups, dim)` and log1p of the number of events `(batch, groups)`."""
        groups = over_all_histories(self.groups)
        counts = ops.sum(groups, axis=-1)
        weights = groups / ops.expand_dims(ops.maximum(counts, 1.0), -1)
        means = ops.matmul(ops.cast(weights, self.history.dtype), self.history)
        return means, ops.log1p(counts)

    def _encode(self, encoder: SequenceEncoder) -> Any:
        """Each history by itself: what comes later in `S` is not later in time."""
        parts = []
        for position in self.layout.positions.values():
            mask = self.history_mask[:, position]
            parts.append(encoder(self.history[:, position], tokens_mask=mask))
        return parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=1)
