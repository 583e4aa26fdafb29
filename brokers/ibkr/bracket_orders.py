"""A position's stop and target: orders of their own in one OCA group, changed under their ids."""

import asyncio
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any

from brokers.base import NotSent, OutcomeUnknown, ReadFailed, Rejected, check_deadline
from brokers.ibkr.absence_checks import require_absence
from brokers.ibkr.contract_details import held_details
from brokers.ibkr.order_cache import OrderCache
from brokers.ibkr.order_encoding import leg_of, require_level_sides, to_order
from brokers.ibkr.order_records import ENTRY, STOP, TARGET, Record, levels_report
from brokers.ibkr.orders import require_own, until
from brokers.ibkr.prices import quote_within
from brokers.ibkr.reads import positions
from brokers.ibkr.session import Session
from brokers.ibkr.tws_socket import HalfSentError, TwsClient
from brokers.rate_limits import Priority
from brokers.types import ModifyRequest, OrderReport, OrderType, ReportKind
from common.reason_codes import Code


@dataclass(slots=True)
class LevelChange:
    """What becomes of one level. record: as it shall be; cancel: it goes."""

    record: Record
    cancel: bool = False
    is_new: bool = False

    def is_answered(self, ledger: OrderCache) -> bool:
        """Whether the broker has answered."""
        now = ledger.get(*self.record.key)
        if now is None:
            return False
        if now.ended is not None or now.refused_change:
            return True
        return not self.cancel and now.accepted and _is_unchanged(now, self.record)


async def modify(session: Session, request: ModifyRequest) -> list[OrderReport]:
    """Set both levels; None takes one away. Returns what the broker holds then.

    Raises NotSent, Rejected or OutcomeUnknown.
    """
    try:
        await session.ready_to_write()
        details = await held_details(
            session, request.broker_position_id, request.client_order_id, request.symbol
        )
        entry = await _entry(session, request, details)
        await _forget_unarrived(session, entry)
    except ReadFailed as error:
        raise NotSent(error.code, error.detail) from error
    session.ledger.call(entry.connection_id, details.contract.conId, request.symbol)
    if not entry.live and any(not one.cancel for one in _changes(session, entry, request, details)):
        # IBKR takes a level that the price is beyond, and closes the position by it at once.
        now = await quote_within(session, request.symbol, details, request.send_by)
        if now is not None:
            stop, target = request.stop_loss, request.take_profit
            require_level_sides(entry.side, stop, target, now.bid, now.ask)
    changes = _changes(session, entry, request, details)
    if changes:
        await _make(session, request, details.contract, changes)
    ledger = session.ledger
    held = [ledger.get(entry.connection_id, entry.client_order_id, leg) for leg in (STOP, TARGET)]
    refused = [r for r in held if r and (r.refused_change or r.ended is ReportKind.REJECTED)]
    report = levels_report(entry, *held)
    if refused and len(refused) == len(changes):
        why = refused[0].refused_change or refused[0].detail
        raise Rejected(Code.STOPS_INVALID, why)
    return [report]


async def _forget_unarrived(session: Session, entry: Record) -> None:
    """Forget levels that have left and never arrived: they would count as asked for already, and
    TWS gives their number to another order. Raises ReadFailed."""
    ledger, of = session.ledger, (entry.connection_id, entry.client_order_id)
    legs = [one for leg in (STOP, TARGET) if (one := ledger.get(*of, leg)) is not None]
    if all(one.accepted or not one.live for one in legs):
        return
    asked_at = asyncio.get_running_loop().time()
    snapshot = await session.snapshot()
    seen = {one[1].orderRef for one in snapshot.open if len(one) == 3}
    for one in legs:
        if one.live and not one.accepted and f"{one.client_order_id}:{one.leg}" not in seen:
            require_absence(session, asked_at, [one])
            ledger.forget(one)


async def _make(session: Session, request: ModifyRequest, contract: Any, changes: Any) -> None:
    check_deadline(request)
    await session.rate_limiter.acquire(
        len(changes), priority=Priority.EXIT, deadline=request.send_by
    )
    try:
        session.require_usable()
        client = session.client
    except ReadFailed as error:
        raise NotSent(error.code, error.detail) from error
    ledger = session.ledger
    for change in changes:
        if change.is_new:
            change.record.order_id = client.getReqId()
    frame = client.frame(partial(_send, session, client, contract, changes))
    try:
        check_deadline(request)
        client.write(frame)
    except HalfSentError as error:
        if len(changes) > 1:  # the first of them may have arrived whole
            raise OutcomeUnknown(Code.REPLY_LOST, str(error)) from error
        raise NotSent(Code.NOT_CONNECTED, str(error)) from error
    except OSError as error:
        raise NotSent(Code.NOT_CONNECTED, str(error)) from error
    for change in changes:
        if change.is_new:
            if (old := ledger.get(*change.record.key)) is not None:
                ledger.forget(old)
            change.record.written_at = asyncio.get_running_loop().time()
            ledger.keep(change.record, session.endpoint.client_id)
            continue
        now = ledger.get(*change.record.key)
        assert now is not None
        now.refused_change, now.changing, now.cancelling = "", not change.cancel, change.cancel
    await _wait_for_answers(session, client, changes)


async def _wait_for_answers(
    session: Session, client: TwsClient, changes: list[LevelChange]
) -> None:
    """Wait for every change's answer; one that was refused is looked at again."""
    ledger = session.ledger
    try:
        for change in changes:
            await until(session, client, change.record, partial(change.is_answered, ledger))
    finally:
        records = [r for c in changes if (r := ledger.get(*c.record.key)) is not None]
        for record in records:
            record.changing = record.cancelling = False
    if any(record.refused_change for record in records):
        session.request_sync()


def _send(session: Session, client: TwsClient, contract: Any, changes: list[LevelChange]) -> None:
    outside = bool(session.endpoint.settings.get("outside_rth", False))
    for change in changes:
        if change.cancel:
            client.cancelOrder(change.record.order_id, "")
        else:
            order = to_order(change.record, session.endpoint.account, outside_rth=outside)
            client.placeOrder(change.record.order_id, contract, order)


def _changes(
    session: Session, entry: Record, request: ModifyRequest, details: Any
) -> list[LevelChange]:
    """What must be said to the broker. details: of the contract that is held.

    Raises Rejected for levels that another session placed, or that rest in another contract.
    """
    changes, tick = [], Decimal(str(details.minTick))
    con_id = details.contract.conId
    for leg, price in ((STOP, request.stop_loss), (TARGET, request.take_profit)):
        now = session.ledger.get(entry.connection_id, entry.client_order_id, leg)
        if now is not None and now.live:
            require_own(session, now)
            if price is None:
                changes.append(LevelChange(now, cancel=True))
                continue
            if now.con_id not in (0, con_id):  # no order changes its contract
                detail = f"its level {now.leg} rests in contract {now.con_id}: cancel it in TWS"
                raise Rejected(Code.STOPS_INVALID, detail)
            expected = leg_of(entry, leg, price, _quantity(entry, request, now), tick)
            expected.order_id, expected.parent_id = now.order_id, now.parent_id
            expected.oca_group = now.oca_group or expected.oca_group
            if not _is_unchanged(now, expected):
                changes.append(LevelChange(expected))
        elif price is not None:
            fresh = leg_of(entry, leg, price, _quantity(entry, request, None), tick)
            fresh.con_id = con_id
            if entry.live and not entry.executed:  # alone it would open a position of its own
                require_own(session, entry)
                fresh.parent_id = entry.order_id
            else:
                fresh.quantity = min(fresh.quantity, _remaining_quantity(session, entry))
            changes.append(LevelChange(fresh, is_new=True))
    return changes


def _remaining_quantity(session: Session, entry: Record) -> Decimal:
    """What is still held of an entry by what IBKR has told: a level that is made for more would
    open a position of its own. Raises Rejected where nothing is.

    Whoever asks for the level may not have heard yet that the old stop, the target or an exit was
    filled, or that the entry has ended without a fill.
    """
    if session.ledger.get(*entry.key) is not entry:  # older than today: its position was read
        return entry.quantity
    entered = max(entry.filled, entry.executed)
    if not entered and entry.ended is ReportKind.FILLED:
        entered = entry.quantity
    closing = [one for one in session.ledger.of(entry.connection_id) if _reduces(one, entry)]
    closed = sum((max(one.filled, one.executed) for one in closing), Decimal(0))
    if closed >= entered:
        raise Rejected(Code.NO_POSITION, "nothing of it is held any more")
    return entered - closed


def _reduces(record: Record, entry: Record) -> bool:
    """Whether an order is an entry's stop, target or exit."""
    if record.leg != ENTRY:
        return record.client_order_id == entry.client_order_id
    of_it = record.oca_group == entry.oca_group and record.con_id == entry.con_id
    return of_it and record.side is entry.side.opposite


def _quantity(entry: Record, request: ModifyRequest, now: Record | None) -> Decimal:
    """How much a level is for. An order's quantity at IBKR holds what it has executed, too."""
    if request.quantity is None:
        return now.quantity if now is not None else entry.executed or entry.quantity
    return request.quantity + (max(now.filled, now.executed) if now is not None else 0)


def _is_unchanged(now: Record, expected: Record) -> bool:
    price = "stop_price" if expected.order_type is OrderType.STOP else "limit_price"
    return bool(
        getattr(now, price) == getattr(expected, price) and now.quantity == expected.quantity
    )


async def _entry(session: Session, request: ModifyRequest, details: Any) -> Record:
    """The entry's record; of one that is older than today's lists, as its position shows it.

    Raises ReadFailed; Rejected where there is no such position.
    """
    known = session.ledger.get(session.endpoint.connection_id, request.client_order_id)
    if known is not None:
        known.oca_group = known.oca_group or request.client_order_id[:-1]
        return known
    number = str(details.contract.conId)
    theirs = await positions(session)
    found = [p for p in theirs if p.broker_position_id == number]
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
