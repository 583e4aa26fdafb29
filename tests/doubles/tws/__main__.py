"""`python -m tests.doubles.tws --port 4002 --journal FILE`: the double as a process of its own."""

import argparse
import asyncio
import signal
from pathlib import Path

from tests.doubles.tws.journal import JournaledVenue
from tests.doubles.tws.server import Tws


async def serve(port: int, journal: Path, accounts: tuple[str, ...]) -> None:
    """Serve until a signal; the port is told on stdout as soon as it listens."""
    tws = Tws(JournaledVenue(journal, accounts))
    await tws.open(port)
    print(tws.port, flush=True)
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    await over.wait()
    await tws.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.doubles.tws", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: any that is free")
    parser.add_argument("--journal", type=Path, required=True, help="is gone on with")
    parser.add_argument("--accounts", default="DU1234567", help="separated by commas")
    said = parser.parse_args()
    asyncio.run(serve(said.port, said.journal, tuple(said.accounts.split(","))))


if __name__ == "__main__":
    main()
