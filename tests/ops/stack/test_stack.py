"""The whole stack as processes: started, started twice, killed, without its database.

A start takes seconds of processor time. So a stack that a test leaves running serves the next test
that needs one.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest

from ops.embedded.processes import birth
from tests.ports import free_port
from tests.prepared_database import copy_to
from tests.server_folders import server_folder
from tests.until import until

ROOT = Path(__file__).parents[3]
pytestmark = [pytest.mark.processes, pytest.mark.slow]
SECONDS = 60


class SmallStack:
    """Runs tests/ops/stack/small_stack.py with a folder of its own."""

    def __init__(self, folder: Path) -> None:
        ours = {name: value for name, value in os.environ.items() if "FILLCAST" not in name}
        del ours["DATABASE_URL"], ours["REDIS_URL"]
        self.folder, self.port = folder, free_port()
        (folder / "sends").mkdir()  # removed with it
        self.env = {
            **ours,
            "FILLCAST_ENV_FILE": os.devnull,
            "FILLCAST_VAR": str(folder),
            "FILLCAST_LISTEN": str(self.port),
        }
        self.running: list[subprocess.Popen[str]] = []
        self.started: subprocess.Popen[str] | None = None  # the one that is ready

    def launch(self, *prefix: str) -> subprocess.Popen[str]:
        """Start it without waiting. prefix: of its command."""
        process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "tests.ops.stack.small_stack"],
            cwd=ROOT,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.running.append(process)
        return process

    def start(self) -> subprocess.Popen[str]:
        """Start it, or return the process that runs already."""
        if self.started is not None and self.started.poll() is None:
            return self.started
        process = self.launch()
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.communicate()
        self.started = process
        return process

    def end(self) -> None:
        """Kill it and wait until all processes that it started have ended."""
        for process in self.running:
            process.kill()
            process.communicate()
        self.running, self.started = [], None
        until(lambda: not self.processes())

    def processes(self) -> list[int]:
        """Return all processes of the stack: its folder is in their environment or command."""
        needle = os.fsencode(self.folder)
        return [
            pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _has(pid, needle)
        ]

    def process(self, command: bytes) -> int:
        """Return the process with this in its command line; wait until it has been started."""
        matches: list[int] = []

        def is_started() -> bool:
            matches[:] = [pid for pid in self.processes() if command in _command_line(pid)]
            return bool(matches)

        until(is_started)
        (pid,) = matches
        return pid


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # it has ended
        return b""


def _has(pid: int, needle: bytes) -> bool:
    try:
        texts = [Path(f"/proc/{pid}/{name}").read_bytes() for name in ("environ", "cmdline")]
    except OSError:
        return False
    return any(needle in text for text in texts) and birth(pid) is not None


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder whose database has its tables, as at each start but the first."""
    with server_folder("fillcast-stack-") as path:
        copy_to(path / "postgres")
        yield path


@pytest.fixture(scope="module")
def small_stack(folder: Path) -> Iterator[SmallStack]:
    stack = SmallStack(folder)
    yield stack
    stack.end()


@pytest.fixture
def running(small_stack: SmallStack) -> SmallStack:
    small_stack.start()
    return small_stack


@pytest.fixture
def stopped(small_stack: SmallStack) -> SmallStack:
    small_stack.end()
    return small_stack


def get(port: int, path: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
        body: dict[str, Any] = json.load(answer)
        return body


def test_web_process_has_no_private_key(running: SmallStack) -> None:
    kept = json.loads((running.folder / "secrets.json").read_text())
    private = kept["FILLCAST_CREDENTIALS_PRIVATE_KEYS"].encode()
    web = running.process(b"web_server")
    worker = running.process(b"worker")  # Celery renames its process if setproctitle is there
    assert private not in Path(f"/proc/{web}/environ").read_bytes()
    assert private in Path(f"/proc/{worker}/environ").read_bytes()


@pytest.mark.exhaustive
def test_first_start_makes_the_database() -> None:
    """All migrations take half a minute of processor time."""
    with server_folder("fillcast-first-") as folder:
        stack = SmallStack(folder)
        try:
            stack.start()
            assert get(stack.port, "/readyz")["ok"] is True
        finally:
            stack.end()


def test_second_stack_is_refused_with_the_first_ones_address(running: SmallStack) -> None:
    second = running.launch()
    _, errors = second.communicate(timeout=SECONDS)
    assert second.returncode == 1
    details = f"(small stack, pid {running.start().pid}, http://localhost:{running.port}/)"
    assert errors.strip() == f"Fillcast is already running {details}; use it, or stop it first."
    assert get(running.port, "/healthz") == {"ok": True}


def test_killed_redis_restarts_under_running_processes(running: SmallStack) -> None:
    pid = int((running.folder / "redis" / "pid").read_text().split()[0])
    os.kill(pid, signal.SIGKILL)
    until(lambda: get(running.port, "/readyz")["checks"]["redis"] is True)
    assert int((running.folder / "redis" / "pid").read_text().split()[0]) != pid


def test_killed_stack_ends_all_processes_and_starts_again(running: SmallStack) -> None:
    running.start().kill()
    until(lambda: not running.processes())
    running.start()
    assert get(running.port, "/readyz")["ok"] is True


PERMISSION = "FROM auth_permission WHERE codename = 'delete_contenttype'"


def test_migrate_runs_only_if_something_has_changed(running: SmallStack) -> None:
    """What it creates after each run (permissions) is missing until it runs again."""

    def restart_after(*statements: LiteralString) -> bool:
        """Return whether the permission is there after a restart."""
        running.start()
        url = json.loads((running.folder / "running.json").read_text())["DATABASE_URL"]
        with psycopg.connect(url) as database:
            for statement in statements:
                database.execute(statement)
        running.end()
        running.start()
        with psycopg.connect(url) as database:
            return database.execute(f"SELECT {PERMISSION}").fetchone() is not None

    delete: LiteralString = f"DELETE {PERMISSION}"
    forget = "COMMENT ON TABLE django_migrations IS 'other code'"
    assert not restart_after(delete)
    assert restart_after(forget)


def test_stopped_stack_leaves_no_process(running: SmallStack) -> None:
    process = running.start()
    assert get(running.port, "/readyz") == {"ok": True, "checks": {"database": True, "redis": True}}
    process.terminate()
    assert process.wait(SECONDS) == 0
    assert running.processes() == []
    assert (running.folder / "secrets.json").stat().st_mode & 0o077 == 0
    assert running.folder.stat().st_mode & 0o066 == 0  # PostgreSQL's user may at most pass through
    assert (running.folder / "log").stat().st_mode & 0o077 == 0


def test_stack_killed_during_start_starts_again(stopped: SmallStack) -> None:
    starting = stopped.launch()
    until(lambda: (stopped.folder / "running.json").exists())
    starting.kill()
    assert starting.wait(SECONDS) == -signal.SIGKILL
    stopped.start()


def postgres_of(running: SmallStack) -> set[int]:
    """Return the ids of its PostgreSQL: the first process of a server has it as its program."""
    found = set()
    for pid in running.processes():
        with suppress(OSError):
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if command[0].endswith(b"bin/postgres"):
                found.add(pid)
    return found


def test_stack_restarts_database_and_states_what_stops(running: SmallStack) -> None:
    process = running.start()
    [pid] = postgres_of(running)
    os.kill(pid, signal.SIGKILL)
    until(lambda: bool(postgres_of(running) - {pid}))
    readyz = {"ok": True, "checks": {"database": True, "redis": True}}
    until(lambda: get(running.port, "/readyz") == readyz)
    process.terminate()
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    assert "PostgreSQL stopped; restarting it." in errors
    assert "stops and targets that Fillcast guards are not watched" in errors
    assert "PostgreSQL answers again after" in errors
    assert running.processes() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stack_interrupted_during_start_leaves_no_process(
    stopped: SmallStack, number: signal.Signals
) -> None:
    # as a script starts a command in the background
    starting = stopped.launch("sh", "-c", "trap '' INT HUP; exec \"$@\"", "sh")
    url = "DATABASE_URL"
    running = stopped.folder / "running.json"
    until(lambda: running.exists() and url in running.read_text())
    starting.send_signal(number)
    output, errors = starting.communicate(timeout=SECONDS)
    assert (output, "KeyboardInterrupt" in errors) == ("", True)
    until(lambda: not stopped.processes())


def test_concurrent_commands_share_servers_until_the_last_ends(stopped: SmallStack) -> None:
    command = [sys.executable, "manage.py", "shell", "--no-imports", "--verbosity", "0", "-c"]
    code = (
        "from django.db import connection as c; c.ensure_connection();"
        "print(c.settings_dict['PORT'])"
    )
    both = [
        subprocess.Popen(
            [*command, code], cwd=ROOT, env=stopped.env, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    stopped.running += both
    ports = {process.communicate(timeout=SECONDS)[0] for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert len(ports) == 1
    assert stopped.processes() == []


def test_taken_port_of_the_web_process_is_an_error(stopped: SmallStack) -> None:
    with socket.create_server(("127.0.0.1", stopped.port)):
        process = stopped.launch()
        _, errors = process.communicate(timeout=SECONDS)
    expected = f"Port {stopped.port} is in use by another program; stop it, or set FILLCAST_LISTEN."
    assert errors.strip() == expected
    assert stopped.processes() == []
