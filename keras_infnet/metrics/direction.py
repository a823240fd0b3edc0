"""Direction of a metric: whether lower is better, told by its name."""

import re

_LOWER_IS_BETTER = re.compile(
    r"(.*_)?(loss|error|deviance|entropy|ece|ece_mass|mse|mae|rmse|binary_crossentropy)"
)


def lower_is_better(metric: str) -> bool:
    """Whether lower is better: of losses, errors and deviances; not of AUC or accuracy.

    Args:
        metric: Name of the metric, such as `"auc"` or `"log_loss"`.
    """
    return _LOWER_IS_BETTER.fullmatch(metric) is not None
