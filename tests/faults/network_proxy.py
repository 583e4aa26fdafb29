"""The network between two processes: a TCP proxy with faults on demand."""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Self, TypeVar

T = TypeVar("T")
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close by a reset
PIECE = 65_536
SIGN_OF_LIFE = 6  # bytes of the paper broker's heartbeat, which is not a reply


class Network:
    """Listens on `port` and forwards everything to `target` (host, port), except during a fault.

    Every method may be called from any thread, and has taken effect when it returns.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="network")
        self._server: asyncio.Server | None = None
        self._pairs: dict[Pair, asyncio.Task[Any] | None] = {}
        self._open = asyncio.Event()
        self.port = 0
        self.seconds_late = 0.0
        self.halves = 0
        self.mute = False
        self.connected = 0  # number of accepted connections

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @property
    def address(self) -> str:
        """The address for clients: host:port."""
        return f"127.0.0.1:{self.port}"

    def heal(self) -> None:
        """Forward everything again, delayed data first."""
        self._do(self._heal())

    def refuse(self) -> None:
        """Refuse new connections and reset the existing ones."""
        self._do(self._refuse())

    def reset(self) -> None:
        """Reset every connection now; new ones are accepted."""
        self._do(self._reset())

    def partition(self) -> None:
        """Silently let nothing through, in either direction.

        If a sender gives up, all that it has sent since then is lost, as it would be in its kernel.
        """
        self._do(self._partition())

    def lose_replies(self) -> None:
        """Let requests through and drop replies."""
        self.mute = True

    def halve_replies(self, times: int = 1) -> None:
        """Let only the first half of the next piece of a reply through, then reset."""
        self.halves = times

    def delay(self, seconds: float) -> None:
        """Deliver everything `seconds` later, even if its sender has ended by then."""
        self.seconds_late = seconds

    # ---- on the loop ----------------------------------------------------------------------
    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _listen(self) -> None:
        self._open.set()
        self._server = await asyncio.start_server(self._welcome, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connected += 1
        pair = Pair(self)
        self._pairs[pair] = asyncio.current_task()
        try:
            await pair.run(reader, writer)
        finally:
            self._pairs.pop(pair)

    async def _heal(self) -> None:
        self.seconds_late, self.halves, self.mute = 0.0, 0, False
        self._open.set()
        if self._server is None:
            await self._listen()

    async def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._reset()

    async def _reset(self) -> None:
        for pair in list(self._pairs):
            pair.reset()

    async def _partition(self) -> None:
        self._open.clear()

    async def _end(self) -> None:
        await self._refuse()
        self._open.set()
        await asyncio.gather(*filter(None, self._pairs.values()), return_exceptions=True)

    @property
    def passes(self) -> asyncio.Event:
        """Set while data is forwarded."""
        return self._open


class Pair:
    """One connection through the network: two sockets, and a pump for each direction."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._writers: list[asyncio.StreamWriter] = []
        self._pumps: list[Pump] = []

    async def run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        try:
            there, back = await asyncio.open_connection(*self._network.target)
        except OSError:
            self.reset()
            return
        self._writers.append(back)
        self._pumps = [
            Pump(self._network, reader, back, self.reset, is_reply=False),
            Pump(self._network, there, writer, self.reset, is_reply=True),
        ]
        await asyncio.gather(*(pump.run() for pump in self._pumps))
        for open_writer in self._writers:
            open_writer.close()

    def reset(self) -> None:
        """Reset both ends."""
        for writer in self._writers:
            sock = writer.get_extra_info("socket")
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()


class Pump:
    """One direction of a connection. It reads even in a partition, to notice the sender's end."""

    def __init__(
        self,
        network: Network,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        reset: Callable[[], None],
        *,
        is_reply: bool,
    ) -> None:
        self._network, self._source, self._sink = network, source, sink
        self._reset, self._is_reply = reset, is_reply
        self._way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        self._gone = asyncio.Event()

    async def run(self) -> None:
        carrier = asyncio.create_task(self._carry())
        loop = asyncio.get_running_loop()
        with suppress(OSError):  # a reset ends it too
            while data := await self._source.read(PIECE):
                self._way.put_nowait((loop.time() + self._network.seconds_late, data))
        self._gone.set()
        self._way.put_nowait((0.0, b""))
        with suppress(OSError):
            await carrier
        self._sink.close()

    async def _carry(self) -> None:
        network, loop = self._network, asyncio.get_running_loop()
        while True:
            due, data = await self._way.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            if not data or not await self._may_pass():
                return
            if self._is_reply and network.mute:
                continue
            if self._is_reply and network.halves and len(data) > SIGN_OF_LIFE:
                network.halves -= 1
                self._sink.write(data[: len(data) // 2])
                await asyncio.sleep(0.01)
                self._reset()
                return
            self._sink.write(data)
            await self._sink.drain()

    async def _may_pass(self) -> bool:
        """Wait while nothing passes. Return False if the sender gave up before that ended."""
        passes = self._network.passes
        if not passes.is_set():
            waits = [asyncio.create_task(event.wait()) for event in (passes, self._gone)]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for task in waits:
                task.cancel()
        return passes.is_set()
