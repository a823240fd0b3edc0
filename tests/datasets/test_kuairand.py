import re

import numpy as np
import pandas as pd
import pytest

from keras_infnet.datasets.kuairand import KuaiRand
from tests.datasets.tiny_kuairand import (
    EARLY,
    FEEDBACKS,
    LATE,
    RANDOM,
    edit,
    log_rows,
    users,
    videos,
    write_kuairand,
    write_statistics,
)

pytestmark = pytest.mark.filterwarnings("ignore:KuaiRand. .* standard logs:UserWarning")


def merged(*logs: pd.DataFrame) -> pd.DataFrame:
    log = pd.concat(logs, ignore_index=True)
    return log.merge(users(), how="left", on="user_id").merge(videos(), how="left", on="video_id")


def assert_same_values(frame: pd.DataFrame, expected: pd.DataFrame) -> None:
    assert frame.index.tolist() == list(range(len(expected)))
    for column in expected:
        wanted = expected[column]
        if pd.api.types.is_integer_dtype(frame[column].dtype):
            wanted = wanted.fillna(-1)
        assert as_list(frame[column]) == as_list(wanted), column


def as_list(values: pd.Series) -> list:
    return values.astype(object).where(values.notna(), None).tolist()


@pytest.mark.parametrize("variant", ["pure", "1k", "27k"])
@pytest.mark.parametrize("inside", ["", "data"])
def test_frame_is_the_merge_of_all_files(tmp_path, variant, inside):
    write_kuairand(tmp_path / inside, variant)
    data = KuaiRand(tmp_path)
    assert_same_values(data.frame(), merged(log_rows([18, 19]), log_rows([23, 24, 25])))
    assert data.found.variant == variant
    assert f"KuaiRand {variant}" in data.describe()


@pytest.mark.parametrize("statistics", [False, True])
def test_pieces_are_the_frame(tmp_path, statistics):
    write_kuairand(tmp_path)
    write_statistics(tmp_path)
    data = KuaiRand(tmp_path, statistics=statistics)
    pieces, whole = list(data.frames(chunk_rows=3)), data.frame()
    assert max(map(len, pieces)) == 3 and len(pieces) > 2
    assert_same_values(pd.concat(pieces), whole)
    assert pieces[0].columns.tolist() == whole.columns.tolist()


def test_parts_are_read_in_the_order_of_their_numbers(tmp_path):
    days = {f"{LATE}_part10": [25], f"{LATE}_part2": [24], f"{EARLY}_part1": [9]}
    write_kuairand(tmp_path, "27k", {name: log_rows(d) for name, d in days.items()})
    data = KuaiRand(tmp_path)
    assert data.frame()["date"].tolist() == [20220409] * 2 + [20220424] * 2 + [20220425] * 2
    names = [file.name for file in data.found.logs]
    assert names == [
        "log_standard_4_08_to_4_21_27k_part1.csv",
        "log_standard_4_22_to_5_08_27k_part2.csv",
        "log_standard_4_22_to_5_08_27k_part10.csv",
    ]


def test_one_log_file_is_enough(tmp_path):
    write_kuairand(tmp_path, logs={LATE: log_rows([23])})
    missing = "has 1 of the 2 standard logs: `log_standard_4_08_to_4_21_pure.csv` is missing"
    with pytest.warns(UserWarning, match=missing):
        data = KuaiRand(tmp_path)
    assert len(data.frame()) == 2
    assert "log_standard_4_22_to_5_08_pure.csv" in data.describe()
    assert "random-exposure logs: none" in data.describe()


def test_exact_repeats_are_kept(tmp_path):
    rows = log_rows([23])
    write_kuairand(tmp_path, logs={LATE: pd.concat([rows, rows])})
    assert_same_values(KuaiRand(tmp_path).frame(), merged(rows, rows))


def test_random_log_is_left_out_unless_asked_for(tmp_path):
    write_kuairand(tmp_path, logs={LATE: log_rows([23]), RANDOM: log_rows([24])})
    assert KuaiRand(tmp_path).frame()["date"].unique().tolist() == [20220423]
    frame = KuaiRand(tmp_path, random_log=True).frame()
    assert frame["date"].unique().tolist() == [20220423, 20220424]


def test_hour_and_compact_types(tmp_path):
    frame = KuaiRand(write_kuairand(tmp_path)).frame()
    assert frame["hour"].tolist() == (frame["hourmin"] // 100).tolist()
    expected = {"user_id": "int32", "is_click": "int8", "music_id": "int64", "time_ms": "int64"}
    expected |= {"video_duration": "float32", "onehot_feat4": "int32", "tab": "int8"}
    assert {column: str(frame[column].dtype) for column in expected} == expected


def test_ids_too_large_for_their_type_are_kept(tmp_path):
    rows = log_rows([23]).assign(play_time_ms=3_000_000_000)
    frame = KuaiRand(write_kuairand(tmp_path, logs={LATE: rows})).frame()
    assert frame["play_time_ms"].tolist() == [3_000_000_000] * 2


def test_statistics_do_not_replace_columns_of_users(tmp_path):
    write_statistics(write_kuairand(tmp_path))
    frame = KuaiRand(tmp_path, statistics=True).frame()
    expected = merged(log_rows([18, 19]), log_rows([23, 24, 25]))
    assert frame["follow_user_num"].tolist() == expected["follow_user_num"].tolist()
    assert frame["daily_show_cnt"].tolist() == [[0.5, 1, 2, 3][v] for v in expected["video_id"]]
    assert "daily_show_cnt" not in KuaiRand(tmp_path).frame()


def test_split_goes_by_date_even_where_time_ms_disagrees(tmp_path):
    rows = log_rows([18, 23, 24, 25, 26])
    rows.loc[0, "time_ms"] = rows["time_ms"].max() + 1
    data = KuaiRand(write_kuairand(tmp_path, logs={LATE: rows}))
    split = data.split(data.frame(), validation_days=1, test_days=2)
    assert split.train["date"].unique().tolist() == [20220418, 20220423]
    assert split.validation["date"].unique().tolist() == [20220424]
    assert split.test["date"].unique().tolist() == [20220425, 20220426]
    assert split.validation_start == rows.loc[rows["date"] == 20220424, "time_ms"].min()
    assert split.test_start == rows.loc[rows["date"] == 20220425, "time_ms"].min()


def warm_rows() -> pd.DataFrame:
    rows = {"user_id": [4, 0, 4], "position": [1, 0, 0], "video_id": [3, 2, 1]}
    return pd.DataFrame(rows | {"is_like": pd.array([1, None, 0], "Int8"), "long_view": [1, 0, 1]})


def test_warm_histories_are_sorted_and_merged(tmp_path):
    warm_rows().to_parquet(write_kuairand(tmp_path) / "warm_histories.parquet")
    warm = KuaiRand(tmp_path).warm()
    assert warm[["user_id", "position", "video_id"]].to_numpy().tolist() == [
        [0, 0, 2],
        [4, 0, 1],
        [4, 1, 3],
    ]
    assert warm["is_like"].tolist() == [-1, 0, 1]
    assert warm["is_click"].tolist() == [-1, -1, -1]
    assert warm["author_id"].tolist() == [9, 8, 7]
    assert np.isnan(warm["play_time_ms"]).all() and "time_ms" not in warm
    assert set(FEEDBACKS) <= set(warm.columns)


def test_without_the_files_there_is_no_warm_history_and_no_truth(tmp_path):
    data = KuaiRand(write_kuairand(tmp_path))
    assert data.warm() is None and data.truth() is None


def test_users_and_videos_absent_from_their_tables(tmp_path):
    rows = log_rows([23, 24])
    rows.loc[[1, 3], "video_id"] = 77
    rows.loc[2, "user_id"] = 55
    write_kuairand(tmp_path, logs={LATE: rows})
    edit(tmp_path / "user_features_pure.csv", "\n1,", "\n55,")
    with pytest.raises(
        ValueError, match=r"user_features_pure.csv: 1 values of `user_id` \(1 rows\) .*\(1\)"
    ):
        KuaiRand(tmp_path).frame()
    edit(tmp_path / "user_features_pure.csv", "\n55,", "\n1,")
    edit(tmp_path / "log_standard_4_22_to_5_08_pure.csv", "\n55,", "\n2,")
    message = r"video_features_basic_pure.csv: 1 values of `video_id` \(2 rows\) .*\(77\).*absent="
    with pytest.raises(ValueError, match=message):
        KuaiRand(tmp_path).frame()
    frame = KuaiRand(tmp_path, absent="missing").frame()
    assert frame["author_id"].tolist() == [7, -1, 9, -1]
    assert frame["video_type"].isna().tolist() == [False, True, False, True]
    assert np.isnan(frame["video_duration"][[1, 3]]).all()


def test_a_user_that_occurs_twice_is_an_error(tmp_path):
    write_kuairand(tmp_path)
    edit(tmp_path / "user_features_pure.csv", "\n3,", "\n2,")
    with pytest.raises(ValueError, match=r"user_features_pure.csv: 1 values of `user_id` .*\(2\)"):
        KuaiRand(tmp_path).frame()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tasks": ("clik",)}, "KuaiRand: unknown task `clik`. Did you mean `click`?"),
        ({"tasks": ()}, "KuaiRand: no task; expected at least one of click, like"),
        ({"history": "all"}, "KuaiRand: history is 'all'; expected one of ('exposures', 'pos"),
        ({"absent": "drop"}, "KuaiRand: absent is 'drop'; expected one of ('error', 'missing')"),
        ({"statistics": True}, "has no `video_features_statistic_pure.csv`"),
    ],
)
def test_bad_arguments(tmp_path, arguments, message):
    write_kuairand(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(message)):
        KuaiRand(tmp_path, **arguments)


def test_one_task_may_be_a_string(tmp_path):
    assert KuaiRand(write_kuairand(tmp_path), tasks="like").tasks == ("like",)


def test_a_missing_table_is_an_error(tmp_path):
    (write_kuairand(tmp_path) / "user_features_pure.csv").unlink()
    with pytest.raises(FileNotFoundError, match="has no `user_features_pure.csv`"):
        KuaiRand(tmp_path)


def test_a_random_log_alone_is_an_error_unless_asked_for(tmp_path):
    write_kuairand(tmp_path, logs={RANDOM: log_rows([23])})
    with pytest.raises(FileNotFoundError, match="random-exposure log only.*random_log=True"):
        KuaiRand(tmp_path)
    assert len(KuaiRand(tmp_path, random_log=True).frame()) == 2


def test_a_misspelt_column_suggests_the_nearest(tmp_path):
    write_kuairand(tmp_path)
    edit(tmp_path / "log_standard_4_22_to_5_08_pure.csv", "is_click", "is_clicked")
    message = (
        r"log_standard_4_22_to_5_08_pure.csv: column `is_click` is missing. Did you mean `is_c"
    )
    with pytest.raises(ValueError, match=message):
        KuaiRand(tmp_path).frame()


def test_a_label_other_than_0_or_1_is_an_error_with_its_line(tmp_path):
    rows = log_rows([23, 24])
    rows.loc[2, "is_like"] = 2
    write_kuairand(tmp_path, logs={LATE: rows})
    with pytest.raises(ValueError, match=r"pure.csv, line 4: column `is_like` is 2; expected 0 or"):
        KuaiRand(tmp_path).frame()


def test_a_log_without_rows_is_an_error(tmp_path):
    write_kuairand(tmp_path, logs={LATE: log_rows([])})
    (tmp_path / f"{LATE}_pure.csv").write_text(",".join(log_rows([23]).columns) + "\n")
    with pytest.raises(ValueError, match="the logs in .* have no row"):
        KuaiRand(tmp_path).frame()


def test_bad_warm_histories(tmp_path):
    path = write_kuairand(tmp_path) / "warm_histories.parquet"
    warm_rows().rename(columns={"position": "positions"}).to_parquet(path)
    with pytest.raises(ValueError, match="column `position` is missing. Did you mean `positions`"):
        KuaiRand(tmp_path).warm()
    path.write_bytes(b"PAR1 cut short")
    with pytest.raises(ValueError, match="warm_histories.parquet: can't be read as Parquet"):
        KuaiRand(tmp_path).warm()
