"""Epochs: what is done when the database may have forgotten its newest rows.

It was restored from a backup, or a standby was promoted that had not received everything. What our
forgotten rows had sent is live at brokers under our tag. So entries are halted, what waited is
never sent again, what was under way is UNKNOWN and asked for, every account is compared before
anything else leaves for it, and people decide about what brokers hold and we do not know.
"""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from brokers.broker_books import HasBrokerBooks
from brokers.registry import adapter_for
from common.errors import ConflictError, InvalidInputError
from common.permissions import Right, require
from common.reason_codes import Code
from common.sql import array, rows, run
from connections import session_lanes
from connections.models import Epoch, HaltMode, KillSwitch
from connections.services import release_kill_switch, set_kill_switch
from execution.base.drift_items import DriftRecord, upsert_items
from execution.disaster_recovery import sql
from execution.disaster_recovery.netting_exits import unsent
from execution.disaster_recovery.open_issues import list_open_issues
from execution.exits.reservations import lock_positions, recompute_reserved
from execution.runtime import trading_runtime
from users.models import User

log = structlog.get_logger(__name__)
ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtext('fillcast.epoch'))"
MARK = "fillcast_mark"


def current_epoch() -> Epoch:
    """Return the newest epoch; the first one is written when somebody asks for it first."""
    newest = Epoch.objects.first()
    if newest is not None:
        return newest
    with transaction.atomic():
        rows(ONE_AT_A_TIME)
        found = Epoch.objects.first()
        now = timezone.now()
        return found or Epoch.objects.create(
            number=1, cause=Epoch.Cause.FOUNDED, opened_at=now, released_at=now
        )


def open_epoch(
    cause: str,
    *,
    since: datetime | None = None,
    note: str = "",
    by: str = "",
    evidence: dict[str, Any] | None = None,
    instead_of: int | None = None,
    beyond: tuple[int, int] = (0, 0),
) -> Epoch:
    """Halt entries and distrust all that was written until `since` (machine time; now unless said).

    One transaction, however much is live. An epoch that is open is superseded: its halt is taken
    over. instead_of: do nothing, and return the newest epoch, unless that one is still the newest:
    several processes see the same restore. beyond: a number and a mark, remembered outside of the
    database, which the new epoch must pass.
    """
    with transaction.atomic():
        rows("SET LOCAL statement_timeout = 0")
        rows("SET LOCAL lock_timeout = 0")
        rows(ONE_AT_A_TIME)
        before = current_epoch()
        if instead_of is not None and before.number != instead_of:
            return before
        number = max(before.number, beyond[0]) + 1
        switch = _supersede(before, number) or set_kill_switch(
            scope=KillSwitch.Scope.ALL, mode=HaltMode.REDUCING, by=None,
            reason=f"Epoch {number}: the database was restored; entries wait until all is settled",
        )  # fmt: skip
        (clock,) = rows(
            "SELECT clock_timestamp() AS now, clock_timestamp() + make_interval(secs => %s) AS by",
            (settings.FILLCAST_SEND_DEADLINE_SECONDS + settings.FILLCAST_CALL_TIMEOUT_SECONDS + 1,),
        )
        epoch = Epoch.objects.create(
            number=number, lineage=before.lineage, cause=cause, note=note[:200],
            since=min(since or clock.now, clock.now), opened_by=by[:150], answer_by=clock.by,
            evidence=evidence or {}, kill_switch=switch, opened_at=clock.now,
        )  # fmt: skip
        epoch.treated = _distrust(epoch)
        epoch.save(update_fields=["treated"])
        _move_numbers(beyond[1])
    log.error("a new epoch: entries are halted", epoch=number, cause=cause, treated=epoch.treated)
    return epoch


def _supersede(before: Epoch, number: int) -> KillSwitch | None:
    """End an open epoch in favour of the next; return its halt, which goes on."""
    if before.released_at is not None:
        return None
    switch = before.kill_switch
    before.released_at, before.kill_switch = timezone.now(), None
    before.release_note = f"Superseded by epoch {number}."
    before.save(update_fields=["released_at", "kill_switch", "release_note"])
    return switch


def _distrust(epoch: Epoch) -> dict[str, Any]:
    """Treat every live row as one whose sequel was forgotten; return what became of them."""
    live = [row.id for row in rows(sql.LIVE, {"since": epoch.since})]
    rows(sql.LOCK, (live,))
    detail = {"ids": live, "detail": f"epoch {epoch.number}"}
    ended = rows(sql.END_ENTRIES, detail)
    held = [row.id for row in rows(sql.HOLD_EXITS, detail)]
    looked_up = rows(sql.LOOK_UP, {**detail, "answer_by": epoch.answer_by})
    recompute_reserved(held)
    compared = run(sql.COMPARE_FIRST)
    run(sql.UNMARK)
    return {
        "entries_ended": len(ended),
        "exits_held": held,
        "orders_looked_up": len(looked_up),
        "connections_to_compare": compared,
    }


def _move_numbers(mark: int) -> None:
    for table, ahead in sql.NUMBERS_AHEAD.items():
        rows(sql.SKIP_NUMBERS, {"table": table, "ahead": ahead})
    rows(f"SELECT setval('{MARK}', greatest(nextval('{MARK}'), %s))", (mark + 1,))


def process_open_epoch() -> list[int]:
    """Do what an open epoch still needs: read brokers' books, let go the exits that were not sent.

    Returns ids of exits to ring. Cheap while no epoch is open.
    """
    epoch = Epoch.objects.filter(released_at=None).first()
    if epoch is None or epoch.answer_by > timezone.now():
        return []
    if epoch.books_read_at is None:
        if session_lanes.GENERAL not in session_lanes.held_lanes():
            return []  # whoever may ask all brokers reads their books first
        _read_books(epoch)
    run(sql.KNOWN_AGAIN)
    return _clear_exits(epoch)


def _read_books(epoch: Epoch) -> None:
    """Write as drift what brokers accepted from us and we have no row of.

    Raises BrokerError if one does not show its books; it is asked again.
    """
    began = timezone.now()
    for row in rows("SELECT DISTINCT type FROM connections_executionconnection ORDER BY type"):
        adapter = adapter_for(row.type)
        if isinstance(adapter, HasBrokerBooks):
            journal = trading_runtime.run_call(adapter.journal(settings.FILLCAST_INSTALLATION_TAG))
            write_forgotten([one for one in journal.accepted if _is_uuid(one.connection_id)])
    Epoch.objects.filter(pk=epoch.pk).update(books_read_at=began)


def write_forgotten(accepted: Sequence[Any]) -> int:
    """Write accepted orders (`brokers.broker_books`) that have no row as drift; return how many."""
    found = rows(
        sql.FORGOTTEN,
        {
            "connections": array(one.connection_id for one in accepted),
            "ids": array(one.client_order_id for one in accepted),
            "firsts": array(one.first_at for one in accepted),
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
        for row in found
    ]
    with transaction.atomic():
        return upsert_items(records)


def _clear_exits(epoch: Epoch) -> list[int]:
    """Let held exits go whose position the broker was seen to hold, all of it."""
    held = epoch.treated.get("exits_held", [])
    if not held:
        return []
    proven = unsent(held, epoch.answer_by)  # asks brokers: not in the transaction
    with transaction.atomic():
        parameters = {
            "ids": held, "answer_by": epoch.answer_by, "opened_at": epoch.opened_at,
            "proven": proven,
        }  # fmt: skip
        positions = {row.position_id for row in rows(sql.CLEARED, parameters)}
        lock_positions(sorted(positions))
        cleared = []
        for row in rows(sql.CLEARED, parameters):  # again, with the positions locked
            if row.position_id in positions and rows(sql.CLEAR, {"id": row.id}):
                recompute_reserved([row.id])  # before the next one: it may want the same quantity
                cleared.append(row.id)
    return cleared


def release_epoch(
    *, by: User | None, by_name: str = "", note: str = "", force: bool = False
) -> Epoch:
    """Let entries go on. What is kept: who, when, and what was left open.

    by_name: who it is at a command line, where nobody has signed in.

    Raises ConflictError STATE_CONFLICT when no epoch is open, EPOCH_OPEN while something is
    unsettled; force goes on all the same, and needs a note (InvalidInputError).
    """
    require(by, Right.RELEASE)
    with transaction.atomic():
        rows(ONE_AT_A_TIME)
        epoch = Epoch.objects.filter(released_at=None).first()
        if epoch is None:
            raise ConflictError(Code.STATE_CONFLICT, "No epoch is open.")
        left = list_open_issues(epoch)
        if left and not force:
            names = ", ".join(f"{one.what} {one.count}" for one in left)
            raise ConflictError(Code.EPOCH_OPEN, f"Epoch {epoch.number} is not settled: {names}.")
        if left and not note.strip():
            raise InvalidInputError(
                Code.FIELD_REQUIRED, "Say why it is released unsettled.", field="note"
            )
        epoch.released_at = timezone.now()
        epoch.released_by = by.get_username() if by else by_name
        epoch.release_note, epoch.left_open = note[:200], [asdict(one) for one in left]
        epoch.save(update_fields=["released_at", "released_by", "release_note", "left_open"])
        if epoch.kill_switch_id is not None:
            release_kill_switch(epoch.kill_switch_id, by=by)
    log.warning("an epoch is released", epoch=epoch.number, left=[one.what for one in left])
    return epoch


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
