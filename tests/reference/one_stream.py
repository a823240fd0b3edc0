"""OneTrans, LONGER and TokenFormer in numpy: example by example, on the events that there are."""

from math import erf

import numpy as np

from tests.reference.schema_tokens import by_kind, candidate, field_tokens, history_tokens
from tests.reference.sequences import silu
from tests.reference.textbook import dense, divided_by_rms, layer_norm, relu, sigmoid
from tests.reference.tokens import EVENT_CONTEXT


def predict(w, schema, inputs, read, event_context=EVENT_CONTEXT):
    """Outputs by task; `read(events, fields, context, item)` is what heads read of one example."""
    fields = field_tokens(w, schema, inputs)
    streams, found = streams_of(w, schema, inputs, event_context), []
    owners = np.array([schema.token_owner(name) for name in schema.field_names])
    cand = candidate(w, schema, fields)
    for events, of_row, of_candidate in zip(streams, fields, cand, strict=True):
        item = np.concatenate([of_candidate, *of_row[owners == "item"]])
        found.append(read(events, of_row, of_row[owners != "item"], item))
    heads = {task: w / f"{task}_head" for task in schema.task_names}
    return {
        task: sigmoid(dense(relu(dense(np.stack(found), head / "hidden")), head / "output"))
        for task, head in heads.items()
    }


def streams_of(w, schema, inputs, event_context):
    """Of each example its events `(events, dim)`, the oldest first, unknown ages before all."""
    tokens = history_tokens(w, schema, inputs, {"event_context": event_context})
    histories, streams = by_kind(schema), []
    for b in range(len(tokens["history"])):
        events, start = [], 0
        for kind, history in enumerate(histories):
            for at in range(history.max_length):
                if not tokens["mask"][b, start + at]:
                    continue
                ages = inputs.get(f"{history.name}_age")
                age = 0 if ages is None else ages[b, at]
                vector = tokens["history"][b, start + at]
                if len(histories) > 1:
                    vector = vector + w["merged_histories/kinds"][kind]
                events.append((int(age) or 1000, vector))
            start += history.max_length
        if len(histories) > 1:
            events.sort(key=lambda event: -event[0])
        dim = tokens["history"].shape[-1]
        streams.append(np.array([vector for _, vector in events]).reshape(-1, dim))
    return streams


def one_trans(w, events, parts, num_heads, kept):
    """The field tokens of all parts after the last layer, whose weights are each token's own."""
    lengths = [len(events), *(len(part) for part in parts)]
    x = np.concatenate([events, *parts])
    for i, newest in enumerate(kept):

        def of_kind(kind, y, i=i, lengths=lengths):
            shared = y[: lengths[0]]
            name = f"event_{kind}_{i}/kernel"
            projected = [shared @ w[name] if name in w else 0 * shared]
            for p, part in enumerate(np.split(y, np.cumsum(lengths)[:-1])[1:]):
                kernels = w[f"field_{p}_{kind}_{i}/kernel"]
                projected.append(np.einsum("td,tde->te", part, kernels))
            return np.concatenate(projected)

        normed = rms(x, w / f"attention_norm_{i}")
        q, k, v = (of_kind(kind, normed) for kind in ("query", "key", "value"))
        x = (
            x
            + attend(q, k, v, np.tril(np.ones((len(x),) * 2, bool)), num_heads)
            @ w[f"output_{i}/kernel"]
        )
        normed = np.split(rms(x, w / f"feed_forward_norm_{i}"), np.cumsum(lengths)[:-1])
        fed = [0 * normed[0]]
        if newest:
            fed = [
                dense(
                    relu(dense(normed[0], w / f"event_hidden_{i}")), w / f"event_feed_forward_{i}"
                )
            ]
        fed += [per_token(w / f"field_{p}_feed_forward_{i}", y) for p, y in enumerate(normed[1:])]
        x = (x + np.concatenate(fed))[max(0, lengths[0] - newest) :]
        lengths[0] = min(lengths[0], newest)
    return rms(x, w / "last_norm").ravel()


def longer(w, events, parts, num_heads, num_layers, size, number, queries="raw", head="mean"):
    """What the heads of LONGER read."""
    dim, groups = events.shape[1], []
    for stop in range(len(events), 0, -size):
        group = events[max(0, stop - size) : stop]
        group = block(w, "inner", group, group, np.ones((len(group),) * 2, bool), num_heads)
        padded = np.concatenate([np.zeros((size - len(group), dim)), group])
        groups.insert(0, padded.ravel() @ w["merge/kernel"].reshape(-1, dim) + w["merge/bias"])
    merged = np.array(groups).reshape(-1, dim)
    per_key, x = (size, events) if queries == "raw" else (1, merged)
    x, memory, start = x[-number:], merged, len(merged)
    tokens = np.concatenate(parts)
    for i in range(num_layers):
        places, of_keys = np.arange(len(x))[::-1] // per_key, np.arange(len(memory))[::-1]
        start = len(memory)
        read = np.concatenate([memory, tokens])
        allowed = np.tril(np.ones((len(tokens), len(read)), bool), start)
        tokens_after = block(w, f"layer_{i}", tokens, read, allowed, num_heads)
        x = block(w, f"layer_{i}", x, memory, places[:, None] <= of_keys[None], num_heads)
        tokens, memory, per_key = tokens_after, x, 1
    x, tokens = (layer_norm(y, w / "last_norm", 1e-6) for y in (x, tokens))
    if head == "flatten":
        x = np.concatenate([np.zeros((number - len(x), dim)), x]).ravel()
    else:
        x = x.sum(0) / max(len(x), 1)
    return np.concatenate([tokens.ravel(), x])


def block(w, name, x, memory, allowed, num_heads):
    """A pre-norm block of LONGER: `x` reads the memory where it may."""
    normed, read = (layer_norm(y, w / f"{name}_attention_norm", 1e-6) for y in (x, memory))
    q = normed @ w[f"{name}_query/kernel"]
    k, v = (read @ w[f"{name}_{kind}/kernel"] for kind in ("key", "value"))
    x = x + attend(q, k, v, allowed, num_heads) @ w[f"{name}_output/kernel"]
    hidden = dense(layer_norm(x, w / f"{name}_norm", 1e-6), w / f"{name}_hidden")
    return x + dense(gelu(hidden), w / f"{name}_feed_forward")


def token_former(w, events, fields, item, num_heads, num_full, windows, length, rope=True):
    """The candidate after all layers, each of which computes every token of the stream."""
    dim = events.shape[1]
    events = silu(layer_norm(dense(events, w / "event_tokens"), w / "event_tokens_norm", 1e-6))
    separators, before = w["separators/embeddings"], np.zeros((0, dim))
    if num_full:
        fields = [feature_token(w / "field_tokens", f, i) for i, f in enumerate(fields)]
        before = np.array([*fields, separators[0]])
    last = feature_tokens(w / "candidate_token", item)
    x, first = np.concatenate([before, events, separators[-1:], last]), len(before)
    n = len(x)
    places = np.concatenate(
        [np.zeros(first), length + 1 - np.arange(len(events), 0, -1), [length + 1] * 2]
    )
    i, j = np.arange(n)[:, None], np.arange(n)[None]
    for layer, window in enumerate([None] * num_full + list(windows)):
        normed = rms(x, w / f"attention_norm_{layer}")
        q, k, v = (normed @ w[f"{kind}_{layer}/kernel"] for kind in ("query", "key", "value"))
        if rope:
            q, k = (rotate(y, places, num_heads) for y in (q, k))
        allowed = j <= i
        if window:
            allowed = allowed & (i - j < window) & ~((j < first) & (i >= first))
        attended = attend(q, k, v, allowed, num_heads) @ w[f"output_{layer}/kernel"]
        x = x + sigmoid(normed @ w[f"gate_{layer}/kernel"]) * attended
        normed = rms(x, w / f"feed_forward_norm_{layer}")
        hidden = silu(normed @ w[f"hidden_{layer}/kernel"]) * (normed @ w[f"linear_{layer}/kernel"])
        x = x + hidden @ w[f"feed_forward_{layer}/kernel"]
    return rms(x[-1], w / "last_norm")


def attend(q, k, v, allowed, num_heads):
    """Head by head and query by query, over what it may read; zeros where that is nothing."""
    output, size = np.zeros(q.shape), q.shape[1] // num_heads
    for h in range(num_heads):
        part = slice(h * size, (h + 1) * size)
        for i in range(len(q)):
            keys = np.flatnonzero(allowed[i])
            if len(keys):
                scores = k[keys][:, part] @ q[i, part] / np.sqrt(size)
                weights = np.exp(scores - scores.max())
                output[i, part] = weights @ v[keys][:, part] / weights.sum()
    return output


def rotate(x, places, num_heads):
    """Columns `c` and `c + half` of each head as a complex number, turned by its place."""
    heads = np.split(x, num_heads, axis=1)
    half, turned = heads[0].shape[1] // 2, []
    turns = np.exp(1j * places[:, None] * 10000.0 ** (-np.arange(half) / half))
    for head in heads:
        pairs = (head[:, :half] + 1j * head[:, half:]) * turns
        turned += [pairs.real, pairs.imag]
    return np.concatenate(turned, 1)


def feature_tokens(w, x):
    """Tokens that read all of `x`."""
    number, dim = w["bias"].shape
    projected = (x @ w["kernel_0"]).reshape(number, dim) + w["bias"]
    return silu(layer_norm(projected, {"gamma": w["gain"], "beta": w["shift"]}))


def feature_token(w, x, i):
    """Token `i`, which reads a feature of its own."""
    norm = {"gamma": w["gain"][i], "beta": w["shift"][i]}
    return silu(layer_norm(x @ w[f"kernel_{i}"] + w["bias"][i], norm))


def per_token(w, x):
    """A feed-forward layer of each token's own."""
    hidden = [relu(t @ k + b[0]) for t, k, b in zip(x, w["in_kernel"], w["in_bias"], strict=True)]
    pairs = zip(hidden, w["out_kernel"], w["out_bias"], strict=True)
    return np.stack([h @ k + b[0] for h, k, b in pairs])


def rms(x, w):
    return divided_by_rms(x) * w["scale"]


def gelu(x):
    return x * (1 + np.vectorize(erf, otypes=[float])(x / np.sqrt(2))) / 2
