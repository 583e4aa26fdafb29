"""Move old rows to the archive, a batch at a time, so that trading does not notice.

A batch is one file and one transaction. Rows are read, and their file is written and synced to
disk, which takes seconds on a slow disk, so nothing is locked meanwhile. Then one transaction reads
them once more, locked: if they are what the file holds, the manifest lists it, the rows are
deleted, and that is committed. If the process dies before the commit, all rows are still there, and
the manifest does not list the file: it is never read. After the commit they are in the file only.
docs/adr/0054.
"""

import socket
import zlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import structlog
from django.db import transaction

from common.archive import parquet_files
from common.archive.column_types import Column, columns_of
from common.archive.kinds import ArchiveKind
from common.archive.parquet_files import WrittenFile
from common.clocks import machine_time
from common.db.sql import Query, array, database_now, rows
from common.failpoints import failpoint
from common.models import ArchiveFile

log = structlog.get_logger(__name__)
ROWS_AT_ONCE = 5_000
REST = 4  # after a batch, times what it took: at most a fifth of one session's time is used
_LOCK = 0x46434130  # namespace of the advisory locks


class ArchiveBusyError(Exception):
    """Another process is archiving the same kind of rows."""


class LockRow(NamedTuple):
    """Whether this transaction has the lock of a kind."""

    is_locked: bool


class WindowRow(NamedTuple):
    """The next rows by id. has_old: some of them are older than the policy allows."""

    last_id: int | None
    has_old: bool | None


class RemovedRow(NamedTuple):
    """How many rows were deleted."""

    removed: int


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step did. last_id: where the next one begins; None: there is nothing left."""

    last_id: int | None
    rows: int = 0


LOCK = Query(LockRow, "SELECT pg_try_advisory_xact_lock(%s::int, %s::int) AS is_locked")
# By primary key and never further than one window without an old row: ids rise with time, so the
# rows behind it are newer. Rows that stay are read again each time, which takes little.
WINDOW = """
SELECT max(id) AS last_id, bool_or(is_old) AS has_old FROM (
  SELECT r.id, {time} < %(cutoff)s AS is_old FROM {table} r
  WHERE r.id > %(after)s ORDER BY r.id LIMIT %(most)s) w
"""
READ = """
SELECT {columns} FROM {table} r
WHERE r.id > %(after)s AND r.id <= %(last)s AND {time} < %(cutoff)s AND ({removable})
ORDER BY r.id {lock}
"""
LOCK_ROWS = "FOR UPDATE OF r SKIP LOCKED"


def archive_kind(
    kind: ArchiveKind,
    folder: Path,
    *,
    pause: Callable[[float], None],
    is_over: Callable[[], bool] = lambda: False,
    rows_at_once: int = ROWS_AT_ONCE,
) -> int:
    """Archive what is older than the kind's policy allows; return how many rows.

    pause: called after each batch with the seconds to rest. is_over: ends it after a batch. Raises
    ArchiveBusyError, UnknownTypeError, OSError and database errors: what was archived before stays
    archived.
    """
    if kind.kept_for is None:
        return 0
    cutoff, after, done = database_now() - kind.kept_for, 0, 0
    while not is_over():
        began = machine_time()
        batch = archive_batch(kind, folder, after=after, cutoff=cutoff, rows_at_once=rows_at_once)
        if batch.rows:
            failpoint("archive.committed")
        if batch.last_id is None:
            break
        after, done = batch.last_id, done + batch.rows
        pause(REST * (machine_time() - began))
    return done


def archive_batch(
    kind: ArchiveKind, folder: Path, *, after: int, cutoff: datetime, rows_at_once: int
) -> Batch:
    """Archive what may go of the next rows behind the id `after`.

    Rows that change while their file is written stay, all of the batch, for the next run.
    """
    parquet_files.import_library()
    columns = columns_of(kind.table, kind.with_it)
    values = {"after": after, "cutoff": cutoff, "most": rows_at_once}
    with transaction.atomic(durable=True):
        _lock(kind)
        window = WINDOW.format(time=kind.time_sql, table=kind.table)
        (found,) = rows(Query(WindowRow, window), values)
        if not found.has_old:
            return Batch(None)
        values["last"] = found.last_id
        records = _read(kind, columns, values, lock="")
    if not records:
        return Batch(found.last_id)
    file = parquet_files.write(folder, kind.name, columns, records)
    with ExitStack() as undo:
        undo.callback(parquet_files.remove, folder / file.path)
        failpoint("archive.written")
        with transaction.atomic(durable=True):
            _lock(kind)
            locked = _read(kind, columns, values, lock=LOCK_ROWS if kind.locks_rows else "")
            if locked != records:
                log.info("rows changed while they were archived", kind=kind.name, path=file.path)
                return Batch(found.last_id)
            _replace(kind, file, records)
            undo.pop_all()  # a commit that fails may have happened: from here on the file stays
    return Batch(found.last_id, len(records))


def lock_key(kind: ArchiveKind) -> tuple[int, int]:
    """Return the advisory lock that a transaction holds while it archives this kind."""
    return _LOCK, zlib.crc32(kind.name.encode()) - 2**31


def _lock(kind: ArchiveKind) -> None:
    """Hold the kind until the transaction ends. Raises ArchiveBusyError if another one does."""
    if not rows(LOCK, lock_key(kind))[0].is_locked:
        raise ArchiveBusyError(kind.name)


def _read(
    kind: ArchiveKind, columns: Sequence[Column], values: dict[str, Any], *, lock: str
) -> list[Any]:
    """Return the rows of a window that may go. lock: LOCK_ROWS leaves out what others hold."""
    sql = READ.format(
        columns=", ".join(column.selected for column in columns),
        table=kind.table,
        time=kind.time_sql,
        removable=kind.removable,
        lock=lock,
    )
    return list(rows(sql, values))


def _replace(kind: ArchiveKind, file: WrittenFile, records: Sequence[Any]) -> None:
    """List the file and delete its rows; the caller commits."""
    listed = _list(kind, file, records)
    ids = array(record.id for record in records)
    (gone,) = rows(Query(RemovedRow, kind.remove_sql), {"file": listed.pk, "ids": ids})
    if gone.removed != len(records):
        raise RuntimeError(f"{gone.removed} of {len(records)} rows of {kind.name} removed")
    failpoint("archive.removed")


def _list(kind: ArchiveKind, file: WrittenFile, records: Sequence[Any]) -> ArchiveFile:
    """Insert the file's row in the manifest."""
    times = [
        next(at for name in kind.times if (at := getattr(record, name)) is not None)
        for record in records
    ]
    return ArchiveFile.objects.create(
        kind=kind.name,
        path=file.path,
        sha256=file.sha256,
        size=file.size,
        host=socket.gethostname()[:100],
        rows=len(records),
        first_id=records[0].id,
        last_id=records[-1].id,
        first_at=min(times),
        last_at=max(times),
    )
