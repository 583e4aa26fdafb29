"""Read rows back from the archive."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from common.archive import parquet_files
from common.archive.kinds import ArchiveKind
from common.models import ArchiveFile


def read_archive(
    kind: ArchiveKind,
    folder: Path,
    *,
    equal: Mapping[str, Any] | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield the archived rows of a kind as the database returned them, the oldest first.

    Only files that the manifest lists are read: another one was left by a process that died, and
    its rows are still in the database. equal: values by column. since, until: the half-open time
    [since, until). Raises ArchiveDamagedError.
    """
    files = ArchiveFile.objects.filter(kind=kind.name)
    if equal and (number := equal.get("id")) is not None:
        files = files.filter(first_id__lte=number, last_id__gte=number)
    if since is not None:
        files = files.filter(last_at__gte=since)
    if until is not None:
        files = files.filter(first_at__lt=until)
    for file in files.order_by("first_id", "id").iterator():
        for row in parquet_files.read(folder, file.path, file.sha256, equal or {}):
            if _is_between(_time_of(kind, row), since, until):
                yield row


def _time_of(kind: ArchiveKind, row: Mapping[str, Any]) -> datetime:
    found: datetime = next(at for name in kind.times if (at := row.get(name)) is not None)
    return found


def _is_between(at: datetime, since: datetime | None, until: datetime | None) -> bool:
    return (since is None or at >= since) and (until is None or at < until)
