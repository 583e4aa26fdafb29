"""The services on orders and positions. Each function uses one transaction, or none.

`execute` is the only way to send orders: it reserves dispatcher slots, commits intents, then makes
the calls. The other services write rows; their callers enqueue on commit.
"""

from collections.abc import Collection, Sequence
from decimal import Decimal
from itertools import chain

import structlog
from django.db import connection, transaction

from common.clocks import machine_time
from common.db.errors import is_database_trouble
from common.errors import InvalidInputError, raise_all
from common.failpoints import failpoint
from common.money import plain
from common.process import tracing
from common.reason_codes import Code
from connections import session_lanes
from execution.base.high_water_mark import DataLossSuspectedError
from execution.base.kill_switch import read_halts
from execution.base.order_lines import INITIATED, write_lines
from execution.cancels import cancel_order, cancel_orders
from execution.changes.position_levels import modify_position, move_to_break_even
from execution.changes.position_trailing import end_trailing, set_trailing
from execution.decision_step import asking
from execution.disaster_recovery import restore_detector
from execution.dispatch.delayed import DelayedOrders
from execution.dispatch.report_writer import apply_with_bisection
from execution.exits.dust import reports_of_dust
from execution.exits.legs import closers
from execution.exits.orders import ExitablePosition, ExitRequest, exitable, open_exits
from execution.monitoring.halt_actions import HaltImpact, halt_impact
from execution.monitoring.pending_actions import process_pending_actions
from execution.order_retries import retry_obstacle, retry_order
from execution.permissions import require_on_accounts
from execution.recovery import isolation, sweeps
from execution.recovery.message_flow import flow_of
from execution.runtime import margin_queries, order_streams, trading_runtime
from execution.submission.claim import Claimed, DeferralPolicy, claim, defer_none
from execution.submission.deferral import hold_for_restore_check
from execution.submission.halted import deny_halted
from execution.submission.outgoing import Outgoing, line_fields
from execution.submission.quarantine import quarantine_order
from execution.submission.route_writes import route_failed
from positions.models import ExecutionPosition
from positions.row_locks import lock_with_free_quantity
from users.models import User

log = structlog.get_logger(__name__)
MAX_BUNDLE = 5000

__all__ = [
    "HaltImpact",
    "cancel_order",
    "cancel_orders",
    "close_dust",
    "close_position",
    "close_positions",
    "end_trailing",
    "execute",
    "halt_impact",
    "modify_position",
    "move_to_break_even",
    "process_due_orders",
    "process_pending_actions",
    "quantity_errors",
    "retry_obstacle",
    "retry_order",
    "set_trailing",
]  # fmt: skip


def execute(
    order_ids: Sequence[int], *, skip_locked: bool = False, urgent: bool = False
) -> list[int]:
    """Claim the due orders of a bundle and dispatch them; return when the calls have started.

    Returns the ids that were looked at and not found due.

    urgent: the orders are exits, which have reserved slots.

    An intent is written only after its call has a dispatcher slot: an intent whose process dies
    before the call ends as NEVER_ARRIVED. While the database may have been restored from a backup,
    nothing is claimed: the rows wait as RESTORE_CHECK and are due again a second later.

    Entries whose preset has a decision provider are claimed once it has answered: by this call if
    its rules are applied here, else on a thread of the provider's own.
    """
    undecided, not_due = _execute(order_ids, skip_locked=skip_locked, urgent=urgent)
    if undecided and (decided := asking.ask(undecided, _resume)):
        _execute(decided)
    return not_due


def _resume(order_ids: Sequence[int]) -> None:
    """Execute entries on another thread: a provider has decided them, or they have waited."""
    if not trading_runtime.is_started():
        return
    for part in isolation.parts(order_ids, trading_runtime.get_runtime().dispatcher):
        execute(part)


_delayed = DelayedOrders(_resume)
_entry_messages = flow_of("execution")


def _execute(
    order_ids: Sequence[int], *, skip_locked: bool = False, urgent: bool = False
) -> tuple[list[int], list[int]]:
    """Claim and dispatch; return the entries that need a provider's decision, and what `execute`
    returns."""
    try:
        return _claim_and_dispatch(order_ids, skip_locked, urgent)
    except Exception:  # any: an intent may be committed that is not dispatched
        trading_runtime.get_runtime().lost_intents.suspect()
        raise


def _claim_and_dispatch(
    order_ids: Sequence[int], skip_locked: bool, urgent: bool
) -> tuple[list[int], list[int]]:
    runtime = trading_runtime.get_runtime()
    if restore_detector.is_suspect():
        _hold(order_ids)
        return [], []
    waiting = list(order_ids) if urgent else _without_halted(order_ids)
    undecided, not_due, joining = list[int](), list[int](), dict[int, float]()
    while waiting and not runtime.is_draining:
        slots = runtime.dispatcher.slots.reserve(len(waiting), urgent=urgent)
        chunk, waiting = waiting[:slots], waiting[slots:]
        claimed, began = Claimed(), machine_time()
        try:
            if not urgent:
                margin_queries.request_margins(chunk, runtime.deferred_connections)
            claimed = _claim_with_bisection(
                chunk, runtime.id, skip_locked, runtime.deferred_connections
            )
        finally:
            runtime.dispatcher.slots.free(slots - len(claimed.outgoing))
        took = machine_time() - began
        waiting += claimed.moved + claimed.refused
        undecided += claimed.undecided
        joining |= claimed.joining
        not_due += sorted({*chunk}.difference(claimed.found, claimed.refused))
        _dispatch(claimed.outgoing)
        if tracing.is_on():  # after the intents' calls have started: they cannot wait
            sent = ((one.request.client_order_id, one.signal_id) for one in claimed.outgoing)
            tracing.add_claim(sent, took)
        order_streams.expect({one.broker_type for one in claimed.outgoing})
        if claimed.refused:
            _hold(waiting)
            break
    _delayed.add(joining)
    return undecided, not_due


def _dispatch(outgoing: Sequence[Outgoing]) -> None:
    """Start the calls of claimed orders. After an error their slots are free for others."""
    dispatcher = trading_runtime.get_runtime().dispatcher
    try:
        if outgoing:
            failpoint("claim.committed")
            session_lanes.mark_active(one.request.connection_id for one in outgoing)
        dispatcher.dispatch(outgoing)
    except Exception:  # any: no call was started
        dispatcher.slots.free(len(outgoing))
        raise
    write_lines(INITIATED, outgoing, line_fields)


def _hold(order_ids: Sequence[int]) -> None:
    """Let due orders wait until the database was checked."""
    with transaction.atomic():
        hold_for_restore_check(order_ids)


def _without_halted(order_ids: Sequence[int]) -> list[int]:
    """Deny the entries that a halt stops, in other bundles too; return the ids of the others.

    The process's copy of the kill switch becomes as new as this read.
    """
    runtime, read_at = trading_runtime.get_runtime(), machine_time()
    known_mark = restore_detector.known_mark()
    halts = read_halts()
    runtime.kill_switch.update(halts, read_at)
    try:
        return deny_halted(order_ids, halts, worker_id=runtime.id, known_mark=known_mark)
    except DataLossSuspectedError:  # the claim meets that server, too
        return list(order_ids)
    except Exception as error:  # any: the claim denies them too, and finds which order is at fault
        if is_database_trouble(error):
            raise
        log.exception("halted entries not denied together", orders=len(order_ids))
        return list(order_ids)


def _claim_with_bisection(
    order_ids: list[int],
    worker_id: str,
    skip_locked: bool,
    deferral_policy: DeferralPolicy = defer_none,
    lanes_without_worker: Collection[str] = (),
) -> Claimed:
    """Claim a bundle; if one order breaks the claim, quarantine it alone and claim the others.

    A failure of the database is raised: the rows stay due. It is only logged if a part of the
    bundle was claimed: those intents are committed and must be sent (`common.bisection` would lose
    them). If a server is met that may have lost rows, the rest of the bundle is refused.
    """
    known_mark = restore_detector.known_mark()
    claimed = Claimed()
    parts = [order_ids]  # the next one is the last
    while parts:
        part = parts.pop()
        try:
            claimed += claim(
                part,
                worker_id=worker_id,
                skip_locked=skip_locked,
                deferral_policy=deferral_policy,
                lanes_without_worker=lanes_without_worker,
                known_mark=known_mark,
            )
        except DataLossSuspectedError as error:
            restore_detector.suspect(error)
            return claimed + Claimed(refused=[*part, *chain(*parts)])
        except Exception as error:  # any: one order's data may break any line of the evaluation
            if is_database_trouble(error):
                log.warning("bundle not claimed", orders=len(part), error=str(error).strip())
                if trading_runtime.is_started():
                    trading_runtime.get_runtime().lost_intents.suspect()
                if not claimed.outgoing:
                    raise
                connection.close()
            elif len(part) == 1:
                _quarantine(part[0], error)
                claimed += Claimed(found=part)
            else:
                middle = len(part) // 2
                parts += [part[middle:], part[:middle]]
    return claimed


def _quarantine(order_id: int, error: Exception) -> None:
    """Quarantine an order. If that fails, the order stays due."""
    try:
        quarantine_order(order_id, error)
    except Exception as another:  # any: what the bundle has claimed is committed and must be sent
        log.warning("order not quarantined", order=order_id, error=repr(another))
        connection.close()


def process_due_orders(limit: int, *, exits_only: bool = False) -> int:
    """Execute due orders whose message was lost or never sent; return how many were found.

    It continues, `limit` orders at a time, until no more are found: without Redis this is the only
    way that orders are executed. Orders whose connection is locked stay due for the next poll.
    While workers take messages of entries, those that may wait for their message's turn are left to
    it for some seconds.
    """
    seen: set[int] = set()
    while True:
        found = sweeps.due(
            limit, exits_only=exits_only, deferred_only=not exits_only and _messages_flow()
        )
        order_ids = [order_id for order_id in found if order_id not in seen]
        if not order_ids:
            return len(seen)
        dispatcher = trading_runtime.get_runtime().dispatcher
        for part in [order_ids] if exits_only else isolation.parts(order_ids, dispatcher):
            execute(part, skip_locked=True, urgent=exits_only)
        seen.update(order_ids)


def _messages_flow() -> bool:
    """Return whether this process's entries are left to their messages. Lanes have own queues."""
    return session_lanes.GENERAL in session_lanes.held_lanes() and _entry_messages.must_wait()


def execute_rerouted() -> int:
    """Send entries that failed unsent to the next account of their route; return how many.

    While the database may have been restored from a backup, none is: the failed order may be newer.
    """
    if restore_detector.is_suspect():
        return 0
    known_mark = restore_detector.known_mark()
    try:
        with transaction.atomic():
            order_ids = route_failed(known_mark)
    except DataLossSuspectedError as error:
        restore_detector.suspect(error)
        return 0
    if order_ids:
        failpoint("route.moved")
        execute(order_ids)
    return len(order_ids)


def close_dust() -> int:
    """Write off what is left of positions and too small to be sold; return how many."""
    reports = reports_of_dust()
    if reports:
        apply_with_bisection(reports)
    return len(reports)


def flag_orders_without_worker(limit: int = MAX_BUNDLE) -> int:
    """Store why orders wait whose lane no process holds, and end entries that are too old.

    Calls no broker and sends nothing. Returns how many orders were found.
    """
    lanes = session_lanes.lanes_without_worker(session_lanes.HANDOVER_SECONDS)
    if not lanes:
        return 0
    order_ids = sweeps.due(limit, lanes=lanes)
    _claim_with_bisection(
        order_ids, trading_runtime.get_runtime().id, True, lanes_without_worker=lanes
    )
    return len(order_ids)


def close_position(
    position_id: int,
    *,
    fraction: Decimal = Decimal(1),
    quantity: Decimal | None = None,
    by: User | None = None,
) -> list[int]:
    """Write an exit for a fraction of the opened quantity; return the ids of the orders to enqueue.

    quantity: base units, in place of the fraction; floored to the broker's step. None is written if
    all of the position is closed or being closed already, and several where the broker takes no
    more in one order. Raises InvalidInputError for a fraction outside (0, 1], and for a quantity
    that is not open or below the smallest one.
    """
    if quantity is None:
        return close_positions([position_id], fraction=fraction, by=by)
    account = ExecutionPosition.objects.values_list("connection_id", flat=True).get(pk=position_id)
    require_on_accounts([account], by)
    request = ExitRequest(
        position_id, closers([position_id], by)[position_id], quantity=quantity,
        detail=f"by {by.get_username()}" if by else "",
    )  # fmt: skip
    with transaction.atomic():
        if not lock_with_free_quantity([position_id]):
            return []
        raise_all(quantity_errors(exitable(position_id), quantity))
        return [written.order_id for written in open_exits([request], are_locked=True)]


def quantity_errors(position: ExitablePosition, quantity: Decimal) -> list[InvalidInputError]:
    """Return why a quantity, in base units, cannot be closed of a position. Pure."""
    free = position.quantity - position.reserved
    if quantity > free:
        detail = f"{plain(free)} is open and not being closed already. Enter at most that."
        return [InvalidInputError(Code.EXIT_ABOVE_OPEN, detail, field="quantity")]
    least = min(max(position.minimum, position.step), free)
    if quantity < least:
        detail = f"The smallest quantity that the broker closes is {plain(least)}."
        return [InvalidInputError(Code.QUANTITY_BELOW_MINIMUM, detail, field="quantity")]
    return []


def close_positions(
    position_ids: Sequence[int], *, fraction: Decimal = Decimal(1), by: User | None = None
) -> list[int]:
    """Write exits as `close_position` does; return the ids of the orders to enqueue."""
    if not 0 < fraction <= 1:
        raise InvalidInputError(
            Code.FIELD_INVALID, "The fraction must be above 0 and at most 1.", field="fraction"
        )
    detail = f"by {by.get_username()}" if by else ""
    share = None if fraction == 1 else fraction
    if by is not None:
        held = ExecutionPosition.objects.filter(pk__in=position_ids).order_by()
        require_on_accounts(list(held.values_list("connection_id", flat=True).distinct()), by)
    requests = [
        ExitRequest(position_id, closer, share, detail=detail)
        for position_id, closer in closers(position_ids, by).items()
    ]
    with transaction.atomic():
        return [written.order_id for written in open_exits(requests)]
