"""Estimates an order's cost by placing it in a copy of the books."""

from decimal import Decimal
from itertools import count

from brokers.base import Rejected
from brokers.paper import queries
from brokers.paper.book import execute, refuse
from brokers.paper.book_state import Account, BookOrder, ChangeSet, Market
from brokers.paper.db_sessions import sessions
from brokers.paper.margin import equity_and_margin, to_cents
from brokers.paper.order_intake import IncomingOrder, to_book_order
from brokers.paper.reads import load_account
from brokers.paper.request_validation import malformed
from brokers.types import OrderRequest, WhatIf
from common.clocks import market_now
from common.reason_codes import Code


def what_if(account_id: int, request: OrderRequest) -> WhatIf:
    """Return what an order would cost if all of it were executed now, at the current price.

    Raises Rejected as the order itself would be.
    """
    if wrong := malformed(request):
        raise wrong
    with sessions.transaction() as session:
        account = load_account(session, account_id)
        accounts = {account_id: account}
        queries.load_exposures(session, accounts)
        queries.load_lots(session, accounts, [(account_id, request.symbol)])
        market = queries.load_market(session)
    return reckon(
        account, to_book_order(IncomingOrder(account_id, request), 0, market_now()), market
    )


def reckon(account: Account, order: BookOrder, market: Market) -> WhatIf:
    """Return the same for books in memory, which are changed."""
    if refusal := refuse(account, order, market):
        raise Rejected(*refusal)
    before = equity_and_margin(account, market)[1]
    account.partial_fill_max = None  # the number of executions does not change the margin
    deals = execute(account, order, market, order.time, ChangeSet(count(1)))
    if not deals:
        raise Rejected(order.code or Code.REJECTED_BY_BROKER, order.detail)
    after = equity_and_margin(account, market)[1]
    return WhatIf(
        initial_margin=to_cents(after - before),
        maintenance_margin=None,  # this broker has no margin stop-out
        commission=sum((deal.commission for deal in deals), Decimal(0)),
        currency=account.currency,
    )
