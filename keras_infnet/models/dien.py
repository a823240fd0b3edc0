"""DIEN: how the interest in the candidate evolves over past events."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_infnet._backend.attention_pooling import masked_softmax
from keras_infnet.layers.augru import AUGRU
from keras_infnet.layers.next_event_loss import NextEventLoss
from keras_infnet.models.embedded_inputs import EmbeddedInputs
from keras_infnet.models.history_tokens import EVENT_CONTEXT
from keras_infnet.models.hyperparameters import check_hyperparameters, constructor_arguments
from keras_infnet.models.members import member_outputs
from keras_infnet.models.network_parts import mlp, task_outputs
from keras_infnet.models.ranking_model import RankingModel
from keras_infnet.models.schema_tokens import SchemaTokens
from keras_infnet.models.separate_histories import SeparateHistories, require_history
from keras_infnet.schema.schema import FeatureSchema


@keras.saving.register_keras_serializable(package="keras_infnet")
class DIEN(RankingModel):
    """Deep interest evolution network, on the same tokens as `INFNet`.

    - interests `h_t = GRU(S)_t`, with the auxiliary loss of `NextEventLoss`;
    - attention `a_t = softmax_t(h_t W cand)` over the events that are not padding;
    - evolution `h' = AUGRU(h, a)`, its last state;
    - `y_i = head_i(MLP([flatten(C); cand; means; log1p(n_f); h']))`, of which the first four parts
      are what `SharedBottom` reads.

    Several histories have a state each, from one GRU and one AUGRU. An empty one has `h' = 0`.

    Args:
        schema: A fitted schema: `FeatureEncoder(schema).fit(frame).schema`.
        dim: Token width. Defaults to `32`.
        auxiliary_loss_weight: Factor of the auxiliary loss, which is there in training only and
            the same for any number of members; 0: none. Defaults to `1.0`.
        hidden_dims: Widths of the MLP. Defaults to `(256, 128)`.
        head_dim: Hidden width of the heads. Defaults to `64`.
        event_context: What an event's token knows besides its item, where the schema has it; it may
            have `"match"` too: which of its fields equal the candidate's. Defaults to
            `("action", "ratio", "age", "position")`.
        members: Number of networks on shared tables, each with its own loss; their outputs are
            averaged. Defaults to `1`.
        dropout: Rate after each layer of the MLP and in the heads. Defaults to `0.0`.
        embedding_stddev: Standard deviation of the embeddings' start. Defaults to `0.01`.
        dtype: Dtype policy of the layers. Defaults to `None`: the global policy.
        **kwargs: `name` and `trainable`.

    Returns:
        Dict `{task: (batch, 1)}` of float32 probabilities (regression: values).

    Raises:
        ValueError: The schema is not fitted or has no history, or a hyperparameter is out of range.

    Example:
        >>> video = keras_infnet.CategoricalFeature("video_id", "item", num_ids=10)
        >>> liked = keras_infnet.History("liked", ("video_id",), max_length=4, quantities=())
        >>> schema = keras_infnet.FeatureSchema([video], [keras_infnet.BinaryTask("click")], [liked])
        >>> model = keras_infnet.models.DIEN(schema)
        >>> inputs = {"categorical": [[1], [2]], "liked": [[[0], [0], [3], [1]]] * 2}
        >>> inputs = {name: keras.ops.array(ids, "int32") for name, ids in inputs.items()}
        >>> tuple(model(inputs)["click"].shape)
        (2, 1)

    Reference:
        Zhou et al., Deep Interest Evolution Network for Click-Through Rate Prediction, AAAI 2019,
        arXiv:1809.03672; the factor 1 is that of the authors' code. States as wide as tokens,
        negatives from the batch, means and counts beside the state, ReLU in the MLP and its sizes:
        our choice.
    """

    def __init__(
        self,
        schema: FeatureSchema,
        dim: int = 32,
        auxiliary_loss_weight: float = 1.0,
        hidden_dims: Sequence[int] = (256, 128),
        head_dim: int = 64,
        event_context: Sequence[str] = EVENT_CONTEXT,
        members: int = 1,
        dropout: float = 0.0,
        embedding_stddev: float = 0.01,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        hyperparameters = constructor_arguments(DIEN, locals())
        check_hyperparameters("DIEN", hyperparameters)
        if auxiliary_loss_weight < 0:
            raise ValueError(
                "DIEN: `auxiliary_loss_weight` must be 0 or more. "
                f"Received: {auxiliary_loss_weight}"
            )
        require_history("DIEN", schema)
        embedded = EmbeddedInputs(schema, dim, embedding_stddev, dtype=dtype)
        outputs = member_outputs(embedded, members, lambda part: _network(part, hyperparameters))
        super().__init__(schema, embedded.inputs, outputs, hyperparameters, dtype=dtype, **kwargs)


def _network(embedded: EmbeddedInputs, given: Mapping[str, Any]) -> dict[str, Any]:
    """One member: from embedded inputs to an output for each task."""
    schema, dropout, dtype = embedded.schema, given["dropout"], embedded.dtype
    tokens = SchemaTokens(embedded, given["event_context"])
    histories = SeparateHistories(embedded, tokens)
    evolved = _evolution(histories, embedded, given)
    shared = ops.concatenate([tokens.flat(), histories.as_examples(evolved)], axis=-1)
    shared = mlp(shared, given["hidden_dims"], dropout, dtype, name="shared")
    representations = dict.fromkeys(schema.task_names, shared)
    return task_outputs(schema, representations, given["head_dim"], dropout, dtype)


def _evolution(
    histories: SeparateHistories, embedded: EmbeddedInputs, given: Mapping[str, Any]
) -> Any:
    """The last state of each history's interest in the candidate, `(rows, dim)`."""
    dim, dtype, mask = embedded.dim, embedded.dtype, histories.mask
    extract = AUGRU(dim, return_sequences=True, dtype=dtype, name="interest_extraction")
    states = extract(histories.tokens, tokens_mask=mask)
    if given["auxiliary_loss_weight"]:
        # Losses of members are averaged, as those of the tasks are.
        weight = given["auxiliary_loss_weight"] / given["members"]
        loss = NextEventLoss(weight, histories.number, dtype=dtype, name="next_event_loss")
        states = loss(states, histories.tokens, tokens_mask=mask)
    query = keras.layers.Dense(dim, use_bias=False, dtype=dtype, name="attention_query")
    scores = ops.matmul(states, ops.expand_dims(query(histories.candidate), -1))
    attention = masked_softmax(ops.squeeze(scores, -1), mask)
    evolve = AUGRU(dim, dtype=dtype, name="interest_evolution")
    return evolve(states, attention, tokens_mask=mask)
