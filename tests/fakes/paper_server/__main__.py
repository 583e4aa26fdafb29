"""The paper broker in a separate process, for tests.

It serves the books of the database that DATABASE_URL names, which has all tables already. Once it
listens it announces that it is ready (`common/process/readiness.py`) and writes its address to
standard error. SIGTERM or Ctrl-C ends it.
"""

import argparse
import asyncio
import logging
import os
import signal
import sys

import django


async def serve(port: int, *, faults: bool) -> None:
    """Serve until a signal."""
    from common.process.readiness import announce_ready
    from tests.fakes.paper_server.server import Server

    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    server = Server(faults=faults)
    await server.open("127.0.0.1", port)
    print(f"paper broker: listens on 127.0.0.1:{server.port}", file=sys.stderr, flush=True)
    announce_ready()
    await ended.wait()
    await server.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.fakes.paper_server", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: any that is free")
    parser.add_argument("--faults", action="store_true", help="accept calls for faults (faults.py)")
    options = parser.parse_args()
    logging.basicConfig(stream=sys.stderr)
    asyncio.run(serve(options.port, faults=options.faults))


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    main()
