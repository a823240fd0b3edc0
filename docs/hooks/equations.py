"""MkDocs hook: equations become MathML at build, which browsers show without script or network."""

import re
from html import unescape
from typing import Any

from latex2mathml.converter import convert

# What `pymdownx.arithmatex` with `generic: true` makes of $$...$$ and of $...$.
_BLOCK = re.compile(r'<div class="arithmatex">\\\[(.*?)\\\]</div>', re.DOTALL)
_INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)


def on_page_content(html: str, **kwargs: Any) -> str:
    """Replaces the equations of one page."""
    html = _BLOCK.sub(
        lambda match: f'<div class="equation">{mathml(match[1], "block")}</div>', html
    )
    return _INLINE.sub(lambda match: mathml(match[1], "inline"), html)


def mathml(latex: str, display: str) -> str:
    """MathML of one equation.

    Args:
        latex: The equation, with `&`, `<` and `>` escaped as in HTML.
        display: `"block"` or `"inline"`.

    Returns:
        A `<math>` element.

    Raises:
        ValueError: A command is unknown: MathML would show it as it is written.
    """
    converted = convert(unescape(latex).strip(), display=display)
    if unknown := re.findall(r"\\\w+|>&<", converted):
        raise ValueError(f"Equation `{latex.strip()}`: no MathML for {', '.join(unknown)}.")
    # Without a mathematical font an accent lies on its letter; a script stands above it.
    return converted.replace('<mover accent="true">', "<mover>")
