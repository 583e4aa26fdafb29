"""Orders over TCP: they leave in frames, and each gets one outcome."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from brokers.base import BrokerError, Guard, NotSent, OnOutcome, Outcome, OutcomeUnknown
from brokers.paper.request_validation import malformed
from brokers.types import ConnectionSpec, OrderRequest
from common.reason_codes import Code
from tests.fakes.paper_server.connection import ServerConnection
from tests.fakes.paper_server.framing import describe_lost_answer
from tests.fakes.paper_server.pending_call import reply_timeout
from tests.fakes.paper_server.protocol import PAIR, SUBMIT, fragment, read_outcome

IN_A_FRAME = 100  # orders
EncodedOrder = tuple[ConnectionSpec, OrderRequest, orjson.Fragment]


async def place(
    link: ServerConnection,
    requests: Sequence[tuple[ConnectionSpec, OrderRequest]],
    guard: Guard,
    on_outcome: OnOutcome,
) -> None:
    """Place orders, 100 in a frame. Ends when each has its outcome."""
    written = [(spec, request, fragment(PAIR, (spec, request))) for spec, request in requests]
    parts = [written[at : at + IN_A_FRAME] for at in range(0, len(written), IN_A_FRAME)]
    left = [
        _write_frame(link, part, guard, on_outcome) for part in parts
    ]  # nothing is awaited in between
    batches = [batch for batch in left if batch]
    try:
        for batch in batches:
            await batch.done
    finally:
        for batch in batches:
            batch.end()


class OrderBatch:
    """Orders that left in one frame; reports the outcome of each once."""

    def __init__(
        self, orders: Sequence[tuple[ConnectionSpec, OrderRequest]], on_outcome: OnOutcome
    ) -> None:
        loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = loop.create_future()
        self._open = {index: request for index, (_, request) in enumerate(orders)}
        self._on_outcome, self._specs = on_outcome, [spec for spec, _ in orders]
        self._forget: Callable[[], None] = lambda: None
        waits: dict[float, list[int]] = {}
        for index, (spec, _) in enumerate(orders):
            waits.setdefault(reply_timeout(spec), []).append(index)
        self._timers = [
            loop.call_later(seconds, self._give_up, indexes, "no answer")
            for seconds, indexes in waits.items()
        ]

    def left_by(self, link: ServerConnection, number: int) -> None:
        """Remember where the answers come from."""
        self._forget = lambda: link.forget(number)

    def receive(self, message: Mapping[str, Any]) -> None:
        for index, encoded in message["outcomes"]:
            if index in self._open:
                outcome = read_outcome(encoded)
                self._report(index, outcome)

    def lose(self, why: str, came: bytes = b"") -> None:
        self._give_up(list(self._open), describe_lost_answer(why, came, self._specs))

    def end(self) -> None:
        """Ignore further answers."""
        self._open.clear()
        self._forget()
        for timer in self._timers:
            timer.cancel()

    def _give_up(self, indexes: Sequence[int], why: str) -> None:
        for index in indexes:
            if index in self._open:
                self._report(index, OutcomeUnknown(Code.REPLY_LOST, why))

    def _report(self, index: int, outcome: Outcome) -> None:
        self._on_outcome(self._open.pop(index), outcome)
        if not self._open and not self.done.done():
            self.done.set_result(None)


def _write_frame(
    link: ServerConnection, written: Sequence[EncodedOrder], guard: Guard, on_outcome: OnOutcome
) -> OrderBatch | None:
    """Write those orders of a frame that may leave. None: none did.

    The guard is called for each when the frame is ready, and only the write comes after it. If it
    refuses one, a frame of the others is prepared and the guard is called for them again: the
    process may have stopped at the refused one, so the earlier checks are too old.
    """
    leaving = _check_guards(written, _well_formed, on_outcome)
    while leaving:
        batch = OrderBatch([(spec, request) for spec, request, _ in leaving], on_outcome)
        message = {"do": SUBMIT, "args": [encoded for *_, encoded in leaving]}
        number, frame = link.make_ready(message)
        let_through = _check_guards(leaving, guard, on_outcome)
        if len(let_through) < len(leaving):
            batch.end()
            leaving = let_through
            continue
        try:
            link.write(number, frame, batch)
        except OSError as error:
            batch.end()
            for _, request, _ in leaving:
                on_outcome(request, NotSent(Code.NOT_CONNECTED, str(error)))
            return None
        batch.left_by(link, number)
        return batch
    return None


def _check_guards(
    written: Sequence[EncodedOrder], guard: Guard, on_outcome: OnOutcome
) -> list[EncodedOrder]:
    """Return the orders that the guard lets through; report the error of each other one."""
    let_through = []
    for order in written:
        try:
            guard(order[1])
        except BrokerError as error:
            on_outcome(order[1], error)
        else:
            let_through.append(order)
    return let_through


def _well_formed(request: OrderRequest) -> None:
    if wrong := malformed(request):
        raise wrong
