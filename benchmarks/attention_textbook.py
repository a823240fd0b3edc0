"""`INFNet.paper_v1` as the paper writes it, for `attention.py` to compare with."""

import keras
import numpy as np
from keras import ops

import keras_infnet

BLOCKS, FIELD_PROXIES, TASK_PROXIES = 2, 4, 2


class Attention(keras.layers.Layer):
    """`CA(Q, X) = softmax((Q W_Q) (X W_K)^T / sqrt(d)) (X W_V)`."""

    def __init__(self, dim, **kwargs):
        super().__init__(**kwargs)
        self.dim = dim
        self.query = keras.layers.Dense(dim, use_bias=False, name="query")
        self.key = keras.layers.Dense(dim, use_bias=False, name="key")
        self.value = keras.layers.Dense(dim, use_bias=False, name="value")

    def build(self, queries_shape, memory_shape):
        self.query.build(queries_shape)
        self.key.build(memory_shape)
        self.value.build(memory_shape)

    def call(self, queries, memory, memory_mask=None):
        q, k, v = self.query(queries), self.key(memory), self.value(memory)
        scores = ops.matmul(q, ops.swapaxes(k, 1, 2)) / self.dim**0.5
        if memory_mask is not None:
            scores = ops.where(ops.expand_dims(memory_mask, 1), scores, -1e9)
        return ops.matmul(ops.softmax(scores), v)


class Gate(keras.layers.Layer):
    """`X * sigmoid(MLP(flatten(X~)))`."""

    def __init__(self, dim, **kwargs):
        super().__init__(**kwargs)
        self.hidden = keras.layers.Dense(dim, activation="relu", name="hidden")
        self.control = keras.layers.Dense(dim, activation="sigmoid", name="control")

    def build(self, tokens_shape, proxies_shape):
        self.hidden.build((None, proxies_shape[1] * proxies_shape[2]))
        self.control.build((None, tokens_shape[-1]))

    def call(self, tokens, proxies):
        flat = ops.reshape(proxies, (-1, proxies.shape[1] * proxies.shape[2]))
        return tokens * ops.expand_dims(self.control(self.hidden(flat)), 1)


def textbook_model(schema: keras_infnet.FeatureSchema, dim: int) -> keras.Model:
    packed = schema.packed_inputs().items()
    inputs = {name: keras.Input(shape, dtype=dtype, name=name) for name, (shape, dtype) in packed}
    embedding = keras_infnet.layers.FusedEmbedding(schema.table_rows(), dim, name="fused_embedding")
    c = embedding(inputs["categorical"])
    ids = ops.concatenate([inputs[s.name] for s in schema.histories], axis=1)
    s, mask = embedding(ids, tables=("video_id",))[:, :, 0], ops.not_equal(ids[:, :, 0], 0)
    flat = keras.layers.Flatten()(c)
    cp = ops.reshape(
        keras.layers.Dense(FIELD_PROXIES * dim, name="field_proxies")(flat),
        (-1, FIELD_PROXIES, dim),
    )
    sp = sequence_proxies(schema, s, mask, dim)
    t = keras_infnet.layers.TaskTokenEmbedding(len(schema.tasks), dim, name="tasks")(c)
    tp = keras_infnet.layers.TaskTokenEmbedding(TASK_PROXIES, dim, name="task_proxies")(c)
    for i in range(BLOCKS):

        def attend(query, memory, name, i=i):
            layer = Attention(dim, name=f"block_{i}_{name}")
            return layer(query, memory, memory_mask=mask if "history" in name else None)

        last = i == BLOCKS - 1
        tp_new = attend(tp, c, f"fields_{0 if last else 1}") + attend(
            tp, s, f"history_{0 if last else 1}"
        )
        t_new = attend(t, c, f"fields_{1 if last else 2}") + attend(
            t, s, f"history_{1 if last else 2}"
        )
        if not last:
            cp = attend(cp, s, "history_0") + attend(cp, t, "tasks_0")
            sp = attend(sp, c, "fields_0") + attend(sp, t, "tasks_1")
            c = Gate(dim, name=f"block_{i}_fields_gate")(c, cp)
            s = Gate(dim, name=f"block_{i}_history_gate")(s, sp)
        t, tp = Gate(dim, name=f"block_{i}_tasks_gate")(t_new, tp_new), tp_new
    outputs = {
        task.name: keras_infnet.layers.TaskHead(name=f"{task.name}_head")(t[:, k])
        for k, task in enumerate(schema.tasks)
    }
    return keras.Model(inputs, outputs)


def sequence_proxies(schema, s, mask, dim):
    """For each behaviour the sum of projected tokens: projected first, then pooled."""
    projected = keras.layers.Dense(dim, name="sequence_proxies")(s)
    projected = projected * ops.cast(ops.expand_dims(mask, -1), projected.dtype)
    length = schema.histories[0].max_length
    parts = ops.reshape(projected, (-1, len(schema.histories), length, dim))
    return ops.sum(parts, axis=2)


def copy_weights(fast: keras.Model, textbook: keras.Model) -> None:
    """Gives both models the same weights, large enough that attention and gates matter."""
    rng = np.random.default_rng(0)
    weights = {}
    for variable in fast.weights:
        tokens = variable.path.endswith("embeddings")
        scale = 1.0 if tokens else 1.5 / np.sqrt(variable.shape[0])
        weights[variable.path] = rng.normal(0, scale, variable.shape).astype("float32")
        variable.assign(weights[variable.path])
    for variable in textbook.weights:
        variable.assign(weights[path_in_fast_model(variable.path)])
    if len(textbook.weights) != len(weights):
        raise SystemExit("The models don't have the same weights.")


def path_in_fast_model(path: str) -> str:
    """`block_0_history_1/key/kernel` is `block_0_history_attention/key_kernel_1`."""
    layer, *rest = path.split("/")
    if not layer.startswith("block_"):
        return path
    memory, what = layer.rsplit("_", 1)
    if what == "gate":
        return path
    return f"{memory}_attention/{rest[0]}_kernel_{what}"
