"""Changes of working orders in the book: price and quantity. The order keeps its ticket."""

from decimal import Decimal

from brokers.base import Rejected, check_deadline
from brokers.paper import queries
from brokers.paper.book import (
    closing_reference,
    execute,
    is_reached,
    refuse_levels,
    refuse_quantity,
    trigger,
)
from brokers.paper.book_state import BookOrder, ChangeSet, Listed
from brokers.paper.db_sessions import Session, sessions
from brokers.paper.matching import OrderOutcome
from brokers.paper.persistence import write, write_terms
from brokers.paper.quote_processing import emit
from brokers.paper.reports import outcome_report
from brokers.types import ChangeRequest, OrderReport, OrderTerms, ReportKind
from common.clocks import market_now
from common.reason_codes import Code


def change_order(account_id: int, request: ChangeRequest) -> list[OrderReport]:
    """Give a working order new terms; execute it if the market has reached its new price.

    Raises Rejected: ORDER_ENDED, CHANGE_UNSUPPORTED, VOLUME_INVALID, PRICE_INVALID, STOPS_INVALID,
    MARKET_CLOSED.
    """

    def work(session: Session) -> list[OrderReport]:
        queries.lock_symbols(session, [request.symbol], exclusive=False)
        accounts = queries.lock_accounts(session, [account_id])
        check_deadline(request)  # a late request has no effect
        account = accounts[account_id]
        order = _working(session, account_id, request)
        market, now = queries.load_market(session), market_now()
        listed = market.by_symbol[order.symbol]
        if not listed.is_open(now):
            raise Rejected(Code.MARKET_CLOSED, order.symbol)
        _set_terms(order, request.terms, listed)
        queries.load_exposures(session, accounts)
        queries.load_lots(session, accounts, [(account_id, order.symbol)])
        queries.load_ended_lots(session, accounts, [order])
        changes = ChangeSet(queries.tickets(session, 2))
        changes.changed_orders[order.id] = order
        write_terms(session, order)
        trigger(order, listed)
        reached = is_reached(order, listed)
        deals = execute(account, order, market, now, changes) if reached else []
        write(session, changes, accounts)
        reports = [_changed(order, request.terms)]
        if reached:
            outcome = OrderOutcome(order, tuple(deals), order.status != "WORKING")
            emit(session, [outcome], accounts)
            reports += outcome_report(outcome, account.currency)
        return reports

    return sessions.run(work)


def _working(session: Session, account_id: int, request: ChangeRequest) -> BookOrder:
    """Return the working order. Raises Rejected ORDER_ENDED."""
    orders = queries.load_orders(
        session,
        "client_order_id = %s AND account_id = %s",
        (request.client_order_id, account_id),
    )
    for order in orders:
        if order.status == "WORKING":
            return order
    detail = f"the order is {orders[-1].status}" if orders else "no such order"
    raise Rejected(Code.ORDER_ENDED, detail)


def _set_terms(order: BookOrder, terms: OrderTerms, listed: Listed) -> None:
    """Check the terms and set them. Raises Rejected."""
    if terms.quantity <= order.filled:
        raise Rejected(Code.VOLUME_INVALID, f"{order.filled} has filled")
    if wrong := refuse_quantity(terms.quantity, listed):
        raise Rejected(*wrong)
    if order.watch == "MARKET" or (order.watch == "LIMIT" and terms.stop_price != order.stop_price):
        raise Rejected(Code.CHANGE_UNSUPPORTED, "its stop price was reached")
    for needed, price in (
        (order.order_type.has_limit_price, terms.limit_price),
        (order.order_type.has_stop_price, terms.stop_price),
    ):
        if needed != (price is not None) or (price is not None and price <= Decimal(0)):
            raise Rejected(Code.PRICE_INVALID, f"{order.order_type}: {price}")
    order.quantity = terms.quantity
    order.limit_price, order.stop_price = terms.limit_price, terms.stop_price
    if order.stop_loss is not None or order.take_profit is not None:
        reference = closing_reference(order, listed)
        levels = order.stop_loss, order.take_profit
        if refusal := refuse_levels(order.side, reference, *levels, listed):
            raise Rejected(*refusal)


def _changed(order: BookOrder, terms: OrderTerms) -> OrderReport:
    return OrderReport(
        kind=ReportKind.CHANGED,
        connection_id=order.connection_id,
        client_order_id=order.client_order_id,
        broker_order_id=str(order.id),
        terms=terms,
    )
