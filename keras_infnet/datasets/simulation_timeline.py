"""When impressions happen: sessions over days and hours."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from keras_infnet.datasets.simulation_settings import SimulationSettings

LAST_DAY = pd.Timestamp("2022-05-08")
SECOND_LOG_START = pd.Timestamp("2022-04-22")
UTC_OFFSET_MS = 8 * 3_600_000
DAY_MS = 86_400_000
# Share of sessions that start in each hour: a low night, a noon and an evening peak.
HOUR_WEIGHTS = (
    *(2.5, 1.5, 1, 0.6, 0.5, 0.7, 1.5, 2.5, 3.2, 3.6, 4, 4.6),
    *(5.6, 5.2, 4.5, 4.3, 4.4, 4.8, 5.5, 6.4, 7.2, 7.4, 6.2, 4.3),
)


@dataclass(frozen=True)
class Timeline:
    """Impressions sorted by (user, time); no two of a user have the same time.

    User `u` has the `count[u]` impressions from `start[u]` on, and `count` falls.
    """

    count: np.ndarray
    start: np.ndarray
    user: np.ndarray
    local_ms: np.ndarray
    is_random: np.ndarray

    @property
    def hour(self) -> np.ndarray:
        """Hour of the day, UTC+8, 0 to 23."""
        return self.local_ms // 3_600_000 % 24

    @property
    def time_ms(self) -> np.ndarray:
        """Unix milliseconds."""
        return self.local_ms - UTC_OFFSET_MS

    @property
    def date(self) -> np.ndarray:
        """Day in UTC+8 as yyyymmdd."""
        days, where = np.unique(self.local_ms // DAY_MS, return_inverse=True)
        text = pd.to_datetime(days, unit="D").strftime("%Y%m%d")
        return text.astype("int64").to_numpy()[where]


def make_timeline(
    rows: int, users: int, settings: SimulationSettings, rng: np.random.Generator
) -> Timeline:
    """Times of `rows` standard impressions and of the random exposures among them."""
    random_rows = max(1, round(rows * settings.random_share))
    activity = np.exp(settings.activity_spread * rng.normal(size=users))
    count = np.sort(rng.multinomial(rows + random_rows, activity / activity.sum()))[::-1]
    user = np.repeat(np.arange(users), count)
    start = np.cumsum(count) - count
    first = _first_ms(settings)
    local_ms = first + _session_times(user, settings, rng)
    local_ms = _strictly_increasing(user, local_ms[np.lexsort((local_ms, user))])
    eligible = np.flatnonzero(local_ms >= SECOND_LOG_START.value // 1_000_000)
    is_random = np.zeros(len(user), bool)
    is_random[rng.choice(eligible, random_rows, replace=False)] = True
    return Timeline(count, start, user, local_ms, is_random)


def _first_ms(settings: SimulationSettings) -> int:
    return (LAST_DAY - pd.Timedelta(days=settings.days - 1)).value // 1_000_000


def _session_times(
    user: np.ndarray, settings: SimulationSettings, rng: np.random.Generator
) -> np.ndarray:
    """Milliseconds since the log's first midnight."""
    opens = rng.random(len(user)) < 1 / settings.session_length
    opens |= np.diff(user, prepend=-1) > 0
    session = np.cumsum(opens) - 1
    sessions = session[-1] + 1
    weights = np.array(HOUR_WEIGHTS)
    hours = rng.integers(settings.days, size=sessions) * 24 + rng.choice(
        24, sessions, p=weights / weights.sum()
    )
    opening = (hours + rng.random(sessions)) * 3_600_000
    elapsed = np.cumsum(5_000 + rng.exponential(30_000, len(user)))
    times = opening[session] + elapsed - elapsed[opens][session]
    # What runs over the last midnight goes on in the log's first night.
    return times.astype("int64") % (settings.days * DAY_MS - 1_000)


def _strictly_increasing(user: np.ndarray, local_ms: np.ndarray) -> np.ndarray:
    """Moves ties of a user apart by a millisecond each."""
    steps = np.arange(len(user))
    apart = user * (64 * DAY_MS)
    return np.maximum.accumulate(local_ms + apart - steps) + steps - apart
