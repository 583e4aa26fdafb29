"""Change the price or quantity of a working order: the same order is placed again under its number.

Its stop and target get the new quantity in the same write. TWS answers with the changed order, or
refuses the change and keeps the order as it was.
"""

import asyncio
from copy import copy
from dataclasses import replace
from functools import partial
from typing import Any

from brokers import price_rounding
from brokers.base import NotSent, OutcomeUnknown, ReadFailed, Rejected, check_deadline
from brokers.ibkr.absence_checks import require_absence
from brokers.ibkr.codes import CHANGE_LATER
from brokers.ibkr.contract_details import held_details
from brokers.ibkr.market_rules import grid_of
from brokers.ibkr.order_encoding import to_order
from brokers.ibkr.order_outcome import wait_for_answer
from brokers.ibkr.order_records import STOP, TARGET, Record
from brokers.ibkr.orders import require_own
from brokers.ibkr.parse import encode_number, size_step
from brokers.ibkr.session import Session
from brokers.ibkr.tws_socket import HalfSentError, TwsClient
from brokers.price_rounding import Tick
from brokers.rate_limits import Priority
from brokers.types import (
    ChangeRequest,
    OrderReport,
    OrderTerms,
    OrderType,
    ReportKind,
    Side,
)
from common.reason_codes import Code


async def change_order(session: Session, request: ChangeRequest) -> list[OrderReport]:
    """Give a working order new terms. Raises NotSent, Rejected or OutcomeUnknown."""
    try:
        await session.ready_to_write()
        record = await _record(session, request)
        details = await held_details(
            session, str(record.con_id), record.client_order_id, request.symbol
        )
        grid = await grid_of(session, details, Priority.ENTRY)
    except ReadFailed as error:
        raise NotSent(error.code, error.detail) from error
    _require_working(session, record)
    terms = _on_grid(request.terms, request.side, grid)
    step = size_step(details, session.endpoint.settings) * record.multiplier
    if terms.quantity % step:
        raise Rejected(Code.VOLUME_INVALID, f"not a multiple of {encode_number(step)}")
    messages = len(_changes(session, record, terms))
    check_deadline(request)
    await session.rate_limiter.acquire(messages, priority=Priority.ENTRY, deadline=request.send_by)
    # Copied only now: while this waited, a stop or target may have moved.
    changes = _changes(session, record, terms)
    if len(changes) > messages:
        raise NotSent(Code.RATE_LIMITED, "the order got a stop or target meanwhile")
    await _send(session, request, details.contract, changes)
    if _terms_of(record) == terms:
        return [_changed(record), *(record.reports() if record.executed else [])]
    if record.refused_change and record.error_number in CHANGE_LATER:
        raise NotSent(Code.REJECTED_BY_BROKER, record.refused_change)
    if record.refused_change:
        raise Rejected(Code.CHANGE_REFUSED, record.refused_change)
    # It ended before TWS showed its terms: it may have had either.
    raise OutcomeUnknown(Code.REPLY_LOST, f"the order is {record.status} meanwhile")


async def _record(session: Session, request: ChangeRequest) -> Record:
    """Return the order's record. Raises Rejected if there is no such order, ReadFailed."""
    key = session.endpoint.connection_id, request.client_order_id
    record = session.order_cache.get(*key)
    if record is not None:
        return record
    with session.order_cache.pinned(*key):
        requested_at = asyncio.get_running_loop().time()
        await session.snapshot()
        record = session.order_cache.get(*key)
    if record is None:
        require_absence(session, requested_at)
        raise Rejected(Code.ORDER_ENDED, "there is no such order today")
    return record


def _require_working(session: Session, record: Record) -> None:
    if record.ended is not None:
        raise Rejected(Code.ORDER_ENDED, str(record.ended))
    if record.order_type is OrderType.TRAILING_STOP:
        # A change sends the stop price, too: the one we know may be behind TWS's, which it would
        # move back.
        raise Rejected(Code.CHANGE_UNSUPPORTED, "the stop price of a trailing stop would move back")
    require_own(session, record)


def _on_grid(terms: OrderTerms, side: Side, tick: Tick) -> OrderTerms:
    limit, stop = terms.limit_price, terms.stop_price
    return replace(
        terms,
        limit_price=limit and price_rounding.round_entry_price(limit, tick, side, OrderType.LIMIT),
        stop_price=stop and price_rounding.round_entry_price(stop, tick, side, OrderType.STOP),
    )


def _changes(session: Session, record: Record, terms: OrderTerms) -> list[Record]:
    """Return what the order, and with its quantity its stop and target, shall be."""
    changed = copy(record)
    changed.quantity = terms.quantity
    changed.limit_price, changed.stop_price = terms.limit_price, terms.stop_price
    changes = [changed]
    if terms.quantity == record.quantity:
        return changes
    for leg in (STOP, TARGET):
        level = session.order_cache.get(record.connection_id, record.client_order_id, leg)
        if level is not None and level.live:
            require_own(session, level)
            level = copy(level)
            level.quantity = terms.quantity
            changes.append(level)
    return changes


async def _send(
    session: Session, request: ChangeRequest, contract: Any, changes: list[Record]
) -> None:
    """Write the changes at once and wait for the answer about the order itself."""
    try:
        session.require_usable()
        client = session.client
    except ReadFailed as error:
        raise NotSent(error.code, error.detail) from error
    records = [session.order_cache.get(*change.key) for change in changes]
    present = [record for record in records if record is not None]
    _require_working(session, present[0])  # it may have ended meanwhile
    frame = client.frame(partial(_write, session, client, contract, changes))
    try:
        check_deadline(request)
        client.write(frame)
    except HalfSentError as error:
        if len(changes) > 1:  # the first of them may have arrived completely
            raise OutcomeUnknown(Code.REPLY_LOST, str(error)) from error
        raise NotSent(Code.NOT_CONNECTED, str(error)) from error
    except OSError as error:
        raise NotSent(Code.NOT_CONNECTED, str(error)) from error
    for record in present:
        record.refused_change, record.changing, record.was_changed = "", True, True
    wanted, order = _terms_of(changes[0]), present[0]

    def is_answered() -> bool:
        return bool(order.refused_change or order.ended or _terms_of(order) == wanted)

    try:
        await wait_for_answer(session, client, order, is_answered)
    finally:
        for record in present:
            record.changing = False
    if any(record.refused_change for record in present):
        session.request_sync()


def _write(session: Session, client: TwsClient, contract: Any, changes: list[Record]) -> None:
    """Write the messages of the changes, for `TwsClient.frame`, which sends nothing."""
    outside = bool(session.endpoint.settings.get("outside_rth", False))
    for change in changes:
        order = to_order(change, session.endpoint.account, outside_rth=outside)
        client.placeOrder(change.order_id, contract, order)


def _terms_of(record: Record) -> OrderTerms:
    return OrderTerms(record.quantity, record.limit_price, record.stop_price)


def _changed(record: Record) -> OrderReport:
    return OrderReport(
        kind=ReportKind.CHANGED,
        connection_id=record.connection_id,
        client_order_id=record.client_order_id,
        broker_order_id=str(record.perm_id or ""),
        terms=_terms_of(record),
    )
