"""What ib_async's decoder calls: answers go to whoever asked, the rest to the session.

It takes the place of ib_async's own Wrapper, which keeps everything for ever and turns an order
into "Cancelled" at any number that it does not know (wrapper.py `error`).
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
from brokers.ibkr.tws_socket import OPEN_ORDER
from common.reason_codes import Code

OPEN, COMPLETED, POSITIONS, VALUES, TIME = "open", "completed", "positions", "values", "time"


class SessionEvents(Protocol):
    """The session, as its ear sees it."""

    def on_error(self, req_id: int, number: int, text: str) -> None: ...

    def on_lost(self) -> None: ...

    def on_garbage(self, raw: str) -> None: ...


class AnswerError(Exception):
    """TWS refused a request. number: its own."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(f"{number}: {text}")
        self.number, self.text = number, text


class TwsWrapper:
    """ib_async's wrapper interface, as far as it is used here. Names are ib_async's."""

    defaultTimezone = UTC

    def __init__(self, listener: SessionEvents, hearing: OrderEventHandler, timezone: str) -> None:
        self.ib = SimpleNamespace(TimezoneTWS=timezone)  # for times that name no zone
        self._listener, self._order_events = listener, hearing
        self.lines = MarketDataLines()
        self._costs: dict[str, tuple[Any, str]] | None = None
        self._asked: dict[int | str, tuple[asyncio.Future[list[Any]], list[Any]]] = {}

    def read_times_in(self, zone: str) -> None:
        """Have times that name no zone read in this one."""
        self.ib.TimezoneTWS = zone

    # ---- questions ------------------------------------------------------------------------
    def begin(self, key: int | str) -> asyncio.Future[list[Any]]:
        """Collect answers under a request id or a name, until their end is told."""
        answer: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._asked[key] = (answer, [])
        return answer

    def give_up(self, key: int | str) -> None:
        """Nobody waits any more."""
        self._asked.pop(key, None)

    def fail_all(self, error: BrokerError) -> None:
        """Fail every question: its answer is lost or cannot be read."""
        pending, self._asked = self._asked, {}
        for answer, _ in pending.values():
            if not answer.done():
                answer.set_exception(error)
                answer.exception()  # the asker may be gone

    def fail_lists(self, error: BrokerError) -> None:
        """Fail the questions for orders: TWS refuses them without saying which it means."""
        for key in (OPEN, COMPLETED):
            answer, _ = self._asked.pop(key, (None, []))
            if answer is not None and not answer.done():
                answer.set_exception(error)

    def _more(self, key: int | str, item: Any) -> None:
        if key in self._asked:
            self._asked[key][1].append(item)

    def _end(self, key: int | str) -> None:
        answer, items = self._asked.pop(key, (None, []))
        if answer is not None and not answer.done():
            answer.set_result(items)

    # ---- orders ---------------------------------------------------------------------------
    def openOrder(self, orderId: int, contract: Contract, order: Any, state: Any) -> None:
        if order.whatIf:
            self._more(orderId, state)
            self._end(orderId)
            return
        self._more(OPEN, (contract, order, state))
        self._order_events.open_order(contract, order, state.status)

    def openOrderEnd(self) -> None:
        self._end(OPEN)

    def completedOrder(self, contract: Contract, order: Any, state: Any) -> None:
        self._more(COMPLETED, order.orderRef)
        self._order_events.completed_order(contract, order, state)

    def completedOrdersEnd(self) -> None:
        self._end(COMPLETED)

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
        self._more(OPEN, (permId, filled))
        self._order_events.status(orderId, status, filled, avgFillPrice, permId, clientId)

    def execDetails(self, reqId: int, contract: Contract, execution: Any) -> None:
        self._more(reqId, (contract, execution))
        self._order_events.execution(contract, execution, is_listed=reqId in self._asked)

    def execDetailsEnd(self, reqId: int) -> None:
        self._end(reqId)

    @contextmanager
    def costs_kept(self) -> Iterator[dict[str, tuple[Any, str]]]:
        """Keep the commissions that are told meanwhile, by their execution's id."""
        costs: dict[str, tuple[Any, str]] = {}
        self._costs = costs
        try:
            yield costs
        finally:
            self._costs = None

    def commissionReport(self, report: Any) -> None:
        if self._costs is not None:
            self._costs[report.execId] = (report.commission, report.currency)
        self._order_events.commission(report.execId, report.commission, report.currency)

    # ---- the rest -------------------------------------------------------------------------
    def contractDetails(self, reqId: int, details: Any) -> None:
        self._more(reqId, details)

    def contractDetailsEnd(self, reqId: int) -> None:
        self._end(reqId)

    def position(self, account: str, contract: Contract, posCont: float, avgCost: float) -> None:
        self._more(POSITIONS, (account, contract, posCont, avgCost))

    def positionEnd(self) -> None:
        self._end(POSITIONS)

    def updateAccountValue(self, tag: str, val: str, currency: str, account: str) -> None:
        self._more(VALUES, (tag, val, currency, account))

    def accountDownloadEnd(self, account: str) -> None:
        self._end(VALUES)

    def currentTime(self, time: int) -> None:
        self._more(TIME, time)
        self._end(TIME)

    def priceSizeTick(self, reqId: int, tickType: int, price: float, size: float) -> None:
        if (line := self.lines.get(reqId)) is not None:
            line.tick(tickType, price)

    def tickSize(self, reqId: int, tickType: int, size: float) -> None:
        if (line := self.lines.get(reqId)) is not None:
            line.mark_open()

    def rerouteMktDataReq(self, reqId: int, conId: int, exchange: str) -> None:
        """A CFD's prices are those of what stands behind it: TWS wants to be asked for that."""
        if (line := self.lines.get(reqId)) is not None:
            line.reroute(conId, exchange)

    def error(self, reqId: int, errorCode: int, errorString: str, advanced: str) -> None:
        if reqId in self._asked:
            if not codes.is_notice(errorCode):
                answer, _ = self._asked.pop(reqId)
                if not answer.done():
                    answer.set_exception(AnswerError(errorCode, errorString))
            return
        if (line := self.lines.get(reqId)) is not None:
            line.refused(errorCode, errorString)
            return
        self._listener.on_error(reqId, errorCode, errorString)

    def foreign_unreadable(self, kind: str, raw: str) -> None:
        """Somebody else's order that cannot be read: the list of open ones has a gap, ours do not
        depend on it."""
        if kind == OPEN_ORDER:
            self._more(OPEN, (raw,))

    def unreadable(self, raw: str) -> None:
        """A message made no sense: what it was an answer to is lost."""
        self.fail_all(ReadFailed(Code.BROKER_UNREACHABLE, "a message makes no sense"))
        self._listener.on_garbage(raw)

    def connectionClosed(self) -> None:
        self._listener.on_lost()

    def connectAck(self) -> None: ...

    def setEventsDone(self) -> None: ...

    def updatePortfolio(self, *arguments: Any) -> None: ...

    def bondContractDetails(self, *arguments: Any) -> None: ...
