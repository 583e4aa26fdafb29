"""Processes follow the versions: each role, a child, one that was away, one without a session."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection

from common.db.sql import rows
from common.models import SettingsVersion
from common.operational import current, store
from common.permissions import Role
from tests.roles import staff
from tests.until import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]
ROOT = Path(__file__).resolve().parents[3]
FOLLOWER = """
import os, sys, time
import django
django.setup()
from common.operational.current import in_force, settings_now
settings_now()
if sys.argv[1:] == ["fork"] and os.fork():
    os.wait()
before = None
while True:
    found = in_force()
    now = (found.number, found.document.execution.poll_seconds)
    if now != before:
        print(*now, flush=True)
    before = now
    time.sleep(0.01)
"""


QUIET = """
import logging, sys, threading, time
import django
django.setup()

def report():
    before = None
    while True:
        now = logging.getLogger().level
        if now != before:
            print("level", now, flush=True)
        before = now
        time.sleep(0.01)

threading.Thread(target=report, daemon=True).start()
if sys.argv[1] == "web":
    import config.asgi
    time.sleep(600)
elif sys.argv[1] == "beat":
    from config.__main__ import main
    main(["beat", "--schedule", "/nowhere"])
else:
    from django.core.management import call_command
    call_command(sys.argv[1])
"""
"""A process that has nothing to do, so that nothing in it asks for a setting."""


class Follower:
    """A process of the product that prints what is in force."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process, self.lines = process, list[str]()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.strip())

    def reaches(self, line: str) -> None:
        """Wait until it has printed this as its newest line."""
        until(lambda: self.lines[-1:] == [line], f"waiting for {line}", seen=lambda: self.lines)


@contextmanager
def following(*arguments: str, code: str = FOLLOWER, **variables: str) -> Iterator[Follower]:
    ours = connection.settings_dict
    login = f"{ours['USER']}:{ours['PASSWORD']}@{ours['HOST']}:{ours['PORT']}"
    environ = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "DATABASE_URL": f"postgresql://{login}/{ours['NAME']}",
        "PYTHONPATH": str(ROOT),
        **variables,
    }
    command = [sys.executable, "-c", code, *arguments]
    with subprocess.Popen(
        command, env=environ, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            yield Follower(process)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def poll_every(seconds: int) -> None:
    root = staff(Role.ADMINISTRATOR)
    store.save({"execution": {"poll_seconds": seconds}}, by=root, why="A test.", origin="console")


def test_each_role_follows_within_its_interval() -> None:
    assert current.CHECK_SECONDS <= 1
    with (
        following(FILLCAST_DB_ROLE="web") as web,
        following(FILLCAST_DB_ROLE="trade") as worker,
        following("fork", FILLCAST_DB_ROLE="trade") as child,
    ):
        for one in (web, worker, child):
            one.reaches("0 2")
        poll_every(1)
        for one in (web, worker, child):
            one.reaches("1 1")


@pytest.mark.parametrize("program", ["web", "beat", "prices", "buses", "bus_receiver"])
def test_log_level_reaches_a_process_that_asks_for_no_setting(program: str) -> None:
    redis = settings.REDIS_URL
    variables = {"FILLCAST_DB_ROLE": "web" if program == "web" else "trade", "REDIS_URL": redis}
    if program == "buses":
        variables["FILLCAST_BUSES"] = f"{redis.replace('redis://', 'redis+stream://')}/following"
    if program == "bus_receiver":
        variables["FILLCAST_BUSES"] = "from+nats://127.0.0.1:1"
    with following(program, code=QUIET, **variables) as one:
        until(lambda: "level 20" in one.lines, "it has started", seen=lambda: one.lines)
        root = staff(Role.ADMINISTRATOR)
        changes = {"messages": {"log_level": "ERROR"}}
        store.save(changes, by=root, why="A test.", origin="console")
        until(lambda: "level 40" in one.lines, "it follows", seen=lambda: one.lines)


def test_process_that_was_away_uses_the_newest_version() -> None:
    with following(FILLCAST_DB_ROLE="trade") as one:
        one.reaches("0 2")
        os.killpg(one.process.pid, signal.SIGSTOP)
        for seconds in (1, 3, 4):
            poll_every(seconds)
        os.killpg(one.process.pid, signal.SIGCONT)
        one.reaches("3 4")


def test_process_goes_on_following_after_its_session_ended() -> None:
    with following(FILLCAST_DB_ROLE="trade") as one:
        one.reaches("0 2")
        until(lambda: rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'fillcast-trade' AND datname = current_database()"
        ), "its session ends")  # fmt: skip
        poll_every(1)
        one.reaches("1 1")


def test_broken_version_changes_no_process() -> None:
    with following(FILLCAST_DB_ROLE="trade") as one:
        one.reaches("0 2")
        poll_every(1)
        one.reaches("1 1")
        SettingsVersion.objects.create(id=2, document={"x": 1}, origin="console", why="By hand.")
        SettingsVersion.objects.create(
            id=3, document={"execution": {"poll_seconds": 5}}, origin="console", why="Again."
        )
        one.reaches("3 5")
        assert not any(line.startswith("2 ") for line in one.lines)
    with following(FILLCAST_DB_ROLE="web") as late:  # started while the newest one is broken
        SettingsVersion.objects.create(id=4, document=[], origin="console", why="By hand.")
        late.reaches("3 5")


def test_contradiction_with_the_lease_stops_no_reader_silently(tmp_path: Path) -> None:
    """The defaults need a lease of more than five seconds: nothing is in force until one version
    is valid for it."""
    with following(FILLCAST_DB_ROLE="trade", FILLCAST_LEASE_SECONDS="3") as one:
        assert one.process.wait(120) != 0  # it raised SettingsUnreadError
    assert one.lines == []
