"""Tokens of a schema's inputs in numpy, float64: fields, events and the candidate."""

import numpy as np

from tests.reference.matches import match_patterns
from tests.reference.textbook import dense


def field_tokens(w, schema, inputs, columns=slice(None)):
    """One token a feature, from these columns of the tables."""
    tokens, table = [], tables(w, schema)
    for i, feature in enumerate(schema.one_valued):
        tokens.append(table[schema.table_of(feature.name)][inputs["categorical"][:, i]])
    start = 0
    for i, feature in enumerate(schema.one_valued):
        stop = start + len(feature.number_bins)
        if feature.number_bins:
            x = inputs["numbers"][:, start:stop].astype("float64")
            tokens[i] = tokens[i] + number_vectors(w, schema, feature, x)
        start = stop
    shared = dict.fromkeys(f.token_name for f in schema.one_valued)
    tokens = [
        sum(x for x, f in zip(tokens, schema.one_valued, strict=True) if f.token_name == token)
        for token in shared
    ]
    start = 0
    for feature in schema.bags:
        bag = slice(start, start + feature.width)
        rows = table[schema.table_of(feature.name)][inputs["bags"][:, bag]]
        tokens.append(bag_mean(rows, inputs["bag_weights"][:, bag].astype("float64")))
        start += feature.width
    start = 0
    for feature in schema.dense:
        vector = inputs["dense"][:, start : start + feature.dim].astype("float64")
        tokens.append(dense(vector, w / f"{feature.name}_projection"))
        start += feature.dim
    return np.stack(tokens, 1)[:, :, columns]


def number_vectors(w, schema, feature, x):
    """`x w`, or the piecewise-linear encoding of a place times its weights, summed; by columns."""
    at, found, owners = w / "number_embedding", 0.0, {}
    for f in schema.numeric:
        if f.shared_table is None:
            owners[f.name] = f.number_bins
    table = schema.table_of(feature.name)
    for c, bins in enumerate(feature.number_bins):
        names = list(owners)
        before = [b for name in names[: names.index(table)] for b in owners[name]]
        before += feature.number_bins[:c]
        row = sum((b > 0) == (bins > 0) for b in before)
        if bins:
            encoded = [np.clip(x[..., c] - j, 0, 1) for j in range(at["places"].shape[1])]
            found = found + np.stack(encoded, -1) @ at["places"][row]
        else:
            found = found + x[..., c, None] * at["numbers"][row]
    return found


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


def by_kind(schema):
    """Histories as they lie in `S`: those whose events have the same fields are neighbours."""
    kinds = list(dict.fromkeys(s.fields for s in schema.histories))
    return sorted(schema.histories, key=lambda s: kinds.index(s.fields))


def event_rows(w, schema, s, ids, columns):
    """`[E(video), E(author), ...]` of the events of one history."""
    embedded, table = [], tables(w, schema)
    for field in s.fields:
        of_field = ids[:, :, schema.history_columns(s.name)[field]]
        rows = table[schema.table_of(field)][of_field][..., columns]
        one = of_field.shape[-1] == 1
        embedded.append(rows[:, :, 0] if one else bag_mean(rows, (of_field != 0) * 1.0))
        if schema.feature(field).number_bins:
            packed = ids[:, :, schema.history_columns(s.name)[f"{field}#numbers"]]
            x = np.where(packed == 0, 0, (packed - 2.0**24) / 2**16)
            found = number_vectors(w, schema, schema.feature(field), x)
            embedded[-1] = embedded[-1] + found[..., columns]
    return np.concatenate(embedded, -1)


def in_groups(schema, s, inputs):
    """Which events are in each group of a history."""
    ids, found = inputs[s.name], []
    if not s.groups:
        return [ids[:, :, 0] != 0]
    limits = sorted({g.seconds for g in s.groups if g.within})
    for g, group in enumerate(s.groups):
        is_in = (ids[:, :, schema.history_columns(s.name)["#groups"].start] >> g) & 1
        if group.within:
            # Known, and not one of the limits up to the group's own is reached.
            reached = inputs[f"{s.name}_within"] - 1
            is_in = is_in & (reached >= 0) & (reached <= limits.index(group.seconds))
        if group.last:
            is_in = is_in * (np.arange(ids.shape[1])[::-1] < group.last)
        found.append(is_in)
    return found


def history_tokens(w, schema, inputs, options, columns=slice(None)):
    """Tokens, mask, groups and buckets of all histories, side by side."""
    tokens, mask, groups, at = [], [], [], w / "history_tokens"
    kinds = list(dict.fromkeys(s.fields for s in schema.histories))
    buckets = {name: [] for name in options["event_context"]}
    offsets = dict.fromkeys(buckets, 0)
    for s in by_kind(schema):
        ids = inputs[s.name]
        rows, kernel = event_rows(w, schema, s, ids, columns), f"projection_{kinds.index(s.fields)}"
        tokens.append(rows @ at[f"{kernel}/kernel"] if f"{kernel}/kernel" in at else rows)
        mask.append(ids[:, :, 0] != 0)
        groups += [(s.name, g * mask[-1]) for g in in_groups(schema, s, inputs)]
        for name in buckets:
            values, size = known_of_events(schema, s, inputs, name)
            buckets[name].append(values + offsets[name])
            offsets[name] += size
    buckets = {
        name: np.concatenate(ids, 1)
        for name, ids in buckets.items()
        if name == "position" or offsets[name] > len(schema.histories)
    }
    tokens = np.concatenate(tokens, 1)
    for name, ids in buckets.items():
        tokens = tokens + (at / "context")[f"{name}_table"][ids]
    return {
        "history": tokens,
        "mask": np.concatenate(mask, 1),
        "groups": pad_groups(groups, schema),
        "buckets": buckets,
    }


def known_of_events(schema, s, inputs, name):
    """Bucket of each event of a history, and how many there are; 1 where it is not known."""
    ids, columns = inputs[s.name], schema.history_columns(s.name)
    if name == "position":
        return np.arange(s.max_length)[None, ::-1], s.max_length
    if name == "match":
        return match_patterns(schema, s, inputs), 2 ** len(s.fields)
    if name in [q.key for q in s.of_row]:
        return inputs[f"{s.name}_{name}"], 23
    if name == "action" and s.actions:
        return ids[:, :, columns["#action"].start], schema.layout.sizes[f"{s.name}/#action"]
    if name == "ratio" and "#ratio" in columns:
        return ids[:, :, columns["#ratio"].start], 14
    return np.zeros_like(ids[:, :, 0]), 1


def pad_groups(groups, schema):
    """Each group over all histories: 0 where another history lies."""
    padded = []
    for name, group in groups:
        parts = [
            group if s.name == name else np.zeros((len(group), s.max_length))
            for s in by_kind(schema)
        ]
        padded.append(np.concatenate(parts, 1))
    return np.stack(padded, 1).astype("float64")


def candidate(w, schema, fields):
    """`W_tok` on the candidate's own fields, summed over kinds of events, and what else it has."""
    if schema.histories:
        kinds = list(dict.fromkeys(s.fields for s in schema.histories))
        kernels = [f"history_tokens/projection_{i}" for i in range(len(kinds))]
        others = [n for n in schema.field_names if schema.token_owner(n) == "item"]
        others = [n for n in others if n not in {field for kind in kinds for field in kind}]
        # In the paper's forms nothing reads it, and there is none.
        if others and "candidate_of_item/kernel" in w:
            kinds, kernels = [*kinds, others], [*kernels, "candidate_of_item"]
    else:
        kinds = [[n for n in schema.field_names if schema.token_owner(n) == "item"]]
        kernels = ["candidate_projection"]
    found = 0
    for names, kernel in zip(kinds, kernels, strict=True):
        chosen = [fields[:, schema.field_names.index(name)] for name in names]
        found = found + np.concatenate(chosen, -1) @ (w / kernel)["kernel"]
    return found
