"""WuKong: stacked factorization machines."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_infnet.layers.wukong_layer import WuKongLayer
from keras_infnet.models.embedded_inputs import EmbeddedInputs
from keras_infnet.models.history_tokens import EVENT_CONTEXT
from keras_infnet.models.hyperparameters import check_hyperparameters, constructor_arguments
from keras_infnet.models.members import member_outputs
from keras_infnet.models.network_parts import mlp, task_outputs
from keras_infnet.models.ranking_model import RankingModel
from keras_infnet.models.schema_tokens import SchemaTokens
from keras_infnet.schema.schema import FeatureSchema


@keras.saving.register_keras_serializable(package="keras_infnet")
class WuKong(RankingModel):
    """WuKong on the same tokens as `INFNet`.

    `X_{l+1} = LN([FMB(X_l); LCB(X_l)] + R X_l)` for `num_layers` layers, each a `WuKongLayer`, from
    `X_0 = [C; cand; mean_{l in f} S_l; W log1p(n) + b]`; `y_i = head_i(MLP(flatten(X_L)))`. A layer
    doubles the degree of the interactions. Without history `X_0` is the field tokens `C`.

    Args:
        schema: A fitted schema: `FeatureEncoder(schema).fit(frame).schema`.
        dim: Token width. Defaults to `32`.
        num_layers: Number of layers. Defaults to `3`.
        num_fmb_tokens: Tokens made of interactions, in each layer. Defaults to `8`.
        num_lcb_tokens: Compressed tokens, in each layer. Defaults to `8`.
        projection_dim: Columns of the compressed matrix of pairs. Defaults to `8`.
        fmb_hidden_dims: Hidden widths of the MLP in each layer. Defaults to `(128,)`.
        hidden_dims: Widths of the MLP on the last layer. Defaults to `(256, 128)`.
        head_dim: Hidden width of the heads. Defaults to `64`.
        event_context: What an event's token knows besides its item, where the schema has it; it may
            have `"match"` too: which of its fields equal the candidate's. Defaults to
            `("action", "ratio", "age", "position")`.
        members: Number of networks on shared tables, each with its own loss; their outputs are
            averaged. Defaults to `1`.
        dropout: Rate after each hidden layer of all MLPs and in the heads. Defaults to `0.0`.
        embedding_stddev: Standard deviation of the embeddings' start. Defaults to `0.01`.
        dtype: Dtype policy of the layers. Defaults to `None`: the global policy.
        **kwargs: `name` and `trainable`.

    Returns:
        Dict `{task: (batch, 1)}` of float32 probabilities (regression: values).

    Raises:
        ValueError: The schema is not fitted, or a hyperparameter is out of range.

    Example:
        >>> video = keras_infnet.CategoricalFeature("video_id", "item", num_ids=10)
        >>> schema = keras_infnet.FeatureSchema([video], [keras_infnet.BinaryTask("click")])
        >>> model = keras_infnet.models.WuKong(schema)
        >>> tuple(model({"categorical": keras.ops.ones((2, 1), "int32")})["click"].shape)
        (2, 1)

    Reference:
        Zhang et al., Wukong: Towards a Scaling Law for Large-Scale Recommendation, ICML 2024,
        arXiv:2403.02545, of one task. As there, numbers enter as a token of their own: the counts.
        One head a task, the history's tokens and sizes are our choice.
    """

    def __init__(
        self,
        schema: FeatureSchema,
        dim: int = 32,
        num_layers: int = 3,
        num_fmb_tokens: int = 8,
        num_lcb_tokens: int = 8,
        projection_dim: int = 8,
        fmb_hidden_dims: Sequence[int] = (128,),
        hidden_dims: Sequence[int] = (256, 128),
        head_dim: int = 64,
        event_context: Sequence[str] = EVENT_CONTEXT,
        members: int = 1,
        dropout: float = 0.0,
        embedding_stddev: float = 0.01,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        hyperparameters = constructor_arguments(WuKong, locals())
        check_hyperparameters("WuKong", hyperparameters)
        embedded = EmbeddedInputs(schema, dim, embedding_stddev, dtype=dtype)
        outputs = member_outputs(embedded, members, lambda part: _network(part, hyperparameters))
        super().__init__(schema, embedded.inputs, outputs, hyperparameters, dtype=dtype, **kwargs)


def _network(embedded: EmbeddedInputs, given: Mapping[str, Any]) -> dict[str, Any]:
    """One member: from embedded inputs to an output for each task."""
    schema, dropout, dtype = embedded.schema, given["dropout"], embedded.dtype
    tokens = _first_tokens(embedded, given["event_context"])
    for i in range(given["num_layers"]):
        layer = WuKongLayer(
            given["num_fmb_tokens"],
            given["num_lcb_tokens"],
            given["projection_dim"],
            given["fmb_hidden_dims"],
            dropout,
            dtype=dtype,
            name=f"wukong_{i}",
        )
        tokens = layer(tokens)
    flat = ops.reshape(tokens, (-1, tokens.shape[1] * embedded.dim))
    shared = mlp(flat, given["hidden_dims"], dropout, dtype, name="shared")
    representations = dict.fromkeys(schema.task_names, shared)
    return task_outputs(schema, representations, given["head_dim"], dropout, dtype)


def _first_tokens(embedded: EmbeddedInputs, event_context: Sequence[str]) -> Any:
    """`X_0 (batch, tokens, dim)`: the tokens, and the counts of events as one more."""
    source = SchemaTokens(embedded, event_context)
    tokens = source.interaction_tokens()
    if source.history is None:
        return tokens
    project = keras.layers.Dense(embedded.dim, dtype=embedded.dtype, name="count_token")
    counts = project(source.group_means()[1])
    return ops.concatenate([tokens, ops.expand_dims(counts, 1)], axis=1)
