"""Is this the database that we knew? What was seen of it is kept where a restore does not reach.

Trading processes draw a mark from a sequence, again and again, and remember the highest with the
server's timeline and the epoch: in memory, in a file below FILLCAST_VAR and in Redis. A database
whose mark lies behind, or that runs on another timeline, may have lost its newest rows: a new epoch
is opened before anything else is claimed.

Only a witness of the same lineage counts, and only one of the present epoch. A missing one proves
nothing: a new installation, an emptied Redis and a moved folder raise no alarm. Nor does another
server with a mark that is not behind: that is a move with everything stopped.
"""

import contextlib
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import structlog
from django.conf import settings
from django.core.cache import cache
from django.db import DatabaseError, transaction
from django.db.backends.signals import connection_created

from common.sql import rows
from connections.models import Epoch
from execution.disaster_recovery.epochs import MARK, current_epoch, open_epoch

log = structlog.get_logger(__name__)
CHECK_SECONDS = 1.0
FILE = "witness.json"


@dataclass(frozen=True, slots=True)
class HighWaterMark:
    """What was seen of a database. cluster, timeline: '' where the server does not tell."""

    lineage: str
    epoch: int
    mark: int
    cluster: str = ""
    timeline: str = ""


@dataclass(frozen=True, slots=True)
class DataLoss:
    """Why the database is believed to have forgotten something."""

    cause: str
    known: HighWaterMark
    seen: HighWaterMark

    def evidence(self) -> dict[str, Any]:
        return {"known": asdict(self.known), "seen": asdict(self.seen)}


def find_loss(seen: HighWaterMark, known: HighWaterMark | None) -> DataLoss | None:
    """Compare what is seen now with what was known before. Pure."""
    if known is None or known.lineage != seen.lineage or known.epoch < seen.epoch:
        return None
    if seen.epoch < known.epoch or seen.mark < known.mark:
        return DataLoss(Epoch.Cause.BEHIND, known, seen)
    same_server = bool(known.cluster) and known.cluster == seen.cluster
    if same_server and known.timeline and seen.timeline and known.timeline != seen.timeline:
        return DataLoss(Epoch.Cause.PROMOTED, known, seen)
    return None


def newer(one: HighWaterMark | None, other: HighWaterMark | None) -> HighWaterMark | None:
    """Return the one that knows more; of two lineages the first."""
    if one is None or other is None or one.lineage != other.lineage:
        return one or other
    return max(one, other, key=lambda witness: (witness.epoch, witness.mark))


# ---- the database ----------------------------------------------------------------------------
SERVER = """
SELECT (SELECT system_identifier::text FROM pg_control_system()) AS cluster,
  left(pg_walfile_name(pg_current_wal_lsn()), 8) AS timeline
"""


def read_database() -> HighWaterMark:
    """Return what the database is now."""
    epoch = current_epoch()
    (row,) = rows(f"SELECT last_value AS mark FROM {MARK}")
    cluster, timeline = "", ""
    with contextlib.suppress(DatabaseError), transaction.atomic():  # not every host lets us ask
        (server,) = rows(SERVER)
        cluster, timeline = server.cluster, server.timeline
    return HighWaterMark(str(epoch.lineage), epoch.number, row.mark, cluster, timeline)


def advance_mark(seen: HighWaterMark) -> HighWaterMark:
    """Raise the database's mark; it is on disk before it is told."""
    return replace(seen, mark=rows(f"SELECT nextval('{MARK}') AS mark")[0].mark)


# ---- where it is kept ------------------------------------------------------------------------
def _path() -> Path:
    return Path(settings.FILLCAST_VAR) / FILE


def read_file() -> HighWaterMark | None:
    """Return the file's witness; None if there is none that can be read."""
    try:
        return _read(json.loads(_path().read_text()))
    except (OSError, ValueError, TypeError):
        return None


def read_redis(lineage: str) -> HighWaterMark | None:
    """Return Redis' witness of a lineage; None if there is none, or no Redis."""
    try:
        return _read(json.loads(cache.get(_key(lineage)) or "null"))
    except Exception as error:  # whatever is wrong with Redis or with what it holds
        log.debug("no witness in Redis", error=repr(error))
        return None


def store(mark: HighWaterMark) -> None:
    """Write it to the file and to Redis, unless they know more already."""
    text = json.dumps(asdict(mark))
    if newer(read_file(), mark) == mark or _is_of_another_lineage(read_file(), mark):
        with contextlib.suppress(OSError):
            fresh = _path().with_name(f"{FILE}.{os.getpid()}.{threading.get_ident()}")
            fresh.write_text(text)
            fresh.replace(_path())
    if newer(read_redis(mark.lineage), mark) == mark:
        with contextlib.suppress(Exception):
            cache.set(_key(mark.lineage), text, timeout=None)


def _is_of_another_lineage(kept: HighWaterMark | None, mark: HighWaterMark) -> bool:
    return kept is not None and kept.lineage != mark.lineage


def _key(lineage: str) -> str:
    return f"witness:{lineage}"


def _read(fields: Any) -> HighWaterMark | None:
    return HighWaterMark(**fields) if isinstance(fields, dict) else None


# ---- one process -----------------------------------------------------------------------------
class RestoreDetector:
    """What this process knows, and whether it waits for a new epoch before it claims again."""

    def __init__(self) -> None:
        self.known: HighWaterMark | None = None
        self.is_suspect = False
        self._has_checked = False
        self._busy = threading.local()

    def check(self) -> Epoch | None:
        """Compare, remember, and open a new epoch if something was lost; return that one.

        Compared before a mark is drawn: else processes that start together after a restore would
        soon have drawn as many as were forgotten. Raises DatabaseError. Run it before anything is
        claimed, then again and again.
        """
        with self._reentry_guard():
            known = self._known_before()  # first: others draw marks while we look
            seen = read_database()
            epoch = self._open_epoch_if_lost(seen, known)
            self._has_checked = True
            drawn = advance_mark(seen if epoch is None else read_database())
            self.known, self.is_suspect = drawn, False
        store(drawn)
        return epoch

    def _known_before(self) -> HighWaterMark | None:
        """What this process knows of the database; at first what others have seen of it."""
        if self._has_checked:
            return self.known
        lineage = str(current_epoch().lineage)
        return newer(_of_lineage(read_file(), lineage), read_redis(lineage))

    def _open_epoch_if_lost(self, seen: HighWaterMark, known: HighWaterMark | None) -> Epoch | None:
        loss = find_loss(seen, known)
        if loss is None:
            return None
        self.is_suspect = True
        return open_epoch(
            loss.cause,
            by="detected",
            evidence=loss.evidence(),
            instead_of=seen.epoch,
            beyond=(loss.known.epoch, loss.known.mark),
        )

    def check_connection(self) -> None:
        """At each new database connection: is it still the one? If not, claims wait for `look`."""
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
        """What is asked here may itself open a connection."""
        before, self._busy.on = getattr(self._busy, "on", False), True
        try:
            yield
        finally:
            self._busy.on = before


def _of_lineage(kept: HighWaterMark | None, lineage: str) -> HighWaterMark | None:
    return kept if kept is not None and kept.lineage == lineage else None


_detector = RestoreDetector()


def check() -> Epoch | None:
    """Look with this process's own memory; see `Watch.look`."""
    return _detector.check()


def is_suspect() -> bool:
    """Whether this process must claim nothing until a new epoch is open."""
    return _detector.is_suspect


def start() -> None:
    """Look for the first time, and from now on at each new connection to the database."""
    connection_created.connect(_on_connection, dispatch_uid="execution.witness")
    check()


def _on_connection(**_: Any) -> None:
    _detector.check_connection()
