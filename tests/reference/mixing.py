"""Tokens of features, mixing and feed-forward layers of tokens in numpy, token by token."""

import math

import numpy as np

from tests.reference.textbook import layer_norm, sigmoid

PLAIN = {"gamma": 1, "beta": 0}


def feature_tokens(w, inputs):
    """`silu(g * LN(W x + b) + h)` of each token; `inputs` has what each reads, `(batch, width)`."""
    number, dim = w["bias"].shape
    tokens = []
    for t, x in enumerate(inputs):
        kernel = w[f"kernel_{t}"] if "kernel_1" in w or number == 1 else w["kernel_0"]
        if kernel.ndim == 3:
            kernel = kernel[t]
        elif kernel.shape[1] != dim:
            kernel = kernel[:, t * dim : (t + 1) * dim]
        tokens.append(
            silu(layer_norm(x @ kernel + w["bias"][t], PLAIN) * w["gain"][t] + w["shift"][t])
        )
    return np.stack(tokens, 1)


def mix(x):
    """Part `h` of token `t` becomes part `t` of token `h`."""
    batch, number, dim = x.shape
    part, mixed = dim // number, np.zeros(x.shape)
    for t in range(number):
        for h in range(number):
            mixed[:, h, t * part : (t + 1) * part] = x[:, t, h * part : (h + 1) * part]
    return mixed


def feed_forward(w, x):
    """Of each token by weights of its own, gelu or SwiGLU."""
    tokens = []
    for t in range(x.shape[1]):
        hidden = x[:, t] @ w["in_kernel"][t]
        if "gate_kernel" in w:
            hidden = silu(hidden) * (x[:, t] @ w["gate_kernel"][t])
            tokens.append(hidden @ w["out_kernel"][t])
        else:
            hidden = gelu(hidden + w["in_bias"][t, 0])
            tokens.append(hidden @ w["out_kernel"][t] + w["out_bias"][t, 0])
    return np.stack(tokens, 1)


def gelu(x):
    return x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2


def silu(x):
    return x * sigmoid(x)
