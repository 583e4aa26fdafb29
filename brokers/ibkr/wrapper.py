"""The callbacks of ib_async's decoder: answers go to the pending request, the rest to the session.

It replaces ib_async's own Wrapper, which keeps everything for ever and marks an order as
"Cancelled" at any number that it does not know (wrapper.py `error`).
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC
from types import SimpleNamespace
from typing import Any, Protocol

from ib_async.contract import Contract

from brokers.base import BrokerError, ReadFailed
from brokers.ibkr import codes
from brokers.ibkr.market_data_lines import MarketDataLines
from brokers.ibkr.order_events import OrderEventHandler
from brokers.ibkr.parse import order_key
from brokers.ibkr.tws_socket import OPEN_ORDER
from common.reason_codes import Code

OPEN, COMPLETED, POSITIONS, VALUES, TIME = "open", "completed", "positions", "values", "time"
RULE, NEXT_ID = "market rule ", "next id"


def rule_key(number: int) -> str:
    """Return the key of a request for a market rule."""
    return f"{RULE}{number}"


class SessionEvents(Protocol):
    """What the session receives from the wrapper."""

    def on_error(self, req_id: int, number: int, text: str) -> None:
        """Handle an error that belongs to no pending request."""

    def on_order_number(self, client_id: int, order_id: int) -> None:
        """Note the number of an order that TWS lists."""

    def on_lost(self) -> None:
        """Handle the end of the connection."""

    def on_malformed_message(self, raw: str) -> None:
        """Handle a message that cannot be read."""


class AnswerError(Exception):
    """TWS refused a request. number: TWS's message code."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(f"{number}: {text}")
        self.number, self.text = number, text


class TwsWrapper:
    """ib_async's wrapper interface, as far as we use it. Names in camel case are ib_async's."""

    defaultTimezone = UTC

    def __init__(
        self, listener: SessionEvents, order_events: OrderEventHandler, timezone: str
    ) -> None:
        self.ib = SimpleNamespace(TimezoneTWS=timezone)  # the zone of times without one
        self._listener, self._order_events = listener, order_events
        self.lines = MarketDataLines()
        self._commissions: dict[str, tuple[Any, str]] | None = None
        self._requests: dict[int | str, tuple[asyncio.Future[list[Any]], list[Any]]] = {}

    def read_times_in(self, zone: str) -> None:
        """Set the zone of times that have none."""
        self.ib.TimezoneTWS = zone

    # ---- requests -------------------------------------------------------------------------
    def begin_request(self, key: int | str) -> asyncio.Future[list[Any]]:
        """Collect the answers to a request id or key until their end; return them as a future."""
        answer: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._requests[key] = (answer, [])
        return answer

    def discard_request(self, key: int | str) -> None:
        """Drop a pending request."""
        self._requests.pop(key, None)

    def fail_all(self, error: BrokerError) -> None:
        """Fail all pending requests: their answers are lost or cannot be read."""
        pending, self._requests = self._requests, {}
        for answer, _ in pending.values():
            if not answer.done():
                answer.set_exception(error)
                answer.exception()  # retrieved here, since the caller may be cancelled

    def fail_lists(self, error: BrokerError) -> None:
        """Fail the requests for order lists: TWS's refusal does not state which it is about."""
        for key in (OPEN, COMPLETED):
            answer, _ = self._requests.pop(key, (None, []))
            if answer is not None and not answer.done():
                answer.set_exception(error)

    def _refuse_rules(self, error: AnswerError) -> None:
        """Fail the requests for market rules: TWS's refusal does not state which it is about."""
        for key in [key for key in self._requests if str(key).startswith(RULE)]:
            answer, _ = self._requests.pop(key)
            if not answer.done():
                answer.set_exception(error)

    def _add_item(self, key: int | str, item: Any) -> None:
        if key in self._requests:
            self._requests[key][1].append(item)

    def _complete(self, key: int | str) -> None:
        answer, items = self._requests.pop(key, (None, []))
        if answer is not None and not answer.done():
            answer.set_result(items)

    # ---- orders ---------------------------------------------------------------------------
    def openOrder(self, orderId: int, contract: Contract, order: Any, state: Any) -> None:
        if order.whatIf:
            self._add_item(orderId, state)
            self._complete(orderId)
            return
        self._listener.on_order_number(order.clientId, order.orderId)
        self._add_item(OPEN, (contract, order, state))
        self._order_events.open_order(contract, order, state.status)

    def openOrderEnd(self) -> None:
        self._complete(OPEN)

    def completedOrder(self, contract: Contract, order: Any, state: Any) -> None:
        self._add_item(COMPLETED, order.orderRef)
        self._order_events.completed_order(contract, order, state)

    def completedOrdersEnd(self) -> None:
        self._complete(COMPLETED)

    def orderStatus(
        self,
        orderId: int,
        status: str,
        filled: float,
        remaining: float,
        avgFillPrice: float,
        permId: int,
        parentId: int,
        lastFillPrice: float,
        clientId: int,
        whyHeld: str,
        mktCapPrice: float = 0.0,
    ) -> None:
        """Apply a status. An inactive order that IBKR holds, for example while it looks for shares
        to lend ("locate"), works: it may be executed at any time."""
        self._add_item(OPEN, (order_key(clientId, orderId, permId), filled))
        held = "PreSubmitted" if status == "Inactive" and whyHeld else status
        self._order_events.status(orderId, held, filled, avgFillPrice, permId, clientId)

    def execDetails(self, reqId: int, contract: Contract, execution: Any) -> None:
        self._listener.on_order_number(execution.clientId, execution.orderId)
        self._add_item(reqId, (contract, execution))
        self._order_events.execution(contract, execution, is_listed=reqId in self._requests)

    def execDetailsEnd(self, reqId: int) -> None:
        self._complete(reqId)

    @contextmanager
    def collect_commissions(self) -> Iterator[dict[str, tuple[Any, str]]]:
        """Collect the commissions that arrive meanwhile, by execution id."""
        commissions: dict[str, tuple[Any, str]] = {}
        self._commissions = commissions
        try:
            yield commissions
        finally:
            self._commissions = None

    def commissionReport(self, report: Any) -> None:
        if self._commissions is not None:
            self._commissions[report.execId] = (report.commission, report.currency)
        self._order_events.commission(report.execId, report.commission, report.currency)

    # ---- contracts, account, prices -------------------------------------------------------
    def contractDetails(self, reqId: int, details: Any) -> None:
        self._add_item(reqId, details)

    def contractDetailsEnd(self, reqId: int) -> None:
        self._complete(reqId)

    def marketRule(self, marketRuleId: int, priceIncrements: list[Any]) -> None:
        self._add_item(rule_key(marketRuleId), priceIncrements)
        self._complete(rule_key(marketRuleId))

    def position(self, account: str, contract: Contract, posCont: float, avgCost: float) -> None:
        self._add_item(POSITIONS, (account, contract, posCont, avgCost))

    def positionEnd(self) -> None:
        self._complete(POSITIONS)

    def updateAccountValue(self, tag: str, val: str, currency: str, account: str) -> None:
        self._add_item(VALUES, (tag, val, currency, account))

    def accountDownloadEnd(self, account: str) -> None:
        self._complete(VALUES)

    def currentTime(self, time: int) -> None:
        self._add_item(TIME, time)
        self._complete(TIME)

    def priceSizeTick(self, reqId: int, tickType: int, price: float, size: float) -> None:
        if (line := self.lines.get(reqId)) is not None:
            line.tick(tickType, price)

    def tickSize(self, reqId: int, tickType: int, size: float) -> None:
        if (line := self.lines.get(reqId)) is not None:
            line.mark_open()

    def rerouteMktDataReq(self, reqId: int, conId: int, exchange: str) -> None:
        """Subscribe to a CFD's underlying instead: TWS has no prices for the CFD itself."""
        if (line := self.lines.get(reqId)) is not None:
            line.reroute(conId, exchange)

    def error(self, reqId: int, errorCode: int, errorString: str, advanced: str) -> None:
        if reqId in self._requests:
            if not codes.is_notice(errorCode):
                answer, _ = self._requests.pop(reqId)
                if not answer.done():
                    answer.set_exception(AnswerError(errorCode, errorString))
            return
        if (line := self.lines.get(reqId)) is not None:
            line.on_error(errorCode, errorString)
            return
        if RULE.strip() in errorString.lower():
            self._refuse_rules(AnswerError(errorCode, errorString))
        self._listener.on_error(reqId, errorCode, errorString)

    def on_foreign_malformed(self, kind: str, raw: str) -> None:
        """Note an order of others that cannot be read: the list of open orders is incomplete, but
        our orders do not depend on it."""
        if kind == OPEN_ORDER:
            self._add_item(OPEN, (raw,))

    def on_malformed(self, raw: str) -> None:
        """Handle an invalid message: fail all requests, since it may have been any one's answer."""
        self.fail_all(ReadFailed(Code.BROKER_UNREACHABLE, "TWS sent an invalid message"))
        self._listener.on_malformed_message(raw)

    def connectionClosed(self) -> None:
        self._listener.on_lost()

    def nextValidId(self, orderId: int) -> None:
        self._add_item(NEXT_ID, orderId)
        self._complete(NEXT_ID)

    def connectAck(self) -> None: ...

    def setEventsDone(self) -> None: ...

    def updatePortfolio(self, *arguments: Any) -> None: ...

    def bondContractDetails(self, *arguments: Any) -> None: ...
