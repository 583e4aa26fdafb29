"""Send orders and cancels to TWS: in one write right after the guard, with one of four outcomes."""

import asyncio
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

from brokers.base import (
    BrokerError,
    Guard,
    NotSent,
    OutcomeUnknown,
    ReadFailed,
    Rejected,
    check_deadline,
)
from brokers.ibkr.absence_checks import remove_absent, require_absence
from brokers.ibkr.contract_details import details_for
from brokers.ibkr.market_rules import grid_of, listed_grid
from brokers.ibkr.order_encoding import has_price, leg_of, record_of, require_sides, to_order
from brokers.ibkr.order_outcome import is_decided, outcome, wait_for_answer
from brokers.ibkr.order_records import STOP, TARGET, Record
from brokers.ibkr.order_snapshots import Depth
from brokers.ibkr.prices import last_quote
from brokers.ibkr.session import Session
from brokers.ibkr.tws_socket import HalfSentError, TwsClient
from brokers.price_rounding import PriceGrid
from brokers.rate_limits import Priority
from brokers.types import CancelRequest, OrderReport, OrderRequest, ReportKind
from common.reason_codes import Code

NO_SUCH_ORDER = "there is no such order today"
PENDING_CANCEL = "PendingCancel"
"""TWS has sent a cancel, which the exchange makes once it is open. It refuses another (10148)."""


async def submit(session: Session, request: OrderRequest, guard: Guard) -> list[OrderReport]:
    """Place an order with its levels. Raises NotSent, Rejected or OutcomeUnknown."""
    endpoint = session.endpoint
    if (request.connection_id, request.account) != (endpoint.connection_id, endpoint.account):
        raise Rejected(Code.FIELD_INVALID, "the order names another connection or account")
    priority = Priority.EXIT if request.closes or request.reduce_only else Priority.ENTRY
    try:
        await session.ready_to_write()
        details = await details_for(session, request, priority)
        # A market order needs no grid, so it waits for none.
        grid = listed_grid(details)
        if has_price(request):
            grid = await grid_of(session, details, priority)
    except ReadFailed as error:
        raise NotSent(error.code, error.detail) from error
    if (known := _known_reports(session, request)) is not None:
        return known
    records = _records(request, details, grid, endpoint.settings)
    require_sides(request, last_quote(session, records[0].con_id))
    await session.rate_limiter.acquire(
        len(records), priority=priority, deadline=request.send_by or None
    )
    client = _client_to_write(session)
    if (known := _known_reports(session, request)) is not None:  # meanwhile
        return known
    _assign_numbers(client, records)
    frame = client.frame(partial(_write_orders, session, client, details.contract, records))
    _cache_records(session, records)
    with ExitStack() as unless_sent:
        unless_sent.callback(_discard_unsent, session, records)
        try:
            guard(request)
            client.write(frame)
        except HalfSentError as error:
            if len(records) > 1:  # the first of them may have arrived completely
                unless_sent.pop_all()
                raise OutcomeUnknown(Code.REPLY_LOST, str(error)) from error
            raise NotSent(Code.NOT_CONNECTED, str(error)) from error
        except OSError as error:
            raise NotSent(Code.NOT_CONNECTED, str(error)) from error
        unless_sent.pop_all()
    return await outcome(session, client, records)


async def cancel(session: Session, request: CancelRequest) -> list[OrderReport]:
    """Cancel an order. If it ended first: CANCEL_REFUSED, followed by its reports.

    Raises NotSent, Rejected or OutcomeUnknown.
    """
    try:
        await session.ready_to_write()
        record = session.order_cache.get(session.endpoint.connection_id, request.client_order_id)
        if record is None:
            key = session.endpoint.connection_id, request.client_order_id
            with session.order_cache.pinned(*key):
                requested_at = asyncio.get_running_loop().time()
                await session.snapshot()
                record = session.order_cache.get(*key)
            if record is None:
                require_absence(session, requested_at)
    except ReadFailed as error:
        raise NotSent(error.code, error.detail) from error
    if record is None:
        raise Rejected(Code.REJECTED_BY_BROKER, NO_SUCH_ORDER)
    if record.ended is not None:
        return _cancelled_or_not(record)
    require_own(session, record)
    check_deadline(request)
    await session.rate_limiter.acquire(priority=Priority.EXIT, deadline=request.send_by)
    client = _client_to_write(session)
    await _write_cancel(session, client, record, request)
    for _ in range(len(record.twins)):
        if not await _other_works(session, record):
            break
        try:
            await _write_cancel(session, client, record, request)
        except NotSent as error:
            raise OutcomeUnknown(Code.REPLY_LOST, error.detail) from error
    if record.ended is None:  # refused: read whether it still works
        record.cancelling = False
        await _read_refused(session, record)
        record.cancelling = _is_being_cancelled(record)
    return _cancelled_or_not(record)


async def _other_works(session: Session, record: Record) -> bool:
    """Whether a cancel has ended one of two orders with one reference, and not the other."""
    if record.refused_change or not record.twin_ended:
        return False
    with suppress(ReadFailed):
        await session.snapshot(Depth.OPEN)
    return record.ended is None


async def _write_cancel(
    session: Session, client: TwsClient, record: Record, request: CancelRequest
) -> None:
    """Send a cancel and wait until it is answered, for one of two orders with one reference too.

    Raises NotSent or OutcomeUnknown."""
    frame = client.frame(lambda: client.cancelOrder(record.order_id, ""))
    record.cancelling, record.refused_change, record.twin_ended = True, "", ""
    try:
        check_deadline(request)
        client.write(frame)
    except OSError as error:
        record.cancelling = False
        raise NotSent(Code.NOT_CONNECTED, str(error)) from error
    except BrokerError:
        record.cancelling = False
        raise
    await wait_for_answer(session, client, record, partial(_has_ended, record))


async def _read_refused(session: Session, record: Record) -> None:
    """Read an order that TWS did not cancel: it works, has ended, or is in no list any more.

    Raises Rejected for the last; OutcomeUnknown while TWS may not list it yet.
    """
    requested_at = asyncio.get_running_loop().time()
    try:
        snapshot = await session.snapshot(Depth.OPEN)
    except ReadFailed:
        return
    if record.ended is not None or record.order_ref in snapshot.open_refs:
        return
    try:
        was_absent = remove_absent(session, record.client_order_id, snapshot, requested_at)
    except ReadFailed as error:
        raise OutcomeUnknown(Code.REPLY_LOST, error.detail) from error
    if was_absent:
        raise Rejected(Code.REJECTED_BY_BROKER, NO_SUCH_ORDER)


def require_own(session: Session, record: Record) -> None:
    """Raise Rejected for an order that another clientId placed: only that one can change it."""
    if record.client_id != session.endpoint.client_id:
        raise Rejected(Code.OTHER_CLIENT_ID, f"placed by client id {record.client_id}")


def _has_ended(record: Record) -> bool:
    """Whether a cancel is answered: the order has ended, or the cancel was refused."""
    return record.ended is not None or bool(record.refused_change or record.twin_ended)


def _is_being_cancelled(record: Record) -> bool:
    """Whether an earlier cancel is still on its way, so that its refusal states nothing."""
    return record.ended is None and record.status == PENDING_CANCEL


def _known_reports(session: Session, request: OrderRequest) -> list[OrderReport] | None:
    """Return the reports of an order that was sent before: an id is never placed twice.

    None: it was not sent. Raises Rejected; OutcomeUnknown if it was sent before and its absence is
    not confirmed.
    """
    record = session.order_cache.get(session.endpoint.connection_id, request.client_order_id)
    if record is None:
        return None
    if not is_decided(record):
        raise OutcomeUnknown(Code.REPLY_LOST, "sent before, and not yet looked up")
    if record.ended is ReportKind.REJECTED:
        raise Rejected(record.code or Code.REJECTED_BY_BROKER, record.detail)
    return record.reports() or [record.accepted_report()]


def _records(
    request: OrderRequest, details: Any, grid: PriceGrid, settings: Mapping[str, Any]
) -> list[Record]:
    """Return the records of the order, its stop and its target. Raises Rejected."""
    entry = record_of(request, details, grid, settings)
    levels = {STOP: request.stop_loss, TARGET: request.take_profit}
    legs = [
        leg_of(entry, leg, price, request.quantity, grid)
        for leg, price in levels.items()
        if price is not None and not entry.is_exit
    ]
    return [entry, *legs]


def _assign_numbers(client: TwsClient, records: list[Record]) -> None:
    for record in records:
        record.order_id = client.getReqId()
    for leg in records[1:]:
        leg.parent_id = records[0].order_id


def _write_orders(
    session: Session, client: TwsClient, contract: Any, records: list[Record]
) -> None:
    """Write the messages of an order and its levels, for `TwsClient.frame`, which sends nothing.

    Only the last message transmits, so that TWS starts all together."""
    endpoint = session.endpoint
    for record in records:
        order = to_order(
            record,
            endpoint.account,
            transmit=record is records[-1],
            outside_rth=bool(endpoint.settings.get("outside_rth", False)),
        )
        client.placeOrder(record.order_id, contract, order)


def _cache_records(session: Session, records: list[Record]) -> None:
    for record in records:
        record.written_at = asyncio.get_running_loop().time()
        session.order_cache.keep(record, session.endpoint.client_id)
    records[0].awaited = True
    session.order_cache.set_symbol(
        session.endpoint.connection_id, records[0].con_id, records[0].symbol
    )


def _discard_unsent(session: Session, records: list[Record]) -> None:
    for record in records:
        session.order_cache.remove(record)


def _client_to_write(session: Session) -> TwsClient:
    """Return the client right before a write. Raises NotSent if the session is not usable."""
    try:
        session.require_usable()
        return session.client
    except ReadFailed as error:
        raise NotSent(error.code, error.detail) from error


def _cancelled_or_not(record: Record) -> list[OrderReport]:
    has_ended = record.ended in (ReportKind.CANCELLED, ReportKind.EXPIRED)
    if has_ended or _is_being_cancelled(record):
        return record.reports()
    refused = OrderReport(
        kind=ReportKind.CANCEL_REFUSED,
        connection_id=record.connection_id,
        client_order_id=record.client_order_id,
        broker_order_id=str(record.perm_id or ""),
        detail=record.refused_change or str(record.ended or record.status),
    )
    return [refused, *record.reports()]
