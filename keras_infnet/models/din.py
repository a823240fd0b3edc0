"""DIN: past events count by their relation to the candidate."""

from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from keras_infnet._base.fields import declared, widths
from keras_infnet.layers.local_activation_unit import LocalActivationUnit
from keras_infnet.models.mlp import mlp
from keras_infnet.models.ranking_model import RankingModel
from keras_infnet.models.separate_histories import SeparateHistories
from keras_infnet.models.tokens import Tokens


@keras.saving.register_keras_serializable(package="keras_infnet")
class DIN(RankingModel):
    """Deep interest network, on the same tokens as `INFNet`.

    `y_i = head_i(MLP([flatten(C); cand; means; log1p(n_f); sum_l a_l S_l]))` with the weights `a_l`
    of a `LocalActivationUnit`, which see the candidate. The first four parts are what
    `SharedBottom` reads. Several histories have a sum each, from one unit.

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
        activation_dims: Hidden widths of the unit's MLP. Defaults to `(80, 40)`.
        normalize: Whether weights are a softmax over the events. Defaults to `False`.
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
        >>> model = keras_infnet.models.DIN(schema)
        >>> inputs = {"categorical": [[1], [2]], "liked": [[[0], [0], [3], [1]]] * 2}
        >>> inputs = {name: keras.ops.array(ids, "int32") for name, ids in inputs.items()}
        >>> tuple(model(inputs)["click"].shape)
        (2, 1)

    Reference:
        Zhou et al., Deep Interest Network for Click-Through Rate Prediction, KDD 2018,
        arXiv:1706.06978. The unit's widths are those of the authors' code. Means and counts beside
        the sum, ReLU in the MLP and its sizes, and no mini-batch aware regularisation: our choice.
    """

    needs_history = True

    @dataclass(frozen=True, kw_only=True)
    class Config(RankingModel.Config):
        """Arguments of `DIN`, which says what they mean."""

        activation_dims: tuple[int, ...] = widths(default=(80, 40))
        normalize: bool = declared(False)
        hidden_dims: tuple[int, ...] = widths(default=(256, 128), depth=True)

    @staticmethod
    def network(tokens: Tokens, config: "DIN.Config") -> dict[str, Any]:
        """The weighted sum of each history beside the flat tokens, and one MLP for all heads."""
        histories = SeparateHistories(tokens)
        unit = LocalActivationUnit(
            config.activation_dims, normalize=config.normalize, name="activation_unit"
        )
        pooled = unit(histories.tokens, histories.candidate, tokens_mask=histories.mask)
        x = ops.concatenate([tokens.flat(), histories.as_examples(pooled)], axis=-1)
        shared = mlp(x, config.hidden_dims, config.dropout, name="shared")
        return dict.fromkeys(tokens.task_names, shared)
