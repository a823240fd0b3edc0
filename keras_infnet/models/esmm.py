"""ESMM: probabilities of a funnel as products along its path, trained on all exposures."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from keras_infnet._base.fields import widths
from keras_infnet.models.mlp import mlp
from keras_infnet.models.ranking_model import RankingModel, task_head
from keras_infnet.models.tokens import Tokens
from keras_infnet.schema.funnel import parents_of
from keras_infnet.schema.schema import FeatureSchema


@keras.saving.register_keras_serializable(package="keras_infnet")
class ESMM(RankingModel):
    """Entire Space Multi-Task Model on the same tokens as `INFNet`.

    `P_t = sigmoid(head_t(tower_t(x))) P_parent(t)`, and without a parent the first factor alone:
    `P(click and buy) = P(buy | click) P(click)`. `x` are the flat tokens that `SharedBottom` reads,
    a tower an MLP of its own; tasks share the tables alone. Outputs are the `P_t`, probabilities in
    all exposures; their losses train each factor of the path in all of them, and no factor has a
    loss of its own. `P_t / P_parent(t)` is the probability given the parent.

    The parent of a task is the one before it in the funnel that the schema's tasks declare, such
    as `BinaryTask("buy", observed_when="click", entire_space=True)`. Several tasks may have one
    parent. A binary task that no other comes before is the first of a path. Tasks that are not
    binary, and with them their `observed_when`, are as in other models.

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
        dropout: Rate after each layer of the towers and in the heads. Defaults to `0.0`.
        embedding_stddev: Standard deviation of the embeddings' start. Defaults to `0.01`.
        hidden_dims: Widths of a tower. Defaults to `(256, 128)`.
        name: Name of the model. Defaults to `None`: its class's.
        trainable: Whether its weights are. Defaults to `True`.
        dtype: Dtype policy of the layers. Defaults to `None`: the global policy.

    Returns:
        Dict `{task: (batch, 1)}` of float32 probabilities (regression: values), that of a task at
        most that of its parent.

    Raises:
        ValueError: The schema is not fitted, a hyperparameter is out of range, a binary task is
            observed where another's label is 1 and is not of the entire space, or no task or
            several are just before one.

    Example:
        >>> video = keras_infnet.CategoricalFeature("video_id", "item")
        >>> click = keras_infnet.BinaryTask("click")
        >>> buy = keras_infnet.BinaryTask("buy", observed_when="click", entire_space=True)
        >>> schema = keras_infnet.FeatureSchema([video], [click, buy])
        >>> model = keras_infnet.models.ESMM(schema.with_sizes({"video_id": 10}))
        >>> p = model({"categorical": keras.ops.ones((2, 1), "int32")})
        >>> bool(keras.ops.all(p["buy"] <= p["click"]))
        True

    Reference:
        Ma et al., Entire Space Multi-Task Model: An Effective Approach for Estimating Post-Click
        Conversion Rate, SIGIR 2018, arXiv:1804.07931. Its loss is that of the product, as here;
        paths of more than two tasks, computing with logits, and sizes are our choice.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(RankingModel.Config):
        """Arguments of `ESMM`, which says what they mean."""

        hidden_dims: tuple[int, ...] = widths(default=(256, 128), depth=True)

    @classmethod
    def check_schema(cls, schema: FeatureSchema) -> None:
        parents_of(schema.tasks, cls.__name__)

    @staticmethod
    def network(tokens: Tokens, config: "ESMM.Config") -> dict[str, Any]:
        """A tower for each task."""
        x = tokens.flat()
        return {
            task: mlp(x, config.hidden_dims, config.dropout, name=f"{task}_tower")
            for task in tokens.task_names
        }

    @classmethod
    def heads(cls, found: Mapping[str, Any], schema: FeatureSchema, config: Any) -> dict[str, Any]:
        """Heads that say how often a task is 1 given its parent, multiplied along each path."""
        outputs: dict[str, Any] = {}
        logits: dict[str, Any] = {}
        for name, parent in parents_of(schema.tasks, cls.__name__).items():
            task = schema.task(name)
            if not task.calibrates:
                outputs[name] = task_head(schema, task, config)(found[name])
                continue
            start = {"activation": None, "bias": schema.first_bias(name, after=parent)}
            logit = task_head(schema, task, config, **start)(found[name])
            logits[name] = logit if parent is None else logit_of_product(logits[parent], logit)
            # No product: cross entropy from the logit of a sigmoid loses no digit on TensorFlow.
            sigmoid = keras.layers.Activation("sigmoid", dtype="float32", name=f"{name}_path")
            outputs[name] = sigmoid(logits[name])
        return {name: outputs[name] for name in schema.task_names}


def logit_of_product(a: Any, b: Any) -> Any:
    """`logit(sigmoid(a) sigmoid(b)) = -log(e^-a + e^-b + e^-(a + b))`; at most `a`, at most `b`."""
    return -ops.logsumexp(ops.stack([-a, -b, -a - b], axis=-1), axis=-1)
