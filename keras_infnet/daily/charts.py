"""Charts: lines with their errors, and bars, as SVG and HTML without scripts."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

# Of the SVG's own coordinates: a chart is about as wide as a phone, so that its text stays legible.
_WIDTH, _HEIGHT = 360, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 14, 10, 28
# Before the first point and after the last.
_INSIDE = 12
_TICKS, _LABELS = 4, 4
# A cell of so many characters is a text, which wraps.
_LONG, _WRAPS = 60, ' class="text"'

# From x and y to a place in the SVG.
_Place = Callable[[float, float], tuple[float, float]]


@dataclass(frozen=True)
class Point:
    """A point of a line: its place, what stands below it, its value and standard error."""

    x: float
    label: str
    y: float
    error: float | None = None


def line_chart(title: str, lines: Mapping[str, Sequence[Point]], note: str = "") -> str:
    """A figure of lines, one a series; bars are two standard errors up and down.

    Args:
        title: What it shows.
        lines: Points of each series by its name; values that are no number are left out.
        note: A sentence below it.
    """
    series = {
        name: [p for p in points if p.y is not None and math.isfinite(p.y)]
        for name, points in lines.items()
    }
    points = [point for of_one in series.values() for point in of_one]
    if not points:
        return ""
    low, high = _range(points)
    first, last = min(p.x for p in points), max(p.x for p in points)

    def at(x: float, y: float) -> tuple[float, float]:
        right = (x - first) / (last - first) if last > first else 0.5
        up = (y - low) / (high - low)
        across, down = _WIDTH - _LEFT - _RIGHT - 2 * _INSIDE, _HEIGHT - _TOP - _BOTTOM
        return round(_LEFT + _INSIDE + right * across, 1), round(_HEIGHT - _BOTTOM - up * down, 1)

    parts = [*_grid(low, high, first, at), *_below(points, at, low)]
    for number, of_one in enumerate(series.values()):
        # Beside each other, so that no bar hides another.
        aside = 3 * (number - (len(series) - 1) / 2)
        parts += _line(of_one, at, f"s{number % 6}", aside)
    legend = "".join(
        f'<span class="key s{number % 6}">{escape(name)}</span>'
        for number, name in enumerate(series)
    )
    said = f"{title}: {', '.join(series)}"
    return (
        f"<figure><figcaption>{escape(title)} {legend}</figcaption>"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(said)}">'
        f"{''.join(parts)}</svg>{f'<p class=note>{escape(note)}</p>' if note else ''}</figure>"
    )


def bar_table(head: Sequence[str], rows: Sequence[tuple[str, float, str, str]], full: float) -> str:
    """A table of names, bars and values.

    Args:
        head: Its two heads: of the names and of the values.
        rows: Name, value, how the value is written, and the class of the bar, such as `"strange"`.
        full: The value of a bar of full width.
    """
    if not rows:
        return ""
    lines = "".join(
        f'<tr><td>{escape(name)}</td><td class="bar"><i class="{level}" style="width:'
        f'{100 * min(1.0, value / full if full else 0):.1f}%"></i></td>'
        f'<td class="number">{escape(shown)}</td></tr>'
        for name, value, shown, level in rows
    )
    return (
        f'<table class="bars"><thead><tr><th>{escape(head[0])}</th><th></th>'
        f'<th class="number">{escape(head[1])}</th></tr></thead><tbody>{lines}</tbody></table>'
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]], raw: bool = False) -> str:
    """A table of texts; the first column is of names, the others of numbers.

    Args:
        head: Heads of the columns.
        rows: Cells.
        raw: Whether cells are HTML.
    """
    if not rows:
        return ""
    heads = "".join(f"<th>{escape(name)}</th>" for name in head)
    cells = (row if raw else [escape(cell) for cell in row] for row in rows)
    lines = "".join(
        "<tr>" + "".join(f"<td{_WRAPS * (len(cell) > _LONG)}>{cell}</td>" for cell in row) + "</tr>"
        for row in cells
    )
    return (
        f'<div class="wide"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def _range(points: Sequence[Point]) -> tuple[float, float]:
    ends = [p.y + sign * 2 * (p.error or 0.0) for p in points for sign in (-1, 1)]
    ends = [end for end in ends if math.isfinite(end)] or [p.y for p in points]
    low, high = min(ends), max(ends)
    margin = 0.06 * (high - low) or abs(high) * 0.05 or 1.0
    return low - margin, high + margin


def _grid(low: float, high: float, first: float, place: _Place) -> list[str]:
    parts = list[str]()
    step = _step((high - low) / _TICKS)
    digits = max(0, -math.floor(math.log10(step)))
    tick = math.ceil(low / step) * step
    while tick <= high:
        _, y = place(first, tick)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4}" class="end">{tick:.{digits}f}</text>')
        tick += step
    return parts


def _below(points: Sequence[Point], place: _Place, low: float) -> list[str]:
    """Labels below, as many as there is room for."""
    labels = {p.x: p.label for p in sorted(points, key=lambda p: p.x)}
    each = max(1, math.ceil(len(labels) / _LABELS))
    chosen = list(labels.items())[::-each]
    parts = list[str]()
    for x, label in chosen:
        across, _ = place(x, low)
        anchor = "end" if across > _WIDTH - 40 else "middle"
        parts.append(
            f'<text x="{across}" y="{_HEIGHT - 10}" class="{anchor}">{escape(label)}</text>'
        )
    return parts


def _line(points: Sequence[Point], place: _Place, kind: str, aside: float) -> list[str]:
    places = [(x + aside, y) for x, y in (place(p.x, p.y) for p in points)]
    path = " ".join(f"{x},{y}" for x, y in places)
    parts = [f'<polyline class="{kind}" points="{path}"/>']
    many = len(points) > 60
    for point, (x, y) in zip(points, places, strict=True):
        if point.error is not None and math.isfinite(point.error):
            (_, top), (_, bottom) = (place(point.x, point.y + s * 2 * point.error) for s in (1, -1))
            parts.append(f'<line class="{kind}" x1="{x}" x2="{x}" y1="{top}" y2="{bottom}"/>')
        if not many:
            said = f"{point.label}: {point.y:.5g}"
            parts.append(
                f'<circle class="{kind}" cx="{x}" cy="{y}" r="2.5"><title>{escape(said)}</title>'
                "</circle>"
            )
    return parts


def _step(rough: float) -> float:
    """1, 2 or 5 times a power of ten, whichever is nearest."""
    power = 10.0 ** math.floor(math.log10(rough))
    return min((m * power for m in (1, 2, 5, 10)), key=lambda step: abs(math.log(step / rough)))
