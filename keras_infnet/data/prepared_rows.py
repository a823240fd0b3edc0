"""Prepared folders: their manifest, the checks of their files, and their blocks of rows."""

import contextlib
from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from keras_infnet._base.did_you_mean import check_known
from keras_infnet._base.whole_files import tidy
from keras_infnet.data.histories import FreezeAt, freeze_of, frozen_times, newest_before
from keras_infnet.data.shards import (
    FORMAT,
    MANIFEST,
    ROW,
    TIME,
    USER,
    VALUES,
    event_columns,
    events_file,
    from_columns,
    input_types,
    rows_file,
    window_columns,
)
from keras_infnet.data.whole_files import CheckedParquet, read_json
from keras_infnet.encoding.encoder import FeatureEncoder
from keras_infnet.encoding.translation import Translation
from keras_infnet.schema.instants import shown
from keras_infnet.schema.schema import FeatureSchema

Arrays = dict[str, np.ndarray]
# The number of each row in the log.
NUMBER = "number"


class PreparedRows:
    """One split of a prepared folder.

    Args:
        folder: What `prepare` wrote.
        encoder: The encoder that is used with it; of a folder that days are appended to any one of
            the same columns, whose ids rows and events are given.
        split: Name of the split.
        labels: Whether labels and weights are read.
        freeze_at: As in `Histories.windows`.
        numbers: Whether the numbers of rows are read.

    Raises:
        ValueError: There is no such folder or split, it is of another schema, or a file is missing,
            damaged, or has other columns, types or rows than when it was written.
    """

    def __init__(
        self,
        folder: Path,
        encoder: FeatureEncoder,
        split: str,
        labels: bool = True,
        freeze_at: FreezeAt | None = None,
        numbers: bool = False,
    ) -> None:
        schema = encoder.schema
        self._folder, self._schema, self._split = folder, schema, split
        self._freeze_at = freeze_at
        manifest = read_manifest(folder)
        stored, self._translation = _stored(manifest, folder, encoder)
        _check_split(manifest, folder, split)
        shards = [s for s in manifest["shards"] if sum(s["rows"].get(split, []))]
        _check_freeze(shards, folder, split, freeze_at)
        self._blocks = [(s, b) for s in shards for b, n in enumerate(s["rows"][split]) if n]
        self.block_rows = np.array([s["rows"][split][b] for s, b in self._blocks], "int64")
        self._sizes = stored.packed_sizes()
        self.histories = [name for name in schema.packed_inputs() if name in _histories(manifest)]
        from_log = {*self.histories}
        for history in map(schema.history, self.histories):
            from_log |= {f"{history.name}_{quantity.key}" for quantity in history.of_row}
        self._inputs = {
            name: shape
            for name, (shape, _) in schema.packed_inputs().items()
            if name not in from_log
        }
        self._types = self._row_types(labels) | ({ROW: pa.int64()} if numbers else {})
        files: list[tuple[Path, dict[str, pa.DataType], list[int], str, str]] = []
        for shard in shards:
            shard_name = shard["name"]
            # Folders of before have one schema, which their shards don't tell.
            written_by = shard.get("schema", stored.fingerprint)
            path, rows = rows_file(folder, split, shard_name), shard["rows"][split]
            files.append((path, self._types, rows, _checksums(folder, shard, path), written_by))
            for name in self.histories:
                path, rows = events_file(folder, name, shard_name), shard["events"][name]
                types, checksums = self._event_types(name), _checksums(folder, shard, path)
                files.append((path, types, rows, checksums, written_by))
        with ThreadPoolExecutor() as pool:
            checks = [pool.submit(_check_file, *file) for file in files]
            for check in checks:
                check.result()

    def read(self, block: int) -> Arrays:
        """The arrays of a block.

        Returns:
            `x/{input}`, `label/{task}`, `weight/{task}`, `window/{history}` (start, end, time),
            `events/{history}` and `times/{history}`, and `number` if it is read.

        Raises:
            ValueError: The file is damaged, or an id is beyond its table.
        """
        shard, number = self._blocks[block]
        path = rows_file(self._folder, self._split, shard["name"])
        table = self._read_block(path, shard, number, list(self._types))
        arrays: Arrays = {}
        for name, shape in self._inputs.items():
            values = from_columns(name, shape, table)
            self._check_ids(path, name, values)
            arrays[f"x/{name}"] = self._translation.apply(name, values)
        for column in table.column_names:
            if column.startswith(("label/", "weight/")):
                arrays[column] = table[column].to_numpy()[:, None]
        if ROW in self._types:
            arrays[NUMBER] = table[ROW].to_numpy()
        for name in self.histories:
            arrays |= self._read_history(name, shard, number, table)
        return arrays

    def _read_block(
        self, path: Path, shard: dict[str, Any], number: int, columns: list[str]
    ) -> pa.Table:
        with _opened(path, _checksums(self._folder, shard, path)) as file:
            return file.read(columns, number)

    def _read_history(
        self, name: str, shard: dict[str, Any], number: int, rows: pa.Table
    ) -> Arrays:
        path = events_file(self._folder, name, shard["name"])
        *ids, _, _ = types = list(self._event_types(name))
        table = self._read_block(path, shard, number, types)
        columns = np.stack([table[n].to_numpy() for n in ids], axis=1)
        self._check_ids(path, name, columns)
        times, row_times = table[TIME].to_numpy(), rows[TIME].to_numpy()
        starts, ends = (rows[n].to_numpy().astype("int64") for n in window_columns(name))
        freeze = freeze_of(self._schema, name, self._freeze_at)
        if freeze is not None:
            # Of a shard that was appended, older events are in the shards before.
            since = shard.get("since")
            users, event_users = rows[USER].to_numpy(), table[USER].to_numpy()
            cut = frozen_times(row_times, users, freeze, self._schema)
            if since is not None and (cut < since).any():
                raise ValueError(
                    f"prepared rows: split `{self._split}` of {self._folder} has rows of a day "
                    f"that was appended, whose histories reach back from {shown(since)}; they "
                    f"can't be frozen at {shown(cut.min())}. Freeze later, or prepare all days "
                    "together."
                )
            length = self._schema.history(name).max_length
            starts, ends = newest_before(event_users, times, users, cut, length)
        if (starts < 0).any() or (ends < starts).any() or (ends > len(columns)).any():
            raise ValueError(
                f"{rows_file(self._folder, self._split, shard['name'])}: histories `{name}` point "
                f"beyond the {len(columns)} events of their block. Prepare the folder again."
            )
        columns = self._translation.apply(name, columns)
        window = np.stack([starts, ends, row_times], axis=1)
        return {f"window/{name}": window, f"events/{name}": columns, f"times/{name}": times}

    def _row_types(self, labels: bool) -> dict[str, pa.DataType]:
        types: dict[str, pa.DataType] = {USER: pa.int32(), TIME: pa.int64()}
        for name in self._inputs:
            types |= input_types(name, *self._schema.packed_inputs()[name])
        for name in self.histories:
            types |= dict.fromkeys(window_columns(name), pa.int32())
        for kind in ("label", "weight") if labels else ():
            types |= {f"{kind}/{task}": pa.float32() for task in self._schema.task_names}
        return types

    def _event_types(self, name: str) -> dict[str, pa.DataType]:
        width = self._schema.packed_inputs()[name][0][1]
        types = dict.fromkeys(event_columns(width), pa.int32())
        return {**types, USER: pa.int32(), TIME: pa.int64()}

    def _check_ids(self, path: Path, name: str, values: np.ndarray) -> None:
        sizes = self._sizes.get(name)
        if sizes is None or not len(values):
            return
        flat = values.reshape(-1, len(sizes))
        bad = (flat.max(axis=0) >= sizes) | (flat.min(axis=0) < 0)
        if bad.any():
            column = int(np.flatnonzero(bad)[0])
            found = flat[:, column]
            worst = found.max() if found.max() >= sizes[column] else found.min()
            raise ValueError(
                f"{path}: id {worst} in column {column} of `{name}`, whose table has "
                f"{sizes[column]} rows. The shard is of another encoder or damaged: prepare the "
                "folder again."
            )


def read_manifest(folder: Path) -> dict[str, Any]:
    """What is in a prepared folder.

    Raises:
        ValueError: There is no such folder, or it is of another format.
    """
    what = "prepared rows"
    tidy(folder)
    if not folder.is_dir():
        raise ValueError(f"{what}: there is no folder {folder}; expected one that `prepare` wrote.")
    if not (folder / MANIFEST).is_file():
        raise ValueError(
            f"{what}: {folder} has no {MANIFEST}; expected a folder that `prepare` finished."
        )
    manifest = read_json(folder / MANIFEST, what)
    if manifest.get("format") != FORMAT:
        raise ValueError(
            f"{what}: {folder} has format {manifest.get('format')!r}; expected {FORMAT}. Prepare "
            "it again with this version."
        )
    return manifest


def read_row_columns(
    folder: Path, manifest: dict[str, Any], split: str, starts: tuple[str, ...]
) -> pa.Table:
    """Columns whose names start so, of a split's rows in the order in which they are read.

    Raises:
        ValueError: A file is missing or damaged.
    """
    tables: list[pa.Table] = []
    for shard in manifest["shards"]:
        if sum(shard["rows"].get(split, [])):
            path = rows_file(folder, split, shard["name"])
            with _opened(path, _checksums(folder, shard, path)) as file:
                names = [name for name in file.schema.names if name.startswith(starts)]
                tables.append(file.read(names).replace_schema_metadata(None))
    return pa.concat_tables(tables, promote_options="permissive")


def _stored(
    manifest: dict[str, Any], folder: Path, encoder: FeatureEncoder
) -> tuple[FeatureSchema, Translation]:
    """The schema of the ids that the files hold, and how they become those of an encoder."""
    what, schema = "prepared rows", encoder.schema
    if "values" in manifest:
        values = FeatureEncoder.load(folder / VALUES)
        if values.schema.fingerprint != manifest["values"]:
            raise ValueError(
                f"{what}: {folder / VALUES} is of another schema (fingerprint "
                f"{values.schema.fingerprint}; expected {manifest['values']}). Copy the folder "
                "again, or prepare it again."
            )
        return values.schema, Translation.of(values, encoder, f"{what}: {folder}")
    if manifest["schema"] != schema.fingerprint:
        raise ValueError(
            f"{what}: {folder} is of another schema (fingerprint {manifest['schema']}; expected "
            f"{schema.fingerprint}). Use the encoder in {folder / 'encoder'}, or prepare it again."
        )
    return schema, Translation({})


def _check_freeze(
    shards: list[dict[str, Any]], folder: Path, split: str, freeze_at: FreezeAt | None
) -> None:
    """A ValueError where a user's first row may be in another shard."""
    frozen = [freeze_at] if not isinstance(freeze_at, Mapping) else list(freeze_at.values())
    days = {shard.get("day", 0) for shard in shards}
    if len(days) > 1 and any(isinstance(f, str) and f == "first_row" for f in frozen):
        raise ValueError(
            f"prepared rows: split `{split}` of {folder} has rows of {len(days)} days that were "
            'appended one after another, so that freeze_at="first_row" is not known. Give a time, '
            "or a split of one day."
        )


def _check_split(manifest: dict[str, Any], folder: Path, split: str) -> None:
    what = "prepared rows"
    check_known(split, manifest["rows"], f"{what}: {folder} has no split `{split}`.")
    if manifest["rows"][split] == 0:
        raise ValueError(f"{what}: split `{split}` of {folder} has no row.")


def _histories(manifest: dict[str, Any]) -> set[str]:
    """Histories that are pointers; rows carry all others themselves."""
    return {name for shard in manifest["shards"] for name in shard["events"]}


def _check_file(
    path: Path, types: dict[str, pa.DataType], rows: list[int], checksums: str, fingerprint: str
) -> None:
    if not path.is_file():
        raise ValueError(f"prepared rows: {path} is missing. Copy it again, or prepare again.")
    with _opened(path, checksums) as file:
        schema, metadata = file.schema, file.metadata
    for name, kind in types.items():
        found = schema.field(name).type if name in schema.names else None
        if found is None or not _same(found, kind):
            raise ValueError(
                f"prepared rows: {path}: column `{name}` is "
                f"{'missing' if found is None else f'of type {found}'}; expected {kind}. The "
                "shard is of another schema: prepare the folder again."
            )
    described: dict[bytes, bytes] = schema.metadata or {}
    if described.get(b"fingerprint") != fingerprint.encode():
        raise ValueError(
            f"prepared rows: {path} is of another schema than the folder's. Prepare it again."
        )
    found_rows = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    if found_rows != rows:
        raise ValueError(
            f"prepared rows: {path} has {sum(found_rows)} rows in {len(found_rows)} blocks; "
            f"{MANIFEST} says {sum(rows)} in {len(rows)}. Prepare the folder again."
        )


def _same(found: pa.DataType, kind: pa.DataType) -> bool:
    """Whether types agree; Parquet renames the values of a list."""
    if not pa.types.is_fixed_size_list(kind):
        return found.equals(kind)
    return pa.types.is_fixed_size_list(found) and (found.value_type, found.list_size) == (
        kind.value_type,
        kind.list_size,
    )


def _checksums(folder: Path, shard: dict[str, Any], file: Path) -> str:
    """Checksums of a file of a shard when it was written."""
    return shard["checksums"][str(file.relative_to(folder))]


@contextlib.contextmanager
def _opened(path: Path, checksums: str) -> Generator[CheckedParquet, None, None]:
    try:
        with CheckedParquet(path, checksums) as file:
            yield file
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ValueError(
            f"prepared rows: {path} can't be read as Parquet ({error}). It is empty, cut short or "
            "damaged: copy it again, or prepare again."
        ) from error
