"""The daily job: a ranker that is trained again every day, grows, and can be rolled back."""

from keras_infnet.daily.config import DailyConfig
from keras_infnet.daily.errors import DailyError
from keras_infnet.daily.job import DailyJob, Outcome
from keras_infnet.daily.versions import Version, Versions

__all__ = [
    "DailyConfig",
    "DailyError",
    "DailyJob",
    "Outcome",
    "Version",
    "Versions",
]
