"""`python -m config.web_server`: the web process, uvicorn with the options that Fillcast needs.

It listens on FILLCAST_LISTEN, with the database role of pages. uvicorn's own
command would look ten times a second whether it is to stop, all night.
"""

import asyncio
import contextlib
import os
import sys
import time
from types import FrameType

import uvicorn
from uvicorn.config import STARTUP_FAILURE

from common.process.free_memory import RELEASED_EVERY_SECONDS, release_free_memory
from config.env import Settings
from config.env_variables import InvalidEnvironmentError
from config.installation import read_env_file
from config.web_protocol import BoundedProtocol

DATE_SECONDS = 1.0  # how often the answers' Date header changes


class WebServer(uvicorn.Server):
    """Wakes once a second for the header, and at once when a signal stops it."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()

    async def main_loop(self) -> None:
        """Serve until a signal comes."""
        self._loop = asyncio.get_running_loop()
        release_at = time.monotonic() + RELEASED_EVERY_SECONDS
        while not await self.on_tick(0):  # 0: it writes the header each time
            if time.monotonic() >= release_at:
                await asyncio.to_thread(release_free_memory)
                release_at = time.monotonic() + RELEASED_EVERY_SECONDS
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), DATE_SECONDS)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Request a stop, from a signal handler; the second Ctrl-C does not wait for answers."""
        super().handle_exit(sig, frame)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)


def main() -> None:
    """Serve until SIGTERM or Ctrl-C; exit with an error if it cannot start."""
    try:
        read_env_file()
        os.environ.setdefault("FILLCAST_DB_ROLE", "web")
        settings = Settings.read(os.environ)
    except InvalidEnvironmentError as error:
        sys.exit(str(error))
    config = uvicorn.Config(
        "config.asgi:application",
        host=settings.listen.address,
        port=settings.listen.port,
        http=BoundedProtocol,
        ws="none",
        timeout_graceful_shutdown=2,
        lifespan="off",
        access_log=False,
        proxy_headers=False,  # config/middleware/proxies.py
    )
    config.load()  # before it listens: a client waits for no import
    server = WebServer(config)
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(STARTUP_FAILURE)


if __name__ == "__main__":
    main()
