"""Tenants who browse while `load` trades: their process, and what it has reported."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

from django.conf import settings
from django.test import Client

from benchmarks.page_readers import Request
from config.installation import ROOT
from users.models import User


class Browsers:
    """The running process and what it has reported."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._lock, self._ended = threading.Lock(), list[Request]()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    def join(self) -> None:
        """Wait until the process has written everything; its input must be closed."""
        self._thread.join()

    def take(self) -> list[Request]:
        """Return the requests that have ended since the last call."""
        with self._lock:
            ended, self._ended = self._ended, []
        return ended

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            fresh = [Request(*one) for one in json.loads(line)]
            with self._lock:
                self._ended += fresh


@contextmanager
def browsing(port: int, tenants: Sequence[tuple[User, UUID]]) -> Iterator[Browsers]:
    """Let tenants browse meanwhile. Cookies are signed with this process's secret key."""
    arguments = [str(port), settings.SESSION_COOKIE_NAME]
    command = [sys.executable, "-m", "benchmarks.page_readers", *arguments]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as process:  # type: ignore[call-overload]
        browsers = Browsers(process)
        try:
            given = [[_cookie(user), str(account)] for user, account in tenants]
            process.stdin.write(json.dumps(given) + "\n")
            process.stdin.flush()
            yield browsers
        finally:
            process.stdin.close()
            browsers.join()


def _cookie(user: User) -> str:
    """Sign a tenant in and return the value of the cookie."""
    client = Client()
    client.force_login(user)
    return client.cookies[settings.SESSION_COOKIE_NAME].value
