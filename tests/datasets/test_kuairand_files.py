import pytest

from keras_infnet.datasets.kuairand_files import KuaiRandFiles
from tests.datasets.tiny_kuairand import write_kuairand


def test_other_files_are_passed_over(tmp_path):
    write_kuairand(tmp_path / "data")
    for name in ("LICENSE", "log_standard_4_22_to_5_08_pure.csv.bak", "load_data_pure.py"):
        (tmp_path / "data" / name).write_text("x")
    found = KuaiRandFiles.find(tmp_path)
    assert found.folder == tmp_path / "data"
    assert [file.name for file in found.user_features] == ["user_features_pure.csv"]
    assert len(found.logs) == 2


def test_a_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere does not exist; expected a folder"):
        KuaiRandFiles.find(tmp_path / "nowhere")


def test_a_file_instead_of_a_folder(tmp_path):
    (tmp_path / "log.csv").write_text("x")
    with pytest.raises(NotADirectoryError, match="log.csv is a file; expected the folder"):
        KuaiRandFiles.find(tmp_path / "log.csv")


def test_a_folder_without_log_says_what_it_has(tmp_path):
    for i in range(12):
        (tmp_path / f"photo_{i:02}.png").write_text("x")
    with pytest.raises(
        FileNotFoundError, match=r"holds no log; expected files such as .*Found: photo_00.*, \.\.\."
    ):
        KuaiRandFiles.find(tmp_path)


def test_an_empty_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no log; .*Found: nothing"):
        KuaiRandFiles.find(tmp_path)


def test_two_variants_in_one_folder(tmp_path):
    write_kuairand(tmp_path, "pure")
    write_kuairand(tmp_path, "1k")
    with pytest.raises(ValueError, match=r"several variants \(1k, pure\); expected one"):
        KuaiRandFiles.find(tmp_path)
