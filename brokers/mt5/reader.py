"""What is needed to convert one account's rows: its symbols, its server's clock, our ids. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from brokers.base import ReadFailed
from brokers.mt5.lots import Lots, UnlistedSymbolError
from brokers.mt5.order_ids import OrderIds, is_ours


@dataclass(frozen=True, slots=True)
class Reader:
    """Converts one account's volumes, ids and times."""

    connection_id: str
    lots: Callable[[str], Lots]
    utc: Callable[[float], datetime]
    order_ids: OrderIds
    currency: str = ""

    def lists(self, symbol: str) -> bool:
        """Whether the broker still lists a symbol. Raises ReadFailed if that is not known."""
        try:
            self.lots(symbol)
        except UnlistedSymbolError:
            return False
        return True

    def units(self, row: Any) -> Decimal:
        """Return the base units in a lot of a position or an order. Raises ReadFailed.

        In a symbol that is not listed any more one lot of others counts as one unit, so that the
        account can still be read."""
        of_others = not (is_ours(row.magic) or self.order_ids.resolve(row.magic, row.comment))
        if of_others and not self.lists(row.symbol):
            return Decimal(1)
        return self.lots(row.symbol).contract

    def when(self, milliseconds: int) -> datetime | None:
        """Return a time as UTC; None if the server's zone is not known yet."""
        try:
            return self.utc(milliseconds / 1000)
        except ReadFailed:
            return None
