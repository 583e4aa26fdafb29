"""The network to PostgreSQL, in which the answer to the commit of an intent is lost."""

import asyncio
import re
import threading
from contextlib import suppress
from typing import Any, Self

PIECE = 65_536
COMMIT = b"COMMIT"
INTENT = re.compile(rb"(?<![a-z0-9])dev[a-z0-9]{15}(?![a-z0-9])")  # a client order id of ours


class CommitProxy:
    """Forwards everything to `target` (host, port), and cuts sessions at the commit of intents.

    A session is cut when it commits a transaction that has named a client order id: PostgreSQL gets
    the COMMIT and has answered it, and the worker does not receive the answer. cuts: how many are
    still to come (each `every` th such commit); done: how many there were.
    """

    def __init__(self, target: tuple[str, int], *, cuts: int, every: int = 1) -> None:
        self._target, self.cuts, self._every = target, cuts, every
        self.done = self._seen = self.port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(30)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _listen(self) -> None:
        self._server = server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            back, forth = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        session = _Session(self)
        tasks = [
            asyncio.create_task(session.carry_requests(reader, forth)),
            asyncio.create_task(session.carry_answers(back, writer)),
        ]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        for one in (writer, forth):
            with suppress(OSError):
                one.transport.abort() if session.is_cut else one.close()

    def takes(self) -> bool:
        """Whether this commit of intents is one to cut."""
        self._seen += 1
        if self.cuts <= 0 or self._seen % self._every:
            return False
        self.cuts -= 1
        return True


class _Session:
    """One connection. is_cut: the next answer is the last one, and is not passed on."""

    def __init__(self, proxy: CommitProxy) -> None:
        self._proxy, self._has_intents, self.is_cut = proxy, False, False

    async def carry_requests(self, source: asyncio.StreamReader, sink: Any) -> None:
        with suppress(OSError):
            while data := await source.read(PIECE):
                self._has_intents = self._has_intents or INTENT.search(data) is not None
                if COMMIT in data:
                    self.is_cut = self._has_intents and self._proxy.takes()
                    self._has_intents = False
                sink.write(data)
                await sink.drain()

    async def carry_answers(self, source: asyncio.StreamReader, sink: Any) -> None:
        with suppress(OSError):
            while data := await source.read(PIECE):
                if self.is_cut:
                    self._proxy.done += 1
                    return
                sink.write(data)
                await sink.drain()
