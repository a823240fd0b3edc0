"""Quality against inference time in one number."""

import math
from dataclasses import dataclass, field

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
