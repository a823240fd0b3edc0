import dataclasses

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import keras_infnet
from keras_infnet import BinaryTask, CategoricalFeature, FeatureSchema, History, NumericFeature
from keras_infnet.data import FeatureEncoder, Vocabulary
from keras_infnet.schema.canonical import arrow_type
from keras_infnet.schema.table_widths import table_parts
from keras_infnet.schema.value_counts import ValueCounts

pytestmark = pytest.mark.one_backend

VIDEO = CategoricalFeature("video_id", "item")
TASKS = [BinaryTask("click")]


def auto(*features, **kwargs):
    return FeatureSchema(features or [VIDEO], TASKS, time_key=None, dims="auto", **kwargs)


def zipf_log(rows=20_000, videos=6000, seed=0):
    """Videos whose shares are those of Zipf, one over their place among all."""
    rng = np.random.default_rng(seed)
    shares = 1 / np.arange(1, videos + 1)
    return pd.DataFrame(
        {
            "video_id": rng.choice(videos, rows, p=shares / shares.sum()),
            "last_id": rng.choice(videos, rows, p=shares / shares.sum()),
            "user_id": rng.integers(0, 3000, rows),
            "tab": rng.integers(0, 5, rows),
            "click": rng.integers(0, 2, rows),
        }
    )


@pytest.mark.parametrize(
    ("rows", "dim", "width"),
    [
        # 6 n^(1/4) is 7.1, 10.7, 19, 30.99 and 31.004.
        (2, 32, 8),
        (10, 32, 8),
        (100, 32, 16),
        (712, 32, 16),
        (713, 32, 32),
        (10_000, 32, 32),
        (10_000, 48, 48),
        (10_000, 64, 32),
        (1_000_000, 64, 64),
        (1_000_000, 1, 1),
    ],
)
def test_tables_of_few_ids_are_narrower_by_powers_of_two(rows, dim, width):
    assert table_parts(rows, (), dim) == ((width, rows),)


def test_rarer_ids_of_large_tables_have_a_half_and_a_quarter_of_the_width():
    assert table_parts(5000, (40, 900, 5000), 32) == ((32, 40), (16, 860), (8, 4100))
    assert table_parts(5000, (40, 900, 5000), 24) == ((24, 40), (8, 860), (4, 4100))
    assert table_parts(5000, (900, 5000, 5000), 32) == ((32, 900), (16, 4100))
    assert table_parts(5000, (900, 900, 5000), 32) == ((32, 900), (8, 4100))
    # A width once; small tables are not cut.
    assert table_parts(5000, (40, 900, 5000), 2) == ((2, 40), (1, 4960))
    assert table_parts(1023, (40, 900, 1023), 32) == ((32, 1023),)


def test_later_ids_belong_to_the_last_part_and_change_no_width():
    # 1,000 ids are 32 wide at most, 5,000 would be cut.
    assert table_parts(5000, (40, 900, 1000), 64) == ((32, 5000),)
    assert table_parts(9000, (40, 900, 5000), 32) == ((32, 40), (16, 860), (8, 8100))
    assert table_parts(9000, (40, 5000, 5000), 32) == ((32, 40), (16, 8960))


def test_frequent_ids_are_the_first_ones_that_cover_a_share_of_the_values():
    log = zipf_log()
    features = [
        CategoricalFeature("video_id", "item", min_frequency=2, oov_buckets=3),
        CategoricalFeature("last_id", "user", table="video_id"),
        CategoricalFeature("user_id", "user", hash_buckets=2000),
        NumericFeature("tab", "context"),
    ]
    encoder = FeatureEncoder(auto(*features, frequent=0.8)).fit(log)
    counts = pd.concat([log["video_id"], log["last_id"]]).value_counts()
    counts, ends = counts[counts >= 2].to_numpy(), []
    for share in (0.5, 0.8):
        covered, values = 0, 0
        while covered < share * counts.sum():
            covered, values = covered + counts[values], values + 1
        ends.append(1 + 3 + values)
    rows = 4 + len(counts)
    assert encoder.schema.layout.frequent == {"video_id": [*ends, rows]}
    assert encoder.schema.table_parts(32)["video_id"] == (
        (32, ends[0]),
        (16, ends[1] - ends[0]),
        (8, rows - ends[1]),
    )
    # A hash knows no frequency.
    assert encoder.schema.table_parts(32)["user_id"] == ((32, 2001),)


def test_a_share_of_whole_numbers_is_not_missed_by_rounding():
    counts = ValueCounts(arrow_type("int"))
    counts.add(pa.array([7] * 7 + [3] * 2 + [1], pa.int64()))
    # 0.7 * 10 is 7.000000000000001 or less: seven of ten are the first value.
    assert Vocabulary.ids_covering((0.7, 0.71, 1.0), counts, "int", 1, 1) == [3, 4, 5]
    assert Vocabulary.ids_covering((0.5, 1.0), counts, "int", 20, 1) == [2, 2]


def test_the_tables_of_a_zipf_log_take_at_most_half_of_the_memory():
    log, features = zipf_log(), [VIDEO, CategoricalFeature("last_id", "user", table="video_id")]
    plain = FeatureEncoder(FeatureSchema(features, TASKS, time_key=None)).fit(log).schema
    schema = FeatureEncoder(auto(*features)).fit(log).schema
    rows = plain.table_rows()["video_id"]
    assert plain.table_bytes(32) == {"video_id": 4 * 32 * rows}
    assert schema.table_bytes(32)["video_id"] <= plain.table_bytes(32)["video_id"] / 2
    parts = schema.table_parts(32)["video_id"]
    assert schema.table_bytes(32)["video_id"] == 4 * sum(w * n for w, n in parts)


def test_encoder_and_schema_come_back_from_a_file(tmp_path):
    encoder = FeatureEncoder(auto(frequent=0.7)).fit(zipf_log(2000))
    encoder.save(tmp_path / "encoder")
    loaded = FeatureEncoder.load(tmp_path / "encoder")
    assert loaded.schema == encoder.schema
    assert loaded.schema.layout.frequent == encoder.schema.layout.frequent
    assert FeatureSchema.from_dict(encoder.schema.to_dict()) == encoder.schema


def test_schemas_of_one_width_are_written_as_before():
    plain = FeatureEncoder(FeatureSchema([VIDEO], TASKS, time_key=None)).fit(zipf_log(200)).schema
    written = plain.to_dict()
    assert not {"dims", "frequent"} & set(written)
    assert "frequent" not in written["layout"]
    assert plain.fingerprint != FeatureEncoder(auto()).fit(zipf_log(200)).schema.fingerprint


def test_chunks_of_a_log_find_the_same_frequent_ids(tmp_path):
    log = zipf_log(4000)
    log["time_ms"] = 1_750_000_000_000 + 1000 * np.arange(len(log))
    log.to_parquet(tmp_path / "log.parquet")
    schema = dataclasses.replace(
        auto(), time_key="time_ms", histories=[History("seen", ("video_id",), max_length=3)]
    )
    keras_infnet.data.prepare(
        schema, tmp_path / "log.parquet", tmp_path / "prepared", chunk_rows=700
    )
    found = keras_infnet.RankingData.open(tmp_path / "prepared").schema
    assert found.layout.frequent == FeatureEncoder(schema).fit(log).schema.layout.frequent


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"dims": "wide"}, "FeatureSchema: dims is 'wide'; expected \"auto\", or None"),
        ({"dims": 16}, "FeatureSchema: dims is 16; expected"),
        ({"dims": "auto", "frequent": 0}, "frequent is 0; expected a share above 0 and at most 1"),
        ({"dims": "auto", "frequent": 1.1}, "frequent is 1.1; expected a share above 0"),
        ({"dims": "auto", "frequent": True}, "frequent is True; expected a share above 0"),
        ({"dims": "auto", "frequent": "0.9"}, "frequent is '0.9'; expected a share above 0"),
        ({"frequent": 0.8}, 'frequent is 0.8; expected no such argument without dims="auto"'),
    ],
)
def test_other_widths_and_shares_are_errors(given, message):
    with pytest.raises(ValueError, match=message):
        FeatureSchema([VIDEO], TASKS, **given)


def test_an_encoder_that_has_not_learned_what_is_frequent_is_an_error():
    fitted = FeatureEncoder(FeatureSchema([VIDEO], TASKS, time_key=None)).fit(zipf_log(200)).schema
    with pytest.raises(ValueError, match='dims is "auto".*has not learned which ids are frequent'):
        dataclasses.replace(fitted, dims="auto")
    layout = dataclasses.replace(fitted.layout, frequent={"video_id": [5, 10**6, 10**6]})
    with pytest.raises(ValueError, match="5 and 1000000 frequent ids of table `video_id`"):
        dataclasses.replace(fitted, dims="auto", layout=layout)


def test_sizes_alone_give_widths_by_the_number_of_ids():
    schema = auto(VIDEO, CategoricalFeature("tab", "context"))
    sized = schema.with_sizes({"video_id": 5000, "tab": 7})
    assert sized.table_parts(32) == {"video_id": ((32, 5000),), "tab": ((8, 7),)}
