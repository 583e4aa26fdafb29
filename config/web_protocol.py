"""What a connection to the web process may cost before its request is complete.

uvicorn waits for ever for the rest of a request, and its parser keeps a header of any size. Here
a header and a body have RECEIVE_SECONDS each, and so has a client that reads no answer a minute.
"""

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

RECEIVE_SECONDS = 10.0
UNREAD_SECONDS = 60.0  # for the next 64 KiB of an answer
LATE_SECONDS = 1.0  # a timer that is later shows that this process stood still, not the client
MAX_HEADER_BYTES = 64 * 1024
MAX_BODY_BYTES = 4_000_000  # on the line, with all framing and what was refused already
_REASONS = {
    408: b"The request was not complete in time.",
    431: b"The header is too large.",
}


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which ends what a client leaves half done."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._receiving: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._in_header = self._in_body = self._was_extended = False
        self._size = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give the client time for its first header."""
        super().connection_made(transport)
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """End all timers."""
        self._received()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what has come, and count it."""
        was_header, was_body = self._in_header, self._in_body
        super().data_received(data)
        if self.transport.is_closing():
            return
        if was_header or was_body:
            self._size += len(data)
        if was_header and self._in_header and self._size > MAX_HEADER_BYTES:
            self._end(431)
        elif was_body and self._in_body and self._size > MAX_BODY_BYTES:
            self.transport.close()  # it was answered 413 long ago
        elif self._receiving is None and not self._is_answering():
            self._expect()  # an empty line between two requests has ended the keep-alive timer

    def on_message_begin(self) -> None:
        """Give the client time for the header of a further request."""
        super().on_message_begin()
        self._in_header, self._size = True, 0
        if self._receiving is None:
            self._expect()

    def on_headers_complete(self) -> None:
        """Give the client time for the body."""
        self._in_header, self._in_body, self._size = False, True, 0
        self._expect()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Wait no longer."""
        self._in_body = False
        self._received()
        super().on_message_complete()

    def pause_writing(self) -> None:
        """Wait for a client that reads slowly, not for one that does not read."""
        super().pause_writing()
        self._unread = self._unread or self.loop.call_later(UNREAD_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on with the answer."""
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
        super().resume_writing()

    def _is_answering(self) -> bool:
        latest = cast("RequestResponseCycle | None", self.cycle)  # None before the first request
        return latest is not None and not latest.response_complete

    def _expect(self) -> None:
        self._received()
        self._was_extended = False
        self._wait()

    def _wait(self) -> None:
        due = self.loop.time() + RECEIVE_SECONDS
        self._receiving = self.loop.call_later(RECEIVE_SECONDS, self._time_is_up, due)

    def _received(self) -> None:
        if self._receiving is not None:
            self._receiving.cancel()
            self._receiving = None

    def _time_is_up(self, due: float) -> None:
        self._receiving = None
        if self.transport.is_closing():
            return
        is_answering = self._is_answering()
        stood_still = self.loop.time() - due > LATE_SECONDS and not self._was_extended
        if self.flow.read_paused or (is_answering and not self._in_body) or stood_still:
            self._was_extended = stood_still
            self._wait()  # it is not the client that we wait for
        elif is_answering and self.cycle.response_started:
            self.transport.abort()
        elif self._in_header or is_answering:
            self._end(408)
        else:
            self.transport.close()

    def _end(self, status: int) -> None:
        """Answer with an error and close the connection."""
        text = _REASONS[status]
        self.transport.write(
            STATUS_LINE[status]
            + b"content-type: text/plain; charset=utf-8\r\nconnection: close\r\n"
            + b"content-length: %d\r\n\r\n%b" % (len(text), text)
        )
        self.transport.close()
