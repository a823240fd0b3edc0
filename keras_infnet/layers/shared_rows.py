"""Rows that stand for all: tensors of batch 1 beside tensors of any batch."""

from collections.abc import Sequence
from typing import Any

from keras import ops


def is_shared(tensor: Any) -> bool:
    """Whether a tensor has one row, known as such before it is computed."""
    return tensor.shape[0] == 1


def with_all_rows(tensors: Sequence[Any]) -> list[Any]:
    """The same tensors, where those of one row are repeated if others have more."""
    shared = [is_shared(tensor) for tensor in tensors]
    if all(shared) or not any(shared):
        return list(tensors)
    rows = ops.shape(tensors[shared.index(False)])[0]
    return [
        ops.broadcast_to(tensor, (rows, *ops.shape(tensor)[1:])) if one else tensor
        for tensor, one in zip(tensors, shared, strict=True)
    ]
