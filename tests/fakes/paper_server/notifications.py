"""Notifications of new events: the server sends them to all listeners, each waits for them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any

from brokers.base import BrokerError, ReadFailed
from common.reason_codes import Code
from tests.fakes.paper_server.connection import ServerConnection
from tests.fakes.paper_server.protocol import LISTEN, UNLISTEN, encode_error, read_error

if TYPE_CHECKING:
    from tests.fakes.paper_server.server import ClientConnection, Responder

NOTIFICATION = {"notification": True}


class NotificationHub:
    """The server's listeners. One subscription to the books serves them all."""

    def __init__(self, notifications: Callable[[], AsyncIterator[None]]) -> None:
        self._notifications = notifications
        self._listeners: dict[tuple[ClientConnection, int], Responder] = {}
        self._watch: asyncio.Task[None] | None = None

    def listen(self, client: "ClientConnection", respond: "Responder") -> None:
        """Notify now, and whenever there is a new event."""
        self._listeners[client, respond.number] = respond
        if self._watch is None:
            self._watch = asyncio.get_running_loop().create_task(self._watch_over())
        respond(NOTIFICATION)

    def unlisten(self, client: "ClientConnection", number: int | None = None) -> None:
        """End a listener; number None: all of a client's."""
        for key in [key for key in self._listeners if key[0] is client]:
            if number in (None, key[1]):
                del self._listeners[key]
        if not self._listeners:
            self.close()

    def close(self) -> None:
        """End the subscription to the books."""
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()

    async def _watch_over(self) -> None:
        try:
            async for _ in self._notifications():
                self._send_to_all(NOTIFICATION)
        except BrokerError as error:
            self._watch = None
            self._send_to_all(encode_error(error))
            self._listeners.clear()

    def _send_to_all(self, message: dict[str, Any]) -> None:
        for respond in list(self._listeners.values()):
            respond(message)


class NotificationListener:
    """The client side of one listener. Notifications that arrive unread count as one."""

    def __init__(self) -> None:
        self._is_pending = asyncio.Event()
        self._fault: BrokerError | None = None

    async def notifications(self, link: ServerConnection) -> AsyncIterator[None]:
        """Yield at each notification, until the connection is lost. Raises ReadFailed."""
        number, frame = link.make_ready({"do": LISTEN, "args": []})
        try:
            link.write(number, frame, self)
            while True:
                await self._is_pending.wait()
                self._is_pending.clear()
                if self._fault is not None:
                    raise self._fault
                yield
        except ConnectionError as error:
            raise ReadFailed(Code.BROKER_UNREACHABLE, str(error)) from error
        finally:
            self._hang_up(link, number)

    def receive(self, message: Mapping[str, Any]) -> None:
        if "error" in message:
            self._fault = read_error(message)
        self._is_pending.set()

    def lose(self, why: str, came: bytes = b"") -> None:
        self._fault = ReadFailed(Code.BROKER_UNREACHABLE, why)
        self._is_pending.set()

    def _hang_up(self, link: ServerConnection, number: int) -> None:
        link.forget(number)
        if link.usable:
            mine, frame = link.make_ready({"do": UNLISTEN, "args": [number]})
            try:
                link.write(mine, frame, self)
            except ConnectionError:
                return
            link.forget(mine)
