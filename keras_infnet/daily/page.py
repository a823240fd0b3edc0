"""Page: one HTML file of its own, light and dark, for phones and desks, without scripts."""

from collections.abc import Sequence
from html import escape

_STYLE = """
:root { color-scheme: light dark; --back: #fff; --card: #f6f7f9; --text: #1c2026; --soft: #5b6470;
  --line: #dfe3e8; --good: #17734a; --bad: #b3261e; --warn: #8a5a00; --link: #1f5fbf;
  --s0: #1f5fbf; --s1: #c2570c; --s2: #17734a; --s3: #8a3ab9; --s4: #a3224e; --s5: #4a5568; }
@media (prefers-color-scheme: dark) { :root { --back: #14171b; --card: #1d2127; --text: #e6e9ed;
  --soft: #a0a9b4; --line: #343b44; --good: #6bcf9a; --bad: #ff8a80; --warn: #f2c063;
  --link: #8ab8ff; --s0: #7fb0ff; --s1: #ffa364; --s2: #6bcf9a; --s3: #cf9bf5; --s4: #ff8fb0;
  --s5: #b6c0cc; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 16px; max-width: 1240px; background: var(--back);
  color: var(--text); font: 15px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 22px; margin: 4px 0; } h2 { font-size: 16px; margin: 28px 0 8px; }
a { color: var(--link); } nav, .note, .soft { color: var(--soft); font-size: 13px; }
p { margin: 4px 0; } .note { margin: 2px 0 0; }
.badge { white-space: nowrap; padding: 2px 10px;
  border-radius: 10px; border: 1px solid; font-size: 14px;
  vertical-align: 2px; } .good { color: var(--good); } .bad { color: var(--bad); }
.grid-of { display: grid; gap: 14px;
  grid-template-columns: repeat(auto-fill, minmax(min(320px, 100%), 1fr)); }
.tile, figure { margin: 0; padding: 12px; border-radius: 8px; background: var(--card); }
.tiles { display: grid; gap: 10px; margin-top: 12px;
  grid-template-columns: repeat(auto-fit, minmax(140px, 1fr)); }
.tile b { display: block; font-size: 20px; font-weight: 600; }
figure { display: flex; flex-direction: column; }
figcaption { font-size: 13px; font-weight: 600; }
svg { display: block; width: 100%; margin-top: auto; }
svg text { font: 11px system-ui, sans-serif; fill: var(--soft); }
text.end { text-anchor: end; } text.middle { text-anchor: middle; }
.grid { stroke: var(--line); } polyline { fill: none; stroke-width: 1.8; }
.key { display: inline-block; margin-left: 8px; font-weight: 400; white-space: nowrap; }
.key::before { content: "\\25CF"; margin-right: 4px; }
.wide { overflow-x: auto; } .wide + .note { margin-top: 14px; }
table { border-collapse: collapse; font-size: 14px; }
th { text-align: left; font-weight: 600; color: var(--soft); font-size: 13px; }
td, th { padding: 4px 12px 4px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td.number, th.number { text-align: right; white-space: nowrap; padding-right: 0; }
.wide td, .wide th { overflow-wrap: normal; white-space: nowrap; }
.wide td.text { white-space: normal; min-width: 260px; }
.bars { width: 100%; max-width: 640px; } td.bar { width: 45%; vertical-align: middle; }
.bar i { display: block; height: 8px; border-radius: 4px; background: var(--s0); min-width: 1px; }
.bar i.strange { background: var(--warn); } .bar i.refused { background: var(--bad); }
.strange { color: var(--warn); } .refused { color: var(--bad); }
"""
_STYLE += "".join(
    f"line.s{n}, polyline.s{n} {{ stroke: var(--s{n}); }} circle.s{n} {{ fill: var(--s{n}); }} "
    f".key.s{n}::before {{ color: var(--s{n}); }}\n"
    for n in range(6)
)


def page(title: str, parts: Sequence[str]) -> str:
    """A whole page of HTML parts."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body></html>\n"
    )


def section(title: str, *parts: str) -> str:
    """A head and what stands below it; nothing where nothing does."""
    inside = "".join(parts)
    return f"<h2>{escape(title)}</h2>{inside}" if inside else ""


def side_by_side(parts: Sequence[str]) -> str:
    """Parts beside each other, as far as there is room."""
    inside = "".join(part for part in parts if part)
    return f'<div class="grid-of">{inside}</div>' if inside else ""


def tiles(values: Sequence[tuple[str, str]]) -> str:
    """Names and numbers."""
    inside = "".join(
        f'<div class="tile"><b>{escape(value)}</b><span class="soft">{escape(name)}</span></div>'
        for name, value in values
    )
    return f'<div class="tiles">{inside}</div>'


def badge(text: str, good: bool) -> str:
    """A word in a frame."""
    return f'<span class="badge {"good" if good else "bad"}">{escape(text)}</span>'
