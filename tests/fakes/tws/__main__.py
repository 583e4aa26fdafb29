"""`python -m tests.fakes.tws --port 4002 --journal FILE`: the double as a process of its own."""

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
    told on stdout as soon as they listen."""
    venues = [JournaledVenue(journal, accounts), *(Venue(accounts) for _ in ports[1:])]
    gateways = [FakeTws(venue) for venue in venues]
    for tws, port in zip(gateways, ports, strict=True):
        await tws.open(port)
    print(*(tws.port for tws in gateways), flush=True)
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    await over.wait()
    for tws in gateways:
        await tws.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.fakes.tws", description=__doc__)
    parser.add_argument("--port", default="0", help="0: any that is free; several with commas")
    parser.add_argument("--journal", type=Path, required=True, help="is gone on with")
    parser.add_argument("--accounts", default="DU1234567", help="separated by commas")
    said = parser.parse_args()
    ports = [int(port) for port in said.port.split(",")]
    asyncio.run(serve(ports, said.journal, tuple(said.accounts.split(","))))


if __name__ == "__main__":
    main()
