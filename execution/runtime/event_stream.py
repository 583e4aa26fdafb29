"""What brokers tell by themselves: drained, applied, acknowledged. In that order, so that a kill
in between means being told again, never missing something."""

import threading
import time
from collections.abc import Callable, Sequence, Set

import structlog
from django.db import DatabaseError, connection

from brokers.types import OrderReport
from common.clocks import machine_time
from common.failpoints import failpoint
from common.sql import rows
from connections.session_lanes import IN_HELD_LANES_SQL, held_lanes_parameters
from execution.dispatch.deferred_reports import DEFER_SECONDS, log_blocked, without_levels
from execution.dispatch.report_writer import (
    NotApplied,
    apply_with_bisection,
    compare_early_levels,
    defer_levels,
)
from execution.runtime import trading_runtime
from execution.runtime.stream_lease import drain_once

log = structlog.get_logger(__name__)
AT_ONCE = 500
TIMEOUT_SECONDS = 5
FORGET_SECONDS = 3600  # since when an event waits
_one_at_a_time = threading.Lock()
Key = tuple[str, str | OrderReport]
ShouldContinue = Callable[[], bool]  # asked after each full batch
_waiting_since: dict[Key, float] = {}  # machine_time(), by kind and event; under the lock
_blocked: dict[Key, bool] = {}  # those of them that were blocked, and whether that was logged

# A session's news are heard by the process that has the session; the stream of a kind without
# sessions tells every process the same.
BROKER_TYPES = f"""
SELECT c.type, bool_or(c.lane = '') AS is_shared FROM connections_executionconnection c
WHERE c.archived_at IS NULL AND {IN_HELD_LANES_SQL} GROUP BY c.type ORDER BY c.type
"""
PATIENCE_SECONDS = 10.0  # for another process that drains: of who needs to know what was told


def drain_events() -> int:
    """Apply everything that brokers with an event stream have told; return how many reports.

    A kind that cannot be asked does not keep the others from being heard.
    """
    if not _one_at_a_time.acquire(blocking=False):
        return 0  # this process drains already
    try:
        return sum(applied or 0 for applied in _drain_all().values())
    finally:
        _one_at_a_time.release()


def drain_now() -> int:
    """The same for whoever was told of news: it may be behind what others drain now."""
    with _one_at_a_time:
        return sum(applied or 0 for applied in _drain_all(PATIENCE_SECONDS).values())


def drain_first() -> set[str]:
    """The same for whoever compares afterwards; returns the kinds that could not be asked, or that
    another process still drains."""
    with _one_at_a_time:
        return {
            broker_type
            for broker_type, applied in _drain_all(PATIENCE_SECONDS).items()
            if applied is None
        }


def _drain_all(patience: float = 0.0) -> dict[str, int | None]:
    return {
        row.type: _drain_or_warn(row.type, is_shared=row.is_shared, patience=patience)
        for row in rows(BROKER_TYPES, held_lanes_parameters())
    }


def _drain_or_warn(broker_type: str, *, is_shared: bool, patience: float) -> int | None:
    try:
        if not is_shared:
            return _drain(broker_type, _always)
        return drain_once(broker_type, lambda goes_on: _drain(broker_type, goes_on), patience)
    except DatabaseError:
        raise
    except Exception as error:
        log.warning("events were not read", kind=broker_type, error=repr(error))
        return None


def _always() -> bool:
    return True


def _drain(broker_type: str, should_continue: ShouldContinue) -> int:
    applied, waiting = _read_events(broker_type, should_continue)
    if applied and waiting:  # what was told later may be what the earlier waited for
        applied += _read_events(broker_type, should_continue)[0]
    return applied


def _read_events(broker_type: str, should_continue: ShouldContinue) -> tuple[int, int]:
    """Go once through what is not acknowledged, from the oldest; return how many reports were
    applied and how many must wait.

    Those are passed over and told again by the broker the next time, for a minute: then they are
    applied as far as they fit. An account's later reports do not wait for its earlier: they may be
    what these wait for, and their order changes no result (of levels `deferred_reports.py` says
    why). LEVELS whose rows another session holds are acknowledged and held by this process.
    """
    dispatcher = trading_runtime.get_runtime().dispatcher
    adapter = dispatcher.adapter(broker_type)
    applied, waiting, after = 0, 0, ""
    while events := dispatcher.run_call(adapter.events(AT_ONCE, after), TIMEOUT_SECONDS):
        assert not connection.in_atomic_block
        failpoint("events.read")
        deferred = _apply(broker_type, events)
        acknowledged = [r.event_id for r in events if r.event_id and r.event_id not in deferred]
        failpoint("events.applied")
        if acknowledged:
            dispatcher.run_call(adapter.acknowledge(acknowledged), TIMEOUT_SECONDS)
        applied, waiting, after = (
            applied + len(acknowledged),
            waiting + len(deferred),
            events[-1].event_id,
        )
        if len(events) < AT_ONCE or not after or not should_continue():
            break
    return applied, waiting


def _apply(broker_type: str, events: Sequence[OrderReport]) -> set[str]:
    """Apply a page of events; return those that must wait."""
    began = time.monotonic()
    was_blocked = {id(r) for r in events if _key(broker_type, r) in _blocked} if _blocked else set()
    if was_blocked:
        events = [without_levels(r) if id(r) in was_blocked else r for r in events]
    compare_early_levels(events)  # first: what has no position yet may get one meanwhile
    not_applied = apply_with_bisection(events, careful=bool(was_blocked))
    blocked = defer_levels(not_applied.blocked, began)
    return _still_waiting(broker_type, events, not_applied.deferred + blocked, blocked)


def _still_waiting(
    broker_type: str,
    events: Sequence[OrderReport],
    deferred: Sequence[OrderReport],
    blocked: Sequence[OrderReport],
) -> set[str]:
    """Return the events that may wait on; those that have waited their time are applied."""
    now = machine_time()
    over = [
        report
        for report in deferred
        if now - _waiting_since.setdefault(_key(broker_type, report), now) > DEFER_SECONDS
    ]
    # What is left is of entries without any fill yet, or blocked.
    careful = bool(blocked)
    not_applied = (
        apply_with_bisection(over, patient=False, careful=careful) if over else NotApplied()
    )
    ended = _keys(broker_type, over) - _keys(broker_type, not_applied.reports)
    waiting = [report for report in deferred if _key(broker_type, report) not in ended]
    _forget(_keys(broker_type, events) - _keys(broker_type, waiting), now)
    _note_blocked(
        broker_type,
        [*blocked, *not_applied.blocked],
        _keys(broker_type, waiting),
        _keys(broker_type, over),
    )
    return {report.event_id for report in waiting}


def _note_blocked(
    broker_type: str, blocked: Sequence[OrderReport], waiting: Set[Key], over: Set[Key]
) -> None:
    """Keep which events are blocked; log each that has waited its time, once."""
    for report in blocked:
        key = _key(broker_type, report)
        if key in waiting and not _blocked.setdefault(key, False) and key in over:
            _blocked[key] = True
            log_blocked(report)


def _keys(broker_type: str, reports: Sequence[OrderReport]) -> set[Key]:
    return {_key(broker_type, report) for report in reports}


def _key(broker_type: str, report: OrderReport) -> Key:
    """What is told again is the same: by its id, or where the broker gives none by all it says,
    but for levels (of what waits they are not used)."""
    return broker_type, report.event_id or without_levels(report)


def _forget(handled: Set[Key], now: float) -> None:
    """Forget what waits no longer, and what is not told any more."""
    gone = {key for key, since in _waiting_since.items() if now - since > FORGET_SECONDS}
    for key in gone | handled:
        _waiting_since.pop(key, None)
        _blocked.pop(key, None)
