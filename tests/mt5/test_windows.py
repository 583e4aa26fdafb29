"""The worker beside a terminal runs on Windows: nothing on its way needs what only Unix has."""

import subprocess
import sys

import pytest

from tests.fakes.mt5.fake_terminal import ROOT

PROGRAM = r"""
import builtins, os, signal, sys, time

import asyncio, multiprocessing, subprocess, celery.apps.worker, celery.concurrency.thread

OURS = {"common", "brokers", "events", "users", "signals", "alerts", "connections", "prices",
        "positions", "execution", "analytics", "api", "portal", "conformance", "console", "ops",
        "demo", "config"}
UNIX = {"fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "uvloop"}
imported, missing = builtins.__import__, []

def as_on_windows(name, globals=None, *others, **words):
    asker = (globals or {}).get("__name__", "")
    if name.partition(".")[0] in UNIX and asker.partition(".")[0] in OURS:
        missing.append(f"{asker} imports {name}")
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return imported(name, globals, *others, **words)

builtins.__import__ = as_on_windows
for module, names in (
    (signal, "SIGALRM SIGCHLD SIGCONT SIGHUP SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGUSR1 SIGUSR2"
             " pthread_kill pthread_sigmask setitimer"),
    (os, "fork forkpty geteuid getegid getgid getuid getpgid killpg mkfifo setsid getloadavg"
         " sched_getaffinity"),
    (time, "CLOCK_BOOTTIME clock_gettime"),
):
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)

from config.celery import app

app.loader.import_default_modules()
app.finalize()

import brokers.mt5.worker_process
from brokers.types import ConnectionSpec
from brokers.registry import adapter_for
from common.clocks import machine_time
from execution import startup
from execution.dispatch import order_dispatcher, report_writer
from execution.recovery import order_polling
from execution.runtime import trading_runtime

unknown = ConnectionSpec("", "")
assert adapter_for("mt5").capabilities(unknown).session
assert machine_time() > 0
assert "mt5" in order_polling.polled_broker_types()
missing = set(missing) - {
    "brokers.dwx.file_io imports fcntl",  # MetaTrader 4 is served on Unix
    "common.process.open_files imports resource",  # it goes without
}
assert not missing, missing
print("fine")
"""


@pytest.mark.processes
def test_worker_needs_no_unix_only_modules() -> None:
    completed = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={"DJANGO_SETTINGS_MODULE": "config.settings", "FILLCAST_ENV_FILE": "/dev/null",
             "FILLCAST_MT5_TERMINAL": "alpha=", "DATABASE_URL": "postgresql://user@localhost/none",
             "REDIS_URL": "redis://localhost", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert completed.stdout.strip() == "fine", completed.stderr[-2000:]
