"""The whole installation on one machine: servers, secrets, tables, processes."""

import gc
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from types import FrameType
from typing import Any, Self

from buses.callback_points import callback_points
from config import which_database
from config.env import Settings
from config.installation import ROOT, var_folder
from config.session_priority import SAME_MACHINE
from ops.bootstrap import development_secrets
from ops.embedded import processes
from ops.embedded.errors import EmbeddedError
from ops.embedded.install_lock import InstallLock
from ops.embedded.ports import is_free
from ops.embedded.servers import Servers
from ops.stack import schema
from ops.stack.process import ManagedProcess, ProcessSpec
from ops.stack.server_watch import ServerWatch
from ops.stack.supervisor import Supervisor, handled_by

SESSION_THREADS = 4
# Entries and upkeep are most of the work, and use whatever the machine has. What waits only for a
# moment goes first: exits, an alert at the endpoint, a page, the database's own work.
NICENESS = 10
BUSES_NICENESS = 19  # reports to other systems come after trading


def worker_process(
    name: str, queues: str, *, threads: int = 0, niceness: int = NICENESS
) -> ProcessSpec:
    """Return the spec of a Celery worker for these queues (separated by commas).

    threads: for sessions, so that a slow connection test of one account delays no other account.
    """
    pool = ["-P", "threads", "-c", str(threads)] if threads else ["-P", "solo"]
    options = [*pool, "-Q", queues, "-n", f"{name}@%h", "--without-gossip"]
    options += ["--without-mingle", "--without-heartbeat"]
    command = (sys.executable, "-m", "config", "worker", *options)
    return _trading_process(name, command, niceness=niceness)


def _trading_process(name: str, command: tuple[str, ...], *, niceness: int = 0) -> ProcessSpec:
    return ProcessSpec(
        name,
        command,
        env={"FILLCAST_DB_ROLE": "trade"},
        announces=True,
        niceness=niceness,
        forked=True,
    )


def web_process(settings: Settings) -> ProcessSpec:
    """Return the web process; it cannot open credentials, and has no login of workers."""
    port, host = settings.listen.port, settings.listen.address
    host_name = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    host_name = f"[{host_name}]" if ":" in host_name else host_name
    return ProcessSpec(
        "web",
        (sys.executable, "-m", "config.web_server"),
        env={
            "FILLCAST_DB_ROLE": "web",
            "FILLCAST_DATABASES": settings.databases.without_trade(),
        },
        without=frozenset(["FILLCAST_CREDENTIALS_PRIVATE_KEYS", "FILLCAST_PUSH_PRIVATE_KEYS"]),
        ready=lambda: _answers(f"http://{host_name}:{port}/healthz"),
    )


def command_process(name: str, *arguments: str, niceness: int = 0) -> ProcessSpec:
    """Return the spec of a management command of the same name that runs until it is stopped."""
    line = (sys.executable, str(ROOT / "manage.py"), name, *arguments)
    return _trading_process(name, line, niceness=niceness)


def fork_server() -> ProcessSpec:
    """Return the process from which workers, beat and prices are forked.

    Not the web process: the keys that open credentials must not be in its memory.
    """
    imports = "config.fork_imports:import_all"
    line = (sys.executable, "-m", "ops.stack.fork_program", imports)
    return ProcessSpec(
        "fork-server", line, env={"FILLCAST_DB_ROLE": "trade"}, announces=True, stop_seconds=1.0
    )


def all_processes(settings: Settings) -> list[ProcessSpec]:
    """Return every process of the stack.

    Exits have a worker of their own, so that no other task delays them. One worker holds all broker
    sessions (IBKR, MetaTrader 4); without such accounts it is idle. Buses have a process if any is
    configured.
    """
    beat = (sys.executable, "-m", "config", "beat", "--max-interval", "1")
    return [
        web_process(settings),
        worker_process("exits", "exits", niceness=0),
        worker_process("execution-1", "execution"),
        worker_process("execution-2", "execution"),
        worker_process("maintenance", "maintenance"),
        worker_process("sessions", "sessions", threads=SESSION_THREADS),
        _trading_process("beat", beat),
        command_process("prices"),
        *(
            [command_process("buses", niceness=BUSES_NICENESS)]
            if settings.sinks or callback_points()
            else []
        ),
        *([command_process("bus_receiver")] if settings.incoming_buses else []),
    ]


class Stack:
    """Prepare, start, wait, stop: `with Stack(...) as stack: stack.prepare(); stack.start() …`.

    Leaving the `with` stops everything. Use it from the main thread: within, SIGTERM and SIGHUP
    raise KeyboardInterrupt as Ctrl-C does, so that none is lost before the supervisor handles them.
    """

    def __init__(
        self,
        *,
        what: str = "manage.py stack",
        children: Callable[[Settings], Sequence[ProcessSpec]] = all_processes,
        extra: Mapping[str, str] | None = None,
        report: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True),
    ) -> None:
        """Set what to run. extra: settings added to the environment's, e.g. the market clock."""
        self.environ: dict[str, str] = {**os.environ, **(extra or {}), "PYTHONUNBUFFERED": "1"}
        self.folder = var_folder(self.environ)
        self.supervisor: Supervisor | None = None
        self.database = which_database.database_sentence(self.environ.get("DATABASE_URL", ""))
        self._children, self._report = children, report
        self._lock = InstallLock(self.folder, what)
        self._servers: Servers | None = None
        self._watch: ServerWatch | None = None
        self._is_interrupted = False
        self._at_exit = ExitStack()

    def __enter__(self) -> Self:
        """Lock the folder var/. Raises AlreadyRunningError if another stack uses it."""
        self._lock.__enter__()
        gc.enable()  # config/__init__.py disabled it, and a supervisor sets up no apps
        self._at_exit.enter_context(handled_by(self._interrupt))
        return self

    def __exit__(self, *_: object) -> None:
        with self._at_exit:
            self.stop()

    @property
    def url(self) -> str:
        """The address of the web pages."""
        return f"http://localhost:{self._settings.listen.port}/"

    def prepare(self) -> None:
        """Create secrets, start the servers, apply migrations. Raises EmbeddedError."""
        self._kill_leftovers()
        self.environ |= development_secrets(self.environ)
        (self.folder / "static").mkdir(exist_ok=True)  # whitenoise warns if it is missing
        self._require_free_port()
        self._servers = Servers(self.folder, self.environ)  # kept first: a signal may end its start
        self._servers.start()
        self._watch = ServerWatch(self._servers, self._report)
        if not self.environ.get("DATABASE_URL"):
            self.database = which_database.embedded_sentence(self.folder, "running")
            self.environ[SAME_MACHINE] = "1"
        self.environ |= self._servers.urls | {which_database.PRINTED: "1"}
        self._lock.publish(url=self.url, **self._servers.urls)
        if not schema.is_current(self.environ["DATABASE_URL"]):
            self.manage("migrate", "--no-input", "--verbosity", "0", "--skip-checks")
            schema.note_current(self.environ["DATABASE_URL"])
        self._raise_if_interrupted()

    def manage(self, *arguments: str, capture: bool = False) -> str:
        """Run a management command as the owner, in its own process; return captured output.

        Raises EmbeddedError if it fails; its messages are on standard error then.
        """
        line = [sys.executable, str(ROOT / "manage.py"), *arguments]
        done = subprocess.run(
            line,
            env=self.environ,
            cwd=ROOT,
            check=False,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if capture else None,
        )
        if done.returncode != 0:
            raise EmbeddedError(f"`manage.py {' '.join(arguments)}` failed.")
        return done.stdout or ""

    def use_here(self) -> None:
        """Make this process use the stack's database and Redis, as the owner.

        For a command that calls the apps' services while the stack runs.
        """
        from django.conf import settings
        from django.core.cache import caches
        from django.db import connections

        from config.celery import app
        from config.databases import database

        os.environ.update(self.environ)
        fresh: dict[str, Any] = database(self._settings)
        connections["default"].close()
        connections["default"].settings_dict.update(fresh)
        connections.settings["default"].update(fresh)
        redis_url = self.environ["REDIS_URL"]
        queue_url = self._settings.queue_url or redis_url
        settings.REDIS_URL, settings.CELERY_BROKER_URL = redis_url, queue_url
        settings.CACHES["default"]["LOCATION"] = redis_url
        caches.settings["default"]["LOCATION"] = redis_url
        app.conf.update(broker_url=queue_url, broker_read_url=queue_url, broker_write_url=queue_url)

    def start(self) -> Supervisor:
        """Start the processes; return at once. Raises EmbeddedError if the port is taken."""
        self._raise_if_interrupted()
        self._require_free_port()  # another installation may have taken it since `prepare`
        self.supervisor = Supervisor(
            self._children(self._settings),
            environ=self.environ,
            logs=self.folder / "log",
            folder=ROOT,
            report=self._report,
            fork_server=fork_server(),
            check=self._check_servers,
            servers=self._server_pids,
            on_start=self._publish_children,
        )
        self.supervisor.start()
        return self.supervisor

    def stop(self) -> None:
        """Stop everything, processes before servers. May be called twice."""
        if self.supervisor is not None:
            self.supervisor.stop()
        if self._servers is not None:
            self._servers.stop()
        self._lock.__exit__()

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self._is_interrupted = True
        signal.default_int_handler(number, frame)

    def _raise_if_interrupted(self) -> None:
        """Raise KeyboardInterrupt if a signal came during a destructor, where Python drops it."""
        if self._is_interrupted:
            raise KeyboardInterrupt

    def _require_free_port(self) -> None:
        port = self._settings.listen.port
        if not is_free(port, self._settings.listen.address):
            raise EmbeddedError(
                f"Port {port} is in use by another program; stop it, or set FILLCAST_LISTEN."
            )

    @property
    def _settings(self) -> Settings:
        return Settings.read(self.environ)

    def _check_servers(self) -> None:
        if self._watch is not None:
            self._watch.check()

    def _server_pids(self) -> list[int]:
        """Return the ids of the servers that run here: one that has ended is seen by the check."""
        if self._servers is None:
            return []
        servers = (self._servers.postgres, self._servers.redis)
        return [one.process.pid for one in servers if one and one.process and one.alive]

    def _publish_children(self, _started: ManagedProcess) -> None:
        running = self.supervisor.children.values() if self.supervisor else []
        pids = [process.pid for process in running if process.pid]
        self._lock.publish(children=[[pid, processes.birth(pid)] for pid in pids])

    def _kill_leftovers(self) -> None:
        """Kill processes of an earlier stack that was killed before it could stop them."""
        leftovers = [(pid, born) for pid, born in self._lock.previous_info.get("children", [])]
        for pid, born in leftovers:
            if processes.is_same(pid, born):
                processes.signal_group(pid, signal.SIGKILL)
        processes.wait_until(lambda: not any(processes.is_same(*item) for item in leftovers), 5)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as response:
            return bool(response.status == 200)
    except urllib.error.HTTPError:  # the server rejects this host name, but it runs
        return True
    except OSError:
        return False
