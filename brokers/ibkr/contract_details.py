"""IBKR's details of contracts: those that symbols map to, and those of open positions."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from ib_async.contract import Contract

from brokers.base import ReadFailed, Rejected
from brokers.ibkr.contracts import InvalidSymbolError, possible_symbols
from brokers.ibkr.order_encoding import contract_of
from brokers.ibkr.order_records import Record
from brokers.ibkr.session import Session
from brokers.ibkr.wrapper import AnswerError
from brokers.rate_limits import Priority
from brokers.types import OrderRequest
from common.reason_codes import Code

CLOSE_IN_TWS = "close it in TWS: we receive what you do there"


async def details_of(session: Session, symbol: str, priority: Priority = Priority.READ) -> Any:
    """Return IBKR's details of the contract that a symbol maps to now, read once in a session.

    priority: that of the request which needs them. Raises Rejected if there is no contract or none
    that we can price; ReadFailed.
    """
    if symbol in session.details:
        return session.details[symbol]
    try:
        contract = contract_of(symbol, session.endpoint.settings)
    except InvalidSymbolError as error:
        raise Rejected(Code.UNKNOWN_SYMBOL_AT_BROKER, str(error)) from error
    found = await _request_details(session, contract, symbol, priority)
    if len(found) != 1:
        raise Rejected(Code.UNKNOWN_SYMBOL_AT_BROKER, f"{symbol} means {len(found)} contracts")
    details = _cache_details(session, found[0], symbol)
    session.details[symbol] = details
    session.names[details.contract.conId] = symbol
    return details


async def details_for(
    session: Session, request: OrderRequest, priority: Priority = Priority.READ
) -> Any:
    """Return the details of an order's contract; for an exit, of its position's contract.

    Raises Rejected, ReadFailed."""
    if not (request.closes or request.reduce_only):
        return await details_of(session, request.symbol, priority)
    return await held_details(session, request.broker_position_id, request.closes, request.symbol)


async def held_details(session: Session, position_id: str, entry_id: str, symbol: str) -> Any:
    """Return the details of a position's contract, read once in a session.

    The position's number is the contract's; without one, the entry's contract is used. What the
    symbol maps to now does not matter: the owner may have mapped it to another contract (a future's
    next month) or removed it. If it still maps to this contract, the map's exchange is used.
    Raises Rejected if the contract is unknown, ReadFailed.
    """
    con_id = _con_id_of(session, position_id, entry_id)
    if con_id in session.details:
        return session.details[con_id]
    with suppress(Rejected, ReadFailed):  # an invalid map must not stop an exit
        if (mapped := await details_of(session, symbol, Priority.EXIT)).contract.conId == con_id:
            return mapped
    what = f"contract {con_id}"
    found = await _request_details(
        session, Contract(conId=con_id), what, Priority.EXIT, f"; {CLOSE_IN_TWS}"
    )
    routes = {
        details.contract.exchange: details for details in found if details.contract.conId == con_id
    }
    if not routes:
        detail = f"IBKR does not list {what} any more; {CLOSE_IN_TWS}"
        raise Rejected(Code.UNKNOWN_SYMBOL_AT_BROKER, detail)
    return _cache_details(session, routes.get("SMART") or next(iter(routes.values())), what)


def forget_details(session: Session, record: Record) -> None:
    """Forget what IBKR listed of an order's contract: it has contradicted that. It is read again
    before the next order."""
    session.details.pop(record.symbol, None)
    session.details.pop(record.con_id, None)
    session.market_rules.clear()


def _con_id_of(session: Session, position_id: str, entry_id: str) -> int:
    """Return the contract that a position is in. Raises Rejected."""
    if position_id:
        if not position_id.isdecimal():
            detail = f"{position_id[:64]} is not a position number of IBKR's; {CLOSE_IN_TWS}"
            raise Rejected(Code.NO_POSITION, detail)
        return int(position_id)
    entry = session.order_cache.get(session.endpoint.connection_id, entry_id)
    if entry is None or not entry.con_id:
        detail = f"the order names no position, and its entry is not listed today; {CLOSE_IN_TWS}"
        raise Rejected(Code.NO_POSITION, detail)
    return entry.con_id


async def resolve_symbols(
    session: Session, contracts: Iterable[Contract], priority: Priority = Priority.LOOKUP
) -> None:
    """Find out which symbols of the map are these contracts. Raises ReadFailed.

    Only symbols that may match are requested, with priority over entries.
    """
    settings = session.endpoint.settings
    symbols = {
        symbol
        for contract in contracts
        if contract.conId not in session.details
        for symbol in possible_symbols(contract, settings)
        if symbol not in session.details and symbol not in session.unknown_symbols
    }
    await asyncio.gather(*(_resolve(session, symbol, priority) for symbol in sorted(symbols)))


async def _resolve(session: Session, symbol: str, priority: Priority) -> None:
    try:
        await details_of(session, symbol, priority)
    except Rejected:
        session.unknown_symbols.add(symbol)


async def _request_details(
    session: Session, contract: Contract, what: str, priority: Priority, advice: str = ""
) -> list[Any]:
    """Return all matches. what, advice: for a rejection's text. Raises Rejected, ReadFailed."""
    try:
        return await session.request(
            lambda client, n: client.reqContractDetails(n, contract), priority=priority
        )
    except AnswerError as error:
        if error.number == 200:
            raise Rejected(Code.UNKNOWN_SYMBOL_AT_BROKER, f"{what}: {error}{advice}") from error
        raise ReadFailed(Code.BROKER_UNREACHABLE, str(error)) from error


def _cache_details(session: Session, details: Any, what: str) -> Any:
    """Cache a contract's details. Raises Rejected for a contract that we cannot price."""
    if details.priceMagnifier not in (0, 1):  # quoted in pence or cents
        detail = f"{what} is priced in fractions of its currency"
        raise Rejected(Code.UNKNOWN_SYMBOL_AT_BROKER, detail)
    session.details[details.contract.conId] = details
    return details
