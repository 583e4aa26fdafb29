"""The broker's side: what the trade server and the terminal know. It outlives the expert advisor.

Everything is on disk after each change: `state.json`, and `journal.jsonl` of all it accepted.
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
    """What GetLastError would describe."""


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
    """One account. faults: what is asked of it by the test, read anew before each action."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self.faults: dict[str, Any] = {}
        self.away: dict[str, tuple[dict[str, Ticket], dict[str, Ticket]]] = {}  # by account
        self.state = State()
        if (place / "state.json").exists():
            said = json.loads((place / "state.json").read_text())
            for name in ("tickets", "history"):
                said[name] = {key: Ticket(**one) for key, one in said[name].items()}
            self.state = State(**said)
        self.save()

    def save(self) -> None:
        fresh = self._place / "state.new"
        fresh.write_text(json.dumps(asdict(self.state)))
        os.replace(fresh, self._place / "state.json")

    def note(self, what: str, ticket: Ticket) -> None:
        with (self._place / "journal.jsonl").open("a") as file:
            file.write(json.dumps({"what": what, **asdict(ticket)}) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.save()

    def now(self) -> str:
        ahead = timedelta(hours=self.state.hours, seconds=self.faults.get("skew", 0))
        at = datetime.now(UTC) + ahead
        return at.strftime("%Y.%m.%d %H:%M:%S")

    def log_in(self, account: str) -> None:
        """The terminal shows another account's; this one's are there again when it is."""
        now = self.state
        self.away[now.account] = now.tickets, now.history
        now.account, (now.tickets, now.history) = account, self.away.pop(account, ({}, {}))

    # ---- trading --------------------------------------------------------------------------
    def send(self, ticket: Ticket) -> int:
        """OrderSend."""
        bid, ask = self.state.prices[ticket.symbol]
        buys = ticket.type.startswith("buy")
        if ticket.type in ("buy", "sell"):
            ticket.price = ask if buys else bid
            ticket.commission = -round(ticket.lots * 7, 2)
        self._check_levels(ticket, ticket.price, ticket.sl, ticket.tp)
        if self.faults.get("drops_levels"):
            ticket.sl = ticket.tp = 0.0
        if ticket.lots > 50:
            raise TradeError("not enough money")
        self.state.last += 1
        ticket.number, ticket.opened = self.state.last, self.now()
        ticket.comment = self._kept(ticket.comment)
        self.state.tickets[str(ticket.number)] = ticket
        self.note("open", ticket)
        return ticket.number

    def close(self, number: int, lots: float, mark: str = "", at: float | None = None) -> None:
        """OrderClose: a part leaves the rest under a new ticket."""
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
        ticket.close_price = at if at is not None else bid if ticket.type == "buy" else ask
        ticket.comment += mark
        self.state.history[str(number)] = ticket
        self.note("close", ticket)

    def delete(self, number: int, mark: str = "cancelled") -> None:
        """OrderDelete, or an order's own end."""
        ticket = self.state.tickets.pop(str(number))
        ticket.closed, ticket.close_price = self.now(), ticket.price
        ticket.comment = mark if mark.startswith("[") else ticket.comment
        self.state.history[str(number)] = ticket
        self.note("delete", ticket)

    def modify(self, number: int, sl: float, tp: float) -> None:
        """OrderModify."""
        ticket = self.state.tickets.get(str(number))
        if ticket is None:
            raise TradeError("invalid ticket")
        if (ticket.sl, ticket.tp) == (sl, tp):
            raise TradeError("no error")
        bid, ask = self.state.prices[ticket.symbol]
        price = bid if ticket.type == "buy" else ask if ticket.type == "sell" else ticket.price
        self._check_levels(ticket, price, sl, tp)
        ticket.sl, ticket.tp = (0.0, 0.0) if self.faults.get("drops_levels") else (sl, tp)
        self.note("modify", ticket)

    def trigger(self, number: int) -> None:
        """A waiting order is filled under its own ticket."""
        ticket = self.state.tickets[str(number)]
        ticket.type, ticket.opened = (
            ticket.type.removesuffix("limit").removesuffix("stop"),
            self.now(),
        )
        self.note("trigger", ticket)

    def react(self, symbol: str) -> None:
        """A price has come: what it reaches is filled or closed."""
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

    def _check_levels(self, ticket: Ticket, price: float, sl: float, tp: float) -> None:
        sign, least = 1 if ticket.type.startswith("buy") else -1, self.faults.get("stops_level", 0)
        for level, side in ((sl, sign), (tp, -sign)):
            if level and (price - level) * side <= least:
                raise TradeError("invalid stops")

    def _kept(self, comment: str) -> str:
        if "rewrite_comment" in self.faults:
            return str(self.faults["rewrite_comment"])
        return comment[: int(self.faults.get("cut_comment", 31))]
