"""HSTU: pointwise attention over past events and the candidate."""

from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from keras_infnet._base.fields import at_least, depth, widths
from keras_infnet.layers.hstu_layer import HSTULayer
from keras_infnet.models.mlp import mlp
from keras_infnet.models.ranking_model import RankingModel
from keras_infnet.models.separate_histories import SeparateHistories
from keras_infnet.models.tokens import Tokens
from keras_infnet.schema.event_quantity import Age


@keras.saving.register_keras_serializable(package="keras_infnet")
class HSTU(RankingModel):
    """HSTU on the same tokens as `INFNet`.

    Each history is a sequence of its own with the candidate as its last token, `X_0 = [S; cand]`,
    and `X_{k+1} = HSTULayer(X_k)`. Attention is causal: the candidate reads all events, no event
    reads the candidate. `y_i = head_i(MLP([flatten(C); cand; means; log1p(n_f); x]))` with the last
    layer's output `x` for the candidate; the first four parts are what `SharedBottom` reads. The
    last layer computes the candidate's row alone, so that one layer costs `L` and not `L^2`.
    Several histories share all weights. The candidate's age is 0 seconds; without `"age"` in
    `event_context` there is no bias by time.

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
        dropout: Rate in each layer, after each layer of the MLP and in the heads. Defaults to
            `0.0`.
        embedding_stddev: Standard deviation of the embeddings' start. Defaults to `0.01`.
        num_layers: Number of layers. Defaults to `1`.
        num_heads: Heads of each layer, a divisor of `dim`. Defaults to `1`.
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
        >>> model = keras_infnet.models.HSTU(schema)
        >>> inputs = {"categorical": [[1], [2]], "liked": [[[0], [0], [3], [1]]] * 2}
        >>> inputs = {name: keras.ops.array(ids, "int32") for name, ids in inputs.items()}
        >>> tuple(model(inputs)["click"].shape)
        (2, 1)

    Reference:
        Zhai et al., Actions Speak Louder than Words: Trillion-Parameter Sequential Transducers for
        Generative Recommendations, ICML 2024, arXiv:2402.17152. Actions are part of an event's
        token, and one example is one candidate: our choice, as are the MLP and what it reads beside
        `x`.
    """

    needs_history = True

    @dataclass(frozen=True, kw_only=True)
    class Config(RankingModel.Config):
        """Arguments of `HSTU`, which says what they mean."""

        num_layers: int = depth(1)
        num_heads: int = at_least(1, default=1)
        hidden_dims: tuple[int, ...] = widths(default=(256, 128))

    @staticmethod
    def network(tokens: Tokens, config: "HSTU.Config") -> dict[str, Any]:
        """The candidate after all layers beside the flat tokens, and one MLP for all heads."""
        histories, ages = SeparateHistories(tokens), None
        mask = histories.mask
        x = ops.concatenate([histories.tokens, ops.expand_dims(histories.candidate, 1)], axis=1)
        mask = ops.concatenate([mask, ops.ones_like(mask[:, :1])], axis=1)
        if "age" in tokens.buckets:
            ages = histories.ages()
            # Bucket 1 is 0 seconds.
            ages = ops.concatenate([ages, ops.ones_like(ages[:, :1])], axis=1)
        for i in range(config.num_layers):
            layer = HSTULayer(
                config.num_heads,
                max_distance=histories.length + 1,
                num_age_buckets=0 if ages is None else Age().program(None).num_ids,
                last_only=i == config.num_layers - 1,
                dropout=config.dropout,
                name=f"hstu_{i}",
            )
            x = layer(x, ages, tokens_mask=mask)
        encoded = histories.as_examples(ops.squeeze(x, 1))
        x = ops.concatenate([tokens.flat(), encoded], axis=-1)
        shared = mlp(x, config.hidden_dims, config.dropout, name="shared")
        return dict.fromkeys(tokens.task_names, shared)
