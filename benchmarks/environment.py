"""The environment of benchmarks: separate servers and processes, as `manage.py stack` has them."""

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, LiteralString, Self
from urllib.parse import urlsplit

import psycopg
import redis
from psycopg.sql import SQL, Identifier

from benchmarks import process_usage
from common.operational.source import VARIABLE, with_settings
from common.process.message_queues import queue_keys
from config.env import Settings
from config.installation import var_folder
from ops.embedded.ports import free_port
from ops.embedded.postgres import PostgresServer
from ops.embedded.processes import wait_until
from ops.stack.process import ProcessSpec
from ops.stack.stack import Stack, all_processes, worker_process

EXECUTION = "execution"  # the queue, and the prefix of its workers' names
TASKS = ("-I", "benchmarks.baseline")
RESETS = 10
USUAL_ROUNDS = 3
WAL_FILES = 16  # of 16 MB
# The fakes trade on weekends.
SETTINGS = {"maintenance.broker_windows": False, "messages.log_level": "WARNING"}
# Tables that trading writes. All others (users, accounts, subscriptions) are kept between rounds.
TRADING_TABLES = (
    "execution_order", "execution_fill", "execution_executionlog", "execution_driftitem",
    "positions_executionposition", "events_event", "analytics_analyticsdaily",
    "paper_order", "paper_fill", "paper_position", "paper_event",
)  # fmt: skip
OPEN = """
SELECT EXISTS (SELECT FROM execution_order WHERE status = 'PENDING' AND id > 0
    AND due_at < 'infinity')
  OR EXISTS (SELECT FROM execution_order WHERE status IN
    ('SUBMITTING', 'UNKNOWN', 'SUBMITTED', 'PARTIALLY_FILLED', 'CANCEL_REQUESTED'))
"""


class BenchError(Exception):
    """A benchmark cannot be measured; the message states why."""


def report_progress(text: str) -> None:
    """Print progress for people to standard error; standard output is for programs."""
    print(text, file=sys.stderr, flush=True)


BENCH_DATABASE = "_bench"  # a database whose name ends so may be dropped


def servers(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of servers on which to measure: those of the environment, if any.

    The database is dropped and created again, so its name must end with `_bench`; Redis must be
    empty. Raises BenchError.
    """
    named = {name: environ.get(name, "") for name in ("DATABASE_URL", "REDIS_URL")}
    database = urlsplit(named["DATABASE_URL"]).path.lstrip("/")
    if named["DATABASE_URL"] and not database.endswith(BENCH_DATABASE):
        raise BenchError(
            f"DATABASE_URL names the database {database!r}. Benchmarks drop their database, so its "
            f"name must end with {BENCH_DATABASE}. Unset DATABASE_URL to measure on an own server."
        )
    if named["REDIS_URL"] and redis.Redis.from_url(named["REDIS_URL"]).dbsize():
        raise BenchError(
            "The Redis database of REDIS_URL is not empty. Name one that is, for example with /9 "
            "at the end, or unset REDIS_URL to measure on an own server."
        )
    return {name: url for name, url in named.items() if url}


def own_servers(folder: Path) -> dict[str, str]:
    """Return the settings of a stack with servers of its own in a folder, and a free port."""
    unset = ("DATABASE_URL", "REDIS_URL", "FILLCAST_DATABASES", "FILLCAST_REHEARSAL")
    return {
        **dict.fromkeys(unset, ""), "FILLCAST_ENV": "development", "FILLCAST_ENV_FILE": os.devnull,
        "FILLCAST_VAR": str(folder), "FILLCAST_LISTEN": str(free_port()),
    }  # fmt: skip


class BenchEnvironment:
    """A new database with fsync, a Redis, and as many processes as a benchmark needs.

    Use `with BenchEnvironment() as environment:` in the main thread; leaving it ends all processes.
    """

    def __init__(self, rounds: int = USUAL_ROUNDS) -> None:
        """rounds: how often a benchmark measures each of its two sides; the median counts."""
        self.rounds, self.workers = rounds, 0  # workers: running ones, for entries
        self._has_history = False
        self._specs: Sequence[ProcessSpec] = ()
        self.stack = Stack(
            what="manage.py bench", children=lambda _: self._specs, report=report_progress,
            extra={**own_servers(var_folder(os.environ) / "bench" / "stack"),
                   **servers(os.environ), VARIABLE: with_settings("", SETTINGS)},
        )  # fmt: skip

    def __enter__(self) -> Self:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        logging.disable(logging.INFO)  # as in the workers; logging would slow the baseline
        with ExitStack() as on_failure:
            self.stack.__enter__()
            on_failure.callback(self.stack.stop)
            self._start()
            on_failure.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.stop()

    def _start(self) -> None:
        report_progress("Starting servers …")
        if url := self.stack.environ["DATABASE_URL"]:
            create_database(url)
        else:
            with PostgresServer(self.stack.folder / "postgres") as server:
                drop_used_database(server.url)
        self.stack.prepare()
        self.stack.use_here()
        self.owner = psycopg.connect(self.stack.environ["DATABASE_URL"], autocommit=True)
        self.owner.execute("SET enable_seqscan = off")  # new tables have no statistics
        # Its own statements are rare and short; compiling them would be counted as the product's.
        self.owner.execute("SET jit = off")
        self._age_log()
        self.redis = redis.Redis.from_url(self.stack.environ["REDIS_URL"])

    def _age_log(self) -> None:
        """Create WAL files for PostgreSQL to reuse; creating them would be measured otherwise."""
        for _ in range(WAL_FILES):
            self.sql("SELECT pg_logical_emit_message(true, 'bench', '')")
            self.sql("SELECT pg_switch_wal()")
        self.sql("CHECKPOINT")

    # ---- processes ------------------------------------------------------------------------
    def run(self, *, workers: int) -> None:
        """Run the whole stack with this number of workers for entries; 0 stops every process."""
        if workers == self.workers:
            return
        if self.stack.supervisor is not None:
            self.stack.supervisor.stop()
            self.stack.supervisor = None
        self.workers = workers
        if workers == 0:
            return
        report_progress(f"Starting the stack with {workers} workers for entries …")
        self._specs = _processes(Settings.read(self.stack.environ), workers)
        supervisor = self.stack.start()
        if not supervisor.wait_ready(120):
            raise BenchError(f"not ready: {', '.join(supervisor.unready())} {supervisor.failure}")

    def pids(self) -> dict[str, list[int]]:
        """Return the process ids of the stack by name, with the servers.

        Without this process and without its session as the owner, which asks whether all is done.
        """
        own_session = self.owner.info.backend_pid
        postmaster = process_usage.parent_of(own_session)
        sessions = [pid for pid in process_usage.children_of(postmaster) if pid != own_session]
        running = self.stack.supervisor.children if self.stack.supervisor else {}
        info: dict[str, Any] = self.redis.info("server")
        return {
            "postgres": [postmaster, *sessions],
            "redis": [int(info["process_id"])],
            **{name: [child.pid] for name, child in running.items() if child.pid},
        }

    @contextlib.contextmanager
    def more_environ(self, added: Mapping[str, str]) -> Iterator[None]:
        """Within: processes that start have these settings, too."""
        before = {**self.stack.environ}
        self.stack.environ.update(added)
        try:
            yield
        finally:
            self.stack.environ.clear()
            self.stack.environ.update(before)

    @contextlib.contextmanager
    def halted(self) -> Iterator[None]:
        """Suspend the workers for entries meanwhile, so that a queue can be filled first."""
        pids = [pid for name, group in self.pids().items() if name.startswith(EXECUTION)
                for pid in group]  # fmt: skip
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    # ---- data -----------------------------------------------------------------------------
    def sql(self, text: LiteralString, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run a statement as the owner of the tables, on a separate connection.

        parameters: positional values, or one dict of named ones.
        """
        is_named = parameters and isinstance(parameters[0], dict)
        cursor = self.owner.execute(text, parameters[0] if is_named else parameters or None)
        return cursor.fetchall() if cursor.description else []

    @contextlib.contextmanager
    def without_checks(self) -> Iterator[None]:
        """Within: rows that `sql` writes are not checked one by one, as their keys all exist."""
        self.sql("SET session_replication_role = replica")  # no triggers
        try:
            yield
        finally:
            self.sql("SET session_replication_role = DEFAULT")

    def reset(self) -> None:
        """Delete all rows that trading wrote, and all messages in the queues; keep a history."""
        for attempts_left in reversed(range(RESETS)):
            try:
                self._empty_tables()
                break
            except psycopg.errors.DeadlockDetected:  # a polling worker locked in another order
                if not attempts_left:
                    raise
        if self._has_history:
            self.sql(f"ANALYZE {', '.join(TRADING_TABLES)}")
        queues = [key for queue in (EXECUTION, "exits", "maintenance") for key in queue_keys(queue)]
        self.redis.delete(*queues, "unacked", "unacked_index")

    def _empty_tables(self) -> None:
        with self.owner.transaction():
            self.sql(f"TRUNCATE {', '.join(TRADING_TABLES)} CASCADE")
            if self._has_history:
                self.sql("SET LOCAL session_replication_role = replica")  # no triggers
                for table in TRADING_TABLES:
                    self.sql(f"INSERT INTO {table} SELECT * FROM bench_{table}")

    @contextlib.contextmanager
    def history(self) -> Iterator[None]:
        """Within: `reset` restores the rows that trading has written until now.

        In empty tables the planner has no figures, and chooses plans that an installation has in
        its first seconds only: a bundle may take ten times as long.
        """
        for table in TRADING_TABLES:
            self.sql(f"CREATE UNLOGGED TABLE bench_{table} AS SELECT * FROM {table}")
        self._has_history = True
        try:
            yield
        finally:
            self._has_history = False
            for table in TRADING_TABLES:
                self.sql(f"DROP TABLE bench_{table}")
            self.reset()

    def waiting(self, queue: str) -> int:
        """Return the number of messages in a queue or prefetched by a worker."""
        waiting = sum(int(self.redis.llen(key)) for key in queue_keys(queue))
        return waiting + int(self.redis.hlen("unacked"))

    def nothing_open(self) -> bool:
        """Return whether every order has ended, by two small partial indexes: it is asked often."""
        return not self.sql(OPEN)[0][0]

    def wait(self, done: Callable[[], bool], *, seconds: float = 180, every: float = 0.005) -> None:
        """Wait until `done()`. Raises BenchError if it takes too long or a process fails."""

        def is_done() -> bool:
            if self.stack.supervisor is not None and self.stack.supervisor.failure:
                raise BenchError(self.stack.supervisor.failure)
            return done()

        if not wait_until(is_done, seconds, every=every):
            raise BenchError(f"not done after {seconds:g} s; logs: {self.stack.folder / 'log'}")


def create_database(url: str) -> None:
    """Create the database of a server that is not ours again."""
    server, _, name = url.partition("?")[0].rpartition("/")
    with psycopg.connect(f"{server}/postgres", autocommit=True) as postgres:
        database = Identifier(name)
        postgres.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(database))
        postgres.execute(SQL("CREATE DATABASE {}").format(database))


def drop_used_database(url: str) -> None:
    """Drop a database if an earlier run has written rows into it; each run creates users."""
    server, _, name = url.rpartition("/")
    with psycopg.connect(url) as database:
        try:
            used = database.execute("SELECT FROM users_user LIMIT 1").fetchone() is not None
        except psycopg.errors.UndefinedTable:  # the migrations of that run were interrupted
            used = False
    if used:
        with psycopg.connect(f"{server}/postgres", autocommit=True) as postgres:
            postgres.execute(SQL("DROP DATABASE {}").format(Identifier(name)))


def _processes(settings: Settings, workers: int) -> list[ProcessSpec]:
    """Return the stack's processes; its Celery workers also know the baseline's tasks."""
    specs = []
    more = [worker_process(f"{EXECUTION}-{number}", EXECUTION) for number in range(3, workers + 1)]
    for child in [*all_processes(settings), *more]:
        if "worker" in child.command:
            child = replace(child, command=(*child.command, *TASKS))
        if not child.name.startswith(EXECUTION) or int(child.name.rpartition("-")[2]) <= workers:
            specs.append(child)
    return specs
