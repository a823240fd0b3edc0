"""The best configuration as a file that rebuilds the model."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_infnet._base.whole_files import write_json

BEST = "best_config.json"
_KEYS = ("model", "arguments", "learning_rate", "table_rate_factor", "schema", "trial")


def save_config(path: Path | str, record: Mapping[str, Any], schema: str) -> None:
    """Writes the configuration of a finished trial; `schema` is the schema's fingerprint."""
    values = record["values"]
    numbers = ("trial", "score", "quality", "milliseconds", "parameters", "metrics")
    config = {
        "model": "INFNet",
        "arguments": record["arguments"],
        "learning_rate": values["learning_rate"],
        "table_rate_factor": values["table_rate_factor"],
        "form": values["form"],
        "schema": schema,
        **{name: record[name] for name in numbers},
    }
    write_json(Path(path), config)


def load_config(path: Path | str) -> dict[str, Any]:
    """The configuration that a search found best, from its `best_config.json`.

    Args:
        path: The file, or the folder of the search.

    Returns:
        `arguments` of `INFNet`, `learning_rate` of `fit_ranker` with `table_rate_factor`, the
        fingerprint of the `schema`, and the numbers of the trial.

    Raises:
        ValueError: There is no such file, or it is of something else.

    Example:
        ```python
        config = keras_infnet.search.load_config("runs/search/best_config.json")
        model = keras_infnet.INFNet(encoder.schema, **config["arguments"])
        keras_infnet.fit_ranker(model, train, validation, learning_rate=config["learning_rate"])
        ```
    """
    path = Path(path)
    path = path / BEST if path.is_dir() else path
    if not path.is_file():
        raise ValueError(
            f"load_config: no file `{path}`. A search writes it after its first trial."
        )
    try:
        config = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"load_config: `{path}` is not JSON: {error}") from error
    missing = [key for key in _KEYS if not isinstance(config, dict) or key not in config]
    if missing:
        raise ValueError(
            f"load_config: `{path}` lacks {', '.join(missing)}; expected a `{BEST}` of a search."
        )
    return config
