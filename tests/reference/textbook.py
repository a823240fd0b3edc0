"""INFNet in numpy, as the papers write it: keys and values projected, gated tokens written.

Weights come from a built model by the names of its variables; nothing else of the library is used.
"""

import numpy as np


class Weights:
    """Weights of a layer or model by path, in float64; `weights / "part"` looks inside a part."""

    def __init__(self, variables, prefix=""):
        self.variables, self.prefix = variables, prefix

    @classmethod
    def of(cls, layer):
        return cls({v.path: np.array(v, "float64") for v in layer.weights})

    def __truediv__(self, part):
        return Weights(self.variables, f"{self.prefix}{part}/")

    def __contains__(self, name):
        return f"{self.prefix}{name}" in self.variables

    def __getitem__(self, name):
        return self.variables[f"{self.prefix}{name}"]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def relu(x):
    return np.maximum(x, 0)


def dense(x, w):
    return x @ w["kernel"] + w.variables.get(f"{w.prefix}bias", 0)


def layer_norm(x, w, epsilon=1e-3):
    centred = x - x.mean(-1, keepdims=True)
    variance = (centred**2).mean(-1, keepdims=True)
    return centred / np.sqrt(variance + epsilon) * w["gamma"] + w["beta"]


def divided_by_rms(x):
    return x / np.sqrt(np.mean(x**2, -1, keepdims=True) + 1e-6)


def cross_attention(
    queries, memory, w_q, w_k, w_v, num_heads=1, mask=None, bias=None, qk_norm=False, w_g=None
):
    """`softmax(Q W_Q (X W_K)^T / sqrt(d_k) + bias) (X W_V)`, row by row and head by head.

    With `w_g` it is multiplied by `sigmoid(Q w_g)`.
    """
    keys = divided_by_rms(memory) if qk_norm else memory
    queries = divided_by_rms(queries) if qk_norm else queries
    q, k, v = queries @ w_q, keys @ w_k, memory @ w_v
    output = np.zeros(q.shape)
    head_dim = q.shape[-1] // num_heads
    for b in range(len(q)):
        valid = np.arange(memory.shape[1]) if mask is None else np.flatnonzero(mask[b])
        if not len(valid):
            continue
        for h in range(num_heads):
            part = slice(h * head_dim, (h + 1) * head_dim)
            scores = q[b, :, part] @ k[b, valid][:, part].T / np.sqrt(head_dim)
            if bias is not None:
                scores = scores + bias[b % len(bias)][:, valid]
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            weights /= weights.sum(-1, keepdims=True)
            output[b, :, part] = weights @ v[b, valid][:, part]
    return output if w_g is None else output / (1 + np.exp(-(queries @ w_g)))


def gated_unit(tokens, proxies, mlp, gate="sigmoid", norm=None, mask=None):
    """PGU of either version; `mlp` holds one Dense or two."""
    control = proxies.reshape(len(proxies), -1)
    for w in mlp[:-1]:
        control = relu(dense(control, w))
    control = dense(control, mlp[-1])[:, None]
    if gate == "sigmoid":
        return tokens * sigmoid(control)
    alpha, beta = np.split(control, 2, -1)
    output = layer_norm(tokens + tokens * sigmoid(alpha) + beta, norm)
    return output if mask is None else output * mask[:, :, None]


MLP = ("hidden", "control")
# In which queries stand side by side.
ORDER = ("field_proxies", "sequence_proxies", "task_proxies", "tasks", "candidate_proxy")
ORDER += ("own_proxies",)
READS = {
    "field_proxies": ("history", "tasks"),
    "sequence_proxies": ("fields", "tasks"),
    "task_proxies": ("fields", "history"),
    "tasks": ("fields", "history"),
    "candidate_proxy": ("fields", "history"),
    "own_proxies": ("fields", "history"),
}
READS_ALL = {
    "field_proxies": ("fields", "history", "tasks"),
    "sequence_proxies": ("fields", "history", "tasks"),
    "tasks+task_proxies": ("fields", "history", "tasks"),
    "candidate_proxy": ("fields", "history", "tasks"),
    "own_proxies": ("fields", "history", "tasks"),
}
ALL_TO_ALL = {
    "fields": ("history", "tasks"),
    "history": ("fields", "tasks"),
    **{name: READS[name] for name in list(READS)[2:]},
}
# Weights of all-to-all are named after the proxies whose place the tokens take.
NAMES = {"fields": "field_proxies", "history": "sequence_proxies"}


def score_bias(w, buckets):
    """One scalar for each query and bucket, `(batch, queries, length)`."""
    return np.swapaxes(sum(w[f"{name}_table"][ids] for name, ids in buckets.items()), 1, 2)


def heterogeneous_flow(w, state, options, reads, name):
    """The new tokens of each group of queries, one `CA` after the other; `name` is the block's."""
    queries = {g: np.concatenate([state[n] for n in g.split("+")], 1) for g in reads}
    updated = {}
    for group in reads:
        results = [
            read(
                w / f"{name}_{memory}_attention",
                score_bias(w / f"{name}_history_score_bias", state["buckets"])
                if memory == "history" and options["score_biases"] and state["buckets"]
                else None,
                queries,
                group,
                memory,
                [g for g in reads if memory in reads[g]],
                state,
                options,
            )
            for memory in reads[group]
            if memory in state
        ]
        flow, layer = queries[group], NAMES.get(group, group).replace("+", "_and_")
        if results:
            if options["own_group"]:
                flow = dense(np.concatenate(results, -1), w / f"{name}_{layer}_fusion")
            else:
                flow = sum(results)
            if options["residual"]:
                flow = queries[group] + flow
            if options["layer_norm"]:
                flow = layer_norm(flow, w / f"{name}_{layer}_norm")
        start = 0
        for part in group.split("+"):
            updated[part] = flow[:, start : start + state[part].shape[1]]
            start += state[part].shape[1]
    return updated


def read(at, bias, queries, group, memory, readers, state, options):
    """`CA(Q, X)` of one group; `readers` are the groups that query this memory."""
    k = readers.index(group)
    kv = 0 if options["share_kv"] else k
    if bias is not None:
        first = sum(queries[g].shape[1] for g in readers[:k])
        bias = bias[:, first : first + queries[group].shape[1]]
    return cross_attention(
        queries[group],
        state[memory],
        at[f"query_kernel_{k}"],
        at[f"key_kernel_{kv}"],
        at[f"value_kernel_{kv}"],
        options["num_heads"],
        state["mask"] if memory == "history" else None,
        bias,
        options["qk_norm"],
        at[f"gate_kernel_{k}"] if options["output_gate"] else None,
    )


def what_is_updated(state, options, after):
    """Memories by group, for the groups whose new tokens are read; `after` blocks follow."""
    reads = READS_ALL if options["own_group"] else READS
    reads = ALL_TO_ALL if options["all_to_all"] else reads
    gates = options["homogeneous_flow"]
    unread = set()
    if not options["uses_candidate"]:
        if not (gates and after):
            unread |= {"field_proxies", "sequence_proxies"}
        if not after:
            unread |= {"fields", "history"}
        if not gates and not options["num_own_proxies"]:
            unread.add("task_proxies")
    updated = {}
    for group, memories in reads.items():
        names = [name for name in group.split("+") if name in state and name not in unread]
        if names:
            updated["+".join(names)] = memories
    return updated


def block(w, name, state, options, after, fed_forward=None):
    """The block of a name, that `after` others follow; gated fields and history are written out.

    `fed_forward` makes new queries of those that the heterogeneous flow gives, by group.
    """
    reads, new = what_is_updated(state, options, after), dict(state)
    if options["heterogeneous_flow"]:
        new |= heterogeneous_flow(w, state, options, reads, name)
        if fed_forward is not None:
            new |= fed_forward({g: new[g] for g in ORDER if g in new}, name)
    if not options["homogeneous_flow"]:
        return new
    hubs = {}
    if "task_proxies" in state and "tasks" in state:
        hubs["tasks"] = new["task_proxies"]
        if options["own_group"]:
            hubs["tasks"] = np.concatenate([new["tasks"], new["task_proxies"]], 1)
    if after and options["heterogeneous_flow"] and not options["all_to_all"]:
        hubs |= {"fields": new["field_proxies"], "history": new.get("sequence_proxies")}
    for tokens, proxies in hubs.items():
        if tokens not in new:
            continue
        gate = w / f"{name}_{tokens}_gate"
        mlp = [gate / part for part in MLP if f"{part}/kernel" in gate]
        mask = new["mask"] if tokens == "history" else None
        new[tokens] = gated_unit(new[tokens], proxies, mlp, options["gate"], gate / "norm", mask)
    return new
