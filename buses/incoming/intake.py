"""Take a message from a bus: carry it out once, or keep it as a dead letter with its reason.

The caller acknowledges to the bus only what `take` answers ACK to: then its row is committed.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from functools import partial

import structlog
from django.db import DatabaseError, IntegrityError, InterfaceError, connection, transaction
from django.db.models import QuerySet

from buses.foreign import error_of
from buses.incoming.fills import NotYetError, apply_from_bus
from buses.incoming.models import (
    FILLS,
    SIGNALS,
    STORED_BYTES,
    BusMessage,
    BusRoute,
    MessageState,
)
from buses.incoming.signals import publish_from_bus
from common.db.errors import is_database_trouble, is_lost, is_transient
from common.db.sql import database_now
from common.errors import ConflictError, FillcastError, InvalidInputError
from common.failpoints import failpoint
from common.permissions import Right, require
from common.reason_codes import Code
from signals.reading.errors import field_errors
from users.models import User

log = structlog.get_logger(__name__)
PATIENT_TRIES = 10
"""So often a message is tried whose cause may follow: a CLOSE whose OPEN is delivered after it. A
delivery while the database was away is no try."""
MAY_FOLLOW = frozenset({Code.REFERENCE_REQUIRED, Code.SIGNAL_NOT_PUBLISHED})
_CLOSE = re.compile(rb'"(?:signal_type|action)"\s*:\s*"close"', re.IGNORECASE)
"""In the text of a message, so that one which cannot be read is recognised, too."""
REPLAYS_AT_ONCE = 50
FAULTY_TRIES = 5
"""So often a message is tried that breaks our program."""


class Answer(Enum):
    """What to do with the bus's message."""

    ACK = auto()  # its outcome is committed
    RETRY = auto()  # nothing is stored: it shall come again


@dataclass(frozen=True, slots=True)
class Message:
    """A message as a bus delivered it.

    bus: without secrets. message_id: the publisher's, else the bus's own. stored_at: when the bus
    stored it.
    """

    bus: str
    message_id: str
    subject: str
    body: bytes
    stored_at: datetime

    @property
    def digest(self) -> str:
        """Return the SHA-256 of its body."""
        return hashlib.sha256(self.body).hexdigest()

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Return what it has in common with its repetitions alone: a correction may have its id."""
        return self.bus, self.subject, self.message_id, self.digest


class Tries:
    """How often each message was tried and not settled, in this process.

    After a restart it is counted again: a message then waits longer, and is not lost.
    """

    def __init__(self, most: int = 10_000) -> None:
        self._counts: dict[tuple[str, str, str, str], int] = {}
        self._most = most

    def count(self, message: Message) -> None:
        """Count a try; forget the oldest message if there are too many."""
        self._counts[message.key] = self.of(message) + 1
        for key in list(self._counts)[: max(0, len(self._counts) - self._most)]:
            self._counts.pop(key, None)

    def of(self, message: Message) -> int:
        """Return how often a message was tried."""
        return self._counts.get(message.key, 0)

    def forget(self, message: Message) -> None:
        """It is settled."""
        self._counts.pop(message.key, None)


tries = Tries()


def take(message: Message) -> Answer:
    """Carry a message out, at most once for each message id of a subject. Raises nothing."""
    error = error_of(lambda: _take(message))
    if error is None:
        tries.forget(message)
        return Answer.ACK
    if isinstance(error, NotYetError):
        tries.count(message)
        return Answer.RETRY
    if _waits_for_database(error):
        log.warning("bus message waits for the database", error=str(error).strip())
        connection.close()
        return Answer.RETRY
    return _faulty(message, error)


def not_stored(messages: Sequence[Message], *, at_once: int = 500) -> list[Message]:
    """Return the messages of which no row has the id and the content. One query for 500."""
    missing: list[Message] = []
    for start in range(0, len(messages), at_once):
        batch = [(one, _row_of(one)) for one in messages[start : start + at_once]]
        found = BusMessage.objects.filter(
            bus__in={row.bus for _, row in batch},
            subject__in={row.subject for _, row in batch},
            message_id__in=[row.message_id for _, row in batch],
        )
        stored = set(found.values_list("bus", "subject", "message_id", "digest"))
        missing += [
            one
            for one, row in batch
            if (row.bus, row.subject, row.message_id, row.digest) not in stored
        ]
    return missing


def request_replay(row_id: int, *, by: User) -> None:
    """Have a dead letter carried out again, by the rules of then, by the process of the bus.

    Raises ConflictError STATE_CONFLICT, NotAllowedError.
    """
    row = _dead_row(row_id, by)
    if not row.is_whole:
        detail = f"Only the first {STORED_BYTES} of its {row.length} bytes are stored."
        raise ConflictError(Code.STATE_CONFLICT, detail)
    dead = BusMessage.objects.dead().filter(pk=row.pk)
    dead.update(replay_requested_at=database_now(), decided_by=by)


def discard(row_id: int, *, by: User) -> None:
    """Put a dead letter aside for good. Raises ConflictError STATE_CONFLICT, NotAllowedError."""
    row = _dead_row(row_id, by)
    dead = BusMessage.objects.dead().filter(pk=row.pk)
    dead.update(
        state=MessageState.DISCARDED, decided_by=by, settled_at=database_now(),
        replay_requested_at=None,
    )  # fmt: skip


def replay_requested() -> int:
    """Carry out dead letters whose replay was requested; return how many are settled.

    None stops those behind it. One that waits for the database keeps its request. Raises nothing
    but what the first query does.
    """
    requested = BusMessage.objects.dead().exclude(replay_requested_at=None)
    chosen = requested.order_by("replay_requested_at", "pk")[:REPLAYS_AT_ONCE]
    settled = 0
    for row in sorted(chosen, key=_by_arrival):
        row.replays += 1
        row.replay_requested_at = None
        error = error_of(partial(_carry_out, row, is_last=True))
        if error is not None and not _waits_for_database(error):
            error = error_of(partial(_note_replay, row, error))
        if error is None:
            settled += 1
            continue
        log.warning("replay waits for the database", message=str(row), error=str(error).strip())
        connection.close()
        if error_of(partial(_wait_behind_others, row)) is not None or is_lost(error):
            break
    return settled


def _by_arrival(row: BusMessage) -> int:
    """A CLOSE is carried out after its OPEN."""
    return row.pk


def _wait_behind_others(row: BusMessage) -> None:
    """Let the other requests come first: one that always waits would take their turn."""
    requested = BusMessage.objects.dead().exclude(replay_requested_at=None)
    requested.filter(pk=row.pk).update(replay_requested_at=database_now())


def _note_replay(row: BusMessage, error: Exception) -> None:
    """Keep that a replay failed by a fault of ours, unless its letter was settled meanwhile."""
    if isinstance(error, NotYetError):
        return
    log.error("bus message not replayed", message=str(row), exc_info=error)
    row.code, row.detail = str(Code.UNEXPECTED), Code.UNEXPECTED.sentence
    with contextlib.suppress(NotYetError):  # discarded, or corrected
        _store(row, MessageState.DEAD)


def _waits_for_database(error: Exception) -> bool:
    """Whether the database is the problem, and not what the message has it do."""
    return is_transient(error) or is_database_trouble(error)


def _dead_row(row_id: int, by: User) -> BusMessage:
    row = BusMessage.objects.dead().filter(pk=row_id).first()
    if row is None:
        raise ConflictError(Code.STATE_CONFLICT, f"There is no dead letter {row_id}.")
    require(by, right_for(row.subject))
    return row


def right_for(subject: str) -> Right:
    """Return the right of staff that decides about a subject: it is as if they did it by hand."""
    return Right.RECONCILE if subject.startswith(FILLS) else Right.APPROVE


def _take(message: Message) -> None:
    row = _row_of(message)
    row.stored_at = min(row.stored_at, database_now())  # a clock ahead makes nothing younger
    known = list(_same_id(row))
    if any(one.digest == row.digest for one in known):
        return
    if first := _id_is_of(row, known):
        row.is_repeat, row.code = True, str(Code.MESSAGE_ID_REPEATED)
        row.detail = f"A message of {first.stored_at:%Y-%m-%d %H:%M:%S} UTC had it: {first.pk}."
        _store(row, MessageState.DEAD)
        return
    _carry_out(row, is_last=tries.of(message) >= PATIENT_TRIES - 1)


def _id_is_of(row: BusMessage, known: Sequence[BusMessage]) -> BusMessage | None:
    """Return the message that the id of this one counts for. None if there is none, and if it is a
    dead letter from before this one, which corrects it."""
    first = next((one for one in known if not one.is_repeat), None)
    if first is not None and first.state == MessageState.DEAD:
        return first if first.stored_at > row.stored_at else None
    return first


def _row_of(message: Message) -> BusMessage:
    """Return the row of a message, which is not stored yet."""
    return BusMessage(
        bus=message.bus[:200],
        message_id=_short(message.message_id),
        subject=_printable(message.subject)[:200],
        body=message.body[:STORED_BYTES],
        digest=message.digest,
        length=len(message.body),
        stored_at=message.stored_at,
        is_close=_CLOSE.search(message.body[:STORED_BYTES]) is not None,
    )


def _same_id(row: BusMessage) -> QuerySet[BusMessage]:
    """Return the stored messages with the id of this one."""
    return BusMessage.objects.filter(
        bus=row.bus, subject=row.subject, message_id=row.message_id
    ).defer("body")


def _carry_out(row: BusMessage, *, is_last: bool) -> None:
    """Carry a message out and store its row. Raises NotYetError, and what our program does."""
    route = BusRoute.objects.filter(subject=row.subject, ended_at=None)
    found = route.select_related("feed__owner", "connection").first()
    try:
        if len(bytes(row.body)) < row.length:
            detail = f"{row.length} bytes are more than the maximum of {STORED_BYTES}."
            raise InvalidInputError(Code.BODY_TOO_LARGE, detail)
        if found is None:
            raise InvalidInputError(Code.SUBJECT_UNKNOWN, f"No route is for {row.subject!r}.")
        if found.feed is not None and row.subject.startswith(SIGNALS):
            with transaction.atomic():
                row.signal = publish_from_bus(found.feed, row)
                failpoint("bus.published")
                _store(row, MessageState.DONE)
            failpoint("bus.committed")
            return
        if found.connection is not None and row.subject.startswith(FILLS):
            apply_from_bus(found.connection, row, is_last=is_last)
        else:
            raise InvalidInputError(Code.SUBJECT_UNKNOWN, f"{row.subject!r} is not carried out.")
    except FillcastError as error:
        if error.code in MAY_FOLLOW and not is_last:
            raise NotYetError from error
        row.signal, row.code, row.detail = None, str(error.code), text_of(error)[:2000]
        _store(row, MessageState.DEAD)
    else:
        _store(row, MessageState.DONE)


def _store(row: BusMessage, state: MessageState) -> None:
    """Update the row, or insert it in place of a dead letter with its id, which is kept: its bus
    may deliver it again. Raises NotYetError if another process was first."""
    row.state, row.settled_at, row.alerted_at = state, database_now(), None
    if state == MessageState.DONE:
        row.code = row.detail = ""
    if row.pk:
        values = {
            name: getattr(row, name)
            for name in (
                "state", "settled_at", "code", "detail", "signal_id", "replays",
                "replay_requested_at", "alerted_at",
            )
        }  # fmt: skip
        if not BusMessage.objects.dead().filter(pk=row.pk).update(**values):
            raise NotYetError
        return
    try:
        with transaction.atomic():
            if not row.is_repeat:
                _same_id(row).filter(state=MessageState.DEAD, is_repeat=False).update(
                    state=MessageState.DISCARDED, is_repeat=True, settled_at=row.settled_at,
                    replay_requested_at=None,
                )  # fmt: skip
            row.save(force_insert=True)
    except IntegrityError as error:
        row.pk = None
        if _same_id(row).exists():
            raise NotYetError from error  # rolls back what this process did of it
        raise


def text_of(error: FillcastError) -> str:
    """Return all that is wrong, with the fields."""
    if not isinstance(error, InvalidInputError):
        return error.detail
    return " ".join(
        f"{one.field}: {one.detail}" if one.field else one.detail for one in field_errors(error)
    )


def _faulty(message: Message, error: Exception) -> Answer:
    """Log a fault of ours; after some tries the message is a dead letter."""
    log.error("bus message not carried out", subject=message.subject, exc_info=error)
    tries.count(message)
    if tries.of(message) < FAULTY_TRIES:
        return Answer.RETRY
    row = _row_of(message)
    row.code, row.detail = str(Code.UNEXPECTED), Code.UNEXPECTED.sentence
    try:
        row.is_repeat = _id_is_of(row, list(_same_id(row))) is not None
        _store(row, MessageState.DEAD)
    except NotYetError:
        return Answer.RETRY  # another process has stored one with its id meanwhile
    except (DatabaseError, InterfaceError):
        log.exception("bus message not stored")
        connection.close()
        return Answer.RETRY
    return Answer.ACK


def _short(message_id: str) -> str:
    """Return an id that fits its column; a long one by its hash."""
    if len(message_id) <= 200 and message_id.isprintable():
        return message_id
    return f"sha256:{hashlib.sha256(message_id.encode(errors='replace')).hexdigest()}"


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "�" for c in text)
