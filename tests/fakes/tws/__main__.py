"""`python -m tests.fakes.tws --port 4002 --journal FILE`: the fake TWS in a separate process."""

import argparse
import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path

from tests.fakes.tws.journal import JournaledVenue
from tests.fakes.tws.server import FakeTws
from tests.fakes.tws.venue import Venue


async def serve(ports: Sequence[int], journal: Path, accounts: tuple[str, ...]) -> None:
    """Serve until a signal: a gateway at each port, the first one with the journal. The ports are
    printed to stdout as soon as they listen."""
    venues = [JournaledVenue(journal, accounts), *(Venue(accounts) for _ in ports[1:])]
    gateways = [FakeTws(venue) for venue in venues]
    for tws, port in zip(gateways, ports, strict=True):
        await tws.open(port)
    print(*(tws.port for tws in gateways), flush=True)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    await ended.wait()
    for tws in gateways:
        await tws.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.fakes.tws", description=__doc__)
    parser.add_argument("--port", default="0", help="0: any that is free; several with commas")
    parser.add_argument("--journal", type=Path, required=True, help="is continued if it exists")
    parser.add_argument("--accounts", default="DU1234567", help="separated by commas")
    arguments = parser.parse_args()
    ports = [int(port) for port in arguments.port.split(",")]
    asyncio.run(serve(ports, arguments.journal, tuple(arguments.accounts.split(","))))


if __name__ == "__main__":
    main()
