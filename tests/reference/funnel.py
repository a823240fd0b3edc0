"""ESMM and AITM in numpy, float64: towers, what is handed on, products and losses."""

import numpy as np

from tests.reference.textbook import dense, relu, sigmoid
from tests.reference.tokens import flat_tokens


def esmm(w, schema, inputs, parents, depth):
    """Probabilities `(batch, 1)` by task: products of sigmoids along the path."""
    x, factors = flat_tokens(w, schema, inputs), {}
    for task in schema.task_names:
        factors[task] = sigmoid(head(tower(x, w, task, depth), w, task))
    return {task: np.prod([factors[t] for t in path(task, parents)], 0) for task in parents}


def aitm(w, schema, inputs, parents, depth):
    """Probabilities `(batch, 1)` by task, and the shares of a task's own tower by task."""
    x, found, shares = flat_tokens(w, schema, inputs), {}, {}
    for task in sorted(parents, key=lambda task: len(path(task, parents))):
        found[task] = tower(x, w, task, depth)
        if parents[task] is None:
            continue
        pair = [found[task], relu(dense(found[parents[task]], w / f"{task}_transfer"))]
        scores, values = [], []
        for u in pair:
            keys, queries = dense(u, w / f"{task}_keys"), dense(u, w / f"{task}_queries")
            scores.append(np.exp((keys * queries).sum(-1) / np.sqrt(u.shape[-1])))
            values.append(dense(u, w / f"{task}_values"))
        shares[task] = scores[0] / (scores[0] + scores[1])
        own = shares[task][:, None]
        found[task] = own * values[0] + (1 - own) * values[1]
    return {task: sigmoid(head(found[task], w, task)) for task in parents}, shares


def tower(x, w, task, depth):
    for i in range(depth):
        x = relu(dense(x, w / f"{task}_tower_{i}"))
    return x


def head(x, w, task):
    """The logit `(batch, 1)`."""
    return dense(relu(dense(x, w / f"{task}_head/hidden")), w / f"{task}_head/output")


def path(task, parents):
    """The task and all before it."""
    return [task] if parents[task] is None else [task, *path(parents[task], parents)]


def entropy(y, p):
    """Mean cross entropy, written with the logarithm of the product."""
    return float(np.mean(-y * np.log(p) - (1 - y) * np.log1p(-p)))


def penalty(p, parents):
    """`sum_t mean(max(p_t - p_parent, 0))`."""
    pairs = [(p[t], p[parent]) for t, parent in parents.items() if parent is not None]
    return float(sum(np.mean(np.maximum(own - before, 0)) for own, before in pairs))
