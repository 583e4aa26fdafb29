"""The web process as in production, with the test's database, over a real socket."""

import http.client
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Self
from urllib.parse import urlencode

from django.db import connection

from tests.ports import free_port
from tests.until import until

ROOT = Path(__file__).resolve().parents[1]


@dataclass(slots=True)
class Answer:
    """A response."""

    status: int
    headers: http.client.HTTPMessage
    body: str

    @property
    def location(self) -> str:
        return self.headers.get("Location", "")


class WebProcess:
    """`python -m config.web_server`, as the stack starts it."""

    def __init__(self, log: Path, **settings: str) -> None:
        self.port = free_port()
        self._log, self._settings = log, settings
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        from config.env import Settings
        from ops.stack.stack import web_process

        ours = connection.settings_dict
        login = f"{ours['USER']}:{ours['PASSWORD']}@{ours['HOST']}:{ours['PORT']}"
        environ = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "DATABASE_URL": f"postgresql://{login}/{ours['NAME']}",
            "FILLCAST_SECRET_KEY": "k" * 40,
            "FILLCAST_LISTEN": str(self.port),
            **self._settings,
        }
        child = web_process(Settings.read(environ))
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                child.command, env={**environ, **child.env}, cwd=ROOT, stdout=output, stderr=output
            )
        assert child.ready is not None
        until(child.ready, "the web process does not answer", meanwhile=self._require_alive)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(60)

    def _require_alive(self) -> None:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()[-2000:]

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def end(self, number: signal.Signals) -> int:
        """Send it a signal and return the exit code; minus the signal that ended it."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(60)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Suspend the process meanwhile; what is sent to it waits for it."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def browser(self) -> "Browser":
        """Return a browser without cookies."""
        return Browser(self.port)


@dataclass(slots=True)
class Browser:
    """A client that keeps cookies and sends the CSRF token; it follows no redirects."""

    port: int
    cookies: dict[str, str] = field(default_factory=dict)

    def get(self, path: str, **headers: str) -> Answer:
        return self._ask("GET", path, None, headers)

    def post(self, path: str, data: Mapping[str, str] | None = None, **headers: str) -> Answer:
        if "csrftoken" not in self.cookies:
            self.get("/login/")
        values = {"csrfmiddlewaretoken": self.cookies.get("csrftoken", ""), **(data or {})}
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        return self._ask("POST", path, urlencode(values), headers)

    def sign_in(self, name: str, password: str, path: str = "/login/", **headers: str) -> Answer:
        return self.post(path, {"username": name, "password": password}, **headers)

    def _ask(self, method: str, path: str, body: str | None, headers: Mapping[str, str]) -> Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=110)
        try:
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            for values in answer.headers.get_all("Set-Cookie", []):
                for name, morsel in SimpleCookie(values).items():
                    self.cookies[name] = morsel.value
            return Answer(answer.status, answer.headers, answer.read().decode(errors="replace"))
        finally:
            connection.close()


def all_at_once(browsers: list[Browser], *logins: tuple[str, str], path: str) -> list[Answer]:
    """Sign in with all browsers at the same moment; the logins are used in turn."""
    for browser in browsers:
        browser.get("/login/")
    with ThreadPoolExecutor(len(browsers)) as pool:
        jobs = [
            pool.submit(browser.sign_in, *logins[n % len(logins)], path)
            for n, browser in enumerate(browsers)
        ]
        return [job.result() for job in jobs]


def code_in(page: str, pattern: str) -> str:
    """Return the part of a page that matches the first group of a pattern."""
    match = re.search(pattern, page)
    assert match, page[-3000:]
    return match[1]
