"""The broker's trade server. Its state stays when the expert advisor ends.

It writes each change to disk: the state to `state.json`, what it accepted to `journal.jsonl`.
"""

import json
import os
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

DIGITS = {"EURUSD": 5, "USDJPY": 3, "XAUUSD.m": 2, "DAX": 1}
PRICES = {
    "EURUSD": (1.1, 1.1001),
    "USDJPY": (150.0, 150.02),
    "XAUUSD.m": (1900.0, 1900.3),
    "DAX": (15000.0, 15001.0),
}
TICK_VALUES = {"EURUSD": 1.0, "USDJPY": 0.66, "XAUUSD.m": 1.0, "DAX": 0.1}


class TradeError(Exception):
    """An error as GetLastError describes it."""


@dataclass
class Ticket:
    number: int
    magic: int
    symbol: str
    lots: float
    type: str
    price: float
    opened: str
    sl: float = 0.0
    tp: float = 0.0
    comment: str = ""
    commission: float = 0.0
    closed: str = ""
    close_price: float = 0.0
    swap: float = 0.0
    expires: int = 0  # of a waiting order, seconds of the server's time


@dataclass
class State:
    account: str = "4711"
    balance: float = 10_000.0
    last: int = 1000
    hours: float = 2.0
    tickets: dict[str, Ticket] = field(default_factory=dict)
    history: dict[str, Ticket] = field(default_factory=dict)
    prices: dict[str, list[float]] = field(
        default_factory=lambda: {name: list(pair) for name, pair in PRICES.items()}
    )


class TradeServer:
    """One account.

    faults: set by the expert advisor before each action.
    """

    def __init__(self, state_folder: Path) -> None:
        self._state_folder = state_folder
        self.faults: dict[str, Any] = {}
        self.other_accounts: dict[
            str, tuple[dict[str, Ticket], dict[str, Ticket]]
        ] = {}  # by account
        self.state = State()
        path = state_folder / "state.json"
        if path.exists():
            values = json.loads(path.read_text())
            for name in ("tickets", "history"):
                values[name] = {key: Ticket(**row) for key, row in values[name].items()}
            self.state = State(**values)
        self.save()

    def save(self) -> None:
        fresh = self._state_folder / "state.new"
        fresh.write_text(json.dumps(asdict(self.state)))
        os.replace(fresh, self._state_folder / "state.json")

    def record(self, action: str, ticket: Ticket) -> None:
        with (self._state_folder / "journal.jsonl").open("a") as file:
            file.write(json.dumps({"action": action, **asdict(ticket)}) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.save()

    def now(self) -> str:
        ahead = timedelta(hours=self.state.hours, seconds=self.faults.get("skew", 0))
        at = datetime.now(UTC) + ahead
        return at.strftime("%Y.%m.%d %H:%M:%S")

    def expiry_in(self, seconds: float) -> int:
        """Return the expiry that is this many seconds ahead, in seconds of the server's time."""
        at = datetime.strptime(self.now(), "%Y.%m.%d %H:%M:%S").replace(tzinfo=UTC)
        return int(at.timestamp() + seconds)

    def expire(self) -> None:
        """End the waiting orders whose expiry has passed."""
        for one in list(self.state.tickets.values()):
            if 0 < one.expires <= self.expiry_in(0) and one.type not in ("buy", "sell"):
                self.delete(one.number, "[expiration]")

    def log_in(self, account: str) -> None:
        """Log in to another account. The tickets of this one are kept until its next login."""
        now = self.state
        self.other_accounts[now.account] = now.tickets, now.history
        now.account, (now.tickets, now.history) = (
            account,
            self.other_accounts.pop(account, ({}, {})),
        )

    # ---- trading --------------------------------------------------------------------------
    def send(self, ticket: Ticket) -> int:
        """OrderSend."""
        bid, ask = self.state.prices[ticket.symbol]
        buys = ticket.type.startswith("buy")
        if ticket.type in ("buy", "sell"):
            ticket.lots = round(ticket.lots * self.faults.get("fill_share", 1.0), 2)
            ticket.price = ask if buys else bid
            ticket.commission = -round(ticket.lots * 7, 2)
        self._check_levels(ticket, ticket.price, ticket.sl, ticket.tp)
        if self.faults.get("drops_levels"):
            ticket.sl = ticket.tp = 0.0
        if ticket.lots > 50:
            raise TradeError("not enough money")
        if ticket.expires and "denies_expirations" in self.faults:
            raise TradeError("expirations are denied by broker")
        if ticket.expires and ticket.expires < self.expiry_in(600):
            raise TradeError("invalid trade parameters")
        self.state.last += 1
        ticket.number, ticket.opened = self.state.last, self.now()
        ticket.comment = self._stored_comment(ticket.comment)
        self.state.tickets[str(ticket.number)] = ticket
        self.record("open", ticket)
        return ticket.number

    def close(self, number: int, lots: float, mark: str = "", at: float | None = None) -> None:
        """OrderClose. The rest of a partly closed position has a new ticket."""
        ticket = self.state.tickets.get(str(number))
        if ticket is None:
            raise TradeError("invalid ticket")
        if lots <= 0:
            raise TradeError("invalid function parameter value")
        if lots > ticket.lots + 1e-9:
            raise TradeError("invalid trade volume")
        bid, ask = self.state.prices[ticket.symbol]
        left = round(ticket.lots - lots, 2)
        del self.state.tickets[str(number)]
        if left > 0:
            self.state.last += 1
            rest = Ticket(**{**asdict(ticket), "number": self.state.last, "lots": left})
            if not self.faults.get("no_from"):
                rest.comment, ticket.comment = f"from #{number}", f"to #{rest.number}"
            rest.commission = round(ticket.commission * left / ticket.lots, 2)
            ticket.commission = round(ticket.commission - rest.commission, 2)
            self.state.tickets[str(rest.number)] = rest
        ticket.lots, ticket.closed = lots, self.now()
        ticket.swap = self.faults.get("swap", 0.0)  # of the part that closes
        ticket.close_price = at if at is not None else bid if ticket.type == "buy" else ask
        ticket.comment += mark
        self.state.history[str(number)] = ticket
        self.record("close", ticket)

    def close_by(self, number: int, other: int) -> None:
        """OrderCloseBy: the history has the volume at the first, and none at the second. What is
        left of the larger one names the first, too."""
        first, second = (self.state.tickets.pop(str(one)) for one in (number, other))
        larger = max(first, second, key=lambda one: one.lots)
        volume, left = min(first.lots, second.lots), round(abs(first.lots - second.lots), 2)
        if left:
            self.state.last += 1
            rest = Ticket(**{**asdict(larger), "number": self.state.last, "lots": left})
            rest.comment = f"from #{number}"
            self.state.tickets[str(rest.number)] = rest
            first.comment = "partial close"
        first.lots, first.close_price = volume, second.price
        second.lots, second.close_price = 0.0, second.price
        second.comment = f"close hedge by #{number}"
        for one in (first, second):
            one.closed = self.now()
            self.state.history[str(one.number)] = one
            self.record("close", one)

    def delete(self, number: int, mark: str = "cancelled") -> None:
        """OrderDelete, or the end of an order without a request."""
        ticket = self.state.tickets.pop(str(number))
        ticket.closed, ticket.close_price = self.now(), ticket.price
        ticket.comment = mark if mark.startswith("[") else ticket.comment
        self.state.history[str(number)] = ticket
        self.record("delete", ticket)

    def modify(self, number: int, at: float, sl: float, tp: float, expires: int = 0) -> None:
        """OrderModify. It writes a waiting order's price and expiry too: 0 keeps the price and
        removes the expiry. A position keeps its price."""
        ticket = self.state.tickets.get(str(number))
        if ticket is None:
            raise TradeError("invalid ticket")
        at = ticket.price if not at or ticket.type in ("buy", "sell") else at
        if (ticket.price, ticket.sl, ticket.tp) == (at, sl, tp):
            raise TradeError("no error")
        bid, ask = self.state.prices[ticket.symbol]
        if at != ticket.price:
            self._check_price(ticket, at, bid, ask)
        price = bid if ticket.type == "buy" else ask if ticket.type == "sell" else at
        self._check_levels(ticket, price, sl, tp)
        ticket.price = at
        ticket.sl, ticket.tp = (0.0, 0.0) if self.faults.get("drops_levels") else (sl, tp)
        ticket.expires = expires
        self.record("modify", ticket)

    def trigger(self, number: int) -> None:
        """Fill a working order under its own ticket."""
        ticket = self.state.tickets[str(number)]
        ticket.type, ticket.opened = (
            ticket.type.removesuffix("limit").removesuffix("stop"),
            self.now(),
        )
        self.record("trigger", ticket)

    def on_price(self, symbol: str) -> None:
        """Execute the working orders and levels that the current price reaches."""
        bid, ask = self.state.prices[symbol]
        for one in list(self.state.tickets.values()):
            if one.symbol != symbol:
                continue
            reached = {
                "buylimit": ask <= one.price, "sellstop": bid <= one.price,
                "selllimit": bid >= one.price, "buystop": ask >= one.price,
            }  # fmt: skip
            if reached.get(one.type):
                self.trigger(one.number)
            lost = {"buy": 0 < bid <= one.sl, "sell": 0 < one.sl <= ask}
            won = {"buy": 0 < one.tp <= bid, "sell": 0 < ask <= one.tp}
            if lost.get(one.type):
                self.close(one.number, one.lots, "[sl]")
            elif won.get(one.type):
                self.close(one.number, one.lots, "[tp]", one.tp)

    def _check_price(self, ticket: Ticket, at: float, bid: float, ask: float) -> None:
        """Refuse a price that the market has reached, or that is within the freeze level."""
        away = {
            "buylimit": ask - at, "buystop": at - ask,
            "selllimit": at - bid, "sellstop": bid - at,
        }  # fmt: skip
        if away[ticket.type] <= self.faults.get("stops_level", 0):
            raise TradeError("invalid stops")

    def _check_levels(self, ticket: Ticket, price: float, sl: float, tp: float) -> None:
        sign, minimum = (
            1 if ticket.type.startswith("buy") else -1,
            self.faults.get("stops_level", 0),
        )
        for level, side in ((sl, sign), (tp, -sign)):
            if level and (price - level) * side <= minimum:
                raise TradeError("invalid stops")

    def _stored_comment(self, comment: str) -> str:
        if "rewrite_comment" in self.faults:
            return str(self.faults["rewrite_comment"])
        return comment[: int(self.faults.get("cut_comment", 31))]
