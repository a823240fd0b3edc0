"""MkDocs hook: figures stand in the page itself, where they follow its light or dark colours."""

import re
from pathlib import Path
from typing import Any

FIGURES = Path(__file__).parents[1] / "figures"
_IMAGE = re.compile(r'<p><img alt="([^"]*)" src="[^"]*figures/(\w+\.svg)" ?/?></p>')


def on_page_content(html: str, **kwargs: Any) -> str:
    """Replaces each image of a figure by the figure, with its description for screen readers."""
    return _IMAGE.sub(_figure, html)


def _figure(match: re.Match) -> str:
    svg = (FIGURES / match[2]).read_text("utf-8")
    return f'<div class="figure" role="img" aria-label="{match[1]}">{svg}</div>'
