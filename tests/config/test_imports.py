"""A process imports only what it needs: workers no pages, and no library to find what to poll."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from config.installation import ROOT
from config.session_priority import SAME_MACHINE

pytestmark = pytest.mark.processes

WEB = ("console.admin", "config.urls", "portal.urls", "api.urls", "rest_framework.views")
SHELL = ("prompt_toolkit", "celery.bin.celery")
LIBRARIES = ("ib_async", "numpy")  # of a broker type that needs no polling
NOT_NEEDED = {*WEB, *SHELL, *LIBRARIES, "tests"}

AS_A_WORKER = """
import json, sys
import config.__main__
from config.celery import app
app.loader.import_default_modules()
from execution.recovery.order_polling import polled_broker_types
assert polled_broker_types()
imported = [*sys.modules]
from django.contrib.admin import site
from django.core.checks import Tags, run_checks
before = len(site._registry)
run_checks(tags=[Tags.admin])
print(json.dumps([imported, before, len(site._registry)]))
"""

AS_THE_FORK_SERVER = """
import json, os, sys
from config.fork_imports import import_all
begin = import_all()
imported = [*sys.modules]
shared = [os.readlink(f"/proc/self/fd/{file}") for file in os.listdir("/proc/self/fd")[3:-1]]
threads = len(os.listdir("/proc/self/task"))
sys.argv = ["manage.py", "prices"]
begin()
os.nice(7)
from django.db import connection
with connection.cursor() as cursor:
    cursor.execute("SELECT current_setting('fillcast.program')")
    (program,) = cursor.fetchone()
niceness = os.getpriority(os.PRIO_PROCESS, connection.connection.info.backend_pid)
import config.__main__
import prices.management.commands.prices
from config.celery import app
app.loader.import_default_modules()
app.Worker, app.Beat, app.amqp, app.backend, app.control, app.events, app.log
from execution.recovery.order_polling import polled_broker_types
assert polled_broker_types()
print(json.dumps([imported, [*{*sys.modules} - {*imported}], shared, threads, program, niceness]))
"""


def run(code: str, **env: str) -> Any:
    """Run code in a new process; return what it prints as JSON."""
    environ = {name: value for name, value in os.environ.items() if name != "CELERY_SKIP_CHECKS"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**environ, **env},
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_fork_imports_no_pages_or_libraries_and_system_check_imports_all() -> None:
    imported, before, after = run(AS_A_WORKER)
    assert {"execution.tasks", "celery.bin.worker"} <= {*imported}
    assert NOT_NEEDED & {*imported} == set()
    assert (before, after > 20) == (0, True)


def test_fork_server_imports_what_forks_need_and_shares_no_connection() -> None:
    imported, later, shared, threads, program, niceness = run(
        AS_THE_FORK_SERVER, **{"FILLCAST_DB_ROLE": "trade", SAME_MACHINE: "1"}
    )
    assert {"execution.tasks", "celery.bin.worker", "brokers.mt5.adapter"} <= {*imported}
    assert NOT_NEEDED & {*imported} == set()
    assert later == ["config.__main__"]
    assert (shared, threads) == ([], 1)
    # the fork's, not the server's
    assert (program, niceness) == ("command:prices", 7)


def test_supervisor_imports_no_apps_and_no_celery() -> None:
    """It only starts and watches processes, as long as the stack runs."""
    imported = run("""
import json, sys
import manage
import ops.management.commands.stack
print(json.dumps([*sys.modules]))
""")
    assert "ops.stack.supervisor" in imported
    assert {"celery", "kombu", "structlog", "django.db.models", "execution"} & {*imported} == set()
