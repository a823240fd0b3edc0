import pandas as pd
import pytest

from benchmarks.protocol.tables import KEYS, Tables, number_rows, read_table

COLUMNS = [*KEYS["results.csv"], "value"]


def row(model="INFNet", seed=0, value=0.5, task="click"):
    return dict(
        zip(COLUMNS, (model, 1, "exposures", task, "test", "auc", seed, value), strict=True)
    )


def test_rows_of_the_same_key_are_replaced_and_others_stay(tmp_path):
    tables = Tables([tmp_path])
    tables.put("results.csv", [row("SharedBottom", value=0.1), row(value=0.25)])
    again = Tables([tmp_path])
    again.put("results.csv", [row(value=0.75), row(seed=1, value=1 / 3)])
    assert (tmp_path / "results.csv").read_text().splitlines() == [
        "model,members,histories,task,split,metric,seed,value",
        "INFNet,1,exposures,click,test,auc,0,0.750000",
        "INFNet,1,exposures,click,test,auc,1,0.333333",
        "SharedBottom,1,exposures,click,test,auc,0,0.100000",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["results.csv"]


def test_both_folders_hold_the_same_and_the_first_wins(tmp_path):
    out, results = tmp_path / "out", tmp_path / "results"
    Tables([results]).put("results.csv", [row(value=0.1), row(seed=1, value=0.2)])
    Tables([out]).put("results.csv", [row(value=0.9)])
    tables = Tables([out, results])
    assert tables["results.csv"]["value"].tolist() == [0.9, 0.2]
    tables.put("results.csv", [row(seed=2)])
    assert (out / "results.csv").read_bytes() == (results / "results.csv").read_bytes()


def test_settings_that_are_numbers_are_sorted_beside_words(tmp_path):
    def ablation(setting, value):
        return number_rows(
            {"ablation": "width", "setting": setting, "seed": 0},
            {"validation": {"click": {"auc": value}}},
        )

    Tables([tmp_path]).put("ablation.csv", ablation("16", 0.1) + ablation("none", 0.2))
    tables = Tables([tmp_path])
    tables.put("ablation.csv", ablation("16", 0.3))
    assert tables["ablation.csv"]["value"].tolist() == [0.3, 0.2]


def test_a_hash_that_looks_like_a_number_stays_text(tmp_path):
    Tables([tmp_path]).put("runs.csv", [{"run": "a", "hash": "00123456"}])
    assert Tables([tmp_path])["runs.csv"]["hash"].tolist() == ["00123456"]


def test_stale_rows_are_dropped(tmp_path):
    tables = Tables([tmp_path])
    tables.put("results.csv", [row(), row(seed=1)])
    tables.put("results.csv", [], instead=tables["results.csv"]["seed"] == 1)
    assert tables["results.csv"]["seed"].tolist() == [0]


def test_a_file_that_is_no_table_is_an_error_that_names_it(tmp_path):
    pd.DataFrame({"model": ["INFNet"]}).to_csv(tmp_path / "results.csv")
    with pytest.raises(ValueError, match="results.csv: no column members, histories"):
        read_table(tmp_path / "results.csv")
