"""A web service that decides about entries. It keeps a journal of its own and checks signatures."""

import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.decisions import SECRET
from tests.fakes.http_server import serving_http

Answer = Callable[[dict[str, Any]], Any]


def factor(value: object, reason: str = "because") -> Answer:
    """Return an answer that gives each entry this factor."""

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        decisions = [
            {"order_id": entry["order_id"], "factor": value, "reason": reason}
            for entry in request["entries"]
        ]
        return {"request_id": request["request_id"], "decisions": decisions}

    return answer


@dataclass
class DecisionService:
    """journal: the requests with a valid signature; forged: how many had none.

    answer: makes the JSON of an answer, or its bytes. release: set, so that a hanging answer ends.
    """

    journal: list[dict[str, Any]] = field(default_factory=list)
    forged: int = 0
    answer: Answer = field(default_factory=lambda: factor("1"))
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    hangs: bool = False
    drips: bool = False
    release: threading.Event = field(default_factory=threading.Event)
    asked: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/decide"

    def order_ids(self) -> list[list[int]]:
        return [[entry["order_id"] for entry in request["entries"]] for request in self.journal]


def is_signed(header: str, body: bytes) -> bool:
    """Check a signature as docs/decision-step.md describes it."""
    parts = dict(part.split("=", 1) for part in header.split(","))
    signed = parts["t"].encode() + b"." + body
    expected = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, parts["v1"])


@contextmanager
def decision_service() -> Iterator[DecisionService]:
    """Run the service on a free port."""
    state = DecisionService()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if not is_signed(self.headers["X-Fillcast-Signature"], body):
                state.forged += 1
                self.send_error(403)
                return
            request = json.loads(body)
            state.journal.append(request)
            state.asked.set()
            if state.hangs:
                state.release.wait(120)
            answer = state.answer(request)
            data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self._send(data)

        def _send(self, data: bytes) -> None:
            try:
                self.send_response(state.status)
                for name, value in state.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if state.drips:  # each read of the client succeeds in time
                    for position in range(len(data)):
                        self.wfile.write(data[position : position + 1])
                        if state.release.wait(0.05):
                            return
                self.wfile.write(data)
            except OSError:
                return

        def log_message(self, *_: Any) -> None:
            pass

    with serving_http(Handler) as state.port:
        try:
            yield state
        finally:
            state.release.set()
