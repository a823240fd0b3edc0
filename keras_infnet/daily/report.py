"""Report: a page for each version, one for each day that failed, and an index of all."""

from collections.abc import Collection, Mapping, Sequence
from html import escape
from typing import Any

from keras_infnet._base.whole_files import read_json, whole_file, write_json
from keras_infnet.daily.charts import Point, bar_table, line_chart, table
from keras_infnet.daily.errors import DailyError
from keras_infnet.daily.page import badge, page, section, side_by_side, tiles
from keras_infnet.daily.versions import Version, Versions

_INDEX, _RUNS, _FAILED = "index.html", "runs", "failed-"
_OF_CALIBRATION = ("mean_label", "mean_prediction", "normalized_entropy", "ece", "ece_mass")
_IN_CHARTS = ("auc", "gauc", "log_loss", "mse", "mae")
# Versions that a chart by day shows.
_MOST = 60


def report_of(version: Version, found: Mapping[str, Any], earlier: Sequence[Version]) -> str:
    """The page of a version.

    Args:
        version: Its record.
        found: What was measured of it.
        earlier: The versions before it.
    """
    title = f"Version {version.number}, {version.day}"
    word = "published" if version.published else "kept back"
    links = [
        f'{name} <a href="{number}.html">version {number}</a>'
        for name, number in (("goes on from", version.base), ("served before:", version.parent))
        if number is not None
    ]
    said = " · ".join(['<a href="../index.html">all versions</a>', *links])
    return page(
        title,
        [
            f"<nav>{said}</nav>",
            f"<h1>{escape(title)} {badge(word, version.published)}</h1>",
            f"<p>{escape(version.reason)}</p>",
            tiles(_numbers(version)),
            section(
                "Scored before training, by day",
                side_by_side(_by_day([*earlier, version])),
                '<p class="note">Each day by the version before, which had not seen it. Bars are '
                "two standard errors, over users.</p>"
                if version.measured
                else "",
            ),
            section("This day", *_measures(found["progressive"])),
            section("The gate", _gate(found["gate"])),
            section("Calibration", _calibration(found["progressive"])),
            section("Unknown ids", _bars(found["findings"], "unknown_ids", "share", 1.0)),
            section("Drift", _bars(found["findings"], "drift", "PSI", 0.5)),
            section("What the checks say", _findings(found["findings"])),
            section("Training", side_by_side([_curve(found["curve"])])),
        ],
    )


def write_failure(versions: Versions, error: DailyError) -> None:
    """Writes the page of a day that failed."""
    name = f"{_FAILED}{error.day or error.stage}"
    title = f"{error.day or 'Job'}: stage {error.stage} failed"
    parts = [
        '<nav><a href="../index.html">all versions</a></nav>',
        f"<h1>{escape(title)} {badge('failed', False)}</h1>",
        f"<p>{escape(error.message)}</p>",
        '<p class="note">What serves is as it was.</p>',
    ]
    runs = versions.folder / _RUNS
    with whole_file(runs / f"{name}.html") as temporary:
        temporary.write_text(page(title, parts), encoding="utf-8")
    known = {"day": error.day, "stage": error.stage, "message": error.message}
    write_json(runs / f"{name}.json", known)


def write_index(versions: Versions, done: Collection[str] = ()) -> None:
    """Writes the page of all versions.

    Args:
        versions: The versions.
        done: Days that are done now, whose failures are of the past; or a stage of none.
    """
    runs = versions.folder / _RUNS
    for name in (f"{_FAILED}{day}.{end}" for day in done for end in ("html", "json")):
        (runs / name).unlink(missing_ok=True)
    records, serving = versions.records(), versions.serving
    title = f"{versions.name}: versions"
    now = (
        "nothing serves yet"
        if serving is None
        else (f"version {serving.number} of {serving.day} serves")
    )
    head = ("version", "day", "", "scored before training", "why")
    rows = [_index_row(version, serving) for version in reversed(records)]
    failed = [read_json(path) for path in sorted(runs.glob(f"{_FAILED}*.json"))]
    lines = [
        (
            f'<a href="{_RUNS}/{_FAILED}{escape(f["day"] or f["stage"])}.html">'
            f"{escape(f['day'] or '-')}</a>",
            escape(f["stage"]),
            escape(f["message"]),
        )
        for f in failed
    ]
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(now)}.</p>",
        section("Scored before training, by day", side_by_side(_by_day(records))),
        section("Versions", table(head, rows, raw=True)),
        section("Days that failed", table(("day", "stage", "why"), lines, raw=True)),
    ]
    with whole_file(versions.folder / _INDEX) as temporary:
        temporary.write_text(page(title, parts), encoding="utf-8")


def _index_row(version: Version, serving: Version | None) -> tuple[str, ...]:
    is_serving = serving is not None and serving.number == version.number
    word = "serves" if is_serving else "published" if version.published else "kept back"
    measured = version.measured.get("all", {})
    scores = [
        f"{task} {name} {_pair(measures[name])}"
        for task, measures in measured.items()
        for name in _IN_CHARTS[:1]
        if name in measures
    ]
    return (
        f'<a href="{_RUNS}/{version.number}.html">{version.number}</a>',
        escape(version.day),
        badge(word, version.published),
        "<br>".join(map(escape, scores)),
        escape(version.reason),
    )


def _numbers(version: Version) -> list[tuple[str, str]]:
    names = {
        "day": "rows of the day",
        "train": "rows trained on",
        "holdout": "rows held out",
    }
    return [(names[name], f"{rows:,}") for name, rows in version.rows.items() if name in names]


def _by_day(records: Sequence[Version]) -> list[str]:
    """A chart for each measure: tasks over days, on all rows and on those with new ids."""
    charts = []
    scored = [version for version in records if version.measured and not version.restores][-_MOST:]
    for name in _IN_CHARTS:
        lines: dict[str, list[Point]] = {}
        for place, version in enumerate(scored):
            for rows, tasks in version.measured.items():
                for task, measures in tasks.items():
                    value, error = measures.get(name, (None, None))
                    if value is not None:
                        of = task if rows == "all" else f"{task}, new ids"
                        point = Point(place, version.day[5:], value, error)
                        lines.setdefault(of, []).append(point)
        charts.append(line_chart(name, lines))
    return charts


def _measures(progressive: Mapping[str, Any]) -> list[str]:
    """Measures of the day, for all rows and those with new ids."""
    parts = []
    titles = {"all": "all rows", "new": "rows with ids that the version before did not know"}
    for rows, found in progressive.items():
        names = list(dict.fromkeys(n for m in found["tasks"].values() for n in m))
        names = [name for name in names if name not in _OF_CALIBRATION]
        lines = [
            [task, *(_pair(measures.get(name)) for name in names)]
            for task, measures in found["tasks"].items()
        ]
        if lines:
            said = f"{found['rows']:,} rows: {titles[rows]}"
            parts.append(f'<p class="note">{escape(said)}</p>')
            parts.append(table(["task", *names], lines))
    return parts or ['<p class="note">The first version: nothing could score the day before.</p>']


def _gate(decision: Mapping[str, Any]) -> str:
    rows = []
    for task, new in decision["values"].get("new", {}).items():
        before = decision["values"].get("before", {}).get(task)
        rows.append([task, _number(before), _number(new)])
    said = f"<p>{escape(decision['reason'])}</p>"
    if decision["difference"] is not None:
        rows.append(["score", _number(decision["before"]), _number(decision["score"])])
        pair = _pair([decision["difference"], decision["error"]])
        said += f'<p class="note">Difference {escape(pair)}, over users, paired.</p>'
    return said + table(["on the held-out rows", "version before", "this version"], rows)


def _calibration(progressive: Mapping[str, Any]) -> str:
    """What the version before said of the day, beside what was."""
    rows = [
        [task, *(_pair(measures.get(name)) for name in _OF_CALIBRATION)]
        for task, measures in progressive.get("all", {"tasks": {}})["tasks"].items()
        if "ece" in measures
    ]
    head = ["task", "mean label", "mean prediction", "normalized entropy", "ECE", "ECE, mass"]
    return table(head, rows)


def _bars(findings: Sequence[Mapping[str, Any]], check: str, word: str, least: float) -> str:
    found = [f for f in findings if f["check"] == check and f["value"] is not None]
    found.sort(key=lambda f: -f["value"])
    full = max([least, *(f["value"] for f in found)])
    rows = [(f["what"], f["value"], f"{f['value']:.3f}", f["level"]) for f in found]
    return bar_table(("feature", word), rows, full)


def _findings(findings: Sequence[Mapping[str, Any]]) -> str:
    said = [f for f in findings if f["level"] != "fine"]
    if not said:
        return "<p>Nothing strange.</p>"
    items = "".join(
        f'<p><span class="{f["level"]}">{escape(f["check"])}</span> {escape(f["text"])}</p>'
        for f in said
    )
    return items


def _curve(curve: Sequence[Mapping[str, float]]) -> str:
    points = [Point(p["step"], f"{p['step']:,}", p["loss"]) for p in curve]
    return line_chart("Loss by step, mean since the pass began", {"loss": points})


def _pair(pair: Any) -> str:
    if pair is None or pair[0] is None:
        return "-"
    value, error = pair
    return f"{value:.4f}" if error is None else f"{value:.4f} ± {error:.4f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.5f}"
