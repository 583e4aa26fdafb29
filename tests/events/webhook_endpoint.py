"""A receiver of signed webhooks: it keeps each request, and checks it by the standard."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from standardwebhooks import Webhook

from tests.fakes.http_server import serving_http


@dataclass
class Endpoint:
    """A receiver of signed webhooks. answers: (status, body) of the next ones, then 204."""

    port: int = 0
    received: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    answers: list[tuple[int, bytes]] = field(default_factory=list)
    location: str = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?key=canary-7f3a"

    def verified(self, secret: str, which: int = -1) -> Any:
        headers, body = self.received[which]
        return Webhook(secret).verify(body, headers)


@contextmanager
def serving() -> Iterator[Endpoint]:
    endpoint = Endpoint()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            endpoint.received.append((dict(self.headers.items()), body))
            status, answer = endpoint.answers.pop(0) if endpoint.answers else (200, b"")
            self.send_response(status)
            if endpoint.location:
                self.send_header("Location", endpoint.location)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    with serving_http(Handler) as endpoint.port:
        yield endpoint
