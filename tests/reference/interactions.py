"""Cross layers and WuKong's layer in numpy, as the papers write them, row by row."""

import numpy as np

from tests.reference.textbook import dense, layer_norm, relu, sigmoid


def cross(w, x0, x):
    """`x_0 * (W x_l + b) + x_l`; with `U` and `V` if the layer has two matrices."""
    rows = []
    for first, row in zip(x0, x, strict=True):
        if f"{w.prefix}down_projection/kernel" in w.variables:
            projected = (w / "projection")["kernel"].T @ ((w / "down_projection")["kernel"].T @ row)
        else:
            projected = (w / "projection")["kernel"].T @ row
        rows.append(first * (projected + (w / "projection")["bias"]) + row)
    return np.stack(rows)


def gate(w, x):
    """`sigmoid(W_g c_l)`."""
    return sigmoid(x @ (w / "gate")["kernel"])


def gated_cross(w, x0, x):
    """`c_0 * (W_c c_l + b) * sigmoid(W_g c_l) + c_l`."""
    return x0 * dense(x, w / "projection") * gate(w, x) + x


def wukong(w, tokens):
    """`LN([FMB(X); LCB(X)] + R X)`, with the whole matrix of pairs written out."""
    rows = []
    for x in tokens:
        pairs = np.array([[a @ b for b in x] for a in x]) @ w["pair_projection"]
        hidden = layer_norm(pairs.reshape(-1), w / "pair_norm")
        i = 0
        while f"{w.prefix}hidden_{i}/kernel" in w.variables:
            hidden = relu(dense(hidden, w / f"hidden_{i}"))
            i += 1
        interactions = dense(hidden, w / "output").reshape(-1, x.shape[-1])
        outputs = np.concatenate([interactions, w["compression"].T @ x])
        changes = f"{w.prefix}residual" in w.variables
        kept = w["residual"].T @ x if changes else x
        rows.append(layer_norm(outputs + kept, w / "norm"))
    return np.stack(rows)
