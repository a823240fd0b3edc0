"""The fields, histories and tasks of KuaiRand, the same for all its variants."""

from collections.abc import Iterable

from keras_infnet.datasets.kuairand_columns import (
    FEEDBACKS,
    STATISTICS_NAMES,
    USER_COUNTS,
    USER_FLAGS,
    USER_ONE_HOT,
    USER_RANGES,
)
from keras_infnet.schema.binary_task import BinaryTask
from keras_infnet.schema.categorical import CategoricalFeature
from keras_infnet.schema.feature import Feature
from keras_infnet.schema.history import History, HistoryGroup
from keras_infnet.schema.numeric import NumericFeature
from keras_infnet.schema.schema import FeatureSchema

EVENT_FIELDS = ("video_id", "author_id", "music_id", "tag", "video_duration")
HISTORIES = ("exposures", "positives")
MAX_TAGS = 4
EXPOSURES_LENGTH = 100
POSITIVES_LENGTH = 50
_POSITIVES = {
    "clicked": "is_click",
    "liked": "is_like",
    "long_viewed": "long_view",
    "followed": "is_follow",
}


def kuairand_schema(tasks: Iterable[str], history: str, statistics: bool) -> FeatureSchema:
    """Schema of KuaiRand; `KuaiRand.schema` documents it."""
    sequences = (_exposures(),) if history == "exposures" else _positives()
    features = (*_user_features(), *_video_features(), *_context_features())
    if statistics:
        features += tuple(_log_number(name, "item") for name in STATISTICS_NAMES.values())
    return FeatureSchema(
        features=features,
        tasks=tuple(BinaryTask(task, FEEDBACKS[task]) for task in tasks),
        histories=sequences,
    )


def _user_features() -> tuple[Feature, ...]:
    return (
        CategoricalFeature("user_id", "user", dtype="int", min_frequency=3),
        *(CategoricalFeature(column, "user") for column in USER_RANGES),
        *(CategoricalFeature(c, "user", dtype="int") for c in USER_FLAGS + USER_ONE_HOT),
        *(_log_number(column, "user") for column in USER_COUNTS),
    )


def _video_features() -> tuple[Feature, ...]:
    identities = ("video_id", "author_id", "music_id")
    return (
        *(CategoricalFeature(c, "item", dtype="int", min_frequency=2) for c in identities),
        CategoricalFeature("video_type", "item"),
        CategoricalFeature("upload_type", "item"),
        CategoricalFeature("music_type", "item", dtype="int"),
        CategoricalFeature("tag", "item", dtype="int", max_values=MAX_TAGS, separator=","),
        NumericFeature("video_duration", "item", allow_missing=True),
    )


def _context_features() -> tuple[Feature, ...]:
    return tuple(CategoricalFeature(column, "context", dtype="int") for column in ("tab", "hour"))


def _log_number(column: str, owner: str) -> NumericFeature:
    return NumericFeature(column, owner, bucketing="log", allow_missing=True)


def _exposures() -> History:
    groups = (
        HistoryGroup("all"),
        HistoryGroup("click", any_of=("is_click",)),
        HistoryGroup("like", any_of=("is_like",)),
        HistoryGroup("long_view", any_of=("long_view",)),
        HistoryGroup("skip", none_of=("is_click",)),
        HistoryGroup("strong", any_of=("is_follow", "is_comment", "is_forward")),
    )
    return History(
        "exposures",
        fields=EVENT_FIELDS,
        max_length=EXPOSURES_LENGTH,
        actions=tuple(FEEDBACKS.values()),
        quantities=(Ratio("play_time_ms", "duration_ms"), Age()),
        groups=groups,
    )


def _positives() -> tuple[History, ...]:
    return tuple(
        History(name, fields=EVENT_FIELDS, max_length=POSITIVES_LENGTH, where=label)
        for name, label in _POSITIVES.items()
    )
