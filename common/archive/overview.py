"""What the archive has, and what would go next."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from django.db.models import Count, Max, Sum

from common.archive import parquet_files
from common.archive.batches import WINDOW, WindowRow
from common.archive.kinds import ArchiveKind
from common.archive.parquet_files import ArchiveDamagedError
from common.db.sql import Query, database_now, rows
from common.models import ArchiveFile

COUNTED_AT_ONCE = 50_000


class CountRow(NamedTuple):
    """How many rows."""

    number: int


class TableRow(NamedTuple):
    """What is in a table. estimate: as PostgreSQL's statistics have it."""

    estimate: int
    oldest: datetime | None


@dataclass(frozen=True, slots=True)
class KindOverview:
    """What is archived of a kind, and what its table has."""

    files: int
    rows: int
    size: int
    written_at: datetime | None
    in_table: int
    oldest: datetime | None


TABLE = """
SELECT greatest(0, (SELECT reltuples FROM pg_class WHERE oid = '{table}'::regclass))::bigint
  AS estimate, (SELECT {time} FROM {table} r ORDER BY r.id LIMIT 1) AS oldest
"""
COUNT = """
SELECT count(*) AS number FROM {table} r
WHERE r.id > %(after)s AND r.id <= %(last)s AND {time} < %(cutoff)s AND ({removable})
"""


def overview(kind: ArchiveKind) -> KindOverview:
    """Count what the manifest lists of a kind."""
    counted = ArchiveFile.objects.filter(kind=kind.name).aggregate(
        files=Count("id"), rows=Sum("rows"), size=Sum("size"), at=Max("written_at")
    )
    (table,) = rows(Query(TableRow, TABLE.format(table=kind.table, time=kind.time_sql)))
    return KindOverview(
        counted["files"], counted["rows"] or 0, counted["size"] or 0, counted["at"],
        table.estimate, table.oldest,
    )  # fmt: skip


def count_removable(kind: ArchiveKind) -> int:
    """Return how many rows a run would archive now; it only reads."""
    if kind.kept_for is None:
        return 0
    cutoff, after, number = database_now() - kind.kept_for, 0, 0
    parts = {"table": kind.table, "time": kind.time_sql}
    while True:
        values = {"after": after, "cutoff": cutoff, "most": COUNTED_AT_ONCE}
        (window,) = rows(Query(WindowRow, WINDOW.format(**parts)), values)
        if window.last_id is None or not window.has_old:
            return number
        count = COUNT.format(**parts, removable=kind.removable)
        number += rows(Query(CountRow, count), {**values, "last": window.last_id})[0].number
        after = window.last_id


def has_archived(kind: str, *, since: datetime) -> bool:
    """Whether rows of a kind from this time or later are archived."""
    return ArchiveFile.objects.filter(kind=kind, last_at__gte=since).exists()


def damaged(folder: Path, kinds: Iterable[ArchiveKind]) -> Iterator[str]:
    """Yield a sentence for each listed file that is missing or was changed."""
    names = [kind.name for kind in kinds]
    for file in ArchiveFile.objects.filter(kind__in=names).order_by("id").iterator():
        try:
            parquet_files.checked(folder, file.path, file.sha256)
        except ArchiveDamagedError as error:
            yield f"{error} (written on {file.host})."


def unlisted(folder: Path) -> list[str]:
    """Return the files that the manifest does not list: a process died before its commit, or the
    database was restored to an earlier state. Their rows are in the database."""
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*.parquet")}
    found |= {path.relative_to(folder).as_posix() for path in folder.rglob("*.tmp")}
    return sorted(found - set(ArchiveFile.objects.values_list("path", flat=True)))
