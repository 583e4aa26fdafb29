"""Both servers as one, each only if its URL is not set."""

from collections.abc import Mapping
from pathlib import Path
from typing import Self

from ops.embedded.install_lock import holder_info
from ops.embedded.postgres import PostgresServer
from ops.embedded.redis import RedisServer


class Servers:
    """The servers that `environ` does not name, below `folder`."""

    def __init__(self, folder: Path, environ: Mapping[str, str], *, fast: bool = False) -> None:
        """Say where; nothing happens before `start`. fast: tests only, see PostgresServer."""
        named = {name: environ.get(name, "").strip() for name in ("DATABASE_URL", "REDIS_URL")}
        self._named = {name: url for name, url in named.items() if url}
        wanted_postgres, wanted_redis = (name not in self._named for name in named)
        self.postgres = PostgresServer(folder / "postgres", fast=fast) if wanted_postgres else None
        self.redis = RedisServer(folder / "redis") if wanted_redis else None

    @property
    def urls(self) -> dict[str, str]:
        """DATABASE_URL and REDIS_URL, of our servers or as they were named."""
        urls = dict(self._named)
        if self.postgres:
            urls["DATABASE_URL"] = self.postgres.url
        if self.redis:
            urls["REDIS_URL"] = self.redis.url
        return urls

    def start(self) -> Self:
        """Start what is wanted; if one cannot start, none is left running."""
        try:
            for server in (self.postgres, self.redis):
                if server:
                    server.start()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop what was started."""
        for server in (self.redis, self.postgres):
            if server:
                server.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def running_urls(folder: Path) -> dict[str, str]:
    """Return the URLs of servers that another process runs for `folder`; nothing if none does."""
    told = holder_info(folder)
    return {name: str(told[name]) for name in ("DATABASE_URL", "REDIS_URL") if told.get(name)}
