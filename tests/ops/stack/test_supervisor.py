"""The supervisor with real processes: dead children are restarted, and none is left behind."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from ops.embedded.processes import birth
from ops.stack.exit_watch import can_watch
from ops.stack.process import ManagedProcess, ProcessSpec
from ops.stack.supervisor import Fatal, Supervisor
from tests.until import until

pytestmark = pytest.mark.processes

SLEEPER = (sys.executable, "-S", "-c", "import time; time.sleep(600)")
STUBBORN = (
    sys.executable,
    "-S",
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('stubborn', flush=True); time.sleep(600)",
)
PARENT = (  # a child with a child of its own, which does not end with its parent
    sys.executable,
    "-S",
    "-c",
    "import subprocess, sys, time; p = subprocess.Popen([sys.executable, '-S', '-c',"
    " 'import time; time.sleep(600)']); print('grandchild', p.pid, flush=True); time.sleep(600)",
)
Make = Callable[..., Supervisor]


@pytest.fixture
def messages() -> list[str]:
    return []


@pytest.fixture
def make(tmp_path: Path, messages: list[str]) -> Iterator[Make]:
    supervisors: list[Supervisor] = []

    def start(
        *children: ProcessSpec,
        check: Callable[[], None] = lambda: None,
        servers: Callable[[], Collection[int]] = tuple,
    ) -> Supervisor:
        supervisor = Supervisor(
            children,
            environ=os.environ,
            logs=tmp_path,
            folder=tmp_path,
            report=messages.append,
            check=check,
            servers=servers,
        )
        supervisor.start()
        supervisors.append(supervisor)
        return supervisor

    yield start
    for supervisor in supervisors:
        supervisor.request_stop()
        supervisor.request_stop()  # at once
        supervisor.stop()


def pid_of(supervisor: Supervisor, name: str) -> int:
    until(lambda: supervisor.children[name].pid is not None)
    pid = supervisor.children[name].pid
    assert pid is not None
    return pid


def wait_for_log(supervisor: Supervisor, name: str, text: str) -> str:
    log = supervisor.children[name].log
    until(lambda: log.exists() and text in log.read_text())
    return log.read_text()


def test_dead_child_is_restarted(make: Make, messages: list[str]) -> None:
    supervisor = make(ProcessSpec("a", SLEEPER), ProcessSpec("b", SLEEPER))
    first, other = pid_of(supervisor, "a"), pid_of(supervisor, "b")
    os.kill(first, signal.SIGKILL)
    until(lambda: supervisor.children["a"].pid not in (None, first))
    assert supervisor.children["a"].restarts == supervisor.restarts == 1
    assert supervisor.children["b"].pid == other
    assert any(line.startswith("a killed by signal 9") for line in messages)


@pytest.fixture
def no_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A supervisor whose processes all run has nothing to do for ten minutes."""
    monkeypatch.setattr("ops.stack.supervisor.QUIET_SECONDS", 600)


@pytest.mark.skipif(not can_watch(), reason="this system does not report that a process has ended")
def test_end_of_a_child_is_noticed_between_two_rounds(make: Make, no_rounds: None) -> None:
    supervisor = make(ProcessSpec("a", SLEEPER))
    for restarts in (1, 2):
        os.kill(pid_of(supervisor, "a"), signal.SIGKILL)
        until(lambda: supervisor.restarts == restarts)  # noqa: B023


def test_process_that_is_added_is_started_between_two_rounds(make: Make, no_rounds: None) -> None:
    supervisor = make(ProcessSpec("a", SLEEPER))
    pid_of(supervisor, "a")
    supervisor.add(ProcessSpec("b", SLEEPER))
    assert pid_of(supervisor, "b")


@pytest.mark.skipif(not can_watch(), reason="this system does not report that a process has ended")
def test_end_of_a_server_begins_a_round(make: Make, no_rounds: None) -> None:
    server = subprocess.Popen(SLEEPER)
    rounds: list[int | None] = []
    supervisor = make(
        ProcessSpec("a", SLEEPER),
        check=lambda: rounds.append(server.poll()),
        servers=lambda: [server.pid] if server.poll() is None else [],
    )
    pid_of(supervisor, "a")
    server.kill()
    until(lambda: rounds[-1:] == [-signal.SIGKILL])


def test_python_without_the_call_makes_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    assert can_watch.__wrapped__() is False


def test_stop_ends_a_supervisor_between_two_rounds(make: Make, no_rounds: None) -> None:
    supervisor = make(ProcessSpec("a", SLEEPER))
    pid = pid_of(supervisor, "a")
    supervisor.request_stop()
    until(lambda: birth(pid) is None)


def test_failing_child_is_restarted_with_growing_delays(make: Make, messages: list[str]) -> None:
    supervisor = make(ProcessSpec("broken", (sys.executable, "-S", "-c", "raise SystemExit(3)")))
    until(lambda: supervisor.restarts >= 2)
    lines = [line for line in messages if line.startswith("broken ended with 3")]
    assert ["0.5 s" in lines[0], "1 s" in lines[1]] == [True, True]


def test_stop_ends_children_and_grandchildren(make: Make) -> None:
    supervisor = make(ProcessSpec("parent", PARENT), ProcessSpec("a", SLEEPER))
    pids = [pid_of(supervisor, "a"), pid_of(supervisor, "parent")]
    pids.append(int(wait_for_log(supervisor, "parent", "\n").split()[1]))
    assert all(birth(pid) for pid in pids)
    supervisor.stop()
    until(lambda: not any(birth(pid) for pid in pids))


def test_children_of_a_dead_child_are_ended_before_its_restart(make: Make) -> None:
    supervisor = make(ProcessSpec("parent", PARENT))
    first = pid_of(supervisor, "parent")
    grandchild = int(wait_for_log(supervisor, "parent", "\n").split()[1])
    os.kill(first, signal.SIGKILL)
    until(lambda: birth(grandchild) is None)


def test_child_that_ignores_stop_is_killed_after_its_time(make: Make, messages: list[str]) -> None:
    supervisor = make(ProcessSpec("stubborn", STUBBORN, stop_seconds=0.3))
    pid = pid_of(supervisor, "stubborn")
    wait_for_log(supervisor, "stubborn", "stubborn")
    supervisor.stop()
    assert birth(pid) is None
    assert messages == ["stubborn did not stop in time and is killed"]


def test_second_stop_request_does_not_wait(make: Make) -> None:
    supervisor = make(ProcessSpec("stubborn", STUBBORN, stop_seconds=600))
    pid_of(supervisor, "stubborn")
    wait_for_log(supervisor, "stubborn", "stubborn")
    supervisor.request_stop()
    supervisor.request_stop()
    supervisor.stop()
    assert supervisor.children["stubborn"].pid is None


@pytest.mark.parametrize("step", range(1, 12))
def test_signal_at_any_moment_of_the_wait_ends_it(make: Make, step: int) -> None:
    supervisor, steps = make(ProcessSpec("a", SLEEPER)), 0

    def trace(_frame: FrameType, event: str, _: object) -> Any:
        nonlocal steps
        steps += event == "line"
        if event == "line" and steps == step:
            signal.raise_signal(signal.SIGTERM)
        return trace

    with supervisor.signals_handled():
        before = sys.gettrace()
        sys.settrace(trace)
        try:
            assert supervisor.wait(60)
        finally:
            sys.settrace(before)
    assert steps >= step


def test_fatal_check_stops_all_children(make: Make) -> None:
    gone = threading.Event()

    def check() -> None:
        if gone.is_set():
            raise Fatal("PostgreSQL ended.")

    supervisor = make(ProcessSpec("a", SLEEPER), check=check)
    pid = pid_of(supervisor, "a")
    gone.set()
    assert supervisor.wait(60)
    supervisor.stop()
    assert birth(pid) is None
    assert supervisor.failure == "PostgreSQL ended."


def test_supervisor_is_ready_when_all_children_report_it(make: Make) -> None:
    code = (
        "import os, sys, pathlib\nsys.stdin.close()\n"
        "pathlib.Path(os.environ['FILLCAST_READY_FILE']).touch()\nimport time; time.sleep(600)"
    )
    silent = ProcessSpec("silent", SLEEPER, announces=True)
    supervisor = make(
        ProcessSpec("speaks", (sys.executable, "-S", "-c", code), announces=True), silent
    )
    until(lambda: supervisor.unready() == ["silent"])
    assert not supervisor.wait_ready(0.3)


def test_errors_in_a_childs_log_are_reported(make: Make, messages: list[str]) -> None:
    lines = r"print('all is well\n2026-01-01 [error    ] broker gone', flush=True)"
    code = f"{lines}; import time; time.sleep(600)"
    make(ProcessSpec("worker", (sys.executable, "-S", "-c", code)))
    until(lambda: bool(messages))
    assert messages == ["worker | 2026-01-01 [error    ] broker gone"]


def test_log_is_opened_only_when_it_has_grown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = ManagedProcess(ProcessSpec("worker", ()), {}, tmp_path, tmp_path)
    assert list(running.errors()) == []  # there is none yet
    opened, real = [], Path.open

    def counted(path: Path, *mode: Any) -> Any:
        opened.append(path.name)
        return real(path, *mode)

    monkeypatch.setattr(Path, "open", counted)
    for number in range(2):
        with real(running.log, "a") as log:
            log.write(f"[error    ] {number}\n")
        assert list(running.errors()) == [f"[error    ] {number}"]
        assert list(running.errors()) == []
    assert opened == ["worker.log"] * 2


def test_child_gets_its_settings_but_no_withheld_secret(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FILLCAST_CREDENTIALS_PRIVATE_KEYS", "canary")
    code = "import os; print(sorted(os.environ.items()), flush=True); import time; time.sleep(600)"
    supervisor = make(
        ProcessSpec(
            "web",
            (sys.executable, "-S", "-c", code),
            env={"FILLCAST_DB_ROLE": "web"},
            without=frozenset(["FILLCAST_CREDENTIALS_PRIVATE_KEYS"]),
        )
    )
    output = wait_for_log(supervisor, "web", "\n")
    assert "('FILLCAST_DB_ROLE', 'web')" in output
    assert "canary" not in output
