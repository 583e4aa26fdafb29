"""The PostgreSQL and Redis of a test process, which end with it."""

import atexit
import os
import sys
from contextlib import ExitStack

import django

from ops.embedded.servers import Servers
from tests.prepared_database import BYTECODE, copy_to, kept_folder
from tests.server_folders import remove_left_behind, server_folder

NEEDED = ("DATABASE_URL", "REDIS_URL")
UNREACHABLE = {
    "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
    "REDIS_URL": "redis://127.0.0.1:1",
}
SETTINGS = "DJANGO_SETTINGS_MODULE"
PREPARED = "TEST_DATABASE_PREPARED"  # set: TEST_DATABASE_URL has all migrations applied


class TestServers:
    """Embedded servers in a temporary folder, announced in environment variables."""

    __test__ = False  # not a test case, despite its name

    def __init__(self, *, needed: bool = True) -> None:
        """Start the servers, except those that TEST_DATABASE_URL and TEST_REDIS_URL name.

        If none are needed, addresses without a server are announced.
        """
        remove_left_behind()
        self._ends = ExitStack()
        self.folder = self._ends.enter_context(server_folder("fillcast-tests-"))
        (self.folder / "static").mkdir()  # whitenoise warns without it
        (self.folder / "sends").mkdir()  # removed with it
        given = (
            {name: os.environ.get(f"TEST_{name}", "") for name in NEEDED} if needed else UNREACHABLE
        )
        if not given["DATABASE_URL"]:
            copy_to(self.folder / "postgres")
        self._servers = Servers(self.folder, given, fast=True).start()
        os.environ |= self._servers.urls
        os.environ["FILLCAST_VAR"] = str(self.folder)

    def stop(self) -> None:
        """Stop the servers and remove their data. May be called twice."""
        self._servers.stop()
        self._ends.close()


def keep_bytecode() -> None:
    """Compile each module once, not in each of the hundreds of processes that a run starts.

    If the environment forbids bytecode beside the sources, it is kept with temporary files.
    """
    if not sys.dont_write_bytecode:
        return
    sys.dont_write_bytecode = False
    sys.pycache_prefix = str(kept_folder() / BYTECODE)
    del os.environ["PYTHONDONTWRITEBYTECODE"]
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix


def set_up(*, needed: bool = True) -> TestServers:
    """Start the servers, if they are needed, and set up Django to use them.

    DJANGO_SETTINGS_MODULE is not in pyproject.toml: pytest-django would read it earlier.
    """
    keep_bytecode()
    for name in [name for name in os.environ if name.startswith("FILLCAST_")]:
        del os.environ[name]  # a test run is the same whatever the developer's shell has set
    os.environ["FILLCAST_ENV_FILE"] = os.devnull
    # The same for the processes that tests start; see tests/operational.py.
    os.environ["FILLCAST_SETTINGS_SOURCE"] = '{"maintenance": {"broker_windows": false}}'
    os.environ[SETTINGS] = "config.settings"
    servers = TestServers(needed=needed)
    atexit.register(servers.stop)
    django.setup()
    from tests import operational

    operational.reset()
    _have_patience()
    if not needed:
        del os.environ[SETTINGS]  # child processes have to start their own servers first
    return servers


def _have_patience() -> None:
    """Give PostgreSQL and Redis a minute to answer this process, as a busy machine may need. Tests
    of time-outs set their own."""
    from django.conf import settings

    from brokers.paper import db_sessions

    patience = " -c statement_timeout=60s -c idle_in_transaction_session_timeout=60s"
    for database in settings.DATABASES.values():
        options = database["OPTIONS"]
        options["connect_timeout"] = 60
        options["options"] = options.get("options", "") + patience
    db_sessions.OPTIONS += patience
    minute = {"socket_timeout": 60, "socket_connect_timeout": 60}
    settings.CACHES = {"default": {**settings.CACHES["default"], "OPTIONS": minute}}
