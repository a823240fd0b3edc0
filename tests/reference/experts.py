"""MMoE, OMoE, PLE and STEM in numpy, float64: one expert and one gate after the other."""

import numpy as np

from tests.reference.textbook import Weights, dense, relu, sigmoid
from tests.reference.tokens import flat_tokens


def mmoe(w, schema, inputs, options):
    """Outputs `(batch, 1)` by task, and shares by gate and expert."""
    x = flat_tokens(w, schema, inputs)
    outputs = experts(x, w / "experts", options)
    shares = {task: gate(x, w / f"{task}_gate") for task in schema.task_names}
    mixtures = {task: mixture(shares[task], outputs) for task in schema.task_names}
    names = [f"expert_{k}" for k in range(options["num_experts"])]
    return heads(w, schema, mixtures), {task: named(g, names) for task, g in shares.items()}


def omoe(w, schema, inputs, options):
    """Outputs `(batch, 1)` by task, and shares by gate and expert."""
    x = flat_tokens(w, schema, inputs)
    shares = gate(x, w / "shared_gate")
    mixed = mixture(shares, experts(x, w / "experts", options))
    names = [f"expert_{k}" for k in range(options["num_experts"])]
    mixtures = {task: mixed for task in schema.task_names}
    return heads(w, schema, mixtures), {"shared": named(shares, names)}


def ple(w, schema, inputs, options):
    """Outputs `(batch, 1)` by task, and shares by gate and expert."""
    tasks, all_shares = schema.task_names, {}
    x = {group: flat_tokens(w, schema, inputs) for group in (*tasks, "shared")}
    for level in range(options["num_levels"]):
        if level == 0:
            outputs = experts(x["shared"], w / "level_0_experts", options)
            of_task = {
                t: [outputs.pop(0) for _ in range(options["num_task_experts"])] for t in tasks
            }
            shared = outputs
        else:
            of_task = {t: experts(x[t], w / f"level_{level}_{t}_experts", options) for t in tasks}
            shared = experts(x["shared"], w / f"level_{level}_shared_experts", options)
        next_x = {}
        for task in tasks:
            read = {f"{task}_{k}": f for k, f in enumerate(of_task[task])}
            read |= {f"shared_{k}": f for k, f in enumerate(shared)}
            name = f"level_{level}_{task}"
            shares = gate(x[task], w / f"{name}_gate")
            next_x[task] = mixture(shares, list(read.values()))
            all_shares[name] = named(shares, read)
        if level < options["num_levels"] - 1:
            read = {f"{t}_{k}": f for t in tasks for k, f in enumerate(of_task[t])}
            read |= {f"shared_{k}": f for k, f in enumerate(shared)}
            name = f"level_{level}_shared"
            shares = gate(x["shared"], w / f"{name}_gate")
            next_x["shared"] = mixture(shares, list(read.values()))
            all_shares[name] = named(shares, read)
        x = next_x
    return heads(w, schema, x), all_shares


def stem(w, schema, inputs, options):
    """Outputs `(batch, 1)` by task, and shares by gate and expert."""
    dim, own_dim, read = options["dim"], options["task_dim"], {}
    x = {"shared": flat_tokens(embeddings(w, 0, dim), schema, inputs)}
    for i, task in enumerate(schema.task_names):
        start = dim + i * own_dim
        own = embeddings(w, start, start + own_dim, f"{task}_history_tokens")
        x[task] = flat_tokens(own, schema, inputs)
    for group in (*schema.task_names, "shared"):
        outputs = experts(x[group], w / f"{group}_experts", options)
        read |= {f"{group}_{k}": f for k, f in enumerate(outputs)}
    mixtures, all_shares = {}, {}
    for task in schema.task_names:
        shares = gate(np.concatenate([x[task], x["shared"]], -1), w / f"{task}_gate")
        mixtures[task] = mixture(shares, list(read.values()))
        all_shares[task] = named(shares, read)
    return heads(w, schema, mixtures), all_shares


def embeddings(w, start, stop, history_tokens="history_tokens"):
    """The weights as if the tables had these columns alone, and these tokens of events."""
    variables, prefix = {}, history_tokens.removesuffix("history_tokens")
    of_events = ("history_tokens/", "history_numbers/", "candidate_of_item/")
    for path, value in w.variables.items():
        if path.startswith(("fused_embedding/", "number_embedding/")) or "_projection/" in path:
            variables[path] = value[..., start:stop]
        elif path.startswith(tuple(prefix + layer for layer in of_events)):
            variables[path.removeprefix(prefix)] = value
    return Weights(variables)


def experts(x, w, options):
    """A list with the output `(batch, dim)` of each expert."""
    widths, outputs = options["expert_dims"], []
    for k in range(w["kernel_0"].shape[1] // widths[0]):
        columns = slice(k * widths[0], (k + 1) * widths[0])
        hidden = relu(x @ w["kernel_0"][:, columns] + w["bias_0"][columns])
        for j in range(1, len(widths)):
            hidden = relu(hidden @ w[f"kernel_{j}"][k] + w[f"bias_{j}"][k])
        outputs.append(hidden)
    return outputs


def gate(x, w):
    """Softmax shares `(batch, experts)`."""
    i = 0
    while f"{w.prefix}hidden_{i}/kernel" in w.variables:
        x = relu(dense(x, w / f"hidden_{i}"))
        i += 1
    logits = np.exp(dense(x, w / "logits"))
    return logits / logits.sum(-1, keepdims=True)


def mixture(shares, outputs):
    return sum(shares[:, k, None] * f for k, f in enumerate(outputs))


def named(shares, names):
    return {name: shares[:, k] for k, name in enumerate(names)}


def heads(w, schema, mixtures):
    outputs = {}
    for task in schema.task_names:
        head = w / f"{task}_head"
        outputs[task] = sigmoid(
            dense(relu(dense(mixtures[task], head / "hidden")), head / "output")
        )
    return outputs
