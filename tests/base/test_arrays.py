import io
import tracemalloc
import zipfile

import numpy as np
import pytest

from keras_infnet._base.arrays import open_arrays


def npy(shape, values=b""):
    file = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + values


def test_arrays_are_read_as_they_were_saved(tmp_path):
    arrays = {"a": np.arange(6.0).reshape(2, 3).T, "b": np.array("text"), "c": np.zeros((0, 2))}
    np.savez(tmp_path / "a.npz", **arrays)
    with open_arrays(tmp_path / "a.npz") as found:
        assert set(found) == set(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize(
    ("kind", "data", "words"),
    [
        (zipfile.ZIP_DEFLATED, npy((1 << 26,), bytes(1 << 28)), "array `a.npy` is deflated"),
        (zipfile.ZIP_STORED, npy((1 << 40,)), r"shape \(1099511627776,\) .* has 0 bytes"),
        (zipfile.ZIP_STORED, npy((2,), bytes(12)), r"shape \(2,\) and float32 has 12 bytes"),
    ],
)
def test_a_small_file_can_not_become_large_arrays(tmp_path, kind, data, words):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", kind) as file:
        file.writestr("a.npy", data)
    del data
    tracemalloc.start()
    with pytest.raises(ValueError, match=f"a.npz.*{words}"):
        open_arrays(tmp_path / "a.npz")
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()


def test_parts_of_a_file_do_not_count_twice(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("a.npy", npy((1000,), bytes(4000)))
        twice = file.infolist()[0]
        file.filelist += [twice] * 3
    with pytest.raises(ValueError, match="a.npz says that it holds more bytes than it has"):
        open_arrays(tmp_path / "a.npz")
