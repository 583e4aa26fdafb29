"""Questions to TWS on one session's line, within its gateway's budget."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from brokers.base import ReadFailed
from brokers.budgets import Rank
from brokers.ibkr.ear import Ear
from brokers.ibkr.wire import TwsClient
from common.codes import Code

if TYPE_CHECKING:
    from brokers.ibkr.session import Session


class Questions:
    """Asks, and waits for the whole answer."""

    def __init__(self, session: "Session", ear: Ear) -> None:
        self._session, self._ear = session, ear
        self._locks: dict[str, asyncio.Lock] = {}

    async def ask(
        self, send: Callable[[TwsClient, int], None], *, key: str = "", rank: Rank = Rank.READ
    ) -> list[Any]:
        """Ask TWS and return its answers. key: of answers without a request id; one at a time.

        Raises ReadFailed; AnswerError where TWS refused.
        """
        if key:
            async with self._locks.setdefault(key, asyncio.Lock()):
                return await self._ask(send, key, rank)
        return await self._ask(send, "", rank)

    async def say(
        self, client: TwsClient, send: Callable[[TwsClient], None], rank: Rank = Rank.READ
    ) -> None:
        """Say something that is not answered, unless the line that it is about has ended. rank: of
        what waits until it is said."""
        with suppress(ReadFailed, OSError):
            if self._session.client is client:
                await self._session.budget.acquire(rank=rank)
            if self._session.client is client:
                send(client)

    async def _ask(self, send: Callable[[TwsClient, int], None], key: str, rank: Rank) -> list[Any]:
        session, client = self._session, self._session.client
        await session.budget.acquire(rank=rank)
        if client is not session.client:
            raise ReadFailed(Code.NOT_CONNECTED, "the line was made anew meanwhile")
        req_id = client.getReqId()
        told = self._ear.begin(key or req_id)
        try:
            send(client, req_id)
            async with asyncio.timeout(session.pace.read):
                return await told
        except TimeoutError as error:
            raise ReadFailed(Code.BROKER_UNREACHABLE, "TWS does not answer") from error
        except OSError as error:
            raise ReadFailed(Code.NOT_CONNECTED, str(error)) from error
        finally:
            self._ear.give_up(key or req_id)
