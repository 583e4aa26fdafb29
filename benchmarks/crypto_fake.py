"""An exchange of the tests' in a process of its own: `python -m benchmarks.crypto_fake`.

It tells its address; each line on its input is answered with when it handled which request: begin
and seconds, by the machine's monotonic clock.
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
    """A server that notes how long it took for each request."""

    spent: list[tuple[float, float]]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        began = time.perf_counter()
        try:
            return await super()._handle(request)
        finally:
            self.spent.append((began, time.perf_counter() - began))


def main() -> None:
    market = Market("BTC", "USDT", Decimal("0.001"), Decimal("0.1"), Decimal(5), Decimal(1))
    money = {"USDT": Decimal(10**9)}
    venue = Venue({SYMBOL: market}, {SYMBOL: Decimal("50000.0")}, money, derivatives=True)
    Timed.spent = []
    server = Timed(Binance, venue)
    said = {"base": server.base, "key": venue.key, "secret": venue.secret}
    print(json.dumps(said), flush=True)
    for _ in sys.stdin:
        told, Timed.spent[:] = json.dumps(Timed.spent), []
        print(told, flush=True)
    server.stop()


if __name__ == "__main__":
    main()
