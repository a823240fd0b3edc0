"""RankMixer, UniMixer and HyFormer in numpy, float64, as their pages write them."""

import numpy as np

from tests.reference.infnet import attend
from tests.reference.mixing import feature_tokens, feed_forward, gelu, mix, silu
from tests.reference.schema_tokens import by_kind, candidate, field_tokens, history_tokens
from tests.reference.textbook import (
    cross_attention,
    dense,
    divided_by_rms,
    layer_norm,
    relu,
    sigmoid,
)
from tests.reference.tokens import EVENT_CONTEXT, group_means


def rank_mixer(w, schema, inputs, num_tokens, num_layers, norm="post", mode="group"):
    fields = fields_by_owner(w, schema, inputs)
    x = tokens_of(w / "tokens", fields + pooled(w, schema, inputs), num_tokens, mode)
    for i in range(num_layers):
        mixing_norm, feed_norm = w / f"mixing_{i}_norm", w / f"feed_forward_{i}_norm"
        feed = w / f"feed_forward_{i}"
        if norm == "post":
            x = layer_norm(x + mix(x), mixing_norm)
            x = layer_norm(x + feed_forward(feed, x), feed_norm)
        else:
            x = x + mix(layer_norm(x, mixing_norm))
            x = x + feed_forward(feed, layer_norm(x, feed_norm))
    x = layer_norm(x, w / "norm") if norm == "pre" else x
    return heads(w, schema, x.mean(1))


def uni_mixer(w, schema, inputs, num_tokens, num_layers, block, history="pooled"):
    events = pooled(w, schema, inputs) if history == "pooled" else flat(w, schema, inputs)
    x = y = tokens_of(w / "tokens", fields_by_owner(w, schema, inputs) + events, num_tokens)
    for i in range(num_layers):
        mixed = sinkhorn_mixing(w / f"mixing_{i}", x + rms(y, w / f"mixing_{i}_norm"), block)
        update = feed_forward(w / f"feed_forward_{i}", mixed)
        x, y = rms(x + update, w / f"feed_forward_{i}_norm"), y + update
    return heads(w, schema, (x + rms(y, w / "norm")).reshape(len(x), -1))


def hyformer(w, schema, inputs, num_tokens, num_layers, num_heads, encoder, boost="one", g=1):
    fields = fields_by_owner(w, schema, inputs)
    x = np.zeros((len(fields[0]), 0, fields[0].shape[1]))
    states, groups = [], []
    if schema.histories:
        state = events_of(w, schema, inputs)
        means, log_counts = group_means(state)
        counts = log_counts @ (w / "counts")["kernel"]
        states, groups = apart(schema, state)
        info = np.concatenate([*fields, means.reshape(len(counts), -1), counts], 1)
        x = feature_tokens(w / "queries", [info] * (g * sum(len(of) for of in groups)))
    queries = x.shape[1]
    x = np.concatenate([x, tokens_of(w / "field_tokens", fields, num_tokens - queries)], 1)
    for i in range(num_layers):
        first = 0
        normed = layer_norm(x, w / f"decoder_{i}_query_norm") if states else x
        for k, (events, mask) in enumerate(states):
            events = encoded(w, f"encoder_{i}_{k}", events, mask, num_heads, encoder)
            states[k] = (events, mask)
            memory = layer_norm(events, w / f"decoder_{i}_norm_{k}")
            at = w / f"decoder_{i}_attention_{k}"
            for a, member in enumerate(groups[k]):
                lies = slice(first * g, first * g + g)
                kernels = (at[f"{kind}_kernel_{a}"] for kind in ("query", "key", "value"))
                found = cross_attention(normed[:, lies], memory, *kernels, num_heads, mask=member)
                x = x.copy()
                x[:, lies] += dense(found, w / f"decoder_{i}_output_{first}")
                first += 1
        mixed, feed = mix(layer_norm(x, w / f"boost_{i}_norm")), w / f"boost_{i}_feed_forward"
        if boost == "one":
            x = x + feed_forward(feed, mixed)
        else:
            x = x + mixed
            x = x + feed_forward(feed, layer_norm(x, w / f"boost_{i}_feed_forward_norm"))
    return heads(w, schema, layer_norm(x, w / "norm").reshape(len(x), -1))


def encoded(w, name, events, mask, num_heads, encoder):
    """One layer of an encoder on the valid events of each row; others stay as they were."""
    new = events.copy()
    for b, there in enumerate(mask):
        x = events[b, there]
        if encoder == "swiglu":
            normed = layer_norm(x, w / f"{name}_norm")
            hidden = silu(dense(normed, w / f"{name}_hidden")) * dense(normed, w / f"{name}_gate")
            x = x + dense(hidden, w / f"{name}_output")
        elif len(x):
            normed = layer_norm(x, w / f"{name}_attention_norm")[None]
            kernels = np.split(w[f"{name}_query_key_value/kernel"], 3, 1)
            read = cross_attention(normed, normed, *kernels, num_heads)[0]
            x = x + dense(read, w / f"{name}_attention_output")
            hidden = gelu(dense(layer_norm(x, w / f"{name}_norm"), w / f"{name}_hidden"))
            x = x + dense(hidden, w / f"{name}_output")
        new[b, there] = x
    return new


def apart(schema, state):
    """`(events, mask)` of each history, and the groups that are read of it."""
    if len(schema.histories) == 1:
        groups = [state["groups"][:, a] == 1 for a in range(state["groups"].shape[1])]
        return [(state["history"], state["mask"])], [groups]
    states, start = [], 0
    for s in by_kind(schema):
        lies = slice(start, start + s.max_length)
        states.append((state["history"][:, lies], state["mask"][:, lies]))
        start += s.max_length
    return states, [[mask] for _, mask in states]


def fields_by_owner(w, schema, inputs):
    fields, names = field_tokens(w, schema, inputs), schema.field_names
    return [
        fields[:, i]
        for owner in ("user", "context", "item")
        for i, name in enumerate(names)
        if schema.token_owner(name) == owner
    ]


def events_of(w, schema, inputs):
    return history_tokens(w, schema, inputs, {"event_context": EVENT_CONTEXT})


def pooled(w, schema, inputs):
    """What the candidate finds in each group, and the vector of the counts."""
    if not schema.histories:
        return []
    state = events_of(w, schema, inputs)
    cand = candidate(w, schema, field_tokens(w, schema, inputs))
    found = attend(w / "pooled_histories", state, cand)
    counts = group_means(state)[1] @ (w / "counts")["kernel"]
    return [*found.swapaxes(0, 1), counts]


def flat(w, schema, inputs):
    if not schema.histories:
        return []
    state = events_of(w, schema, inputs)
    return [(state["history"] * state["mask"][:, :, None]).reshape(len(state["mask"]), -1)]


def tokens_of(w, features, number, mode="group"):
    """Tokens of groups of neighbours, of equal pieces, or of all features."""
    everything = np.concatenate(features, 1)
    if mode == "auto":
        return feature_tokens(w, [everything] * number)
    if mode == "chunk":
        piece = w["kernel_0"].shape[1]
        padded = np.zeros((len(everything), piece * number))
        padded[:, : everything.shape[1]] = everything
        return feature_tokens(w, np.split(padded, number, 1))
    starts = [int(np.floor(t * len(features) / number)) for t in range(number + 1)]
    read = [features[a : max(b, a + 1)] for a, b in zip(starts, starts[1:], strict=False)]
    return feature_tokens(w, [np.concatenate(group, 1) for group in read])


def sinkhorn(logits, tau=1.0, rounds=5):
    """Rows, then columns, divided by their sums, of one matrix."""
    logits = (logits + logits.T) / 2
    weights = np.exp((logits - logits.max()) / tau)
    for _ in range(rounds):
        weights = weights / weights.sum(1, keepdims=True)
        weights = weights / weights.sum(0, keepdims=True)
    return weights


def sinkhorn_mixing(w, x, block, tau=1.0, rounds=5):
    """Blocks times matrices of their own, then sums of blocks."""
    if "left" in w:
        shares = np.exp(w["shares"])
        shares /= shares.sum(1, keepdims=True)
        within = [sum(s * z for s, z in zip(row, w["bases"], strict=True)) for row in shares]
        across = w["left"] @ w["right"]
    else:
        within, across = w["within"], w["across"]
    blocks = x.reshape(len(x), -1, block)
    local = [blocks[:, i] @ sinkhorn(v, tau, rounds) for i, v in enumerate(within)]
    across, mixed = sinkhorn(across, tau, rounds), np.zeros(blocks.shape)
    for j in range(len(across)):
        for i in range(len(across)):
            mixed[:, j] += across[j, i] * local[i]
    return mixed.reshape(x.shape)


def rms(x, w):
    return divided_by_rms(x) * w["scale"]


def heads(w, schema, x):
    at = {task: w / f"{task}_head" for task in schema.task_names}
    return {
        task: sigmoid(dense(relu(dense(x, head / "hidden")), head / "output"))
        for task, head in at.items()
    }
