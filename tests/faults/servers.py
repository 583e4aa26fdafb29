"""Two PostgreSQL clusters (ours and the broker's books) and a Redis, which tests may kill."""

import contextlib
import os
import signal
import subprocess
import sys
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import namedtuple_row

from common.operational.source import VARIABLE, with_settings
from common.sealing import new_private_key, public_key_of
from ops.embedded.postgres import NAME, PostgresServer
from ops.embedded.redis import RedisServer
from tests.prepared_database import TEST_NAME, copy_database, copy_to

ROOT = Path(__file__).resolve().parents[2]
BOOKS = (
    "paper_account", "paper_instrument", "paper_quote", "paper_order", "paper_fill",
    "paper_position", "paper_event",
)  # fmt: skip
# A killed server's data stays in the kernel's cache; only a power loss would lose it. Commits stay
# synchronous.
QUICK = ("fsync = off", "full_page_writes = off", "wal_level = minimal", "max_wal_senders = 0")
OF_TESTS = with_settings(
    "",
    {
        "networks.outbound_networks": ["127.0.0.1/32"],
        "maintenance.broker_windows": False,  # independent of the weekday
    },
)


class Database:
    """One database of a cluster; a broken connection is opened again."""

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self._connection: psycopg.Connection[Any] | None = None

    @property
    def url(self) -> str:
        return self.server.url

    def rows(self, statement: str, *parameters: Any) -> list[Any]:
        """Run a statement in its own transaction.

        Raises psycopg.OperationalError while the server is unreachable.
        """
        if self._connection is None or self._connection.closed or self._connection.broken:
            self._connection = psycopg.connect(
                self.url, autocommit=True, row_factory=namedtuple_row, connect_timeout=2
            )
        try:
            cursor = self._connection.execute(statement.encode(), parameters or None)
            return cursor.fetchall() if cursor.description else []
        except psycopg.OperationalError:
            self.close()
            raise

    def value(self, statement: str, *parameters: Any) -> Any:
        """Return the first column of the first row."""
        return self.rows(statement, *parameters)[0][0]

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Servers:
    """Started once; `fresh` restores both databases and Redis to a stored state.

    Each account costs in every case: it is seeded, copied, read and compared. So a state has as
    many as its cases publish to (`state_with`).
    """

    def __init__(self, folder: Path, settings: Sequence[str] = QUICK) -> None:
        """settings: of both clusters, beside PostgreSQL's defaults."""
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)  # PostgreSQL runs as another user when we are root
        self.folder = folder
        (folder / "sends").mkdir(exist_ok=True)  # removed with it, however processes end
        self._settings = settings
        self._key = new_private_key()
        self.postgres = PostgresServer(folder / "ours", max_connections=300)
        self.books_server = PostgresServer(folder / "books", max_connections=100)
        self.redis = RedisServer(folder / "redis")
        self.ours, self.books = Database(self.postgres), Database(self.books_server)

    # ---- making ---------------------------------------------------------------------------
    def start(self) -> None:
        """Start the servers with all tables and no rows."""
        for server in (self.postgres, self.books_server):
            data = copy_to(server.folder)
            with (data / "postgresql.auto.conf").open("a") as settings:
                settings.writelines(f"{setting}\n" for setting in self._settings)
            server.start()
        self.redis.start()

    def state_with(self, connections: int) -> str:
        """Return the stored state with so many eligible accounts; the first call makes it."""
        state = f"seed_{connections}"
        if not self.kept(state):
            self._replace_ours(TEST_NAME)  # its tables have no rows
            self.books.rows(f"TRUNCATE {', '.join(BOOKS)}")
            self._seed(connections)
            self.keep(state)
        return state

    def state_of(self, code: Path, connections: int) -> str:
        """Return the stored state with the tables and accounts that other code makes."""
        state = f"of_{code.name}_{connections}"
        if not self.kept(state):
            self._replace_ours("template1")
            done = manage(self.environ(), ["migrate", "--no-input", "-v", "0"], code=code)
            if done.returncode:
                raise RuntimeError(done.stderr)
            self.books.rows(f"TRUNCATE {', '.join(BOOKS)}")
            self._seed(connections, code)
            self.keep(state)
        return state

    def _seed(self, connections: int, code: Path = ROOT) -> None:
        line = [sys.executable, "-m", "tests.faults.seeding", str(connections), self.books.url]
        with (self.folder / "seeding.log").open("ab") as log:
            if subprocess.run(
                line, env=self.environ(), cwd=code, stdout=log, stderr=log
            ).returncode:
                raise RuntimeError(f"the seeding failed; see {self.folder}")

    def environ(self) -> dict[str, str]:
        """Return the environment of every process, without the developer's own settings."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith("FILLCAST_")}
        return {
            **clean,
            "DJANGO_SETTINGS_MODULE": "config.settings",  # `make chaos` runs without pytest
            "DATABASE_URL": self.ours.url,
            "REDIS_URL": self.redis.url,
            "FILLCAST_ENV_FILE": os.devnull,
            "FILLCAST_VAR": str(self.folder),
            "FILLCAST_CREDENTIALS_PUBLIC_KEY": b64encode(public_key_of(self._key)).decode(),
            "FILLCAST_CREDENTIALS_PRIVATE_KEYS": b64encode(self._key).decode(),
            VARIABLE: OF_TESTS,
            "PYTHONUNBUFFERED": "1",
        }

    def keep(self, name: str) -> None:
        """Store the state of both databases for `fresh`; none of our processes may run."""
        self.ours.close()
        with self._admin(self.postgres) as admin:
            copy_database(admin, NAME, name)
        self.books.rows(f"CREATE SCHEMA {name}")
        for table in BOOKS:
            self.books.rows(f"CREATE TABLE {name}.{table} AS TABLE public.{table}")

    def kept(self, name: str) -> bool:
        """Return whether a state is stored."""
        with self._admin(self.postgres) as admin:
            result = admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
            return result.fetchone() is not None

    def fresh(self, state: str) -> None:
        """Restore a stored state: our processes must have ended, the broker may run."""
        self.postgres.start()
        self.redis.start()
        self._replace_ours(state)
        inserts = [f"INSERT INTO public.{table} SELECT * FROM {state}.{table}" for table in BOOKS]
        self.books.rows("; ".join([f"TRUNCATE {', '.join(BOOKS)}", *inserts]))
        self.flush_redis()

    def _replace_ours(self, template: str) -> None:
        self.ours.close()
        with self._admin(self.postgres) as admin:
            admin.execute(f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)".encode())
            copy_database(admin, template, NAME)
            # Otherwise a crash resets the sequences to the values at the copy: a copied page is
            # newer than the last checkpoint and states that the next 32 values were logged.
            admin.execute(b"CHECKPOINT")

    def stop(self) -> None:
        self.ours.close()
        self.books.close()
        for server in (self.postgres, self.books_server, self.redis):
            server.stop()

    # ---- breaking -------------------------------------------------------------------------
    def flush_redis(self) -> None:
        self.redis_client().flushall()

    def redis_client(self) -> Any:
        import redis

        return redis.Redis.from_url(self.redis.url)

    def kill_redis(self) -> None:
        """Kill it; all its data is lost."""
        assert self.redis.process is not None
        self.redis.process.kill()
        self.redis.process.wait()

    def signal_redis(self, number: signal.Signals) -> None:
        assert self.redis.process is not None
        self.redis.process.send_signal(number)

    def end_postgres(self, number: signal.Signals) -> None:
        """End it. SIGINT: a fast shutdown; SIGQUIT: a crash from which the next start recovers."""
        assert self.postgres.process is not None
        self.postgres.process.send_signal(number)
        self.postgres.process.wait(30)
        self.ours.close()

    def kill_backend(self) -> None:
        """Kill the server process of another session; PostgreSQL restarts as after a crash."""
        pid = self.ours.value(
            "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'"
            " AND pid <> pg_backend_pid() ORDER BY query_start DESC NULLS LAST LIMIT 1"
        )
        os.kill(pid, signal.SIGKILL)
        self.ours.close()

    @contextlib.contextmanager
    def _admin(self, server: PostgresServer) -> Any:
        url = server.url.removesuffix(NAME) + "postgres"
        with psycopg.connect(url, autocommit=True) as admin:
            yield admin


def manage(
    environ: Mapping[str, str], arguments: Sequence[str], *, text: str = "", code: Path = ROOT
) -> "subprocess.CompletedProcess[str]":
    """Run a management command to its end."""
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        input=text, text=True, capture_output=True, env=environ, cwd=code, check=False,
    )  # fmt: skip
