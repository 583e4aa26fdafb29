"""NautilusTrader's order path; a script for its own packages: `nautilus_orders.py ORDERS`.

A strategy submits a market order at each quote; risk engine, execution engine and cache process
it, and the simulated venue fills it. The same quotes without orders are subtracted. All orders add
to one position, in its favour: a margin account looks at every open position at each fill, and
statistics of closed ones take half of the time. It prints JSON: the median of several runs.
"""

import json
import statistics
import sys
import time
from decimal import Decimal

from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig, StrategyConfig
from nautilus_trader.model.currencies import USD
from nautilus_trader.model.data import QuoteTick
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.identifiers import Venue
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.test_kit.providers import TestInstrumentProvider
from nautilus_trader.trading.strategy import Strategy

RUNS, SECOND_NS = 5, 1_000_000_000
VENUE = Venue("SIM")
EURUSD = TestInstrumentProvider.default_fx_ccy("EUR/USD", VENUE)


class OrderAtEachQuote(Strategy):  # type: ignore[misc]
    """Submit a market order at each quote, or only look at it."""

    def __init__(self, submits: bool) -> None:
        super().__init__(StrategyConfig())
        self.submits = submits

    def on_start(self) -> None:
        """Follow the instrument."""
        self.subscribe_quote_ticks(EURUSD.id)

    def on_quote_tick(self, _: QuoteTick) -> None:
        """Buy more: the position grows."""
        if self.submits:
            quantity = Quantity.from_int(1_000)
            self.submit_order(self.order_factory.market(EURUSD.id, OrderSide.BUY, quantity))


def run(count: int, *, submits: bool) -> tuple[float, float, int]:
    """Return the seconds and CPU seconds for `count` quotes, and how many orders were filled."""
    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True)))
    engine.add_venue(
        VENUE, OmsType.NETTING, AccountType.MARGIN, [Money(10**12, USD)], base_currency=USD,
        default_leverage=Decimal(1000),
    )  # fmt: skip
    engine.add_instrument(EURUSD)
    size, bid, ask = Quantity.from_int(10**8), Price(1.1, 5), Price(1.1001, 5)
    engine.add_data([
        QuoteTick(EURUSD.id, bid, ask, size, size, at * SECOND_NS, at * SECOND_NS)
        for at in range(1, count + 1)
    ])  # fmt: skip
    engine.add_strategy(OrderAtEachQuote(submits))
    began, spent = time.perf_counter(), time.process_time()
    engine.run()
    took = time.perf_counter() - began, time.process_time() - spent
    filled = sum(order.is_closed and order.filled_qty > 0 for order in engine.cache.orders())
    engine.dispose()
    return *took, filled


def main() -> None:
    """Measure after a warm-up."""
    count = int(sys.argv[1])
    run(count, submits=True)
    without = [run(count, submits=False) for _ in range(RUNS)]
    orders = [run(count, submits=True) for _ in range(RUNS)]
    wall, cpu = (
        statistics.median(one[what] for one in orders)
        - statistics.median(one[what] for one in without)
        for what in (0, 1)
    )
    print(
        json.dumps({
            "n": count, "filled": orders[0][2],
            "us_an_order": 1e6 * wall / count, "cpu_us_an_order": 1e6 * cpu / count,
        })
    )  # fmt: skip


if __name__ == "__main__":
    main()
