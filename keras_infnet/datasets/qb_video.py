"""QB-video of Tenrec: a log of a short-video feed, without times."""

from collections.abc import Iterable
from os import PathLike
from typing import Literal

import pandas as pd

from keras_infnet._base.checks import check_choice, known_names
from keras_infnet._base.paths import local_path
from keras_infnet.datasets.csv_table import read_csv_table
from keras_infnet.datasets.split import Split, split_by_order
from keras_infnet.schema.binary_task import BinaryTask
from keras_infnet.schema.categorical import CategoricalFeature
from keras_infnet.schema.history import History, HistoryGroup
from keras_infnet.schema.numeric import NumericFeature
from keras_infnet.schema.schema import FeatureSchema

FILE_NAME = "QB-video.csv"
FEEDBACKS = ("click", "follow", "like", "share")
EVENT_FIELDS = ("item_id", "video_category")
EXPOSURES_LENGTH = 100
POSITIVES_LENGTH = 50
_COLUMNS = {
    "user_id": "int32",
    "item_id": "int32",
    **dict.fromkeys(FEEDBACKS, "flag"),
    "video_category": "int16?",
    "watching_times": "float32",
    "gender": "int8?",
    "age": "int8?",
}


class QBVideo:
    """QB-video.csv of Tenrec.

    The log has no times: the order of a user's rows is the order of time (`time_key` of the schema
    is `None`), and `split` goes by it.

    Args:
        path: `QB-video.csv`, or the folder that holds it.
        tasks: Feedbacks to predict: `"click"`, `"follow"`, `"like"`, `"share"`.
        watching_times: Whether the number of times that the user watched the video is a feature. It
            is counted after the impression: using it leaks.
        history: `"exposures"`: one history of all exposures with what the user did there;
            `"positives"`: one history of each feedback.

    Raises:
        FileNotFoundError: The file is not there.
        ValueError: An argument is unknown.

    Example:
        >>> import tempfile
        >>> import pandas as pd
        >>> names = "user_id item_id click follow like share".split()
        >>> names += "video_category watching_times gender age".split()
        >>> log = pd.DataFrame(1, index=range(3), columns=names)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     log.to_csv(f"{folder}/QB-video.csv", index=False)
        ...     frame = keras_infnet.datasets.QBVideo(folder).frame()
        >>> len(frame)
        3

    Reference:
        Yuan et al., Tenrec: A Large-scale Multipurpose Benchmark Dataset for Recommender Systems,
        NeurIPS 2022.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        tasks: Iterable[str] = FEEDBACKS,
        watching_times: bool = False,
        history: Literal["exposures", "positives"] = "exposures",
    ) -> None:
        self.tasks = known_names("QBVideo", "task", tasks, FEEDBACKS)
        self.history = check_choice("QBVideo", "history", history, ("exposures", "positives"))
        self.watching_times = watching_times
        path = local_path(path, "QBVideo", "path")
        self.found = path / FILE_NAME if path.is_dir() else path
        if not self.found.is_file():
            raise FileNotFoundError(
                f"QBVideo: {self.found} does not exist; expected {FILE_NAME} or its folder."
            )

    def describe(self) -> str:
        """Which file was found."""
        return f"QB-video in {self.found}"

    def frame(self) -> pd.DataFrame:
        """The log, one row an impression; the index is the row number.

        Missing values are -1 in integer columns, else NaN.

        Raises:
            ValueError: The file can't be read, a column is missing, or no row is there.
        """
        frame = read_csv_table(self.found, _COLUMNS)
        if frame.empty:
            raise ValueError(f"QBVideo: {self.found} has no row.")
        return frame

    def warm(self) -> None:
        """Histories from before the log: there are none."""

    def truth(self) -> None:
        """True probabilities: a real log has none."""

    def schema(self) -> FeatureSchema:
        """User: `user_id`, `gender`, `age`; item: `item_id`, `video_category`."""
        features: list[CategoricalFeature | NumericFeature] = [
            CategoricalFeature("user_id", "user", dtype="int", min_frequency=3),
            CategoricalFeature("gender", "user", dtype="int"),
            CategoricalFeature("age", "user", dtype="int"),
            CategoricalFeature("item_id", "item", dtype="int", min_frequency=2),
            CategoricalFeature("video_category", "item", dtype="int"),
        ]
        if self.watching_times:
            watching = {"bucketing": "log", "allow_missing": True}
            features.append(NumericFeature("watching_times", "context", **watching))
        histories = (_exposures(),) if self.history == "exposures" else _positives()
        tasks = tuple(BinaryTask(task) for task in self.tasks)
        return FeatureSchema(tuple(features), tasks, histories, time_key=None)

    def split(self, frame: pd.DataFrame, validation: float = 0.1, test: float = 0.1) -> Split:
        """Splits each user's rows by their order: the last test, those before them validate."""
        return split_by_order(frame, validation, test)


def _exposures() -> History:
    positives = tuple(HistoryGroup(feedback, any_of=(feedback,)) for feedback in FEEDBACKS)
    return History(
        "exposures",
        fields=EVENT_FIELDS,
        max_length=EXPOSURES_LENGTH,
        actions=FEEDBACKS,
        quantities=(),
        groups=(HistoryGroup("all"), *positives, HistoryGroup("skip", none_of=("click",))),
    )


def _positives() -> tuple[History, ...]:
    names = {"click": "clicked", "follow": "followed", "like": "liked", "share": "shared"}
    return tuple(
        History(names[f], EVENT_FIELDS, POSITIVES_LENGTH, where=f, quantities=()) for f in FEEDBACKS
    )
