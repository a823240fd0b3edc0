"""Which files of KuaiRand's original layout a folder holds."""

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
        tables = {name: [] for name in _TABLES}
        for name, _, part, file in found:
            tables[name.lower()].append((int(part or 0), file))
        parts = {name: tuple(file for _, file in sorted(tables[name])) for name in _TABLES}
        logs = tuple(file for name in LOG_NAMES for file in parts[name])
        if not logs and not parts[RANDOM_LOG_NAME]:
            raise FileNotFoundError(_no_log(folder))
        extra = {name: folder / name for name in (WARM_FILE, TRUTH_FILE)}
        warm, truth = (file if file.is_file() else None for file in extra.values())
        tables_only = (parts[name] for name in _TABLES[len(LOG_NAMES) :])
        return cls(folder, variants[0], logs, *tables_only, warm, truth)

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


def _no_log(folder: Path) -> str:
    names = sorted(file.name for file in folder.iterdir())
    listing = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
    return (
        f"KuaiRand: {folder} holds no log; expected files such as `{LOG_NAMES[1]}_pure.csv` "
        f"(or _1k, or _27k_part1), here or in a folder `data`. Found: {listing or 'nothing'}."
    )
