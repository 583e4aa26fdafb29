"""Questions to TWS on one session's line, within its gateway's budget."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from brokers.base import ReadFailed
from brokers.ibkr.tws_socket import TwsClient
from brokers.ibkr.wrapper import TwsWrapper
from brokers.rate_limits import Priority
from common.reason_codes import Code

if TYPE_CHECKING:
    from brokers.ibkr.session import Session


class RequestClient:
    """Asks, and waits for the whole answer."""

    def __init__(self, session: "Session", ear: TwsWrapper) -> None:
        self._session, self._wrapper = session, ear
        self._locks: dict[str, asyncio.Lock] = {}

    async def ask(
        self,
        send: Callable[[TwsClient, int], None],
        *,
        key: str = "",
        priority: Priority = Priority.READ,
    ) -> list[Any]:
        """Ask TWS and return its answers. key: of answers without a request id; one at a time.

        Raises ReadFailed; AnswerError where TWS refused.
        """
        if key:
            async with self._locks.setdefault(key, asyncio.Lock()):
                return await self._ask(send, key, priority)
        return await self._ask(send, "", priority)

    async def say(
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

    async def _ask(
        self, send: Callable[[TwsClient, int], None], key: str, priority: Priority
    ) -> list[Any]:
        session, client = self._session, self._session.client
        await session.rate_limiter.acquire(priority=priority)
        if client is not session.client:
            raise ReadFailed(Code.NOT_CONNECTED, "the line was made anew meanwhile")
        req_id = client.getReqId()
        answer = self._wrapper.begin(key or req_id)
        try:
            send(client, req_id)
            async with asyncio.timeout(session.timing.read):
                return await answer
        except TimeoutError as error:
            raise ReadFailed(Code.BROKER_UNREACHABLE, "TWS does not answer") from error
        except OSError as error:
            raise ReadFailed(Code.NOT_CONNECTED, str(error)) from error
        finally:
            self._wrapper.give_up(key or req_id)
