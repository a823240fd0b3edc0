"""The factorization machine, with a linear term and interactions for each task."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_infnet.layers.bi_interaction import BiInteraction
from keras_infnet.layers.cheap_dropout import CheapDropout
from keras_infnet.models.embedded_inputs import EmbeddedInputs
from keras_infnet.models.history_tokens import EVENT_CONTEXT
from keras_infnet.models.hyperparameters import check_hyperparameters, constructor_arguments
from keras_infnet.models.members import member_outputs
from keras_infnet.models.ranking_model import RankingModel
from keras_infnet.models.schema_tokens import SchemaTokens
from keras_infnet.schema.schema import FeatureSchema


@keras.saving.register_keras_serializable(package="keras_infnet")
class FM(RankingModel):
    """Factorization machine on the same tokens as `INFNet`.

    `y_i = sigmoid(c_i + w_i . x + h_i . sum_{j<k} v_j * v_k)` with products element by element;
    `x = [flatten(C); cand; mean_{l in f} S_l; log1p(n_f)]`, which `SharedBottom` reads too, and its
    tokens `v = [C; cand; mean_{l in f} S_l]`. A schema without history has `C` alone. There is no
    hidden layer: `c_i` starts at the log odds of the task's base rate.

    Args:
        schema: A fitted schema: `FeatureEncoder(schema).fit(frame).schema`.
        dim: Token width. Defaults to `32`.
        event_context: What an event's token knows besides its item, where the schema has it; it may
            have `"match"` too: which of its fields equal the candidate's. Defaults to
            `("action", "ratio", "age", "position")`.
        members: Number of networks on shared tables, each with its own loss; their outputs are
            averaged. Defaults to `1`.
        dropout: Rate on what the linear maps `w_i` and `h_i` read. Defaults to `0.0`.
        embedding_stddev: Standard deviation of the embeddings' start. Defaults to `0.01`.
        dtype: Dtype policy of the layers. Defaults to `None`: the global policy.
        **kwargs: `name` and `trainable`.

    Returns:
        Dict `{task: (batch, 1)}` of float32 probabilities (regression: values, no sigmoid).

    Raises:
        ValueError: The schema is not fitted, or a hyperparameter is out of range.

    Example:
        >>> video = keras_infnet.CategoricalFeature("video_id", "item", num_ids=10)
        >>> schema = keras_infnet.FeatureSchema([video], [keras_infnet.BinaryTask("click")])
        >>> model = keras_infnet.models.FM(schema)
        >>> tuple(model({"categorical": keras.ops.ones((2, 1), "int32")})["click"].shape)
        (2, 1)

    Reference:
        Rendle, Factorization Machines, ICDM 2010, of one task, where `h_i` is all ones. Our choice:
        tasks share the tokens, and each weighs the interactions by its own `h_i`; the weight of a
        feature in the linear term is `w_i .` its token, so that one table serves both terms.
    """

    def __init__(
        self,
        schema: FeatureSchema,
        dim: int = 32,
        event_context: Sequence[str] = EVENT_CONTEXT,
        members: int = 1,
        dropout: float = 0.0,
        embedding_stddev: float = 0.01,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        hyperparameters = constructor_arguments(FM, locals())
        check_hyperparameters("FM", hyperparameters)
        embedded = EmbeddedInputs(schema, dim, embedding_stddev, dtype=dtype)
        outputs = member_outputs(embedded, members, lambda part: _network(part, hyperparameters))
        super().__init__(schema, embedded.inputs, outputs, hyperparameters, dtype=dtype, **kwargs)


def _network(embedded: EmbeddedInputs, given: Mapping[str, Any]) -> dict[str, Any]:
    """One member: from embedded inputs to an output for each task."""
    dtype = embedded.dtype
    tokens = SchemaTokens(embedded, given["event_context"])
    interactions = BiInteraction(dtype=dtype, name="interactions")(tokens.interaction_tokens())
    terms = ops.concatenate([tokens.flat(), interactions], axis=-1)
    if given["dropout"]:
        terms = CheapDropout(given["dropout"], dtype=dtype, name="dropout")(terms)
    return {task.name: _linear_head(task)(terms) for task in embedded.schema.tasks}


def _linear_head(task: Task) -> keras.layers.Dense:
    """`w_i` and `h_i` side by side, and `c_i`."""
    start, activation = task.base_rate or 0.0, None
    if task.kind == "binary":
        rate = 0.5 if task.base_rate is None else min(max(task.base_rate, 1e-6), 1 - 1e-6)
        start, activation = math.log(rate / (1 - rate)), "sigmoid"
    bias = keras.initializers.Constant(start)
    return keras.layers.Dense(
        1, activation, bias_initializer=bias, dtype="float32", name=f"{task.name}_head"
    )
