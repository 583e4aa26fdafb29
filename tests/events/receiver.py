"""A web server that records the messages it receives and answers as the test sets."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.fakes.http_server import serving_http


@dataclass
class Receiver:
    """journal: what arrived. answers: the next ones, then 200."""

    journal: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    location: str = ""
    retry_after: str = ""
    before_answer: Callable[[], None] = lambda: None
    drip: bool = False
    port: int = 0

    def url(self, path: str = "/hook", host: str = "127.0.0.1") -> str:
        return f"json://{host}:{self.port}{path}"


@contextmanager
def receiver() -> Iterator[Receiver]:
    state = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            state.journal.append(json.loads(body))
            state.paths.append(self.path)
            state.before_answer()
            if state.drip:
                self._drip()
                return
            self.send_response(state.answers.pop(0) if state.answers else 200)
            if state.location:
                self.send_header("Location", state.location)
            if state.retry_after:
                self.send_header("Retry-After", state.retry_after)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _drip(self) -> None:
            """A byte now and then, for ever: each read of the client succeeds in time."""
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            try:
                while not stopped.wait(0.05):
                    self.wfile.write(b".")
            except OSError:
                return

        def log_message(self, *_: Any) -> None:
            pass

    stopped = threading.Event()
    with serving_http(Handler) as state.port:
        try:
            yield state
        finally:
            stopped.set()
