import importlib
import sys

import pytest

from tests.house.source import ROOT


@pytest.fixture
def proxy_search_data(monkeypatch):
    """The module; its folder holds programs, not a package."""
    monkeypatch.syspath_prepend(str(ROOT / "tuning"))
    yield importlib.import_module("proxy_search_data")
    sys.modules.pop("proxy_search_data")


def test_of_workers_that_begin_together_the_first_to_end_makes_the_log(
    proxy_search_data, monkeypatch, tmp_path
):
    log = tmp_path / "search-log"

    def simulate(path, rows, users, items, seed):
        path.mkdir()
        log.mkdir()
        (log / "of another worker").touch()

    monkeypatch.setattr(proxy_search_data.keras_infnet, "simulate", simulate)
    found = proxy_search_data.simulated_log(tmp_path / "search", 100, print_it=False)
    assert found == log and [f.name for f in log.iterdir()] == ["of another worker"]
    assert list(tmp_path.iterdir()) == [log]
