"""Detect a database that has lost its newest rows, by a high-water mark kept outside of it.

Trading processes periodically take the next value of a sequence. They keep the highest one, with
the server's timeline and the epoch, in memory, in a file below FILLCAST_VAR and in Redis. If the
database's value is lower than that, or its timeline has changed, it may have lost rows. Then a new
recovery epoch is opened before anything else is claimed.

Only a high-water mark of the same lineage and epoch counts. A missing one proves nothing on the
server on which the database was checked before: an emptied Redis or a moved folder raise no alarm.
Another server whose value is not lower raises none either: the database was moved while everything
was stopped. But on another server without any mark it may be a dump that was restored after
everything else was lost, with the containers for example: then the epoch is opened, too.
"""

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import structlog
from django.conf import settings
from django.core.cache import cache
from django.db import DatabaseError, connection, transaction
from django.db.backends.signals import connection_created
from redis.exceptions import RedisError

from common.db.sql import exchange, run
from connections.models import Epoch
from connections.selectors import CURRENT_EPOCH_SQL, RECORD_CLUSTER
from execution.base.high_water_mark import (
    MARK_SEQUENCE,
    TIMELINE_SQL,
    DataLoss,
    HighWaterMark,
    find_loss,
    newer,
)
from execution.disaster_recovery.epochs import current_epoch, open_epoch

log = structlog.get_logger(__name__)
CHECK_SECONDS = 1.0
NEW_SECONDS = 0.9 * CHECK_SECONDS
FILE = "high_water_mark.json"


# ---- read from the database --------------------------------------------------------------------
# Only of a server that has what was just read: a pooler may have gone on to another one.
NEXT_MARK = f"SELECT nextval('{MARK_SEQUENCE}') AS mark FROM {MARK_SEQUENCE} WHERE last_value >= %s"
_SERVER = f"""(SELECT system_identifier::text FROM pg_control_system()) AS cluster,
  {TIMELINE_SQL} AS timeline"""


def _read_sql(server: str) -> str:
    """Return the statement for mark, epoch and server. Before the first epoch it has no number."""
    return f"""
SELECT m.last_value AS mark, e.lineage, e.number, {server}
FROM {MARK_SEQUENCE} m LEFT JOIN ({CURRENT_EPOCH_SQL}) e ON true"""


READ, READ_WITHOUT_SERVER = _read_sql(_SERVER), _read_sql("'' AS cluster, '' AS timeline")


def read_database() -> HighWaterMark:
    """Return the database's present high-water mark."""
    try:
        with transaction.atomic() if connection.in_atomic_block else contextlib.nullcontext():
            row = _row(READ)
    except DatabaseError:  # not every host allows reading the server
        row = _row(READ_WITHOUT_SERVER)
    epoch = row if row.number is not None else current_epoch()
    return HighWaterMark(str(epoch.lineage), epoch.number, row.mark, row.cluster, row.timeline)


def _row(sql: str) -> Any:
    [[row]] = exchange([(sql, None)])
    return row


def advance_mark(seen: HighWaterMark) -> HighWaterMark | None:
    """Take the next sequence value. It is durable when this returns.

    None: the server that answers now lacks what was seen. No value is taken there.
    """
    [taken] = exchange([(NEXT_MARK, (seen.mark,))])
    return replace(seen, mark=taken[0].mark) if taken else None


# ---- kept outside of it ------------------------------------------------------------------------
def _path() -> Path:
    return Path(settings.FILLCAST_VAR) / FILE


def read_file() -> HighWaterMark | None:
    """Return the file's high-water mark; None if there is none or it cannot be read."""
    try:
        return _read(json.loads(_path().read_text()))
    except (OSError, ValueError, TypeError):
        return None


def read_redis(lineage: str) -> HighWaterMark | None:
    """Return Redis' high-water mark of a lineage; None if there is none, or no Redis."""
    try:
        return _read(json.loads(cache.get(_key(lineage)) or "null"))
    except Exception as error:  # any: Redis may hold anything, and unpickling it may raise anything
        log.debug("no high-water mark in Redis", error=repr(error))
        return None


_written_ns = 0  # when this process last wrote the file, by the file's own time


def _kept_by_another(seen: HighWaterMark) -> HighWaterMark | None:
    """Return the file's mark if another process of this machine raises it for the same database.

    Of the processes that share the file one takes values and writes, once in CHECK_SECONDS; if it
    ends, another one does. The file's value is durable in the database, unlike one that is only
    read there: after a crash that could be lower.
    """
    kept = read_file() if _is_written_by_another() else None
    return kept if kept and _lineage_and_epoch(kept) == _lineage_and_epoch(seen) else None


def store(mark: HighWaterMark) -> None:
    """Write a mark to the file and to Redis, unless they hold a higher one. Ignores I/O errors."""
    kept = read_file()
    text = json.dumps(asdict(mark))
    if newer(kept, mark) == mark or _is_of_another_lineage(kept, mark):
        with contextlib.suppress(OSError):
            _write_file(text)
    if newer(read_redis(mark.lineage), mark) == mark:
        with contextlib.suppress(RedisError, OSError):
            cache.set(_key(mark.lineage), text, timeout=None)


def _write_file(text: str) -> None:
    global _written_ns
    temporary = _path().with_name(f"{FILE}.{os.getpid()}.{threading.get_ident()}")
    temporary.write_text(text)
    _written_ns = temporary.stat().st_mtime_ns
    temporary.replace(_path())


def _is_written_by_another() -> bool:
    """Whether another process has written the file since this one should have."""
    with contextlib.suppress(OSError):
        written_ns = _path().stat().st_mtime_ns
        return written_ns != _written_ns and 0 <= time.time() - written_ns / 1e9 < NEW_SECONDS
    return False


def _lineage_and_epoch(mark: HighWaterMark) -> tuple[str, int]:
    return mark.lineage, mark.epoch


def _is_of_another_lineage(kept: HighWaterMark | None, mark: HighWaterMark) -> bool:
    return kept is not None and kept.lineage != mark.lineage


def _key(lineage: str) -> str:
    return f"high_water_mark:{lineage}"


def _read(fields: Any) -> HighWaterMark | None:
    return HighWaterMark(**fields) if isinstance(fields, dict) else None


# ---- checked by each process -------------------------------------------------------------------
class RestoreDetector:
    """Compares the database with the highest mark that this process knows.

    is_suspect: the process must claim nothing until a new epoch is open.
    """

    def __init__(self) -> None:
        self.known: HighWaterMark | None = None
        self.is_suspect = False
        self._has_checked = False
        self._busy = threading.local()

    def check(self) -> Epoch | None:
        """Check the database, raise its mark, and return the new epoch if rows were lost.

        Run it before anything is claimed, then periodically. Raises DatabaseError.

        It compares before it takes a value: processes that start together after a restore would
        otherwise soon take as many values as were lost.
        """
        with self._reentry_guard():
            known = self._known_before()  # first: other processes raise the mark meanwhile
            seen = read_database()
            epoch = self._open_epoch_if_lost(seen, known)
            kept = _kept_by_another(seen) if epoch is None else None
            mark = kept or advance_mark(seen if epoch is None else read_database())
            if mark is None:
                self.is_suspect = True  # the next check compares that server
                return epoch
            if seen.cluster and (epoch is not None or not self._has_checked):
                number = epoch.number if epoch else seen.epoch
                run(RECORD_CLUSTER, (seen.cluster, number, seen.cluster))
            self.known, self.is_suspect, self._has_checked = newer(mark, self.known), False, True
        if kept is None:
            store(mark)
        return epoch

    def _known_before(self) -> HighWaterMark | None:
        """Return the highest mark that this process knows; at first from the file and Redis."""
        if self._has_checked:
            return self.known
        lineage = str(current_epoch().lineage)
        return newer(_of_lineage(read_file(), lineage), read_redis(lineage))

    def _open_epoch_if_lost(self, seen: HighWaterMark, known: HighWaterMark | None) -> Epoch | None:
        loss = find_loss(seen, known) or (None if known else _find_copy(seen))
        if loss is None:
            return None
        self.is_suspect = True
        return open_epoch(
            loss.cause,
            by="detected",
            evidence=loss.evidence(),
            expected_epoch=seen.epoch,
            must_exceed=(loss.known.epoch, loss.known.mark),
        )

    def suspect(self, reason: object) -> None:
        """Let claims wait for the next `check`: a transaction met a server that is behind."""
        log.warning("the database may have lost rows; nothing is claimed", reason=str(reason))
        self.is_suspect = True

    def check_connection(self) -> None:
        """Check a new database connection; after a loss, claims wait for the next `check`."""
        if self.known is None or getattr(self._busy, "on", False):
            return
        with self._reentry_guard():
            known = self.known
            try:
                self.is_suspect = self.is_suspect or find_loss(read_database(), known) is not None
            except DatabaseError as error:
                log.warning("the database could not be recognised", error=str(error).strip())

    @contextlib.contextmanager
    def _reentry_guard(self) -> Iterator[None]:
        """Ignore the connections that a check itself opens."""
        before, self._busy.on = getattr(self._busy, "on", False), True
        try:
            yield
        finally:
            self._busy.on = before


def _find_copy(seen: HighWaterMark) -> DataLoss | None:
    """Return the loss to fear of a database on another server than before, without any mark."""
    checked_on = current_epoch().cluster
    if not checked_on or not seen.cluster or checked_on == seen.cluster:
        return None
    return DataLoss(Epoch.Cause.COPIED, replace(seen, cluster=checked_on), seen)


def _of_lineage(kept: HighWaterMark | None, lineage: str) -> HighWaterMark | None:
    return kept if kept is not None and kept.lineage == lineage else None


_detector = RestoreDetector()


def check() -> Epoch | None:
    """Check the database for this process; see `RestoreDetector.check`."""
    return _detector.check()


def is_suspect() -> bool:
    """Whether this process must claim nothing until a new epoch is open."""
    return _detector.is_suspect


def known_mark() -> HighWaterMark | None:
    """Return the mark below which a server must not be, for `execution.base.high_water_mark`.

    Take it before the transaction that is to be checked: others raise it meanwhile.
    """
    return _detector.known


def suspect(reason: object) -> None:
    """Claim nothing in this process until it has checked the database."""
    _detector.suspect(reason)


def start() -> None:
    """Check now, and from now on each new connection to the database."""
    connection_created.connect(_on_connection, dispatch_uid="execution.restore_detector")
    check()


def _on_connection(**_: Any) -> None:
    _detector.check_connection()
