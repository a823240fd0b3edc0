"""The work that every library is given: fields, sizes, batches, a request and a log as CSV."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

USER_FIELDS = ("user_id", *(f"user_{i}" for i in range(1, 35)))
ITEM_FIELDS = ("video_id", *(f"video_{i}" for i in range(1, 12)))
FIELDS = USER_FIELDS + ITEM_FIELDS
# The history holds past values of this field, and looks them up in its table.
ITEM = FIELDS.index("video_id")
TASKS = ("click", "like", "long_view")
SEVERAL_TASKS = ("SharedBottom", "MMoE", "PLE")

DIM = 32
HIDDEN, HEAD = (256, 128), 64
EXPERTS, EXPERT_HIDDEN = 8, (128,)
LEVELS, SHARED_EXPERTS, TASK_EXPERTS = 2, 2, 2
ATTENTION_HIDDEN = (80, 40)
CROSSES = 3
LEARNING_RATE = 1e-3

CANDIDATES = 500
# Ids below are no values: 0 is padding, 1 is unknown.
FIRST_ID = 2
TEST_SHARE = 0.1
_BATCHES = 4


@dataclass(frozen=True)
class Rows:
    """Encoded rows: `ids (rows, fields)`, `history (rows, length)` and `labels (rows, tasks)`."""

    ids: np.ndarray
    history: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Work:
    """One network and the size of what it reads.

    Args:
        model: Name of the network.
        rows: Rows of all tables together.
        length: Events of a history, all of them there.
        batch: Rows of a batch.
        given: Rows of each field's table, where a log decides; otherwise they follow from `rows`.
    """

    model: str
    rows: int = 100_000
    length: int = 50
    batch: int = 256
    given: Sequence[int] = field(default=(), hash=False)

    @property
    def tasks(self) -> tuple[str, ...]:
        return TASKS if self.model in SEVERAL_TASKS else TASKS[:1]

    @property
    def sizes(self) -> dict[str, int]:
        """Rows of the table of each field: most are the item's and the user's."""
        if self.given:
            return dict(zip(FIELDS, self.given, strict=True))
        shares = {"video_id": 0.6, "user_id": 0.3}
        other = (1 - sum(shares.values())) / (len(FIELDS) - len(shares))
        return {
            name: max(FIRST_ID + 2, round(self.rows * shares.get(name, other))) for name in FIELDS
        }

    def batches(self) -> list[Rows]:
        """A few batches of ids that are drawn from whole tables."""
        rng = np.random.default_rng(0)
        return [self._draw(rng, self.batch) for _ in range(_BATCHES)]

    def request(self) -> Rows:
        """One user's candidates: fields of the user and the history are the same in all rows."""
        drawn = self._draw(np.random.default_rng(1), CANDIDATES)
        drawn.ids[:, : len(USER_FIELDS)] = drawn.ids[0, : len(USER_FIELDS)]
        drawn.history[:] = drawn.history[0]
        return drawn

    def _draw(self, rng: np.random.Generator, rows: int) -> Rows:
        sizes = np.array(list(self.sizes.values()))
        ids = rng.integers(FIRST_ID, sizes, (rows, len(FIELDS)), dtype="int64")
        history = rng.integers(FIRST_ID, sizes[ITEM], (rows, self.length), dtype="int64")
        labels = rng.integers(0, 2, (rows, len(self.tasks))).astype("float32")
        return Rows(ids, history, labels)


def write_log(path: Path, rows: int, seed: int = 0) -> None:
    """A log in the order of time, whose labels depend on one field of user and item each."""
    import pandas as pd

    rng = np.random.default_rng(seed)
    sizes = np.array(list(Work("SharedBottom").sizes.values()))
    users = max(10, rows // 50)
    sizes[0] = min(sizes[0], users)
    log = pd.DataFrame(rng.integers(0, sizes, (rows, len(FIELDS))), columns=list(FIELDS))
    log["time_ms"] = 1_790_000_000_000 + 1000 * np.arange(rows)
    match = log["user_1"] % 2 == log["video_1"] % 2
    for task, rate in zip(TASKS, (0.3, 0.05, 0.2), strict=True):
        log[task] = (rng.random(rows) < rate * np.where(match, 1.5, 0.5)).astype("int64")
    log.to_csv(path, index=False)


def first_test_row(rows: int) -> int:
    """The first row of the test in a log of so many rows."""
    return math.ceil(rows * (1 - TEST_SHARE))


def read_log(path: Path, length: int) -> tuple[list[int], Rows, Rows]:
    """What users of the other libraries write with pandas before they train.

    Returns:
        Rows of each field's table, and the encoded rows for training and for the test.
    """
    import pandas as pd

    log = pd.read_csv(path)
    codes = [pd.factorize(log[name], sort=True) for name in FIELDS]
    ids = np.stack([code + FIRST_ID for code, _ in codes], axis=1)
    history = past_items(ids[:, 0], ids[:, ITEM], length)
    labels = log[list(TASKS)].to_numpy("float32")
    at = first_test_row(len(log))
    parts = [Rows(ids[part], history[part], labels[part]) for part in (slice(at), slice(at, None))]
    return [FIRST_ID + len(values) for _, values in codes], *parts


def past_items(users: np.ndarray, items: np.ndarray, length: int) -> np.ndarray:
    """The newest items of a user's earlier rows, oldest first, 0 where there are fewer.

    Rows are in the order of time.
    """
    order = np.argsort(users, kind="stable")
    ordered = users[order]
    place = np.arange(len(users))
    first = np.maximum.accumulate(np.where(np.r_[True, ordered[1:] != ordered[:-1]], place, 0))
    window = place[:, None] + np.arange(-length, 0)
    past = np.where(window >= first[:, None], items[order][np.maximum(window, 0)], 0)
    found = np.empty_like(past)
    found[order] = past
    return found
