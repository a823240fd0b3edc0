"""The plainest multi-task model: one shared MLP, one head a task."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_infnet.features.schema import FeatureSchema
from keras_infnet.models.ranking_model import RankingModel, constructor_arguments, task_outputs
from keras_infnet.models.schema_tokens import SchemaTokens


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
        >>> schema = keras_infnet.FeatureSchema([video], [keras_infnet.Task("click")])
        >>> model = keras_infnet.SharedBottom(schema)
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
        dropout: float = 0.0,
        embedding_stddev: float = 0.01,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        hyperparameters = constructor_arguments(SharedBottom, locals())
        if min(dim, head_dim, *hidden_dims) < 1 or not 0 <= dropout < 1:
            raise ValueError(
                "SharedBottom: widths must be 1 or more, and `dropout` in [0, 1). Received: "
                f"{dim=}, {head_dim=}, {hidden_dims=}, {dropout=}"
            )
        tokens = SchemaTokens(schema, dim, embedding_stddev=embedding_stddev, dtype=dtype)
        parts = [keras.layers.Flatten(dtype=dtype, name="flat_fields")(tokens.fields)]
        if tokens.history is not None:
            means, log_counts = tokens.group_means()
            parts += [
                tokens.candidate(),
                ops.reshape(means, (-1, means.shape[1] * dim)),
                log_counts,
            ]
        shared = parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=-1)
        for i, width in enumerate(hidden_dims):
            dense = keras.layers.Dense(width, activation="relu", dtype=dtype, name=f"shared_{i}")
            shared = dense(shared)
            shared = keras.layers.Dropout(dropout, dtype=dtype, name=f"dropout_{i}")(shared)
        representations = {task.name: shared for task in schema.tasks}
        outputs = task_outputs(schema, representations, head_dim, dropout, dtype)
        super().__init__(schema, tokens.inputs, outputs, hyperparameters, dtype=dtype, **kwargs)
