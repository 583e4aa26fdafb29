"""Apply IBKR's messages about orders to the order cache. It uses no socket."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from ib_async.contract import Contract

from brokers.ibkr import codes, parse, twin_orders
from brokers.ibkr.order_cache import OrderCache, state_of
from brokers.ibkr.order_records import Fill, Record
from common.clocks import market_now

log = logging.getLogger(__name__)
COMMISSION_WAIT_SECONDS = 0.03  # an execution waits so long for its commission before its report
DETAIL_LENGTH = 300
MAX_EARLY = 1000  # most of them belong to orders that are not ours


class OrderEventHandler:
    """Applies the messages of one connection. name: returns our symbol of a contract; ask_again:
    requests a sync, if a message leaves an order's state in doubt."""

    def __init__(
        self,
        connection_id: str,
        account: str,
        order_cache: OrderCache,
        name: Callable[[Contract], str],
        ask_again: Callable[[], None],
    ) -> None:
        self._connection_id, self._account = connection_id, account
        self._order_cache, self._name, self._ask_again = order_cache, name, ask_again
        self._early: dict[str, Any] = {}  # commissions that arrived before their execution

    def open_order(self, contract: Contract, order: Any, status: str) -> Record | None:
        """Apply an open order. Return None if it is not ours, or another account's."""
        record = self._record(order)
        if record is None:
            return None
        if record.perm_id and order.permId and record.perm_id != order.permId:
            if record.live:
                log.error("ibkr: two orders with one reference: %s", record.client_order_id)
                if status in twin_orders.ENDS:
                    return record
                record.twins |= {record.perm_id, order.permId}
            else:  # a level that was cancelled and placed again
                self._order_cache.remove(record)
                record = self._order_cache.get_or_create(*record.key)
        before = state_of(record)
        self._order_cache.set_numbers(record, order.clientId, order.orderId)
        record.symbol = self._name(contract)
        parse.update_from_order(record, contract, order, parse.multiplier_of(contract))
        if status:
            parse.update_from_status(record, status, market_now())
        self._order_cache.report_changes(record, before)
        return record

    def completed_order(self, contract: Contract, order: Any, state: Any) -> None:
        """Apply an order that has ended today."""
        ref = parse.parse_order_ref(order.orderRef)
        if ref is None or self._order_cache.is_evicted(self._connection_id, *ref):
            return
        record = self._record(order)
        if record is None or (record.perm_id and record.perm_id != order.permId):
            return
        before = state_of(record)
        record.symbol = self._name(contract)
        units = parse.multiplier_of(contract)
        parse.update_from_order(record, contract, order, units)
        filled = parse.to_decimal(order.filledQuantity)
        base_units = None if filled is None else filled * units
        parse.update_from_completed(record, state, base_units, market_now())
        self._order_cache.report_changes(record, before)

    def status(
        self, order_id: int, status: str, filled: Any, average: Any, perm_id: int, client_id: int
    ) -> None:
        """Apply a status message. filled: total, at the average price, in units of the contract."""
        record = self._order_cache.by_number(self._connection_id, client_id, order_id)
        if record is None:
            return
        if twin_orders.ends_one_of_two(record, status, perm_id):
            self._order_cache.wake(record)
            self._ask_again()
            return
        before = state_of(record)
        record.perm_id = perm_id or record.perm_id
        done = (parse.to_decimal(filled) or 0) * record.multiplier
        if done > record.filled:
            record.filled, record.average = done, parse.to_decimal(average) or record.average
            record.fill_time = market_now()
        parse.update_from_status(record, status, market_now())
        self._order_cache.report_changes(record, before)
        if record.in_doubt and not record.awaited:
            self._ask_again()

    def execution(self, contract: Contract, execution: Any, *, is_listed: bool) -> None:
        """Apply an execution; report it with its commission, or without it after a moment.

        is_listed: it is in a list that we requested, so it may have been reported already.
        """
        ref = parse.parse_order_ref(execution.orderRef)
        if ref is None or execution.acctNumber not in ("", self._account):
            return
        units = parse.multiplier_of(contract)
        received = parse.fill_of(execution, units)
        may_be_reported = is_listed and received.correction == 1
        if may_be_reported and self._order_cache.is_evicted(self._connection_id, *ref):
            return
        record = self._order_cache.get_or_create(self._connection_id, *ref)
        before = state_of(record)
        fill = self._order_cache.add_fill(record, received)
        if fill is None:
            return
        fill.may_be_stored = is_listed
        record.perm_id = execution.permId or record.perm_id
        record.con_id, record.multiplier = contract.conId, units
        record.side = parse.execution_side(execution.side)
        record.symbol = record.symbol or self._name(contract)
        if record.order_id == 0 and execution.orderId > 0:
            self._order_cache.set_numbers(record, execution.clientId, execution.orderId)
        if early := self._early.pop(execution.execId, None):
            fill.commission, fill.currency = early
        self._order_cache.report_changes(record, before)
        if fill.commission is not None:
            self._order_cache.report_fill(record, fill)
        else:
            loop = asyncio.get_running_loop()
            loop.call_later(COMMISSION_WAIT_SECONDS, self._report_without_commission, record, fill)

    def commission(self, exec_id: str, amount: Any, currency: str) -> None:
        """Apply the commission of an execution."""
        parts = parse.EXEC_ID.fullmatch(exec_id)
        found = self._order_cache.fill(self._connection_id, parts[1] if parts else exec_id)
        number = parse.to_decimal(amount)
        if found is None or number is None or (parts and int(parts[2]) != found[1].correction):
            if number is not None:
                self._early[exec_id] = (number, currency)
                if len(self._early) > MAX_EARLY:
                    del self._early[next(iter(self._early))]
            return
        record, fill = found
        if fill.commission == number:
            return
        fill.may_be_stored = fill.may_be_stored or fill.reported
        fill.commission, fill.currency = number, currency
        self._order_cache.report_fill(record, fill)

    def order_error(self, record: Record, number: int, text: str) -> None:
        """Apply an error about one order. A number in none of our tables leaves it in doubt."""
        before = state_of(record)
        detail = f"{number}: {text}"[:DETAIL_LENGTH]
        refused = codes.rejection_code(number, text)
        is_change = record.changing and codes.is_about_a_change(number)
        if codes.is_notice(number) and not is_change:
            if not record.in_doubt:
                record.detail = detail
            return
        record.error_number = number
        if is_change or record.changing or (record.cancelling and number in codes.CANCEL_FAILED):
            record.refused_change = detail
        elif number == codes.CANCELLED and record.twins:
            record.detail = detail  # its status states which of them has ended
        elif number == codes.CANCELLED:
            record.detail = record.detail if record.withdrawn else detail
            parse.update_from_status(record, "Cancelled", market_now())
        elif refused and record.live and _is_about_the_order(record, number):
            record.ended, record.code, record.detail = record.end_if_refused, refused, detail
            record.in_doubt = False
        elif record.live:
            record.in_doubt, record.detail = True, detail
        self._order_cache.report_changes(record, before)
        if record.in_doubt and not record.awaited:
            self._ask_again()

    def _record(self, order: Any) -> Record | None:
        ref = parse.parse_order_ref(order.orderRef)
        if ref is None or order.whatIf or order.account not in ("", self._account):
            return None
        return self._order_cache.get_or_create(self._connection_id, *ref)

    def _report_without_commission(self, record: Record, fill: Fill) -> None:
        if not fill.reported:
            self._order_cache.report_fill(record, fill)


def _is_about_the_order(record: Record, number: int) -> bool:
    """Whether a refusal certainly ends the order. A change has the order's own number, and TWS may
    refuse it after we stopped waiting: then the lists show whether the order works."""
    return not record.accepted or (number == 201 and not record.was_changed)
