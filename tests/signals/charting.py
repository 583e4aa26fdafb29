"""A charting platform that trades a strategy on paper and fills in alert messages, as TradingView
does. The templates are those of docs/tradingview.md."""

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
    """Replace each placeholder; one that the platform does not know stays as it is."""
    return _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), message).encode()


@dataclass
class Chart:
    """A chart with a strategy. position: its contracts, negative for a short one."""

    ticker: str = "EURUSD"
    exchange: str = "OANDA"
    position: Decimal = Decimal(0)
    price: Decimal = Decimal("1.1")
    plots: dict[str, str] = field(default_factory=dict)

    def bar(self, now: datetime | None = None) -> dict[str, str]:
        """What every alert can show. A plot without a value is `NaN`; the bar began a while ago."""
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
        """Fill an order of the strategy; return what its alert shows. A reversal is one order, of
        the old position and the new one together."""
        before = self.position
        quantity = Decimal(contracts)
        self.position += quantity if action == "buy" else -quantity
        return self.bar(now) | {
            "strategy.order.action": action,
            "strategy.order.contracts": contracts,
            "strategy.order.price": plain(self.price),
            "strategy.order.id": name,
            "strategy.order.comment": name,
            "strategy.market_position": standing(self.position),
            "strategy.market_position_size": plain(abs(self.position)),
            "strategy.prev_market_position": standing(before),
            "strategy.prev_market_position_size": plain(abs(before)),
            "strategy.position_size": plain(self.position),
        }


def standing(position: Decimal) -> str:
    return "long" if position > 0 else "short" if position < 0 else "flat"
