"""The claim: turn the PENDING rows of a bundle into committed intents, in one transaction.

1. Lock the connections in id order, waiting up to the lock time-out. Only sweeps skip locked ones.
2. Load the orders in a later statement: its snapshot is newer than the locks. Filter them here.
3. Decide each order with pure functions.
4. Write all decisions with one statement.
"""

from collections.abc import Callable, Collection, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

from django.db import transaction

from brokers.types import ConnectionSpec
from common.clocks import machine_time
from common.db.sql import array, rows, run
from common.failpoints import failpoint
from common.operational.current import settings_now
from common.reason_codes import Code
from connections.selectors import spec_from_row
from connections.session_lanes import held_lanes
from execution.base.high_water_mark import HighWaterMark, checked_plans
from execution.base.order_lines import FAILED, write_lines_on_commit
from execution.exits.dust import notify_below_minimum
from execution.exits.reservations import recompute_reserved
from execution.models import Status
from execution.submission import aggregation
from execution.submission import claim_sql as sql
from execution.submission.aggregate_rows import as_one, bounds_of, load_guests, write_groups
from execution.submission.aggregation import Joined
from execution.submission.bundle_evaluation import (
    WAITING_FOR_WORKER,
    evaluate,
    load_account_context,
    load_evaluation_context,
)
from execution.submission.claim_writes import Settled, arm_triggers, write_decisions
from execution.submission.conditions import settle_conditions
from execution.submission.deferral import (
    defer_orders,
    request_comparisons,
    request_facts,
    request_prerequisites,
    seconds_until_due,
)
from execution.submission.exit_conditions import closing_conditions
from execution.submission.order_loading import with_terms
from execution.submission.outcomes import (
    Awaited,
    Deferred,
    EvaluationContext,
    Intent,
    Terminated,
)
from execution.submission.outgoing import Outgoing, outgoing_of
from execution.submission.provider_answers import load_scales
from execution.submission.route_writes import route_entries
from execution.submission.rows import OrderRow, SignalRow
from execution.submission.signal_limits import SignalTotals, lock_signal_totals
from execution.submission.sizing import Denial
from execution.submission.slice_plans import load_volumes, write_plans

DeferralPolicy = Callable[[Sequence[OrderRow]], Mapping[str, Deferred]]


@dataclass(frozen=True, slots=True)
class Claimed:
    """What is to be done after a claim; all else is in the rows.

    outgoing: the intents to send. undecided: the ids of the entries about which a decision provider
    must be asked. moved: the ids of the orders that replace entries which their route sends to
    another account; they are due. joining: the entries that wait for others to be sent with, and
    for how many seconds. found: the ids of the bundle that were due here, whatever was decided.
    refused: the ids that were not looked at, since their server may have lost rows.
    """

    outgoing: list[Outgoing] = field(default_factory=list)
    undecided: list[int] = field(default_factory=list)
    moved: list[int] = field(default_factory=list)
    joining: dict[int, float] = field(default_factory=dict)
    found: list[int] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)

    def __add__(self, other: "Claimed") -> "Claimed":
        """Return both, for the parts of a bundle."""
        return Claimed(
            self.outgoing + other.outgoing,
            self.undecided + other.undecided,
            self.moved + other.moved,
            self.joining | other.joining,
            self.found + other.found,
            self.refused + other.refused,
        )


class _Due(NamedTuple):
    """The due orders of a bundle that this process decides, as they were loaded.

    guests: entries beside the bundle that may be sent as one order with some of it. totals: what
    was sent for the signals that are locked now. awaited: conditions that do not hold. moved,
    found: as in `Claimed`. unroutable: entries that no account of their route may take.
    """

    bundle: list[OrderRow]
    guests: list[OrderRow]
    signals: Sequence[SignalRow]
    totals: SignalTotals
    awaited: Mapping[int, Awaited]
    moved: list[int]
    unroutable: Mapping[int, Denial]
    found: list[int]


def defer_none(entries: Sequence[OrderRow]) -> Mapping[str, Deferred]:
    """Defer no entry."""
    return {}


def claim(
    order_ids: Sequence[int],
    *,
    worker_id: str,
    skip_locked: bool = False,
    deferral_policy: DeferralPolicy = defer_none,
    lanes_without_worker: Collection[str] = (),
    known_mark: HighWaterMark | None = None,
) -> Claimed:
    """Decide every due order of the bundle in one transaction; return what is to be done next.

    An order gets an intent, a final status (denied, expired, cancelled) or a deferral. Rows of
    lanes that this process does not hold are left unchanged.

    deferral_policy: returns the connections whose entries wait, and why. lanes_without_worker:
    lanes that no process holds. If given, only their rows are processed and none is sent: an entry
    that is too old ends, the others get the reason why they wait. known_mark: the server of this
    transaction must have it; it is read by a statement that the claim runs anyway.

    Raises DataLossSuspectedError if it has not, and OperationalError if a connection stays locked
    beyond the lock time-out. The rows stay PENDING, and the next sweep claims them.
    """
    engine = settings_now().execution  # once: they may change meanwhile
    send_by = machine_time() + engine.send_deadline_seconds  # before the transaction
    answer_within = engine.send_deadline_seconds + engine.call_timeout_seconds + 1
    with transaction.atomic(), checked_plans(known_mark):
        due = _load_due(order_ids, skip_locked, lanes_without_worker)
        if not due.bundle:
            return Claimed(moved=due.moved, found=due.found)
        pending = due.bundle + due.guests
        specs = {row.connection_id: spec_from_row(row) for row in pending}
        context = _load_context(pending, due)
        if lanes_without_worker:
            waits: Mapping[str, Deferred] = dict.fromkeys(specs, WAITING_FOR_WORKER)
        else:
            waits = deferral_policy([row for row in pending if row.position_id is None])
        unusable = _without_usable_credentials(pending, specs)
        accounts = load_account_context(pending, specs, waits, without_credentials=unusable)
        joined = aggregation.join(
            evaluate(pending, context, accounts, specs),
            {row.id for row in due.guests},
            partial(bounds_of, context),
        )
        claimed = _write(
            joined,
            specs,
            context,
            worker_id=worker_id,
            send_by=send_by,
            answer_within=answer_within,
        )
        return replace(claimed, moved=due.moved, found=due.found)


def _load_due(
    order_ids: Sequence[int], skip_locked: bool, lanes_without_worker: Collection[str]
) -> _Due:
    """Lock and load the due orders, without those that move to another account of their route.

    Signals are locked after connections and before orders, here as everywhere: no deadlock.
    """
    pending = _lock_and_load(order_ids, skip_locked, lanes_without_worker)
    found = [row.id for row in pending]
    guests = [] if lanes_without_worker else load_guests(pending)
    ids = {row.signal_id for row in (*pending, *guests) if row.signal_id}
    signals = rows(sql.SIGNALS, (array(ids),), planned_once=True) if ids else []
    totals = lock_signal_totals(signals)
    run(sql.LOCK_ORDERS, (array(row.id for row in (*pending, *guests)),), planned_once=True)
    pending, awaited = settle_conditions(pending)
    routed = route_entries(row for row in pending if not row.awaits_condition)
    pending = [
        row._replace(pair=routed.pairs[row.id]) if row.id in routed.pairs else row
        for row in pending
        if row.id not in routed.left
    ]
    return _Due(
        pending, guests, signals, totals, awaited, routed.new_order_ids, routed.denied, found
    )


def _lock_and_load(
    order_ids: Sequence[int], skip_locked: bool, lanes_without_worker: Collection[str]
) -> list[OrderRow]:
    """Lock the connections of these orders and return the rows that are due, in our lanes."""
    lock = sql.LOCK.format(skip="SKIP LOCKED" if skip_locked else "")
    ids = array(order_ids)
    locked = {row.connection_id for row in rows(lock, (ids,), planned_once=True)}
    if not locked:
        return []
    failpoint("claim.locked")
    held = held_lanes()
    lanes = {*lanes_without_worker}.difference(held) if lanes_without_worker else held
    due = [
        row
        for row in rows(sql.LOAD, (ids,), planned_once=True)
        if row.status == "PENDING"
        and row.is_due
        and row.connection_id in locked
        and row.lane in lanes
    ]
    return with_terms(due)


def _load_context(pending: list[OrderRow], due: _Due) -> EvaluationContext:
    context = load_evaluation_context(pending, {one.id: one for one in due.signals}, due.totals)
    return replace(
        context,
        scales=load_scales(pending),
        volumes=load_volumes(pending, context.signals, context.now),
        awaited=due.awaited,
        unroutable=due.unroutable,
        closed_by=closing_conditions(pending),
    )


def _without_usable_credentials(
    pending: list[OrderRow], specs: Mapping[str, ConnectionSpec]
) -> set[str]:
    """Return the connections whose stored credentials could not be decrypted."""
    return {
        row.connection_id
        for row in pending
        if row.sealed_credentials and not specs[row.connection_id].credentials
    }


def _write(
    joined: Joined,
    specs: Mapping[str, ConnectionSpec],
    context: EvaluationContext,
    *,
    worker_id: str,
    send_by: float,
    answer_within: int,
) -> Claimed:
    """Write the decisions, and all that follows from them in the same transaction."""
    waiting = [(row, d) for row, d in joined.decisions if isinstance(d, Deferred)]
    settled = [(row, d) for row, d in joined.decisions if not isinstance(d, Deferred)]
    held = [(row, d) for row, d in waiting if d.code is Code.AWAITING_TRIGGER]
    deferred = [(row, d) for row, d in waiting if d.code is not Code.AWAITING_TRIGGER]
    arm_triggers(held, context)
    waits = [(row.id, d, seconds_until_due(row, d, context)) for row, d in deferred]
    defer_orders(waits)
    written = write_decisions(settled, worker_id, answer_within=answer_within)
    sent = [(row, d) for row, d in settled if isinstance(d, Intent) and row.id in written]
    one_order = write_groups(joined.groups, sent)
    write_plans(sent, context.signals, context.now)
    notify_below_minimum([row.id for row, d in settled if _is_blocked(d)])
    recompute_reserved([row.id for row, d in settled if _frees_quantity(row, d, written)])
    # Positions are locked after orders, here as everywhere: no deadlock.
    request_prerequisites([(row.id, d) for row, d in deferred])
    request_comparisons(deferred, context.exits)
    request_facts(deferred)
    denied = [(row, d) for row, d in settled if isinstance(d, Denial)]
    write_lines_on_commit(FAILED, denied, _denied_fields)
    failpoint("claim.written")
    outgoing = [  # built before the commit: an error here leaves no intent behind
        outgoing_of(row, intent, written[row.id], specs[row.connection_id], context, send_by)
        for row, intent in sent
    ]
    return Claimed(
        outgoing=as_one(outgoing, one_order),
        undecided=[row.id for row, d in deferred if d.code is Code.DECISION_AWAITED],
        joining={
            order_id: seconds
            for order_id, d, seconds in waits
            if d.code is Code.AGGREGATION_AWAITED
        },
    )


def _denied_fields(denied: tuple[OrderRow, Denial]) -> dict[str, Any]:
    """Return what the line "order failed" states of an order that our rules denied."""
    row, denial = denied
    return {
        "order_id": row.id, "connection": row.connection_id, "symbol": row.pair, "side": row.side,
        "status": Status.DENIED.value, "code": denial.code.value, "risk_check_passed": False,
    }  # fmt: skip


def _frees_quantity(row: OrderRow, decision: Settled, written: Container[int]) -> bool:
    """Return whether an exit reserves less now: it is not sent, or only a part of it is."""
    if not row.position_id:
        return False
    return not (isinstance(decision, Intent) and row.id in written) or (
        decision.quantity != row.quantity
    )


def _is_blocked(decision: Settled) -> bool:
    """Return whether an exit ended because what is open is below the exchange's minimum."""
    return isinstance(decision, Terminated) and decision.denial.code is Code.EXIT_BELOW_MINIMUM
