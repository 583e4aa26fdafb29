"""Write changed orders and all that follows from them, set-based."""

import random
from collections.abc import Iterable
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
import structlog

from brokers.redaction import storable
from brokers.types import DECISIONS, ReportKind, Side
from brokers.worst_price import is_worse_than
from common.db.sql import array, columns, rows, run
from common.money import plain
from common.operational.current import settings_now
from common.reason_codes import Code
from common.units import Unit
from execution.base.market_facts import contradicts, doubt_facts
from execution.base.reconciliation_requests import request_reconciliation
from execution.exits.order_sizes import target_of_leg
from execution.models import IN_FLIGHT, TERMINAL, Status
from execution.reports import sql
from execution.reports.change_lines import write_change_lines
from execution.reports.order_changes import OrderChange, last_reported
from execution.reports.transitions import (
    LATE,
    MAX_TRIES,
    NOT_REACHED,
    Transition,
    deferral_seconds,
    not_reached_seconds,
)

log = structlog.get_logger(__name__)
MAX_DETAIL, ORDER_DETAIL = 2000, 300  # characters of a broker's message in the log and in the order
MAX_COUNTED_TRIES = 1000  # an exit is retried without end, and the column is small
WITHDRAWN = frozenset({Status.CANCELLED.value, Status.EXPIRED.value})
UNREPORTED = frozenset({Status.PENDING, *IN_FLIGHT})
HOLDS_LESS = frozenset({Code.NO_POSITION, Code.VOLUME_INVALID})
REJECTIONS = frozenset({ReportKind.REJECTED, ReportKind.CANCELLED, ReportKind.EXPIRED})
BEYOND_SUBMITTED = frozenset(
    {Status.PARTIALLY_FILLED, Status.FILLED, Status.CANCELLED, Status.EXPIRED}
)


def write(changes: list[OrderChange]) -> list[int]:
    """Write orders, positions, log lines and events of changed orders.

    Returns the positions to rebuild: their executions were not reported in their order. Must run in
    the transaction that has locked the orders and their positions.
    """
    if not changes:
        return []
    records = [_record(change) for change in changes]
    arrays = dict(zip(sql.COLUMNS, columns(records, len(sql.COLUMNS)), strict=True))
    opening = {c.row.signal_id for c in changes if c.delta.quantity or _ended_target(c)} - {None}
    levels = []
    if opening:
        levels = rows(sql.EFFECTIVE_LEVELS, (array(opening),), planned_once=True)
    signals = {
        "signal_ids": [level.signal_id for level in levels],
        "sls": [level.sl for level in levels],
        "targets": [array(level.targets) for level in levels],
        "last_parts": [level.last_part for level in levels],
        "notifies_parts": settings_now().fill_tracking.track_partial_fills,
    }
    if implied := [_implied(c.row, status) for c in changes if c.passed for status in _passed(c)]:
        run(sql.LOG_IMPLIED_STEPS, columns(implied, 5))
    (result,) = rows(sql.WRITE, {**arrays, **signals}, planned_once=True)
    if result.has_placed_channel and (placed := [c.row.id for c in changes if _is_placed(c)]):
        run(sql.NOTIFY_PLACED, (placed,))
    if late := [c.row.id for c in changes if c.delta.quantity and c.row.status in LATE]:
        run(sql.CLOSE_AGAIN, (late,))
    if delayed := [c.row.id for c in changes if _is_delayed(c)]:
        run(sql.NOTIFY_EXIT_DELAYED, (delayed,))
    if live := [(c.row.id, c.row.status in WITHDRAWN) for c in changes if _is_unexpectedly_live(c)]:
        log.error("orders that had been given up are live", orders=[id_ for id_, _ in live])
        run(sql.NOTIFY_UNEXPECTEDLY_LIVE, columns(live, 2))
    if holding_less := {c.row.connection_id for c in changes if _closes_nothing(c)}:
        request_reconciliation([UUID(connection_id) for connection_id in sorted(holding_less)])
    doubt_facts({UUID(c.row.connection_id) for c in changes if any(map(contradicts, c.reports))})
    if alerts := [(c.row.id, price_beyond_limit(c)) for c in changes if _exceeds_slippage_alert(c)]:
        run(sql.NOTIFY_SLIPPAGE_ALERTS, columns(alerts, 2))
        run(sql.LOG_SLIPPAGE_ALERTS, columns(alerts, 2))
    write_change_lines(changes)
    return result.to_rebuild


def _record(change: OrderChange) -> tuple[Any, ...]:
    row, state, delta, transition = change.row, change.state, change.delta, change.transition
    assert transition is not None  # the caller passes only orders that change
    ended = state.status in TERMINAL
    return (
        row.id,
        state.status.value,
        state.status != row.status,
        transition.code.value if transition.code else "",
        storable(transition.detail)[:MAX_DETAIL],
        last_reported(change, "broker_order_id"),
        last_reported(change, "broker_position_id"),
        state.filled,
        change.average,
        change.slippage,
        change.unit.value,
        delta.quantity,
        delta.value,
        delta.opened,
        delta.opened_value,
        delta.commission,
        min(delta.times, default=None),
        max(delta.times, default=None),
        any(report.kind not in DECISIONS for report in change.reports),
        _is_answered(change),
        row.status in IN_FLIGHT,
        ended,
        _ended_target(change),
        state.attempt + transition.next_attempt,
        min(row.send_retries + transition.next_try, MAX_COUNTED_TRIES),
        _wait(row, transition),
        not change.passed and _skipped_submitted(change),
        orjson.dumps(_numbers(change)).decode(),
        *_levels(change),
    )


def _is_answered(change: OrderChange) -> bool:
    """Return whether reports reply to a call or query of ours, so with all that the broker knew."""
    return any(report.kind not in DECISIONS and not report.event_id for report in change.reports)


def end_answered_look_ups(changes: Iterable[OrderChange]) -> None:
    """End the look-ups of orders whose reply states nothing that the stream had not reported."""
    if answered := [
        change.row.id
        for change in changes
        if change.transition is None and change.row.is_partly_known and _is_answered(change)
    ]:
        run(sql.END_LOOK_UPS, (answered,))


def _wait(row: sql.OrderRow, transition: Transition) -> float:
    """Return the seconds until a row that goes back to PENDING is due."""
    if transition.is_deferred and transition.code in NOT_REACHED:
        return _spread(not_reached_seconds(row.order_type, row.age))
    if transition.is_deferred:
        return deferral_seconds(row.order_type, row.waited)
    return _backoff(row.send_retries) if transition.next_try else 0.0


def _levels(change: OrderChange) -> tuple[bool, Decimal | None, Decimal | None, Decimal | None]:
    """Return whether the broker reported with an execution which levels it holds, and those."""
    reported = [report.levels for report in change.reports if report.levels is not None]
    if not reported or change.state.is_exit:
        return False, None, None, None
    return True, reported[-1].stop_loss, reported[-1].take_profit, reported[-1].protected


def _skipped_submitted(change: OrderChange) -> bool:
    """Return whether the broker reported a status after SUBMITTED, and never SUBMITTED."""
    return (
        change.row.status in UNREPORTED
        and change.state.status in BEYOND_SUBMITTED
        and Status.SUBMITTED not in change.passed
    )


def _passed(change: OrderChange) -> list[Status]:
    """Return every status that the batch has led through, except the last."""
    first = [Status.SUBMITTED] if _skipped_submitted(change) else []
    return [*first, *change.passed]


def _is_placed(change: OrderChange) -> bool:
    """Return whether the broker has accepted an order, and perhaps filled it at once."""
    placed = (Status.SUBMITTED, Status.PARTIALLY_FILLED, Status.FILLED)
    return change.row.status in UNREPORTED and any(
        status in placed for status in (*change.passed, change.state.status)
    )


def _is_unexpectedly_live(change: OrderChange) -> bool:
    return change.transition is not None and change.transition.code is Code.UNEXPECTEDLY_LIVE


def _ended_target(change: OrderChange) -> int | None:
    """Return the number of the target whose exit has ended with something filled, and had not, or
    has filled completely only now.

    Its leg is `tp-2`, or for example `tp-2.3+2`: repeated, and the second order of that request.
    A broker's own exit is filled after each of its executions, and larger each time.
    """
    row, state = change.row, change.state
    if not row.leg.startswith("tp-") or state.status not in TERMINAL or state.filled <= 0:
        return None
    if row.status in TERMINAL and row.filled_quantity > 0:
        is_brokers_own = row.client_order_id is None
        is_larger = is_brokers_own and state.filled > row.filled_quantity
        if not is_larger and (row.status == Status.FILLED or state.status != Status.FILLED):
            return None
    return int(target_of_leg(row.leg).removeprefix("tp-"))


def _implied(row: sql.OrderRow, status: Status) -> tuple[Any, ...]:
    """Return the values of a log line for a status that the order only passed."""
    return row.id, row.signal_id, row.connection_id, status.value, status.value


def _is_delayed(change: OrderChange) -> bool:
    """Return whether an exit has just reached the retries after which an entry would be FAILED."""
    transition = change.transition
    spent = change.row.send_retries + 1 == MAX_TRIES
    return transition is not None and transition.next_try and spent and change.state.is_exit


def _closes_nothing(change: OrderChange) -> bool:
    """Return whether the broker rejected an exit because it holds less than we do, or nothing.

    A reconciliation shows who closed the position; another exit would not.
    """
    rejected = any(
        report.code in HOLDS_LESS and report.kind in REJECTIONS for report in change.reports
    )
    return rejected and change.state.is_exit


def price_beyond_limit(change: OrderChange) -> Decimal | None:
    """Return the worst price of the new fills if it is beyond the order's worst price, else None.

    Some brokers do not enforce it at the fill (`Capabilities.checks_worst_price`). Each fill is
    checked, not their average; of a cumulative quantity only the average is known.
    """
    worst = change.row.worst_price
    if worst is None or not change.delta.prices:
        return None
    side = Side(change.row.side)
    price = max(change.delta.prices, key=lambda price: price * side.sign)
    return price if is_worse_than(price, worst, side) else None


def _is_moved_share(change: OrderChange) -> bool:
    return change.transition is not None and change.transition.code is Code.SHARE_MOVED


def _exceeds_slippage_alert(change: OrderChange) -> bool:
    """Return whether the slippage exceeds the alert threshold, or a new fill is beyond the worst
    price."""
    if change.slippage is None or _is_moved_share(change):  # its execution was judged before
        return False
    if price_beyond_limit(change) is not None:
        return True
    threshold = change.row.alert_threshold
    if threshold is None:
        tracking = settings_now().fill_tracking
        threshold = (
            tracking.slippage_alert_threshold_pips
            if change.unit is Unit.PIPS
            else tracking.slippage_alert_threshold_basis_points
        )
    return abs(change.slippage) > threshold


def _numbers(change: OrderChange) -> dict[str, str]:
    """Return the figures of a log line and an event, as text."""
    delta = change.delta
    if not delta.changes_anything:
        return _reason_payload(change.transition)
    numbers = {
        "quantity": plain(delta.quantity),
        "price": plain(change.average),
        "expected_price": plain(change.row.expected_price),
        "broker_fill_ids": ",".join(delta.fill_ids),
    }
    if delta.replaced:
        numbers["replaced"] = plain(delta.replaced)
    if change.slippage is not None:
        numbers["slippage"] = plain(change.slippage.quantize(Decimal("0.1")))
        numbers["slippage_unit"] = change.unit.value
    return numbers


def _reason_payload(transition: Transition | None) -> dict[str, str]:
    """Return the reason: our code and the broker's message."""
    if transition is None or transition.code is None:
        return {}
    text = {"detail": storable(transition.detail)[:ORDER_DETAIL]} if transition.detail else {}
    return {"code": transition.code.value, **text}


def _backoff(send_retries: int) -> float:
    """Return the seconds before the next try: 0.5, 1, 2, 4 … with up to 50 % jitter; at most 60."""
    return _spread(min(0.5 * 2.0 ** min(send_retries, 10), 40.0))


def _spread(seconds: float) -> float:
    """Add up to 50 % jitter, so that not all orders of a host are sent at once."""
    return seconds + random.uniform(0, seconds / 2)  # not a secret
