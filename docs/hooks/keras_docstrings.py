"""Griffe extension: Keras's docstring sections by the names that Griffe knows."""

import re
from typing import Any

import griffe

_SECTIONS = {
    r"^( *)Example:$": r"\1Examples:",
    r"^( *)Call arguments:$": r"\1Other parameters: Call arguments",
}


class KerasDocstrings(griffe.Extension):
    """Renders `Example:` as code and `Call arguments:` as a table."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Renames the sections of one object's docstring."""
        if obj.docstring is not None:
            for pattern, replacement in _SECTIONS.items():
                text = re.sub(pattern, replacement, obj.docstring.value, flags=re.MULTILINE)
                obj.docstring.value = text
