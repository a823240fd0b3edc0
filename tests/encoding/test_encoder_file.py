import json

import numpy as np
import pandas as pd
import pytest

from keras_infnet import BinaryTask, CategoricalFeature, FeatureSchema
from keras_infnet.data import FeatureEncoder
from tests.logs import log_schema, make_log


@pytest.fixture(scope="module")
def encoder():
    return FeatureEncoder(log_schema()).fit(make_log())


def test_a_saved_encoder_encodes_the_same(encoder, tmp_path):
    encoder.save(tmp_path / "encoder")
    again = FeatureEncoder.load(tmp_path / "encoder", encoder.schema)
    assert again.schema == encoder.schema
    log = make_log(seed=5)
    for name, array in encoder.transform(log).items():
        np.testing.assert_array_equal(again.transform(log)[name], array)
    np.testing.assert_array_equal(
        again.encode_events("seen", log), encoder.encode_events("seen", log)
    )


def test_strings_survive_whatever_they_hold(tmp_path):
    values = ["a\0", "a", "\0", "é\u2028", " ", "x" * 300]
    schema = FeatureSchema([CategoricalFeature("a", "user")], [BinaryTask("click")])
    frame = pd.DataFrame({"a": values, "click": [0, 1] * 3})
    encoder = FeatureEncoder(schema).fit(frame)
    encoder.save(tmp_path / "encoder")
    again = FeatureEncoder.load(tmp_path / "encoder")
    assert again.programs["a"].values.to_pylist() == sorted(values)


def test_there_is_no_pickle_and_nothing_left_over(encoder, tmp_path):
    encoder.save(tmp_path / "encoder")
    encoder.save(tmp_path / "encoder")
    assert [p.name for p in tmp_path.iterdir()] == ["encoder"]
    with np.load(tmp_path / "encoder" / "vocabularies.npz", allow_pickle=False) as arrays:
        assert all(arrays[name].dtype != object for name in arrays)


def test_a_folder_that_is_no_encoder_is_not_overwritten(encoder, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("precious")
    with pytest.raises(ValueError, match="thesis` exists and holds no encoder; nothing was"):
        encoder.save(tmp_path / "thesis")
    assert [p.name for p in tmp_path.iterdir()] == ["thesis"]
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "precious"


def test_a_missing_or_damaged_file_is_named(encoder, tmp_path):
    with pytest.raises(ValueError, match="nowhere` has no file `schema.json`"):
        FeatureEncoder.load(tmp_path / "nowhere")
    encoder.save(tmp_path / "encoder")
    arrays = tmp_path / "encoder" / "vocabularies.npz"
    arrays.write_bytes(arrays.read_bytes()[:200])
    with pytest.raises(ValueError, match="encoder` is damaged"):
        FeatureEncoder.load(tmp_path / "encoder")


def test_vocabularies_of_another_schema_are_refused(encoder, tmp_path):
    encoder.save(tmp_path / "encoder")
    other = FeatureEncoder(log_schema()).fit(make_log(seed=7))
    with pytest.raises(ValueError, match="of another schema .fingerprint"):
        FeatureEncoder.load(tmp_path / "encoder", other.schema)
    text = json.dumps(other.schema.to_dict())
    (tmp_path / "encoder" / "schema.json").write_text(text)
    with pytest.raises(ValueError, match="vocabularies in .* are of another schema: digest"):
        FeatureEncoder.load(tmp_path / "encoder")


def test_an_unfitted_encoder_is_not_saved(tmp_path):
    with pytest.raises(ValueError, match="Fit an encoder"):
        FeatureEncoder(log_schema()).save(tmp_path / "encoder")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["schema.json", "vocabularies.npz"])
def test_a_bit_that_flips_changes_nothing_silently(encoder, tmp_path, name):
    encoder.save(tmp_path / "encoder")
    file = tmp_path / "encoder" / name
    content = file.read_bytes()
    for bit in range(3, 8 * len(content), max(1, len(content) // 15)):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        file.write_bytes(damaged)
        try:
            found = FeatureEncoder.load(tmp_path / "encoder")
        except ValueError as error:
            assert f"{tmp_path}/encoder`" in str(error)
        else:
            assert found.schema == encoder.schema and found.digest() == encoder.digest()
