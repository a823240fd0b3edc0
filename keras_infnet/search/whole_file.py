"""Files that are there whole or not at all."""

import json
import os
from pathlib import Path
from typing import Any


def write_whole(path: Path | str, text: str) -> None:
    """Writes beside the file and renames, so that a reader never sees a part."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    temporary.write_text(text, "utf-8")
    temporary.replace(path)


def write_json(path: Path | str, value: Any) -> None:
    """Writes a value as JSON."""
    write_whole(path, json.dumps(value, indent=1))
