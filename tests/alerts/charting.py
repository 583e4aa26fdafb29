"""A fake charting platform: it trades a strategy on paper and fills in alert messages, as
TradingView does. The templates are those of docs/tradingview.md.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from common.clocks import market_now
from common.money import plain

PAGE = Path(__file__).parents[2] / "docs" / "tradingview.md"
_TEMPLATE = re.compile(r"<!-- template: (\w+) -->\n```json\n(.*?)```", re.DOTALL)
_PLACEHOLDER = re.compile(r"\{\{(.+?)\}\}")


def templates() -> dict[str, str]:
    """Return the documented messages by name."""
    return dict(_TEMPLATE.findall(PAGE.read_text()))


def fill_in(message: str, values: Mapping[str, str]) -> bytes:
    """Replace each placeholder; an unknown one stays as it is."""
    return _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), message).encode()


@dataclass
class Chart:
    """A chart with a strategy. position: in contracts, negative if short."""

    ticker: str = "EURUSD"
    exchange: str = "OANDA"
    position: Decimal = Decimal(0)
    price: Decimal = Decimal("1.1")
    plots: dict[str, str] = field(default_factory=dict)

    def bar(self, now: datetime | None = None) -> dict[str, str]:
        """Return the values that every alert can use. A plot without a value is `NaN`."""
        now = now or market_now()
        return {
            "ticker": self.ticker,
            "exchange": self.exchange,
            "close": plain(self.price),
            "time": now.strftime("%Y-%m-%dT%H:00:00Z"),
            "timenow": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            **{f'plot("{name}")': value for name, value in self.plots.items()},
        }

    def order(
        self, name: str, action: str, contracts: str, now: datetime | None = None
    ) -> dict[str, str]:
        """Fill an order of the strategy and return the values for its alert.

        A reversal is one order with the size of the old and the new position together.
        """
        before = self.position
        quantity = Decimal(contracts)
        self.position += quantity if action == "buy" else -quantity
        return self.bar(now) | {
            "strategy.order.action": action,
            "strategy.order.contracts": contracts,
            "strategy.order.price": plain(self.price),
            "strategy.order.id": name,
            "strategy.order.comment": name,
            "strategy.market_position": position_side(self.position),
            "strategy.market_position_size": plain(abs(self.position)),
            "strategy.prev_market_position": position_side(before),
            "strategy.prev_market_position_size": plain(abs(before)),
            "strategy.position_size": plain(self.position),
        }


def position_side(position: Decimal) -> str:
    return "long" if position > 0 else "short" if position < 0 else "flat"
