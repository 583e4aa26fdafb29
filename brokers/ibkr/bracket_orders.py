"""A position's stop and target: separate orders in one OCA group, changed under their own ids."""

import asyncio
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any

from brokers.base import NotSent, OutcomeUnknown, ReadFailed, Rejected, check_deadline
from brokers.ibkr.absence_checks import require_absence
from brokers.ibkr.codes import CHANGE_LATER
from brokers.ibkr.contract_details import held_details
from brokers.ibkr.market_rules import grid_of, known_grid
from brokers.ibkr.order_cache import OrderCache
from brokers.ibkr.order_encoding import leg_of, require_level_sides, to_order
from brokers.ibkr.order_outcome import wait_for_answer
from brokers.ibkr.order_records import ENTRY, STOP, TARGET, Record, levels_report
from brokers.ibkr.order_snapshots import Depth
from brokers.ibkr.orders import require_own
from brokers.ibkr.parse import encode_number, size_step
from brokers.ibkr.prices import quote_within
from brokers.ibkr.reads import positions
from brokers.ibkr.session import Session
from brokers.ibkr.tws_socket import HalfSentError, TwsClient
from brokers.rate_limits import Priority
from brokers.types import ModifyRequest, OrderReport, OrderType, ReportKind
from common.reason_codes import Code


@dataclass(slots=True)
class LevelChange:
    """The change of one level. record: its new state; cancel: remove it; is_new: place it."""

    record: Record
    cancel: bool = False
    is_new: bool = False

    def is_answered(self, order_cache: OrderCache) -> bool:
        """Whether the broker has answered."""
        now = order_cache.get(*self.record.key)
        if now is None:
            return False
        if now.ended is not None or now.refused_change:
            return True
        return not self.cancel and now.accepted and _is_unchanged(now, self.record)


async def modify(session: Session, request: ModifyRequest) -> list[OrderReport]:
    """Set both levels; None removes one. Returns the levels that the broker then holds.

    Raises NotSent, Rejected or OutcomeUnknown.
    """
    try:
        await session.ready_to_write()
        details = await held_details(
            session, request.broker_position_id, request.client_order_id, request.symbol
        )
        await grid_of(session, details, Priority.EXIT)
        entry = await _entry_record(session, request, details)
        await _remove_unarrived(session, entry)
    except ReadFailed as error:
        raise NotSent(error.code, error.detail) from error
    session.order_cache.set_symbol(entry.connection_id, details.contract.conId, request.symbol)
    planned = _plan_changes(session, entry, request, details)
    if not entry.live and any(not change.cancel for change in planned):
        # IBKR accepts a level that the price has passed, and closes the position at once.
        now = await quote_within(session, request.symbol, details, request.send_by)
        if now is not None:
            stop, target = request.stop_loss, request.take_profit
            require_level_sides(entry.side, stop, target, now.bid, now.ask)
    check_deadline(request)
    if planned:
        await session.rate_limiter.acquire(
            len(planned), priority=Priority.EXIT, deadline=request.send_by
        )
    # Again: while this waited, the order's own change may have given its levels a new quantity.
    changes = _plan_changes(session, entry, request, details)
    if len(changes) > len(planned):
        raise NotSent(Code.RATE_LIMITED, "the order was changed meanwhile")
    if changes:
        await _send_changes(session, request, details.contract, changes)
    order_cache = session.order_cache
    legs = [
        order_cache.get(entry.connection_id, entry.client_order_id, leg) for leg in (STOP, TARGET)
    ]
    if later := [r for r in legs if r and r.refused_change and r.error_number in CHANGE_LATER]:
        raise NotSent(Code.REJECTED_BY_BROKER, later[0].refused_change)
    refused = [r for r in legs if r and (r.refused_change or r.ended is ReportKind.REJECTED)]
    report = levels_report(entry, *legs)
    if refused and len(refused) == len(changes):
        detail = refused[0].refused_change or refused[0].detail
        raise Rejected(Code.STOPS_INVALID, detail)
    return [report]


async def _remove_unarrived(session: Session, entry: Record) -> None:
    """Remove levels that were sent and never arrived. Raises ReadFailed.

    Otherwise they would count as placed, and TWS gives their number to another order."""
    order_cache, key = session.order_cache, (entry.connection_id, entry.client_order_id)
    legs = [record for leg in (STOP, TARGET) if (record := order_cache.get(*key, leg)) is not None]
    if all(leg.accepted or not leg.live for leg in legs):
        return
    requested_at = asyncio.get_running_loop().time()
    snapshot = await session.snapshot(Depth.OPEN)
    open_refs = snapshot.open_refs
    for leg in legs:
        if leg.live and not leg.accepted and leg.order_ref not in open_refs:
            require_absence(session, requested_at, [leg])
            order_cache.remove(leg)


async def _send_changes(
    session: Session, request: ModifyRequest, contract: Any, changes: list[LevelChange]
) -> None:
    """Write the changes at once, without waiting since they were planned; wait for the answers."""
    try:
        session.require_usable()
        client = session.client
    except ReadFailed as error:
        raise NotSent(error.code, error.detail) from error
    order_cache = session.order_cache
    for change in changes:
        if change.is_new:
            change.record.order_id = client.getReqId()
    frame = client.frame(partial(_write_changes, session, client, contract, changes))
    try:
        check_deadline(request)
        client.write(frame)
    except HalfSentError as error:
        if len(changes) > 1:  # the first of them may have arrived completely
            raise OutcomeUnknown(Code.REPLY_LOST, str(error)) from error
        raise NotSent(Code.NOT_CONNECTED, str(error)) from error
    except OSError as error:
        raise NotSent(Code.NOT_CONNECTED, str(error)) from error
    for change in changes:
        if change.is_new:
            if (old := order_cache.get(*change.record.key)) is not None:
                order_cache.remove(old)
            change.record.written_at = asyncio.get_running_loop().time()
            order_cache.keep(change.record, session.endpoint.client_id)
            continue
        now = order_cache.get(*change.record.key)
        assert now is not None
        now.refused_change, now.changing, now.cancelling = "", not change.cancel, change.cancel
        now.was_changed = now.was_changed or not change.cancel
    await _wait_for_answers(session, client, changes)


async def _wait_for_answers(
    session: Session, client: TwsClient, changes: list[LevelChange]
) -> None:
    """Wait for the answer to every change; after a refusal, read the orders again."""
    order_cache = session.order_cache
    try:
        for change in changes:
            await wait_for_answer(
                session, client, change.record, partial(change.is_answered, order_cache)
            )
    finally:
        records = [r for c in changes if (r := order_cache.get(*c.record.key)) is not None]
        for record in records:
            record.changing = record.cancelling = False
    if any(record.refused_change for record in records):
        session.request_sync()


def _write_changes(
    session: Session, client: TwsClient, contract: Any, changes: list[LevelChange]
) -> None:
    """Write the messages of level changes, for `TwsClient.frame`, which sends nothing."""
    outside = bool(session.endpoint.settings.get("outside_rth", False))
    for change in changes:
        if change.cancel:
            client.cancelOrder(change.record.order_id, "")
        else:
            order = to_order(change.record, session.endpoint.account, outside_rth=outside)
            client.placeOrder(change.record.order_id, contract, order)


def _plan_changes(
    session: Session, entry: Record, request: ModifyRequest, details: Any
) -> list[LevelChange]:
    """Return the changes to send. details: of the position's contract.

    Raises Rejected for levels that another session placed, or that are in another contract.
    """
    changes, tick = [], known_grid(session, details)
    con_id = details.contract.conId
    step = size_step(details, session.endpoint.settings) * entry.multiplier
    for leg, price in ((STOP, request.stop_loss), (TARGET, request.take_profit)):
        now = session.order_cache.get(entry.connection_id, entry.client_order_id, leg)
        if now is not None and now.live:
            require_own(session, now)
            if price is None:
                changes.append(LevelChange(now, cancel=True))
                continue
            if now.con_id not in (0, con_id):  # an order cannot change its contract
                detail = f"its level {now.leg} is in contract {now.con_id}: cancel it in TWS"
                raise Rejected(Code.STOPS_INVALID, detail)
            quantity = _whole_steps(_quantity(entry, request, now), step)
            expected = leg_of(entry, leg, price, quantity, tick)
            expected.order_id, expected.parent_id = now.order_id, now.parent_id
            expected.oca_group = now.oca_group or expected.oca_group
            if not _is_unchanged(now, expected):
                changes.append(LevelChange(expected))
        elif price is not None:
            fresh = leg_of(entry, leg, price, _quantity(entry, request, None), tick)
            fresh.con_id = con_id
            if entry.live and not entry.executed:  # without a parent it would open a position
                require_own(session, entry)
                fresh.parent_id = entry.order_id
            else:
                fresh.quantity = min(fresh.quantity, _remaining_quantity(session, entry))
            fresh.quantity = _whole_steps(fresh.quantity, step)
            changes.append(LevelChange(fresh, is_new=True))
    return changes


def _whole_steps(quantity: Decimal, step: Decimal) -> Decimal:
    """Return as much of a level's quantity as can be ordered: a split leaves a part of a share.

    Raises Rejected if that is nothing."""
    if whole := quantity // step * step:
        return whole
    raise Rejected(Code.VOLUME_INVALID, f"{encode_number(quantity)}: below one step")


def _remaining_quantity(session: Session, entry: Record) -> Decimal:
    """Return what is still open of an entry, by IBKR's reports. Raises Rejected if nothing is.

    A level for more would open a position of its own. The caller may not know yet that the old
    stop, the target or an exit was filled, or that the entry has ended without a fill.
    """
    if session.order_cache.get(*entry.key) is not entry:  # from an earlier day: made of a position
        return entry.quantity
    entered = max(entry.filled, entry.executed)
    if not entered and not entry.fills and entry.ended is ReportKind.FILLED:
        entered = entry.quantity
    cached = session.order_cache.of(entry.connection_id)
    exits = [record for record in cached if _reduces(record, entry)]
    closed = sum((max(record.filled, record.executed) for record in exits), Decimal(0))
    if closed >= entered:
        raise Rejected(Code.NO_POSITION, "nothing of the position is open any more")
    return entered - closed


def _reduces(record: Record, entry: Record) -> bool:
    """Whether an order is an entry's stop, target or exit."""
    if record.leg != ENTRY:
        return record.client_order_id == entry.client_order_id
    is_same_position = record.oca_group == entry.oca_group and record.con_id == entry.con_id
    return is_same_position and record.side is entry.side.opposite


def _quantity(entry: Record, request: ModifyRequest, now: Record | None) -> Decimal:
    """Return the quantity of a level. At IBKR an order's quantity includes what it has executed."""
    if request.quantity is None:
        return now.quantity if now is not None else entry.executed or entry.quantity
    return request.quantity + (max(now.filled, now.executed) if now is not None else 0)


def _is_unchanged(now: Record, expected: Record) -> bool:
    price = "stop_price" if expected.order_type is OrderType.STOP else "limit_price"
    return bool(
        getattr(now, price) == getattr(expected, price) and now.quantity == expected.quantity
    )


async def _entry_record(session: Session, request: ModifyRequest, details: Any) -> Record:
    """Return the entry's record; for an entry before today, one made of its position.

    Raises ReadFailed; Rejected if there is no such position.
    """
    known = session.order_cache.get(session.endpoint.connection_id, request.client_order_id)
    if known is not None:
        known.oca_group = known.oca_group or request.client_order_id[:-1]
        return known
    number = str(details.contract.conId)
    found = [p for p in await positions(session) if p.broker_position_id == number]
    if not found:
        raise Rejected(Code.NO_POSITION, f"{request.symbol}, contract {number}")
    return Record(
        session.endpoint.connection_id,
        request.client_order_id,
        ENTRY,
        con_id=details.contract.conId,
        symbol=request.symbol,
        multiplier=Decimal(details.contract.multiplier or 1)
        if details.contract.secType == "FUT"
        else Decimal(1),
        side=found[0].side,
        quantity=found[0].quantity,
        ended=ReportKind.FILLED,
        oca_group=request.client_order_id[:-1],
    )
