"""A process with both: `python -m benchmarks.mixed_sessions ROOT FOLDERS SESSIONS PORT…`.

It has in memory what a session worker has (Django, the tasks, the sessions' background jobs). It
prints one line: its memory before, with SESSIONS IBKR sessions, and with FOLDERS MetaTrader folders
in addition.
"""

import asyncio
import json
import os
import sys
import time
from pathlib import Path

import django

from benchmarks.ibkr_sessions import all_open, megabytes, spec_of
from benchmarks.mt4 import spec_of as folder_of
from brokers.dwx.adapter import create
from brokers.ibkr.adapter import IbkrAdapter

CONCURRENT = 20
WATCHED_SECONDS = 2.0  # first polls


async def main(root: Path, folders: int, sessions: int, ports: list[int]) -> None:
    """Open everything and print the figures."""
    gateway, files = IbkrAdapter(), create(str(root))
    before, began = megabytes(), time.monotonic()
    await all_open(gateway, [spec_of(n, ports[n % len(ports)]) for n in range(sessions)])
    with_sessions = megabytes()
    semaphore = asyncio.Semaphore(CONCURRENT)

    async def connect(number: int) -> None:
        async with semaphore:
            await files.connect(folder_of(f"t{number}"))

    await asyncio.gather(*(connect(number) for number in range(folders)))
    await asyncio.sleep(WATCHED_SECONDS)
    figures = {
        "before_mb": before, "with_sessions_mb": with_sessions, "held_mb": megabytes(),
        "connect_seconds": time.monotonic() - began, "sessions": sessions, "folders": folders,
    }  # fmt: skip
    print(json.dumps(figures), flush=True)
    await gateway.disconnect()
    await files.disconnect()


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    import execution.runtime.broker_sessions
    import execution.tasks  # noqa: F401  # as a session worker has them in memory

    root, folders, sessions, *ports = sys.argv[1:]
    asyncio.run(main(Path(root), int(folders), int(sessions), [int(port) for port in ports]))
