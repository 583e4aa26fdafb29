"""`GET /api/v1/stream/`: what happens to your orders, as server-sent events."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from asgiref.sync import sync_to_async
from django.db import close_old_connections
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request

from buses.catalogue import CATALOGUE, type_of
from buses.envelope import Envelope
from buses.sources import SOURCES
from buses.stream.access import Access, access_of
from buses.stream.hub import Item, Subscription, hub
from buses.stream.past import TooOldError, missed, require_recent
from buses.stream.place import Place
from common.errors import ConflictError, InvalidInputError
from common.reason_codes import Code
from common.web.api_parameters import check_parameters
from common.web.api_views import ApiView
from common.web.streaming import EventStream
from users.api import caller
from users.models import User

CHECK_SECONDS = 5.0  # until a revoked key ends its stream
HEARTBEAT_SECONDS = 15.0
RETRY_MS = 3_000  # after which a browser connects again
MOST_STREAMS = 10  # of one user, in one web process
NAMES = [source.name for source in SOURCES]
TYPES = {event.type: type_of(event) for event in CATALOGUE}
PARAMETERS = [
    OpenApiParameter(
        "types", str, description=f"With commas, some of {', '.join(TYPES)}; default: all."
    ),
    OpenApiParameter(
        "Last-Event-ID", str, OpenApiParameter.HEADER,
        description="The `id` of the last event received: the stream goes on after it. An event may"
        " come twice; its data has an `id` of its own.",
    ),
]  # fmt: skip
_open: Counter[int] = Counter()


class EventStreamRenderer(BaseRenderer):
    """Lets a client ask for text/event-stream. The view streams it itself."""

    media_type, format, charset = "text/event-stream", "sse", None

    def render(self, data: Any, *args: Any) -> bytes:
        """Return an error as problem details; a stream is never rendered."""
        return bytes(JSONRenderer().render(data, *args))


class StreamView(ApiView):
    """What happens to your orders, fills and positions, as it happens."""

    renderer_classes = (EventStreamRenderer, JSONRenderer)

    @extend_schema(
        parameters=PARAMETERS,
        responses={(200, "text/event-stream"): OpenApiResponse(OpenApiTypes.STR)},
    )
    def get(self, request: Request) -> EventStream:
        """Open a stream; docs/events has the types. It ends when your key is revoked."""
        check_parameters(request, PARAMETERS)
        types = _types(request.query_params.get("types", ""))
        place = _place(request.headers.get("Last-Event-ID", ""))
        user = caller(request)
        if _open[user.pk] >= MOST_STREAMS:
            detail = f"You have {MOST_STREAMS} open streams here. Close one first."
            raise ConflictError(
                Code.QUOTA_REACHED, detail, name="streams", value=_open[user.pk],
                maximum=MOST_STREAMS,
            )  # fmt: skip
        return EventStream(_stream(user, access_of(request), types, place))


def _types(text: str) -> frozenset[str]:
    """Return the types that are wanted. Raises InvalidInputError for an unknown one."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := [name for name in names if name not in TYPES]:
        wrong = f"Unknown: {', '.join(unknown)[:100]}. Known: {', '.join(TYPES)}."
        raise InvalidInputError(Code.FIELD_INVALID, wrong, field="types")
    return frozenset(TYPES[name] for name in names or TYPES)


def _place(text: str) -> Place | None:
    """Return the place of a Last-Event-ID; None: from now on. Raises InvalidInputError."""
    if not text:
        return None
    try:
        return Place.parse(text, NAMES)
    except ValueError:
        wrong = "An `id` that a stream of this installation has sent, or no such header."
        raise InvalidInputError(Code.FIELD_INVALID, wrong, field="Last-Event-ID") from None


async def _stream(
    user: User, access: Access, types: frozenset[str], place: Place | None
) -> AsyncIterator[bytes]:
    """Yield the bytes of a stream until its reader leaves or may not read any more."""

    def wanted(event: Envelope) -> bool:
        is_mine = access.is_operator or event.tenant_id == user.pk
        return is_mine and event.type in types

    _open[user.pk] += 1
    made: Subscription | None = None
    try:
        made = Subscription(wanted)
        await _in_thread(hub.subscribe, made)
        yield f"retry: {RETRY_MS}\n: connected\n\n".encode()
        if place is not None:
            async for part in _past(user, wanted, place, made.start):
                yield part
        else:
            yield f"id: {made.place}\n\n".encode()
        async for part in _new(made, access):
            yield part
    finally:
        _open[user.pk] -= 1
        if not _open[user.pk]:
            del _open[user.pk]
        if made is not None:
            hub.unsubscribe(made)


async def _past(user: User, wanted: Any, place: Place, start: Place) -> AsyncIterator[bytes]:
    try:
        require_recent(place, start)
    except TooOldError as error:
        yield _reset(str(error), start.text())
        return
    pages = missed(user, wanted, place, start)
    while (page := await _in_thread(next, pages, None)) is not None:
        for item in page:
            yield _encoded(item)
    yield f"id: {start.text()}\n\n".encode()


async def _new(made: Subscription, access: Access) -> AsyncIterator[bytes]:
    checked = beaten = time.monotonic()
    while not made.is_too_slow:
        try:
            yield _encoded(await asyncio.wait_for(made.queue.get(), CHECK_SECONDS / 2))
        except TimeoutError:
            pass
        now = time.monotonic()
        if now - checked >= CHECK_SECONDS:
            checked = now
            if not await _in_thread(access.is_still_allowed):
                yield b'event: end\ndata: {"reason": "The key or session has ended."}\n\n'
                return
        if now - beaten >= HEARTBEAT_SECONDS and made.queue.empty():
            beaten = now
            yield f": alive\nid: {made.place}\n\n".encode()
    yield b'event: end\ndata: {"reason": "Too slow; connect again with Last-Event-ID."}\n\n'


def _encoded(item: Item) -> bytes:
    head = f"id: {item.place}\nevent: {item.event.type}\ndata: "
    return head.encode() + item.event.to_json() + b"\n\n"


def _reset(reason: str, place: str) -> bytes:
    """Return what a reader gets that cannot be caught up: it reads the API's tables once."""
    text = f'{{"reason": "{reason} Read the tables of the API, then go on here."}}'
    return f"id: {place}\nevent: reset\ndata: {text}\n\n".encode()


async def _in_thread(function: Any, *arguments: Any) -> Any:
    return await sync_to_async(_closing, thread_sensitive=False)(function, *arguments)


def _closing(function: Any, *arguments: Any) -> Any:
    """Call it in a thread that keeps no database session."""
    try:
        return function(*arguments)
    finally:
        close_old_connections()
