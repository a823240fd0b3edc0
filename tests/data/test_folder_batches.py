import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from keras_infnet import FeatureSchema
from keras_infnet.data import Batches, FeatureEncoder, Histories
from keras_infnet.data.prepared_rows import PreparedRows, read_manifest, read_row_columns
from keras_infnet.data.whole_files import parquet_checksums, read_json, write_json
from tests.logs import log_schema, make_log
from tests.prepared import SPLITS, collect, large_log, prepared, row_numbers, train_rows

pytestmark = pytest.mark.one_backend

FREEZE = 1_650_000_030_000


@pytest.fixture(scope="module")
def log():
    # The dense vector tells which row a row is.
    log = large_log()
    return log.assign(image=[[float(i), 0.0, 1.0] for i in range(len(log))])


@pytest.fixture(scope="module")
def folder(log, tmp_path_factory):
    path = tmp_path_factory.mktemp("prepared") / "log"
    prepared(path, log)
    return path


@pytest.fixture(scope="module")
def encoder(folder):
    return FeatureEncoder.load(folder / "encoder")


def batches(dataset, number=None):
    """Row numbers of each batch."""
    taken = dataset if number is None else dataset.take(number)
    return [
        (x if isinstance(x, dict) else x[0])["dense"][:, 0].astype(int).tolist()
        for x in taken.as_numpy_iterator()
    ]


def stream(encoder, folder, **kwargs):
    arguments = {"batch_size": 32, "shuffle": True, "seed": 1, "mix_blocks": 2, "labels": False}
    return Batches.from_folder(encoder, folder, **{**arguments, **kwargs})


@pytest.mark.parametrize("freeze_at", [None, FREEZE, "first_row"])
def test_shuffled_rows_are_what_rows_in_memory_give(encoder, folder, log, freeze_at):
    rows = log[log.time_ms >= SPLITS["validation"]]
    found = collect(stream(encoder, folder, split="test", freeze_at=freeze_at, labels=True))
    histories = Histories(encoder, log)
    wanted = collect(Batches.from_rows(encoder, rows, histories, freeze_at=freeze_at))
    assert sorted(found["dense"][:, 0]) == rows.index.tolist()
    index = rows.index.get_indexer(found["dense"][:, 0])
    for name, array in found.items():
        np.testing.assert_array_equal(array, wanted[name][index], err_msg=name)


def test_unshuffled_rows_come_as_in_the_files(encoder, folder):
    found = batches(stream(encoder, folder, shuffle=False, batch_size=50))
    assert sum(found, []) == row_numbers(folder, "train").tolist()
    assert [len(b) for b in found[:-1]] == [50] * (len(found) - 1)


def test_each_iteration_is_another_epoch_of_all_rows(encoder, folder, log):
    def epochs(seed):
        data = stream(encoder, folder, seed=seed)
        assert data.cardinality().numpy() == -(-len(train_rows(log)) // 32)
        return [batches(data) for _ in range(2)]

    first, second = epochs(1)
    everything = train_rows(log).index.tolist()
    assert sorted(sum(first, [])) == sorted(sum(second, [])) == everything
    assert first != second and sum(first, []) != everything
    assert epochs(1) == [first, second]
    assert epochs(2)[0] != first


def test_rows_of_several_shards_mix(encoder, folder):
    shards = {p: set(pd.read_parquet(p)["row"]) for p in (folder / "rows" / "train").iterdir()}
    first = batches(stream(encoder, folder, mix_blocks=100), 1)[0]
    assert sum(bool(set(first) & rows) for rows in shards.values()) == len(shards) == 3


@pytest.mark.parametrize("drop_remainder", [False, True])
def test_any_batch_can_be_the_first(encoder, folder, drop_remainder):
    def make(**kwargs):
        return stream(encoder, folder, drop_remainder=drop_remainder, **kwargs)

    number = int(make().cardinality())
    endless = make(repeat=True)
    assert endless.cardinality().numpy() == -1
    whole = batches(endless, 3 * number)
    data = make()
    assert whole == sum([batches(data) for _ in range(3)], [])
    for start in (1, number - 1, number, number + 7):
        rest = batches(make(repeat=True, start_batch=start), 2 * number - start)
        assert rest == whole[start : 2 * number]
    later = make(start_batch=number)
    assert [batches(later), batches(later)] == [whole[number : 2 * number], whole[2 * number :]]


def test_a_start_within_an_epoch_is_the_rest_of_that_epoch(encoder, folder):
    number = int(stream(encoder, folder).cardinality())
    whole = batches(stream(encoder, folder, repeat=True), 2 * number)
    rest = stream(encoder, folder, start_batch=number + 4)
    assert rest.cardinality().numpy() == number - 4
    assert batches(rest) == batches(rest) == whole[number + 4 :]


def test_what_lies_before_the_start_is_not_read(encoder, folder, monkeypatch):
    number = int(stream(encoder, folder, mix_blocks=1).cardinality())
    data = stream(encoder, folder, mix_blocks=1, start_batch=number - 1)
    read, seen = PreparedRows.read, []
    monkeypatch.setattr(PreparedRows, "read", lambda self, b: seen.append(b) or read(self, b))
    batches(data)
    assert 1 <= len(seen) <= 2


@pytest.mark.parametrize("workers", [2, 5])
def test_workers_share_an_epoch_in_equal_numbers_of_batches(encoder, folder, log, workers):
    parts = [stream(encoder, folder, shard=(i, workers)) for i in range(workers)]
    assert len({int(part.cardinality()) for part in parts}) == 1
    rows = [sum(batches(part), []) for part in parts]
    assert len(set(map(len, rows))) == 1
    together, everything = sum(rows, []), train_rows(log).index.tolist()
    assert len(set(together)) == len(together) and set(together) <= set(everything)
    assert len(everything) - len(together) < workers
    later = stream(encoder, folder, shard=(1, workers), start_batch=2)
    assert sum(batches(later), []) == rows[1][64:]


@pytest.fixture(scope="module")
def one_history(log, tmp_path_factory):
    """A folder, and the encoder, of a schema with one history of 12 positions."""
    schema = log_schema(max_length=12)
    schema = FeatureSchema(schema.features, schema.tasks, schema.histories[:1])
    path = tmp_path_factory.mktemp("prepared") / "log"
    return prepared(path, log, schema), path


def test_buckets_cut_batches_to_the_histories_that_they_hold(one_history, log):
    encoder, path = one_history
    data = stream(encoder, path, batch_size=8, length_buckets=(2, 6), drop_remainder=True)
    whole = collect(Batches.from_rows(encoder, log, Histories(encoder, log), labels=False))
    lengths, rows = [], []
    for x in data.as_numpy_iterator():
        index = x["dense"][:, 0].astype(int)
        length = x["seen"].shape[1]
        longest = (whole["seen"][index, :, 0] > 0).sum(axis=1).max()
        assert length == min(b for b in (2, 6, 12) if b >= longest)
        for name in ("seen", "seen_age"):
            np.testing.assert_array_equal(x[name], whole[name][index, -length:])
        lengths.append(length)
        rows += index.tolist()
    assert set(lengths) == {2, 6, 12} and lengths != sorted(lengths)
    assert len(set(rows)) == len(rows) == 8 * int(data.cardinality())
    plain = stream(encoder, path, batch_size=8, drop_remainder=True)
    assert np.mean(lengths) < 12 and data.cardinality() == plain.cardinality()


@pytest.mark.parametrize("shard", [(0, 1), (1, 2)])
@pytest.mark.parametrize("batch_size", [8, 50])
def test_with_buckets_too_any_batch_can_be_the_first(one_history, shard, batch_size):
    def make(**kwargs):
        options = {"length_buckets": [3], "shard": shard, "batch_size": batch_size}
        return stream(*one_history, **options, **kwargs)

    number = int(make().cardinality())
    whole = batches(make(repeat=True), 2 * number)
    assert len(set(sum(whole[:number], []))) == len(sum(whole[:number], []))
    for start in (1, number // 2, number - 1, number + 2):
        assert batches(make(repeat=True, start_batch=start), 2 * number - start) == whole[start:]


def test_buckets_that_cannot_be_are_refused(one_history, encoder, folder):
    for buckets, message in [
        ((), r"length_buckets are \[\]; expected growing"),
        ((5, 5), r"length_buckets are \[5, 5\]; expected growing"),
        ((5, 13), "but history `seen` has 12 positions at most"),
    ]:
        with pytest.raises(ValueError, match=message):
            stream(*one_history, length_buckets=buckets)
    with pytest.raises(ValueError, match="change the order of rows; pass shuffle=True"):
        stream(*one_history, length_buckets=(5,), shuffle=False)
    with pytest.raises(ValueError, match="but history `seen` has 5 positions at most"):
        stream(encoder, folder, length_buckets=(6,))


def test_of_several_histories_the_longest_chooses_the_bucket(encoder, folder, log):
    data = stream(encoder, folder, batch_size=8, length_buckets=(2, 4), drop_remainder=True)
    whole = collect(Batches.from_rows(encoder, log, Histories(encoder, log), labels=False))
    lengths = set()
    for x in data.as_numpy_iterator():
        index = x["dense"][:, 0].astype(int)
        longest = max(
            (whole[name][index, :, 0] > 0).sum(axis=1).max() for name in ("seen", "liked")
        )
        bucket = min(b for b in (2, 4, 5) if b >= longest)
        for name, most in (("seen", 5), ("liked", 3)):
            kept = min(bucket, most)
            np.testing.assert_array_equal(x[name], whole[name][index, -kept:])
            np.testing.assert_array_equal(x[f"{name}_age"], whole[f"{name}_age"][index, -kept:])
        lengths.add(bucket)
    assert lengths == {2, 4, 5}


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def rewrite(path, change):
    """Writes a Parquet file again, changed, with the same blocks, as if it had been so."""
    with pq.ParquetFile(path) as file:
        blocks = [file.read_row_group(i) for i in range(file.num_row_groups)]
    blocks = [change(block).replace_schema_metadata(blocks[0].schema.metadata) for block in blocks]
    with pq.ParquetWriter(path, blocks[0].schema) as writer:
        for block in blocks:
            writer.write_table(block, row_group_size=max(1, len(block)))
    folder = next(parent for parent in path.parents if (parent / "manifest.json").exists())
    manifest = read_json(folder / "manifest.json", "rewrite")
    for shard in manifest["shards"]:
        if (name := str(path.relative_to(folder))) in shard["checksums"]:
            shard["checksums"][name] = parquet_checksums(path)
    write_json(folder / "manifest.json", manifest)


def with_values(name, value):
    def change(table):
        index = table.schema.get_field_index(name)
        values = pa.array(np.full(len(table), value), table.schema.field(name).type)
        return table.set_column(index, name, values)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop_columns("x/bags/2"), "shard-00001.*column `x/bags/2` is missing; expec"),
        (
            lambda t: t.set_column(2, "#time", pa.array(["a"] * len(t))),
            "shard-00001.*column `#time` is of type string; expected int64",
        ),
        (lambda t: t.slice(1), "shard-00001.* rows in .*manifest.json says"),
        (lambda t: t.slice(0, 0), "shard-00001.* has 0 rows in .*manifest.json says"),
        (
            lambda t: t.set_column(
                t.schema.get_field_index("x/dense"), "x/dense", pa.array([[0.0]] * len(t))
            ),
            "column `x/dense` is of type list.*expected fixed_size_list",
        ),
    ],
)
def test_a_shard_with_other_columns_types_or_rows_is_named(encoder, copy, change, message):
    rewrite(copy / "rows" / "train" / "shard-00001.parquet", change)
    with pytest.raises(ValueError, match=message):
        Batches.from_folder(encoder, copy)


@pytest.mark.parametrize("history", [None, "seen"])
def test_a_damaged_shard_is_named(encoder, copy, history):
    import tensorflow as tf

    part = copy / ("rows/train" if history is None else f"events/{history}")
    path = part / "shard-00002.parquet"
    content = path.read_bytes()
    for damaged in (b"", content[: len(content) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="shard-00002.parquet can't be read.*cut short"):
            Batches.from_folder(encoder, copy)

    def read_all():
        rows = PreparedRows(copy, encoder, "train")
        for block in range(len(rows.block_rows)):
            rows.read(block)
        read_row_columns(copy, read_manifest(copy), "train", ("raw/", "row"))

    path.write_bytes(content)
    read_all()
    # Bits spread over the whole file, and of the headers of pages, which lie first in a column.
    columns = map(pq.ParquetFile(path).metadata.row_group(0).column, range(0, 12, 3))
    headers = [(c.dictionary_page_offset or c.data_page_offset) + 3 for c in columns]
    for place in (*headers, *range(0, len(content), len(content) // 20), len(content) - 1):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="shard-00002.*can.t be read as Parquet"):
            read_all()
    with pytest.raises((ValueError, tf.errors.OpError), match="shard-00002.*can.t be read as"):
        batches(Batches.from_folder(encoder, copy))
    path.unlink()
    with pytest.raises(ValueError, match="shard-00002.parquet is missing"):
        Batches.from_folder(encoder, copy)


@pytest.mark.parametrize(
    ("file", "column", "value", "message"),
    [
        ("rows/train", "x/categorical/2", 10_000, "id 10000 in column 2 of `categorical`"),
        ("rows/train", "x/bags/0", -2, "id -2 in column 0 of `bags`, whose table has"),
        ("events/seen", "event/0", 10_000, "id 10000 in column 0 of `seen`"),
        ("rows/train", "seen/end", 5_000, "histories `seen` point beyond the .* events"),
    ],
)
def test_ids_and_pointers_beyond_their_table_are_refused(
    encoder, copy, file, column, value, message
):
    import tensorflow as tf

    for path in (copy / file).iterdir():
        rewrite(path, with_values(column, value))
    with pytest.raises((ValueError, tf.errors.OpError), match=message):
        batches(Batches.from_folder(encoder, copy))


def test_what_is_no_prepared_folder_of_this_encoder_is_refused(encoder, folder, copy, log):
    other = FeatureEncoder(log_schema()).fit(make_log(seed=8))
    with pytest.raises(ValueError, match="of another schema .fingerprint .*expected"):
        Batches.from_folder(other, folder)
    with pytest.raises(ValueError, match="no split `tests`. Did you mean `test`"):
        Batches.from_folder(encoder, folder, "tests")
    with pytest.raises(ValueError, match="there is no folder .*nowhere"):
        Batches.from_folder(encoder, folder / "nowhere")
    with pytest.raises(ValueError, match="rows has no manifest.json; expected a folder that"):
        Batches.from_folder(encoder, folder / "rows")
    with pytest.raises(ValueError, match="written by `prepare`; use `Batches.from_folder`"):
        Batches.from_rows(encoder, folder)
    manifest = read_json(copy / "manifest.json", "copy")
    for change, message in [
        ({"format": 0}, "has format 0; expected 2"),
        ({"rows": {"train": 0}}, "split `train` of .* has no row"),
    ]:
        write_json(copy / "manifest.json", manifest | change)
        with pytest.raises(ValueError, match=message):
            Batches.from_folder(encoder, copy)
    text = (copy / "manifest.json").read_text()
    (copy / "manifest.json").write_text(text.replace('"row', '"raw', 1))
    with pytest.raises(ValueError, match="manifest.json can't be read: .*its checksum differs"):
        Batches.from_folder(encoder, copy)
    (copy / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match="manifest.json can't be read"):
        Batches.from_folder(encoder, copy)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0; expected 1 or more"),
        ({"start_batch": -1}, "start_batch is -1; expected 0 or more"),
        ({"mix_blocks": 0}, "mix_blocks is 0"),
        ({"seed": -3}, "seed is -3"),
        ({"shard": (2, 2)}, r"shard is \(2, 2\); expected \(index, number of workers\)"),
        ({"batch_size": 5000, "drop_remainder": True}, "no batch of 5000 for each of 1 workers"),
        ({"freeze_at": "noon"}, "freeze_at .also 'first_row'. is 'noon'"),
    ],
)
def test_arguments_out_of_range_are_refused(encoder, folder, arguments, message):
    with pytest.raises(ValueError, match=message):
        stream(encoder, folder, **arguments)
