"""Seconds of a step of several models, whose steps alternate."""

import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any


def median_step_seconds(
    models: Mapping[Any, Any], batches: Sequence[Any], mode: str, rounds: int, steps: int = 6
) -> dict[Any, float]:
    """Median seconds of a step of each model.

    Args:
        models: Compiled models, already called once with each kind of batch.
        batches: `(x, y, sample_weight)`.
        mode: `"train"` or `"inference"`.
        rounds: Rounds over all models, so that what else the machine does hits them alike.
        steps: Steps of a model in a round; the first is not counted.
    """
    seconds: dict[Any, list[float]] = {key: [] for key in models}
    for _ in range(rounds):
        for key, model in models.items():
            for step in range(steps):
                x, *rest = batches[step % len(batches)]
                start = time.perf_counter()
                if mode == "train":
                    model.train_on_batch(x, *rest)
                else:
                    model.predict_on_batch(x)
                # The first step after another model's finds the caches cold.
                if step:
                    seconds[key].append(time.perf_counter() - start)
    return {key: statistics.median(found) for key, found in seconds.items()}
