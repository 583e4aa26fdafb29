"""Reads from TWS. None returns a part of the answer: they raise ReadFailed instead."""

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from brokers.base import ReadFailed, Rejected
from brokers.exit_reads import is_exit_read
from brokers.ibkr import parse
from brokers.ibkr.absence_checks import lists_all, remove_absent, require_absence
from brokers.ibkr.contract_details import details_of, resolve_symbols
from brokers.ibkr.contracts import traded_symbols
from brokers.ibkr.evicted_executions import evicted_records
from brokers.ibkr.foreign_activity import foreign_exits, is_foreign, working_order
from brokers.ibkr.market_rules import grid_of, listed_grid
from brokers.ibkr.order_cache import state_of
from brokers.ibkr.order_events import COMMISSION_WAIT_SECONDS
from brokers.ibkr.order_records import ENTRY, STOP, TARGET, Record, held_levels, levels_report
from brokers.ibkr.order_snapshots import Depth, Snapshot
from brokers.ibkr.session import Session
from brokers.ibkr.wrapper import POSITIONS, TIME, VALUES, AnswerError
from brokers.price_rounding import PriceGrid
from brokers.rate_limits import Priority
from brokers.types import (
    AccountState,
    BrokerOrder,
    BrokerPosition,
    HeldLevels,
    Instrument,
    OrderReport,
    ReportKind,
    unreadable_position,
)
from brokers.unreadable_rows import INVALID, UNREADABLE_ROWS, readable
from common.clocks import market_now
from common.reason_codes import Code

log = logging.getLogger(__name__)
NOT_TRANSMITTED = frozenset(
    {"PendingSubmit", "ApiPending"}
)  # TWS has it, IBKR has not confirmed it
NOT_WORKING = frozenset({"Filled", "Cancelled", "ApiCancelled", "Inactive"})


async def account(session: Session) -> AccountState:
    """Read the account's balance, equity and margins. Raises ReadFailed."""
    await session.ready()
    number, client = session.endpoint.account, session.client
    found = await _request(
        session, lambda client, _: client.reqAccountUpdates(True, number), VALUES
    )
    await session.send(client, lambda client: client.reqAccountUpdates(False, number))
    values: dict[str, tuple[str, str]] = {}
    for tag, value, currency, account_number in found:
        if account_number in ("", number) and (tag != "UnrealizedPnL" or currency == "BASE"):
            values[tag] = (value, currency)
    try:
        session.rates = parse.exchange_rates(found)
        state = parse.account_state(
            number,
            values,
            market_now(),
            allowed=not session.read_only,
            settled_only=bool(session.endpoint.settings.get("cash_account", False)),
        )
    except (KeyError, ValueError, ArithmeticError) as error:
        raise ReadFailed(Code.BROKER_UNREACHABLE, f"account: {error!r}") from error
    session.currency = state.currency
    return state


async def instruments(session: Session) -> list[Instrument]:
    """Read the instruments of the account's symbols, without symbols that IBKR does not have."""
    await session.ready()
    symbols = traded_symbols(session.endpoint.settings)
    found = await asyncio.gather(
        *(details_of(session, symbol) for symbol in symbols), return_exceptions=True
    )
    instruments_read = []
    for symbol, details in zip(symbols, found, strict=True):
        if isinstance(details, Rejected):
            continue
        if isinstance(details, BaseException):
            raise details
        try:
            grid = await _listed_steps(session, details)
            instruments_read.append(
                parse.instrument(symbol, details, session.endpoint.settings, grid)
            )
        except INVALID as error:
            UNREADABLE_ROWS.note(session.endpoint.connection_id, "symbol", symbol, error)
    return instruments_read


async def _listed_steps(session: Session, details: Any) -> PriceGrid:
    """Return a contract's price steps; its smallest tick if TWS does not answer."""
    try:
        return await grid_of(session, details, Priority.READ)
    except ReadFailed:
        return listed_grid(details)


async def positions(session: Session) -> list[BrokerPosition]:
    """Read all open positions and their levels.

    Its requests go before entries. If an exit waits for them (`ExitSafety.OCA`), they go before all
    others, and levels are not read.
    """
    await session.ready()
    client, is_exit = session.client, is_exit_read()
    priority = Priority.EXIT if is_exit else Priority.LOOKUP
    found = await _request(session, lambda client, _: client.reqPositions(), POSITIONS, priority)
    await session.send(client, lambda client: client.cancelPositions(), priority)
    own = (row[1:] for row in found if row[0] == session.endpoint.account)
    latest = {contract.conId: (contract, *values) for contract, *values in own}  # the last row wins
    open_rows = [row for row in latest.values() if _units(row[1])]
    await resolve_symbols(session, (row[0] for row in open_rows), priority)
    positions_read = readable(
        session.endpoint.connection_id, "position", open_rows, lambda row: _position(session, *row),
        name_of=lambda row: str(row[0].conId),
        otherwise=lambda row: unreadable_position(str(row[0].conId), session.name_of(row[0])),
    )  # fmt: skip
    legs = None if is_exit else await _working_legs(session)
    if legs is None:
        return positions_read
    return [
        _with_levels(position, legs) if position.is_readable else position
        for position in positions_read
    ]


async def _working_legs(session: Session) -> list[Record] | None:
    """Return the stops and targets that work now; None if that is not certain.

    A level that is in no list any more has ended without a message."""
    known = [
        record
        for record in session.order_cache.of(session.endpoint.connection_id)
        if record.leg != ENTRY and _protects(session, record)
    ]
    if not known:
        return []
    requested_at = asyncio.get_running_loop().time()
    try:
        snapshot = await session.snapshot(Depth.OPEN)
    except ReadFailed:
        return None
    missing = [leg for leg in known if leg.live and leg.order_ref not in snapshot.open_refs]
    if missing and not lists_all(session, requested_at, missing):
        return None
    for leg in missing:
        before = state_of(leg)
        leg.ended, leg.detail = ReportKind.CANCELLED, "it is in no list of TWS any more"
        session.order_cache.report_changes(leg, before)
    return [leg for leg in known if leg.live]


def _protects(session: Session, leg: Record) -> bool:
    """Whether a stop or target protects an open position: it works and its entry does not."""
    entry = session.order_cache.get(leg.connection_id, leg.client_order_id)
    is_working = entry is not None and entry.live and not max(entry.filled, entry.executed)
    return leg.live and leg.accepted and not is_working


def _position(session: Session, contract: Any, quantity: Any, cost: Any) -> BrokerPosition:
    """Return a position. One whose cost TWS does not state is a position all the same."""
    average = Decimal(0)
    with suppress(ValueError):
        average = parse.to_decimal(cost) or Decimal(0)
    return parse.position(session.name_of(contract), contract, _units(quantity), average)


def _units(quantity: Any) -> Decimal:
    """Return a position's signed quantity; 0: it is flat. Raises ReadFailed for one that TWS does
    not state: it would count as closed."""
    units = None
    with suppress(ValueError, ArithmeticError):
        units = parse.to_decimal(quantity)
    if units is None:
        raise ReadFailed(Code.BROKER_UNREACHABLE, f"a position of {quantity!r}")
    return units


async def open_orders(session: Session) -> list[BrokerOrder]:
    """Read all working orders, ours or not. Stops and targets are part of their entry's order."""
    await session.ready()
    snapshot = await session.snapshot(Depth.OPEN)
    connection_id = session.endpoint.connection_id
    for unread in (item[0] for item in snapshot.open if len(item) == 1):
        # In the log only: the account's owner may not read another person's order.
        number = "|".join(str(unread).split("|")[:2])
        UNREADABLE_ROWS.note(connection_id, "open order", number, "not ours; the log has it")
        log.info("ibkr: cannot read an order that is not ours: %r", unread)
    await resolve_symbols(session, _foreign_contracts(session, snapshot))
    executed = {item[0]: item[1] for item in snapshot.open if len(item) == 2}
    found: dict[tuple[int, int], BrokerOrder] = {}
    for contract, order, state in (item for item in snapshot.open if len(item) == 3):
        if order.account not in ("", session.endpoint.account):
            continue
        parts = parse.parse_order_ref(order.orderRef)
        record = session.order_cache.get(session.endpoint.connection_id, *parts) if parts else None
        if parts and parts[1] != ENTRY:
            continue
        key = parse.order_key(order.clientId, order.orderId, order.permId)
        if record is not None:
            if record.live and record.status not in NOT_TRANSMITTED:
                found[key] = _working_order(session, record)
        elif state.status not in NOT_WORKING:
            done = parse.to_decimal(executed.get(key, 0)) or Decimal(0)
            try:
                found[key] = working_order(session, contract, order, done)
            except INVALID as error:
                UNREADABLE_ROWS.note(connection_id, "open order", f"{key}", error)
    return list(found.values())


async def find_order(session: Session, client_order_id: str) -> list[OrderReport] | None:
    """Return all that IBKR has about one order; None: it certainly has nothing today.

    Of an order that vanished after it was executed, those executions are all that there is."""
    await session.ready()
    with session.order_cache.pinned(session.endpoint.connection_id, client_order_id):
        requested_at = asyncio.get_running_loop().time()
        known = session.order_cache.get(session.endpoint.connection_id, client_order_id)
        # If a working order is not open any more, what has ended is read, too.
        is_working = known is not None and known.live and not known.fills
        snapshot = await session.snapshot(Depth.OPEN if is_working else Depth.ENDED)
        return await _reports_of(session, client_order_id, snapshot, requested_at)


async def _reports_of(
    session: Session, client_order_id: str, snapshot: Snapshot, requested_at: float
) -> list[OrderReport] | None:
    """Return what a snapshot shows of an order; None if it is in no list."""
    connection_id = session.endpoint.connection_id
    record = session.order_cache.get(connection_id, client_order_id)
    if record is None:
        require_absence(session, requested_at)
        return None
    await _wait_for_commissions(session, [record])
    if record.live and client_order_id not in snapshot.open_refs:
        if remove_absent(session, client_order_id, snapshot, requested_at):
            return None
    elif record.live and not record.accepted:
        detail = f"TWS has it, IBKR has not confirmed it: {record.status}"
        raise ReadFailed(Code.BROKER_UNREACHABLE, detail)
    legs = [session.order_cache.get(connection_id, client_order_id, leg) for leg in (STOP, TARGET)]
    reports = [*record.reports(), *([total] if (total := record.sum_report()) else [])]
    if record.executed and not record.is_exit:  # report also that it has no levels
        levels = held_levels(*legs)
        reports = [replace(r, levels=levels) if r.fills else r for r in reports]
    if any(legs):
        reports.append(levels_report(record, *legs))
        reports += [r for leg in legs if leg and leg.fills for r in leg.reports() if r.fills]
    return reports


async def fills_since(session: Session, since: datetime) -> list[OrderReport]:
    """Read today's executions: ours, and those of other orders that reduced a position."""
    await session.ready()
    snapshot = await session.snapshot(Depth.EXECUTED)
    ours = [r for r in session.order_cache.of(session.endpoint.connection_id) if r.fills]
    await _wait_for_commissions(session, ours)
    ours += evicted_records(session, snapshot)
    since -= timedelta(seconds=1)  # IBKR states whole seconds
    reports = [
        report
        for record in ours
        if any(fill.time >= since for fill in record.fills.values())
        for report in record.reports()
        if report.kind is ReportKind.FILLED
    ]
    if any(is_foreign(session, execution) for _, execution in snapshot.executions):
        reports += foreign_exits(session, snapshot, await _signed_positions(session))
    return reports


async def clock(session: Session) -> datetime:
    """Read IBKR's time, to the second."""
    await session.ready()
    found = await _request(session, lambda client, _: client.reqCurrentTime(), TIME)
    return datetime.fromtimestamp(found[0], UTC)


async def _request(
    session: Session, send: Any, key: str, priority: Priority = Priority.READ
) -> list[Any]:
    try:
        return await session.request(send, key=key, priority=priority)
    except AnswerError as error:
        raise ReadFailed(Code.BROKER_UNREACHABLE, str(error)) from error


def _foreign_contracts(session: Session, snapshot: Snapshot) -> list[Any]:
    """Return the contracts of the account's orders that are not ours: ours have a symbol."""
    own_accounts = ("", session.endpoint.account)
    orders = (item for item in snapshot.open if len(item) == 3 and item[1].account in own_accounts)
    return [contract for contract, order, _ in orders if not parse.parse_order_ref(order.orderRef)]


async def _wait_for_commissions(session: Session, records: Iterable[Record]) -> None:
    """Wait until all executions are reported, with or without their commissions."""
    if any(not fill.reported for record in records for fill in record.fills.values()):
        await asyncio.sleep(2 * COMMISSION_WAIT_SECONDS)


def _with_levels(position: BrokerPosition, legs: list[Record]) -> BrokerPosition:
    """Return the position with its levels, by entry; `levels` only if all are of one entry."""
    by_entry: dict[str, dict[str, Record]] = {}
    for leg in legs:
        if str(leg.con_id) == position.broker_position_id:
            by_entry.setdefault(leg.client_order_id, {})[leg.leg] = leg
    by_id = {
        name: held_levels(found.get(STOP), found.get(TARGET)) for name, found in by_entry.items()
    }
    levels = next(iter(by_id.values()), HeldLevels(None, None)) if len(by_id) < 2 else None
    return replace(position, levels=levels, entry_levels=by_id)


def _working_order(session: Session, record: Record) -> BrokerOrder:
    order = record.order()
    key = session.endpoint.connection_id, record.client_order_id
    stop, target = session.order_cache.get(*key, STOP), session.order_cache.get(*key, TARGET)
    return BrokerOrder(
        order.broker_order_id, order.symbol, order.side, order.order_type, order.quantity,
        order.filled, order.limit_price, order.stop_price,
        stop.stop_price if stop and stop.live else None,
        target.limit_price if target and target.live else None,
        order.client_order_id, trail_distance=order.trail_distance,
    )  # fmt: skip


async def _signed_positions(session: Session) -> dict[str, Decimal]:
    """Return the open quantities now, signed, by position id."""
    return {p.broker_position_id: p.quantity * p.side.sign for p in await positions(session)}
