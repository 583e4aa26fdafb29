"""Recovery epochs: what happens after the database may have lost its newest rows.

The database was restored from a backup, or a standby was promoted that lacked rows. Orders of the
lost rows are live at brokers with our tag. In a new epoch:
- Entries are halted.
- Orders that were waiting are never sent again.
- Orders that were in flight become UNKNOWN and are looked up.
- Every account is compared before anything else is sent to it.
- A person decides about what brokers hold and we have no row of.
"""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from brokers.broker_books import AcceptedOrder, HasBrokerBooks
from brokers.registry import adapter_for
from common.db.sql import array, database_now, periodic_rows, rows, run
from common.errors import ConflictError, InvalidInputError
from common.operational.current import settings_now
from common.permissions import Right, require
from common.reason_codes import Code
from connections import session_lanes
from connections.models import Epoch, ExecutionConnection, HaltMode, KillSwitch
from connections.selectors import EPOCH_IS_OPEN_SQL
from connections.services import release_kill_switch, require_reconciliation, set_kill_switch
from execution.base.drift_items import DriftRecord, upsert_items
from execution.base.high_water_mark import MARK_SEQUENCE
from execution.disaster_recovery import sql
from execution.disaster_recovery.netting_exits import find_unsent
from execution.disaster_recovery.open_issues import list_open_issues
from execution.exits.reservations import recompute_reserved
from execution.runtime import trading_runtime
from positions.broker_reads import unmark_all_missing
from positions.row_locks import lock_positions
from users.models import User

log = structlog.get_logger(__name__)
LOCK_EPOCHS = "SELECT pg_advisory_xact_lock(hashtext('fillcast.epoch'))"


def current_epoch() -> Epoch:
    """Return the newest epoch. The first call on a new database creates epoch 1."""
    newest = Epoch.objects.first()
    if newest is not None:
        return newest
    with transaction.atomic():
        rows(LOCK_EPOCHS)
        newest = Epoch.objects.first()
        now = timezone.now()
        return newest or Epoch.objects.create(
            number=1, cause=Epoch.Cause.FOUNDED, opened_at=now, released_at=now
        )


def open_epoch(
    cause: str,
    *,
    since: datetime | None = None,
    note: str = "",
    by: str = "",
    evidence: dict[str, Any] | None = None,
    expected_epoch: int | None = None,
    must_exceed: tuple[int, int] = (0, 0),
) -> Epoch:
    """Open a new epoch: halt entries and distrust all rows written until `since`.

    since: machine time, by default now. expected_epoch: the number of the epoch that must still be
    the newest; otherwise nothing is done and the newest is returned, since several processes may
    detect the same restore. must_exceed: an epoch number and a high-water mark, known from outside
    the database, that the new epoch and its mark must exceed.

    Runs in one transaction, however many rows are live. An open epoch is superseded and its halt is
    kept.
    """
    with transaction.atomic():
        run("SET LOCAL statement_timeout = 0")
        run("SET LOCAL lock_timeout = 0")
        rows(LOCK_EPOCHS)
        previous = current_epoch()
        if expected_epoch is not None and previous.number != expected_epoch:
            return previous
        number = max(previous.number, must_exceed[0]) + 1
        switch = _supersede(previous, number) or set_kill_switch(
            scope=KillSwitch.Scope.ALL, mode=HaltMode.REDUCING, by=None,
            reason=f"Epoch {number}: the database was restored; entries wait for its release",
        )  # fmt: skip
        now = database_now()
        longest_call = timedelta(
            seconds=settings_now().execution.send_deadline_seconds
            + settings_now().execution.call_timeout_seconds
            + 1
        )
        epoch = Epoch.objects.create(
            number=number, lineage=previous.lineage, cause=cause, note=note[:200],
            since=min(since or now, now), opened_by=by[:150], answer_by=now + longest_call,
            evidence=evidence or {}, kill_switch=switch, opened_at=now,
        )  # fmt: skip
        epoch.treated = _distrust(epoch)
        epoch.save(update_fields=["treated"])
        _skip_lost_ids(must_exceed[1])
    log.error("a new epoch halts entries", epoch=number, cause=cause, treated=epoch.treated)
    return epoch


def _supersede(previous: Epoch, number: int) -> KillSwitch | None:
    """End an open epoch in favour of epoch `number`; return its halt, which that one keeps.

    Return None if it was already released."""
    if previous.released_at is not None:
        return None
    switch = previous.kill_switch
    previous.released_at, previous.kill_switch = timezone.now(), None
    previous.release_note = f"Superseded by epoch {number}."
    previous.save(update_fields=["released_at", "kill_switch", "release_note"])
    return switch


def _distrust(epoch: Epoch) -> dict[str, Any]:
    """Treat every live row as one whose later changes were lost; return what was done to which."""
    live = [row.id for row in rows(sql.LIVE, {"since": epoch.since})]
    rows(sql.LOCK, (live,))
    detail = {"ids": live, "detail": f"epoch {epoch.number}"}
    ended = rows(sql.END_ENTRIES, detail)
    held_exits = [row.id for row in rows(sql.HOLD_EXITS, detail)]
    looked_up = rows(sql.LOOK_UP_ORDERS, {**detail, "answer_by": epoch.answer_by})
    recompute_reserved(held_exits)
    compared = require_reconciliation()
    unmark_all_missing()
    return {
        "entries_ended": len(ended),
        "exits_held": held_exits,
        "orders_looked_up": len(looked_up),
        "connections_to_compare": compared,
    }


def _skip_lost_ids(mark: int) -> None:
    """Skip ids that the lost rows may have had, and raise the high-water mark above `mark`."""
    for table, ahead in sql.NUMBERS_AHEAD.items():
        rows(sql.SKIP_NUMBERS, {"table": table, "ahead": ahead})
    rows(f"SELECT setval('{MARK_SEQUENCE}', greatest(nextval('{MARK_SEQUENCE}'), %s))", (mark + 1,))


def process_open_epoch() -> list[int]:
    """Do what an open epoch still needs: read brokers' books, release exits that were not sent.

    Returns ids of exits to enqueue. Cheap while no epoch is open.
    """
    (state,) = periodic_rows(f"SELECT {EPOCH_IS_OPEN_SQL} AS is_open")
    epoch = Epoch.objects.filter(released_at=None).first() if state.is_open else None
    if epoch is None or epoch.answer_by > timezone.now():
        return []
    if epoch.books_read_at is None:
        if session_lanes.GENERAL not in session_lanes.held_lanes():
            return []  # a process that may call every broker reads the books first
        _read_books(epoch)
    run(sql.RESOLVE_KNOWN)
    return _release_exits(epoch)


def _read_books(epoch: Epoch) -> None:
    """Record orders that brokers accepted from us and that have no row as drift.

    Raises BrokerError if a broker's books cannot be read; the next call tries again.
    """
    began = timezone.now()
    types = ExecutionConnection.objects.order_by("type").values_list("type", flat=True).distinct()
    for broker_type in types:
        adapter = adapter_for(broker_type)
        if isinstance(adapter, HasBrokerBooks):
            books = trading_runtime.run_call(adapter.journal(settings.FILLCAST_INSTALLATION_TAG))
            record_forgotten([o for o in books.accepted if _is_uuid(o.connection_id)])
    Epoch.objects.filter(pk=epoch.pk).update(books_read_at=began)


def record_forgotten(accepted: Sequence[AcceptedOrder]) -> int:
    """Record accepted orders that have no row as drift; return how many."""
    forgotten = rows(
        sql.FORGOTTEN,
        {
            "connections": array(order.connection_id for order in accepted),
            "ids": array(order.client_order_id for order in accepted),
            "first_at": array(order.first_at for order in accepted),
        },
    )
    records = [
        DriftRecord(
            Code.FORGOTTEN_ORDER,
            str(row.connection_id),
            row.client_order_id,
            {
                "client_order_id": row.client_order_id,
                "accepted_at": row.first_at,
                "may_be": [f"O-{order_id}" for order_id in row.likely[:20]],
            },
        )
        for row in forgotten
    ]
    with transaction.atomic():
        return upsert_items(records)


def _release_exits(epoch: Epoch) -> list[int]:
    """Release held exits whose whole quantity the broker still holds; return their ids."""
    held_exits = epoch.treated.get("exits_held", [])
    if not held_exits:
        return []
    unsent = find_unsent(held_exits, epoch.answer_by)  # calls brokers, so not in the transaction
    with transaction.atomic():
        parameters = {
            "ids": held_exits,
            "answer_by": epoch.answer_by,
            "opened_at": epoch.opened_at,
            "unsent": unsent,
        }
        positions = {row.position_id for row in rows(sql.RELEASABLE_EXITS, parameters)}
        lock_positions(sorted(positions))
        released = []
        for row in rows(sql.RELEASABLE_EXITS, parameters):  # again, with the positions locked
            if row.position_id in positions and rows(sql.RELEASE_EXIT, {"id": row.id}):
                recompute_reserved([row.id])  # the next exit may need the same quantity
                released.append(row.id)
    return released


def release_epoch(
    *,
    by: User | None,
    by_name: str = "",
    note: str = "",
    force: bool = False,
    number: int | None = None,
) -> Epoch:
    """Release the open epoch, so that entries continue; keep who, when and what was left open.

    by_name: the operating system's user, at a command line. force: release with open issues; needs
    a note. number: of the epoch whose issues the caller has seen; None: whichever is open.

    Raises ConflictError STATE_CONFLICT if no epoch is open, or another one; EPOCH_OPEN if issues
    are open and force is not set; InvalidInputError FIELD_REQUIRED if force has no note.
    """
    require(by, Right.RELEASE)
    with transaction.atomic():
        rows(LOCK_EPOCHS)
        epoch = Epoch.objects.filter(released_at=None).first()
        if epoch is None:
            raise ConflictError(Code.STATE_CONFLICT, "No epoch is open.")
        if number not in (None, epoch.number):
            detail = f"Epoch {epoch.number} is open, not {number}: look at its page."
            raise ConflictError(Code.STATE_CONFLICT, detail)
        issues = list_open_issues(epoch)
        if issues and not force:
            names = ", ".join(f"{issue.code} {issue.count}" for issue in issues)
            raise ConflictError(Code.EPOCH_OPEN, f"Epoch {epoch.number} has open issues: {names}.")
        if issues and not note.strip():
            raise InvalidInputError(
                Code.FIELD_REQUIRED, "Enter why you release it with open issues.", field="note"
            )
        epoch.released_at = timezone.now()
        epoch.released_by = by.get_username() if by else by_name
        epoch.release_note, epoch.left_open = note[:200], [asdict(issue) for issue in issues]
        epoch.save(update_fields=["released_at", "released_by", "release_note", "left_open"])
        if epoch.kill_switch_id is not None:
            release_kill_switch(epoch.kill_switch_id, by=by)
    log.warning("an epoch is released", epoch=epoch.number, left=[issue.code for issue in issues])
    return epoch


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
