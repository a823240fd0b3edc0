"""Shared bottom: the plainest multi-task model, one shared MLP and one head a task."""

from dataclasses import dataclass
from typing import Any

import keras

from keras_infnet._base.fields import widths
from keras_infnet.models.mlp import mlp
from keras_infnet.models.ranking_model import RankingModel
from keras_infnet.models.tokens import Tokens


@keras.saving.register_keras_serializable(package="keras_infnet")
class SharedBottom(RankingModel):
    """Shared-Bottom on the same tokens as `INFNet`.

    `y_i = head_i(MLP([flatten(C); cand; mean_{l in f} S_l; log1p(n_f)]))` with the field tokens
    `C`, the candidate in the space of the events, and for each group `f` of each history the mean
    of its events' tokens and the number of its events. A schema without history has the first part
    alone.

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
        hidden_dims: Widths of the shared MLP. Defaults to `(256, 128)`.
        name: Name of the model. Defaults to `None`: its class's.
        trainable: Whether its weights are. Defaults to `True`.
        dtype: Dtype policy of the layers. Defaults to `None`: the global policy.

    Returns:
        Dict `{task: (batch, 1)}` of float32 probabilities (regression: values).

    Raises:
        ValueError: The schema is not fitted, or a hyperparameter is out of range.

    Example:
        >>> video = keras_infnet.CategoricalFeature("video_id", "item")
        >>> schema = keras_infnet.FeatureSchema([video], [keras_infnet.BinaryTask("click")])
        >>> schema = schema.with_sizes({"video_id": 10})
        >>> model = keras_infnet.models.SharedBottom(schema)
        >>> tuple(model({"categorical": keras.ops.ones((2, 1), "int32")})["click"].shape)
        (2, 1)

    Reference:
        Caruana, Multitask Learning, Machine Learning 28, 1997. Sizes are our choice.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(RankingModel.Config):
        """Arguments of `SharedBottom`, which says what they mean."""

        hidden_dims: tuple[int, ...] = widths(default=(256, 128), depth=True)

    @staticmethod
    def network(tokens: Tokens, config: "SharedBottom.Config") -> dict[str, Any]:
        """One MLP for all heads."""
        shared = mlp(tokens.flat(), config.hidden_dims, config.dropout, name="shared")
        return dict.fromkeys(tokens.task_names, shared)
