"""One call over TCP and its one answer."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from brokers.base import OutcomeUnknown
from brokers.paper.form import REPLY_TIMEOUT
from brokers.types import ConnectionSpec
from common.reason_codes import Code
from tests.fakes.paper_server.connection import ServerConnection
from tests.fakes.paper_server.framing import describe_lost_answer
from tests.fakes.paper_server.protocol import CALLS, encode_arguments, read_error


def reply_timeout(spec: ConnectionSpec) -> float:
    """Return how long a connection waits for an answer, in seconds."""
    return float(spec.settings.get("reply_timeout", REPLY_TIMEOUT))


class PendingCall:
    """One call and its one answer."""

    def __init__(self, name: str, *arguments: Any) -> None:
        self._name, self._arguments = name, encode_arguments(name, arguments)
        self._specs = [argument for argument in arguments if isinstance(argument, ConnectionSpec)]
        self._outcome: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def fetch(
        self, link: ServerConnection, seconds: float, guard: Callable[[], None] = lambda: None
    ) -> Any:
        """Send it and wait. guard: called when the frame is ready; only the write comes after it.

        Raises what the guard does, OSError if it never left, OutcomeUnknown, or the answer's error.
        """
        number, frame = link.make_ready({"do": self._name, "args": self._arguments})
        guard()
        link.write(number, frame, self)
        try:
            return await asyncio.wait_for(self._outcome, seconds)
        except TimeoutError as error:
            raise OutcomeUnknown(Code.REPLY_LOST, "no answer") from error
        finally:
            link.forget(number)

    def receive(self, message: Mapping[str, Any]) -> None:
        if self._outcome.done():
            return
        if "error" in message:
            self._outcome.set_exception(read_error(message))
        else:
            self._outcome.set_result(
                CALLS[self._name].result_type.validate_python(message["result"])
            )

    def lose(self, why: str, came: bytes = b"") -> None:
        if not self._outcome.done():
            detail = describe_lost_answer(why, came, self._specs)
            self._outcome.set_exception(OutcomeUnknown(Code.REPLY_LOST, detail))
