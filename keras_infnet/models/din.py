"""DIN: past events count by their relation to the candidate."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_infnet.layers.local_activation_unit import LocalActivationUnit
from keras_infnet.models.embedded_inputs import EmbeddedInputs
from keras_infnet.models.history_tokens import EVENT_CONTEXT
from keras_infnet.models.hyperparameters import check_hyperparameters, constructor_arguments
from keras_infnet.models.members import member_outputs
from keras_infnet.models.network_parts import mlp, task_outputs
from keras_infnet.models.ranking_model import RankingModel
from keras_infnet.models.schema_tokens import SchemaTokens
from keras_infnet.models.separate_histories import SeparateHistories, require_history
from keras_infnet.schema.schema import FeatureSchema


@keras.saving.register_keras_serializable(package="keras_infnet")
class DIN(RankingModel):
    """Deep interest network, on the same tokens as `INFNet`.

    `y_i = head_i(MLP([flatten(C); cand; means; log1p(n_f); sum_l a_l S_l]))` with the weights `a_l`
    of a `LocalActivationUnit`, which see the candidate. The first four parts are what
    `SharedBottom` reads. Several histories have a sum each, from one unit.

    Args:
        schema: A fitted schema: `FeatureEncoder(schema).fit(frame).schema`.
        dim: Token width. Defaults to `32`.
        activation_dims: Hidden widths of the unit's MLP. Defaults to `(80, 40)`.
        normalize: Whether weights are a softmax over the events. Defaults to `False`.
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
        ValueError: The schema is not fitted or has no history, or a hyperparameter is out of range.

    Example:
        >>> video = keras_infnet.CategoricalFeature("video_id", "item", num_ids=10)
        >>> liked = keras_infnet.History("liked", ("video_id",), max_length=4, quantities=())
        >>> schema = keras_infnet.FeatureSchema([video], [keras_infnet.BinaryTask("click")], [liked])
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

    def __init__(
        self,
        schema: FeatureSchema,
        dim: int = 32,
        activation_dims: Sequence[int] = (80, 40),
        normalize: bool = False,
        hidden_dims: Sequence[int] = (256, 128),
        head_dim: int = 64,
        event_context: Sequence[str] = EVENT_CONTEXT,
        members: int = 1,
        dropout: float = 0.0,
        embedding_stddev: float = 0.01,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        hyperparameters = constructor_arguments(DIN, locals())
        check_hyperparameters("DIN", hyperparameters)
        require_history("DIN", schema)
        embedded = EmbeddedInputs(schema, dim, embedding_stddev, dtype=dtype)
        outputs = member_outputs(embedded, members, lambda part: _network(part, hyperparameters))
        super().__init__(schema, embedded.inputs, outputs, hyperparameters, dtype=dtype, **kwargs)


def _network(embedded: EmbeddedInputs, given: Mapping[str, Any]) -> dict[str, Any]:
    """One member: from embedded inputs to an output for each task."""
    schema, dropout, dtype = embedded.schema, given["dropout"], embedded.dtype
    tokens = SchemaTokens(embedded, given["event_context"])
    histories = SeparateHistories(embedded, tokens)
    unit = LocalActivationUnit(
        given["activation_dims"], normalize=given["normalize"], dtype=dtype, name="activation_unit"
    )
    pooled = unit(histories.tokens, histories.candidate, tokens_mask=histories.mask)
    shared = ops.concatenate([tokens.flat(), histories.as_examples(pooled)], axis=-1)
    shared = mlp(shared, given["hidden_dims"], dropout, dtype, name="shared")
    representations = dict.fromkeys(schema.task_names, shared)
    return task_outputs(schema, representations, given["head_dim"], dropout, dtype)
