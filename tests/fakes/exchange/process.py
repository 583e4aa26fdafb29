"""A venue as a process of its own: it lives on when its clients are killed, and when it is killed
itself its journal is still there.

`python -m tests.fakes.exchange.process --exchange okx --journal FILE` prints its address and then
serves. Besides the exchange's own addresses:

- `POST /double/faults` with the fields of a Fault as JSON: what goes wrong next;
- `POST /double/venue` with fields of a Venue (numbers as text): how it is from now on;
- `GET /double/arrived`: how many orders and cancels came, whatever became of them.
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
    """BTC at 50,000 USDT, and an account of 100,000."""
    market = Market("BTC", "USDT", Decimal("0.001"), Decimal("0.1"), Decimal(5))
    name = SYMBOLS[exchange]
    return Venue({name: market}, {name: Decimal("50000.0")}, {"USDT": Decimal(100_000)}, key=key,
                 unique="always" if exchange == "bybit" else "open", journal=journal)  # fmt: skip


def serve(exchange: str, journal: Path) -> Server:
    """Open a venue that is told by HTTP what goes wrong."""
    venue = spot_venue(exchange, journal=journal)

    async def faults(request: web.Request) -> web.Response:
        venue.faults.append(Fault(**await request.json()))
        return web.Response()

    async def change(request: web.Request) -> web.Response:
        told: dict[str, Any] = await request.json()
        for name, value in told.items():
            kind = type(getattr(venue, name))
            setattr(venue, name, kind(value))
        return web.Response()

    async def arrived(_: web.Request) -> web.Response:
        return web.json_response(len(venue.arrived))

    control = [web.post("/double/faults", faults), web.post("/double/venue", change),
               web.get("/double/arrived", arrived)]  # fmt: skip
    return Server(DIALECTS[exchange], venue, control=control)


class VenueProcess:
    """A venue's process. base: its address; stop: kill it."""

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
        """The client order ids that were accepted, in their order."""
        return self.journal.read_text().split() if self.journal.exists() else []

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate()


def main() -> None:
    reader = argparse.ArgumentParser()
    reader.add_argument("--exchange", choices=DIALECTS, required=True)
    reader.add_argument("--journal", type=Path, required=True)
    wanted = reader.parse_args()
    print(serve(wanted.exchange, wanted.journal).base, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
