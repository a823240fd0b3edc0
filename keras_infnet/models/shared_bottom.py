"""The plainest multi-task model: one shared MLP, one head a task."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_infnet.models.embedded_inputs import EmbeddedInputs
from keras_infnet.models.history_tokens import EVENT_CONTEXT
from keras_infnet.models.hyperparameters import check_hyperparameters, constructor_arguments
from keras_infnet.models.members import member_outputs
from keras_infnet.models.network_parts import mlp, task_outputs
from keras_infnet.models.ranking_model import RankingModel
from keras_infnet.models.schema_tokens import SchemaTokens
from keras_infnet.schema.schema import FeatureSchema


@keras.saving.register_keras_serializable(package="keras_infnet")
class SharedBottom(RankingModel):
    """Shared-Bottom on the same tokens as `INFNet`.

    `y_i = head_i(MLP([flatten(C); cand; mean_{l in f} S_l; log1p(n_f)]))` with the field tokens
    `C`, the candidate in the space of the events, and for each group `f` of each history the mean
    of its events' tokens and the number of its events. A schema without history has the first part
    alone.

    Args:
        schema: A fitted schema: `FeatureEncoder(schema).fit(frame).schema`.
        dim: Token width. Defaults to `32`.
        hidden_dims: Widths of the shared MLP. Defaults to `(256, 128)`.
        head_dim: Hidden width of the heads. Defaults to `64`.
        event_context: What an event's token knows besides its item, where the schema has it; it may
            have `"match"` too: which of its fields equal the candidate's. Defaults to `("action",
            "ratio", "age", "position")`.
        members: Number of networks on shared tables, each with its own loss; their outputs are
            averaged. Defaults to `1`.
        dropout: Rate after each layer of the MLP and in the heads. Defaults to `0.0`.
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
        >>> model = keras_infnet.models.SharedBottom(schema)
        >>> tuple(model({"categorical": keras.ops.ones((2, 1), "int32")})["click"].shape)
        (2, 1)

    Reference:
        Caruana, Multitask Learning, Machine Learning 28, 1997. Sizes are our choice.
    """

    def __init__(
        self,
        schema: FeatureSchema,
        dim: int = 32,
        hidden_dims: Sequence[int] = (256, 128),
        head_dim: int = 64,
        event_context: Sequence[str] = EVENT_CONTEXT,
        members: int = 1,
        dropout: float = 0.0,
        embedding_stddev: float = 0.01,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        hyperparameters = constructor_arguments(SharedBottom, locals())
        check_hyperparameters("SharedBottom", hyperparameters)
        embedded = EmbeddedInputs(schema, dim, embedding_stddev, dtype=dtype)
        outputs = member_outputs(embedded, members, lambda part: _network(part, hyperparameters))
        super().__init__(schema, embedded.inputs, outputs, hyperparameters, dtype=dtype, **kwargs)


def _network(embedded: EmbeddedInputs, given: Mapping[str, Any]) -> dict[str, Any]:
    """One member: from embedded inputs to an output for each task."""
    schema, dropout, dtype = embedded.schema, given["dropout"], embedded.dtype
    tokens = SchemaTokens(embedded, given["event_context"])
    shared = mlp(tokens.flat(), given["hidden_dims"], dropout, dtype, name="shared")
    representations = dict.fromkeys(schema.task_names, shared)
    return task_outputs(schema, representations, given["head_dim"], dropout, dtype)
