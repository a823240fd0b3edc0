"""DIN, DIEN and HSTU in numpy, as the papers write them: example by example, event by event."""

import math

import numpy as np

from tests.reference.schema_tokens import by_kind, candidate, field_tokens, history_tokens
from tests.reference.textbook import dense, layer_norm, relu, sigmoid
from tests.reference.tokens import EVENT_CONTEXT, flat_tokens


def predict(w, schema, inputs, read, event_context=EVENT_CONTEXT):
    """Outputs by task; `read(events, cand, ages)` is the model's vector of one history."""
    fields = field_tokens(w, schema, inputs)
    tokens = history_tokens(w, schema, inputs, {"event_context": event_context})
    cand, parts = candidate(w, schema, fields), []
    for b in range(len(fields)):
        vectors, start = [], 0
        for s in by_kind(schema):
            lies = slice(start, start + s.max_length)
            there = tokens["mask"][b, lies]
            unknown = np.zeros((len(fields), s.max_length), int)
            ages = inputs.get(f"{s.name}_age", unknown)[b][there]
            vectors.append(read(tokens["history"][b, lies][there], cand[b], ages))
            start += s.max_length
        parts.append(np.concatenate(vectors))
    shared = np.concatenate([flat_tokens(w, schema, inputs, event_context), np.stack(parts)], 1)
    i = 0
    while f"shared_{i}/kernel" in w:
        shared = relu(dense(shared, w / f"shared_{i}"))
        i += 1
    heads = {task: w / f"{task}_head" for task in schema.task_names}
    return {
        task: sigmoid(dense(relu(dense(shared, head / "hidden")), head / "output"))
        for task, head in heads.items()
    }


def activation_weights(w, events, cand):
    """`MLP([S_l; cand; S_l - cand; S_l * cand])` with sigmoid, one event after the other."""
    scores = []
    for event in events:
        x = np.concatenate([event, cand, event - cand, event * cand])
        x = sigmoid(x @ w["kernel"] + w["bias"])
        i = 1
        while f"hidden_{i}/kernel" in w:
            x = sigmoid(dense(x, w / f"hidden_{i}"))
            i += 1
        scores.append(dense(x, w / "score")[0])
    return np.array(scores)


def activation_pooling(w, events, cand, normalize=False):
    """Weighted sum of the events; zeros without events."""
    weights = activation_weights(w, events, cand)
    if normalize and len(weights):
        weights = softmax(weights / math.sqrt(len(cand)))
    return sum((a * event for a, event in zip(weights, events, strict=True)), np.zeros(len(cand)))


def augru(w, events, attention=None):
    """All states of a GRU, its update gate scaled by attention."""
    size = w["recurrent_kernel"].shape[0]
    w_u, w_r, w_c = np.split(w["kernel"], 3, axis=1)
    u_u, u_r, u_c = np.split(w["recurrent_kernel"], 3, axis=1)
    b_u, b_r, b_c = np.split(w["bias"], 3)
    state, states = np.zeros(size), []
    for t, x in enumerate(events):
        update = sigmoid(x @ w_u + state @ u_u + b_u)
        reset = sigmoid(x @ w_r + state @ u_r + b_r)
        new = np.tanh(x @ w_c + reset * (state @ u_c) + b_c)
        update = update * (1 if attention is None else attention[t])
        state = (1 - update) * state + update * new
        states.append(state)
    return np.array(states).reshape(-1, size)


def evolution(w, events, cand):
    """DIEN's last state: GRU, attention on its states, AUGRU."""
    states = augru(w / "interest_extraction/recurrence/cell", events)
    if not len(states):
        return np.zeros(len(cand))
    attention = softmax(states @ dense(cand, w / "attention_query"))
    return augru(w / "interest_evolution/recurrence/cell", states, attention)[-1]


def next_event_loss(states, tokens, mask, shift=1):
    """`-mean (log sigmoid(h e) + log(1 - sigmoid(h e')))` over pairs of events."""
    losses = []
    for b in range(len(states)):
        other = (b - shift) % len(states)
        for t in range(states.shape[1] - 1):
            if mask[b, t] and mask[b, t + 1] and mask[other, t + 1]:
                p = sigmoid(states[b, t] @ tokens[b, t + 1])
                q = sigmoid(states[b, t] @ tokens[other, t + 1])
                losses.append(-np.log(p) - np.log(1 - q))
    return np.mean(losses) if losses else 0.0


def hstu_layer(w, x, ages=None, num_heads=1, max_distance=10**6):
    """One HSTU layer on the tokens of one history without padding; `ages` are buckets."""
    size = x.shape[1] // num_heads
    normed = plain_norm(x)
    gate, query = np.split(silu(dense(normed, w / "gate_query")), 2, axis=1)
    value, key = np.split(silu(dense(normed, w / "value_key")), 2, axis=1)
    attended = np.zeros(x.shape)
    for t in range(len(x)):
        for s in range(t + 1):
            bias = w["distances"][min(t - s, max_distance - 1), 0]
            if ages is not None:
                bias = bias + w["intervals"][interval(ages[t], ages[s]), 0]
            for h in range(num_heads):
                part = slice(h * size, (h + 1) * size)
                score = silu(query[t, part] @ key[s, part] + bias) / len(x)
                attended[t, part] += score * value[s, part]
    return x + dense(plain_norm(attended) * gate, w / "output")


def interval(first, second):
    """Bucket of the time between events whose ages are in these buckets."""
    if first == 0 or second == 0:
        return 0
    seconds = [2 ** (int(bucket) - 1) - 1 for bucket in (first, second)]
    return 1 + int(math.log2(abs(seconds[0] - seconds[1]) + 1))


def encoded_candidate(w, events, cand, ages, num_layers=1, num_heads=1):
    """HSTU's output for the candidate, the last token, whose age is 0 seconds: bucket 1."""
    x = np.concatenate([events, cand[None]])
    known = "hstu_0/intervals" in w
    ages = [*ages, 1] if known else None
    for i in range(num_layers):
        x = hstu_layer(w / f"hstu_{i}", x, ages, num_heads)
    return x[-1]


def plain_norm(x):
    return layer_norm(x, {"gamma": 1, "beta": 0}, epsilon=1e-6)


def silu(x):
    return x * sigmoid(x)


def softmax(x):
    weights = np.exp(x - x.max())
    return weights / weights.sum()
