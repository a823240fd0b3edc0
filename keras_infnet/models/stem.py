"""STEM: shared and task-specific embeddings; each task learns its own tables alone."""

from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from keras_infnet._base.fields import at_least, widths
from keras_infnet.layers.expert_group import ExpertGroup
from keras_infnet.models.expert_model import ExpertModel, check_task_names, mixture
from keras_infnet.models.tokens import Tokens
from keras_infnet.schema.schema import FeatureSchema


@keras.saving.register_keras_serializable(package="keras_infnet")
class STEM(ExpertModel):
    """STEM-Net on the same inputs as `INFNet`: shared and task-specific embeddings.

    Each id has a shared row of width `dim` and one of width `task_dim` for each task. Of each, the
    flat tokens that `SharedBottom` reads are made: `x_s`, and `x_i` of task `i`. With experts `F_s`
    on `x_s` and `F_j` on `x_j` (MLPs with relu, outputs side by side),

    `y_i = head_i(g_i [sg(F_1); ...; F_i; ...; sg(F_N); F_s])`,
    `g_i = softmax(MLP_i([x_i; x_s]) W_i + b_i)`.

    All tasks read all experts, but `sg` stops the gradient: the loss of a task reaches its own
    tables and experts and the shared ones, never those of another task. `expert_shares` has a gate
    for each task, named like it, over `{task}_0`, ... of all tasks and `shared_0`, ...

    The authors' code adds `x_i` and `x_s` before the gate, which is our gate with one matrix for
    both; apart, their widths may differ. Otherwise the gate is theirs. It can stack layers, with
    one as the default; here it is one.

    Args:
        schema: A fitted schema, such as `RankingData(schema, log).schema`.
        dim: Width of the shared embeddings. Defaults to `16`: with three tasks, 64 numbers an id.
        head_dim: Hidden width of the heads. Defaults to `64`.
        event_context: What an event's token knows besides its item, where the schema has it; it
            may have `"match"` too: which of its fields equal the candidate's. Defaults to `None`:
            all that its histories have, and the position.
        members: Number of networks on shared tables, each with its own loss; their outputs are
            averaged. Defaults to `1`.
        own_tables: Whether each member has tables of its own. Defaults to `False`.
        dropout: Rate after each layer of the experts and in the heads. Defaults to `0.0`.
        embedding_stddev: Standard deviation of the embeddings' start. Defaults to `0.01`.
        task_dim: Width of each task's own embeddings. Defaults to `16`.
        num_shared_experts: Number of shared experts. Defaults to `2`.
        num_task_experts: Number of experts of each task. Defaults to `2`.
        expert_dims: Widths of an expert's layers. Defaults to `(128,)`.
        gate_dims: Widths of the gates' MLP; it may be empty. Defaults to `(64,)`.
        name: Name of the model. Defaults to `None`: its class's.
        trainable: Whether its weights are. Defaults to `True`.
        dtype: Dtype policy of the layers. Defaults to `None`: the global policy.

    Returns:
        Dict `{task: (batch, 1)}` of float32 probabilities (regression: values).

    Raises:
        ValueError: The schema is not fitted, a task is called "shared", or a hyperparameter is out
            of range.

    Example:
        >>> video = keras_infnet.CategoricalFeature("video_id", "item")
        >>> schema = keras_infnet.FeatureSchema([video], [keras_infnet.BinaryTask("click")])
        >>> schema = schema.with_sizes({"video_id": 10})
        >>> model = keras_infnet.models.STEM(schema)
        >>> tuple(model({"categorical": keras.ops.ones((2, 1), "int32")})["click"].shape)
        (2, 1)

    Reference:
        Su et al., STEM: Unleashing the Power of Embeddings for Multi-task Recommendation, AAAI
        2024, arXiv:2308.13537, and its code, github.com/LiangcaiSu/STEM. Sizes are our choice.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(ExpertModel.Config):
        """Arguments of `STEM`, which says what they mean."""

        dim: int = at_least(1, default=16)
        task_dim: int = at_least(1, default=16)
        num_shared_experts: int = at_least(1, default=2)
        num_task_experts: int = at_least(1, default=2)
        expert_dims: tuple[int, ...] = widths(default=(128,), depth=True)
        gate_dims: tuple[int, ...] = widths(default=(64,))

        @property
        def task_table_dim(self) -> int:
            return self.task_dim

    @classmethod
    def check_schema(cls, schema: FeatureSchema) -> None:
        check_task_names(cls.__name__, schema.task_names)

    @staticmethod
    def network(tokens: Tokens, config: "STEM.Config") -> dict[str, Any]:
        """Experts on each task's own tokens and on the shared ones; all tasks read all."""
        inputs = {task: tokens.own(task).flat() for task in tokens.task_names}
        inputs["shared"] = tokens.flat()
        sizes = dict.fromkeys(inputs, config.num_task_experts)
        sizes["shared"] = config.num_shared_experts
        experts = {
            group: ExpertGroup(size, config.expert_dims, config.dropout, name=f"{group}_experts")(
                inputs[group]
            )
            for group, size in sizes.items()
        }
        names = [f"{group}_{k}" for group, size in sizes.items() for k in range(size)]
        options = {"hidden_dims": config.gate_dims, "use_bias": True}
        mixtures = {}
        for task in tokens.task_names:
            read = [
                outputs if group in (task, "shared") else ops.stop_gradient(outputs)
                for group, outputs in experts.items()
            ]
            x = ops.concatenate([inputs[task], inputs["shared"]], axis=-1)
            mixtures[task] = mixture(x, ops.concatenate(read, axis=1), names, task, **options)
        return mixtures
