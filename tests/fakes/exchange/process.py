"""A fake exchange in a separate process. It survives when its clients are killed, and its journal
survives when it is killed itself.

`python -m tests.fakes.exchange.process --exchange okx --journal FILE` prints its address and then
serves. Besides the exchange's own addresses:

- `POST /control/faults` with the fields of a Fault as JSON: the next fault;
- `POST /control/venue` with fields of a Venue (numbers as text): changes them;
- `GET /control/arrived`: how many orders and cancels arrived, accepted or not.
"""

import argparse
import subprocess
import sys
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.fakes.exchange.binance import Binance
from tests.fakes.exchange.bybit import Bybit
from tests.fakes.exchange.kraken import Kraken
from tests.fakes.exchange.okx import Okx
from tests.fakes.exchange.server import Dialect, Server
from tests.fakes.exchange.venue import Fault, Market, Venue

DIALECTS: dict[str, type[Dialect]] = {
    "binance": Binance, "bybit": Bybit, "okx": Okx, "kraken": Kraken,
}  # fmt: skip
SYMBOLS = {"binance": "BTCUSDT", "bybit": "BTCUSDT", "okx": "BTC-USDT", "kraken": "XBTUSDT"}


def spot_venue(exchange: str, *, key: str = "key-1", journal: Path | None = None) -> Venue:
    """Return an exchange with BTC at 50,000 USDT, and an account with 100,000."""
    market = Market("BTC", "USDT", Decimal("0.001"), Decimal("0.1"), Decimal(5))
    symbol = SYMBOLS[exchange]
    return Venue({symbol: market}, {symbol: Decimal("50000.0")}, {"USDT": Decimal(100_000)},
                 key=key, journal=journal,
                 refuses_duplicates="always" if exchange == "bybit" else "open")  # fmt: skip


def serve(exchange: str, journal: Path) -> Server:
    """Open an exchange whose faults are set over HTTP."""
    venue = spot_venue(exchange, journal=journal)

    async def faults(request: web.Request) -> web.Response:
        venue.faults.append(Fault(**await request.json()))
        return web.Response()

    async def change(request: web.Request) -> web.Response:
        changes: dict[str, Any] = await request.json()
        for name, value in changes.items():
            type_ = type(getattr(venue, name))
            setattr(venue, name, type_(value))
        return web.Response()

    async def count_writes(_: web.Request) -> web.Response:
        return web.json_response(len(venue.writes))

    control = [web.post("/control/faults", faults), web.post("/double/venue", change),
               web.get("/control/arrived", count_writes)]  # fmt: skip
    return Server(DIALECTS[exchange], venue, control=control)


class VenueProcess:
    """The process of a fake exchange. base: its address; stop: kill it."""

    def __init__(self, exchange: str, journal: Path) -> None:
        self.journal = journal
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, "--exchange", exchange, "--journal", str(journal)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.base = self._process.stdout.readline().strip()

    def accepted(self) -> list[str]:
        """Return the accepted client order ids, in their order."""
        return self.journal.read_text().split() if self.journal.exists() else []

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--exchange", choices=DIALECTS, required=True)
    parser.add_argument("--journal", type=Path, required=True)
    arguments = parser.parse_args()
    print(serve(arguments.exchange, arguments.journal).base, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
