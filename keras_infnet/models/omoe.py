"""Experts and one gate for all tasks."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_infnet.models.embedded_inputs import EmbeddedInputs
from keras_infnet.models.expert_model import ExpertModel, expert_gate, expert_group
from keras_infnet.models.history_tokens import EVENT_CONTEXT
from keras_infnet.models.hyperparameters import check_hyperparameters, constructor_arguments
from keras_infnet.models.members import member_outputs
from keras_infnet.models.network_parts import task_outputs
from keras_infnet.models.schema_tokens import SchemaTokens
from keras_infnet.schema.schema import FeatureSchema


@keras.saving.register_keras_serializable(package="keras_infnet")
class OMoE(ExpertModel):
    """One-gate Mixture-of-Experts on the same tokens as `INFNet`.

    `y_i = head_i(sum_k g_k(x) f_k(x))` with `g(x) = softmax(x W)`, experts `f_k` (MLPs with relu)
    and `x` the flat tokens that `SharedBottom` reads. `expert_shares` has the one gate, `shared`,
    over `expert_0`, `expert_1`, ...

    Args:
        schema: A fitted schema: `FeatureEncoder(schema).fit(frame).schema`.
        dim: Token width. Defaults to `32`.
        num_experts: Number of experts, 2 or more. Defaults to `8`.
        expert_dims: Widths of an expert's layers. Defaults to `(128,)`.
        head_dim: Hidden width of the heads. Defaults to `64`.
        event_context: What an event's token knows besides its item, where the schema has it; it may
            have `"match"` too: which of its fields equal the candidate's. Defaults to `("action",
            "ratio", "age", "position")`.
        members: Number of networks on shared tables, each with its own loss; their outputs are
            averaged. Defaults to `1`.
        dropout: Rate after each layer of the experts and in the heads. Defaults to `0.0`.
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
        >>> model = keras_infnet.models.OMoE(schema)
        >>> tuple(model({"categorical": keras.ops.ones((2, 1), "int32")})["click"].shape)
        (2, 1)

    Reference:
        Ma et al., Modeling Task Relationships in Multi-task Learning with Multi-gate
        Mixture-of-Experts, KDD 2018, where it is compared with. Widths are our choice.
    """

    def __init__(
        self,
        schema: FeatureSchema,
        dim: int = 32,
        num_experts: int = 8,
        expert_dims: Sequence[int] = (128,),
        head_dim: int = 64,
        event_context: Sequence[str] = EVENT_CONTEXT,
        members: int = 1,
        dropout: float = 0.0,
        embedding_stddev: float = 0.01,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        hyperparameters = constructor_arguments(OMoE, locals())
        check_hyperparameters("OMoE", hyperparameters)
        embedded = EmbeddedInputs(schema, dim, embedding_stddev, dtype=dtype)
        outputs = member_outputs(embedded, members, lambda part: _network(part, hyperparameters))
        super().__init__(schema, embedded.inputs, outputs, hyperparameters, dtype=dtype, **kwargs)


def _network(embedded: EmbeddedInputs, given: Mapping[str, Any]) -> dict[str, Any]:
    """One member: from embedded inputs to an output for each task."""
    schema, dtype = embedded.schema, embedded.dtype
    inputs = SchemaTokens(embedded, given["event_context"]).flat()
    experts = expert_group(inputs, given["num_experts"], given, dtype, name="experts")
    names = [f"expert_{k}" for k in range(given["num_experts"])]
    mixture = expert_gate(inputs, experts, names, dtype, name="shared")
    mixtures = dict.fromkeys(schema.task_names, mixture)
    return task_outputs(schema, mixtures, given["head_dim"], given["dropout"], dtype)
