"""Processes that are forked from a server: real ones, killed at every level."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from common.process.readiness import VARIABLE as READY_FILE
from config.installation import ROOT
from ops.embedded import orphans
from ops.embedded.processes import birth
from ops.stack import fork_server as fork_server_module
from ops.stack import supervisor as supervisor_module
from ops.stack.process import ProcessSpec
from ops.stack.supervisor import Supervisor
from tests.ops.stack.fork_stack import fork_server, forked
from tests.until import until

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(not fork_server_module.can_fork(), reason="needs Linux"),
]
SECONDS = 60
SERVER = "fork-server"
Make = Callable[..., Supervisor]


@pytest.fixture
def messages() -> list[str]:
    return []


@pytest.fixture
def make(tmp_path: Path, messages: list[str]) -> Iterator[Make]:
    supervisors: list[Supervisor] = []

    def start(*children: ProcessSpec, server: ProcessSpec | None = None) -> Supervisor:
        supervisor = Supervisor(
            children,
            environ=os.environ,
            logs=tmp_path,
            folder=ROOT,
            report=messages.append,
            fork_server=server or fork_server(),
        )
        supervisor.start()
        supervisors.append(supervisor)
        return supervisor

    yield start
    for supervisor in supervisors:
        supervisor.request_stop()
        supervisor.request_stop()  # at once
        supervisor.stop()


def pid_of(supervisor: Supervisor, name: str, other_than: int | None = None) -> int:
    """Return the id of a running process; wait for it."""
    until(lambda: supervisor.children[name].pid not in (None, other_than))
    pid = supervisor.children[name].pid
    assert pid is not None
    return pid


def described(supervisor: Supervisor) -> dict[str, Any]:
    """Return what each process does and has written, and why the supervisor failed, if it has."""
    children = supervisor.children.values()
    return {"failure": supervisor.failure} | {
        child.name: (child.pid, child.ready, child.restarts, child.log.read_text())
        for child in children
        if child.log.exists()
    }


def states(supervisor: Supervisor, name: str, count: int = 1) -> list[dict[str, Any]]:
    """Return what the first processes of this name have stated; wait for `count` of them.

    Only whole lines count: a process killed before its line's end would join it to the next one's.
    """
    log = supervisor.children[name].log

    def stated() -> list[str]:
        lines = log.read_text().splitlines(keepends=True) if log.exists() else []
        return [line for line in lines if line.startswith("{") and line.endswith("\n")]

    until(lambda: len(stated()) >= count, seen=lambda: described(supervisor))
    return [json.loads(line) for line in stated()]


def command_line(pid: int) -> list[bytes]:
    return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")


def test_fork_is_like_a_process_that_was_started(make: Make) -> None:
    spec = forked("a", "one", "two words", niceness=3)
    supervisor = make(spec, forked("b"))
    (a,), (b,) = states(supervisor, "a"), states(supervisor, "b")
    pid = pid_of(supervisor, "a")
    assert a["pid"] == a["session"] == a["begun_in"] == pid
    assert a["parent"] == os.getpid()
    assert a["forked_from"] == b["forked_from"] == pid_of(supervisor, SERVER)
    assert (a["argv"], a["name"], a["folder"]) == (["one", "two words"], "__main__", str(ROOT))
    assert a["env"] == {
        **os.environ,
        READY_FILE: str(supervisor.children["a"].log.parent / ".a.ready"),
    }
    assert (a["niceness"], b["niceness"]) == (3, 0)
    assert (a["group_niceness"], b["group_niceness"]) in (("3", "0"), (None, None))
    assert a["signals"] == [True, True]
    assert a["threads"] == 1
    assert a["random"] != b["random"]
    log = str(supervisor.children["a"].log)
    assert a["files"] == ["/dev/null", log, log]
    assert command_line(pid) == [*map(os.fsencode, spec.command)]
    assert SERVER not in supervisor.children["a"].log.read_text()


def test_each_fork_writes_to_its_own_log(make: Make) -> None:
    supervisor = make(forked("a"), forked("b"))
    logs = [supervisor.children[name].log for name in ("a", "b", SERVER)]
    for name in ("a", "b"):
        states(supervisor, name)
    until(lambda: all("standard error" in log.read_text() for log in logs[:2]))
    assert [len(log.read_text().splitlines()) for log in logs] == [2, 2, 0]


def test_killed_fork_is_forked_again_from_the_same_server(make: Make, messages: list[str]) -> None:
    supervisor = make(forked("a"), forked("b"))
    first, other = pid_of(supervisor, "a"), pid_of(supervisor, "b")
    states(supervisor, "a")
    os.kill(first, signal.SIGKILL)
    old, new = states(supervisor, "a", 2)
    assert (old["pid"], new["pid"]) == (first, pid_of(supervisor, "a", first))
    assert old["forked_from"] == new["forked_from"] == pid_of(supervisor, SERVER)
    assert supervisor.children["b"].pid == other
    assert any(line.startswith("a killed by signal 9") for line in messages)


def test_child_of_a_killed_fork_ends_and_leaves_nothing(make: Make) -> None:
    """The supervisor adopts it, so no other process can remove it once it has ended."""
    supervisor = make(forked("a", "--parent"))
    (a,) = states(supervisor, "a")
    os.kill(a["pid"], signal.SIGKILL)
    states(supervisor, "a", 2)
    until(lambda: not Path(f"/proc/{a['child']}").exists())


def test_exit_code_of_a_fork_is_reported(make: Make, messages: list[str]) -> None:
    supervisor = make(forked("a", "--exit", "3"))
    states(supervisor, "a", 2)
    assert any(line.startswith("a ended with 3; restarting in 0.5 s") for line in messages)


def test_stop_ends_forks_and_server(make: Make, messages: list[str]) -> None:
    supervisor = make(forked("a", stop_seconds=1), forked("b", "--stubborn", stop_seconds=1))
    states(supervisor, "a")
    states(supervisor, "b")
    pids = [pid_of(supervisor, name) for name in ("a", "b", SERVER)]
    supervisor.stop()
    assert [birth(pid) for pid in pids] == [None, None, None]
    assert supervisor.children["a"].exit_description() == "killed by signal 15"
    assert messages == ["b did not stop in time and is killed"]


def test_forks_go_on_without_their_server(make: Make, messages: list[str]) -> None:
    supervisor = make(forked("a"), forked("b"))
    forks = [states(supervisor, name)[0]["pid"] for name in ("a", "b")]
    server = pid_of(supervisor, SERVER)
    os.kill(server, signal.SIGKILL)
    until(lambda: supervisor.children[SERVER].ready)
    until(lambda: pid_of(supervisor, SERVER) != server)
    assert [supervisor.children[name].pid for name in ("a", "b")] == forks
    os.kill(forks[0], signal.SIGKILL)
    assert states(supervisor, "a", 2)[1]["forked_from"] == pid_of(supervisor, SERVER)
    assert any(line.startswith(f"{SERVER} killed by signal 9") for line in messages)


def test_fork_killed_with_its_server_waits_for_the_next_one(make: Make) -> None:
    supervisor = make(forked("a"))
    (a,), server = states(supervisor, "a"), pid_of(supervisor, SERVER)
    os.kill(server, signal.SIGKILL)
    os.kill(a["pid"], signal.SIGKILL)
    again = states(supervisor, "a", 2)[1]
    assert again["forked_from"] == pid_of(supervisor, SERVER, server)


def test_hanging_server_is_replaced_and_delays_no_restart_for_long(
    make: Make, messages: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fork_server_module, "ANSWER_SECONDS", 0.5)
    supervisor = make(forked("a"))
    (a,), server = states(supervisor, "a"), pid_of(supervisor, SERVER)
    os.kill(server, signal.SIGSTOP)
    os.kill(a["pid"], signal.SIGKILL)
    again = states(supervisor, "a", 2)[1]
    assert again["forked_from"] is None  # started in the ordinary way
    assert birth(server) is None
    pid_of(supervisor, SERVER, server)
    until(lambda: any("does not answer" in line for line in messages))
    assert len(states(supervisor, "a")) == 2  # the request that was given up started nothing


@pytest.mark.parametrize("function", ["fail", "start_thread", "open_socket"])
def test_server_that_cannot_serve_prevents_no_start(
    make: Make, messages: list[str], function: str
) -> None:
    supervisor = make(forked("a"), server=fork_server(function))
    (a,) = states(supervisor, "a")
    assert a["forked_from"] is None
    expected = {
        "fail": "RuntimeError: broken",
        "start_thread": "After the imports nothing can be forked: 2 threads run.",
        "open_socket": "After the imports nothing can be forked: pipe:",
    }[function]
    assert expected in supervisor.children[SERVER].log.read_text()
    assert any(line.startswith(f"{SERVER} ended with 1") for line in messages)
    assert supervisor.wait_ready(SECONDS)  # what runs is a whole stack


def test_server_that_imports_for_too_long_is_not_waited_for(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fork_server_module, "PATIENCE_SECONDS", 0.5)
    supervisor = make(forked("a"), server=fork_server("hang"))
    assert states(supervisor, "a")[0]["forked_from"] is None


@pytest.mark.parametrize("change", ["other", "fewer"])
def test_process_with_other_settings_is_not_forked(
    make: Make, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FILLCAST_QUEUE_URL", "amqp://a")
    spec = (
        replace(forked("a"), env={"FILLCAST_QUEUE_URL": "amqp://b"})
        if change == "other"
        else replace(forked("a"), without=frozenset(["FILLCAST_QUEUE_URL"]))
    )
    supervisor = make(spec)
    (a,) = states(supervisor, "a")
    assert a["forked_from"] is None
    assert a["env"].get("FILLCAST_QUEUE_URL") == ("amqp://b" if change == "other" else "")


def test_without_forking_all_are_started_in_the_ordinary_way(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "can_fork", lambda: False)
    supervisor = make(forked("a"))
    assert states(supervisor, "a")[0]["forked_from"] is None
    assert list(supervisor.children) == ["a"]


def test_added_process_is_forked(make: Make) -> None:
    supervisor = make(forked("a"))
    states(supervisor, "a")
    supervisor.add(forked("b"))
    assert states(supervisor, "b")[0]["forked_from"] == pid_of(supervisor, SERVER)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_fork_outlives_its_supervisor(tmp_path: Path, number: signal.Signals) -> None:
    """A process that ignores SIGTERM is left, however it was started."""
    line = [sys.executable, "-m", "tests.ops.stack.fork_stack", str(tmp_path)]
    with subprocess.Popen(line, cwd=ROOT, stdout=subprocess.DEVNULL) as supervisor:
        logs = [tmp_path / "a.log", tmp_path / "b.log"]
        until(lambda: all(log.exists() and "{" in log.read_text() for log in logs))
        a, b = (json.loads(log.read_text().splitlines()[0]) for log in logs)
        assert a["parent"] == b["parent"] == supervisor.pid
        if number == signal.SIGKILL:
            os.kill(a["forked_from"], signal.SIGSTOP)  # the server ends, too
        supervisor.send_signal(number)
        try:
            until(lambda: not birth(a["pid"]) and not birth(a["forked_from"]))
        finally:
            if birth(b["pid"]):
                os.kill(b["pid"], signal.SIGKILL)


def test_only_a_supervisor_with_forks_adopts_orphans(make: Make) -> None:
    supervisor = make(forked("a"))
    states(supervisor, "a")
    assert orphans._adopts()
    supervisor.stop()
    assert not orphans._adopts()
