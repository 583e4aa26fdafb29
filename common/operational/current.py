"""The operational settings in force in this process: `settings_now()`.

A thread of its own asks once a second for the newest version, so a reader runs no statement and may
be on an event loop or inside a transaction. All processes follow the newest stored version that is
valid; one that is not stays without effect and raises an alarm. Without any version the base holds:
what FILLCAST_SETTINGS_SOURCE has, else the defaults.
"""

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.conf import settings
from django.db import DatabaseError, OperationalError, connection
from django.dispatch import Signal
from psycopg import errors as psycopg_errors

from common.db.sql import rows
from common.operational.document import Document
from common.operational.reading import Fault, InvalidDocumentError, read
from common.operational.source import base_of

log = logging.getLogger(__name__)
CHECK_SECONDS = 1.0  # so that a version is in force within two
FIRST_READ_SECONDS = 10.0
OLDEST_READ = 200  # versions: how far to look for one that is valid

_NEWEST = """
SELECT id, made_at::text AS made_at FROM common_settingsversion ORDER BY id DESC LIMIT 1"""
_VERSIONS = """
SELECT id, made_at::text AS made_at, document FROM common_settingsversion ORDER BY id DESC
LIMIT %s"""


class SettingsUnreadError(OperationalError):
    """This process could not read its settings yet, because the database did not answer."""


class Seen(NamedTuple):
    """The newest version. A restored database may have the same number again."""

    number: int
    made_at: str


NOTHING = Seen(0, "")


@dataclass(frozen=True, slots=True)
class InForce:
    """What this process uses.

    number: of the version; 0: the base. seen: the newest version, which may be invalid: then
    `faults` has why.
    """

    document: Document
    number: int = 0
    seen: Seen = NOTHING
    faults: tuple[Fault, ...] = ()


_held: InForce | None = None
_thread: threading.Thread | None = None
_lock, _first = threading.Lock(), threading.Event()
_obstacle = ""
_changed = Signal()  # with `document`


def settings_now() -> Document:
    """Return the operational settings. Raises SettingsUnreadError before the first read."""
    held = _held
    return held.document if held is not None else in_force().document


def in_force() -> InForce:
    """Return what is in force, and whether a newer version is invalid."""
    if _held is None:
        _start()
        if not _first.wait(FIRST_READ_SECONDS) or _held is None:
            raise SettingsUnreadError(f"The operational settings are not read yet. {_obstacle}")
    return _held


def begin_following() -> None:
    """Follow the versions from now on, though nothing asks for a setting; does not wait.

    For each process that runs on: its log level and error reports are settings, too.
    """
    if _held is None:
        _start()


def follow(listener: Callable[[Document], object]) -> Callable[[], object]:
    """Call a function with the settings whenever they change, on any thread; it must be quick.

    Returns what ends that. An error of one listener is logged and stops no other.
    """

    def receive(document: Document, **_: Any) -> None:
        listener(document)

    _changed.connect(receive, weak=False)
    return lambda: bool(_changed.disconnect(receive))


def hold(document: Document, *, number: int = 0) -> None:
    """Use this document and follow no versions: for tests, and tools without a database."""
    _take(InForce(document, number))
    _first.set()


def refresh() -> InForce:
    """Read the newest version now, on the caller's connection, and return what is in force."""
    newest = rows(_NEWEST)
    seen = Seen(newest[0].id, newest[0].made_at) if newest else NOTHING
    held = _held
    if held is None or held.seen != seen:
        held = _load()
        _take(held)
    return held


def _load() -> InForce:
    """Return the newest valid version, and what is wrong with a newer one."""
    seen = NOTHING
    faults: tuple[Fault, ...] = ()
    for version in rows(_VERSIONS, (OLDEST_READ,)):
        if seen == NOTHING:
            seen = Seen(version.id, version.made_at)
        try:
            document = read(version.document, lease_seconds=settings.FILLCAST_LEASE_SECONDS)
        except InvalidDocumentError as error:
            faults = faults or tuple(error.faults)
        except (AttributeError, TypeError):  # not even an object
            faults = faults or (Fault("", "Expected a JSON object of groups of settings."),)
        else:
            return InForce(document, version.id, seen, faults)
    return InForce(_base(), 0, seen, faults)


def _base() -> Document:
    """Return what holds without any version. Raises InvalidDocumentError, OSError."""
    return base_of(settings.FILLCAST_SETTINGS_SOURCE, lease_seconds=settings.FILLCAST_LEASE_SECONDS)


def _take(found: InForce) -> None:
    global _held
    before, _held = _held, found
    if found.faults and (before is None or before.seen != found.seen):
        log.error(
            "version %s of the operational settings is invalid; version %s stays in force: %s",
            found.seen.number, found.number, "; ".join(map(str, found.faults)),
        )  # fmt: skip
    if before is None or before.document != found.document:
        _changed.send_robust(Document, document=found.document)


def _start() -> None:
    """Start the thread that follows the versions, once per process."""
    global _thread
    with _lock:
        if _thread is None or not _thread.is_alive():
            _thread = threading.Thread(target=_follow, daemon=True, name="settings")
            _thread.start()


def _follow() -> None:
    """Read the versions until the process ends. While that fails, all stays as it is."""
    pause = threading.Event()
    while True:
        _try_refresh()
        if _held is not None:
            _first.set()
        pause.wait(CHECK_SECONDS)


def _try_refresh() -> None:
    """Read the newest version; keep a reason why that was not possible."""
    global _obstacle
    before, _obstacle = _obstacle, ""
    try:
        try:
            refresh()
        except DatabaseError as error:
            if _held is not None or not _is_before_migration(error):
                raise
            _take(InForce(_base()))
        if connection.settings_dict["CONN_MAX_AGE"] == 0:
            connection.close()  # to the pool of the web process
        connection.close_if_unusable_or_obsolete()
    except Exception as error:  # any: the thread goes on, with what is in force
        _obstacle = f"{error}".strip() or repr(error)
        if _obstacle != before:
            log.warning("the operational settings stay as they are: %s", _obstacle)
        connection.close()


def _is_before_migration(error: Exception) -> bool:
    return isinstance(error.__cause__, psycopg_errors.UndefinedTable)


def _forget(*_: Any) -> None:
    """Begin again in a child process, which has no threads of its parent."""
    global _held, _thread, _lock, _first
    _lock, _first = threading.Lock(), threading.Event()
    if _thread is not None:
        _thread = _held = None


os.register_at_fork(after_in_child=_forget)
