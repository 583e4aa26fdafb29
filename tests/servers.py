"""The servers of a test run: PostgreSQL and Redis of its own, gone when it ends."""

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

import django

from ops.embedded.servers import Servers
from tests.prepared_database import BYTECODE, copy_to, kept_folder

NEEDED = ("DATABASE_URL", "REDIS_URL")
UNREACHABLE = {
    "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
    "REDIS_URL": "redis://127.0.0.1:1",
}
SETTINGS = "DJANGO_SETTINGS_MODULE"


class TestServers:
    """Embedded servers, announced by environment variables, in a folder that is thrown away."""

    __test__ = False  # not a test case, whatever its name begins with

    def __init__(self, *, wanted: bool = True) -> None:
        """Start them. A URL that is set on purpose (TEST_DATABASE_URL, TEST_REDIS_URL) is used.

        If none are wanted, addresses without a server are announced.
        """
        self.folder = Path(tempfile.mkdtemp(prefix="fillcast-tests-"))
        self.folder.chmod(0o755)  # PostgreSQL runs as another user when we are root
        (self.folder / "static").mkdir()  # whitenoise warns where there is none
        given = (
            {name: os.environ.get(f"TEST_{name}", "") for name in NEEDED} if wanted else UNREACHABLE
        )
        if not given["DATABASE_URL"]:
            copy_to(self.folder / "postgres")
        self._servers = Servers(self.folder, given, fast=True).start()
        os.environ |= self._servers.urls
        os.environ["FILLCAST_VAR"] = str(self.folder)

    def stop(self) -> None:
        """End them and remove their data. May be called twice."""
        self._servers.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def keep_bytecode() -> None:
    """Compile each module once, not in each of the hundreds of processes that a run starts.

    Where the environment wants no bytecode beside the sources, it is kept with temporary files.
    """
    if not sys.dont_write_bytecode:
        return
    sys.dont_write_bytecode = False
    sys.pycache_prefix = str(kept_folder() / BYTECODE)
    del os.environ["PYTHONDONTWRITEBYTECODE"]
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix


def set_up(*, wanted: bool = True) -> TestServers:
    """Start the servers, if they are wanted, and Django on them, as every test finds it.

    DJANGO_SETTINGS_MODULE is not in pyproject.toml: pytest-django would read it earlier.
    """
    keep_bytecode()
    for name in [name for name in os.environ if name.startswith("FILLCAST_")]:
        del os.environ[name]  # a test run is the same whatever the developer's shell has set
    os.environ["FILLCAST_ENV_FILE"] = os.devnull
    # What brokers publish is about the hour and the weekday: at night and at weekends it would
    # forgive what tests are about, and let their entries wait. Tests of windows switch it on.
    os.environ["FILLCAST_BROKER_MAINTENANCE_WINDOWS"] = "no"
    os.environ[SETTINGS] = "config.settings"
    servers = TestServers(wanted=wanted)
    atexit.register(servers.stop)
    django.setup()
    if not wanted:
        del os.environ[SETTINGS]  # the processes that inherit it have to start theirs first
    return servers
