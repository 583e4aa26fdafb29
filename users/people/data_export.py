"""A user's own data as a zip archive, with each table as JSON and as CSV. Made by a worker.

The row of the request is the job: a run that dies is begun again when its claim ends. Each app
registers its tables; columns with secrets are left out. The archive is in the database, since web
process and worker may run on different machines, and is deleted after KEPT_FOR.
"""

import csv
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import structlog
from django.apps import apps
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models, transaction
from django.utils import timezone

from common.errors import ConflictError
from common.reason_codes import Code
from common.web.csv_text import inert
from users.models import DataExport, DataExportPart, User
from users.tenancy import on_behalf_of

log = structlog.get_logger(__name__)
KEPT_FOR, CLAIM, AGAIN_AFTER = timedelta(days=7), timedelta(minutes=5), timedelta(hours=1)
ROWS_AT_ONCE, PART_BYTES, MAX_TRIES = 2_000, 1_000_000, 3
SECRET_PARTS = ("secret", "password", "sealed", "hash", "signing_key", "credentials", "digest")
State = DataExport.State
ANY_TO_DO = f"""
SELECT EXISTS (SELECT FROM users_dataexport WHERE expires_at < statement_timestamp()
  OR state = '{State.WAITING.value}'
  OR state = '{State.RUNNING.value}' AND claimed_until < statement_timestamp())
"""

Rows = Callable[[User], Iterable[Mapping[str, Any]]]
"""What yields a user's rows."""
Shown = Callable[[bytes], bytes]
"""What returns the text of a binary column as its owner may see it, in UTF-8."""


@dataclass(frozen=True, slots=True)
class ExportedTable:
    """A table of the archive, of a model or of a function that yields rows.

    model: its label. owner: the look-up of the owner's id. texts: binary columns that are text, and
    how each is shown. not_secret: columns whose names only sound like those of secrets.
    """

    name: str
    model: str = ""
    owner: str = ""
    texts: Mapping[str, Shown] = field(default_factory=dict)
    not_secret: frozenset[str] = frozenset()
    columns: tuple[str, ...] = ()
    read: Rows | None = None


_tables: dict[str, ExportedTable] = {}


def register_export(
    name: str, model: str, owner: str, *, texts: Mapping[str, Shown] | None = None,
    not_secret: Iterable[str] = (),
) -> None:  # fmt: skip
    """Add a model's table to everybody's archive. Call it when the app is ready.

    texts, not_secret: as in `ExportedTable`.
    """
    _tables[name] = ExportedTable(name, model, owner, texts or {}, frozenset(not_secret))


def register_rows(name: str, columns: Iterable[str], read: Rows) -> None:
    """Add rows to everybody's archive. read: yields them with these columns, few in memory.

    It must return the user's own rows only, without secrets. It is called outside a transaction.
    """
    _tables[name] = ExportedTable(name, columns=tuple(columns), read=read)


def request_export(user: User) -> DataExport:
    """Return a new request, which a worker takes up; an earlier archive is replaced.

    Raises ConflictError EXPORT_LIMIT if one is being made, or was asked for within an hour.
    """
    with on_behalf_of(user):
        User.objects.select_for_update(no_key=True).get(pk=user.pk)  # two tabs ask for one
        mine = DataExport.objects.filter(user=user)
        recent = mine.filter(requested_at__gt=timezone.now() - AGAIN_AFTER)
        if recent.exclude(state=State.FAILED).exists():
            raise ConflictError(Code.EXPORT_LIMIT)
        mine.delete()
        return DataExport.objects.create(user=user, tables_total=len(_tables))


def export_of(user: User) -> DataExport | None:
    """Return the user's last request, unless its archive was deleted."""
    with on_behalf_of(user):
        return DataExport.objects.filter(user=user).order_by("-pk").first()


def archive_parts(user: User, export_id: int) -> Iterator[bytes]:
    """Yield the parts of the user's own archive; nothing of another's, or after its end."""
    number = 0
    while True:
        with on_behalf_of(user):
            part = DataExportPart.objects.filter(
                export_id=export_id,
                export__user=user,
                export__state=State.READY,
                export__expires_at__gt=timezone.now(),
                number=number,
            ).first()
        if part is None:
            return
        yield bytes(part.content)
        number += 1


def build_next() -> bool:
    """Make the archive of the oldest request. Returns False if there is none.

    Must not be called inside a transaction, since it may take minutes.
    """
    DataExport.objects.filter(expires_at__lt=timezone.now()).delete()
    export = _claim()
    if export is None:
        return False
    try:
        with TemporaryDirectory(prefix="fillcast-export-") as folder:
            archive = _write_archive(export, Path(folder))
            _store(export, archive)
    except Exception:  # any: whatever fails, the next try starts over
        log.exception("data_export_failed", export_id=export.pk)
        final = State.FAILED if export.tries >= MAX_TRIES else State.RUNNING
        DataExport.objects.filter(pk=export.pk, tries=export.tries).update(state=final)
    return True


@transaction.atomic
def _claim() -> DataExport | None:
    now = timezone.now()
    due = DataExport.objects.select_for_update(skip_locked=True).filter(
        models.Q(state=State.WAITING) | models.Q(state=State.RUNNING, claimed_until__lt=now)
    )
    export = due.order_by("pk").first()
    if export is None:
        return None
    if export.tries >= MAX_TRIES:  # its process was killed each time
        export.state = State.FAILED
        export.save(update_fields=["state"])
        return None
    export.state, export.claimed_until = State.RUNNING, now + CLAIM
    export.tries += 1
    export.tables_done = export.rows_done = 0
    export.save()
    return export


def _write_archive(export: DataExport, folder: Path) -> Path:
    archive = folder / "data.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("README.txt", _readme(export))
        for done, table in enumerate(_tables.values(), start=1):
            for path in _write_table(export, table, folder):
                packed.write(path, path.name)
                path.unlink()
            _report(export, tables_done=done)
    return archive


def _write_table(export: DataExport, table: ExportedTable, folder: Path) -> list[Path]:
    """Write one table as JSON and as CSV."""
    paths = [folder / f"{table.name}.json", folder / f"{table.name}.csv"]
    columns, rows = _read(export, table)
    with ExitStack() as files:
        as_json, as_csv = (
            files.enter_context(path.open("w", encoding="utf-8", newline="")) for path in paths
        )
        writer = csv.writer(as_csv)
        writer.writerow(columns)
        as_json.write("[")
        for number, row in enumerate(rows):
            as_json.write(",\n" if number else "\n")
            as_json.write(json.dumps(row, cls=DjangoJSONEncoder, ensure_ascii=False))
            writer.writerow([_cell(value) for value in row.values()])
        as_json.write("\n]\n")
    return paths


def _read(
    export: DataExport, table: ExportedTable
) -> tuple[list[str], Iterator[Mapping[str, Any]]]:
    """Return a table's columns and its rows, few of which are in memory."""
    if table.read is not None:
        return list(table.columns), _counted(export, table.columns, table.read(export.user))
    model: Any = apps.get_model(table.model)
    fields = model._meta.concrete_fields
    columns = [one.attname for one in fields if _is_shown(one, table)]
    return columns, _rows(export, model, table, columns)


def _counted(
    export: DataExport, columns: Iterable[str], rows: Iterable[Mapping[str, Any]]
) -> Iterator[Mapping[str, Any]]:
    """Yield rows that a function reads, with these columns, and report how many there are."""
    for number, row in enumerate(rows, start=1):
        yield {name: row[name] for name in columns}
        if number % ROWS_AT_ONCE == 0:
            _report(export, rows_done=models.F("rows_done") + ROWS_AT_ONCE)


def _rows(
    export: DataExport, model: Any, table: ExportedTable, columns: list[str]
) -> Iterator[Mapping[str, Any]]:
    """Yield the owner's rows, a few at a time, each group in a transaction of its own."""
    key, last = model._meta.pk.attname, None
    while True:
        found = model._default_manager.filter(**{table.owner: export.user_id}).order_by(key)
        if last is not None:
            found = found.filter(**{f"{key}__gt": last})
        group = list(found.values(*{key: None, **dict.fromkeys(columns)})[:ROWS_AT_ONCE])
        for row in group:
            yield {name: _value(row[name], table.texts.get(name)) for name in columns}
        if len(group) < ROWS_AT_ONCE:
            return
        last = group[-1][key]
        _report(export, rows_done=models.F("rows_done") + len(group))


def _report(export: DataExport, **progress: Any) -> None:
    """Store how far it is, and extend the claim. Raises if another run has taken over."""
    mine = DataExport.objects.filter(pk=export.pk, tries=export.tries, state=State.RUNNING)
    if mine.update(claimed_until=timezone.now() + CLAIM, **progress) != 1:
        raise RuntimeError("the request was deleted, or another run has taken it over")


@transaction.atomic
def _store(export: DataExport, archive: Path) -> None:
    mine = DataExport.objects.select_for_update().filter(
        pk=export.pk, tries=export.tries, state=State.RUNNING
    )
    if not mine.exists():
        return  # deleted meanwhile, or another run has taken over
    with archive.open("rb") as packed:
        for number, content in enumerate(iter(lambda: packed.read(PART_BYTES), b"")):
            DataExportPart.objects.create(export=export, number=number, content=content)
    now = timezone.now()
    mine.update(
        state=State.READY,
        ready_at=now,
        expires_at=now + KEPT_FOR,
        size=archive.stat().st_size,
    )


def _is_shown(column: Any, table: ExportedTable) -> bool:
    """Whether a column is exported: no secrets, and nothing that is not text."""
    name = column.attname
    if name in table.texts or name in table.not_secret:
        return True
    is_secret = any(part in name for part in SECRET_PARTS)
    return not is_secret and not isinstance(column, models.BinaryField)


def _value(value: Any, shown: Shown | None) -> Any:
    if shown is None or value is None:
        return value
    return shown(bytes(value)).decode("utf-8", "replace")


def _cell(value: Any) -> Any:
    """Return a value for CSV: a text that a spreadsheet would run as a formula gets a quote."""
    if isinstance(value, (dict, list)):
        return inert(json.dumps(value, cls=DjangoJSONEncoder, ensure_ascii=False))
    return inert(value) if isinstance(value, str) else value


def _readme(export: DataExport) -> str:
    return (
        f"Your data on Fillcast, read on {timezone.now():%Y-%m-%d %H:%M} UTC, with each table as"
        " JSON and as CSV.\nTimes are in UTC. Passwords, keys and credentials are not included.\n"
        "Lines of the order log and alerts that were removed after their time are not included.\n"
        "In CSV, a text that a spreadsheet would run as a formula begins with a quote.\n"
        f"Request {export.pk}.\n"
    )
