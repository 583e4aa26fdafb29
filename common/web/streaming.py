"""Answers that are sent as they are read: a long table is never in memory as a whole."""

from collections.abc import AsyncIterator, Iterator
from typing import cast

from asgiref.sync import sync_to_async
from django.db import close_old_connections
from django.http import StreamingHttpResponse  # noqa: TID251  # its base

PART_BYTES = 64 * 1024


class StreamedResponse(StreamingHttpResponse):
    """A streaming answer of an ordinary iterator, which an ASGI server streams too.

    Django's own reads the whole iterator into a list there before it sends the first byte. Here a
    part is read when the server has room for it, so that a slow reader slows the reading down. No
    transaction may be open between two values of the iterator: a database session goes back to the
    pool after each part, and a reader that takes hours keeps none.
    """

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the content in parts of about PART_BYTES."""
        lines = cast("Iterator[bytes]", self.streaming_content)
        while part := await sync_to_async(_next_part)(lines):
            yield part


class EventStream(StreamingHttpResponse):
    """Server-sent events of an asynchronous iterator, which no proxy may collect or keep."""

    def __init__(self, events: AsyncIterator[bytes]) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(events, content_type="text/event-stream", headers=headers)


def _next_part(lines: Iterator[bytes]) -> bytes:
    """Return the next lines; b"" at the end."""
    part = bytearray()
    try:
        for line in lines:
            part += line
            if len(part) >= PART_BYTES:
                break
    finally:
        close_old_connections()
    return bytes(part)
