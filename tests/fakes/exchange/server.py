"""The HTTP server of a venue, on a thread of its own, with faults on demand.

Fault kinds: `drop` (closed, nothing taken), `silent` (nothing taken, no answer either),
`drop_after` and `reset_after` (taken, no answer), `status` and `status_after` (an answer of ours
without and with taking it), `half` (taken, the line ends within the answer, after `body`), `torn`
(taken, half of the JSON), `late` (taken, answers after a while), `redirect`. As a process of its
own: `process.py`.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from aiohttp import web

from tests.fakes.exchange.venue import Fault, Venue

Handler = Callable[[web.Request, Mapping[str, str]], Awaitable[web.StreamResponse]]


class Dialect(Protocol):
    """How one exchange speaks. `kind` says whether a request is an 'order', a 'cancel' or a
    'read'; `answer` does it."""

    def __init__(self, venue: Venue) -> None: ...

    def kind(self, method: str, path: str) -> str: ...

    def answer(
        self, method: str, path: str, query: str, body: str, headers: Mapping[str, str]
    ) -> tuple[int, Any]: ...


class Server:
    """Serves a venue until `stop`. base: its address. others: accounts that it has besides, each a
    venue with a key of its own. control: routes besides the exchange's own."""

    def __init__(
        self,
        dialect: type[Dialect],
        venue: Venue,
        *others: Venue,
        port: int = 0,
        control: Sequence[web.RouteDef] = (),
    ) -> None:
        self.venue = venue
        self.accounts = {one.key: one for one in (venue, *others)}
        self._dialects = {one.key: dialect(one) for one in (venue, *others)}
        self._dialect = self._dialects[venue.key]
        self._control = control
        self._port = port
        self._callers: set[Any] = set()
        self.start()

    def start(self) -> None:
        """Listen, at the same port as before."""
        self._loop = asyncio.new_event_loop()
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        self._up.wait(10)

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def lines(self) -> int:
        """How many TCP connections have brought a request so far."""
        return len(self._callers)

    @property
    def is_up(self) -> bool:
        return self._thread.is_alive()

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._open())
        self._up.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._runner.cleanup())
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self._loop.close()

    async def _open(self) -> None:
        app = web.Application()
        app.add_routes(self._control)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        self._callers.add(request.transport.get_extra_info("peername"))
        body = await request.text()
        kind = self._dialect.kind(request.method, request.path)
        with self.venue.lock:
            self.venue.seen.append(f"{request.method} {request.path_qs}")
            if kind in ("order", "cancel"):
                self.venue.arrived.append(f"{request.path_qs} {body}")
                self.venue.last_write = dict(request.headers)
        fault = self.venue.take_fault(kind)
        if fault is not None and fault.kind in ("drop", "silent", "status", "redirect"):
            return await self._instead(request, fault)
        status, told = self._of(request).answer(
            request.method, request.path, request.rel_url.raw_query_string, body, request.headers
        )
        response = web.json_response(told, status=status)
        if fault is None and kind == "read" and self.venue.reads_torn:
            fault = Fault("half")
        return response if fault is None else await self._after(request, fault, response)

    def _of(self, request: web.Request) -> Dialect:
        """The account whose key a request shows, under whatever name the exchange has for it."""
        keys = (self._dialects.get(value) for value in request.headers.values())
        return next((one for one in keys if one is not None), self._dialect)

    async def _instead(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        """Answer without having taken anything."""
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

    async def _after(
        self, request: web.Request, fault: Fault, response: web.Response
    ) -> web.StreamResponse:
        """Spoil the answer to what was taken."""
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
                self.venue.last_half = text[: len(text) // 2] + fault.body
                request.transport.write((head + self.venue.last_half).encode())
                return _close_connection(request)
            case "late":
                await _wait(fault.seconds)
        return response


async def _wait(seconds: float) -> None:
    with suppress(asyncio.CancelledError):  # the client has gone
        await asyncio.sleep(seconds)


def _close_connection(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.close()
    return web.Response()
