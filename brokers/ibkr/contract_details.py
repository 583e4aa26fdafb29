"""What IBKR says of contracts: of those that symbols mean, and of those that positions are in."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from ib_async.contract import Contract

from brokers.base import ReadFailed, Rejected
from brokers.ibkr.contracts import BadSymbolError, possible_symbols
from brokers.ibkr.order_encoding import contract_of
from brokers.ibkr.session import Session
from brokers.ibkr.wrapper import AnswerError
from brokers.rate_limits import Priority
from brokers.types import OrderRequest
from common.reason_codes import Code

CLOSE_IN_TWS = "close it in TWS: what is done there is heard here"


async def details_of(session: Session, symbol: str, priority: Priority = Priority.READ) -> Any:
    """Return IBKR's details of the contract that a symbol maps to now, read once in a session.

    priority: that of the request which needs them. Raises Rejected if there is no contract or none
    that we can price; ReadFailed.
    """
    if symbol in session.details:
        return session.details[symbol]
    try:
        contract = contract_of(symbol, session.endpoint.settings)
    except BadSymbolError as error:
        raise Rejected(Code.UNKNOWN_SYMBOL_AT_BROKER, str(error)) from error
    found = await _request_details(session, contract, symbol, priority)
    if len(found) != 1:
        raise Rejected(Code.UNKNOWN_SYMBOL_AT_BROKER, f"{symbol} means {len(found)} contracts")
    details = _remember(session, found[0], symbol)
    session.details[symbol] = details
    session.names[details.contract.conId] = symbol
    return details


async def details_for(
    session: Session, request: OrderRequest, priority: Priority = Priority.READ
) -> Any:
    """Return what IBKR says of the contract that an order is for: an exit's is the one that its
    position is in. Raises Rejected, ReadFailed."""
    if not (request.closes or request.reduce_only):
        return await details_of(session, request.symbol, priority)
    return await held_details(session, request.broker_position_id, request.closes, request.symbol)


async def held_details(session: Session, position_id: str, entry_id: str, symbol: str) -> Any:
    """Return what IBKR says of the contract that a position is in, asked once in a session.

    Its number is the contract's; a position without one is where its entry is. What the symbol
    means by now decides nothing: an owner may have given it to another contract (a future's next
    month) or taken it off the map. Where it still means this one, it is routed as the map says.
    Raises Rejected where the contract is not told, ReadFailed.
    """
    con_id = _con_id_of(session, position_id, entry_id)
    if con_id in session.details:
        return session.details[con_id]
    with suppress(Rejected, ReadFailed):  # whatever is wrong with the map
        if (named := await details_of(session, symbol, Priority.EXIT)).contract.conId == con_id:
            return named
    what = f"contract {con_id}"
    found = await _request_details(
        session, Contract(conId=con_id), what, Priority.EXIT, f"; {CLOSE_IN_TWS}"
    )
    routes = {one.contract.exchange: one for one in found if one.contract.conId == con_id}
    if not routes:
        detail = f"IBKR does not tell {what} any more; {CLOSE_IN_TWS}"
        raise Rejected(Code.UNKNOWN_SYMBOL_AT_BROKER, detail)
    return _remember(session, routes.get("SMART") or next(iter(routes.values())), what)


def _con_id_of(session: Session, position_id: str, entry_id: str) -> int:
    """Return the contract that a position is in. Raises Rejected."""
    if position_id:
        if not position_id.isdecimal():
            detail = f"{position_id[:64]} is no position of IBKR's; {CLOSE_IN_TWS}"
            raise Rejected(Code.NO_POSITION, detail)
        return int(position_id)
    entry = session.ledger.get(session.endpoint.connection_id, entry_id)
    if entry is None or not entry.con_id:
        detail = f"no position is named, and its entry is in none of today's lists; {CLOSE_IN_TWS}"
        raise Rejected(Code.NO_POSITION, detail)
    return entry.con_id


async def learn_names(session: Session, contracts: Iterable[Contract]) -> None:
    """Learn which of the map's symbols mean these contracts. Only those that could are asked about,
    before entries leave: an exit may be waiting for it. Raises ReadFailed."""
    settings = session.endpoint.settings
    symbols = {
        symbol
        for contract in contracts
        if contract.conId not in session.details
        for symbol in possible_symbols(contract, settings)
        if symbol not in session.details and symbol not in session.unknown
    }
    await asyncio.gather(*(_learn(session, symbol) for symbol in sorted(symbols)))


async def _learn(session: Session, symbol: str) -> None:
    try:
        await details_of(session, symbol, Priority.LOOKUP)
    except Rejected:
        session.unknown.add(symbol)


async def _request_details(
    session: Session, contract: Contract, what: str, priority: Priority, advice: str = ""
) -> list[Any]:
    """Return all that IBKR finds. what, advice: for a refusal. Raises Rejected, ReadFailed."""
    try:
        return await session.ask(
            lambda client, n: client.reqContractDetails(n, contract), priority=priority
        )
    except AnswerError as error:
        if error.number == 200:
            raise Rejected(Code.UNKNOWN_SYMBOL_AT_BROKER, f"{what}: {error}{advice}") from error
        raise ReadFailed(Code.BROKER_UNREACHABLE, str(error)) from error


def _remember(session: Session, details: Any, what: str) -> Any:
    """Keep what IBKR says of a contract. Raises Rejected for one that we cannot price."""
    if details.priceMagnifier not in (0, 1):  # pence, cents: its money is not its price
        raise Rejected(Code.UNKNOWN_SYMBOL_AT_BROKER, f"{what} is priced in parts of its money")
    session.details[details.contract.conId] = details
    return details
