"""Records of a benchmark as a JSON file."""

import json
from pathlib import Path
from typing import Any


def write_records(records: list[dict[str, Any]], out: Path) -> None:
    """Writes the whole file under a temporary name and renames it; makes its folder if need be."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_suffix(out.suffix + ".part")
    partial.write_text(json.dumps(records, indent=1) + "\n")
    partial.replace(out)
