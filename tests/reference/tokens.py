"""What every baseline reads, in numpy, float64: field tokens, candidate, means and counts."""

import numpy as np

from tests.reference.infnet import candidate, field_tokens, history_tokens

EVENT_CONTEXT = ("action", "ratio", "age", "position")


def interaction_tokens(w, schema, inputs, event_context=EVENT_CONTEXT):
    """`[C; cand; mean_{l in f} S_l]`, `(batch, tokens, dim)`; without history `C`."""
    fields = field_tokens(w, schema, inputs)
    if not schema.histories:
        return fields
    means, _ = group_means(history_tokens(w, schema, inputs, {"event_context": event_context}))
    return np.concatenate([fields, candidate(w, schema, fields)[:, None], means], 1)


def log_counts(w, schema, inputs, event_context=EVENT_CONTEXT):
    """`log1p(n_f)`, `(batch, groups)`; without history none."""
    if not schema.histories:
        return np.zeros((len(inputs["categorical"]), 0))
    return group_means(history_tokens(w, schema, inputs, {"event_context": event_context}))[1]


def flat_tokens(w, schema, inputs, event_context=EVENT_CONTEXT):
    """`[flatten(C); cand; flatten(means); log1p(n_f)]`, `(batch, width)`."""
    tokens = interaction_tokens(w, schema, inputs, event_context)
    counts = log_counts(w, schema, inputs, event_context)
    return np.concatenate([tokens.reshape(len(tokens), -1), counts], 1)


def group_means(history):
    """Mean token and log1p of the number of events, one group of events after the other."""
    means, counts = [], []
    for f in range(history["groups"].shape[1]):
        member = history["groups"][:, f, :, None]
        counts.append(member.sum(1))
        means.append((history["history"] * member).sum(1) / np.maximum(counts[-1], 1))
    return np.stack(means, 1), np.log1p(np.concatenate(counts, 1))
