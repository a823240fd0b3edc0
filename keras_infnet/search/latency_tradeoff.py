"""Quality against inference time: measured, as one score, and as the Pareto front."""

import math
import statistics
import timeit
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from keras_infnet._base.checks import bad
from keras_infnet.training.policy import TaskPolicy


@dataclass(frozen=True)
class LatencyTradeoff:
    """Quality less what inference costs: `score = quality - price * log2(milliseconds)`.

    An oracle needs one number; this one says how much quality a model of half the inference time
    may lose. The Pareto front of a search does not depend on the price.

    Args:
        quality: What is good, without regard to time. Defaults to the mean AUC of all tasks.
        price: Quality that halving the inference time is worth, 0 or more.

    Raises:
        ValueError: The price is negative or not finite.

    Example:
        >>> tradeoff = keras_infnet.search.LatencyTradeoff(price=0.001)
        >>> round(tradeoff.score(quality=0.75, milliseconds=8.0), 6)
        0.747
    """

    quality: TaskPolicy = field(default_factory=TaskPolicy)
    price: float = 0.001

    def __post_init__(self) -> None:
        if not (math.isfinite(self.price) and self.price >= 0):
            raise bad(self, "price", self.price, "0 or more")

    def score(self, quality: float, milliseconds: float) -> float:
        """The score of a trial, higher is better.

        Args:
            quality: Score of the policy `quality`.
            milliseconds: Inference time of a batch, above 0.

        Returns:
            The score.
        """
        return quality - self.price * math.log2(milliseconds)


def inference_milliseconds(
    model: Any, inputs: Mapping[str, Any], batch_size: int = 256, repeats: int = 15
) -> float:
    """Median milliseconds of `predict_on_batch` on this machine, compiled before.

    Args:
        model: A compiled model.
        inputs: Packed inputs of one row or more; they are repeated or cut to the batch.
        batch_size: Rows a batch.
        repeats: Measured batches; the median leaves out what else the machine did.

    Returns:
        Milliseconds a batch.
    """
    arrays = {name: np.asarray(values) for name, values in inputs.items()}
    batch = {name: np.resize(a, (batch_size, *a.shape[1:])) for name, a in arrays.items()}
    # The first two compile.
    seconds = timeit.repeat(lambda: model.predict_on_batch(batch), number=1, repeat=2 + repeats)
    return 1000 * statistics.median(seconds[2:])


def pareto_front(quality: Any, cost: Any) -> np.ndarray:
    """Mask of the points that no other point dominates.

    A point is dominated where another one has at least its quality at no more than its cost, and
    is better in one of the two. Equal points stand on the front together; NaN never does.

    Args:
        quality: Numbers `(points,)`, higher is better, such as AUC.
        cost: Numbers `(points,)`, lower is better, such as milliseconds.

    Returns:
        Booleans `(points,)`.

    Raises:
        ValueError: The two are not of the same length.

    Example:
        >>> keras_infnet.search.pareto_front([0.7, 0.8, 0.75], [1.0, 2.0, 3.0]).tolist()
        [True, True, False]
    """
    quality, cost = np.asarray(quality, "float64"), np.asarray(cost, "float64")
    if quality.shape != cost.shape or quality.ndim != 1:
        raise ValueError(
            "pareto_front: `quality` and `cost` must be two lists of the same length. Received "
            f"shapes: {quality.shape} and {cost.shape}"
        )
    known = ~(np.isnan(quality) | np.isnan(cost))
    # (other points, points): which other one is as good and as cheap, and better in one of the two.
    as_good = (quality[:, None] >= quality) & (cost[:, None] <= cost)
    better = (quality[:, None] > quality) | (cost[:, None] < cost)
    return known & ~(as_good & better).any(axis=0)
