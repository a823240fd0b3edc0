"""KuaiRand's files: names, columns with types (see `read_csv_table`), and how to find them."""

import re
from dataclasses import dataclass
from pathlib import Path

# The names of the original archives, without `_pure`, `_1k` or `_27k` and `_part1`, `_part2`, ...
LOG_NAMES = ("log_standard_4_08_to_4_21", "log_standard_4_22_to_5_08")
RANDOM_LOG_NAME = "log_random_4_22_to_5_08"
USER_TABLE_NAME = "user_features"
VIDEO_TABLE_NAME = "video_features_basic"
STATISTICS_NAME = "video_features_statistic"
WARM_FILE = "warm_histories.parquet"
TRUTH_FILE = "truth.parquet"
_TABLES = (*LOG_NAMES, RANDOM_LOG_NAME, USER_TABLE_NAME, VIDEO_TABLE_NAME, STATISTICS_NAME)
_PATTERN = re.compile(rf"({'|'.join(_TABLES)})_(pure|1k|27k)(?:_part(\d+))?\.csv", re.IGNORECASE)

FEEDBACKS = {
    "click": "is_click",
    "like": "is_like",
    "follow": "is_follow",
    "comment": "is_comment",
    "forward": "is_forward",
    "hate": "is_hate",
    "long_view": "long_view",
    "profile_enter": "is_profile_enter",
}
LOG_COLUMNS = {
    "user_id": "int32",
    "video_id": "int32",
    "date": "int32",
    "hourmin": "int16",
    "time_ms": "int64",
    **dict.fromkeys(FEEDBACKS.values(), "flag"),
    "play_time_ms": "int32",
    "duration_ms": "int32",
    "tab": "int8",
}
OPTIONAL_LOG_COLUMNS = {
    "profile_stay_time": "int32",
    "comment_stay_time": "int32",
    "is_rand": "int8",
}

USER_FLAGS = ("is_lowactive_period", "is_live_streamer", "is_video_author")
USER_RANGES = (
    "user_active_degree",
    "follow_user_num_range",
    "fans_user_num_range",
    "friend_user_num_range",
    "register_days_range",
)
USER_COUNTS = ("follow_user_num", "fans_user_num", "friend_user_num", "register_days")
USER_ONE_HOT = tuple(f"onehot_feat{i}" for i in range(18))
USER_COLUMNS = {
    "user_id": "int32",
    **dict.fromkeys(USER_RANGES, "str"),
    **dict.fromkeys(USER_FLAGS, "int16?"),
    **dict.fromkeys(USER_COUNTS, "float32"),
    **dict.fromkeys(USER_ONE_HOT, "int32?"),
}

VIDEO_COLUMNS = {
    "video_id": "int32",
    "author_id": "int32?",
    "video_type": "str",
    "upload_dt": "str",
    "upload_type": "str",
    "video_duration": "float32",
    "music_id": "int64?",
    "music_type": "int16?",
    "tag": "str",
}
OPTIONAL_VIDEO_COLUMNS = {
    "visible_status": "int16?",
    "server_width": "float32",
    "server_height": "float32",
}
_COUNTED = (
    "show play complete_play valid_play long_time_play short_time_play like cancel_like comment "
    "delete_comment comment_like follow cancel_follow share download report reduce_similar collect "
    "cancel_collect"
).split()
_UNCOUNTED = (
    "counts play_duration play_progress comment_stay_duration click_like_cnt double_click_cnt "
    "direct_comment_cnt direct_comment_user_num reply_comment_cnt reply_comment_user_num "
    "share_all_cnt share_all_user_num outsite_share_all_cnt"
).split()
STATISTICS = (*_UNCOUNTED, *(f"{what}_{by}" for what in _COUNTED for by in ("cnt", "user_num")))
# `follow_user_num` is a column of users too, so the frame's names of statistics have a prefix.
STATISTICS_PREFIX = "daily_"

WARM_COLUMNS = ("user_id", "position", "video_id")


@dataclass(frozen=True)
class KuaiRandFiles:
    """The files of one KuaiRand folder; parts of one table are in the order of their numbers.

    Args:
        folder: The folder that holds the files.
        variant: `"pure"`, `"1k"` or `"27k"`.
        logs: Standard logs, in the order of time.
        random_logs: Logs of randomly exposed videos.
        user_features: User features.
        video_features: Basic video features.
        statistics: Daily-averaged video statistics.
        warm_histories: Histories from before the log, or `None`.
        truth: True probabilities of a simulated log, or `None`.
    """

    folder: Path
    variant: str
    logs: tuple[Path, ...]
    random_logs: tuple[Path, ...] = ()
    user_features: tuple[Path, ...] = ()
    video_features: tuple[Path, ...] = ()
    statistics: tuple[Path, ...] = ()
    warm_histories: Path | None = None
    truth: Path | None = None

    @classmethod
    def find(cls, path: Path) -> "KuaiRandFiles":
        """The files in `path/data`, or in `path` itself."""
        if not path.exists():
            raise FileNotFoundError(f"KuaiRand: {path} does not exist; expected a folder.")
        if not path.is_dir():
            raise NotADirectoryError(
                f"KuaiRand: {path} is a file; expected the folder that has it."
            )
        folder = path / "data" if (path / "data").is_dir() else path
        matches = [(_PATTERN.fullmatch(file.name), file) for file in sorted(folder.iterdir())]
        found = [(*match.groups(), file) for match, file in matches if match and file.is_file()]
        variants = sorted({variant.lower() for _, variant, _, _ in found})
        if len(variants) > 1:
            raise ValueError(
                f"KuaiRand: {folder} holds files of several variants ({', '.join(variants)}); "
                "expected one. Put each variant in a folder of its own."
            )
        numbered = sorted((name.lower(), int(part or 0), file) for name, _, part, file in found)
        parts = {t: tuple(file for name, _, file in numbered if name == t) for t in _TABLES}
        logs = tuple(file for name in LOG_NAMES for file in parts[name])
        if not logs and not parts[RANDOM_LOG_NAME]:
            names = sorted(file.name for file in folder.iterdir())
            listing = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
            raise FileNotFoundError(
                f"KuaiRand: {folder} holds no log; expected files such as "
                f"`{LOG_NAMES[1]}_pure.csv` (or _1k, or _27k_part1), here or in a folder `data`. "
                f"Found: {listing or 'nothing'}."
            )
        extra = (folder / name for name in (WARM_FILE, TRUTH_FILE))
        warm, truth = (file if file.is_file() else None for file in extra)
        tables_only = (parts[name] for name in _TABLES[len(LOG_NAMES) :])
        return cls(folder, variants[0], logs, *tables_only, warm_histories=warm, truth=truth)

    def __str__(self) -> str:
        """One line a kind of file."""
        kinds = {
            "standard logs": self.logs,
            "random-exposure logs": self.random_logs,
            "user features": self.user_features,
            "video features": self.video_features,
            "video statistics": self.statistics,
            "warm histories": (self.warm_histories,) if self.warm_histories else (),
            "truth": (self.truth,) if self.truth else (),
        }
        lines = [
            f"  {kind}: {', '.join(file.name for file in files) or 'none'}"
            for kind, files in kinds.items()
        ]
        return "\n".join([f"KuaiRand {self.variant} in {self.folder}", *lines])
