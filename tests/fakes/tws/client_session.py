"""One client's session at the fake TWS: it answers requests and passes orders to the venue."""

import asyncio
import socket
import struct
import time
from collections.abc import Sequence
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING

from tests.fakes.tws import messages
from tests.fakes.tws.faults import SILENT, Fault
from tests.fakes.tws.messages import PlacedOrder
from tests.fakes.tws.venue import VALUES, Order

if TYPE_CHECKING:
    from tests.fakes.tws.server import FakeTws

READ_ONLY = (
    "Error validating request.-'bO' : cause - The API interface is currently in Read-Only mode."
)
ENDED = ("Filled", "Cancelled", "ApiCancelled", "Inactive")


class ClientSession:
    def __init__(
        self, tws: "FakeTws", reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._tws, self._venue = tws, tws.venue
        self._reader, self._writer = reader, writer
        self.client_id = -1
        self.silent = False  # reports of changes are suppressed
        self._is_ending = False  # nothing more is sent, and what comes is not answered
        self.prices: dict[int, int] = {}  # request id → conId

    async def serve(self) -> None:
        await self._read()
        self.send(messages.pack(messages.VERSION, f"{self._tws.local_time():%Y%m%d %H:%M:%S} XST"))
        while True:
            fields = await self._read()
            if self._is_ending:
                continue
            await self._tws.listening.wait()
            self._tws.writes.append(time.monotonic())
            kind = int(fields[0])
            if kind not in self._tws.muted:
                self._answer(kind, fields)

    def send(self, message: bytes) -> None:
        if self._is_ending:
            return
        if self._tws.omits_list_ends and messages.kind_of(message) in messages.ENDS:
            return
        self._writer.write(message)

    def cut(self) -> None:
        """Reset the connection."""
        sock = self._writer.get_extra_info("socket")
        with suppress(OSError, AttributeError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    def close_after_sending(self) -> None:
        """End this side after what was written; read on until the client has closed its own.

        A close while something is unread would be a reset, which throws away what the client has
        not read yet."""
        self._is_ending = True
        if self in self._tws.sessions:
            self._tws.sessions.remove(self)
        self._writer.write_eof()

    def report_order(self, order: Order, what: str) -> None:
        if self.silent:
            return
        if what in ("accepted", "changed"):
            self._send_open_order(order)
        self.send(messages.order_status(order, order.status, order.filled, order.average))

    def _send_open_order(self, order: Order) -> None:
        self.send(messages.open_order(self._venue.securities[order.con_id], order, order.status))

    async def _read(self) -> Sequence[str]:
        (length,) = struct.unpack(">I", await self._reader.readexactly(4))
        body = await self._reader.readexactly(length)
        return body.decode().split("\0")[:-1]

    # ---- answers --------------------------------------------------------------------------
    def _answer(self, kind: int, fields: Sequence[str]) -> None:
        match kind:
            case 71:
                self._start(int(fields[2]))
            case 1:
                self._subscribe(int(fields[2]), int(fields[3]))
            case 2:
                self.prices.pop(int(fields[2]), None)
            case 3:
                self._tws.order_messages.append(fields)
                self._place(messages.read_order(fields))
            case 4:
                self._cancel(int(fields[2]))
            case 16 | 99 if self._tws.read_only:
                self.send(messages.error(-1, 321, READ_ONLY))
            case 16:
                self._open_orders()
            case 99:
                self._completed()
            case 8:
                last = self._venue.last_order_ids.get(self.client_id, 0)
                self.send(messages.pack(9, 1, last + 1))
            case 7:
                self._executions(int(fields[2]))
            case 9:
                self._contract(fields)
            case 61:
                self._positions()
            case 91:
                self._market_rule(int(fields[1]))
            case 6 if fields[2] == "1":
                self._values(fields[3])
            case 49:
                self.send(messages.pack(49, 1, int(time.time() + self._venue.clock_offset)))

    def _start(self, client_id: int) -> None:
        if any(visitor.client_id == client_id for visitor in self._tws.sessions):
            self.send(
                messages.error(-1, 326, "Unable to connect as the client id is already in use.")
            )
            self.close_after_sending()
            return
        self.client_id = client_id
        self._tws.sessions.append(self)
        self.send(messages.pack(15, 1, ",".join(self._venue.accounts)))
        self.send(messages.pack(9, 1, self._venue.last_order_ids.get(client_id, 0) + 1))
        self.send(messages.error(-1, 2104, "Market data farm connection is OK:usfarm"))

    def _place(self, placed: PlacedOrder) -> None:
        if self._tws.read_only:
            self.send(messages.error(placed.order_id, 321, READ_ONLY))
            return
        if placed.what_if:
            order = Order(self.client_id, 0, **vars(placed))
            margin = ["1000", "900", "50000", "2000", "1800", "-1.25", "3000", "2700", "49998.75"]
            security = self._venue.securities[placed.con_id]
            self.send(messages.open_order(security, order, "PreSubmitted", margin))
            return
        self._venue.receive(placed.ref)
        known = self._venue.find(self.client_id, placed.order_id)
        if known is not None and known.con_id != placed.con_id:
            text = "Order being modified does not match original order"
            self.send(messages.error(placed.order_id, 105, text))
            return
        if known is None and placed.order_id <= self._venue.last_order_ids.get(self.client_id, 0):
            self.send(messages.error(placed.order_id, 103, "Duplicate order id"))
            return
        if refusal := self._refusal(placed):
            self.send(messages.error(placed.order_id, *refusal))
            return
        fault = self._tws.faults.popleft() if self._tws.faults else self._tws.order_fault
        if fault is None:
            self._venue.place(self.client_id, placed)
        else:
            self._faulty(fault, placed)

    def _refusal(self, placed: PlacedOrder) -> tuple[int, str] | None:
        """Return the error against an order that TWS does not take, or None."""
        if (refusal := self._venue.refused.get(placed.ref)) is not None:
            return refusal
        security = self._venue.securities[placed.con_id]
        if security.kind == "STK" and placed.quantity % 1 and not self._venue.takes_fractions:
            return 10243, "Fractional-sized order cannot be placed via API."
        if any(price and not security.is_on_grid(price) for price in placed.prices):
            return 110, "The price does not conform to the minimum price variation."
        if placed.kind == "STP LMT" and not (placed.limit and placed.aux):
            return 201, "Order rejected - reason:Invalid price: a stop-limit order has two."
        if placed.kind == "TRAIL" and not placed.aux:
            return 321, "Error validating request.-'bX' : cause - A trailing amount is required."
        if placed.tif != "GTD":
            return None
        try:
            end = Order(self.client_id, 0, **vars(placed)).expires
        except ValueError:
            return 391, "The time or time-zone entered is invalid."
        if end is None or end <= self._venue.now():
            return 201, "Order rejected - reason:The good-till date has passed."
        return None

    def _faulty(self, fault: Fault, placed: PlacedOrder) -> None:
        if fault.kind == "reject":  # not accepted; an error is sent
            self.send(messages.error(placed.order_id, fault.number, fault.text))
        elif fault.kind == "lose":  # it never arrived
            self.cut()
        elif fault.kind == "ignore":
            pass
        elif fault.kind in SILENT:
            self.silent = True
            order = self._venue.place(self.client_id, placed)
            self.silent = False
            if fault.kind == "accept and cut":
                self.cut()
            elif fault.kind == "unlisted":
                self.send(messages.error(placed.order_id, fault.number, fault.text))
            elif fault.kind == "garbage":
                account = fault.text or order.account
                self.send(messages.pack(5, placed.order_id, "not", "an", "order", account))
            elif fault.kind == "inactive":
                self._venue.end(order.ref, "Inactive", fault.text)
            elif fault.kind == "half":
                security = self._venue.securities[order.con_id]
                message = messages.open_order(security, order, order.status)
                half = message[: len(message) // 2]
                self._tws.last_partial_answer = half[4:].decode().replace("\0", "|")
                self.send(half)
                self.close_after_sending()
        elif fault.kind == "late":
            self.silent = True
            order = self._venue.place(self.client_id, placed)
            self.silent = False
            asyncio.get_running_loop().call_later(fault.seconds, self._report_all, order)
        elif fault.kind == "status first":  # the order's terms are never sent
            self.silent = True
            order = self._venue.place(self.client_id, placed)
            self.silent = False
            self.send(messages.order_status(order, order.status, order.filled, order.average))
        else:
            raise AssertionError(fault.kind)

    def _report_all(self, order: Order) -> None:
        """Report an order, its levels and its executions as they are now."""
        for member in (order, *order.children):
            self._send_open_order(member)
            self.send(messages.order_status(member, member.status, member.filled, member.average))
        for execution in self._venue.executions:
            if execution.order in (order, *order.children):
                self._tws.report_execution_to(self, execution)

    def _cancel(self, order_id: int) -> None:
        order = self._venue.find(self.client_id, order_id)
        if order is not None and self._tws.fills_before_cancel:
            self._tws.fills_before_cancel = False
            self._venue.execute(order, order.quantity - order.filled, Decimal(order.limit))
        if order is None:
            text = f"OrderId {order_id} that needs to be cancelled is not found."
            self.send(messages.error(order_id, 10147, text))
        elif not order.live or order.status == "PendingCancel":
            text = f"OrderId {order_id} that needs to be cancelled cannot be cancelled,"
            self.send(messages.error(order_id, 10148, f"{text} state: {order.status}."))
        elif self._venue.cancels_later:
            order.status = "PendingCancel"
            self.report_order(order, "status")
        else:
            self._venue.cancel(order)
            self.send(messages.error(order_id, 202, "Order Canceled - reason:"))

    def _subscribe(self, req_id: int, con_id: int) -> None:
        if (refused := self._tws.refused_prices.get(con_id)) is not None:
            self.send(messages.error(req_id, *refused))
        elif (share := self._venue.underlying_share(con_id)) is not None:
            self.send(messages.pack(91, req_id, share.con_id, share.exchange))
        else:
            self.prices[req_id] = con_id
            self.report_price(con_id)

    def report_price(self, con_id: int) -> None:
        bid, ask = self._venue.quotes.get(con_id, (Decimal(-1), Decimal(-1)))
        for req_id in [key for key, of in self.prices.items() if of == con_id]:
            self.send(messages.pack(1, 6, req_id, 1, bid, 1_000_000, 0))
            self.send(messages.pack(1, 6, req_id, 2, ask, 1_000_000, 0))

    def _listed(self) -> list[Order]:
        return [order for order in self._venue.orders if order.ref not in self._tws.unreported]

    def _open_orders(self) -> None:
        self._tws.list_requests.append("open")
        for order in self._listed():
            if order.live:
                self._send_open_order(order)
                self.send(messages.order_status(order, order.status, order.filled, order.average))
        self.send(messages.pack(53, 1))

    def _completed(self) -> None:
        self._tws.list_requests.append("completed")
        for order in self._listed():
            if order.status in ENDED:
                security = self._venue.securities[order.con_id]
                self.send(
                    messages.completed_order(security, order, order.status, order.filled, order.why)
                )
        self.send(messages.pack(102))

    def _executions(self, req_id: int) -> None:
        self._tws.list_requests.append("executions")
        for execution in self._venue.executions:
            if execution.order.ref in self._tws.unreported:
                continue
            security = self._venue.securities[execution.order.con_id]
            self.send(messages.executed(req_id, security, execution))
            if self._tws.commissions:
                self.send(messages.commission(execution))
        self.send(messages.pack(55, 1, req_id))

    def _contract(self, fields: Sequence[str]) -> None:
        req_id, con_id, symbol, kind, month = int(fields[2]), int(fields[3]), *fields[4:7]
        currency = fields[12]
        matches = [
            s for s in self._venue.securities.values()
            if (s.con_id == con_id or (s.symbol, s.kind, s.currency) == (symbol, kind, currency))
            and (not month or s.month == month)
        ]  # fmt: skip
        if not matches:
            self.send(messages.error(req_id, 200, "No security definition has been found"))
            return
        for security in matches:
            self.send(messages.contract_details(req_id, security))
        self.send(messages.pack(52, 1, req_id))

    def _market_rule(self, rule_id: int) -> None:
        self._tws.rule_requests.append(rule_id)
        if self._venue.has_no_rules:
            self.send(messages.error(-1, 321, "Error validating request: no market rule."))
            return
        security = self._venue.securities.get(rule_id)
        steps = security.price_steps if security is not None else (("0", "0.5"),)
        self.send(messages.market_rule(rule_id, steps))

    def _positions(self) -> None:
        for (account, con_id), (held, cost) in self._venue.positions.items():
            self.send(messages.position(account, self._venue.securities[con_id], held, cost))
        self.send(messages.pack(62, 1))

    def _values(self, account: str) -> None:
        for tag, value, currency in VALUES:
            self.send(messages.pack(6, 2, tag, value, currency, account))
        self.send(messages.pack(54, 1, account))
