"""What a head of INFNet reads: the share of each token in what reaches its hidden layer."""

import numpy as np

from keras_infnet.explain.token_names import HEAD_GROUPS, proxy_names
from keras_infnet.models.infnet import INFNet


def head_columns(model: INFNet) -> list[tuple[str, str]]:
    """(group, token) of everything that a head reads, in the order of its input."""
    config, names = model.config, proxy_names(model)
    columns = [("tasks", "task token")] if config.task_tokens else []
    if config.form.uses_candidate:
        columns += [(group, token) for group in HEAD_GROUPS for token in names[group]]
    return columns


def head_share_sums(model: INFNet, x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """`sum_b |W_j x_bj| / sum_k |W_k x_bk|` over rows `b`, for each token `j`.

    A proxy and its product with the candidate count as one token.

    Args:
        model: The model.
        x: Input of a head, `(rows, width)`.
        kernel: Kernel of its hidden layer, `(width, hidden)`.

    Returns:
        `(tokens,)`, in the order of `head_columns`.
    """
    dim = model.config.dim
    groups = [group for group, _ in head_columns(model)]
    proxies = [i for i, group in enumerate(groups) if group in HEAD_GROUPS]
    owners = [i for i, group in enumerate(groups) if group == "tasks"] + proxies
    owners += proxies  # and their products with the candidate
    arrived = np.zeros((len(groups), len(x), kernel.shape[1]), "float32")
    for place, owner in enumerate(owners):
        part = slice(place * dim, (place + 1) * dim)
        arrived[owner] += x[:, part] @ kernel[part]
    norms = np.linalg.norm(arrived, axis=-1)
    total = norms.sum(0)
    return (norms / np.where(total > 0, total, 1)).sum(1)
