"""What an account's owner may do beside placing orders: cancel, change levels, close manually."""

from collections.abc import Sequence
from decimal import Decimal

from brokers.base import Rejected, check_deadline
from brokers.paper import queries
from brokers.paper.book import refuse_levels
from brokers.paper.book_state import Account, BookOrder, ChangeSet, Lot, Market
from brokers.paper.db_sessions import Session, sessions
from brokers.paper.matching import broker_exit
from brokers.paper.order_history import reports_of
from brokers.paper.persistence import write
from brokers.paper.quote_processing import emit
from brokers.types import (
    CancelRequest,
    CloseCause,
    HeldLevels,
    ModifyRequest,
    OrderReport,
    ReportKind,
    Side,
)
from common.clocks import market_now
from common.reason_codes import Code

Levels = tuple[Decimal | None, Decimal | None]


def cancel(account_id: int, request: CancelRequest, connection_id: str = "") -> list[OrderReport]:
    """Cancel a working order. If it was filled before: CANCEL_REFUSED and the fill.

    connection_id: for the report about an order that does not exist."""

    def work(session: Session) -> list[OrderReport]:
        accounts = queries.lock_accounts(session, [account_id])
        check_deadline(request)  # a late request has no effect
        orders = _orders(session, account_id, request.client_order_id, request.broker_order_id)
        changes = ChangeSet(queries.tickets(session, 1))
        for order in orders:
            if order.status == "WORKING":
                order.end("CANCELLED", Code.OWNER_CANCELLED)
                changes.changed_orders[order.id] = order
        write(session, changes, accounts)
        reports = reports_of(session, orders, accounts[account_id].currency)
        if any(report.kind is ReportKind.CANCELLED for report in reports):
            return reports
        refused = OrderReport(
            kind=ReportKind.CANCEL_REFUSED,
            connection_id=orders[0].connection_id if orders else connection_id,
            client_order_id=request.client_order_id,
            broker_order_id=request.broker_order_id,
            code=Code.REJECTED_BY_BROKER,
            detail=f"the order is {orders[0].status}" if orders else "no such order",
        )
        return [refused, *reports]

    return sessions.run(work)


def _orders(
    session: Session, account_id: int, client_order_id: str, broker_order_id: str
) -> list[BookOrder]:
    """Find orders by the broker's ticket, or by the client order id if the ticket is not known."""
    if broker_order_id.isascii() and broker_order_id.isdigit() and len(broker_order_id) < 19:
        return queries.load_orders(
            session, "id = %s AND account_id = %s", (int(broker_order_id), account_id)
        )
    return queries.load_orders(
        session, "client_order_id = %s AND account_id = %s", (client_order_id, account_id)
    )


def modify(account_id: int, request: ModifyRequest) -> list[OrderReport]:
    """Set both levels of a position or of a working entry; None removes one.

    Raises Rejected: NO_POSITION, STOPS_INVALID, MARKET_CLOSED, UNKNOWN_SYMBOL_AT_BROKER.
    """

    def work(session: Session) -> list[OrderReport]:
        queries.lock_symbols(session, [request.symbol], exclusive=False)
        accounts = queries.lock_accounts(session, [account_id])
        check_deadline(request)  # a late request has no effect
        account = accounts[account_id]
        queries.load_lots(session, accounts, [(account_id, request.symbol)])
        lots = _lots_of(account, request)
        working = [] if lots else _working_entry(session, account_id, request)
        if not lots and not working:
            raise Rejected(Code.NO_POSITION, request.broker_position_id)
        market = queries.load_market(session)
        levels: Levels = (request.stop_loss, request.take_profit)
        _check_levels(account, lots, working, levels, market)
        if account.drops_levels:
            levels = (None, None)
        changes = ChangeSet(queries.tickets(session, 1))
        for lot in lots:
            lot.stop_loss, lot.take_profit = levels
            changes.touch(lot)
        for order in working:
            order.stop_loss, order.take_profit = levels
            changes.changed_orders[order.id] = order
        write(session, changes, accounts)
        return [_levels_report(request, lots, working)]

    return sessions.run(work)


def _lots_of(account: Account, request: ModifyRequest) -> list[Lot]:
    """Return the open lots of the named position, or of the named entry."""
    lots = [lot for lot in account.lots.get(request.symbol, ()) if lot.quantity]
    if request.broker_position_id:
        return [lot for lot in lots if str(lot.position) == request.broker_position_id]
    groups = {lot.position for lot in lots if lot.client_order_id == request.client_order_id}
    return [lot for lot in lots if lot.position in groups]


def _working_entry(session: Session, account_id: int, request: ModifyRequest) -> list[BookOrder]:
    return queries.load_orders(
        session,
        "client_order_id = %s AND account_id = %s AND status = 'WORKING' AND NOT reduce_only",
        (request.client_order_id, account_id),
    )


def _check_levels(
    account: Account,
    lots: Sequence[Lot],
    working: Sequence[BookOrder],
    levels: Levels,
    market: Market,
) -> None:
    if levels == (None, None):
        return
    if not account.native_stops:
        raise Rejected(Code.STOPS_INVALID, "the account keeps no stops")
    symbol = (lots[0] if lots else working[0]).symbol
    listed = market.by_symbol[symbol]
    if not listed.is_open(market_now()):
        raise Rejected(Code.MARKET_CLOSED, symbol)
    references: list[tuple[Side, Decimal]] = [
        (lot.side, listed.price(lot.side.opposite)) for lot in lots
    ]
    references += [(order.side, order.trigger or listed.price(order.side)) for order in working]
    for side, reference in references:
        if refusal := refuse_levels(side, reference, *levels, listed):
            raise Rejected(*refusal)


def _levels_report(
    request: ModifyRequest, lots: Sequence[Lot], working: Sequence[BookOrder]
) -> OrderReport:
    first = lots[0] if lots else working[0]
    return OrderReport(
        kind=ReportKind.LEVELS,
        connection_id=first.connection_id,
        client_order_id=request.client_order_id,
        broker_order_id=str(first.id),
        broker_position_id=str(lots[0].position) if lots else "",
        levels=HeldLevels(first.stop_loss, first.take_profit),
    )


def owner_closes(account: str, position: str = "") -> int:
    """Close positions as the account's owner would in the broker's own terminal.

    account: its number; position: the broker's position id, empty for all. Executes at the
    current price; the event stream reports it as EXTERNAL. Returns how many entries it ended.
    """

    def work(session: Session) -> int:
        row = session.execute(
            "SELECT a.id, array_agg(DISTINCT p.symbol) FROM paper_account a "
            "JOIN paper_position p ON p.account_id = a.id AND p.quantity > 0 "
            "WHERE a.number = %s GROUP BY a.id",
            (account,),
        ).fetchone()
        if row is None:
            return 0
        account_id, symbols = row
        queries.lock_symbols(session, symbols, exclusive=False)
        accounts = queries.lock_accounts(session, [account_id])
        queries.load_lots(session, accounts, [(account_id, symbol) for symbol in symbols])
        market, now = queries.load_market(session), market_now()
        changes = ChangeSet(queries.tickets(session, 8))
        reports = [
            broker_exit(
                accounts[account_id], lot, CloseCause.EXTERNAL, lot.quantity, market, now, changes
            )
            for symbol in symbols
            for lot in accounts[account_id].lots.get(symbol, ())
            if position in ("", str(lot.position))
        ]
        write(session, changes, accounts)
        emit(session, reports, accounts)
        return len(reports)

    return sessions.run(work)
