"""The web process: a request is one call in its thread, from the first middleware to the answer."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

import pytest
from django.core.signals import request_finished
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import path, register_converter
from pytest_django import Settings

from common.web.streaming import PART_BYTES, StreamedResponse
from config.request_threads import ThreadedHandler

Next = Callable[[HttpRequest], HttpResponseBase]
Message = dict[str, Any]
WAIT_SECONDS = 120.0
_seen: list[int] = []
_read: list[int] = []
_outcomes: list[str] = []
_has_begun, _may_go_on, _has_ended = (threading.Event() for _ in range(3))


class Recorder:
    """A middleware that notes its thread around each request and before each view."""

    def __init__(self, get_response: Next) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        _seen.append(threading.get_ident())
        response = self._get_response(request)
        _seen.append(threading.get_ident())
        return response

    def process_view(self, *_: Any) -> None:
        _seen.append(threading.get_ident())


class Outcome:
    """A middleware that notes whether it got an answer, or what was raised in its place."""

    def __init__(self, get_response: Next) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        outcome = ""
        try:
            response = self._get_response(request)
            outcome = f"answer {response.status_code}"
        except BaseException as error:
            outcome = type(error).__name__
            raise
        finally:
            _outcomes.append(outcome)
            _has_ended.set()
        return response


class Waiting:
    """A middleware that waits for the test before it goes on."""

    def __init__(self, get_response: Next) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        wait_for_test()
        return self._get_response(request)


class Recorded:
    """A path converter that notes the thread in which the address is resolved."""

    regex = "[a-z]+"

    def to_python(self, value: str) -> str:
        _seen.append(threading.get_ident())
        return value

    def to_url(self, value: str) -> str:
        return value


register_converter(Recorded, "recorded")


def plain(request: HttpRequest, word: str) -> HttpResponse:
    _seen.append(threading.get_ident())
    return HttpResponse(word)


def waiting(request: HttpRequest) -> HttpResponse:
    wait_for_test()
    return HttpResponse(request.body)


def broken(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("broken")


def long(request: HttpRequest) -> StreamedResponse:
    def parts() -> Iterator[bytes]:
        for number in range(3):
            _read.append(number)
            yield b"x" * PART_BYTES

    return StreamedResponse(parts())


urlpatterns = [
    path("plain/<recorded:word>/", plain),
    path("waiting/", waiting),
    path("broken/", broken),
    path("long/", long),
]


def wait_for_test() -> None:
    _has_begun.set()
    assert _may_go_on.wait(WAIT_SECONDS)


@pytest.fixture
def handler(settings: Settings) -> ThreadedHandler:
    settings.ROOT_URLCONF = __name__
    for noted in (_seen, _read, _outcomes):
        noted.clear()
    for event in (_has_begun, _may_go_on, _has_ended):
        event.clear()
    return handler_with(settings, Recorder, Recorder)


def handler_with(settings: Settings, *middleware: type) -> ThreadedHandler:
    settings.MIDDLEWARE = [f"{__name__}.{one.__name__}" for one in middleware]
    return ThreadedHandler()


def answers(handler: ThreadedHandler, *addresses: str) -> list[list[Message]]:
    """Ask for all at once; return what each was sent, with how many parts were read until then."""

    async def all_of_them() -> list[list[Message]]:
        return await asyncio.gather(*(ask(handler, one, stay_connected) for one in addresses))

    return asyncio.run(all_of_them())


async def ask(
    handler: ThreadedHandler, address: str, after_request: Callable[[], Awaitable[Message]]
) -> list[Message]:
    """Send a request; return what was sent back. after_request: what the client does then."""
    sent: list[Message] = []
    requests = [{"type": "http.request", "body": b"typed"}]

    async def receive() -> Message:
        return requests.pop() if requests else await after_request()

    async def send(message: Mapping[str, Any]) -> None:
        sent.append({**message, "read": len(_read)})

    scope = {
        "type": "http", "method": "POST", "path": address, "headers": [(b"host", b"localhost")],
        "query_string": b"", "http_version": "1.1", "scheme": "http",
    }  # fmt: skip
    await handler(scope, receive, send)
    return sent


async def stay_connected() -> Message:
    await asyncio.Event().wait()
    raise AssertionError


def test_middleware_resolver_and_view_share_a_thread(handler: ThreadedHandler) -> None:
    ((start, body),) = answers(handler, "/plain/word/")
    assert (start["status"], body["body"]) == (200, b"word")
    assert len(_seen) == 8
    assert len({*_seen}) == 1
    assert threading.get_ident() not in _seen


@pytest.mark.usefixtures("handler")
def test_request_does_not_wait_for_a_busy_loop(settings: Settings) -> None:
    ended_meanwhile: list[bool] = []

    async def block_the_loop() -> Message:
        await asyncio.to_thread(_has_begun.wait, WAIT_SECONDS)
        _may_go_on.set()
        ended_meanwhile.append(_has_ended.wait(WAIT_SECONDS))
        return await stay_connected()

    handler = handler_with(settings, Outcome, Waiting, Recorder)
    start, _ = asyncio.run(ask(handler, "/plain/word/", block_the_loop))
    assert start["status"] == 200
    assert ended_meanwhile == [True]


@pytest.mark.usefixtures("handler")
def test_request_of_a_lost_client_is_carried_out(settings: Settings) -> None:
    releases: list[asyncio.Task[None]] = []

    async def go_on_once_cancelled(tasks: set[asyncio.Task[Any]]) -> None:
        while not any(task.cancelling() for task in tasks):  # noqa: ASYNC110 (a task has no event)
            await asyncio.sleep(0)
        _may_go_on.set()

    async def disconnect() -> Message:
        await asyncio.to_thread(_has_begun.wait, WAIT_SECONDS)
        releases.append(asyncio.create_task(go_on_once_cancelled(asyncio.all_tasks())))
        return {"type": "http.disconnect"}

    handler = handler_with(settings, Outcome)
    sent = asyncio.run(ask(handler, "/waiting/", disconnect))
    assert sent == []
    assert _has_ended.wait(WAIT_SECONDS)
    assert _outcomes == ["answer 200"]


def test_requests_do_not_wait_for_each_other(handler: ThreadedHandler) -> None:
    together = threading.Barrier(4, timeout=WAIT_SECONDS)

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


def test_request_that_raised_gives_its_session_back(
    handler: ThreadedHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where Django's page about the error raises: its signal closes what the request used."""
    ended: list[object] = []

    def fail(request: HttpRequest) -> HttpResponse:
        raise RuntimeError("broken")

    def note(sender: object, **_: Any) -> None:
        ended.append(sender)

    monkeypatch.setattr(handler, "get_response", fail)
    request_finished.connect(note)
    try:
        with pytest.raises(RuntimeError, match="broken"):
            answers(handler, "/plain/word/")
    finally:
        request_finished.disconnect(note)
    assert ended == [ThreadedHandler]
