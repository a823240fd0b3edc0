"""Inference time of a model on this machine."""

import statistics
import time
from collections.abc import Mapping
from typing import Any

import numpy as np


def inference_milliseconds(
    model: Any, inputs: Mapping[str, Any], batch_size: int = 256, repeats: int = 15
) -> float:
    """Median milliseconds of `predict_on_batch`, compiled before.

    Args:
        model: A compiled model.
        inputs: Packed inputs of one row or more; they are repeated or cut to the batch.
        batch_size: Rows a batch.
        repeats: Measured batches; the median leaves out what else the machine did.

    Returns:
        Milliseconds a batch.
    """
    batch = {
        name: np.resize(values, (batch_size, *values.shape[1:]))
        for name, values in ((n, np.asarray(v)) for n, v in inputs.items())
    }
    for _ in range(2):
        model.predict_on_batch(batch)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        model.predict_on_batch(batch)
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds)
