"""What an export may be told besides model, encoder and path."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TABLE_DTYPES = ("float32", "float16", "int8")


@dataclass(frozen=True)
class ExportOptions:
    """Choices that are built into an exported graph; JSON carries them to a child process.

    Args:
        calibration: What `Calibration.to_dict` gives, by which outputs are corrected. Defaults to
            `None`: outputs are the model's.
        table_dtype: How embedding tables are stored. Defaults to `"float32"`.
        score: Exponent of each task in the score that `rank_top_k` sorts by. Defaults to `None`:
            the request says.
        top_k: Number of candidates that `rank_top_k` gives. Defaults to `None`: the request says.
    """

    calibration: Mapping[str, Any] | None = None
    table_dtype: str = "float32"
    score: Mapping[str, float] | None = None
    top_k: int | None = None

    def __post_init__(self) -> None:
        if self.table_dtype not in TABLE_DTYPES:
            raise ValueError(
                f"export_saved_model: table_dtype={self.table_dtype!r}; expected one of "
                f"{', '.join(TABLE_DTYPES)}."
            )
