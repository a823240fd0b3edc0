"""The whole of INFNet in numpy, float64: tokens, proxies, blocks and heads, and its loss."""

import numpy as np

from tests.reference.textbook import Weights, block, dense, relu, sigmoid


def predict(variables, schema, inputs, options):
    """Outputs `(batch, 1)` by task, from variables by path."""
    w, dim = Weights(variables), options["dim"]
    fields = field_tokens(w, schema, inputs)
    batch, state = len(fields), {"fields": fields}
    if schema.sequences:
        state |= history_tokens(w, schema, inputs, options)
    cand = candidate(w, schema, fields) if options["condition_on_candidate"] else None
    for name, number in (
        ("tasks", len(schema.tasks)),
        ("task_proxies", options["num_task_proxies"]),
    ):
        state[name] = np.repeat((w / name)["embeddings"][None], batch, 0)
        if cand is not None:
            projected = cand @ (w / f"{name}_of_candidate")["kernel"]
            state[name] = state[name] + projected.reshape(batch, number, dim)
    flat = fields.reshape(batch, -1)
    state["field_proxies"] = dense(flat, w / "field_proxies").reshape(batch, -1, dim)
    if schema.sequences:
        state["sequence_proxies"] = pool(w / "sequence_proxies", state, options["pooling"])
    if options["candidate_proxy"]:
        state["candidate_proxy"] = dense(cand, w / "candidate_proxy")[:, None]
    for i in range(options["num_blocks"]):
        state = block(w / f"block_{i}", state, options, last=i == options["num_blocks"] - 1)
    return {t.name: head(w, t, i, state, cand, options) for i, t in enumerate(schema.tasks)}


def loss(variables, schema, inputs, options, labels, weights):
    """Sum over tasks of the weighted mean cross entropy, as it is trained."""
    outputs, total = predict(variables, schema, inputs, options), 0
    for task in schema.tasks:
        p, y = outputs[task.name], labels[task.name]
        entropy = -(y * np.log(p) + (1 - y) * np.log(1 - p))
        total += task.loss_weight * np.mean(entropy * weights[task.name])
    return total


def field_tokens(w, schema, inputs):
    tokens, table = [], tables(w, schema)
    for i, feature in enumerate(schema.one_valued):
        tokens.append(table[schema.table_of(feature.name)][inputs["categorical"][:, i]])
    start = 0
    for feature in schema.bags:
        columns = slice(start, start + feature.max_values)
        rows = table[schema.table_of(feature.name)][inputs["bags"][:, columns]]
        tokens.append(bag_mean(rows, inputs["bag_weights"][:, columns].astype("float64")))
        start += feature.max_values
    start = 0
    for feature in schema.dense:
        vector = inputs["dense"][:, start : start + feature.dim].astype("float64")
        tokens.append(dense(vector, w / f"{feature.name}_projection"))
        start += feature.dim
    return np.stack(tokens, 1)


def tables(w, schema):
    """Each table, cut out of the one weight."""
    table, start, all_rows = {}, 0, (w / "fused_embedding")["embeddings"]
    for name, rows in schema.table_rows().items():
        table[name] = all_rows[start : start + rows]
        start += rows
    return table


def bag_mean(rows, weights):
    total = weights.sum(-1, keepdims=True)
    mean = (rows * weights[..., None]).sum(-2) / np.where(total, total, 1)
    return np.where(total, mean, 0)


def history_tokens(w, schema, inputs, options):
    """Tokens, mask, groups and buckets of histories whose events have the same fields."""
    table, parts, at = tables(w, schema), [], w / "history_tokens"
    mask, groups = [], []
    buckets = {name: [] for name in options["event_context"]}
    offsets = dict.fromkeys(buckets, 0)
    for s in schema.sequences:
        columns, ids = schema.history_columns(s.name), inputs[s.name]
        embedded = []
        for field in s.fields:
            of_field = ids[:, :, columns[field]]
            rows = table[schema.table_of(field)][of_field]
            one = of_field.shape[-1] == 1
            embedded.append(rows[:, :, 0] if one else bag_mean(rows, (of_field != 0) * 1.0))
        parts.append(np.concatenate(embedded, -1))
        mask.append(ids[:, :, 0] != 0)
        bits = [g for g in range(len(s.groups))]
        in_group = [(ids[:, :, columns["#groups"].start] >> g) & 1 for g in bits] or [mask[-1]]
        groups += [(s.name, g * mask[-1]) for g in in_group]
        known = {
            "action": (ids[:, :, columns["#action"].start], s.num_actions) if s.actions else None,
            "ratio": (ids[:, :, columns["#ratio"].start], 14) if s.ratio else None,
            "age": (inputs[f"{s.name}_age"], 23) if s.ages else None,
            "position": (np.arange(s.max_length)[None, ::-1], s.max_length),
        }
        for name in buckets:
            values, size = known[name] or (np.zeros_like(ids[:, :, 0]), 1)
            buckets[name].append(values + offsets[name])
            offsets[name] += size
    buckets = {
        name: np.concatenate(ids, 1)
        for name, ids in buckets.items()
        if name == "position" or offsets[name] > len(schema.sequences)
    }
    tokens = np.concatenate(parts, 1)
    if "history_tokens/projection_0/kernel" in w.variables:
        tokens = tokens @ (at / "projection_0")["kernel"]
    for name, ids in buckets.items():
        weight = "positions" if name == "position" else f"{name}_table"
        tokens = tokens + (at / "context")[weight][ids]
    return {
        "history": tokens,
        "mask": np.concatenate(mask, 1),
        "groups": pad_groups(groups, schema),
        "buckets": buckets,
    }


def pad_groups(groups, schema):
    """Each group over all histories: 0 where another history lies."""
    padded = []
    for name, group in groups:
        parts = [
            group if s.name == name else np.zeros((len(group), s.max_length))
            for s in schema.sequences
        ]
        padded.append(np.concatenate(parts, 1))
    return np.stack(padded, 1).astype("float64")


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


def candidate(w, schema, fields):
    """`W_tok` on the candidate's own fields."""
    if schema.sequences:
        names = schema.sequences[0].fields
        kernel = (w / "history_tokens" / "projection_0")["kernel"]
    else:
        names = [n for n in schema.field_names if schema.feature(n).owner == "item"]
        kernel = (w / "candidate_projection")["kernel"]
    chosen = [fields[:, schema.field_names.index(name)] for name in names]
    return np.concatenate(chosen, -1) @ kernel


def head(w, task, i, state, cand, options):
    parts = [state["tasks"][:, i]]
    if options["read_proxies"]:
        names = ("field_proxies", "sequence_proxies", "task_proxies", "candidate_proxy")
        proxies = np.concatenate([state[name] for name in names if name in state], 1)
        product = dense(cand, w / "product_candidate")[:, None] * (
            proxies @ (w / "product_proxies")["kernel"]
        )
        parts += [proxies.reshape(len(cand), -1), product.reshape(len(cand), -1)]
    at = w / f"{task.name}_head"
    logits = dense(relu(dense(np.concatenate(parts, -1), at / "hidden")), at / "output")
    return sigmoid(logits) if task.kind == "binary" else logits
