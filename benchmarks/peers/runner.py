"""What is measured, and the ratios of our library to each of the others."""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.asked_process import Failed
from benchmarks.peers.work import DIM, Work, write_log

TRAIN, FORWARD, RANK = "train", "forward", "rank"
FRESH, CACHED, MEMORY = "first step, fresh home", "first step, filled cache", "peak memory"
# While Adam trains: float32 of the row, its gradient and two moments.
_BYTES_OF_ROW = 4 * 4 * DIM


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Args:
        works: Networks and sizes, each with what is measured of it.
        log_rows: Rows of the log that is learned from; 0: none is.
        log_model: The network that learns from it.
        rounds: Rounds of both libraries.
        repeats: Processes that learn from the log.
        seconds: Of one library in a round, about.
    """

    works: Sequence[tuple[Work, Sequence[str]]]
    log_rows: int
    log_model: str = "SharedBottom"
    rounds: int = 5
    repeats: int = 2
    seconds: float = 0.2


ALL = (TRAIN, FORWARD, RANK)
FULL = Plan(
    works=(
        *((Work(name), ALL) for name in ("SharedBottom", "MMoE", "PLE", "DIN", "DCNv2", "FM")),
        (Work("SharedBottom", rows=1_000_000), (TRAIN,)),
        (Work("SharedBottom", rows=10_000_000), (TRAIN,)),
        (Work("SharedBottom", length=1000, batch=64), (TRAIN,)),
        (Work("DIN", length=1000, batch=64), (TRAIN, FORWARD)),
    ),
    log_rows=20_000,
)
QUICK = Plan(
    works=((Work("SharedBottom"), ALL), (Work("DCNv2"), (TRAIN, FORWARD))),
    log_rows=5_000,
    rounds=3,
    repeats=1,
    seconds=0.1,
)


class Run:
    """One run: our library beside others, all in processes that stay alive.

    Args:
        plan: What is measured.
        ours: Name of our library.
        models: Networks that each library has, by its name.
        connect: Starts the worker of a library; in a home of its own if it is given one.
        done: Records of an earlier run, which are not measured again.
        until: When to begin nothing more, by `clock`. Defaults to never.
        clock: Gives seconds, for `until`.
    """

    def __init__(
        self,
        plan: Plan,
        ours: str,
        models: Mapping[str, Sequence[str]],
        connect: Callable[..., Any],
        done: Sequence[Mapping[str, Any]] = (),
        until: float = float("inf"),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.plan, self.ours, self.until, self.clock = plan, ours, until, clock
        self._models, self._connect, self._workers = models, connect, {}
        self._done = {_key(record) for record in done}
        self.stopped = False

    def records(self) -> Iterator[list[dict[str, Any]]]:
        """Records as they are found: of a library and a work each time."""
        try:
            for work, measures in self.plan.works:
                yield from self._compare(work, measures)
            # Idle processes would still hold memory.
            self._close_all()
            if self.plan.log_rows:
                yield from self._learn(Work(self.plan.log_model, self.plan.log_rows))
        finally:
            self._close_all()

    def _compare(self, work: Work, measures: Sequence[str]) -> Iterator[list[dict[str, Any]]]:
        built: dict[str, Any] | None = None
        for peer, left in self._left(work, measures):
            try:
                if built is None:
                    _check_memory(work)
                    built = self._worker(self.ours).ask("build", **_plain(work))
                yield from self._alternate(work, peer, left, built)
            except Failed as failed:
                yield [_failure(peer, work, str(failed))]
                # A process may have ended, or hold half a network.
                self._close(peer)
                self._close(self.ours)
                built = None
        if built is not None:
            self._worker(self.ours).ask("drop")

    def _alternate(
        self, work: Work, peer: str, measures: Sequence[str], built: Mapping[str, Any]
    ) -> Iterator[list[dict[str, Any]]]:
        """The records of one library: both take steps in turn, and give their medians."""
        ours, theirs = self._worker(self.ours), self._worker(peer)
        other = theirs.ask("build", **_plain(work))
        for measure in measures:
            # The first steps compile, and fill caches.
            first = [
                worker.ask(measure, steps=2) and worker.ask(measure, steps=1)["seconds"]
                for worker in (ours, theirs)
            ]
            steps = max(1, min(50, round(self.plan.seconds / max(*first, 1e-6))))
            rounds: list[list[float]] = [[], []]
            for _ in range(self.plan.rounds):
                for worker, seconds in zip((ours, theirs), rounds, strict=True):
                    seconds.append(worker.ask(measure, steps=steps)["seconds"])
            medians = [1000 * statistics.median(seconds) for seconds in rounds]
            record = self._record(work, peer, measure, "ms", *medians)
            record |= {"version": other["version"], "steps": steps}
            record["parameters_ours"] = built["parameters"]
            record["parameters_theirs"] = other["parameters"]
            yield [record]
        theirs.ask("drop")

    def _learn(self, work: Work) -> Iterator[list[dict[str, Any]]]:
        """From CSV to metrics, each time in a new process.

        Ours begins in a home without a cache, and is the last again in the same home.
        """
        peers = dict(self._left(work, (FRESH, CACHED, MEMORY)))
        if not peers:
            return
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in (FRESH, *peers, CACHED)}
        failed: dict[str, str] = {}
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "log.csv"
            write_log(log, work.rows)
            for repeat in range(self.plan.repeats):
                home = Path(folder) / f"home_{repeat}"
                home.mkdir()
                for name, answers in found.items():
                    library, own = (name, None) if name in peers else (self.ours, home)
                    try:
                        answers.append(self._learn_once(library, log, work, own))
                    except Failed as error:
                        failed[name] = str(error)
        of_ours = failed.get(FRESH) or failed.get(CACHED)
        for peer in peers:
            error = of_ours or failed.get(peer)
            yield [_failure(peer, work, error)] if error else self._learned(work, peer, found)

    def _learned(
        self, work: Work, peer: str, found: Mapping[str, Sequence[dict[str, Any]]]
    ) -> list[dict[str, Any]]:
        records = []
        for measure, unit, run, name in (
            (FRESH, "s", FRESH, "first_step"),
            (CACHED, "s", CACHED, "first_step"),
            (MEMORY, "GB", FRESH, "peak_gb"),
        ):
            ours, theirs = (
                statistics.median(answer[name] for answer in found[of]) for of in (run, peer)
            )
            record = self._record(work, peer, measure, unit, ours, theirs)
            auc = {"auc_ours": found[run][-1]["auc"], "auc_theirs": found[peer][-1]["auc"]}
            records.append(record | auc)
        return records

    def _learn_once(
        self, library: str, log: Path, work: Work, home: Path | None = None
    ) -> dict[str, Any]:
        worker = self._connect(library, home=home)
        try:
            return worker.ask("learn", log=str(log), **_plain(work))
        finally:
            worker.close()

    def _left(self, work: Work, measures: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
        """Libraries that have the network, with what is not measured yet, while there is time."""
        for peer in self._models:
            if peer == self.ours or work.model not in self._models[peer]:
                continue
            keys = {m: _key(self._record(work, peer, m, "", 1, 1)) for m in measures}
            left = [measure for measure, key in keys.items() if key not in self._done]
            if left and self.clock() > self.until:
                self.stopped = True
            elif left:
                yield peer, left

    def _record(
        self, work: Work, peer: str, measure: str, unit: str, ours: float, theirs: float
    ) -> dict[str, Any]:
        size = {"rows": work.rows, "length": work.length, "batch": work.batch}
        record = {"library": peer, "model": work.model, "measure": measure, **size}
        record |= {"rounds": self.plan.rounds, "unit": unit, "ours": ours, "theirs": theirs}
        return record | {"ratio": ours / theirs}

    def _worker(self, library: str) -> Any:
        if library not in self._workers:
            self._workers[library] = self._connect(library)
        return self._workers[library]

    def _close_all(self) -> None:
        for library in list(self._workers):
            self._close(library)

    def _close(self, library: str) -> None:
        if library in self._workers:
            self._workers.pop(library).close()


def free_memory() -> float:
    """Bytes that processes may still take; no limit is known where the system doesn't say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return float("inf")
    sizes = dict(line.split(":") for line in lines)
    return 1024 * int(sizes["MemAvailable"].split()[0])


def _check_memory(work: Work) -> None:
    """Raises an error where two networks of this size would take most of the memory."""
    needed, free = 2 * _BYTES_OF_ROW * work.rows, free_memory()
    if needed > 0.7 * free:
        raise Failed(f"{needed / 2**30:.1f} GB of tables, and {free / 2**30:.1f} GB are free")


def _plain(work: Work) -> dict[str, Any]:
    return {name: value for name, value in asdict(work).items() if name != "given"}


def _failure(peer: str, work: Work, error: str) -> dict[str, Any]:
    size = {"rows": work.rows, "length": work.length, "batch": work.batch}
    return {"library": peer, "model": work.model, **size, "error": error}


def _key(record: Mapping[str, Any]) -> tuple[Any, ...]:
    names = ("library", "model", "measure", "rows", "length", "batch", "rounds")
    return tuple(record.get(name) for name in names)
