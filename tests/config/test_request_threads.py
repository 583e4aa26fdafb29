"""The web process: one thread for each request, from the first middleware to the answer."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import path
from pytest_django import Settings

from common.streaming import PART_BYTES, StreamedResponse
from config.request_threads import ThreadedHandler

_seen: list[int] = []
_read: list[int] = []


class Recorder:
    """A middleware that notes its thread around each request and before each view."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        _seen.append(threading.get_ident())
        response = self._get_response(request)
        _seen.append(threading.get_ident())
        return response

    def process_view(self, *_: Any) -> None:
        _seen.append(threading.get_ident())


def plain(request: HttpRequest) -> HttpResponse:
    _seen.append(threading.get_ident())
    return HttpResponse("read")


def broken(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("broken")


def long(request: HttpRequest) -> StreamedResponse:
    def parts() -> Iterator[bytes]:
        for number in range(3):
            _read.append(number)
            yield b"x" * PART_BYTES

    return StreamedResponse(parts())


urlpatterns = [path("plain/", plain), path("broken/", broken), path("long/", long)]


@pytest.fixture
def handler(settings: Settings) -> ThreadedHandler:
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = [f"{__name__}.Recorder", f"{__name__}.Recorder"]
    _seen.clear()
    _read.clear()
    return ThreadedHandler()


def answers(handler: ThreadedHandler, *addresses: str) -> list[list[dict[str, Any]]]:
    """Ask for all at once; return what each was sent, with how many parts were read until then."""

    async def ask(address: str) -> list[dict[str, Any]]:
        sent: list[dict[str, Any]] = []
        requests = [{"type": "http.request", "body": b""}]

        async def receive() -> dict[str, Any]:
            if requests:
                return requests.pop()
            await asyncio.Event().wait()  # it stays connected
            raise AssertionError

        async def send(message: Mapping[str, Any]) -> None:
            sent.append({**message, "read": len(_read)})

        scope = {
            "type": "http", "method": "GET", "path": address, "headers": [(b"host", b"localhost")],
            "query_string": b"", "http_version": "1.1", "scheme": "http",
        }  # fmt: skip
        await handler(scope, receive, send)
        return sent

    async def all_of_them() -> list[list[dict[str, Any]]]:
        return await asyncio.gather(*map(ask, addresses))

    return asyncio.run(all_of_them())


def test_middleware_and_view_share_a_thread(handler: ThreadedHandler) -> None:
    ((start, body),) = answers(handler, "/plain/")
    assert (start["status"], body["body"]) == (200, b"read")
    assert len(_seen) == 7
    assert len({*_seen}) == 1
    assert threading.get_ident() not in _seen


def test_requests_do_not_wait_for_each_other(handler: ThreadedHandler) -> None:
    together = threading.Barrier(4, timeout=30)

    def met(request: HttpRequest) -> HttpResponse:
        together.wait()
        return HttpResponse("met")

    urlpatterns.append(path("met/", met))
    try:
        found = answers(handler, *["/met/"] * 4)
    finally:
        urlpatterns.pop()
    assert [body["body"] for _, body in found] == [b"met"] * 4


def test_error_of_a_view_is_an_answer(handler: ThreadedHandler) -> None:
    ((start, *_),) = answers(handler, "/broken/")
    assert start["status"] == 500


def test_long_answer_is_sent_while_it_is_read(handler: ThreadedHandler) -> None:
    (messages,) = answers(handler, "/long/")
    bodies = [one for one in messages if one.get("body")]
    assert sum(len(one["body"]) for one in bodies) == 3 * PART_BYTES
    assert bodies[0]["read"] == 1
