"""DIEN: how the interest in the candidate evolves over past events."""

from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from keras_infnet._backend.attention_pooling import masked_softmax
from keras_infnet._base.fields import at_least, widths
from keras_infnet.layers.augru import AUGRU
from keras_infnet.layers.next_event_loss import NextEventLoss
from keras_infnet.models.mlp import mlp
from keras_infnet.models.ranking_model import RankingModel
from keras_infnet.models.separate_histories import SeparateHistories
from keras_infnet.models.tokens import Tokens


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
        schema: A fitted schema, such as `RankingData(schema, log).schema`.
        dim: Token width. Defaults to `32`.
        head_dim: Hidden width of the heads. Defaults to `64`.
        event_context: What an event's token knows besides its item, where the schema has it; it
            may have `"match"` too: which of its fields equal the candidate's. Defaults to `None`:
            all that its histories have, and the position.
        members: Number of networks on shared tables, each with its own loss; their outputs are
            averaged. Defaults to `1`.
        own_tables: Whether each member has tables of its own. Defaults to `False`.
        dropout: Rate after each layer of the MLP and in the heads. Defaults to `0.0`.
        embedding_stddev: Standard deviation of the embeddings' start. Defaults to `0.01`.
        auxiliary_loss_weight: Factor of the auxiliary loss, which is there in training only and
            the same for any number of members; 0: none. Defaults to `1.0`.
        hidden_dims: Widths of the MLP. Defaults to `(256, 128)`.
        name: Name of the model. Defaults to `None`: its class's.
        trainable: Whether its weights are. Defaults to `True`.
        dtype: Dtype policy of the layers. Defaults to `None`: the global policy.

    Returns:
        Dict `{task: (batch, 1)}` of float32 probabilities (regression: values).

    Raises:
        ValueError: The schema is not fitted or has no history, or a hyperparameter is out of range.

    Example:
        >>> video = keras_infnet.CategoricalFeature("video_id", "item")
        >>> liked = keras_infnet.History("liked", ("video_id",), max_length=4, quantities=())
        >>> click = keras_infnet.BinaryTask("click")
        >>> schema = keras_infnet.FeatureSchema([video], [click], [liked])
        >>> schema = schema.with_sizes({"video_id": 10})
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

    needs_history = True

    @dataclass(frozen=True, kw_only=True)
    class Config(RankingModel.Config):
        """Arguments of `DIEN`, which says what they mean."""

        auxiliary_loss_weight: float = at_least(0, default=1.0)
        hidden_dims: tuple[int, ...] = widths(default=(256, 128), depth=True)

    @staticmethod
    def network(tokens: Tokens, config: "DIEN.Config") -> dict[str, Any]:
        """The last state of the interest beside the flat tokens, and one MLP for all heads."""
        histories = SeparateHistories(tokens)
        mask, dim = histories.mask, config.dim
        extract = AUGRU(dim, return_sequences=True, name="interest_extraction")
        interests = extract(histories.tokens, tokens_mask=mask)
        if config.auxiliary_loss_weight:
            # Losses of members are averaged, as those of the tasks are.
            weight = config.auxiliary_loss_weight / config.members
            loss = NextEventLoss(weight, histories.number, name="next_event_loss")
            interests = loss(interests, histories.tokens, tokens_mask=mask)
        query = keras.layers.Dense(dim, use_bias=False, name="attention_query")
        scores = ops.matmul(interests, ops.expand_dims(query(histories.candidate), -1))
        attention = masked_softmax(ops.squeeze(scores, -1), mask)
        evolved = AUGRU(dim, name="interest_evolution")(interests, attention, tokens_mask=mask)
        x = ops.concatenate([tokens.flat(), histories.as_examples(evolved)], axis=-1)
        shared = mlp(x, config.hidden_dims, config.dropout, name="shared")
        return dict.fromkeys(tokens.task_names, shared)
