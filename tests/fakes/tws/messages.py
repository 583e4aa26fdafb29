"""Messages of server version 178: a client's are read, those of TWS are written.

The order of fields is ib_async's: client.py `placeOrder`, decoder.py.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

VERSION = 178
OTHER_RULE = 4711
"""The market rule of an exchange that no order goes to; a contract's own rule has its conId."""


def pack(*fields: Any) -> bytes:
    body = "".join(f"{_text(field)}\0" for field in fields).encode()
    return struct.pack(">I", len(body)) + body


ENDS = (b"52", b"53", b"54", b"55", b"62", b"102")
"""Kinds of messages that end a list."""


def kind_of(message: bytes) -> bytes:
    """The first field of a message."""
    return message[4:].split(b"\0", 1)[0]


def _text(field: Any) -> str:
    if field is None:
        return ""
    if isinstance(field, bool):
        return "1" if field else "0"
    if isinstance(field, Decimal):
        return format(field, "f")
    return str(field)


@dataclass(frozen=True)
class Security:
    """A contract that the fake lists."""

    con_id: int
    symbol: str
    kind: str
    exchange: str
    currency: str
    min_tick: str
    size_step: str = "1"
    min_size: str = "1"
    month: str = ""
    multiplier: str = ""
    local: str = ""
    magnifier: int = 1
    steps: tuple[tuple[str, str], ...] = ()  # of its market rule: from this price on, this step

    @property
    def price_steps(self) -> tuple[tuple[str, str], ...]:
        """Its market rule; one with a single step if prices of every size have the same."""
        return self.steps or (("0", self.min_tick),)

    def is_on_grid(self, price: str) -> bool:
        """Whether a price is a multiple of the step that counts there."""
        at = Decimal(price)
        steps = [step for low, step in self.price_steps if Decimal(low) <= at]
        return at % Decimal(steps[-1] if steps else self.min_tick) == 0

    def head(self) -> list[Any]:
        """Return its fields in orders, executions and positions, after the conId."""
        return [
            self.symbol, self.kind, self.month, 0, "", self.multiplier, self.exchange,
            self.currency, self.local or self.symbol, self.symbol,
        ]  # fmt: skip


@dataclass
class PlacedOrder:
    """What a client's placeOrder contains, as far as the fake uses it."""

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
    what_if: bool
    good_till: str = ""
    trail_stop: str = ""  # of a TRAIL, whose `aux` is its distance
    trigger_method: str = "0"

    @property
    def prices(self) -> tuple[str, str, str]:
        """Its prices, and the distance of a trailing stop; '' where it has none."""
        return self.limit, self.aux, self.trail_stop


def by_hand(
    order_id: int, con_id: int, action: str, quantity: Decimal, account: str
) -> PlacedOrder:
    """Return a market order as placed in TWS itself: without a reference."""
    return PlacedOrder(
        order_id, con_id, action, quantity, "MKT", "", "", "DAY", "", account, "", True, 0, 0,
        False,
    )  # fmt: skip


def read_order(fields: Sequence[str]) -> PlacedOrder:
    """Read a placeOrder of version 178."""
    it = iter(fields)
    _skip(it, 1)
    order_id = int(next(it))
    con_id = int(next(it))
    _skip(it, 11 + 2)  # rest of the contract, secIdType, secId
    action, quantity, kind, limit, aux, tif, group, account = (next(it) for _ in range(8))
    _skip(it, 2)  # openClose, origin
    ref, transmit, parent = next(it), next(it), next(it)
    _skip(it, 3)  # blockOrder … displaySize
    trigger_method = next(it)
    _skip(it, 2)  # outsideRth, hidden
    _skip(it, 3)  # "", discretionaryAmt, goodAfterTime
    good_till = next(it)
    _skip(it, 3)  # faGroup … faPercentage
    _skip(it, 4)  # modelCode … exemptCode
    oca_type = next(it)
    _skip(it, 19 + 2)  # rule80A … referencePriceType
    trail_stop = next(it)
    _skip(it, 4 + 4 + 4 + 1 + 1 + 1)  # trailingPercent … algoId
    what_if = next(it)
    return PlacedOrder(
        order_id, con_id, action, Decimal(quantity), kind, limit, aux, tif, group, account, ref,
        transmit == "1", int(parent), int(oca_type), what_if == "1", good_till, trail_stop,
        trigger_method,
    )  # fmt: skip


def _skip(it: Iterator[str], n: int) -> None:
    for _ in range(n):
        next(it)


def open_order(security: Security, o: Any, status: str, margin: Sequence[str] = ()) -> bytes:
    """Write an openOrder. o: has what `PlacedOrder` has, and client_id and perm_id."""
    money = list(margin) or [""] * 9
    return pack(
        5, o.order_id, security.con_id, *security.head(),
        o.action, o.quantity, o.kind, o.limit, o.aux, o.tif, o.oca_group, o.account, "O", 0, o.ref,
        o.client_id, o.perm_id, 0, 0, 0, "", "", "", "", "",
        "", o.good_till, "", "", "", 0, "", -1, 0, "", "", "", "", "", 0, 0, 0, 0, "",
        o.oca_type, 0, 0, "",
        o.parent_id, o.trigger_method, "", 0, "", "",
        0, 0, o.trail_stop, "", "", "", "", 0, 0, 0,
        "", "", "", "",
        0, "", "", 0, 0, "",
        0, o.what_if, status, *money, "1.25" if margin else "", "", "", "USD", "", 0, 0,
        0, "", "", o.trail_stop, "", "", "", "", 0, "", "", "", "", 0, 0, 0, 0,
        "", "", 0, "", "", "", "", "",
    )  # fmt: skip


def completed_order(security: Security, o: Any, status: str, filled: Decimal, why: str) -> bytes:
    return pack(
        101, security.con_id, *security.head(),
        o.action, o.quantity, o.kind, o.limit, o.aux, o.tif, o.oca_group, o.account, "O", 0, o.ref,
        o.perm_id, 0, 0, 0, "", "", "", "",
        "", o.good_till, "", "", "", 0, "", -1, "", "", "", "", "", 0, 0, 0, "",
        o.oca_type, o.trigger_method, "", 0, "",
        "", 0, 0, o.trail_stop, "", "", 0, 0, 0, "", "", "",
        "", "", "", 0, 0, "",
        0, status, 0, 0, 0,
        o.trail_stop, "", "", 0, 0, "", filled, 0, 0, "", 0, 0, 0, "", why,
        "", "", "", "", "",
    )  # fmt: skip


def order_status(o: Any, status: str, filled: Decimal, average: Any) -> bytes:
    return pack(
        3, o.order_id, status, filled, o.quantity - filled, average, o.perm_id, o.parent_id,
        average, o.client_id, getattr(o, "why_held", ""), 0,
    )  # fmt: skip


def contract_details(req_id: int, s: Security) -> bytes:
    return pack(
        10, req_id, s.symbol, s.kind, s.month, 0, "", s.exchange, s.currency, s.local or s.symbol,
        s.symbol, s.symbol, s.con_id, s.min_tick, s.multiplier, "LMT,MKT,STP",
        f"DARK,{s.exchange}",
        s.magnifier, 0, s.symbol, s.exchange, s.month, "", "", "", "US/Eastern", "", "", "", 0, 0,
        1, "", "", f"{OTHER_RULE},{s.con_id}", "", "", s.min_size, s.size_step, s.size_step,
    )  # fmt: skip


def market_rule(rule_id: int, steps: Sequence[tuple[str, str]]) -> bytes:
    return pack(93, rule_id, len(steps), *(field for step in steps for field in step))


def error(req_id: int, number: int, text: str) -> bytes:
    return pack(4, 2, req_id, number, text, "")


def executed(req_id: int, s: Security, e: Any) -> bytes:
    """Write an execDetails. e: the fake's execution."""
    o = e.order
    return pack(
        11, req_id, o.order_id, s.con_id, *s.head(), e.exec_id,
        e.time.strftime("%Y%m%d %H:%M:%S UTC"), o.account, s.exchange,
        "BOT" if o.action == "BUY" else "SLD", e.quantity, e.price, o.perm_id, o.client_id,
        e.liquidation, e.cumulative, e.price, o.ref, "", "", "", 1, False,
    )  # fmt: skip


def commission(e: Any) -> bytes:
    """Write a commissionReport."""
    return pack(59, 1, e.exec_id, e.commission, e.currency, "", "", "")


def position(account: str, s: Security, quantity: Decimal, cost: Decimal) -> bytes:
    return pack(61, 3, account, s.con_id, *s.head(), quantity, cost)
