"""DCN-V2: explicit feature crosses of bounded degree, and an MLP."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_infnet.layers.cross_layer import CrossLayer
from keras_infnet.models.deep_cross import Structure, check_structure, deep_cross_outputs
from keras_infnet.models.embedded_inputs import EmbeddedInputs
from keras_infnet.models.history_tokens import EVENT_CONTEXT
from keras_infnet.models.hyperparameters import check_hyperparameters, constructor_arguments
from keras_infnet.models.members import member_outputs
from keras_infnet.models.ranking_model import RankingModel
from keras_infnet.schema.schema import FeatureSchema


@keras.saving.register_keras_serializable(package="keras_infnet")
class DCNv2(RankingModel):
    """Deep and cross network, second version, on the same tokens as `INFNet`.

    `x_{l+1} = x_0 * (W_l x_l + b_l) + x_l` for `num_cross_layers` layers, products element by
    element, from `x_0 = [flatten(C); cand; mean_{l in f} S_l; log1p(n_f)]`, which `SharedBottom`
    reads too. With the last layer's `x_L`

    - `"parallel"`: `y_i = head_i([x_L; MLP(x_0)])`;
    - `"stacked"`: `y_i = head_i(MLP(x_L))`.

    Args:
        schema: A fitted schema: `FeatureEncoder(schema).fit(frame).schema`.
        dim: Token width. Defaults to `32`.
        num_cross_layers: Number of cross layers. Defaults to `3`.
        projection_dim: Rank of the matrices `W_l = U_l V_l^T`; a quarter of the width of `x_0` kept
            the accuracy in the paper. Defaults to `None`: full matrices.
        structure: `"parallel"` or `"stacked"`. Defaults to `"parallel"`.
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
        ValueError: The schema is not fitted, or a hyperparameter is out of range.

    Example:
        >>> video = keras_infnet.CategoricalFeature("video_id", "item", num_ids=10)
        >>> schema = keras_infnet.FeatureSchema([video], [keras_infnet.BinaryTask("click")])
        >>> model = keras_infnet.models.DCNv2(schema, projection_dim=8)
        >>> tuple(model({"categorical": keras.ops.ones((2, 1), "int32")})["click"].shape)
        (2, 1)

    Reference:
        Wang et al., DCN V2, WWW 2021, arXiv:2008.13535, of one task. One head a task, the history's
        part of `x_0`, the default structure and sizes are our choice.
    """

    def __init__(
        self,
        schema: FeatureSchema,
        dim: int = 32,
        num_cross_layers: int = 3,
        projection_dim: int | None = None,
        structure: Structure = "parallel",
        hidden_dims: Sequence[int] = (256, 128),
        head_dim: int = 64,
        event_context: Sequence[str] = EVENT_CONTEXT,
        members: int = 1,
        dropout: float = 0.0,
        embedding_stddev: float = 0.01,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        hyperparameters = constructor_arguments(DCNv2, locals())
        check_hyperparameters("DCNv2", hyperparameters)
        check_structure("DCNv2", structure)

        def network(part: EmbeddedInputs) -> dict[str, Any]:
            return deep_cross_outputs(
                part,
                hyperparameters,
                lambda name: CrossLayer(projection_dim, dtype=dtype, name=name),
            )

        embedded = EmbeddedInputs(schema, dim, embedding_stddev, dtype=dtype)
        outputs = member_outputs(embedded, members, network)
        super().__init__(schema, embedded.inputs, outputs, hyperparameters, dtype=dtype, **kwargs)
