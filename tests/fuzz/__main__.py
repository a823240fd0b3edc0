"""Fuzz: random logs, each equal three ways and to an oracle, or refused by the column's name.

    KERAS_BACKEND=tensorflow python -m tests.fuzz --seconds 120 --seed 0 --out runs/fuzz.json
    python -m tests.fuzz --only 1234   # One case again, by its seed.

Each case goes through batches, encoded rows and the graph that a SavedModel holds before the model;
their packed inputs are equal, and as the oracle has them. Where some known ids count as unknown, or
there are lists, training batches and batches of whole lists hold the same rows. For one of ten (on
JAX, of sixty) a Keras model predicts from all three too, and for one of forty (with TensorFlow as
backend) it is exported, and the SavedModel served with the raw request. One of six (again with
TensorFlow) is two days of a daily job too, whose second reads what all rows at once give.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from keras_infnet._base.whole_files import write_json
from tests.fuzz.cases import Case, make_case
from tests.fuzz.shrink import describe, shrink
from tests.fuzz.ways import Outcome, run

# JAX compiles a model for each shape.
_MODEL_EVERY = {"tensorflow": 10, "jax": 60}
_EXPORT_EVERY, _DAYS_EVERY, _SEEDS = 40, 6, 1_000_000
_MOST_REFUSED = 1 / 3


class Tally:
    """Outcomes of all cases, together and by the looks of their columns."""

    def __init__(self) -> None:
        self.outcomes, self.ways = Counter[str](), Counter[str]()
        self.looks: dict[str, Counter[str]] = {}
        self.failures: list[dict[str, Any]] = []

    def add(self, case: Case, outcome: Outcome) -> None:
        """Adds a case; of a refusal the columns count that it names."""
        self.outcomes[outcome.kind] += 1
        self.ways.update(outcome.ways)
        for side in case.sides.values():
            for name, column in side.items():
                if outcome.kind != "refused" or name in outcome.named:
                    self.looks.setdefault(column.look, Counter())[outcome.kind] += 1

    @property
    def refused(self) -> float:
        """Share of the cases that were refused."""
        return self.outcomes["refused"] / max(1, self.outcomes.total())

    def table(self) -> str:
        """Outcomes by look."""
        kinds = ("equal", "refused", "failed")
        rows = [("held as", *kinds)]
        rows += [
            (look, *(str(found[k]) for k in kinds)) for look, found in sorted(self.looks.items())
        ]
        rows.append(("all logs", *(str(self.outcomes[k]) for k in kinds)))
        return "\n".join(f"{row[0]:32}" + "".join(f"{cell:>9}" for cell in row[1:]) for row in rows)


def fuzz(seconds: float, seed: int, shown: bool = True) -> Tally:
    """Runs cases for so many seconds."""
    tally, end = Tally(), time.monotonic() + seconds
    first = seed * _SEEDS
    exports = keras.backend.backend() == "tensorflow"
    for number in range(first, first + _SEEDS):
        if time.monotonic() > end:
            break
        one(tally, number, exports, shown)
    return tally


def one(tally: Tally, seed: int, exports: bool, shown: bool) -> Outcome:
    """Runs the case of a seed."""
    case = make_case(seed)
    model = seed % _MODEL_EVERY[keras.backend.backend()] == 0
    saved = exports and seed % _EXPORT_EVERY == 0
    days = exports and seed % _DAYS_EVERY == 0
    outcome = run(case, model, saved, days)
    if outcome.kind == "failed":
        smallest = shrink(case, outcome, model, saved, days) if shown else case
        found = {"seed": seed, "what": outcome.what, "case": describe(smallest)}
        tally.failures.append(found)
        print(f"seed {seed}: {outcome.what}\n{found['case']}\n", flush=True)
    tally.add(case, outcome)
    return outcome


def main(arguments: Sequence[str] | None = None) -> int:
    """The program; 1 where a case failed or too many were refused."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", type=int, help="the seed of one case")
    parser.add_argument("--no-shrink", action="store_true", help="print cases as they are")
    given = parser.parse_args(arguments)
    begun, backend = time.monotonic(), keras.backend.backend()
    if given.only is None:
        tally = fuzz(given.seconds, given.seed, not given.no_shrink)
    else:
        tally = Tally()
        outcome = one(tally, given.only, backend == "tensorflow", not given.no_shrink)
        print(outcome)
    print(tally.table())
    print(f"{tally.outcomes.total()} logs, {tally.refused:.0%} refused, ways {dict(tally.ways)}")
    if given.out is not None:
        result = {
            "seed": given.seed,
            "seconds": round(time.monotonic() - begun, 1),
            "backend": backend,
            "saved_model": "served"
            if backend == "tensorflow"
            else "no: the backend is not TensorFlow",
            "logs": tally.outcomes.total(),
            "outcomes": dict(tally.outcomes),
            "refused_share": round(tally.refused, 4),
            "compared": dict(tally.ways),
            "by_dtype": {look: dict(found) for look, found in sorted(tally.looks.items())},
            "failures": tally.failures,
        }
        write_json(given.out, result)
    return int(bool(tally.failures) or tally.refused > _MOST_REFUSED)


if __name__ == "__main__":
    sys.exit(main())
