"""GDCN: feature crosses that pass a gate, and an MLP."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_infnet.layers.gated_cross_layer import GatedCrossLayer
from keras_infnet.models.deep_cross import Structure, check_structure, deep_cross_outputs
from keras_infnet.models.embedded_inputs import EmbeddedInputs
from keras_infnet.models.history_tokens import EVENT_CONTEXT
from keras_infnet.models.hyperparameters import check_hyperparameters, constructor_arguments
from keras_infnet.models.members import member_outputs, network_of, read_tensors
from keras_infnet.models.ranking_model import RankingModel
from keras_infnet.schema.schema import FeatureSchema


@keras.saving.register_keras_serializable(package="keras_infnet")
class GDCN(RankingModel):
    """Gated deep cross network on the same tokens as `INFNet`.

    `c_{l+1} = c_0 * (W_c c_l + b) * sigmoid(W_g c_l) + c_l` for `num_cross_layers` layers with
    matrices of their own, products element by element, from `c_0 = [flatten(C); cand; mean_{l in f}
    S_l; log1p(n_f)]`, which `SharedBottom` reads too. With the last layer's `c_L`

    - `"parallel"` (GDCN-P): `y_i = head_i([c_L; MLP(c_0)])`;
    - `"stacked"` (GDCN-S): `y_i = head_i(MLP(c_L))`.

    Args:
        schema: A fitted schema: `FeatureEncoder(schema).fit(frame).schema`.
        dim: Token width. Defaults to `32`.
        num_cross_layers: Number of gated cross layers. Defaults to `3`.
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

    def __init__(
        self,
        schema: FeatureSchema,
        dim: int = 32,
        num_cross_layers: int = 3,
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
        hyperparameters = constructor_arguments(GDCN, locals())
        check_hyperparameters("GDCN", hyperparameters)
        check_structure("GDCN", structure)

        def cross_layer(name: str) -> GatedCrossLayer:
            bias = keras.initializers.RandomUniform(0.0, 1.0)
            return GatedCrossLayer(bias, dtype=dtype, name=name)

        embedded = EmbeddedInputs(schema, dim, embedding_stddev, dtype=dtype)
        outputs = member_outputs(
            embedded, members, lambda part: deep_cross_outputs(part, hyperparameters, cross_layer)
        )
        super().__init__(schema, embedded.inputs, outputs, hyperparameters, dtype=dtype, **kwargs)

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
        network = network_of(self, member)
        number = self.hyperparameters["num_cross_layers"]
        layers = [network.get_layer(f"cross_{i}") for i in range(number)]
        states = read_tensors(self, inputs, [layer.input[1] for layer in layers], member)
        return [layer.gate_vector(x) for layer, x in zip(layers, states, strict=True)]
