"""Arrays on disk: `.npz` files whose sizes are checked before anything is allocated."""

import math
import zipfile
from pathlib import Path

import numpy as np

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def open_arrays(path: Path) -> np.lib.npyio.NpzFile:
    """Arrays of an `.npz` by name, open; each is read when it is asked for.

    They lie there as they are, not deflated, so a file can't grow in memory.

    Raises:
        ValueError: An array is deflated, or of another size than its part of the file.
        OSError: The file can't be read.
        zipfile.BadZipFile: It is damaged.
    """
    with zipfile.ZipFile(path) as file:
        for member in file.infolist():
            if member.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{path.name}: array `{member.filename}` is deflated")
            with file.open(member) as opened:
                read_header = _HEADERS[np.lib.format.read_magic(opened)]
                shape, _, dtype = read_header(opened)
                there = member.file_size - opened.tell()
            if dtype.hasobject or math.prod(shape) * dtype.itemsize != there:
                raise ValueError(
                    f"{path.name}: array `{member.filename}` of shape {shape} and {dtype} has "
                    f"{there} bytes"
                )
        if sum(member.file_size for member in file.infolist()) > path.stat().st_size:
            raise ValueError(f"{path.name} says that it holds more bytes than it has")
    return np.load(path, allow_pickle=False)
