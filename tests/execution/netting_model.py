"""Accounts that do not close by ticket, for the fake broker: one net quantity a symbol.

Levels are orders of their own there, as large as what was filled. Violations are recorded:
`reversed`, an exit that turned a position round; `stolen`, one that took a neighbour's share;
`exposed`, one that left a live stop behind which would turn it round at the next price.
"""

from collections import defaultdict
from decimal import Decimal
from typing import Any

from brokers.base import Rejected
from brokers.types import BrokerPosition, ExitSafety, HeldLevels, Side
from common.reason_codes import Code

ZERO = Decimal(0)
Key = tuple[str, str, str]


class NettingModel:
    """What the accounts of a fake broker hold, by connection, symbol and (hedging) side."""

    def __init__(self, safety: ExitSafety, *, netting: bool) -> None:
        self.safety, self.netting = safety, netting
        self.held: dict[Key, Decimal] = defaultdict(lambda: ZERO)
        self.sides: dict[Key, Side] = {}
        self.protected: dict[str, Decimal] = {}  # by the entry's number: its live stop
        self.dead_groups: set[str] = set()
        self.reversed: list[str] = []
        self.stolen: list[str] = []
        self.exposed: list[str] = []

    def key(self, lot: Any) -> Key:
        """Of the position that an entry is a part of."""
        request = lot.request
        return request.connection_id, request.symbol, "" if self.netting else request.side

    def number(self, lot: Any) -> str:
        """The broker's number of that position."""
        return f"n{self.key(lot)[1]}{self.key(lot)[2]}"

    @property
    def has_own_stops(self) -> bool:
        return self.safety is not ExitSafety.TICKET

    def admit(self, lot: Any) -> None:
        """Refuse an exit as such a broker would. Raises Rejected."""
        reducing = self.safety in (ExitSafety.TICKET, ExitSafety.REDUCE_ONLY)
        if reducing and self.held[self.key(lot)] <= 0:
            raise Rejected(Code.NO_POSITION)
        if self.safety is ExitSafety.OCA and lot.number in self.dead_groups:
            raise Rejected(Code.NO_POSITION)

    def enter(self, lot: Any, quantity: Decimal) -> None:
        """An entry fills; its levels become orders of their own."""
        self.held[self.key(lot)] += quantity
        self.sides[self.key(lot)] = Side(lot.request.side)
        has_levels = lot.request.stop_loss is not None or lot.request.take_profit is not None
        if self.has_own_stops and has_levels:
            self.protected[lot.number] = self.protected.get(lot.number, ZERO) + quantity

    def leave(self, lot: Any, quantity: Decimal) -> Decimal:
        """An exit of ours executes; return how much. Only a reducing broker checks first."""
        key = self.key(lot)
        if self.safety in (ExitSafety.TICKET, ExitSafety.REDUCE_ONLY):
            quantity = min(quantity, self.held[key])
        self._take(lot, quantity, "exit")
        left = self.protected.get(lot.number, ZERO)
        if self.safety is ExitSafety.OCA:
            self.protected[lot.number] = max(ZERO, left - quantity)
        elif self.safety is ExitSafety.REDUCE_ONLY:
            self.protected[lot.number] = min(left, lot.held)
        elif left > lot.held:
            self.exposed.append(f"a stop of {left} lives, and {lot.number} has {lot.held}")
        return quantity

    def stop_out(self, lot: Any) -> Decimal:
        """An entry's own stop or target executes; return how much."""
        quantity = self.protected.pop(lot.number, ZERO)
        if self.safety is ExitSafety.REDUCE_ONLY:
            quantity = min(quantity, self.held[self.key(lot)])
        self.dead_groups.add(lot.number)
        self._take(lot, quantity, "stop")
        return quantity

    def by_hand(self, lot: Any, quantity: Decimal) -> Decimal:
        """The owner closes a part by hand, and what protects it."""
        quantity = min(quantity, lot.held, self.held[self.key(lot)])
        self._take(lot, quantity, "hand")
        if lot.number in self.protected:
            self.protected[lot.number] = min(self.protected[lot.number], lot.held)
        return quantity

    def positions(self, connection_id: str) -> list[BrokerPosition]:
        levels = None if self.has_own_stops else HeldLevels(None, None)
        return [
            BrokerPosition(f"n{symbol}{side}", symbol, self.sides[connection, symbol, side],
                           held, Decimal("1.1"), levels)
            for (connection, symbol, side), held in self.held.items()
            if held > 0 and connection == connection_id
        ]  # fmt: skip

    def _take(self, lot: Any, quantity: Decimal, what: str) -> None:
        key = self.key(lot)
        self.held[key] -= quantity
        if self.held[key] < 0:
            self.reversed.append(f"{what} of {quantity} left {self.held[key]} of {key}")
        if quantity > lot.held:
            self.stolen.append(f"{what} of {quantity}, while {lot.number} had {lot.held}")
        lot.held -= min(quantity, lot.held)
