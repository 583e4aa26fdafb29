"""apply_reports: the single door for everything that a broker says, and for what we decide about
a call. Set-based, one transaction, idempotent and independent of the order of arrival.

Facts (acceptance, fills, refusals) are never fenced: they are true whoever brings them. Decisions
(NotSent, unknown) always are: only the process that holds the order's present fence may decide.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import orjson
import structlog
from django.conf import settings
from django.db import transaction

from brokers.base import DECISIONS, Execution, OrderReport, ReportKind, Side
from common.codes import Code
from common.faults import point
from common.money import divide, plain
from common.sql import array, columns, rows, run
from execution import reports_sql as sql
from execution.broker_exits import Told, conclude, lock_in_order, materialise
from execution.concluded import give_back, is_conclusion
from execution.drift import write_drift
from execution.ids import all_attempts, at_attempt, attempt_of, base_of
from execution.inferred import NOTHING, Sums, Unusual, count_new, recount, settle
from execution.models import IN_FLIGHT, TERMINAL, Status, Tally
from execution.reserve import balance_locked, lock_positions, lock_positions_of
from execution.tallies import count
from execution.transitions import (
    LATE,
    TRIES,
    State,
    Step,
    after_fill,
    after_report,
    require,
    risen_before_retry,
)

log = structlog.get_logger(__name__)
ZERO = Decimal(0)
MOST_TRIES = 1000  # that are counted: an exit is tried for ever, and the column is small
WITHDRAWN = frozenset({Status.CANCELLED.value, Status.EXPIRED.value})
STATUS = {status.value: status for status in Status}  # cheaper than the enum's own conversion
SIGN = {side.value: side.sign for side in Side}
UNTOLD = frozenset({Status.PENDING, *IN_FLIGHT})
BEYOND_SUBMITTED = frozenset(
    {Status.PARTIALLY_FILLED, Status.FILLED, Status.CANCELLED, Status.EXPIRED}
)
FACTS_OF_ONE_ATTEMPT = frozenset(
    {
        ReportKind.ACCEPTED,
        ReportKind.REJECTED,
        ReportKind.CANCELLED,
        ReportKind.EXPIRED,
        ReportKind.CANCEL_REFUSED,
    }
)


@dataclass(slots=True)
class Change:
    """What a flush of reports makes of one order."""

    row: Any
    state: State
    step: Step | None = None
    reports: list[OrderReport] = field(default_factory=list)
    fills: list[Any] = field(default_factory=list)  # new ones only
    unusual: list[Execution] = field(default_factory=list)  # sums and corrections
    sums: Sums = field(default_factory=lambda: NOTHING)
    passed: list[Status] = field(default_factory=list)  # states between the first and the last
    average: Decimal = ZERO  # price of all fills, old and new
    slippage: Decimal | None = None  # pips, + is worse; None without a new fill


@dataclass(frozen=True, slots=True)
class Applied:
    """How many orders changed, and which reports must be told again later."""

    written: int
    deferred: list[OrderReport]


def apply_reports(reports: Sequence[OrderReport]) -> Applied:
    """Write down what the reports say.

    Raises Django's database errors: `flusher.apply_or_halve` retries, waits or sets the poisoned
    report aside.
    """
    with transaction.atomic():
        lock_in_order(reports)
        concluded = [report for report in reports if is_conclusion(report)]
        told = materialise([r for r in reports if not is_conclusion(r)] if concluded else reports)
        written, deferred = _apply(told), told.deferred
        if concluded:  # afterwards: what is told counts more
            closes = conclude(concluded)
            written, deferred = written + _apply(closes), deferred + closes.deferred
        _write_levels(r for r in reports if r.kind is ReportKind.LEVELS)
        point("outcome.written")
    point("outcome.committed")
    return Applied(written, deferred)


def _apply(told: Told) -> int:
    found = _load((r for r, order_id in told.reports if order_id is None), told.ids)
    changes = _sort(told.reports, found)
    _insert_fills(changes)
    for change in changes.values():
        _fold(change)
    moved = [change for change in changes.values() if change.step is not None]
    # A first fill opens a position: there is none yet to lock, and it has no exits.
    touched = [c.row.id for c in moved if c.state.is_exit or c.row.filled_quantity > 0]
    positions = lock_positions_of(touched)
    replaced = _take_back(moved, told.conclusions)
    # Apart, because a statement can change a position's row only once.
    written = _write([change for change in moved if not change.state.is_exit])
    written += _write([change for change in moved if change.state.is_exit])
    recount(replaced)
    balance_locked(positions)
    _name_positions(changes.values())
    return written


def _load(reports: Iterable[OrderReport], ids: list[int]) -> dict[Any, Any]:
    """Lock and load the orders that reports speak of; keyed by id base and by primary key."""
    wanted = {r.client_order_id for r in reports if r.client_order_id}
    parameters = {"ids": ids, "alert_pips": settings.FILLCAST_SLIPPAGE_ALERT_PIPS}
    loaded = rows(sql.LOAD, {**parameters, "client_order_ids": array(wanted)})
    missing = wanted - {row.client_order_id for row in loaded}
    if missing:  # another attempt of the same order, or not ours at all
        others = [other for one in missing for other in all_attempts(one)]
        loaded += rows(sql.LOAD, {**parameters, "ids": [], "client_order_ids": array(others)})
    found: dict[Any, Any] = {row.id: row for row in loaded}
    found.update({base_of(row.client_order_id): row for row in loaded if row.client_order_id})
    return found


def _sort(told: list[tuple[OrderReport, int | None]], found: dict[Any, Any]) -> dict[int, Change]:
    """Bring reports to their orders; one without an order becomes drift."""
    changes: dict[int, Change] = {}
    for report, order_id in told:
        if report.kind is ReportKind.LEVELS:
            continue
        row = found.get(order_id if order_id is not None else base_of(report.client_order_id))
        if row is None or row.connection_id != report.connection_id:
            if not write_drift(Code.UNKNOWN_ORDER, report):
                count(Tally.Name.NOBODYS_REPORT, repr(report))
            continue
        if (change := changes.get(row.id)) is None:
            change = changes[row.id] = Change(row, _state_of(row))
        change.reports.append(report)
    return dict(sorted(changes.items()))


def _state_of(row: Any) -> State:
    return State(
        status=STATUS[row.status],
        quantity=row.quantity or ZERO,
        filled=row.filled_quantity,
        attempt=row.attempt,
        tries=row.tries,
        fence=row.fence,
        is_exit=row.position_id is not None,
        unheard=row.unheard,
    )


def _insert_fills(changes: dict[int, Change]) -> None:
    """Insert the executions; those that were there already count no second time."""
    records: dict[tuple[str, str], tuple[Any, ...]] = {}
    for change in changes.values():
        for report in change.reports:
            for fill in report.fills:
                if fill.inferred or fill.revision:
                    change.unusual.append(fill)
                    continue
                key = (change.row.connection_id, fill.broker_fill_id)
                records.setdefault(key, _fill_record(change.row, fill))
    if records:
        ordered = [records[key] for key in sorted(records)]
        for new in rows(sql.FILLS, columns(ordered, 10)):
            changes[new.order_id].fills.append(new)
    unusual = [
        Unusual(c.row, c.fills, c.unusual)
        for c in changes.values()
        if c.unusual or (c.fills and c.row.inferred_quantity > 0)
    ]
    if unusual:
        for order_id, sums in settle(unusual).items():
            changes[order_id].sums = sums


def _fill_record(row: Any, fill: Execution) -> tuple[Any, ...]:
    return (
        row.connection_id, fill.broker_fill_id, row.id, row.side, fill.quantity, fill.price,
        fill.commission, fill.commission_currency, fill.time, fill.inferred,
    )  # fmt: skip


def _fold(change: Change) -> None:
    """Apply new executions, then the other facts in their order, then decisions."""
    change.average = change.row.avg_fill_price
    if change.fills and change.sums is NOTHING:
        change.sums = count_new(change.fills)
    if change.sums.changes_anything:
        if _is_of_the_attempt_before(change):
            change.state.attempt -= 1  # its retry never leaves: what is told of this one counts
        _add_fills(change)
    if len(change.reports) > 1:
        change.reports.sort(key=lambda report: report.kind in DECISIONS)
    for report in change.reports:
        if report.kind in FACTS_OF_ONE_ATTEMPT and not _same_attempt(change, report):
            step = _of_another_attempt(change, report)
        else:
            step = after_report(change.state, report)
        if step is not None:
            _move(change, step)
        if report.kind not in DECISIONS:
            change.state.unheard = False


def _add_fills(change: Change) -> None:
    row, state, sums = change.row, change.state, change.sums
    total = state.filled + sums.quantity
    change.average = divide(state.filled * row.avg_fill_price + sums.value, total)
    if row.expected_price is not None and row.pip:
        moved = (change.average - row.expected_price) * SIGN[row.side]
        change.slippage = divide(moved, row.pip)
    if sums.quantity > 0:
        _move(change, after_fill(state, total))
    else:
        code = Code.INFERRED_REPLACED if sums.replaced else Code.FILL_CORRECTED
        _move(change, Step(state.status, code))
    change.state.filled = total


def _is_of_the_attempt_before(change: Change) -> bool:
    """Whether what has filled is an attempt whose retry still waits to be sent."""
    before = change.state.attempt - 1
    return change.state.status == Status.PENDING and any(
        report.fills and attempt_of(report.client_order_id) == before for report in change.reports
    )


def _same_attempt(change: Change, report: OrderReport) -> bool:
    """A row that waits for its next attempt still has the id of the last one."""
    if report.close_cause is not None:
        return True
    current = at_attempt(change.row.client_order_id, change.state.attempt)
    return bool(report.client_order_id == current)


def _of_another_attempt(change: Change, report: OrderReport) -> Step | None:
    """An old attempt that turns out to be live: in place of the one that waits, or beside it."""
    if report.kind is not ReportKind.ACCEPTED:
        return None
    row, attempt = change.row, attempt_of(report.client_order_id)
    # By the log: the row's reason is another as soon as the retry has waited or was not sent.
    if attempt >= row.attempt or not rows(sql.RETRIED, ([row.id],)):
        return None
    step = risen_before_retry(change.state, attempt)
    if step is None:
        write_drift(Code.RISEN, report)  # two may be live: people must look
    return step


def _take_back(moved: Sequence[Change], conclusions: bool) -> list[int]:
    """Take what exits are told to have executed out of what was concluded about their positions.

    Returns the orders whose positions are to be worked out anew.
    """
    told: dict[int, Decimal] = {}
    for change in moved if not conclusions else ():
        if change.state.is_exit and change.sums.quantity > 0:
            position_id = change.row.position_id
            told[position_id] = told.get(position_id, ZERO) + change.sums.quantity
    reduced = give_back(told)
    return [
        change.row.id
        for change in moved
        if change.sums.is_restated or change.row.position_id in reduced
    ]


def _move(change: Change, step: Step) -> None:
    if step.status != change.state.status:
        require(change.state.status, step.status)
        if change.state.status != change.row.status:
            change.passed.append(change.state.status)
    change.step = step
    change.state.status = step.status


def _write(changes: list[Change]) -> int:
    if not changes:
        return 0
    records = [_record(change) for change in changes]
    arrays = dict(zip(sql.COLUMNS, columns(records, len(sql.COLUMNS)), strict=True))
    opening = {c.row.signal_id for c in changes if c.sums.quantity or _target_done(c)} - {None}
    levels = rows(sql.EFFECTIVE_LEVELS, (list(opening),)) if opening else []
    signals = {
        "signal_ids": [level.signal_id for level in levels],
        "sls": [level.sl for level in levels],
        "targets": [array(level.targets) for level in levels],
    }
    if implied := [_implied(c.row, status) for c in changes if c.passed for status in _passed(c)]:
        run(sql.IMPLIED, columns(implied, 5))
    written = rows(sql.WRITE, {**arrays, **signals})[0].written
    if late := [c.row.id for c in changes if c.sums.quantity and c.row.status in LATE]:
        run(sql.CLOSE_AGAIN, (late,))
    if delayed := [c.row.id for c in changes if _is_delayed(c)]:
        run(sql.EXIT_DELAYED, (delayed,))
    if risen := [(c.row.id, c.row.status in WITHDRAWN) for c in changes if _has_risen(c)]:
        log.error("orders that had been given up are live", orders=[id_ for id_, _ in risen])
        run(sql.RISEN, columns(risen, 2))
    if alerts := [c.row.id for c in changes if _alarming(c)]:
        run(sql.ALERT, (alerts,))
        run(sql.ALERT_LOG, (alerts,))
    return int(written)


def _record(change: Change) -> tuple[Any, ...]:
    row, state, step = change.row, change.state, change.step
    assert step is not None  # the caller sorted
    ended = state.status in TERMINAL
    sums = change.sums
    return (
        row.id,
        state.status.value,
        state.status != row.status,
        step.code.value if step.code else "",
        step.detail[:300],
        _last(change, "broker_order_id"),
        _last(change, "broker_position_id"),
        state.filled,
        change.average,
        change.slippage,
        sums.quantity,
        sums.value,
        sums.commission,
        min(sums.times, default=None),
        max(sums.times, default=None),
        any(report.kind not in DECISIONS for report in change.reports),
        any(report.kind not in DECISIONS and not report.event_id for report in change.reports),
        row.status in IN_FLIGHT,
        ended,
        _target_done(change),
        state.attempt + step.next_attempt,
        min(row.tries + step.next_try, MOST_TRIES),
        _backoff(row.tries) if step.next_try else 0.0,
        not change.passed and _skipped_submitted(change),
        orjson.dumps(_numbers(change)).decode(),
    )


def _skipped_submitted(change: Change) -> bool:
    """Whether the broker told of what comes after SUBMITTED, and never of that."""
    return (
        change.row.status in UNTOLD
        and change.state.status in BEYOND_SUBMITTED
        and Status.SUBMITTED not in change.passed
    )


def _passed(change: Change) -> list[Status]:
    """Every state that one flush has led through, but for the last."""
    first = [Status.SUBMITTED] if _skipped_submitted(change) else []
    return [*first, *change.passed]


def _has_risen(change: Change) -> bool:
    return change.step is not None and change.step.code is Code.RISEN


def _target_done(change: Change) -> bool:
    """Whether a take profit has ended with something filled, and had not before."""
    before = change.row.status in TERMINAL and change.row.filled_quantity > 0
    now = change.state.status in TERMINAL and change.state.filled > 0
    return now and not before and change.row.leg.startswith("tp")


def _implied(row: Any, status: Status) -> tuple[Any, ...]:
    return row.id, row.signal_id, row.connection_id, status.value, status.value


def _last(change: Change, name: str) -> str:
    for report in reversed(change.reports):
        if value := getattr(report, name):
            return str(value)
    return ""


def _is_delayed(change: Change) -> bool:
    """Whether an exit could not be sent as often as an entry would have been before it FAILED."""
    step = change.step
    spent = change.row.tries + 1 == TRIES
    return step is not None and step.next_try and spent and change.state.is_exit


def _alarming(change: Change) -> bool:
    return change.slippage is not None and abs(change.slippage) > change.row.alert_pips


def _numbers(change: Change) -> dict[str, str]:
    """The figures of a log line and an event, as text."""
    sums = change.sums
    if not sums.changes_anything:
        return _said(change.step)
    numbers = {
        "quantity": plain(sums.quantity),
        "price": plain(change.average),
        "expected_price": plain(change.row.expected_price),
        "broker_fill_ids": ",".join(sums.fill_ids),
    }
    if sums.replaced:
        numbers["replaced"] = plain(sums.replaced)
    if change.slippage is not None:
        numbers["slippage_pips"] = plain(change.slippage.quantize(Decimal("0.1")))
    return numbers


def _said(step: Step | None) -> dict[str, str]:
    """Why, in the code and the broker's own words."""
    if step is None or step.code is None:
        return {}
    words = {"detail": step.detail[:300]} if step.detail else {}
    return {"code": step.code.value, **words}


def _backoff(tries: int) -> float:
    """Seconds before the next try: 0.5, 1, 2, 4 with up to half of it as jitter; at most 60."""
    base: float = min(0.5 * 2.0 ** min(tries, 10), 40.0)
    return base + random.uniform(0, base / 2)  # jitter, not a secret


def _name_positions(changes: Iterable[Change]) -> None:
    """Take over a position's number at the broker from a report that came after its fill."""
    told = {
        (c.row.connection_id, c.row.signal_id, number)
        for c in changes
        if not (c.sums.quantity or c.state.is_exit) and c.state.filled > 0
        and (number := _last(c, "broker_position_id"))
    }  # fmt: skip
    if told:
        run(sql.NAME_POSITIONS, columns(sorted(told), 3))


def _write_levels(reports: Iterable[OrderReport]) -> None:
    """Write down what brokers confirm; a level that one refused becomes ours to watch at once."""
    latest = {
        r.client_order_id: (
            r.client_order_id, r.stop_loss, r.take_profit, r.protected,
            r.code is Code.STOPS_INVALID,
        )
        for r in reports
    }  # fmt: skip
    if not latest:
        return
    lock_positions([row.id for row in rows(sql.POSITIONS_OF, (array(latest),))])
    told = columns(list(latest.values()), 5)
    run(sql.LEVELS, told)
    if any(record[-1] for record in latest.values()):  # its fills may be told after this
        run(sql.NOT_HELD, told)
