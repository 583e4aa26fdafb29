"""A process that holds both: `python -m benchmarks.mixed_sessions ROOT FOLDERS SESSIONS PORT…`.

It has in memory what a session worker has (Django, the tasks, the sessions' rounds), and tells one
line: its memory before, with SESSIONS IBKR sessions, and with FOLDERS MetaTrader folders besides.
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

AT_ONCE = 20
WATCHED_SECONDS = 2.0  # first looks


async def main(root: Path, folders: int, sessions: int, ports: list[int]) -> None:
    gateway, files = IbkrAdapter(), create(str(root))
    before, began = megabytes(), time.monotonic()
    await all_open(gateway, [spec_of(n, ports[n % len(ports)]) for n in range(sessions)])
    with_sessions = megabytes()
    gate = asyncio.Semaphore(AT_ONCE)

    async def connect(number: int) -> None:
        async with gate:
            await files.connect(folder_of(f"t{number}"))

    await asyncio.gather(*(connect(number) for number in range(folders)))
    await asyncio.sleep(WATCHED_SECONDS)
    said = {
        "before_mb": before, "with_sessions_mb": with_sessions, "held_mb": megabytes(),
        "connect_seconds": time.monotonic() - began, "sessions": sessions, "folders": folders,
    }  # fmt: skip
    print(json.dumps(said), flush=True)
    await gateway.disconnect()
    await files.disconnect()


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    import execution.runtime.broker_sessions
    import execution.tasks  # noqa: F401 (what a session worker has in memory)

    root, folders, sessions, *ports = sys.argv[1:]
    asyncio.run(main(Path(root), int(folders), int(sessions), [int(port) for port in ports]))
