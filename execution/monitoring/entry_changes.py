"""Changes of working orders: price and quantity are made at the broker what was requested.

A process claims a change for as long as the call may take and does not wait for the answer. A
change whose answer is lost is not sent again before the order was read at the broker: what that
shows is the truth. A second change to the same values has no other effect, so it may follow the
read. The results of a call count only while no later call was made.

The order is never replaced by another one (docs/adr/0028).
"""

from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any

from django.db import transaction

from brokers.base import BrokerError, NotSent, Rejected
from brokers.registry import adapter_for
from brokers.types import (
    BrokerOrder,
    ChangeRequest,
    OrderField,
    OrderReport,
    OrderTerms,
    OrderType,
    ReportKind,
    Side,
)
from common.failpoints import failpoint
from common.reason_codes import Code
from common.sql import IdRow, Query, columns, database_now, periodic_rows, rows, run
from connections.selectors import SPEC_COLUMNS, LaneAccount, connection_join_sql, spec_from_row
from connections.session_lanes import held_lanes_parameters, in_held_lanes_sql
from execution.base.change_events import changed_event_sql
from execution.base.kill_switch import Halts, denial_code, read_halts
from execution.base.statements import insert_events_sql
from execution.dispatch.background_calls import BackgroundCall, CallResult, send_deadline
from execution.dispatch.call_results import reports_in, write_results
from execution.ids import base_of
from execution.models import AT_BROKER, ChangeState
from execution.monitoring.freeze import hold_frozen_changes
from execution.reports.apply import apply_reports
from execution.reports.row_locks import free_orders
from execution.runtime import trading_runtime
from execution.signal_changes import begin_waiting_changes
from signals.joins import signal_join_sql

MAX_SENDS = 3
"""How often a change is sent that the broker does not take over, before it is given up."""
GIVE_UP_SECONDS = 60
"""How long a change that could not leave is tried. Later the price may be another one."""
READ_MAX_SECONDS = 60.0
"""The longest time between two reads of an order whose reads fail."""
ABSENT_READS = 2
"""In how many reads a full order must be missing before it counts as executed."""
_AT_BROKER = f"'{{{','.join(AT_BROKER)}}}'"
_OPEN = "('REQUESTED', 'SENT', 'UNKNOWN')"


@dataclass(frozen=True, slots=True)
class ChangeRow(LaneAccount):
    """A claimed change with its order and connection. id: the order's.

    was: its state before the claim; REQUESTED is sent, the others are read. answer_by:
    until then the last change may still reach the broker. age: seconds since it was requested.
    was_frozen: it has waited for the market to move away from the order.
    """

    id: int
    change_id: int
    was: str
    calls: int
    sends: int
    absences: int
    age: float
    answer_by: datetime | None
    raises_risk: bool
    was_frozen: bool
    is_cancelled: bool
    feed_id: int | None
    pair: str
    signal_pair: str | None
    client_order_id: str
    broker_order_id: str
    symbol: str
    side: str
    order_type: str
    filled_quantity: Decimal
    quantity: Decimal
    limit_price: Decimal | None
    stop_price: Decimal | None
    old_quantity: Decimal
    old_limit_price: Decimal | None
    old_stop_price: Decimal | None

    @property
    def terms(self) -> OrderTerms:
        """What the order shall have."""
        return OrderTerms(self.quantity, self.limit_price, self.stop_price)

    @property
    def old_terms(self) -> OrderTerms:
        """What it had before."""
        return OrderTerms(self.old_quantity, self.old_limit_price, self.old_stop_price)

    @property
    def request(self) -> ChangeRequest:
        """The change as it is sent, without a deadline."""
        return ChangeRequest(
            client_order_id=self.client_order_id,
            broker_order_id=self.broker_order_id,
            connection_id=str(self.connection_id),
            symbol=self.symbol,
            side=Side(self.side),
            order_type=OrderType(self.order_type),
            terms=self.terms,
            present=self.old_terms,
        )


@dataclass(frozen=True, slots=True)
class ChangeOutcome:
    """What follows from a call. seconds: until it is due again, if its state is an open one.

    shown: the terms that the order has; None: they are not known. look_up: the order is looked up,
    since its broker does not list it. unsent: the change has certainly not left.
    """

    row: ChangeRow
    state: ChangeState
    code: Code | None = None
    detail: str = ""
    seconds: float = 0.0
    shown: OrderTerms | None = None
    absences: int = 0
    look_up: bool = False
    unsent: bool = False
    reports: tuple[OrderReport, ...] = field(default=())


ANY_DUE = Query(
    IdRow,
    f"""
SELECT h.id FROM execution_entrychange h
WHERE h.state IN {_OPEN} AND h.due_at <= statement_timestamp() LIMIT 1
""",
)

CLAIM = Query(
    ChangeRow,
    f"""
WITH due AS (
  SELECT h.id, h.state FROM execution_entrychange h
  JOIN execution_order o ON o.id = h.order_id
  WHERE h.state IN {_OPEN} AND h.due_at <= statement_timestamp()
    AND o.status = ANY({_AT_BROKER}) AND {in_held_lanes_sql("o.connection_id")}
  ORDER BY h.due_at LIMIT 500 FOR NO KEY UPDATE OF h SKIP LOCKED
), claimed AS (
  UPDATE execution_entrychange h SET calls = h.calls + 1,
    state = CASE h.state WHEN 'REQUESTED' THEN 'SENT' ELSE h.state END,
    sends = h.sends + CASE h.state WHEN 'REQUESTED' THEN 1 ELSE 0 END,
    sent_at = CASE h.state WHEN 'REQUESTED' THEN clock_timestamp() ELSE h.sent_at END,
    due_at = clock_timestamp() + make_interval(secs => %(longest)s),
    answer_by = CASE h.state WHEN 'REQUESTED'
      THEN clock_timestamp() + make_interval(secs => %(longest)s) ELSE h.answer_by END
  FROM due WHERE h.id = due.id
  RETURNING h.*, due.state AS was
)
SELECT o.id, h.id AS change_id, h.was, h.calls, h.sends, h.absences,
  extract(epoch FROM clock_timestamp() - h.requested_at)::float8 AS age, h.answer_by,
  h.raises_risk, h.code = '{Code.LEVELS_FROZEN.value}' AS was_frozen,
  o.pending_action <> '' AS is_cancelled, s.feed_id,
  o.pair, s.currency_pair AS signal_pair, o.client_order_id, o.broker_order_id, o.symbol, o.side,
  o.order_type, o.filled_quantity, h.quantity, h.limit_price, h.stop_price, h.old_quantity,
  h.old_limit_price, h.old_stop_price, o.connection_id, {SPEC_COLUMNS}, c.broker_host, c.lane
FROM claimed h JOIN execution_order o ON o.id = h.order_id
{signal_join_sql("o.signal_id")}
{connection_join_sql("o.connection_id")}
ORDER BY o.id
""",
)

# The order has ended: a change that filled more than it had before was done, others were not.
END = f"""
WITH ended AS (
  SELECT h.id, h.order_id, o.filled_quantity,
    CASE WHEN o.filled_quantity > h.old_quantity THEN 'DONE' ELSE 'REFUSED' END AS state
  FROM execution_entrychange h JOIN execution_order o ON o.id = h.order_id
  WHERE h.state IN {_OPEN} AND o.done_at IS NOT NULL
  ORDER BY h.order_id LIMIT 500 FOR NO KEY UPDATE OF h, o SKIP LOCKED
), moved AS (
  UPDATE execution_entrychange h SET state = e.state, done_at = clock_timestamp(),
    code = CASE e.state WHEN 'DONE' THEN '' ELSE '{Code.ORDER_ENDED.value}' END
  FROM ended e WHERE h.id = e.id
  RETURNING h.*
), counted AS (
  UPDATE execution_order o SET
    -- A change that was sent may have been made: a late fill may need the larger quantity.
    quantity = CASE WHEN h.state = 'DONE' THEN greatest(o.filled_quantity, h.quantity)
      WHEN h.sends = 0 THEN greatest(o.filled_quantity, h.old_quantity) ELSE o.quantity END,
    margin = CASE h.state WHEN 'DONE' THEN h.margin ELSE h.old_margin END,
    risk = CASE h.state WHEN 'DONE' THEN h.risk ELSE h.old_risk END
  FROM moved h WHERE o.id = h.order_id
  RETURNING o.id, o.signal_id, o.connection_id, h.id AS change_id, h.state
)
{insert_events_sql(changed_event_sql("counted m", "m.state = 'DONE'"))}
"""

LOCK_ORDERS = """
SELECT id FROM execution_order WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE
"""

# Only the result of the last call counts. The margin and the risk are those of what the order has;
# while the change is open, the larger ones.
SETTLE = Query(
    IdRow,
    f"""
WITH result AS (
  SELECT * FROM unnest(%(id)s::bigint[], %(calls)s::int[], %(state)s::text[], %(code)s::text[],
    %(detail)s::text[], %(seconds)s::float8[], %(absences)s::int[], %(look_up)s::boolean[],
    %(unsent)s::boolean[])
  AS t(id, calls, state, code, detail, seconds, absences, look_up, unsent)
), settled AS (
  UPDATE execution_entrychange h SET state = r.state, code = r.code, detail = left(r.detail, 300),
    absences = r.absences, sends = h.sends - r.unsent::int,
    due_at = clock_timestamp() + make_interval(secs => r.seconds),
    done_at = CASE WHEN r.state IN {_OPEN} THEN NULL ELSE clock_timestamp() END
  FROM result r
  WHERE h.id = r.id AND h.calls = r.calls AND h.state IN {_OPEN}
  RETURNING h.*, r.look_up
), counted AS (
  UPDATE execution_order o SET
    margin = CASE h.state WHEN 'DONE' THEN h.margin WHEN 'REFUSED' THEN h.old_margin
      ELSE o.margin END,
    risk = CASE h.state WHEN 'DONE' THEN h.risk WHEN 'REFUSED' THEN h.old_risk ELSE o.risk END,
    lookup_after = CASE WHEN h.look_up AND o.done_at IS NULL
      THEN least(o.lookup_after, clock_timestamp()) ELSE o.lookup_after END
  FROM settled h WHERE o.id = h.order_id
  RETURNING o.id, o.signal_id, o.connection_id, o.status, h.state, h.code, h.detail,
    h.id AS change_id
), notified AS (
  {insert_events_sql(changed_event_sql("counted m", "m.state = 'DONE'"))}
), logged AS (
  INSERT INTO execution_executionlog (order_id, signal_id, connection_id, code, status, detail)
  SELECT id, signal_id, connection_id, CASE state WHEN 'DONE' THEN '{Code.ORDER_CHANGED.value}'
    WHEN 'UNKNOWN' THEN '{Code.CHANGE_UNANSWERED.value}' ELSE code END, status, detail
  FROM counted WHERE state = 'DONE' OR code NOT IN ('', '{Code.LEVELS_FROZEN.value}')
)
SELECT id FROM settled
""",
)
SETTLE_COLUMNS = (
    "id",
    "calls",
    "state",
    "code",
    "detail",
    "seconds",
    "absences",
    "look_up",
    "unsent",
)


def sync_entry_changes() -> None:
    """Start the calls of due changes, and end those whose order has ended. Does not wait."""
    begin_waiting_changes()
    if not periodic_rows(ANY_DUE):
        return
    background_calls = trading_runtime.get_runtime().dispatcher.background_calls
    send_by = send_deadline()
    with transaction.atomic():
        run(END)
        hold_frozen_changes()
        parameters = {"longest": background_calls.max_seconds(), **held_lanes_parameters()}
        claimed = rows(CLAIM, parameters)
    if not claimed:
        return
    failpoint("changes.committed")
    halts = read_halts() if any(row.raises_risk for row in claimed) else Halts()
    stopped = {row.change_id: code for row in claimed if (code := _stopped_by(row, halts))}
    _store([_not_made(row, stopped[row.change_id]) for row in claimed if row.change_id in stopped])
    background_calls.start(
        [
            BackgroundCall(
                ("change", row.id),
                row,
                partial(_change if row.was == ChangeState.REQUESTED else _read, row, send_by),
                _write_change_results,
            )
            for row in claimed
            if row.change_id not in stopped
        ]
    )


def _stopped_by(row: ChangeRow, halts: Halts) -> Code | None:
    """Return why a requested change is not sent any more.

    After a minute the price may be another one, and its limits were checked too long ago. One that
    lowers the risk and waited for the market to move away is sent whenever it has.
    """
    if row.was != ChangeState.REQUESTED:
        return None
    if row.is_cancelled:
        return Code.ORDER_BEING_CANCELLED
    if row.age > GIVE_UP_SECONDS and not (row.was_frozen and not row.raises_risk):
        return Code.CHANGE_TOO_OLD
    if not row.raises_risk:
        return None
    halt = halts.mode(
        owner_id=row.owner_id,
        feed_id=row.feed_id,
        connection_id=row.connection_id,
        broker_type=row.type,
        pairs={row.pair, row.signal_pair or row.pair},
    )
    return None if halt is None else denial_code(halt)


def _change(row: ChangeRow, send_by: float) -> Coroutine[Any, Any, list[OrderReport]]:
    send_by = min(send_by, trading_runtime.get_runtime().lanes.until(row.lane))
    request = replace(row.request, send_by=send_by)
    return adapter_for(row.type).change_order(spec_from_row(row), request)


def _read(row: ChangeRow, _send_by: float) -> Coroutine[Any, Any, list[BrokerOrder]]:
    return adapter_for(row.type).open_orders(spec_from_row(row))


def _write_change_results(done: Sequence[CallResult]) -> None:
    """Store what followed from changes and reads."""
    failpoint("changes.answered")
    write_results(done, _settle, free_orders)


def _settle(done: Sequence[CallResult]) -> None:
    now = database_now()
    _store([outcome_of_call(result, now) for result in done])


def _store(outcomes: Sequence[ChangeOutcome]) -> None:
    """Store outcomes of calls, and the terms that brokers have shown, in one transaction."""
    if not outcomes:
        return
    records = [
        (
            one.row.change_id, one.row.calls, one.state.value, one.code.value if one.code else "",
            one.detail, one.seconds, one.absences, one.look_up, one.unsent,
        )
        for one in outcomes
    ]  # fmt: skip
    with transaction.atomic():
        rows(LOCK_ORDERS, (sorted({one.row.id for one in outcomes}),))
        arrays = columns(records, len(SETTLE_COLUMNS))
        settled = {row.id for row in rows(SETTLE, dict(zip(SETTLE_COLUMNS, arrays, strict=True)))}
        reports = [report for one in outcomes for report in one.reports]
        reports += [
            _changed(one.row, _stored_terms(one.row, one.shown))
            for one in outcomes
            if one.shown is not None and one.row.change_id in settled
        ]
        if reports:
            apply_reports(reports)


def outcome_of_call(result: CallResult, now: datetime) -> ChangeOutcome:
    """Return what follows from the result of a call. now: database time. Pure."""
    row: ChangeRow = result.about
    if not result.had_slot:
        state = ChangeState(row.was)
        unsent = state is ChangeState.REQUESTED
        return ChangeOutcome(row, state, seconds=1.0, absences=row.absences, unsent=unsent)
    if row.was == ChangeState.REQUESTED:
        return _after_change(row, result)
    return _after_read(row, result, now)


def _after_change(row: ChangeRow, result: CallResult) -> ChangeOutcome:
    answer = result.answer
    if isinstance(answer, NotSent):
        if row.age > GIVE_UP_SECONDS:
            return _not_made(row, answer.code, answer.detail)
        return ChangeOutcome(row, ChangeState.REQUESTED, seconds=2.0, unsent=True)
    if isinstance(answer, Rejected) and answer.code is Code.LEVELS_FROZEN and row.sends == 1:
        return ChangeOutcome(
            row, ChangeState.REQUESTED, answer.code, answer.detail, seconds=2.0, unsent=True
        )
    if isinstance(answer, Rejected) and row.sends == 1:
        return _not_made(row, answer.code, answer.detail)
    if result.failed:  # also a refusal of a repeated change: the first one may have arrived since
        code = Code.CHANGE_UNANSWERED
        return ChangeOutcome(row, ChangeState.UNKNOWN, code, _failure(answer), seconds=1.0)
    reports = tuple(r for r in reports_in([result]) if r.kind is not ReportKind.CHANGED)
    stated = [r.terms for r in reports_in([result]) if r.terms is not None]
    if stated and is_as_requested(row, stated[-1]):
        return ChangeOutcome(row, ChangeState.DONE, shown=stated[-1], reports=reports)
    detail = "the broker's answer has other values"
    return ChangeOutcome(
        row, ChangeState.UNKNOWN, Code.CHANGE_UNANSWERED, detail, 1.0, reports=reports
    )


def _failure(answer: Any) -> str:
    return str(answer) if isinstance(answer, BrokerError) else type(answer).__name__


def _after_read(row: ChangeRow, result: CallResult, now: datetime) -> ChangeOutcome:
    if result.failed:
        seconds = min(READ_MAX_SECONDS, max(5.0, row.age / 4))
        detail = f"The order could not be read: {_failure(result.answer)}"
        return ChangeOutcome(
            row, ChangeState.UNKNOWN, detail=detail, seconds=seconds, absences=row.absences
        )
    shown = _listed(row, result.answer)
    left = (row.answer_by - now).total_seconds() if row.answer_by else 0.0
    if shown is None:
        return _absent(row, left)
    if is_as_requested(row, shown.terms):
        return ChangeOutcome(row, ChangeState.DONE, shown=shown.terms)
    if left > 0:  # the change may still arrive
        return ChangeOutcome(row, ChangeState.UNKNOWN, seconds=left + 0.1)
    if row.sends < MAX_SENDS and row.age <= GIVE_UP_SECONDS and not row.is_cancelled:
        return ChangeOutcome(row, ChangeState.REQUESTED, shown=None)
    return ChangeOutcome(row, ChangeState.REFUSED, Code.CHANGE_NOT_KEPT, shown=shown.terms)


def _absent(row: ChangeRow, left: float) -> ChangeOutcome:
    """Return the outcome for an order that its broker does not list: it has ended.

    How it ended comes from its look-up. One that has filled what it had, or what it should have,
    was executed with that quantity.
    """
    absences = row.absences + 1
    if absences > ABSENT_READS and left <= 0:
        for state, terms in (
            (ChangeState.DONE, row.terms), (ChangeState.REFUSED, row.old_terms),
        ):  # fmt: skip
            if row.filled_quantity == terms.quantity:
                code = None if state is ChangeState.DONE else Code.ORDER_ENDED
                return ChangeOutcome(row, state, code, shown=terms, absences=absences)
    seconds = min(30.0, 2.0 * absences)
    return ChangeOutcome(row, ChangeState.UNKNOWN, seconds=seconds, absences=absences, look_up=True)


def _listed(row: ChangeRow, orders: Sequence[BrokerOrder]) -> BrokerOrder | None:
    """Return the order among those that the broker lists."""
    base = base_of(row.client_order_id)
    for order in orders:
        is_ours = order.client_order_id and base_of(order.client_order_id) == base
        if is_ours or (row.broker_order_id and order.broker_order_id == row.broker_order_id):
            return order
    return None


def is_as_requested(row: ChangeRow, shown: OrderTerms) -> bool:
    """Return whether an order has what the change requested. What it left alone does not count."""
    fields = row.request.fields
    if OrderField.QUANTITY in fields and shown.quantity != row.quantity:
        return False
    if OrderField.PRICE not in fields:
        return True
    changed = [
        (new, current)
        for old, new, current in (
            (row.old_limit_price, row.limit_price, shown.limit_price),
            (row.old_stop_price, row.stop_price, shown.stop_price),
        )
        if old != new
    ]
    return all(new == current for new, current in changed)


def _not_made(row: ChangeRow, code: Code, detail: str = "") -> ChangeOutcome:
    """Return the outcome of a change that the broker certainly has not made."""
    return ChangeOutcome(row, ChangeState.REFUSED, code, detail, shown=row.old_terms)


def _stored_terms(row: ChangeRow, shown: OrderTerms) -> OrderTerms:
    """Return the terms to store. A quantity counts only if the change was about it.

    Some brokers list what is left of an order.
    """
    if OrderField.QUANTITY in row.request.fields:
        return shown
    return replace(shown, quantity=row.old_quantity)


def _changed(row: ChangeRow, terms: OrderTerms) -> OrderReport:
    return OrderReport(
        kind=ReportKind.CHANGED,
        connection_id=str(row.connection_id),
        client_order_id=row.client_order_id,
        broker_order_id=row.broker_order_id,
        terms=terms,
    )
