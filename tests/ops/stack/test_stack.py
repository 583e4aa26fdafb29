"""The whole stack as processes: started, twice at once, killed, without its database."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ops.embedded.ports import free_port
from ops.embedded.processes import birth, wait_until

ROOT = Path(__file__).parents[3]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
SECONDS = 60


class SmallStack:
    """tests/ops/stack/small_stack.py on a folder of its own."""

    def __init__(self, folder: Path) -> None:
        ours = {name: value for name, value in os.environ.items() if "FILLCAST" not in name}
        del ours["DATABASE_URL"], ours["REDIS_URL"]
        self.folder, self.port = folder, free_port()
        self.env = {
            **ours,
            "FILLCAST_ENV_FILE": os.devnull,
            "FILLCAST_VAR": str(folder),
            "FILLCAST_PORT": str(self.port),
        }
        self.running: list[subprocess.Popen[str]] = []

    def launch(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.ops.stack.small_stack"],
            cwd=ROOT,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.running.append(process)
        return process

    def start(self) -> subprocess.Popen[str]:
        process = self.launch()
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.communicate()
        return process

    def end(self) -> None:
        """Kill it, whatever it is at; all that it started goes with it."""
        for process in self.running:
            process.kill()
            process.communicate()
        assert wait_until(lambda: not self.processes(), SECONDS)

    def processes(self) -> list[int]:
        """All that the stack started: its folder is in their environment or command."""
        needle = os.fsencode(self.folder)
        return [
            pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _has(pid, needle)
        ]


def _has(pid: int, needle: bytes) -> bool:
    try:
        texts = [Path(f"/proc/{pid}/{name}").read_bytes() for name in ("environ", "cmdline")]
    except OSError:
        return False
    return any(needle in text for text in texts) and birth(pid) is not None


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="fillcast-stack-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def stack(folder: Path) -> Iterator[SmallStack]:
    made = SmallStack(folder)
    yield made
    made.end()


@pytest.fixture(scope="class")
def running(folder: Path) -> Iterator[SmallStack]:
    made = SmallStack(folder)
    made.start()
    yield made
    made.end()


def get(port: int, path: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


class TestRunning:
    """One that runs, for tests that do not end it."""

    def test_the_web_process_has_no_key_that_opens_credentials(self, running: SmallStack) -> None:
        kept = json.loads((running.folder / "secrets.json").read_text())
        private = kept["FILLCAST_CREDENTIALS_PRIVATE_KEYS"].encode()
        named = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in running.processes()}
        (web,) = (pid for pid, line in named.items() if b"uvicorn" in line)
        (worker,) = (pid for pid, line in named.items() if b"-m\0config\0worker" in line)
        assert private not in Path(f"/proc/{web}/environ").read_bytes()
        assert private in Path(f"/proc/{worker}/environ").read_bytes()

    def test_a_second_one_is_told_where_the_first_is(self, running: SmallStack) -> None:
        second = running.launch()
        _, said = second.communicate(timeout=SECONDS)
        assert second.returncode == 1
        where = f"(small stack, pid {running.running[0].pid}, http://localhost:{running.port}/)"
        assert said.strip() == f"Fillcast is already running {where}; use it, or stop it first."
        assert get(running.port, "/healthz") == {"ok": True}

    def test_redis_comes_back_under_running_processes(self, running: SmallStack) -> None:
        pid = int((running.folder / "redis" / "pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)
        assert wait_until(lambda: get(running.port, "/readyz")["checks"]["redis"] is True, SECONDS)
        assert int((running.folder / "redis" / "pid").read_text().split()[0]) != pid


def test_it_works_and_leaves_nothing_behind(stack: SmallStack) -> None:
    process = stack.start()
    assert get(stack.port, "/readyz") == {"ok": True, "checks": {"database": True, "redis": True}}
    process.terminate()
    assert process.wait(SECONDS) == 0
    assert stack.processes() == []
    assert (stack.folder / "secrets.json").stat().st_mode & 0o077 == 0
    assert stack.folder.stat().st_mode & 0o066 == 0  # passed through by PostgreSQL's user at most
    assert (stack.folder / "log").stat().st_mode & 0o077 == 0


def test_killed_it_takes_everything_along_and_starts_again(stack: SmallStack) -> None:
    stack.start().kill()
    assert wait_until(lambda: not stack.processes(), SECONDS)
    stack.start()
    assert get(stack.port, "/readyz")["ok"] is True


def test_killed_while_it_starts_it_starts_again(stack: SmallStack) -> None:
    half_way = stack.launch()
    assert wait_until(lambda: (stack.folder / "running.json").exists(), SECONDS)
    half_way.kill()
    assert half_way.wait(SECONDS) == -signal.SIGKILL
    stack.start()


def test_told_to_end_while_it_starts_it_leaves_nothing(stack: SmallStack) -> None:
    half_way = stack.launch()
    url = "DATABASE_URL"
    running = stack.folder / "running.json"
    assert wait_until(lambda: running.exists() and url in running.read_text(), SECONDS)
    half_way.send_signal(signal.SIGINT)
    half_way.communicate(timeout=SECONDS)
    assert wait_until(lambda: not stack.processes(), SECONDS)


def test_without_its_database_everything_stops(stack: SmallStack) -> None:
    process = stack.start()
    (pid,) = (
        pid
        for pid in stack.processes()
        if Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].endswith(b"bin/postgres")
    )
    os.kill(pid, signal.SIGKILL)
    _, said = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert "PostgreSQL stopped, so Fillcast stops." in said
    assert stack.processes() == []


def test_commands_at_the_same_time_share_servers_that_end_with_the_last(stack: SmallStack) -> None:
    command = [sys.executable, "manage.py", "shell", "--no-imports", "--verbosity", "0", "-c"]
    code = (
        "from django.db import connection as c; c.ensure_connection();"
        "print(c.settings_dict['PORT'])"
    )
    both = [
        subprocess.Popen(
            [*command, code], cwd=ROOT, env=stack.env, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    stack.running += both
    ports = {process.communicate(timeout=SECONDS)[0] for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert len(ports) == 1
    assert stack.processes() == []


def test_a_port_that_is_taken_is_told(stack: SmallStack) -> None:
    with socket.create_server(("127.0.0.1", stack.port)):
        process = stack.launch()
        _, said = process.communicate(timeout=SECONDS)
    expected = f"Port {stack.port} is in use by another program; stop it, or set FILLCAST_PORT."
    assert said.strip() == expected
    assert stack.processes() == []
