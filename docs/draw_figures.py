"""Draws the figures of the documentation as SVG: `python docs/draw_figures.py`.

Each file carries its own colours for light and dark pages, so it can stand in a README too.
"""

import csv
from html import escape
from pathlib import Path

FOLDER = Path(__file__).parent / "figures"
PAIRED = Path(__file__).parent / "results" / "kuairand-pure-14d" / "paired.csv"
WIDTH = 520
FIELDS, HISTORY, TASKS, INK = "#3b82f6", "#0f9d75", "#e0791c", "var(--ink)"

_LIGHT, _DARK = "--ink: #24292f; --line: #8a919b;", "--ink: #e6edf3; --line: #848d97;"
_STYLE = f"""
.drawn {{ {_LIGHT} font: 15px sans-serif; fill: none; stroke-width: 1.5; }}
@media (prefers-color-scheme: dark) {{ .drawn {{ {_DARK} }} }}
[data-md-color-scheme="default"] .drawn {{ {_LIGHT} }}
[data-md-color-scheme="slate"] .drawn {{ {_DARK} }}
.drawn text {{ fill: var(--ink); }}
"""


def figures() -> dict[str, str]:
    """SVG text of each figure by its file name."""
    drawn = {
        "network": (466, network()),
        "pipeline": (150, pipeline()),
        "windows": (214, windows()),
        "paired": (352, paired()),
        "daily": (236, daily()),
    }
    return {f"{name}.svg": _svg(name, *figure) for name, figure in drawn.items()}


def network() -> list[str]:
    """One block: tokens, proxies, both flows, heads."""
    columns = (95, 260, 425)
    colors = (FIELDS, HISTORY, TASKS)
    parts = []
    for x, color, count, name in zip(columns, colors, (5, 5, 3), "CST", strict=True):
        title = {"C": "fields C", "S": "history S", "T": "tasks T"}[name]
        parts += [_text(x, 20, title, bold=True), *_tokens(x, 34, count, color)]
        for shift, (other, ink) in zip((-22, 22), _others(columns, colors, x), strict=True):
            start = other + 0.16 * (x - other)
            parts.append(_path(f"M{start:.0f} 58 L{x + shift} 152", ink, arrow=True))
        parts += [_box(x, 155, 116, 36, color), _text(x, 178, _proxy_title(name))]
        gate = f"M{x - 66} 43 H{x - 72} V246 H{x - 15}"
        parts += [_path(gate, "var(--line)", arrow=True), _path(f"M{x} 193 V230", color, True)]
        parts += [f'<circle cx="{x}" cy="246" r="11" stroke="{INK}"/>', _text(x, 251, "×")]
        parts += [_path(f"M{x} 258 V272", color, arrow=True)]
        parts += [*_tokens(x, 276, count, color), _text(x + 11 * count + 10, 290, f"{name}′")]
        parts += [_path(f"M{x + 60} 173 H{x + 86} V322", "var(--line)")]
    parts += [_path(f"M{columns[0]} 322 H{columns[2] + 86}", "var(--line)")]
    parts += [_path("M425 296 V322", TASKS)]
    for x, task in zip(columns, ("click", "like", "long view"), strict=True):
        parts += [_path(f"M{x} 322 V342", "var(--line)", arrow=True)]
        parts += [_box(x, 346, 116, 34, TASKS), _text(x, 368, task)]
    steps = (
        "1  heterogeneous flow: proxies read the other groups' tokens",
        "2  homogeneous flow: gates made of the proxies scale the tokens",
        "3  a head for each task reads its task token and the proxies",
    )
    parts += [_text(10, 410 + 22 * i, step, anchor="start") for i, step in enumerate(steps)]
    marks = zip((112, 251, 340), "123", strict=True)
    return parts + [_text(10, y, mark, bold=True) for y, mark in marks]


def pipeline() -> list[str]:
    """From logs to a served model, with one encoder for all of it."""
    boxes = ((45, 80, "logs"), (178, 96, "tf.data"), (318, 106, "keras.Model"))
    parts = []
    for x, width, name in (*boxes, (459, 112, "SavedModel")):
        parts += [_box(x, 12, width, 40, FIELDS), _text(x, 37, name)]
    for start, end in ((86, 128), (227, 263), (372, 401)):
        parts.append(_path(f"M{start} 32 H{end}", INK, arrow=True))
    parts += [
        _box(260, 100, 340, 40, TASKS),
        _text(260, 125, "one FeatureSchema, one FeatureEncoder"),
    ]
    for x, start, end in ((45, 54, 120), (178, 98, 55), (318, 98, 55), (459, 120, 55)):
        if x == 45:
            parts.append(_path(f"M{x} {start} V{end} H87", "var(--line)", arrow=True))
        elif x == 459:
            parts.append(_path(f"M431 {start} H{x} V{end}", "var(--line)", arrow=True))
        else:
            parts.append(_path(f"M{x} {start} V{end}", "var(--line)", arrow=True))
    return parts


def windows() -> list[str]:
    """One user's events lie once; each impression is a window that ends before it."""
    left, size = 24, 34
    parts = [_text(left, 20, "one user's events, oldest first, stored once", anchor="start")]
    for i in range(14):
        x = left + size * i
        parts.append(_rect(x, 32, size - 6, 26, HISTORY))
        parts.append(_text(x + (size - 6) / 2, 50, str(i)))
    for row, event in enumerate((5, 9, 12)):
        y, end = 84 + 34 * row, left + size * event
        start = left + size * max(0, event - 6)
        parts.append(_path(f"M{start} {y - 6} V{y} H{end - 6} V{y - 6}", HISTORY))
        parts.append(f'<circle cx="{end + 14}" cy="{y - 3}" r="7" fill="{TASKS}"/>')
        parts.append(_path(f"M{end + 14} {y - 12} V62", "var(--line)"))
    return parts + [
        _text(left, 186, "the dot: an impression, an event itself", anchor="start"),
        _text(left, 206, "the line: its history, the newest 6 earlier events", anchor="start"),
    ]


def daily() -> list[str]:
    """A day of the daily job: from its log to a version that serves, or is kept back."""
    columns = (66, 195, 325, 454)
    rows = (
        (34, FIELDS, ("log of a day", "check", "score", "grow")),
        (118, HISTORY, ("train", "calibrate", "gate", "export")),
    )
    said = {
        "log of a day": "Parquet or CSV",
        "check": "new ids, drift",
        "score": "by version 6",
        "grow": "rows for new ids",
        "train": "from version 6",
        "calibrate": "newest rows",
        "gate": "7 against 6",
        "export": "verified",
    }
    parts = []
    for y, color, names in rows:
        for x, name in zip(columns, names, strict=True):
            ink = TASKS if name in ("gate", "export") else color
            parts += _two_lines(x, y, 112, ink, name, said[name])
        for x in columns[:-1]:
            parts.append(_path(f"M{x + 56} {y} H{x + 71}", INK, arrow=True))
    parts.append(_path("M454 58 V76 H66 V92", INK, arrow=True))
    parts += _two_lines(262, 202, 182, TASKS, "keep version 6", "the next trains on both days")
    parts += _two_lines(442, 202, 136, TASKS, "publish", "version 7 serves")
    for x, name in ((325, "worse"), (454, "better")):
        parts += [_path(f"M{x} 142 V176", INK, arrow=True), _text(x - 8, 164, name, "end", 12)]
    return parts


def _two_lines(x: float, y: float, width: int, color: str, name: str, said: str) -> list[str]:
    """A box with its name and a small line."""
    box = _box(x, y - 24, width, 48, color)
    return [box, _text(x, y - 3, name), _text(x, y + 15, said, size=12)]


def paired() -> list[str]:
    """INFNet less each other model in mean test AUC, with one and two standard errors."""
    with PAIRED.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if _is_shown(row)]
    rows.sort(key=lambda row: float(row["difference"]))
    center, scale = 330, 160 / 0.008
    parts = [_path(f"M{center} 8 V{20 + 24 * len(rows)}", "var(--line)")]
    for i, row in enumerate(rows):
        y, error = 24 + 24 * i, float(row["standard_error"]) * scale
        x = center + float(row["difference"]) * scale
        parts.append(_text(130, y + 5, row["other"], anchor="end"))
        parts.append(_path(f"M{x - 2 * error:.1f} {y} H{x + 2 * error:.1f}", HISTORY))
        parts.append(f'<circle cx="{x:.1f}" cy="{y}" r="5" fill="{HISTORY}"/>')
    bottom = 34 + 24 * len(rows)
    for tick in (-0.006, -0.004, -0.002, 0.0, 0.002, 0.004, 0.006):
        parts.append(_text(center + tick * scale, bottom, f"{tick:+.3f}" if tick else "0", size=12))
    return parts + [
        _text(170, bottom + 18, "← INFNet worse", "start", 12),
        _text(490, bottom + 18, "INFNet better →", "end", 12),
    ]


def _is_shown(row: dict[str, str]) -> bool:
    wanted = {"members": "1", "histories": "exposures", "split": "test", "task": "mean"}
    return row["metric"] == "auc" and all(row[name] == value for name, value in wanted.items())


def _proxy_title(name: str) -> str:
    return "T̃′ and T̂" if name == "T" else f"proxies {name}̃′"


def _others(columns: tuple, colors: tuple, x: int) -> list[tuple[int, str]]:
    return [(c, ink) for c, ink in zip(columns, colors, strict=True) if c != x]


def _tokens(x: float, y: float, count: int, color: str) -> list[str]:
    left = x - 11 * count + 2
    return [_rect(left + 22 * i, y, 18, 18, color) for i in range(count)]


def _rect(x: float, y: float, width: float, height: float, color: str) -> str:
    size = f'width="{width}" height="{height}" rx="4"'
    return f'<rect x="{x}" y="{y}" {size} fill="{color}" fill-opacity=".22" stroke="{color}"/>'


def _box(x: float, y: float, width: float, height: float, color: str) -> str:
    return _rect(x - width / 2, y, width, height, color)


def _path(points: str, color: str, arrow: bool = False) -> str:
    end = ' marker-end="url(#arrow-NAME)"' if arrow else ""
    return f'<path d="{points}" stroke="{color}"{end}/>'


def _text(
    x: float, y: float, text: str, anchor: str = "middle", size: int = 15, bold: bool = False
) -> str:
    style = f' font-size="{size}"' * (size != 15) + ' font-weight="bold"' * bold
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}"{style}>{escape(text)}</text>'


def _svg(name: str, height: int, parts: list[str]) -> str:
    arrow = (
        f'<marker id="arrow-{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" '
        'markerHeight="6" orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="context-stroke"/></marker>'
    )
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    start = f'<svg xmlns="http://www.w3.org/2000/svg" class="drawn" {size}>'
    body = [f"<style>{_STYLE}</style>", f"<defs>{arrow}</defs>", *parts]
    return "\n".join([start, *body, "</svg>"]).replace("arrow-NAME", f"arrow-{name}") + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for file_name, svg in figures().items():
        (FOLDER / file_name).write_text(svg, "utf-8")
