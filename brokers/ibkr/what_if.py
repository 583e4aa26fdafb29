"""What-if orders: TWS computes an order's margin and commission without placing it."""

from typing import Any

from brokers.base import ReadFailed, Rejected
from brokers.ibkr import codes, parse, reads
from brokers.ibkr.contract_details import details_for
from brokers.ibkr.market_rules import grid_of
from brokers.ibkr.order_encoding import record_of, to_order
from brokers.ibkr.session import Session
from brokers.ibkr.wrapper import AnswerError
from brokers.rate_limits import Priority
from brokers.types import OrderRequest, WhatIf
from common.reason_codes import Code


async def what_if(session: Session, request: OrderRequest) -> WhatIf:
    """Return what an order would cost, in the account's currency. Raises Rejected or ReadFailed."""
    state = await order_state(session, request)
    if not session.currency:
        await reads.account(session)
    try:
        return parse.what_if(state, session.currency, session.rates)
    except (ValueError, ArithmeticError) as error:
        raise ReadFailed(Code.BROKER_UNREACHABLE, f"what-if: {error!r}") from error


async def order_state(session: Session, request: OrderRequest) -> Any:
    """Return TWS's own answer (ib_async's OrderState). Raises Rejected or ReadFailed."""
    await session.ready()
    details = await details_for(session, request)
    grid = await grid_of(session, details, Priority.READ)
    record = record_of(request, details, grid, session.endpoint.settings)
    order = to_order(record, session.endpoint.account, outside_rth=False)
    order.whatIf = True
    try:
        found = await session.request(
            lambda client, number: client.placeOrder(number, details.contract, order)
        )
    except AnswerError as error:
        code = codes.rejection_code(error.number, error.text) or Code.REJECTED_BY_BROKER
        raise Rejected(code, str(error)) from error
    return found[0]
