"""Parquet files: written so that they survive a power loss, and read only if they are unchanged.

pyarrow is imported when a function is called, or by `import_library`. It takes 50 MB of memory, and
is used by commands that end after their work.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

from common.archive.column_types import Column

TYPE_MARK = b"postgresql_type"
_SIMPLE = {
    "bigint": "int64", "integer": "int32", "smallint": "int16", "boolean": "bool_",
    "double precision": "float64", "bytea": "binary", "date": "date32",
}  # fmt: skip


class ArchiveDamagedError(Exception):
    """A file of the archive is missing, or is not what was written."""


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file that is on disk. path: from the archive's folder."""

    path: str
    sha256: str
    size: int


def is_available() -> bool:
    """Whether pyarrow is installed; it is not imported."""
    return find_spec("pyarrow") is not None


def import_library() -> None:
    """Import what `write` needs, before a transaction that it must not hold up: on a busy machine
    that takes seconds."""
    import pyarrow.parquet  # noqa: F401


def write(
    folder: Path, kind: str, columns: Sequence[Column], records: Sequence[Any]
) -> WrittenFile:
    """Write rows to a new file, and return when it is on disk under its name.

    The name is temporary until then, so that a file with its own name is complete. records: named
    tuples with an `id`, in its order. Raises OSError.
    """
    part = records[-1].id // 10_000_000  # so that no folder has too many files
    name = f"{kind}-{records[0].id}-{records[-1].id}-{uuid4().hex[:8]}.parquet"
    target = folder / kind / f"{part:04}" / name
    _make_folders(target.parent)
    temporary = target.with_suffix(".tmp")
    with ExitStack() as undo:
        undo.callback(remove, temporary)
        _write(temporary, columns, records)
        data = temporary.read_bytes()
        temporary.rename(target)
        undo.pop_all()
    _sync_folder(target.parent)
    path = target.relative_to(folder).as_posix()
    return WrittenFile(path, hashlib.sha256(data).hexdigest(), len(data))


def remove(path: Path) -> None:
    """Remove a file of a batch that failed; if that fails too, it stays and is not listed."""
    with suppress(OSError):
        path.unlink()


def read(folder: Path, path: str, sha256: str, equal: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of a file with the values of `equal`, as the database returned them.

    A file without one of these columns has no such row. Raises ArchiveDamagedError.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table = pq.ParquetFile(pa.BufferReader(checked(folder, path, sha256))).read()
    for name, value in equal.items():
        if name not in table.column_names:
            return []
        wanted = pa.scalar(value, type=table.schema.field(name).type)
        table = table.filter(pc.equal(table[name], wanted))
    columns = [
        Column.read(field.name, (field.metadata or {})[TYPE_MARK].decode())
        for field in table.schema
    ]
    return [
        {column.name: column.restore(record[column.name]) for column in columns}
        for record in table.to_pylist()
    ]


def checked(folder: Path, path: str, sha256: str) -> bytes:
    """Return the content of a file. Raises ArchiveDamagedError if it is not what was written."""
    try:
        data = (folder / path).read_bytes()
    except OSError as error:
        raise ArchiveDamagedError(f"{path} cannot be read: {error.strerror}") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ArchiveDamagedError(f"{path} was changed after it was written")
    return data


def _write(target: Path, columns: Sequence[Column], records: Sequence[Any]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    fields = [
        pa.field(column.name, _arrow_type(column), metadata={TYPE_MARK: column.written_type})
        for column in columns
    ]
    values = zip(*records, strict=True)
    arrays = [
        pa.array(list(column), type=field.type)
        for field, column in zip(fields, values, strict=True)
    ]
    table = pa.Table.from_arrays(arrays, schema=pa.schema(fields))
    with target.open("xb") as file:
        pq.write_table(table, file, compression="zstd")
        file.flush()
        os.fsync(file.fileno())


def _arrow_type(column: Column) -> Any:
    import pyarrow as pa

    if column.type == "decimal":
        found = pa.decimal128(column.precision, column.scale)
    elif column.type == "timestamp with time zone":
        found = pa.timestamp("us", tz="UTC")
    elif column.type == "time without time zone":
        found = pa.time64("us")
    else:
        found = getattr(pa, _SIMPLE.get(column.type, "string"))()
    return pa.list_(found) if column.is_list else found


def _make_folders(folder: Path) -> None:
    """Create a folder; its name is on disk, too."""
    if not folder.exists():
        _make_folders(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # folders cannot be opened there
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
