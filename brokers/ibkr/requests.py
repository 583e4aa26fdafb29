"""Requests to TWS over one session's connection, within its gateway's rate limit."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from brokers.base import ReadFailed
from brokers.ibkr.timing import Timing
from brokers.ibkr.tws_socket import TwsClient
from brokers.ibkr.wrapper import TwsWrapper
from brokers.rate_limits import Priority, RateLimiter
from common.reason_codes import Code


class Connection(Protocol):
    """What requests need of the session whose connection they use."""

    @property
    def client(self) -> TwsClient:
        """The connected client. Raises ReadFailed."""

    @property
    def rate_limiter(self) -> RateLimiter:
        """The gateway's rate limit."""

    @property
    def timing(self) -> Timing:
        """How long answers may take."""


class RequestClient:
    """Sends requests and waits for the complete answer."""

    def __init__(self, session: Connection, wrapper: TwsWrapper) -> None:
        self._session, self._wrapper = session, wrapper
        self._locks: dict[str, asyncio.Lock] = {}

    async def request(
        self,
        send: Callable[[TwsClient, int], None],
        *,
        key: str = "",
        priority: Priority = Priority.READ,
    ) -> list[Any]:
        """Send a request and return its answers.

        key: for answers without a request id; such requests go one at a time. Raises ReadFailed;
        AnswerError if TWS refused.
        """
        if key:
            async with self._locks.setdefault(key, asyncio.Lock()):
                return await self._request(send, key, priority)
        return await self._request(send, "", priority)

    async def send(
        self,
        client: TwsClient,
        send: Callable[[TwsClient], None],
        priority: Priority = Priority.READ,
    ) -> None:
        """Send a message that has no answer, unless the connection that it is about has ended.

        priority: that of the request which waits for it."""
        with suppress(ReadFailed, OSError):
            if self._session.client is client:
                await self._session.rate_limiter.acquire(priority=priority)
            if self._session.client is client:
                send(client)

    async def _request(
        self, send: Callable[[TwsClient, int], None], key: str, priority: Priority
    ) -> list[Any]:
        session, client = self._session, self._session.client
        await session.rate_limiter.acquire(priority=priority)
        if client is not session.client:
            raise ReadFailed(Code.NOT_CONNECTED, "the session reconnected meanwhile")
        req_id = client.getReqId()
        answer = self._wrapper.begin_request(key or req_id)
        try:
            send(client, req_id)
            async with asyncio.timeout(session.timing.read):
                return await answer
        except TimeoutError as error:
            raise ReadFailed(Code.BROKER_UNREACHABLE, "TWS does not answer") from error
        except OSError as error:
            raise ReadFailed(Code.NOT_CONNECTED, str(error)) from error
        finally:
            self._wrapper.discard_request(key or req_id)
