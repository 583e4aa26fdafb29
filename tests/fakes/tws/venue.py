"""The fake broker's books: orders, executions, positions. They survive every connection."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count

from tests.fakes.tws.messages import PlacedOrder, Security, by_hand

LIVE = ("PreSubmitted", "Submitted", "PendingSubmit", "PendingCancel")
SECURITIES = (
    Security(
        12087792, "EUR", "CASH", "IDEALPRO", "USD", "0.00005", "0.01", "0.01", local="EUR.USD"
    ),
    Security(15016059, "USD", "CASH", "IDEALPRO", "JPY", "0.005", "0.01", "0.01", local="USD.JPY"),
    Security(265598, "AAPL", "STK", "SMART", "USD", "0.01", "0.0001", "0.0001"),
    Security(266145, "AAPL", "CFD", "SMART", "USD", "0.01", "1", "1"),
    Security(495512563, "ES", "FUT", "CME", "USD", "0.25", month="202612", multiplier="50"),
    Security(
        620731015, "ES", "FUT", "CME", "USD", "0.25", month="202703", multiplier="50", local="ESH7"
    ),
    Security(29612256, "VOD", "STK", "LSE", "GBP", "0.01", magnifier=100),
    Security(
        14204,
        "SIE",
        "STK",
        "IBIS",
        "EUR",
        "0.0001",
        steps=(("0", "0.0001"), ("10", "0.005"), ("100", "0.02"), ("200", "0.05")),
    ),
    Security(120549942, "IBUS500", "CFD", "SMART", "USD", "0.01", "0.1", "0.1"),
)

VALUES = (  # of every account
    ("AccountType", "INDIVIDUAL", ""),
    ("NetLiquidation", "100250.50", "USD"),
    ("InitMarginReq", "2000", "USD"),
    ("AvailableFunds", "98250.50", "USD"),
    ("UnrealizedPnL", "250.50", "BASE"),
    ("UnrealizedPnL", "200", "EUR"),
    ("ExchangeRate", "1.00", "USD"),
    ("ExchangeRate", "1.10", "EUR"),
)


@dataclass
class Order:
    """An order as the broker has it."""

    client_id: int
    perm_id: int
    order_id: int
    con_id: int
    action: str
    quantity: Decimal
    kind: str
    limit: str
    aux: str
    tif: str
    oca_group: str
    account: str
    ref: str
    transmit: bool
    parent_id: int
    oca_type: int
    what_if: bool = False
    good_till: str = ""
    trail_stop: str = ""  # the present stop price of a TRAIL
    trigger_method: str = "0"
    triggered: bool = False  # a stop-limit or trailing order whose stop price was reached
    status: str = "PendingSubmit"
    filled: Decimal = Decimal(0)
    average: Decimal = Decimal(0)
    why: str = ""
    why_held: str = ""  # inactive, and IBKR works on it all the same: "locate"
    children: list["Order"] = field(default_factory=list)

    @property
    def live(self) -> bool:
        return self.status in LIVE or bool(self.why_held)

    @property
    def expires(self) -> datetime | None:
        """When a GTD order ends. Raises ValueError for a text that TWS does not read as UTC."""
        if self.tif != "GTD":
            return None
        return datetime.strptime(self.good_till, "%Y%m%d-%H:%M:%S").replace(tzinfo=UTC)

    @property
    def sign(self) -> int:
        return 1 if self.action == "BUY" else -1


@dataclass
class Execution:
    order: Order
    number: int
    quantity: Decimal
    price: Decimal
    time: datetime
    cumulative: Decimal
    commission: Decimal
    currency: str = "USD"  # of the commission
    correction: int = 1
    liquidation: int = 0

    @property
    def exec_id(self) -> str:
        return f"0000e0d5.{self.number:08x}.01.{self.correction:02d}"


class Venue:
    """The broker's state. report_*: set by the server, called when something changes."""

    def __init__(self, accounts: tuple[str, ...] = ("DU1234567",)) -> None:
        self.accounts = accounts
        self.securities = {security.con_id: security for security in SECURITIES}
        self.orders: list[Order] = []
        self.executions: list[Execution] = []
        self.positions: dict[tuple[str, int], tuple[Decimal, Decimal]] = {}
        self.accepted: list[str] = []  # the journal: references in the order of acceptance
        self.received: list[str] = []  # references that arrived, accepted or not
        self.quotes: dict[int, tuple[Decimal, Decimal]] = {}
        self.commission = Decimal("1.25")
        self.trades_per_fill = 1  # executions in which an order is filled
        self.fill_share = Decimal(1)  # share of an order that is filled at once
        self.cancels_later = False  # as while its exchange is closed: until `end`
        self.drops_levels = False  # accepts stops and targets, then drops them unreported
        self.takes_fractions = False  # of a share: only some accounts may
        self.has_no_rules = False  # refuses requests for market rules
        self.refused: dict[str, tuple[int, str]] = {}  # by reference: number and text of a refusal
        self.clock_offset = 0.0
        self.last_order_ids: dict[int, int] = {}  # by client id; TWS takes no lower one again
        self.now: Callable[[], datetime] = lambda: datetime.now(UTC)
        self.report_price: Callable[[int], None] = lambda con_id: None
        self.report_order: Callable[[Order, str], None] = lambda order, what: None
        self.report_execution: Callable[[Execution], None] = lambda execution: None
        self._perms, self._numbers = count(900001), count(1)

    # ---- for tests ------------------------------------------------------------------------
    def quote(self, symbol: str, bid: str, ask: str) -> None:
        """Set a price, and execute the orders that it reaches."""
        security = self.security(symbol)
        self.quotes[security.con_id] = Decimal(bid), Decimal(ask)
        self.report_price(security.con_id)
        for order in [order for order in self.orders if order.con_id == security.con_id]:
            self._match(order)

    def order(self, ref: str) -> Order:
        """Return the latest order with a reference."""
        return next(order for order in reversed(self.orders) if order.ref == ref)

    def fill(self, ref: str, quantity: str, price: str) -> Execution:
        """Execute a part of an order."""
        return self.execute(self.order(ref), Decimal(quantity), Decimal(price))

    def correct(self, execution: Execution, price: str, quantity: str = "") -> Execution:
        """Correct an execution: the last part of its id increases. quantity: '0' cancels it."""
        execution.correction += 1
        execution.price = Decimal(price)
        if quantity:
            change, order = Decimal(quantity) - execution.quantity, execution.order
            execution.quantity += change
            execution.cumulative += change
            order.filled += change
            self._book(order, change, execution.price)
        self.report_execution(execution)
        return execution

    def end(self, ref: str, status: str = "Cancelled", why: str = "") -> None:
        """End an order as the broker does."""
        order = self.order(ref)
        order.why = why
        self._end(order, status)

    def hold(self, ref: str) -> None:
        """Hold an order back while shares to lend are looked for."""
        order = self.order(ref)
        order.status, order.why_held = "Inactive", "locate"
        self.report_order(order, "accepted")

    def forget(self, ref: str) -> None:
        """Drop an order that ended unreported on an earlier day: no list has it any more."""
        self.orders.remove(self.order(ref))

    def give(self, account: str, symbol: str, quantity: str, cost: str) -> None:
        held = Decimal(quantity), Decimal(cost)
        self.positions[account, self.security(symbol).con_id] = held

    def held(self, symbol: str) -> Decimal:
        """Return what the first account holds, signed."""
        key = self.accounts[0], self.security(symbol).con_id
        return self.positions.get(key, (Decimal(0), Decimal(0)))[0]

    def security(self, symbol: str) -> Security:
        """Find a security by its symbol, by base and quote together, or by its local name."""
        return next(
            s for s in self.securities.values()
            if symbol in (s.symbol, f"{s.symbol}{s.currency}", s.local)
        )  # fmt: skip

    def close_by_hand(self, account: str, symbol: str) -> None:
        """Close what is held of a symbol, as its owner would in TWS."""
        con_id = self.security(symbol).con_id
        held, _ = self.positions[account, con_id]
        side = "SELL" if held > 0 else "BUY"
        self.place(0, by_hand(len(self.orders) + 1, con_id, side, abs(held), account))

    def execute_again(self, ref: str, other: str = "") -> None:
        """Execute a market order like the latest with a reference; other: a new reference."""
        first = self.order(ref)
        placed = by_hand(
            len(self.orders) + 1, first.con_id, first.action, first.quantity, first.account
        )
        self.place(0, replace(placed, ref=other or ref))

    def underlying_share(self, con_id: int) -> Security | None:
        """Return the share that a CFD has its prices from."""
        cfd = self.securities[con_id]
        shares = [
            s for s in self.securities.values()
            if s.kind == "STK" and (s.symbol, s.currency) == (cfd.symbol, cfd.currency)
        ]  # fmt: skip
        return shares[0] if cfd.kind == "CFD" and shares else None

    def receive(self, ref: str) -> None:
        """Record an order that arrived, accepted or not."""
        self.received.append(ref)

    # ---- for clients ----------------------------------------------------------------------
    def place(self, client_id: int, placed: PlacedOrder) -> Order:
        """Accept a new order, or a change of a live one."""
        known = self.find(client_id, placed.order_id)
        if self.drops_levels and placed.ref.endswith((":sl", ":tp")):
            return self._drop(client_id, known, placed)
        if known is not None:
            known.quantity, known.limit, known.aux = placed.quantity, placed.limit, placed.aux
            known.kind, known.tif, known.trail_stop = placed.kind, placed.tif, placed.trail_stop
            self.report_order(known, "changed")
            self._match(known)
            return known
        order = Order(client_id, next(self._perms), **vars(placed))
        self.orders.append(order)
        last = self.last_order_ids.get(client_id, 0)
        self.last_order_ids[client_id] = max(last, placed.order_id)
        parent = self.find(client_id, placed.parent_id) if placed.parent_id else None
        if parent is not None:
            parent.children.append(order)
        if placed.transmit:
            family = [parent, *parent.children] if parent is not None else [order]
            for member in family:
                if member.status == "PendingSubmit":
                    self._accept(member)
            for member in family:
                self._match(member)
        return order

    def _drop(self, client_id: int, known: Order | None, placed: PlacedOrder) -> Order:
        """Drop a level without a report, and accept its entry."""
        if known is not None:
            self.orders.remove(known)
        parent = self.find(client_id, placed.parent_id) if placed.parent_id else None
        if parent is not None and placed.transmit and parent.status == "PendingSubmit":
            self._accept(parent)
            self._match(parent)
        return Order(client_id, next(self._perms), **vars(placed))

    def find(self, client_id: int, order_id: int) -> Order | None:
        """Return a client's order by its id: of several one that works."""
        found = [o for o in self.orders if (o.client_id, o.order_id) == (client_id, order_id)]
        return next((o for o in found if o.live), found[0] if found else None)

    def cancel(self, order: Order) -> None:
        """Cancel an order and its children."""
        self._end(order, "Cancelled")

    def execute(self, order: Order, quantity: Decimal, price: Decimal) -> Execution:
        """Execute a quantity, and reduce the other orders of its group by it."""
        before, order.why_held = order.filled, ""
        order.filled += quantity
        order.average = (order.average * before + price * quantity) / order.filled
        done = order.filled >= order.quantity
        order.status = "Filled" if done else "Submitted"
        execution = Execution(
            order, next(self._numbers), quantity, price, self.now(), order.filled,
            self.commission,
        )  # fmt: skip
        self.executions.append(execution)
        self._book(order, quantity, price)
        self.report_execution(execution)
        self.report_order(order, "status")
        for other in self._group(order):
            other.quantity -= quantity
            if other.quantity <= other.filled:
                self._end(other, "Cancelled")
            else:
                self.report_order(other, "changed")
        if done:
            for child in order.children:
                if child.live:
                    child.status = "Submitted"
                    self.report_order(child, "status")
                    self._match(child)
        return execution

    def _accept(self, order: Order) -> None:
        waits = order.kind in ("STP", "STP LMT", "TRAIL") or bool(order.parent_id)
        order.status = "PreSubmitted" if waits else "Submitted"
        self.accepted.append(order.ref)
        self.report_order(order, "accepted")
        if (end := order.expires) is not None:
            left = (end - self.now()).total_seconds()
            asyncio.get_running_loop().call_later(left, self._end, order, "Cancelled")

    def _end(self, order: Order, status: str) -> None:
        if not order.live:
            return
        order.status, order.why_held = status, ""
        self.report_order(order, "status")
        for child in order.children:
            if order.filled == 0:
                self._end(child, "Cancelled")

    def _group(self, order: Order) -> list[Order]:
        if not order.oca_group:
            return []
        return [
            other
            for other in self.orders
            if other.live and other is not order and other.oca_group == order.oca_group
        ]

    def _match(self, order: Order) -> None:
        if order.why_held or not order.live or order.status == "PendingSubmit":
            return
        if order.con_id not in self.quotes:
            return
        parent = self.find(order.client_id, order.parent_id) if order.parent_id else None
        if parent is not None and parent.status != "Filled":
            return
        bid, ask = self.quotes[order.con_id]
        price, other = (ask, bid) if order.sign > 0 else (bid, ask)
        reached = self._has_trailed(order, price, other) or self._is_reached(order, price)
        available = order.quantity * self.fill_share - order.filled
        if reached and order.tif == "FOK" and available < order.quantity:
            self._end(order, "Cancelled")
        elif reached and available > 0:
            for part in self._parts(available):
                self.execute(order, part, price)
            if order.tif == "IOC":
                self._end(order, "Cancelled")
        elif order.tif in ("IOC", "FOK"):
            self._end(order, "Cancelled")

    def _has_trailed(self, order: Order, touch: Decimal, other: Decimal) -> bool:
        """Move the stop price of a trailing order; return whether it has been reached.

        It follows the price at which it would be filled, and never moves back. By IBKR's manual the
        other side triggers it: a sell's stop price is reached by the ask, a buy's by the bid.
        """
        if order.kind != "TRAIL" or order.triggered:
            return order.triggered and order.kind == "TRAIL"
        follows = touch + order.sign * Decimal(order.aux)
        if not order.trail_stop or order.sign * (Decimal(order.trail_stop) - follows) > 0:
            order.trail_stop = format(follows, "f")
            self.report_order(order, "changed")
        if order.sign * (other - Decimal(order.trail_stop)) >= 0:
            order.triggered, order.status = True, "Submitted"
            self.report_order(order, "status")
        return order.triggered

    def _is_reached(self, order: Order, price: Decimal) -> bool:
        """Whether an order fills at a price. A stop-limit order becomes a limit order first."""
        beyond_stop = "STP" in order.kind and order.sign * (price - Decimal(order.aux)) >= 0
        if order.kind == "STP LMT" and beyond_stop and not order.triggered:
            order.triggered, order.status = True, "Submitted"
            self.report_order(order, "status")
        if order.kind == "LMT" or order.triggered:
            return order.sign * (Decimal(order.limit) - price) >= 0
        return order.kind == "MKT" or (order.kind == "STP" and beyond_stop)

    def _parts(self, quantity: Decimal) -> list[Decimal]:
        part = quantity // self.trades_per_fill
        return [*[part] * (self.trades_per_fill - 1), quantity - part * (self.trades_per_fill - 1)]

    def _book(self, order: Order, quantity: Decimal, price: Decimal) -> None:
        key = order.account, order.con_id
        held, cost = self.positions.get(key, (Decimal(0), Decimal(0)))
        units = Decimal(self.securities[order.con_id].multiplier or 1)
        now = held + order.sign * quantity
        if held * order.sign >= 0 and now:
            cost = (cost * abs(held) + price * units * quantity) / abs(now)
        self.positions[key] = now, cost
