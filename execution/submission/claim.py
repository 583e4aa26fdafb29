"""The claim: turn the PENDING rows of a bundle into committed intents, in one transaction.

1. Lock the connections in id order, waiting up to the lock time-out. Only sweeps skip locked ones.
2. Load the orders in a later statement: its snapshot is newer than the locks. Filter them here.
3. Decide each order with pure functions.
4. Write all decisions with one statement.
"""

import json
from collections.abc import Callable, Collection, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from django.conf import settings
from django.db import transaction

from brokers.registry import adapter_for
from brokers.types import ConnectionSpec, ExitSafety, OrderRequest
from brokers.worst_price import with_worst_price
from common.clocks import machine_seconds_until, machine_time
from common.failpoints import failpoint
from common.reason_codes import Code
from common.sql import array, columns, kept_plans, rows, run
from connections.selectors import spec_from_row
from connections.session_lanes import GENERAL, held_lanes
from execution.exits.dust import notify_below_minimum
from execution.exits.reservations import recompute_reserved
from execution.ids import at_attempt, base_of, new_client_order_id
from execution.submission import aggregation
from execution.submission import claim_sql as sql
from execution.submission.aggregate_rows import as_one, load_guests, maximum_of, write_groups
from execution.submission.bundle_evaluation import (
    WAITING_FOR_WORKER,
    evaluate,
    halted_pairs,
    load_account_context,
    load_evaluation_context,
)
from execution.submission.conditions import settle_conditions
from execution.submission.decisions import load_scales
from execution.submission.deferral import (
    defer_orders,
    request_comparisons,
    request_prerequisites,
    seconds_until_due,
)
from execution.submission.exit_conditions import closing_conditions
from execution.submission.outcomes import (
    ORDER_TYPES,
    SIDES,
    TIMES_IN_FORCE,
    Decision,
    Deferred,
    EvaluationContext,
    Intent,
    Terminated,
)
from execution.submission.route_writes import route_entries
from execution.submission.rows import IntentRow, OrderRow, SignalRow
from execution.submission.signal_limits import SignalTotals, lock_signal_totals
from execution.submission.sizing import Denial
from execution.submission.slice_plans import load_volumes, write_plans
from execution.submission.triggers import seconds_until_looked_at

DeferralPolicy = Callable[[Sequence[OrderRow]], Mapping[str, Deferred]]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A committed intent with all that the dispatcher needs to send it.

    pairs: whose halt concerns it. other_feeds: of the orders that are sent with it as one.
    """

    broker_type: str
    spec: ConnectionSpec
    request: OrderRequest
    is_entry: bool
    feed_id: int | None
    owner_id: int
    pairs: tuple[str, ...]
    lane: str = GENERAL
    other_feeds: tuple[int | None, ...] = ()


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
    undecided: list[int] | None = None,
    moved: list[int] | None = None,
    joining: dict[int, float] | None = None,
) -> list[Outgoing]:
    """Decide every due order of the bundle in one transaction; return the intents to send.

    An order gets an intent, a final status (denied, expired, cancelled) or a deferral. Rows of
    lanes that this process does not hold are left unchanged.

    deferral_policy: returns the connections whose entries wait, and why. lanes_without_worker:
    lanes that no process holds. If given, only their rows are processed and none is sent: an entry
    that is too old ends, the others get the reason why they wait. undecided: gets the ids of the
    entries about which a decision provider must be asked. moved: gets the ids of the orders that
    replace entries which their route sends to another account; they are due. joining: gets the
    entries that wait for others to be sent with, and for how many seconds.

    Raises OperationalError if a connection stays locked beyond the lock time-out. The rows stay
    PENDING, and the next sweep claims them.
    """
    send_by = machine_time() + settings.FILLCAST_SEND_DEADLINE_SECONDS  # before the transaction
    with transaction.atomic(), kept_plans():
        pending = _lock_and_load(order_ids, skip_locked, lanes_without_worker)
        guests = [] if lanes_without_worker else load_guests(pending)
        signals, totals = _lock_signals([*pending, *guests])
        pending, awaited = settle_conditions(pending)
        if pending:
            routed = route_entries(row for row in pending if not row.awaits_condition)
            pending = [row for row in pending if row.id not in routed.left]
            if moved is not None:
                moved += routed.new_order_ids
        if not pending:
            return []
        pending += guests
        specs = {row.connection_id: spec_from_row(row) for row in pending}
        context = _load_context(pending, signals, totals)
        context = replace(context, awaited=awaited) if awaited else context
        closed_by = closing_conditions(pending)
        context = replace(context, closed_by=closed_by) if closed_by else context
        if lanes_without_worker:
            deferred_accounts: Mapping[str, Deferred] = {
                row.connection_id: WAITING_FOR_WORKER for row in pending
            }
        else:
            entries = [row for row in pending if row.position_id is None]
            deferred_accounts = deferral_policy(entries)
        accounts = load_account_context(
            pending,
            specs,
            deferred_accounts,
            without_credentials=_without_usable_credentials(pending, specs),
        )
        decisions = evaluate(pending, context, accounts, specs)
        joined = aggregation.join(
            decisions, {row.id for row in guests}, partial(maximum_of, context)
        )
        decisions = joined.decisions
        held = [(row, d) for row, d in decisions if _is_held(d)]
        _await_triggers(held, context)
        deferred = [(row, d) for row, d in decisions if isinstance(d, Deferred) and not _is_held(d)]
        if undecided is not None:
            undecided += [row.id for row, d in deferred if d.code is Code.DECISION_AWAITED]
        if joining is not None:
            joining |= {
                row.id: seconds_until_due(row, d, context)
                for row, d in deferred
                if d.code is Code.AGGREGATION_AWAITED
            }
        defer_orders((row.id, d, seconds_until_due(row, d, context)) for row, d in deferred)
        settled = [(row, d) for row, d in decisions if not isinstance(d, Deferred)]
        written = _write(settled, worker_id)
        one_order = write_groups(joined.groups, settled, written)
        begun = [(r, d) for r, d in settled if isinstance(d, Intent) and r.id in written]
        write_plans(begun, context.signals, context.now)
        notify_below_minimum([row.id for row, d in settled if _is_blocked(d)])
        recompute_reserved([row.id for row, d in settled if _frees_quantity(row, d, written)])
        # Positions are locked after orders, here as everywhere: no deadlock.
        request_prerequisites([(row.id, d) for row, d in deferred])
        request_comparisons(deferred, context.exits)
        failpoint("claim.written")
        bundle = [  # built before the commit: an error here leaves no intent behind
            _outgoing(row, decision, specs[row.connection_id], written[row.id], context, send_by)
            for row, decision in settled
            if isinstance(decision, Intent) and row.id in written
        ]
        return as_one(bundle, one_order)


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
    return [
        row
        for row in rows(sql.LOAD, (ids,), planned_once=True)
        if row.status == "PENDING"
        and row.is_due
        and row.connection_id in locked
        and row.lane in lanes
    ]


def _is_held(decision: Decision) -> bool:
    """Return whether the engine holds the order until its trigger fires."""
    return isinstance(decision, Deferred) and decision.code is Code.AWAITING_TRIGGER


def _await_triggers(held: Sequence[tuple[OrderRow, Decision]], context: EvaluationContext) -> None:
    """Arm the triggers of these orders, and store until when they are looked at again."""
    records = [_held_record(row, decision, context) for row, decision in held]
    if records:
        arrays = columns(records, len(sql.HELD_COLUMNS))
        run(sql.AWAIT_TRIGGERS, dict(zip(sql.HELD_COLUMNS, arrays, strict=True)))
        failpoint("triggers.armed")


def _held_record(row: OrderRow, decision: Decision, context: EvaluationContext) -> tuple[Any, ...]:
    seconds = seconds_until_looked_at(context.signal_of(row).valid_until)
    trigger = decision.trigger if isinstance(decision, Deferred) else None
    if trigger is None:
        return (row.id, row.order_type, seconds, False, *[None] * 9)
    return (
        row.id, row.order_type, seconds, True, trigger.kind.value, trigger.sent_as.value,
        trigger.source_id, trigger.pair, trigger.side.value, trigger.level, trigger.distance,
        trigger.activation_price, trigger.text,
    )  # fmt: skip


def _frees_quantity(row: OrderRow, decision: Decision, written: Container[int]) -> bool:
    """Return whether an exit reserves less now: it is not sent, or only a part of it is."""
    if not row.position_id:
        return False
    return not (isinstance(decision, Intent) and row.id in written) or (
        decision.quantity != row.quantity
    )


def _is_blocked(decision: Decision) -> bool:
    """Return whether an exit ended because what is open is below the exchange's minimum."""
    return isinstance(decision, Terminated) and decision.denial.code is Code.EXIT_BELOW_MINIMUM


def _without_usable_credentials(
    pending: list[OrderRow], specs: Mapping[str, ConnectionSpec]
) -> set[str]:
    """Return the connections whose stored credentials could not be decrypted."""
    return {
        row.connection_id
        for row in pending
        if row.sealed_credentials and not specs[row.connection_id].credentials
    }


def _lock_signals(pending: list[OrderRow]) -> tuple[list[SignalRow], SignalTotals]:
    """Return the signals of these rows, with what was sent for those that are locked now.

    Signals are locked after connections and before orders, here as everywhere: no deadlock.
    """
    if not pending:
        return [], SignalTotals()
    ids = array({row.signal_id for row in pending if row.signal_id})
    signals = rows(sql.SIGNALS, (ids,), planned_once=True)
    return signals, lock_signal_totals(signals)


def _load_context(
    pending: list[OrderRow], signals: list[SignalRow], totals: SignalTotals
) -> EvaluationContext:
    needed = {row.signal_id for row in pending}
    by_id = {signal.id: signal for signal in signals if signal.id in needed}
    context = load_evaluation_context(pending, by_id, totals)
    scales, volumes = load_scales(pending), load_volumes(pending, context.signals, context.now)
    return replace(context, scales=scales, volumes=volumes) if scales or volumes else context


def _write(settled: Sequence[tuple[OrderRow, Decision]], worker_id: str) -> dict[int, IntentRow]:
    """Write intents and denials; return id, fence and client order id of each intent, by order."""
    records = [_record(row, decision) for row, decision in settled]
    if not records:
        return {}
    arrays = dict(zip(sql.WRITE_COLUMNS, columns(records, len(sql.WRITE_COLUMNS)), strict=True))
    answer_within = (
        settings.FILLCAST_SEND_DEADLINE_SECONDS + settings.FILLCAST_CALL_TIMEOUT_SECONDS + 1
    )
    parameters = {**arrays, "worker_id": worker_id, "answer_within": answer_within}
    written = rows(sql.WRITE, parameters, planned_once=True)
    return {row.id: row for row in written}


def _record(row: OrderRow, decision: Decision) -> tuple[Any, ...]:
    if isinstance(decision, Intent):
        i = decision
        return (
            row.id, "SUBMITTING", "", i.detail, "{}", _client_order_id(row), i.symbol, i.quantity,
            i.limit_price, i.stop_price, i.stop_loss, i.take_profit, i.expected_price, i.pip,
            i.rate, i.margin, i.risk, i.worst_price, i.unrounded_quantity, i.trail_distance,
            i.expires_at,
        )  # fmt: skip
    ended = decision if isinstance(decision, Terminated) else None
    denial = ended.denial if ended else decision
    assert isinstance(denial, Denial)  # the caller has filtered Deferred
    numbers = json.dumps(denial.numbers(row.pair, row.currency or ""))
    return (
        row.id, ended.status.value if ended else "DENIED", denial.code.value, denial.detail,
        numbers, None, row.symbol, None, row.limit_price, row.stop_price, None, None, None,
        None, None, None, None, None, denial.unrounded, None, None,
    )  # fmt: skip


def _client_order_id(row: OrderRow) -> str:
    known = row.client_order_id or new_client_order_id(settings.FILLCAST_INSTALLATION_TAG)
    return at_attempt(known, row.attempt)


def _outgoing(
    row: OrderRow,
    intent: Intent,
    spec: ConnectionSpec,
    written: IntentRow,
    context: EvaluationContext,
    send_by: float,
) -> Outgoing:
    is_entry = row.position_id is None
    signal = context.signal_of(row) if row.signal_id else None
    if is_entry and signal and signal.valid_until:  # it may end between this decision and sending
        send_by = min(send_by, machine_time() + machine_seconds_until(signal.valid_until))
    closes = "" if is_entry else context.exits[row.id].entry_client_order_id  # its own, of several
    request = OrderRequest(
        client_order_id=written.client_order_id,
        connection_id=row.connection_id,
        account=row.account,
        symbol=intent.symbol,
        side=SIDES[row.side],
        order_type=ORDER_TYPES[row.order_type],
        time_in_force=TIMES_IN_FORCE[row.time_in_force],
        quantity=intent.quantity,
        limit_price=intent.limit_price,
        stop_price=intent.stop_price,
        trail_distance=intent.trail_distance,
        stop_loss=intent.stop_loss,
        take_profit=intent.take_profit,
        reduce_only=not is_entry,
        broker_position_id="" if is_entry else context.exits[row.id].broker_position_id,
        closes="" if is_entry else context.exits[row.id].entry_sent_as,
        oca_group=_oca_group(row, spec, closes or written.client_order_id),
        worst_price=intent.worst_price,
        expires_at=intent.expires_at,
        order_id=row.id,
        fence=written.fence,
        send_by=send_by,
    )
    request = with_worst_price(request, adapter_for(row.type).capabilities(spec))
    return Outgoing(
        row.type, spec, request, is_entry, signal and signal.feed_id, row.owner_id,
        halted_pairs(row), row.lane,
    )  # fmt: skip


def _oca_group(row: OrderRow, spec: ConnectionSpec, entry_client_order_id: str) -> str:
    """Return the OCA group that an entry's levels and exits share: the entry's base id."""
    if adapter_for(row.type).capabilities(spec).exit_safety is not ExitSafety.OCA:
        return ""
    return base_of(entry_client_order_id)
