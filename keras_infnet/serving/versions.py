"""Version folders as TensorFlow Serving expects them: `models/ranker/1`, `models/ranker/2`."""

import errno
import shutil
from pathlib import Path
from typing import Any

import pandas as pd

from keras_infnet._base.whole_files import hidden_name
from keras_infnet.encoding.encoder import FeatureEncoder
from keras_infnet.serving.saved_model import export_saved_model


def export_version(
    model: Any,
    encoder: FeatureEncoder,
    folder: str | Path,
    verify: pd.DataFrame | None = None,
    **options: Any,
) -> Path:
    """Exports a model as the next version of a folder, as `export_saved_model` does.

    The number is chosen when everything is written and checked, by renaming: a server that watches
    the folder sees whole versions only, and exports at the same time get different numbers.

    Args:
        model: A model of this library, built from `encoder.schema`.
        encoder: The encoder it was trained with.
        folder: Folder of the versions, such as `models/ranker`; its name is the model's in
            requests. It is made if need be.
        verify: Rows to check the export on. Defaults to `None`: no check.
        **options: Further arguments of `export_saved_model`.

    Returns:
        The new folder, such as `models/ranker/3`: one more than the highest version there.

    Raises:
        ValueError: As `export_saved_model`.
        OSError: The folder can't be written.

    Example:
        ```python
        path = keras_infnet.serving.export_version(model, encoder, "models/ranker", verify=rows)
        print(path)  # models/ranker/1
        ```
    """
    folder = Path(folder)
    # The export's own folder has the same name, which stands in its example requests.
    scratch = hidden_name(folder / "next")
    written = scratch / folder.resolve().name / "1"
    try:
        export_saved_model(model, encoder, written, verify, **options)
        return _renamed_to_the_next(written, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _renamed_to_the_next(written: Path, folder: Path) -> Path:
    while True:
        target = folder / str(_highest(folder) + 1)
        try:
            return written.rename(target)
        except OSError as error:
            # Another export took the number in between.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise


def _highest(folder: Path) -> int:
    return max((int(p.name) for p in folder.iterdir() if p.name.isdecimal()), default=0)
