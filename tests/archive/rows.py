"""Old rows for the archive, and all that is left of them."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from django.db import connection

from common.archive.batches import archive_kind
from common.archive.kinds import ArchiveKind
from common.archive.reading import read_archive
from common.db.sql import rows
from common.operational.source import VARIABLE, with_settings
from config.retention import KINDS
from execution.models import ExecutionLog

OLD = timedelta(days=100)


def archive(kind: str | ArchiveKind, folder: Path, *, rows_at_once: int = 100) -> int:
    """Archive one kind without a pause; return how many rows."""
    found = KINDS[kind] if isinstance(kind, str) else kind
    return archive_kind(found, folder, pause=lambda _: None, rows_at_once=rows_at_once)


def archived(kind: str | ArchiveKind, folder: Path, **filters: Any) -> list[dict[str, Any]]:
    found = KINDS[kind] if isinstance(kind, str) else kind
    return list(read_archive(found, folder, **filters))


def table(name: str) -> list[dict[str, Any]]:
    """Return the rows of a table as the driver returns them, by id."""
    return [row._asdict() for row in rows(f"SELECT * FROM {name} ORDER BY id")]


def old_lines(number: int, **fields: Any) -> list[int]:
    """Write lines of the log about no order, and return their ids."""
    lines = [ExecutionLog.objects.create(code="KILL_SWITCH", **fields).pk for _ in range(number)]
    make_old("execution_executionlog", "at")
    return lines


def make_old(name: str, *columns: str, by: timedelta = OLD) -> None:
    """Move the times of all rows of a table into the past."""
    moved = ", ".join(f"{column} = {column} - make_interval(secs => %s)" for column in columns)
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {name} SET {moved}", [by.total_seconds()] * len(columns))


def environment(folder: Path) -> dict[str, str]:
    """Return the settings of a worker's process with the test's database, and make the folder."""
    folder.mkdir(exist_ok=True)  # as an operator does who names one
    ours = connection.settings_dict
    login = f"{ours['USER']}:{ours['PASSWORD']}@{ours['HOST']}:{ours['PORT']}"
    return {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "DATABASE_URL": f"postgresql://{login}/{ours['NAME']}",
        "FILLCAST_DB_ROLE": "trade",
        "FILLCAST_SECRET_KEY": "k" * 40,
        VARIABLE: with_settings("", {"retention.archive_folder": str(folder)}),
    }


def line_ids(found: list[dict[str, Any]]) -> list[int]:
    return [row["id"] for row in found]
