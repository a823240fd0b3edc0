"""DCN-V2 and GDCN: explicit feature crosses, plain or gated, and an MLP."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import keras
from keras import ops

from keras_infnet._base.fields import at_least, depth, one_of, widths
from keras_infnet.layers.cross_layer import CrossLayer
from keras_infnet.layers.gated_cross_layer import GatedCrossLayer
from keras_infnet.models.mlp import mlp
from keras_infnet.models.ranking_model import RankingModel
from keras_infnet.models.tokens import Tokens


@dataclass(frozen=True, kw_only=True)
class _CrossConfig(RankingModel.Config):
    """What both models are configured by."""

    num_cross_layers: int = depth(3)
    structure: Literal["parallel", "stacked"] = one_of("parallel", "stacked")
    hidden_dims: tuple[int, ...] = widths(default=(256, 128))


@keras.saving.register_keras_serializable(package="keras_infnet")
class DCNv2(RankingModel):
    """Deep and cross network, second version, on the same tokens as `INFNet`.

    `x_{l+1} = x_0 * (W_l x_l + b_l) + x_l` for `num_cross_layers` layers, products element by
    element, from `x_0 = [flatten(C); cand; mean_{l in f} S_l; log1p(n_f)]`, which `SharedBottom`
    reads too. With the last layer's `x_L`

    - `"parallel"`: `y_i = head_i([x_L; MLP(x_0)])`;
    - `"stacked"`: `y_i = head_i(MLP(x_L))`.

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
        num_cross_layers: Number of cross layers. Defaults to `3`.
        structure: `"parallel"` or `"stacked"`. Defaults to `"parallel"`.
        hidden_dims: Widths of the MLP. Defaults to `(256, 128)`.
        projection_dim: Rank of the matrices `W_l = U_l V_l^T`; a quarter of the width of `x_0` kept
            the accuracy in the paper. Defaults to `None`: full matrices.
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
        >>> model = keras_infnet.models.DCNv2(schema, projection_dim=8)
        >>> tuple(model({"categorical": keras.ops.ones((2, 1), "int32")})["click"].shape)
        (2, 1)

    Reference:
        Wang et al., DCN V2, WWW 2021, arXiv:2008.13535, of one task. One head a task, the history's
        part of `x_0`, the default structure and sizes are our choice.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(_CrossConfig):
        """Arguments of `DCNv2`, which says what they mean."""

        projection_dim: int | None = at_least(1, default=None, kind=1)

    @staticmethod
    def network(tokens: Tokens, config: "DCNv2.Config") -> dict[str, Any]:
        """Crosses of any pairs, and the MLP."""
        return _crosses(tokens, config, lambda name: CrossLayer(config.projection_dim, name=name))


@keras.saving.register_keras_serializable(package="keras_infnet")
class GDCN(RankingModel):
    """Gated deep cross network on the same tokens as `INFNet`.

    `c_{l+1} = c_0 * (W_c c_l + b) * sigmoid(W_g c_l) + c_l` for `num_cross_layers` layers with
    matrices of their own, products element by element, from `c_0 = [flatten(C); cand; mean_{l in f}
    S_l; log1p(n_f)]`, which `SharedBottom` reads too. With the last layer's `c_L`

    - `"parallel"` (GDCN-P): `y_i = head_i([c_L; MLP(c_0)])`;
    - `"stacked"` (GDCN-S): `y_i = head_i(MLP(c_L))`.

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
        num_cross_layers: Number of gated cross layers. Defaults to `3`.
        structure: `"parallel"` or `"stacked"`. Defaults to `"parallel"`.
        hidden_dims: Widths of the MLP. Defaults to `(256, 128)`.
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
        >>> model = keras_infnet.models.GDCN(schema)
        >>> inputs = {"categorical": keras.ops.ones((2, 1), "int32")}
        >>> [tuple(gate.shape) for gate in model.gates(inputs)]
        [(2, 32), (2, 32), (2, 32)]

    Reference:
        Wang et al., Towards Deeper, Lighter and Interpretable Cross Network for CTR Prediction,
        CIKM 2023, of one task. As in the authors' code, the gate has no bias and `b` starts uniform
        in [0, 1). One head a task, the history's part of `c_0`, the default structure and sizes are
        our choice.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(_CrossConfig):
        """Arguments of `GDCN`, which says what they mean."""

    @staticmethod
    def network(tokens: Tokens, config: "GDCN.Config") -> dict[str, Any]:
        """Crosses that pass a gate, and the MLP."""
        uniform = keras.initializers.RandomUniform
        return _crosses(tokens, config, lambda name: GatedCrossLayer(uniform(0.0, 1.0), name=name))

    def gates(self, inputs: Any, member: int = 0) -> list[Any]:
        """Which crosses each layer lets through; its mean over a field is the field's share.

        Args:
            inputs: Dict of packed inputs.
            member: Index of the network, of a model with several members. Defaults to `0`.

        Returns:
            For each cross layer `(batch, width)` between 0 and 1, with the columns of `c_0`: first
            `dim` for each of `schema.field_names`.

        Raises:
            ValueError: The model has no such member.
        """
        network = self.member(member)
        layers = [network.get_layer(f"cross_{i}") for i in range(self.config.num_cross_layers)]
        states = self.reading([layer.input[1] for layer in layers], member)(inputs)
        return [layer.gate_vector(x) for layer, x in zip(layers, states, strict=True)]


def _crosses(
    tokens: Tokens, config: _CrossConfig, layer: Callable[[str], keras.layers.Layer]
) -> dict[str, Any]:
    """`[x_L; MLP(x_0)]`, or `MLP(x_L)`, for all heads; `layer` makes the cross layer of a name."""
    x0 = x = tokens.flat()
    for i in range(config.num_cross_layers):
        x = layer(f"cross_{i}")(x0, x)
    stacked = config.structure == "stacked"
    deep = mlp(x if stacked else x0, config.hidden_dims, config.dropout, name="deep")
    shared = deep if stacked else ops.concatenate([x, deep], axis=-1)
    return dict.fromkeys(tokens.task_names, shared)
