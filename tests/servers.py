"""The servers of a test run: PostgreSQL and Redis of its own, gone when it ends."""

import os
import shutil
import tempfile
from pathlib import Path

from common.embedded.servers import Servers

NEEDED = ("DATABASE_URL", "REDIS_URL")


class TestServers:
    """Embedded servers, announced by environment variables, in a folder that is thrown away."""

    __test__ = False  # not a test case, whatever its name begins with

    def __init__(self) -> None:
        """Start them. A URL that is set on purpose (TEST_DATABASE_URL, TEST_REDIS_URL) is used."""
        self._folder = Path(tempfile.mkdtemp(prefix="fillcast-tests-"))
        self._folder.chmod(0o755)  # PostgreSQL runs as another user when we are root
        (self._folder / "static").mkdir()  # whitenoise warns where there is none
        given = {name: os.environ.get(f"TEST_{name}", "") for name in NEEDED}
        self._servers = Servers(self._folder, given, fast=True).start()
        os.environ |= self._servers.urls
        os.environ["FILLCAST_VAR"] = str(self._folder)

    def stop(self) -> None:
        """End them and remove their data. May be called twice."""
        self._servers.stop()
        shutil.rmtree(self._folder, ignore_errors=True)
