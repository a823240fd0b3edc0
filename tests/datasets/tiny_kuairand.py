"""A folder of five users and four videos in KuaiRand's layout."""

from pathlib import Path

import pandas as pd

from keras_infnet.datasets.kuairand_files import STATISTICS

FEEDBACKS = (
    "is_click,is_like,is_follow,is_comment,is_forward,is_hate,long_view,is_profile_enter".split(",")
)
EARLY, LATE = "log_standard_4_08_to_4_21", "log_standard_4_22_to_5_08"
RANDOM = "log_random_4_22_to_5_08"


def log_rows(days: list[int], user: int = 0) -> pd.DataFrame:
    """Two impressions a day, in the columns and the order of the original."""
    rows = [
        {
            "user_id": user + i % 3,
            "video_id": i % 4,
            "date": 20220400 + day,
            "hourmin": 100 * (i % 24),
            "time_ms": 1_650_000_000_000 + 86_400_000 * day + 1_000 * i,
            "is_click": i % 2,
            **dict.fromkeys(FEEDBACKS[1:6], 0),
            "long_view": (i // 2) % 2,
            "play_time_ms": 1_000 * i,
            "duration_ms": 9_000,
            "profile_stay_time": 0,
            "comment_stay_time": 0,
            "is_profile_enter": 0,
            "is_rand": 0,
            "tab": 1,
        }
        for i, day in enumerate(day for day in days for _ in range(2))
    ]
    return pd.DataFrame(rows)


def users() -> pd.DataFrame:
    n = 5
    table = {"user_id": range(n), "user_active_degree": ["full_active"] * n}
    table |= {c: [0, 1, -124, 0, 1] for c in ("is_lowactive_period", "is_live_streamer")}
    table["is_video_author"] = 1
    for column in ("follow_user_num", "fans_user_num", "friend_user_num", "register_days"):
        table |= {column: [0, 3, 40, 500, 7], f"{column}_range": "(0,10]"}
    table |= {f"onehot_feat{i}": range(n) for i in range(18)}
    table["onehot_feat4"] = [1.0, None, 3.0, 0.0, 2.0]
    return pd.DataFrame(table)


def videos() -> pd.DataFrame:
    table = {
        "video_id": [3, 1, 0, 2],
        "author_id": [7, 8, 7, 9],
        "video_type": ["NORMAL", "AD", "NORMAL", "NORMAL"],
        "upload_dt": "2022-04-10",
        "upload_type": "Web",
        "visible_status": 0.0,
        "video_duration": [5000.0, None, 9233.0, 87433.0],
        "server_width": 720.0,
        "server_height": 1280.0,
        "music_id": [9_155_697_141, 0, 6_618_412_736, 6_355_810_746],
        "music_type": [9.0, 4.0, None, 9.0],
        "tag": ["39", "3,17", None, "8"],
    }
    return pd.DataFrame(table)


def write_kuairand(
    folder: Path, variant: str = "pure", logs: dict[str, pd.DataFrame] | None = None
) -> Path:
    """Writes tables and logs (file name without variant and `.csv`, part included, by frame)."""
    if logs is None:
        logs = {EARLY: log_rows([18, 19]), LATE: log_rows([23, 24, 25])}
    folder.mkdir(parents=True, exist_ok=True)
    users().to_csv(folder / f"user_features_{variant}.csv", index=False)
    videos().to_csv(folder / f"video_features_basic_{variant}.csv", index=False)
    for name, rows in logs.items():
        table, _, part = name.partition("_part")
        suffix = f"_part{part}" if part else ""
        rows.to_csv(folder / f"{table}_{variant}{suffix}.csv", index=False)
    return folder


def write_statistics(folder: Path) -> None:
    """Daily statistics of the videos, in two parts."""
    table = pd.DataFrame({"video_id": [0, 1, 2, 3]} | {c: [0.5, 1, 2, 3] for c in STATISTICS})
    for part in (0, 1):
        half = table.iloc[2 * part : 2 * part + 2]
        half.to_csv(folder / f"video_features_statistic_pure_part{part + 1}.csv", index=False)


def edit(path: Path, old: str, new: str) -> None:
    """Replaces the first `old` in a file."""
    text = path.read_text()
    if old not in text:
        raise ValueError(f"{path} has no {old!r}")
    path.write_text(text.replace(old, new, 1))
