"""FM: a factorization machine with a linear term and interactions for each task."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from keras_infnet.layers.bi_interaction import BiInteraction
from keras_infnet.models.ranking_model import RankingModel
from keras_infnet.models.tokens import Tokens


@keras.saving.register_keras_serializable(package="keras_infnet")
class FM(RankingModel):
    """Factorization machine on the same tokens as `INFNet`.

    `y_i = sigmoid(c_i + w_i . x + h_i . sum_{j<k} v_j * v_k)` with products element by element;
    `x = [flatten(C); cand; mean_{l in f} S_l; log1p(n_f)]`, which `SharedBottom` reads too, and its
    tokens `v = [C; cand; mean_{l in f} S_l]`. A schema without history has `C` alone. There is no
    hidden layer: `c_i` starts at the log odds of the task's base rate.

    Args:
        schema: A fitted schema, such as `RankingData(schema, log).schema`.
        dim: Token width. Defaults to `32`.
        event_context: What an event's token knows besides its item, where the schema has it; it
            may have `"match"` too: which of its fields equal the candidate's. Defaults to `None`:
            all that its histories have, and the position.
        members: Number of networks on shared tables, each with its own loss; their outputs are
            averaged. Defaults to `1`.
        own_tables: Whether each member has tables of its own. Defaults to `False`.
        dropout: Rate on what the linear maps `w_i` and `h_i` read. Defaults to `0.0`.
        embedding_stddev: Standard deviation of the embeddings' start. Defaults to `0.01`.
        name: Name of the model. Defaults to `None`: its class's.
        trainable: Whether its weights are. Defaults to `True`.
        dtype: Dtype policy of the layers. Defaults to `None`: the global policy.

    Returns:
        Dict `{task: (batch, 1)}` of float32 probabilities (regression: values, no sigmoid).

    Raises:
        ValueError: The schema is not fitted, or a hyperparameter is out of range.

    Example:
        >>> video = keras_infnet.CategoricalFeature("video_id", "item")
        >>> schema = keras_infnet.FeatureSchema([video], [keras_infnet.BinaryTask("click")])
        >>> schema = schema.with_sizes({"video_id": 10})
        >>> model = keras_infnet.models.FM(schema)
        >>> tuple(model({"categorical": keras.ops.ones((2, 1), "int32")})["click"].shape)
        (2, 1)

    Reference:
        Rendle, Factorization Machines, ICDM 2010, of one task, where `h_i` is all ones. Our choice:
        tasks share the tokens, and each weighs the interactions by its own `h_i`; the weight of a
        feature in the linear term is `w_i .` its token, so that one table serves both terms.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(RankingModel.Config):
        """Arguments of `FM`, which says what they mean."""

        # `w_i` and `h_i` side by side are all of a head: there is no hidden layer.
        head_dim: None = dataclasses.field(default=None, init=False)

    @staticmethod
    def network(tokens: Tokens, config: "FM.Config") -> dict[str, Any]:
        """`x` beside the interactions, for the linear maps of all tasks."""
        interactions = BiInteraction(name="interactions")(tokens.interaction_tokens())
        terms = ops.concatenate([tokens.flat(), interactions], axis=-1)
        return dict.fromkeys(tokens.task_names, terms)
