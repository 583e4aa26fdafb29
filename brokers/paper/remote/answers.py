"""One call over the line and its one answer."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from brokers.base import OutcomeUnknown
from brokers.messages import ConnectionSpec
from brokers.paper.kind import REPLY_TIMEOUT
from brokers.paper.remote.frames import as_it_came
from brokers.paper.remote.link import Link
from brokers.paper.remote.words import CALLS, ask, read_error
from common.codes import Code


def patience(spec: ConnectionSpec) -> float:
    """Return how long a connection waits for an answer, in seconds."""
    return float(spec.settings.get("reply_timeout", REPLY_TIMEOUT))


class Answer:
    """One call and its one answer."""

    def __init__(self, name: str, *arguments: Any) -> None:
        self._name, self._arguments = name, ask(name, arguments)
        self._specs = [one for one in arguments if isinstance(one, ConnectionSpec)]
        self._told: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def fetch(
        self, link: Link, seconds: float, guard: Callable[[], None] = lambda: None
    ) -> Any:
        """Send it and wait. guard: asked when the frame is ready, with only the write behind it.

        Raises what the guard does, OSError if it never left, OutcomeUnknown, or what was told.
        """
        number, frame = link.make_ready({"do": self._name, "args": self._arguments})
        guard()
        link.write(number, frame, self)
        try:
            return await asyncio.wait_for(self._told, seconds)
        except TimeoutError as error:
            raise OutcomeUnknown(Code.REPLY_LOST, "no answer") from error
        finally:
            link.forget(number)

    def hear(self, message: Mapping[str, Any]) -> None:
        if self._told.done():
            return
        if "error" in message:
            self._told.set_exception(read_error(message))
        else:
            self._told.set_result(CALLS[self._name].tells.validate_python(message["told"]))

    def lose(self, why: str, came: bytes = b"") -> None:
        if not self._told.done():
            words = as_it_came(why, came, self._specs)
            self._told.set_exception(OutcomeUnknown(Code.REPLY_LOST, words))
