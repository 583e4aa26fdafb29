"""The tests' fake exchange in a process of its own: `python -m benchmarks.crypto_fake`.

It prints its address and credentials as JSON. For each line of its input it prints start and
duration of each request that it handled, in seconds of the machine's monotonic clock.
"""

import json
import sys
import time
from decimal import Decimal

from aiohttp import web

from tests.fakes.exchange.binance import Binance
from tests.fakes.exchange.server import Server
from tests.fakes.exchange.venue import Market, Venue

SYMBOL = "BTCUSDT"


class Timed(Server):
    """A server that records how long it took for each request."""

    spent: list[tuple[float, float]]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        began = time.perf_counter()
        try:
            return await super()._handle(request)
        finally:
            self.spent.append((began, time.perf_counter() - began))


def main() -> None:
    """Serve until the input ends."""
    market = Market("BTC", "USDT", Decimal("0.001"), Decimal("0.1"), Decimal(5), Decimal(1))
    balances = {"USDT": Decimal(10**9)}
    venue = Venue({SYMBOL: market}, {SYMBOL: Decimal("50000.0")}, balances, derivatives=True)
    Timed.spent = []
    server = Timed(Binance, venue)
    credentials = {"base": server.base, "key": venue.key, "secret": venue.secret}
    print(json.dumps(credentials), flush=True)
    for _ in sys.stdin:
        output, Timed.spent[:] = json.dumps(Timed.spent), []
        print(output, flush=True)
    server.stop()


if __name__ == "__main__":
    main()
