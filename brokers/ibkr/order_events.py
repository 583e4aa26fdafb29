"""What IBKR says about orders, brought into the ledger. No socket here: calls in, records moved."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from ib_async.contract import Contract

from brokers.ibkr import codes, parse
from brokers.ibkr.order_cache import OrderCache, state_of
from brokers.ibkr.order_records import Fill, Record
from brokers.types import ReportKind
from common.clocks import market_now

log = logging.getLogger(__name__)
COMMISSION_WAIT_SECONDS = (
    0.03  # seconds that an execution waits for its commission before it is told
)
DETAIL_LENGTH = 300
MAX_EARLY = 1000  # most of them belong to orders that are not ours


class OrderEventHandler:
    """One connection's side of the ledger. name: what its map calls a contract."""

    def __init__(
        self,
        connection_id: str,
        account: str,
        ledger: OrderCache,
        name: Callable[[Contract], str],
        ask_again: Callable[[], None],
    ) -> None:
        self._connection_id, self._account = connection_id, account
        self._ledger, self._name, self._ask_again = ledger, name, ask_again
        self._early: dict[str, Any] = {}  # commissions that came before their execution

    def open_order(self, contract: Contract, order: Any, status: str) -> Record | None:
        """Take an order that is open. None: it is not ours, or another account's."""
        record = self._record(order)
        if record is None:
            return None
        if record.perm_id and order.permId and record.perm_id != order.permId:
            if record.live:
                log.error("ibkr: two orders with one reference: %s", record.client_order_id)
            else:  # a level that was cancelled and made anew
                self._ledger.forget(record)
                record = self._ledger.make(*record.key)
        before = state_of(record)
        self._ledger.number(record, order.clientId, order.orderId)
        record.symbol = self._name(contract)
        parse.take_order(record, contract, order, parse.multiplier_of(contract))
        if status:
            parse.take_status(record, status)
        self._ledger.moved(record, before)
        return record

    def completed_order(self, contract: Contract, order: Any, state: Any) -> None:
        """Take an order that has ended today."""
        parts = parse.parts_of(order.orderRef)
        if parts is None or self._ledger.is_gone(self._connection_id, *parts):
            return
        record = self._record(order)
        if record is None or (record.perm_id and record.perm_id != order.permId):
            return
        before = state_of(record)
        record.symbol = self._name(contract)
        units = parse.multiplier_of(contract)
        parse.take_order(record, contract, order, units)
        filled = parse.exact(order.filledQuantity)
        parse.take_completed(record, state, None if filled is None else filled * units)
        self._ledger.moved(record, before)

    def status(
        self, order_id: int, status: str, filled: Any, average: Any, perm_id: int, client_id: int
    ) -> None:
        """Take a status message. filled: in all, at that average price."""
        record = self._ledger.by_number(self._connection_id, client_id, order_id)
        if record is None:
            return
        before = state_of(record)
        record.perm_id = perm_id or record.perm_id
        done = (parse.exact(filled) or 0) * record.multiplier
        if done > record.filled:
            record.filled, record.average = done, parse.exact(average) or record.average
            record.fill_time = market_now()
        parse.take_status(record, status)
        self._ledger.moved(record, before)
        if record.in_doubt and not record.awaited:
            self._ask_again()

    def execution(self, contract: Contract, execution: Any, *, is_listed: bool) -> None:
        """Take an execution; it is told when its commission is there, or after a moment.

        is_listed: it stands in a list that was asked for, and has perhaps been told long ago.
        """
        parts = parse.parts_of(execution.orderRef)
        if parts is None or execution.acctNumber not in ("", self._account):
            return
        units = parse.multiplier_of(contract)
        received = parse.fill_of(execution, units)
        known_one = is_listed and received.correction == 1
        if known_one and self._ledger.is_gone(self._connection_id, *parts):
            return
        record = self._ledger.make(self._connection_id, *parts)
        before = state_of(record)
        fill = self._ledger.add_fill(record, received)
        if fill is None:
            return
        record.perm_id = execution.permId or record.perm_id
        record.con_id, record.multiplier = contract.conId, units
        record.side = parse.execution_side(execution.side)
        record.symbol = record.symbol or self._name(contract)
        if record.order_id == 0 and execution.orderId > 0:
            self._ledger.number(record, execution.clientId, execution.orderId)
        if early := self._early.pop(execution.execId, None):
            fill.commission, fill.currency = early
        self._ledger.moved(record, before)
        if fill.commission is not None:
            self._ledger.report_fill(record, fill)
        else:
            loop = asyncio.get_running_loop()
            loop.call_later(COMMISSION_WAIT_SECONDS, self._report_without_commission, record, fill)

    def commission(self, exec_id: str, amount: Any, currency: str) -> None:
        """Take what an execution cost."""
        named = parse.EXEC_ID.fullmatch(exec_id)
        found = self._ledger.fill(self._connection_id, named[1] if named else exec_id)
        number = parse.exact(amount)
        if found is None or number is None or (named and int(named[2]) != found[1].correction):
            if number is not None:
                self._early[exec_id] = (number, currency)
                if len(self._early) > MAX_EARLY:
                    del self._early[next(iter(self._early))]
            return
        record, fill = found
        if fill.commission == number:
            return
        fill.late = fill.late or fill.told
        fill.commission, fill.currency = number, currency
        self._ledger.report_fill(record, fill)

    def order_error(self, record: Record, number: int, text: str) -> None:
        """Take an error about one order. What is in none of our tables is not believed."""
        before = state_of(record)
        detail = f"{number}: {text}"[:DETAIL_LENGTH]
        refused = codes.refusal(number, text)
        if codes.is_notice(number) and not (record.changing and number == 105):
            record.detail = detail
        elif record.changing or (record.cancelling and number in codes.CANCEL_FAILED):
            record.refused_change = detail
        elif number == codes.CANCELLED:
            record.detail = detail
            parse.take_status(record, "Cancelled")
        elif refused and record.live and (not record.accepted or number == 201):
            record.ended, record.code, record.detail = ReportKind.REJECTED, refused, detail
            record.in_doubt = False
        elif record.live:
            record.in_doubt, record.detail = True, detail
        self._ledger.moved(record, before)
        if record.in_doubt and not record.awaited:
            self._ask_again()

    def _record(self, order: Any) -> Record | None:
        parts = parse.parts_of(order.orderRef)
        if parts is None or order.whatIf or order.account not in ("", self._account):
            return None
        return self._ledger.make(self._connection_id, *parts)

    def _report_without_commission(self, record: Record, fill: Fill) -> None:
        if not fill.told:
            self._ledger.report_fill(record, fill)
