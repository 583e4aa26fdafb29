"""Restarts embedded servers that have ended, and states what that means meanwhile."""

import time
from collections.abc import Callable

from ops.embedded.errors import EmbeddedError
from ops.embedded.postgres import PostgresServer
from ops.embedded.servers import Servers
from ops.stack.supervisor import Fatal

RETRY_SECONDS = 5.0
UNGUARDED = (
    "Until it answers, nothing is traded, and stops and targets that Fillcast guards are not"
    " watched; those that brokers hold work."
)


class ServerWatch:
    """Looks at the servers once a second. A restart waits at most a minute, and is repeated."""

    def __init__(self, servers: Servers, report: Callable[[str], None]) -> None:
        """report: gets the messages for the operator."""
        self._servers, self._report = servers, report
        self._postgres_due = self._redis_due = 0.0
        self._postgres_ended: float | None = None

    def check(self) -> None:
        """Restart what has ended. Raises Fatal if PostgreSQL cannot have its port again."""
        postgres, redis = self._servers.postgres, self._servers.redis
        if postgres and not postgres.alive and time.monotonic() >= self._postgres_due:
            self._restart_postgres(postgres)
        if redis and not redis.alive and time.monotonic() >= self._redis_due:
            self._redis_due = time.monotonic() + RETRY_SECONDS
            self._report("Redis stopped; restarting it. No order is lost.")
            try:
                redis.start()
            except EmbeddedError as e:
                self._report(str(e))

    def _restart_postgres(self, postgres: PostgresServer) -> None:
        if self._postgres_ended is None:
            self._postgres_ended = time.monotonic()
            self._report(
                f"PostgreSQL stopped; restarting it. {UNGUARDED} Its log is {postgres.log}."
            )
        url = postgres.url
        try:
            postgres.start()
        except EmbeddedError as e:
            self._report(f"{e} It is tried again. {UNGUARDED}")
            self._postgres_due = time.monotonic() + RETRY_SECONDS
            return
        if postgres.url != url:  # all processes have the old one
            raise Fatal("PostgreSQL's port was taken meanwhile, so Fillcast stops; start it again.")
        seconds = time.monotonic() - self._postgres_ended
        self._postgres_ended = None
        self._report(
            f"PostgreSQL answers again after {seconds:.0f} s; stops and targets are watched again."
        )
