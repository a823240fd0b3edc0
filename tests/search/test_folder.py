import json

import pytest

from keras_infnet.search import load_config

pytestmark = pytest.mark.one_backend


def test_a_missing_file_is_an_error_that_names_it(tmp_path):
    with pytest.raises(ValueError, match="no file .*best_config.json"):
        load_config(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "is not JSON"), (json.dumps({"model": "INFNet"}), "lacks arguments")],
)
def test_a_file_of_something_else_is_an_error_that_says_what_is_wrong(tmp_path, text, message):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        load_config(tmp_path / "config.json")
