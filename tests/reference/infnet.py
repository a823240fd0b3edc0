"""The whole of INFNet in numpy, float64: proxies, task tokens, blocks and heads, and its loss."""

import dataclasses

import numpy as np

from tests.reference.interactions import cross
from tests.reference.mixing import feed_forward, mix
from tests.reference.schema_tokens import (
    by_kind,
    candidate,
    event_rows,
    field_tokens,
    history_tokens,
    in_groups,
)
from tests.reference.textbook import Weights, block, dense, relu, sigmoid

EVENT_CONTEXT = ("action", "ratio", "age", "position")
WITHOUT = {"all_to_all": False, "alternates": True, "own_dim": 0, "num_recent_proxies": 0}
WITHOUT |= {"feed_forward": "none", "events_per_token": 1, "num_raw_events": 16}


def options_of(config):
    """Arguments of a model and its form by name, those of ablations included."""
    found = {**WITHOUT, **dataclasses.asdict(config), **dataclasses.asdict(config.form)}
    return found | {"event_context": EVENT_CONTEXT} if config.event_context is None else found


def predict(variables, schema, inputs, config):
    """Outputs `(batch, 1)` by task, from variables by path."""
    options = options_of(config)
    w, shared = Weights(variables), slice(0, options["dim"])
    state = {"fields": field_tokens(w, schema, inputs, shared)}
    if schema.histories:
        state |= history_tokens(w, schema, inputs, options, shared)
    projections = ("candidate_projection/kernel", "history_tokens/projection_0/kernel")
    projected = any(name in w for name in projections)
    cand = candidate(w, schema, state["fields"]) if projected else None
    own = [own_representation(w, schema, inputs, i, options) for i in range(len(schema.tasks))]
    state |= task_tokens(w, schema, own, cand, options)
    if options["uses_candidate"]:
        state["candidate_proxy"] = dense(cand, w / "candidate_proxy")[:, None]
    if options["num_recent_proxies"] and "history" in state:
        recent = recent_tokens(schema, state, options["num_recent_proxies"])
    else:
        recent = np.zeros((len(state["fields"]), 0, options["dim"]))
    if not options["all_to_all"] and "field_proxies/kernel" in w:
        state |= proxies(w, schema, state, options)
    state["x_0"] = first_of_crosses(state, cand)
    if options["events_per_token"] > 1 and "history" in state:
        state |= merged_events(w / "merged_events", schema, state, options)
    num_blocks = options["num_blocks"]
    for i in range(num_blocks):
        of_block = options if options["alternates"] else {**options, "homogeneous_flow": False}
        state = block(w, f"block_{i}", state, of_block, num_blocks - 1 - i, fed_by(w, options))
    for i in range(0 if options["alternates"] else num_blocks):
        state = block(w, f"block_{i}", state, {**options, "heterogeneous_flow": False}, after=0)
    if options["all_to_all"] and options["uses_candidate"]:
        state |= proxies(w, schema, state, options)
    state["recent_proxies"] = recent
    return {t.name: head(w, t, i, state, cand, own[i], options) for i, t in enumerate(schema.tasks)}


def loss(variables, schema, inputs, config, labels, weights):
    """Sum over tasks of the weighted mean cross entropy, as it is trained."""
    outputs, total = predict(variables, schema, inputs, config), 0
    for task in schema.tasks:
        p, y = outputs[task.name], labels[task.name]
        entropy = -(y * np.log(p) + (1 - y) * np.log(1 - p))
        total += task.loss_weight * np.mean(entropy * weights[task.name])
    return total


def task_tokens(w, schema, own, cand, options):
    """`T_i = t_i + W_i cand + V_i own_i` and `T~ = t~ + reshape(W_s cand)`."""
    tokens, batch = {}, len(own[0])
    numbers = {
        "tasks": len(schema.tasks) * options["task_tokens"],
        "task_proxies": options["num_task_proxies"],
        "own_proxies": len(schema.tasks) * options["num_own_proxies"],
    }
    for name, number in numbers.items():
        if not number or f"{name}/embeddings" not in w:
            continue
        tokens[name] = np.repeat((w / name)["embeddings"][None], batch, 0)
        if options["uses_candidate"]:
            projected = cand @ (w / f"{name}_of_candidate")["kernel"]
            tokens[name] = tokens[name] + projected.reshape(batch, number, -1)
    if options["own_dim"] and options["task_tokens"]:
        for i, task in enumerate(schema.tasks):
            tokens["tasks"][:, i] += own[i] @ (w / f"{task.name}_own_token")["kernel"]
    return tokens


def proxies(w, schema, state, options):
    flat = state["fields"].reshape(len(state["fields"]), -1)
    found = {
        "field_proxies": dense(flat, w / "field_proxies").reshape(len(flat), -1, options["dim"])
    }
    if "history" in state:
        found["sequence_proxies"] = pool(w / "sequence_proxies", state, options["pooling"])
        if options["pooling"] == "attention":
            names = schema.field_names
            places = [i for i, name in enumerate(names) if schema.token_owner(name) != "item"]
            context = state["fields"][:, places].reshape(len(flat), -1)
            attended = attend(w / "attention_proxies", state, context)
            found["sequence_proxies"] = np.concatenate([found["sequence_proxies"], attended], 1)
    return found


def first_of_crosses(state, cand):
    """`[flatten(C); cand; mean_{l in f} S_l; log1p(n_f)]`, or `flatten(C)` without history."""
    parts, logs = [state["fields"].reshape(len(state["fields"]), -1)], []
    if "history" not in state:
        return parts[0]
    for f in range(state["groups"].shape[1]):
        member = state["groups"][:, f, :, None]
        count = member.sum(1)
        parts.append((state["history"] * member).sum(1) / np.maximum(count, 1))
        logs.append(np.log1p(count))
    # Nothing reads it in the paper's forms, which have no candidate.
    return np.concatenate([parts[0], *([] if cand is None else [cand]), *parts[1:], *logs], -1)


def recent_tokens(schema, state, number):
    """The newest events of each history; they stand last."""
    tokens, start = [], 0
    for s in by_kind(schema):
        for at in range(start + s.max_length - min(number, s.max_length), start + s.max_length):
            tokens.append(np.where(state["mask"][:, at, None], state["history"][:, at], 0))
        start += s.max_length
    return np.stack(tokens, 1)


def fed_by(w, options):
    """What feeds queries forward, each by weights of its own; None where nothing does."""
    if options["feed_forward"] == "none":
        return None

    def fed_forward(queries, name):
        x = np.concatenate(list(queries.values()), 1)
        number, dim = x.shape[1:]
        if options["feed_forward"] == "mixed":
            heads = next(n for n in range(number, dim + 1) if dim % n == 0)
            x = x + mix(np.pad(x, ((0, 0), (0, heads - number), (0, 0))))[:, :number]
        size = np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6)
        normed = x / size * (w / f"{name}_feed_forward_norm")["scale"]
        x = x + feed_forward(w / f"{name}_feed_forward", normed)
        ends = np.cumsum([tokens.shape[1] for tokens in queries.values()])
        return dict(zip(queries, np.split(x, ends[:-1], axis=1), strict=True))

    return fed_forward


def merged_events(w, schema, state, options):
    """Events as blocks read them: the newest of each history, and those before `K` by `K`."""
    size, start, tokens, mask = options["events_per_token"], 0, [], []
    buckets = {name: [] for name in state["buckets"]}
    for s in by_kind(schema):
        end = start + s.max_length
        newest = max(start, end - options["num_raw_events"])
        groups = []
        for last in range(newest - 1, start - 1, -size):
            groups.insert(0, range(last - size + 1, last + 1))
        for group in groups:
            inside = [at for at in group if at >= start]
            rows = [
                np.where(state["mask"][:, at, None], state["history"][:, at], 0)
                if at >= start
                else np.zeros_like(state["history"][:, 0])
                for at in group
            ]
            tokens.append(dense(np.concatenate(rows, -1), w))
            mask.append(state["mask"][:, inside].any(1))
            for name, ids in state["buckets"].items():
                buckets[name].append(ids[:, group[-1]])
        for at in range(newest, end):
            tokens.append(state["history"][:, at])
            mask.append(state["mask"][:, at])
            for name, ids in state["buckets"].items():
                buckets[name].append(ids[:, at])
        start = end
    buckets = {name: np.stack(ids, 1) for name, ids in buckets.items()}
    return {"history": np.stack(tokens, 1), "mask": np.stack(mask, 1), "buckets": buckets}


def own_representation(w, schema, inputs, i, options):
    """What task `i` reads in the columns of its own; `(batch, 0)` without such tables."""
    size, batch = options["own_dim"], len(inputs["categorical"])
    if not size:
        return np.zeros((batch, 0))
    columns = slice(options["dim"] + i * size, options["dim"] + (i + 1) * size)
    parts, logs = [field_tokens(w, schema, inputs, columns).reshape(batch, -1)], []
    for s in by_kind(schema):
        ids = inputs[s.name]
        events, there = event_rows(w, schema, s, ids, columns), ids[:, :, 0] != 0
        for group in in_groups(schema, s, inputs):
            member = (group * there)[:, :, None]
            count = member.sum(1)
            parts.append((events * member).sum(1) / np.maximum(count, 1))
            logs.append(np.log1p(count) / 2)
    own = w / f"{schema.tasks[i].name}_own"
    return relu(dense(np.concatenate(parts + logs, -1), own))


def pool(w, state, pooling):
    """Sequence proxies, one group after the other."""
    proxies = []
    for f in range(state["groups"].shape[1]):
        member = state["groups"][:, f, :, None]
        count = member.sum(1)
        if pooling == "sum":
            projected = state["history"] @ w["kernel"] + w["bias"]
            proxies.append((projected * member).sum(1))
        elif pooling == "mean":
            hidden = relu(state["history"] @ w["hidden_kernel"][f] + w["hidden_bias"][f])
            mean = (hidden * member).sum(1) / np.maximum(count, 1)
            proxies.append((mean @ w["kernel"][f] + w["bias"][f]) * (count > 0))
        else:
            mean = (state["history"] * member).sum(1) / np.maximum(count, 1)
            counted = np.log1p(count) / 2 * w["count"][f]
            proxies.append(mean @ w["kernel"][f] + w["bias"][f] + counted)
    return np.stack(proxies, 1)


def attend(w, state, context):
    """`softmax(s_f S^T / sqrt(d)) S` of each row and group; zeros without events."""
    rows, groups, width = len(context), *w["bias"].shape
    proxies = np.zeros((rows, groups, width))
    for b in range(rows):
        for f in range(groups):
            seed = w["bias"][f].copy()
            if context.shape[1]:
                seed += context[b] @ w["kernel"][:, f * width : (f + 1) * width]
            events = state["history"][b][state["groups"][b, f] == 1]
            if len(events):
                proxies[b, f] = softmax(events @ seed / np.sqrt(width)) @ events
    return proxies


def combine(w, token, own, shared):
    """`z_i` of one task, row by row: which proxies its token asks for."""
    combined = np.zeros(token.shape)
    for b, proxies in enumerate(np.concatenate([own, shared], 1)):
        query = token[b] @ w["query_kernel"]
        scores = [query @ (p @ w["key_kernel"]) / np.sqrt(len(p)) for p in proxies]
        combined[b] = softmax(np.array(scores)) @ proxies
    return combined


def softmax(scores):
    weights = np.exp(scores - scores.max())
    return weights / weights.sum()


def head(w, task, i, state, cand, own, options):
    parts = [state["tasks"][:, i]] if options["task_tokens"] else []
    if m := options["num_own_proxies"]:
        shared = state.get("task_proxies", np.zeros((len(own), 0, options["dim"])))
        own_proxies = state["own_proxies"][:, i * m : (i + 1) * m]
        parts.append(combine(w / "proxy_combination", parts[0], own_proxies, shared))
    if options["uses_candidate"]:
        names = ("field_proxies", "sequence_proxies", "task_proxies", "candidate_proxy")
        names = [name for name in (*names, "recent_proxies") if name in state]
        tokens = np.concatenate([state[name] for name in names], 1)
        parts.append(tokens.reshape(len(own), -1))
        scale = dense(cand, w / "product_candidate")[:, None]
        product = scale * (tokens @ (w / "product_proxies")["kernel"])
        parts.append(product.reshape(len(own), -1))
    if options["cross_rank"] is not None:
        first = x = state["x_0"]
        for layer in (w / "cross_0", w / "cross_1"):
            x = cross(layer, first, x)
        parts.append(x)
    at = w / f"{task.name}_head"
    logits = dense(relu(dense(np.concatenate([*parts, own], -1), at / "hidden")), at / "output")
    return sigmoid(logits) if task.activation == "sigmoid" else logits
