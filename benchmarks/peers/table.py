"""Tables of a run: ratios, numbers of parameters, and what could not be measured."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.peers.runner import FORWARD, FULL, RANK, TRAIN
from benchmarks.peers.work import CANDIDATES, Work

_NAMES = {
    TRAIN: "training step",
    FORWARD: "forward",
    RANK: f"one user, {CANDIDATES} candidates",
}
_DEFAULT = Work("")

Record = Mapping[str, Any]


def markdown_tables(records: Sequence[Record]) -> str:
    """Ours / theirs, below 1 where ours is quicker or smaller; in brackets both."""
    measured = sorted((r for r in records if "error" not in r), key=_place)
    failed = [record for record in records if "error" in record]
    tables = []
    if measured:
        tables += [_ratios(measured), _parameters(measured)]
    if failed:
        rows = [[r["library"], _work_of(r), r["error"].replace("|", "/")] for r in failed]
        tables.append(_table(["not measured", "work", "why"], rows))
    return "\n\n".join(tables)


def _ratios(records: Sequence[Record]) -> str:
    libraries = _libraries(records)
    of = {(_what(r), r["library"]): r for r in records}
    rows = []
    for what in dict.fromkeys(_what(r) for r in records):
        rows.append([what, *(_ratio(of.get((what, library))) for library in libraries)])
    versions = {r["library"]: r["version"] for r in records if "version" in r}
    heads = [f"{library} {versions.get(library, '')}".strip() for library in libraries]
    return _table(["ours / theirs", *heads], rows)


def _parameters(records: Sequence[Record]) -> str:
    """Numbers of parameters, each time with ours / theirs: whether the work is equal."""
    counted = [r for r in records if "parameters_ours" in r]
    libraries = _libraries(counted)
    of = {(_work_of(r), r["library"]): r for r in counted}
    ours = {_work_of(r): r["parameters_ours"] for r in counted}
    rows = []
    for work, number in ours.items():
        found = [of.get((work, library)) for library in libraries]
        cells = [
            f"{r['parameters_theirs']:,} ({number / r['parameters_theirs']:.2f})" if r else ""
            for r in found
        ]
        rows.append([work, f"{number:,}", *cells])
    return _table(["parameters", "ours", *libraries], rows)


def _place(record: Record) -> int:
    """Where a record stands: a run that was stopped may have found it late."""
    sizes = ("model", "rows", "length")
    works = [tuple(getattr(work, name) for name in sizes) for work, _ in FULL.works]
    found = tuple(record[name] for name in sizes)
    return works.index(found) if found in works else len(works)


def _libraries(records: Sequence[Record]) -> list[str]:
    return list(dict.fromkeys(record["library"] for record in records))


def _what(record: Record) -> str:
    measure, unit = record["measure"], record["unit"]
    if measure in _NAMES:
        return f"{_work_of(record)}: {_NAMES[measure]} ({unit})"
    return f"{record['model']}, a CSV file of {record['rows']:,} rows: {measure} ({unit})"


def _work_of(record: Record) -> str:
    if "model" not in record:
        return "all"
    found = record["model"]
    if record["length"] != _DEFAULT.length:
        found += f", {record['length']:,} events"
    if record["rows"] != _DEFAULT.rows:
        found += f", {record['rows']:,} rows"
    if record["batch"] != _DEFAULT.batch:
        found += f", batch {record['batch']}"
    return found


def _ratio(record: Record | None) -> str:
    if record is None:
        return ""
    digits = 2 if record["unit"] == "GB" else 1
    both = f"{record['ours']:.{digits}f} / {record['theirs']:.{digits}f}"
    return f"{record['ratio']:.2f} ({both})"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in (heads, *rows)]
    lines.insert(1, f"|{'---|' * len(heads)}")
    return "\n".join(lines)
