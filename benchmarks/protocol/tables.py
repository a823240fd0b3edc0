"""The tables of numbers: CSV files in the folder of runs and in a folder that is committed."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

_NUMBER = ["task", "split", "metric"]
# Columns that tell the rows of a table apart.
KEYS = {
    "runs.csv": ["run"],
    "defaults.csv": ["model", "argument"],
    "results.csv": ["model", "members", "histories", *_NUMBER, "seed"],
    "ablation.csv": ["ablation", "setting", *_NUMBER, "seed"],
    "transfer.csv": ["model", "histories", *_NUMBER, "seed"],
    "paired.csv": ["members", "histories", *_NUMBER, "model", "other"],
    "cost.csv": ["model", "members", "histories", "setting"],
    "best.csv": ["task", "split"],
    "artefact.csv": ["split", "score", "metric"],
}

DECIMALS = 6
# A hash or a setting may look like a number.
_TEXT = dict.fromkeys(("hash", "runs", "setting", "default"), "str")


class Tables:
    """The same tables in one or more folders.

    Args:
        folders: Where tables are written. Rows of the first folder win over those of others.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        self.folders = list(folders)
        self.frames: dict[str, pd.DataFrame] = {}
        for name in KEYS:
            found = [read_table(folder / name) for folder in reversed(self.folders)]
            frame = pd.DataFrame(columns=KEYS[name])
            for rows in found:
                frame = merged(frame, rows, KEYS[name])
            self.frames[name] = frame

    def __getitem__(self, name: str) -> pd.DataFrame:
        return self.frames[name]

    def put(
        self,
        name: str,
        rows: pd.DataFrame | Sequence[Mapping[str, Any]],
        instead: pd.Series | None = None,
    ) -> None:
        """Adds rows to a table, in the place of those of the same key, and writes it.

        Args:
            name: Name of the file.
            rows: The rows.
            instead: Mask of further rows of the table that are dropped.
        """
        frame = self.frames[name] if instead is None else self.frames[name][~instead]
        rows = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows))
        # As in the file, so that a report says the same when it is made from the file.
        self.frames[name] = merged(frame, rows.round(DECIMALS), KEYS[name])
        self.write(name)

    def write(self, *names: str) -> None:
        """Writes these tables, or all that have rows, to every folder."""
        for name in names or [name for name, frame in self.frames.items() if len(frame)]:
            for folder in self.folders:
                write_table(folder / name, self.frames[name])


def read_table(path: Path) -> pd.DataFrame:
    """The table; no row if there is no file."""
    if not path.is_file():
        return pd.DataFrame(columns=KEYS[path.name])
    frame = pd.read_csv(path, keep_default_na=False, na_values=[""], dtype=_TEXT)
    missing = [column for column in KEYS[path.name] if column not in frame.columns]
    if missing:
        raise ValueError(f"{path}: no column {', '.join(missing)}; it is not a table of runs.")
    return frame


def merged(old: pd.DataFrame, new: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Both tables' rows, the new ones in the place of old ones of the same key, sorted by key."""
    if new.empty or old.empty:
        both = old if new.empty else new
    else:
        both = pd.concat([old, new], ignore_index=True)
    # A setting may be a number in one row and a word in another.
    codes = both[keys].astype("str")
    both = both[~codes.duplicated(keep="last")]
    return both.sort_values(keys, key=_sortable, kind="stable").reset_index(drop=True)


def write_table(path: Path, frame: pd.DataFrame) -> None:
    """Writes six decimals, under a temporary name that is renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    frame.to_csv(partial, index=False, float_format=f"%.{DECIMALS}f", lineterminator="\n")
    partial.replace(path)


def rows_where(table: pd.DataFrame, known: Mapping[str, Any]) -> pd.Series:
    """Mask of the rows with these values."""
    mask = pd.Series(True, table.index)
    for column, value in known.items():
        mask &= table[column].astype("str") == str(value)
    return mask


def number_rows(
    known: Mapping[str, Any], metrics: Mapping[str, Mapping[str, Mapping[str, float]]]
) -> list[dict[str, Any]]:
    """One row a number of `{split: {task: {metric: value}}}`, each beginning with `known`."""
    return [
        {**known, "task": task, "split": split, "metric": metric, "value": value}
        for split, tasks in metrics.items()
        for task, numbers in tasks.items()
        for metric, value in numbers.items()
    ]


def _sortable(column: pd.Series) -> pd.Series:
    numbers = pd.to_numeric(column, errors="coerce")
    return numbers if numbers.notna().all() else column.astype("str")
