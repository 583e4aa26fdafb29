"""Orders over the line: they leave in frames, and each is told once how it ended."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from brokers.base import BrokerError, Guard, NotSent, Outcome, OutcomeUnknown, Tell
from brokers.messages import ConnectionSpec, OrderRequest
from brokers.paper.form import malformed
from brokers.paper.remote.answers import patience
from brokers.paper.remote.frames import as_it_came
from brokers.paper.remote.link import Link
from brokers.paper.remote.words import PAIR, SUBMIT, fragment, read_outcome
from common.codes import Code

IN_A_FRAME = 100  # orders
Written = tuple[ConnectionSpec, OrderRequest, orjson.Fragment]


async def place(
    link: Link, requests: Sequence[tuple[ConnectionSpec, OrderRequest]], guard: Guard, tell: Tell
) -> None:
    """Place orders, 100 in a frame. Ends when each has been told."""
    written = [(spec, request, fragment(PAIR, (spec, request))) for spec, request in requests]
    parts = [written[at : at + IN_A_FRAME] for at in range(0, len(written), IN_A_FRAME)]
    left = [_leave(link, part, guard, tell) for part in parts]  # nothing is awaited in between
    batches = [batch for batch in left if batch]
    try:
        for batch in batches:
            await batch.done
    finally:
        for batch in batches:
            batch.end()


class Batch:
    """Orders that left in one frame, and whom to tell how each of them ended, once."""

    def __init__(self, orders: Sequence[tuple[ConnectionSpec, OrderRequest]], tell: Tell) -> None:
        loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = loop.create_future()
        self._open = {index: request for index, (_, request) in enumerate(orders)}
        self._tell, self._specs = tell, [spec for spec, _ in orders]
        self._forget: Callable[[], None] = lambda: None
        waits: dict[float, list[int]] = {}
        for index, (spec, _) in enumerate(orders):
            waits.setdefault(patience(spec), []).append(index)
        self._timers = [
            loop.call_later(seconds, self._give_up, indexes, "no answer")
            for seconds, indexes in waits.items()
        ]

    def left_by(self, link: Link, number: int) -> None:
        """Remember where the answers come from."""
        self._forget = lambda: link.forget(number)

    def hear(self, message: Mapping[str, Any]) -> None:
        for index, words in message["outcomes"]:
            if index in self._open:
                outcome = read_outcome(words)
                self._say(index, outcome)

    def lose(self, why: str, came: bytes = b"") -> None:
        self._give_up(list(self._open), as_it_came(why, came, self._specs))

    def end(self) -> None:
        """Nobody listens any more."""
        self._open.clear()
        self._forget()
        for timer in self._timers:
            timer.cancel()

    def _give_up(self, indexes: Sequence[int], why: str) -> None:
        for index in indexes:
            if index in self._open:
                self._say(index, OutcomeUnknown(Code.REPLY_LOST, why))

    def _say(self, index: int, outcome: Outcome) -> None:
        self._tell(self._open.pop(index), outcome)
        if not self._open and not self.done.done():
            self.done.set_result(None)


def _leave(link: Link, written: Sequence[Written], guard: Guard, tell: Tell) -> Batch | None:
    """Write those orders of a frame that may leave. None: none did.

    The guard is asked about each when the frame is ready, and nothing but the write comes after
    it. Where it refuses one, the others are made ready and asked about anew: a process that stood
    still at one of them has let the earlier ones through long ago.
    """
    leaving = _ask_about(written, _well_formed, tell)
    while leaving:
        batch = Batch([(spec, request) for spec, request, _ in leaving], tell)
        message = {"do": SUBMIT, "args": [words for *_, words in leaving]}
        number, frame = link.make_ready(message)
        let_through = _ask_about(leaving, guard, tell)
        if len(let_through) < len(leaving):
            batch.end()
            leaving = let_through
            continue
        try:
            link.write(number, frame, batch)
        except OSError as error:
            batch.end()
            for _, request, _ in leaving:
                tell(request, NotSent(Code.NOT_CONNECTED, str(error)))
            return None
        batch.left_by(link, number)
        return batch
    return None


def _ask_about(written: Sequence[Written], guard: Guard, tell: Tell) -> list[Written]:
    """Return the orders that are let through; the others are told why they are not."""
    let_through = []
    for order in written:
        try:
            guard(order[1])
        except BrokerError as error:
            tell(order[1], error)
        else:
            let_through.append(order)
    return let_through


def _well_formed(request: OrderRequest) -> None:
    if wrong := malformed(request):
        raise wrong
