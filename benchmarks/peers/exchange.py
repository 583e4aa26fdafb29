"""The tests' fake Binance for a bot that also reads candles. One market, constant prices."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs

from tests.fakes.exchange import binance
from tests.fakes.exchange.server import Server
from tests.fakes.exchange.venue import Market, Venue

SYMBOL, PAIR, PRICE = "BTCUSDT", "BTC/USDT", "50000.00"
CANDLE_MS, CANDLES = 5 * 60_000, 1_000


class Binance(binance.Binance):
    """Binance's spot market, with `klines` and `depth`."""

    def answer(
        self, method: str, path: str, query: str, body: str, headers: Mapping[str, str]
    ) -> tuple[int, Any]:
        """Return the HTTP status and the JSON."""
        params = {name: values[0] for name, values in parse_qs(query).items()}
        if path.endswith("/klines"):
            return 200, _candles(params)
        if path.endswith("/depth"):
            return 200, {"lastUpdateId": 1, "bids": [[PRICE, "1"]], "asks": [[PRICE, "1"]]}
        return super().answer(method, path, query, body, headers)


def _candles(params: Mapping[str, str]) -> list[list[int | str]]:
    """Return candles of a constant price, the last of which is still open."""
    count = min(int(params.get("limit", CANDLES)), CANDLES)
    newest = int(time.time() * 1000) // CANDLE_MS * CANDLE_MS
    first = int(params.get("startTime", newest - (count - 1) * CANDLE_MS))
    opens = range(-(-first // CANDLE_MS) * CANDLE_MS, newest + 1, CANDLE_MS)
    rest: list[int | str] = ["1", 1, "1", "1", "0"]
    return [
        [at, PRICE, PRICE, PRICE, PRICE, "1", at + CANDLE_MS - 1, *rest] for at in opens[:count]
    ]


@contextmanager
def exchange() -> Iterator[str]:
    """Serve the exchange meanwhile; yields its address."""
    market = Market("BTC", "USDT", Decimal("0.00001"), Decimal("0.01"), Decimal(5))
    venue = Venue({SYMBOL: market}, {SYMBOL: Decimal(PRICE)}, {"USDT": Decimal(10**6)})
    server = Server(Binance, venue)
    try:
        yield server.base
    finally:
        server.stop()
