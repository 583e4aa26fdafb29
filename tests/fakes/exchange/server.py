"""The HTTP server of a fake exchange, on its own thread, with faults on demand.

Kinds of faults that accept nothing: `drop` (the connection is closed), `silent` (no answer),
`status` (an answer from the test), `redirect`. Kinds that accept the request: `drop_after` and
`reset_after` (no answer), `status_after` (an answer from the test), `half` (the connection ends
within the answer, after `body`), `torn` (half of the JSON), `late` (the answer comes after a
while), `held` (it comes once `may_answer` is set). `sockets.py` serves its websockets.
`process.py` runs it in a separate process.
"""

import asyncio
import re
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from aiohttp import web

from tests.fakes.exchange.sockets import Sockets
from tests.fakes.exchange.streams import STREAMS
from tests.fakes.exchange.venue import Fault, Venue

LEVEL = re.compile(r"trigger|orderlist|type=(stop_loss|take_profit)\b(?!_)")
"""In the requests that place or change a stop or target."""
Handler = Callable[[web.Request, Mapping[str, str]], Awaitable[web.StreamResponse]]


class Dialect(Protocol):
    """One exchange's protocol. `kind` returns whether a request is an 'order', a 'cancel', a 'read'
    or 'time'; `answer` executes it and returns the HTTP status and the JSON."""

    def __init__(self, venue: Venue) -> None: ...

    def kind(self, method: str, path: str) -> str: ...

    def answer(
        self, method: str, path: str, query: str, body: str, headers: Mapping[str, str]
    ) -> tuple[int, Any]: ...


class Server:
    """Serves a venue until `stop`. base: its address. others: further accounts at the exchange,
    each with its own key. control: routes beside the exchange's own. make_loop: makes its loop."""

    def __init__(
        self,
        dialect: type[Dialect],
        venue: Venue,
        *others: Venue,
        port: int = 0,
        control: Sequence[web.RouteDef] = (),
        make_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
    ) -> None:
        self.venue = venue
        self.accounts = {account.key: account for account in (venue, *others)}
        self._dialects = {account.key: dialect(account) for account in (venue, *others)}
        self._dialect = self._dialects[venue.key]
        self.sockets = Sockets(STREAMS[dialect.__name__], self.accounts)
        self._control, self._make_loop = control, make_loop
        self.may_answer = threading.Event()  # ends each wait of `held`
        self._port = port
        self._peers: set[Any] = set()
        self.start()

    def start(self) -> None:
        """Listen; after a `stop`, at the same port as before."""
        self._loop = self._make_loop()
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        assert self._up.wait(60)

    @property
    def base(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def connection_count(self) -> int:
        """How many TCP connections have sent a request so far."""
        return len(self._peers)

    @property
    def is_up(self) -> bool:
        """Whether it serves."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Stop serving and close all connections."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(60)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._open())
        self._up.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._runner.cleanup())
        pending = asyncio.all_tasks(self._loop)
        for task in pending:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        self._loop.close()

    async def _open(self) -> None:
        app = web.Application()
        app.add_routes(self._control)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await site.start()
        self._port = self._runner.addresses[0][1]

    def drop_sockets(self) -> None:
        """Break all websockets."""
        self.sockets.drop(self._loop)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self.sockets.serve(request)
        assert request.transport is not None
        self._peers.add(request.transport.get_extra_info("peername"))
        body = await request.text()
        kind = self._dialect.kind(request.method, request.path)
        self.venue.expire()
        with self.venue.lock:
            self.venue.request_lines.append(f"{request.method} {request.path_qs}")
            arrived = f"{request.method} {request.path_qs} {body}"
            self.venue.arrivals.append((time.monotonic(), arrived))
            if kind in ("order", "cancel"):
                self.venue.writes.append(f"{request.path_qs} {body}")
                self.venue.last_write = dict(request.headers)
        words = f"{request.path_qs} {body}".lower()
        is_level = kind == "order" and LEVEL.search(words) is not None
        fault = (self.venue.pop_fault("level") if is_level else None) or self.venue.pop_fault(kind)
        if fault is not None and fault.kind in ("drop", "silent", "status", "redirect"):
            return await self._answer_without_accepting(request, fault)
        status, answer = self._dialect_of(request).answer(
            request.method, request.path, request.rel_url.raw_query_string, body, request.headers
        )
        if kind == "read" and self.venue.edit_read is not None:
            answer = self.venue.edit_read(answer)
        response = web.json_response(answer, status=status)
        if fault is None and kind == "read" and self.venue.truncates_reads:
            fault = Fault("half")
        return response if fault is None else await self._spoil_answer(request, fault, response)

    def _dialect_of(self, request: web.Request) -> Dialect:
        """Return the account whose key is in any of a request's headers."""
        matches = (self._dialects.get(value) for value in request.headers.values())
        return next((dialect for dialect in matches if dialect is not None), self._dialect)

    async def _answer_without_accepting(
        self, request: web.Request, fault: Fault
    ) -> web.StreamResponse:
        if fault.kind == "silent":
            await _wait(fault.seconds)
        if fault.kind in ("drop", "silent"):
            return _close_connection(request)
        if fault.kind == "redirect":
            return web.Response(status=307, headers={"Location": f"{self.base}{request.path_qs}"})
        kind = "application/json" if fault.body.startswith("{") else "text/html"
        return web.Response(
            status=fault.status, text=fault.body, content_type=kind, headers=fault.headers
        )

    async def _spoil_answer(
        self, request: web.Request, fault: Fault, response: web.Response
    ) -> web.StreamResponse:
        """Spoil the answer to an accepted request."""
        text = response.text or ""
        match fault.kind:
            case "drop_after":
                return _close_connection(request)
            case "reset_after":
                assert request.transport is not None
                request.transport.abort()
                return response
            case "status_after":
                kind = "application/json" if fault.body.startswith("{") else "text/html"
                return web.Response(status=fault.status, text=fault.body, content_type=kind)
            case "torn":
                half = text[: len(text) // 2]
                return web.Response(text=half, content_type="application/json")
            case "half":
                assert request.transport is not None
                head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(text) + len(fault.body)}\r\n\r\n"
                self.venue.last_partial_answer = text[: len(text) // 2] + fault.body
                request.transport.write((head + self.venue.last_partial_answer).encode())
                return _close_connection(request)
            case "late":
                await _wait(fault.seconds)
            case "held":
                while not self.may_answer.is_set():  # noqa: ASYNC110 (another thread sets it)
                    await asyncio.sleep(0.005)
        return response


async def _wait(seconds: float) -> None:
    with suppress(asyncio.CancelledError):  # the client has gone
        await asyncio.sleep(seconds)


def _close_connection(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.close()
    return web.Response()
