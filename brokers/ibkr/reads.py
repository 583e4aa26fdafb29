"""Questions to TWS. A part is never an answer: each of them raises ReadFailed instead."""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from brokers.base import ReadFailed, Rejected
from brokers.ibkr import parse
from brokers.ibkr.absence_checks import require_absence
from brokers.ibkr.contract_details import details_of, learn_names
from brokers.ibkr.contracts import listed
from brokers.ibkr.evicted_executions import evicted_records
from brokers.ibkr.foreign_activity import foreign_exits, is_foreign, working_order
from brokers.ibkr.order_cache import state_of
from brokers.ibkr.order_events import COMMISSION_WAIT_SECONDS
from brokers.ibkr.order_records import ENTRY, STOP, TARGET, Record, held_levels, levels_report
from brokers.ibkr.order_snapshots import Snapshot
from brokers.ibkr.session import Session
from brokers.ibkr.wrapper import POSITIONS, TIME, VALUES, AnswerError
from brokers.rate_limits import Priority
from brokers.types import (
    AccountState,
    BrokerOrder,
    BrokerPosition,
    HeldLevels,
    Instrument,
    OrderReport,
    ReportKind,
)
from common.clocks import market_now
from common.reason_codes import Code

log = logging.getLogger(__name__)
NOT_TRANSMITTED = frozenset(
    {"PendingSubmit", "ApiPending"}
)  # TWS has it, IBKR has not confirmed it
NOT_WORKING = frozenset({"Filled", "Cancelled", "ApiCancelled", "Inactive"})


async def account(session: Session) -> AccountState:
    """Read the account's sums. Raises ReadFailed."""
    await session.ready()
    number, client = session.endpoint.account, session.client
    found = await _request(
        session, lambda client, _: client.reqAccountUpdates(True, number), VALUES
    )
    await session.say(client, lambda client: client.reqAccountUpdates(False, number))
    values: dict[str, tuple[str, str]] = {}
    for tag, value, currency, of in found:
        if of in ("", number) and (tag != "UnrealizedPnL" or currency == "BASE"):
            values[tag] = (value, currency)
    try:
        session.rates = parse.exchange_rates(found)
        state = parse.account_state(number, values, market_now(), allowed=not session.read_only)
    except (KeyError, ValueError, ArithmeticError) as error:
        raise ReadFailed(Code.BROKER_UNREACHABLE, f"account: {error!r}") from error
    session.currency = state.currency
    return state


async def instruments(session: Session) -> list[Instrument]:
    """Read what the account's symbols are. Those that IBKR does not know are left out."""
    await session.ready()
    symbols = listed(session.endpoint.settings)
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
            instruments_read.append(parse.instrument(symbol, details, session.endpoint.settings))
        except (ValueError, ArithmeticError) as error:
            raise ReadFailed(Code.BROKER_UNREACHABLE, f"{symbol}: {error!r}") from error
    return instruments_read


async def positions(session: Session) -> list[BrokerPosition]:
    """Read what is held, with the one stop and target where a position has but one of each.

    An exit may be waiting for it (`ExitSafety.OCA`): nothing that it needs stands behind entries.
    """
    await session.ready()
    client = session.client
    found = await _request(
        session, lambda client, _: client.reqPositions(), POSITIONS, Priority.LOOKUP
    )
    await session.say(client, lambda client: client.cancelPositions(), Priority.LOOKUP)
    mine = (one[1:] for one in found if one[0] == session.endpoint.account)
    last = {contract.conId: (contract, *sums) for contract, *sums in mine}  # the later word counts
    held = [one for one in last.values() if parse.exact(one[1])]
    await learn_names(session, (one[0] for one in held))
    positions_read = [_position(session, *one) for one in held]
    legs = await _working_legs(session)
    return positions_read if legs is None else [_with_levels(one, legs) for one in positions_read]


async def _working_legs(session: Session) -> list[Record] | None:
    """The stops and targets that stand at the broker now; None: that cannot be read. One that is in
    no list any more has ended without a word."""
    known = [
        one
        for one in session.ledger.of(session.endpoint.connection_id)
        if one.leg != ENTRY and _protects(session, one)
    ]
    if not known:
        return []
    try:
        snapshot = await session.snapshot()
    except ReadFailed:
        return None
    seen = {one[1].orderRef for one in snapshot.open if len(one) == 3}
    for leg in known:
        if leg.live and f"{leg.client_order_id}:{leg.leg}" not in seen:
            before = state_of(leg)
            leg.ended, leg.detail = ReportKind.CANCELLED, "it stands in no list any more"
            session.ledger.moved(leg, before)
    return [leg for leg in known if leg.live]


def _protects(session: Session, leg: Record) -> bool:
    """Whether a stop or target is one of what is held: it works, and its entry does not rest."""
    entry = session.ledger.get(leg.connection_id, leg.client_order_id)
    is_working = entry is not None and entry.live and not max(entry.filled, entry.executed)
    return leg.live and leg.accepted and not is_working


def _position(session: Session, contract: Any, quantity: Any, cost: Any) -> BrokerPosition:
    exact, average = parse.exact(quantity) or Decimal(0), parse.exact(cost) or Decimal(0)
    return parse.position(session.name_of(contract), contract, exact, average)


async def open_orders(session: Session) -> list[BrokerOrder]:
    """Read every order that rests, whoever placed it; stops and targets stand with their entry."""
    await session.ready()
    snapshot = await session.snapshot()
    if gap := next((one[0] for one in snapshot.open if len(one) == 1), None):
        log.warning("ibkr: somebody else's order is not understood: %r", gap)  # not theirs to read
        raise ReadFailed(Code.BROKER_UNREACHABLE, "somebody else's order cannot be read")
    await learn_names(session, _foreign_contracts(session, snapshot))
    executed = {one[0]: one[1] for one in snapshot.open if len(one) == 2}
    found: dict[int, BrokerOrder] = {}
    for contract, order, state in (one for one in snapshot.open if len(one) == 3):
        if order.account not in ("", session.endpoint.account):
            continue
        parts = parse.parts_of(order.orderRef)
        record = session.ledger.get(session.endpoint.connection_id, *parts) if parts else None
        if parts and parts[1] != ENTRY:
            continue
        if record is not None:
            if record.live and record.status not in NOT_TRANSMITTED:
                found[order.permId] = _resting(session, record)
        elif state.status not in NOT_WORKING:
            done = parse.exact(executed.get(order.permId, 0)) or Decimal(0)
            found[order.permId] = working_order(session, contract, order, done)
    return list(found.values())


async def find_order(session: Session, client_order_id: str) -> list[OrderReport] | None:
    """Read everything that the broker knows of one order; None: it has never had it today."""
    await session.ready()
    with session.ledger.pinned(session.endpoint.connection_id, client_order_id):
        asked_at = asyncio.get_running_loop().time()
        snapshot = await session.snapshot()
        seen = {one[1].orderRef for one in snapshot.open if len(one) == 3}
        is_open = client_order_id in seen
        return await _found(session, client_order_id, is_open=is_open, asked_at=asked_at)


async def _found(
    session: Session, client_order_id: str, *, is_open: bool, asked_at: float
) -> list[OrderReport] | None:
    """What a reading has shown of an order. is_open: it stands in the list of open ones."""
    connection_id = session.endpoint.connection_id
    record = session.ledger.get(connection_id, client_order_id)
    if record is None:
        require_absence(session, asked_at)
        return None
    await _wait_for_commissions(session, [record])
    known = record.accepted or record.ended is not None
    if record.live and not is_open:
        if not known:
            absent = _with_level_records(session, client_order_id)
            require_absence(session, asked_at, absent)
            for one in absent:  # from here on it may be sent again
                session.ledger.forget(one)
            return None
        raise ReadFailed(Code.BROKER_UNREACHABLE, "it was accepted, and stands in no list now")
    if not known:
        raise ReadFailed(Code.BROKER_UNREACHABLE, f"TWS has it, IBKR says nothing: {record.status}")
    legs = [session.ledger.get(connection_id, client_order_id, leg) for leg in (STOP, TARGET)]
    reports = [*record.reports(), *([total] if (total := record.sum_report()) else [])]
    if record.executed and not record.is_exit:  # that there are none is told as well
        held = held_levels(*legs)
        reports = [replace(one, levels=held) if one.fills else one for one in reports]
    if any(legs):
        reports.append(levels_report(record, *legs))
        reports += [r for leg in legs if leg and leg.fills for r in leg.reports() if r.fills]
    return reports


async def fills_since(session: Session, since: datetime) -> list[OrderReport]:
    """Read today's executions: ours, and those of others that made a position smaller."""
    await session.ready()
    snapshot = await session.snapshot()
    ours = [r for r in session.ledger.of(session.endpoint.connection_id) if r.fills]
    await _wait_for_commissions(session, ours)
    ours += evicted_records(session, snapshot)
    since -= timedelta(seconds=1)  # IBKR tells whole seconds
    reports = [
        report
        for record in ours
        if any(fill.time >= since for fill in record.fills.values())
        for report in record.reports()
        if report.kind is ReportKind.FILLED
    ]
    if any(is_foreign(session, one) for one in snapshot.executions):
        reports += foreign_exits(session, snapshot, await _held(session))
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
        return await session.ask(send, key=key, priority=priority)
    except AnswerError as error:
        raise ReadFailed(Code.BROKER_UNREACHABLE, str(error)) from error


def _with_level_records(session: Session, client_order_id: str) -> list[Record]:
    """An order's record and those of its levels."""
    of = session.endpoint.connection_id, client_order_id
    return [r for leg in (ENTRY, STOP, TARGET) if (r := session.ledger.get(*of, leg)) is not None]


def _foreign_contracts(session: Session, snapshot: Snapshot) -> list[Any]:
    """The contracts of orders that somebody else has placed on the account: ours have a name."""
    mine = ("", session.endpoint.account)
    reports = (one for one in snapshot.open if len(one) == 3 and one[1].account in mine)
    return [contract for contract, order, _ in reports if not parse.parts_of(order.orderRef)]


async def _wait_for_commissions(session: Session, records: Iterable[Record]) -> None:
    """Wait until executions have their commissions, or nobody waits for those any more."""
    if any(not fill.told for record in records for fill in record.fills.values()):
        await asyncio.sleep(2 * COMMISSION_WAIT_SECONDS)


def _with_levels(position: BrokerPosition, legs: list[Record]) -> BrokerPosition:
    """Say which levels protect it, by the order reference of each; together only where they are of
    one entry: two stops are not one."""
    by_entry: dict[str, dict[str, Record]] = {}
    for leg in legs:
        if str(leg.con_id) == position.broker_position_id:
            by_entry.setdefault(leg.client_order_id, {})[leg.leg] = leg
    held = {
        name: held_levels(found.get(STOP), found.get(TARGET)) for name, found in by_entry.items()
    }
    one = next(iter(held.values()), HeldLevels(None, None)) if len(held) < 2 else None
    return replace(position, levels=one, entry_levels=held)


def _resting(session: Session, record: Record) -> BrokerOrder:
    order = record.order()
    of = session.endpoint.connection_id, record.client_order_id
    stop, target = session.ledger.get(*of, STOP), session.ledger.get(*of, TARGET)
    return BrokerOrder(
        order.broker_order_id, order.symbol, order.side, order.order_type, order.quantity,
        order.filled, order.limit_price, order.stop_price,
        stop.stop_price if stop and stop.live else None,
        target.limit_price if target and target.live else None,
        order.client_order_id,
    )  # fmt: skip


async def _held(session: Session) -> dict[str, Decimal]:
    """What is held now, signed, by position id."""
    return {p.broker_position_id: p.quantity * p.side.sign for p in await positions(session)}
