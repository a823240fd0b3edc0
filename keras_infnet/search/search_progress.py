"""How far a search is, in one line."""

from keras_infnet.search.search_clock import SearchClock, clock_text
from keras_infnet.search.trial_records import TrialRecords


def progress_line(records: TrialRecords, clock: SearchClock, max_trials: int) -> str:
    """Trials, the last and the best score, and the time that is left."""
    ended, best = records.ended(), records.best()
    failed = [record for record in ended if record["status"] == "failed"]
    parts = [f"{len(ended)}/{max_trials} trials"]
    if failed:
        parts.append(f"{len(failed)} failed")
    if ended:
        last = max(ended, key=lambda record: record["elapsed_seconds"])
        score = f"score {last['score']:.4f}" if "score" in last else last["error"][:80]
        parts.append(f"trial {last['trial']}: {score} in {clock_text(last['seconds'])}")
    if best:
        parts.append(f"best {best['score']:.4f} (trial {best['trial']})")
    return ", ".join([*parts, _time_left(clock, max_trials - len(ended))])


def _time_left(clock: SearchClock, trials: int) -> str:
    each, left = clock.trial_seconds(), clock.left()
    if each is None:
        return "time left: " + ("unknown" if left is None else clock_text(left))
    expected = trials * each
    if left is not None:
        expected = min(expected, left)
    return f"time left: {clock_text(expected)}" + (" (budget)" if expected == left else "")
