"""HSTU: pointwise attention over past events and the candidate."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_infnet.layers.hstu_layer import HSTULayer
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
        schema: A fitted schema: `FeatureEncoder(schema).fit(frame).schema`.
        dim: Token width. Defaults to `32`.
        num_layers: Number of layers. Defaults to `1`.
        num_heads: Heads of each layer, a divisor of `dim`. Defaults to `1`.
        hidden_dims: Widths of the MLP. Defaults to `(256, 128)`.
        head_dim: Hidden width of the heads. Defaults to `64`.
        event_context: What an event's token knows besides its item, where the schema has it; it may
            have `"match"` too: which of its fields equal the candidate's. Defaults to
            `("action", "ratio", "age", "position")`.
        members: Number of networks on shared tables, each with its own loss; their outputs are
            averaged. Defaults to `1`.
        dropout: Rate in each layer, after each layer of the MLP and in the heads. Defaults to
            `0.0`.
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

    def __init__(
        self,
        schema: FeatureSchema,
        dim: int = 32,
        num_layers: int = 1,
        num_heads: int = 1,
        hidden_dims: Sequence[int] = (256, 128),
        head_dim: int = 64,
        event_context: Sequence[str] = EVENT_CONTEXT,
        members: int = 1,
        dropout: float = 0.0,
        embedding_stddev: float = 0.01,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        hyperparameters = constructor_arguments(HSTU, locals())
        check_hyperparameters("HSTU", hyperparameters)
        require_history("HSTU", schema)
        embedded = EmbeddedInputs(schema, dim, embedding_stddev, dtype=dtype)
        outputs = member_outputs(embedded, members, lambda part: _network(part, hyperparameters))
        super().__init__(schema, embedded.inputs, outputs, hyperparameters, dtype=dtype, **kwargs)


def _network(embedded: EmbeddedInputs, given: Mapping[str, Any]) -> dict[str, Any]:
    """One member: from embedded inputs to an output for each task."""
    schema, dropout, dtype = embedded.schema, given["dropout"], embedded.dtype
    tokens = SchemaTokens(embedded, given["event_context"])
    histories = SeparateHistories(embedded, tokens)
    encoded = _encoded_candidate(histories, "age" in tokens.buckets, embedded, given)
    shared = ops.concatenate([tokens.flat(), histories.as_examples(encoded)], axis=-1)
    shared = mlp(shared, given["hidden_dims"], dropout, dtype, name="shared")
    representations = dict.fromkeys(schema.task_names, shared)
    return task_outputs(schema, representations, given["head_dim"], dropout, dtype)


def _encoded_candidate(
    histories: SeparateHistories, use_ages: bool, embedded: EmbeddedInputs, given: Mapping[str, Any]
) -> Any:
    """The candidate's token after all layers, `(rows, dim)`."""
    mask, layers = histories.mask, given["num_layers"]
    x = ops.concatenate([histories.tokens, ops.expand_dims(histories.candidate, 1)], axis=1)
    mask = ops.concatenate([mask, ops.ones_like(mask[:, :1])], axis=1)
    ages = None
    if use_ages:
        ages = histories.ages()
        # Bucket 1 is 0 seconds.
        ages = ops.concatenate([ages, ops.ones_like(ages[:, :1])], axis=1)
    for i in range(layers):
        layer = HSTULayer(
            given["num_heads"],
            max_distance=histories.length + 1,
            num_age_buckets=23 if use_ages else 0,
            last_only=i == layers - 1,
            dropout=given["dropout"],
            dtype=embedded.dtype,
            name=f"hstu_{i}",
        )
        x = layer(x, ages, tokens_mask=mask)
    return ops.squeeze(x, 1)
