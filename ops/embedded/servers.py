"""PostgreSQL and Redis together, each only if its URL is not set."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from ops.embedded.install_lock import holder_info
from ops.embedded.postgres import PostgresServer
from ops.embedded.redis import RedisServer


class Servers:
    """The servers without a URL in `environ`, stored below `folder`."""

    def __init__(self, folder: Path, environ: Mapping[str, str], *, fast: bool = False) -> None:
        """Set where; nothing happens before `start`. fast: tests only, see PostgresServer."""
        configured = {name: environ.get(name, "").strip() for name in ("DATABASE_URL", "REDIS_URL")}
        self._configured = {name: url for name, url in configured.items() if url}
        needs_postgres, needs_redis = (name not in self._configured for name in configured)
        self.postgres = PostgresServer(folder / "postgres", fast=fast) if needs_postgres else None
        self.redis = RedisServer(folder / "redis") if needs_redis else None

    @property
    def urls(self) -> dict[str, str]:
        """DATABASE_URL and REDIS_URL, of the embedded servers or from the settings."""
        urls = dict(self._configured)
        if self.postgres:
            urls["DATABASE_URL"] = self.postgres.url
        if self.redis:
            urls["REDIS_URL"] = self.redis.url
        return urls

    def start(self) -> Self:
        """Start the servers; if one cannot start, stop the other. Raises EmbeddedError."""
        with ExitStack() as on_failure:  # Ctrl-C must not leave a server running either
            on_failure.callback(self.stop)
            for server in (self.postgres, self.redis):
                if server:
                    server.start()
            on_failure.pop_all()
        return self

    def stop(self) -> None:
        for server in (self.redis, self.postgres):
            if server:
                server.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def running_urls(folder: Path) -> dict[str, str]:
    """Return the URLs of servers that another process runs for `folder`; nothing if none does."""
    info = holder_info(folder)
    return {name: str(info[name]) for name in ("DATABASE_URL", "REDIS_URL") if info.get(name)}
