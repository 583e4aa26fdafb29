"""What became of an order that was written: TWS's answer, else the order's own state at TWS.

TWS refuses an order with an error, which has a number. Not all numbers are known, and one that is
not may also be a warning. So such an error ends the wait for an answer, and the lists decide: TWS
has read the order by then. An order that no list has when TWS would certainly list it was refused.
"""

import asyncio
from contextlib import suppress
from functools import partial
from typing import Any

from brokers.base import NotSent, OutcomeUnknown, ReadFailed, Rejected
from brokers.ibkr import codes
from brokers.ibkr.absence_checks import remove_absent
from brokers.ibkr.contract_details import forget_details
from brokers.ibkr.order_records import ENTRY, Record
from brokers.ibkr.order_snapshots import Depth
from brokers.ibkr.session import Session
from brokers.ibkr.tws_socket import TwsClient
from brokers.rate_limits import Priority
from brokers.types import OrderReport, ReportKind
from common.reason_codes import Code

CONTRADICTS_DETAILS = frozenset(
    {
        Code.PRICE_INVALID, Code.VOLUME_INVALID, Code.UNKNOWN_SYMBOL_AT_BROKER,
        Code.SYMBOL_TRADING_DISABLED, Code.REJECTED_BY_BROKER, Code.STOPS_INVALID,
    }
)  # fmt: skip
"""Rejections that contradict the contract's details, or may: read the details again before the next
order."""


async def wait_for_answer(
    session: Session, client: TwsClient, record: Record, is_answered: Any
) -> None:
    """Wait until `is_answered()`. Raises OutcomeUnknown without a connection or an answer."""
    session.malformed_message, changed = "", asyncio.Event()
    end = session.order_cache.watch(record, changed.set)
    try:
        async with asyncio.timeout(session.timing.reply):
            while not is_answered():
                if not client.alive:
                    detail = session.malformed_message or "the connection was lost"
                    raise OutcomeUnknown(Code.REPLY_LOST, detail)
                changed.clear()
                await changed.wait()
    except TimeoutError as error:
        detail = record.detail or session.malformed_message or "no answer"
        raise OutcomeUnknown(Code.REPLY_LOST, detail) from error
    finally:
        end()


async def outcome(session: Session, client: TwsClient, records: list[Record]) -> list[OrderReport]:
    """Wait for the broker's answer about an order. records: of it, its stop and its target.

    Raises NotSent, Rejected or OutcomeUnknown."""
    record = records[0]
    try:
        await wait_for_answer(
            session, client, record, lambda: is_decided(record) or _in_doubt(session, records)
        )
        if not is_decided(record):
            await _look_up(session, client, records)
    finally:
        record.awaited = False
        if record.in_doubt:
            session.request_sync()
    if record.ended is ReportKind.REJECTED:
        if record.code in CONTRADICTS_DETAILS:
            forget_details(session, record)
        raise Rejected(record.code or Code.REJECTED_BY_BROKER, record.detail)
    if not is_decided(record):
        raise OutcomeUnknown(Code.REPLY_LOST, record.detail or session.malformed_message)
    return record.reports() or [record.accepted_report()]


def is_decided(record: Record) -> bool:
    """Whether the broker has accepted an order, or it has ended."""
    return record.accepted or record.ended is not None


def _in_doubt(session: Session, records: list[Record]) -> bool:
    is_held_back = _refused_last_level(records) is not None
    return records[0].in_doubt or is_held_back or bool(session.malformed_message)


def _refused_last_level(records: list[Record]) -> Record | None:
    """Return the last of an order's levels if TWS has refused it; None if not.

    Only the last one transmits: TWS keeps the others and never starts them."""
    last = records[-1]
    is_refused = last.ended is ReportKind.REJECTED or last.is_refused
    return last if last.leg != ENTRY and is_refused else None


async def _look_up(session: Session, client: TwsClient, records: list[Record]) -> None:
    """Find out at TWS what became of an order that it has not confirmed.

    Raises Rejected or NotSent if it is certainly not there; returns if it is there, or in doubt.
    """
    record = records[0]
    level = None if record.is_refused else _refused_last_level(records)
    if level is not None:
        await _withdraw(session, client, record, level.detail)
        return
    with suppress(ReadFailed, TimeoutError):
        async with asyncio.timeout(session.timing.reply):
            await session.snapshot(Depth.OPEN)
            if record.is_refused and not is_decided(record):
                await _require_presence(session, record)


async def _require_presence(session: Session, record: Record) -> None:
    """Return if an order that TWS seems to have refused is at TWS, as soon as that is certain.

    Raises Rejected if it is not, NotSent if it may be sent again; ReadFailed.
    """
    await _wait_until_listed(session, record)
    if is_decided(record):
        return
    requested_at = asyncio.get_running_loop().time()
    snapshot = await session.snapshot(Depth.OPEN)
    if is_decided(record):
        return
    detail, number = record.detail, record.error_number
    if not remove_absent(session, record.client_order_id, snapshot, requested_at):
        return
    if number == codes.DUPLICATE_NUMBER:
        raise NotSent(Code.REJECTED_BY_BROKER, detail)
    forget_details(session, record)
    raise Rejected(Code.REJECTED_BY_BROKER, detail)


async def _wait_until_listed(session: Session, record: Record) -> None:
    """Wait until TWS would list an order, or has confirmed it."""
    changed = asyncio.Event()
    end = session.order_cache.watch(record, changed.set)
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout_at(
                max(record.written_at, session.stable_since) + session.timing.settle
            ):
                while not is_decided(record):
                    changed.clear()
                    await changed.wait()
    finally:
        end()


async def _withdraw(session: Session, client: TwsClient, record: Record, detail: str) -> None:
    """Cancel an entry that TWS keeps without its last level, and so has not started.

    Raises Rejected if it is not at TWS; OutcomeUnknown. If it was executed, that is reported.
    """
    record.withdrawn, record.code, record.detail = True, Code.STOPS_INVALID, detail
    await session.rate_limiter.acquire(priority=Priority.EXIT)
    try:
        client.cancelOrder(record.order_id, "")
    except OSError as error:
        raise OutcomeUnknown(Code.REPLY_LOST, str(error)) from error
    record.cancelling, record.refused_change = True, ""
    try:
        await wait_for_answer(session, client, record, partial(_is_withdrawn, record))
    finally:
        record.cancelling = False
    if record.ended is not None:
        return
    record.error_number = 0
    try:
        await _require_presence(session, record)
    except ReadFailed as error:
        raise OutcomeUnknown(Code.REPLY_LOST, detail) from error


def _is_withdrawn(record: Record) -> bool:
    return record.ended is not None or bool(record.refused_change)
