"""Event streams: read the reports that brokers push, apply them, then acknowledge them.

In this order a process that dies in between gets them again and loses none.
"""

import threading
import time
from collections.abc import Callable, Collection, Coroutine, Sequence, Set
from typing import Any, TypeVar

import structlog
from django.db import DatabaseError, InterfaceError, connection

from brokers.base import BrokerError, ReadFailed, outcome_of
from brokers.types import OrderReport
from common.clocks import machine_time
from common.db.sql import periodic_rows
from common.failpoints import failpoint
from common.reason_codes import Code
from connections.selectors import TYPES_AND_LANES_SQL
from connections.session_lanes import IN_HELD_LANES_SQL, held_lanes_parameters
from execution.dispatch.deferred_reports import DEFER_SECONDS, log_blocked, without_levels
from execution.dispatch.report_writer import (
    NotApplied,
    apply_with_bisection,
    compare_vanished_levels,
    defer_levels,
)
from execution.runtime import trading_runtime
from execution.runtime.stream_lease import drain_once

log = structlog.get_logger(__name__)
T = TypeVar("T")
PAGE_SIZE = 500
TIMEOUT_SECONDS = 5
FORGET_SECONDS = 3600  # after which the wait of an event is forgotten
_drain_lock = threading.Lock()
Key = tuple[str, str | OrderReport]
ShouldContinue = Callable[[], bool]  # called after each full page
_waiting_since: dict[Key, float] = {}  # machine_time(), by broker type and event; under the lock
_blocked: dict[Key, bool] = {}  # those of them that were blocked, and whether that was logged

# Only the process that holds a session gets its events. The stream of a broker type without
# sessions is shared: every process can read the same events.
BROKER_TYPES = f"""
SELECT c.type, bool_or(c.lane = '') AS is_shared FROM ({TYPES_AND_LANES_SQL}) c
WHERE {IN_HELD_LANES_SQL} GROUP BY c.type ORDER BY c.type
"""
MAX_WAIT_SECONDS = 10.0  # to wait for another process that drains


def drain_events() -> int:
    """Apply all events of the broker types that have a stream; return how many reports.

    Does nothing while another thread of this process drains. A broker type that fails does not stop
    the others.
    """
    if not _drain_lock.acquire(blocking=False):
        return 0
    try:
        return sum(applied or 0 for applied in _drain_all().values())
    finally:
        _drain_lock.release()


def drain_and_wait(broker_types: Collection[str] | None = None) -> int:
    """Apply all events that brokers have pushed before this call; return how many reports.

    broker_types: of these only; None: of all. Events of one type then do not wait for the streams
    of others. A drain that is running may have begun earlier, so this one waits for it and drains
    again.
    """
    with _drain_lock:
        drained = _drain_all(MAX_WAIT_SECONDS, broker_types)
        return sum(applied or 0 for applied in drained.values())


def drain_before_comparison() -> set[str]:
    """Apply all events, so that a comparison includes them; return the broker types that failed.

    Those could not be read, or another process still drains them.
    """
    with _drain_lock:
        return {
            broker_type
            for broker_type, applied in _drain_all(MAX_WAIT_SECONDS).items()
            if applied is None
        }


def _drain_all(
    max_wait: float = 0.0, broker_types: Collection[str] | None = None
) -> dict[str, int | None]:
    return {
        row.type: _drain_or_warn(row.type, is_shared=row.is_shared, max_wait=max_wait)
        for row in periodic_rows(BROKER_TYPES, held_lanes_parameters())
        if broker_types is None or row.type in broker_types
    }


def _drain_or_warn(broker_type: str, *, is_shared: bool, max_wait: float) -> int | None:
    try:
        if not is_shared:
            return _drain(broker_type, _always)
        return drain_once(
            broker_type,
            lambda should_continue: _drain(broker_type, should_continue),
            max_wait,
        )
    except (DatabaseError, InterfaceError):
        raise
    except Exception as error:  # any: a package may be broken, a report have any content
        log.warning("events not read", broker_type=broker_type, error=repr(error))
        return None


def _always() -> bool:
    return True


def _drain(broker_type: str, should_continue: ShouldContinue) -> int:
    applied, waiting = _read_events(broker_type, should_continue)
    if applied and waiting:  # the later reports may be what the earlier ones wait for
        applied += _read_events(broker_type, should_continue)[0]
    return applied


def _read_events(broker_type: str, should_continue: ShouldContinue) -> tuple[int, int]:
    """Apply the events that are not acknowledged, oldest first; return how many, and how many wait.

    Events that must wait are not acknowledged, so the broker sends them again; after a minute they
    are applied as far as possible. Later reports of an account do not wait for earlier ones: they
    may be what those wait for, and their order does not change the result (for levels, see
    `deferred_reports.py`). Blocked LEVELS are acknowledged and deferred in this process.
    """
    adapter = trading_runtime.get_runtime().dispatcher.adapter(broker_type)
    applied, waiting, after = 0, 0, ""
    while events := _call(adapter.events(PAGE_SIZE, after)):
        assert not connection.in_atomic_block
        failpoint("events.read")
        deferred = _apply(broker_type, events)
        acknowledged = [r.event_id for r in events if r.event_id and r.event_id not in deferred]
        failpoint("events.applied")
        if acknowledged:
            _call(adapter.acknowledge(acknowledged))
        applied, waiting = applied + len(acknowledged), waiting + len(deferred)
        after = events[-1].event_id
        if len(events) < PAGE_SIZE or not after or not should_continue():
            break
    return applied, waiting


def _call(call: Coroutine[Any, Any, T]) -> T:
    """Run an adapter's call. Raises BrokerError, whatever the adapter raises, or TimeoutError."""
    dispatcher = trading_runtime.get_runtime().dispatcher
    answer = dispatcher.run_call(outcome_of(call), TIMEOUT_SECONDS)
    if isinstance(answer, BrokerError):
        raise answer
    if isinstance(answer, Exception):
        raise ReadFailed(Code.UNEXPECTED, repr(answer)) from answer
    return answer


def _apply(broker_type: str, events: Sequence[OrderReport]) -> set[str]:
    """Apply a page of events; return the ids of those that must wait."""
    began = time.monotonic()
    was_blocked = {id(r) for r in events if _key(broker_type, r) in _blocked} if _blocked else set()
    if was_blocked:
        events = [without_levels(r) if id(r) in was_blocked else r for r in events]
    compare_vanished_levels(events)  # first: positions may be opened below
    not_applied = apply_with_bisection(events, expect_locks=bool(was_blocked))
    blocked = defer_levels(not_applied.blocked, began)
    return _still_waiting(broker_type, events, not_applied.deferred + blocked, blocked)


def _still_waiting(
    broker_type: str,
    events: Sequence[OrderReport],
    deferred: Sequence[OrderReport],
    blocked: Sequence[OrderReport],
) -> set[str]:
    """Return the ids of events that may wait longer; apply those whose time is over."""
    now = machine_time()
    overdue = [
        report
        for report in deferred
        if now - _waiting_since.setdefault(_key(broker_type, report), now) > DEFER_SECONDS
    ]
    not_applied = NotApplied()
    if overdue:
        not_applied = apply_with_bisection(
            overdue, defer_overfills=False, expect_locks=bool(blocked)
        )
    ended = _keys(broker_type, overdue) - _keys(broker_type, not_applied.reports)
    waiting = [report for report in deferred if _key(broker_type, report) not in ended]
    _forget(_keys(broker_type, events) - _keys(broker_type, waiting), now)
    _note_blocked(
        broker_type,
        [*blocked, *not_applied.blocked],
        _keys(broker_type, waiting),
        _keys(broker_type, overdue),
    )
    return {report.event_id for report in waiting}


def _note_blocked(
    broker_type: str, blocked: Sequence[OrderReport], waiting: Set[Key], overdue: Set[Key]
) -> None:
    """Remember which events are blocked; log each overdue one once."""
    for report in blocked:
        key = _key(broker_type, report)
        if key in waiting and not _blocked.setdefault(key, False) and key in overdue:
            _blocked[key] = True
            log_blocked(report)


def _keys(broker_type: str, reports: Sequence[OrderReport]) -> set[Key]:
    return {_key(broker_type, report) for report in reports}


def _key(broker_type: str, report: OrderReport) -> Key:
    """Return what identifies an event that is sent again: its id, else all of the report.

    Its levels do not count, since those of a deferred report are not used.
    """
    return broker_type, report.event_id or without_levels(report)


def _forget(handled: Set[Key], now: float) -> None:
    """Forget events that no longer wait, and those that the broker stopped sending."""
    expired = {key for key, since in _waiting_since.items() if now - since > FORGET_SECONDS}
    for key in expired | handled:
        _waiting_since.pop(key, None)
        _blocked.pop(key, None)
