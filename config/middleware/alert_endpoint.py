"""Answers posted alerts in front of Django, since a sender at a bar's close waits only seconds.

Django takes a thread and some milliseconds of computing for each request. Here alerts that arrive
together are stored together (`api/alert_batches.py`). All rules and answers are those of the view
(`api/hooks.py`), which answers whatever is not plainly a posted alert.
"""

import asyncio
import logging
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

import orjson
import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.request import split_domain_port, validate_host
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.security import SecurityMiddleware
from structlog.contextvars import bound_contextvars

from api.alert_batches import AlertBatches, NotStoredError
from api.hooks import accepted
from api.problems import CONTENT_TYPE, problem, refusal_problem
from api.throttling import retry_after_unauthenticated
from config.middleware.proxies import client_of
from config.middleware.request_retry import RETRY_AFTER_SECONDS
from config.middleware.security_headers import SecurityHeadersMiddleware
from signals.alert_addresses import UnknownAddressError
from signals.alert_posts import PostedAlert
from signals.alerts import RateLimitedError
from signals.strict_json import MAX_BYTES
from users.attempt_limits import network_of

log = structlog.get_logger(__name__)
_PATH = re.compile(r"/hooks/tradingview/([-a-zA-Z0-9_]+)/([^/\0]+)/")
_REQUEST_ID = re.compile(r"[\w.:-]{1,64}")
Scope = dict[str, Any]
Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class Answer(NamedTuple):
    """What an alert is answered."""

    status: int
    body: Mapping[str, Any]
    headers: Mapping[str, str]


class AlertEndpoint:
    """An ASGI application around Django's."""

    def __init__(self, django: Application) -> None:
        self._django, self._batches = django, AlertBatches()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a posted alert; pass everything else on."""
        post = _post_in(scope)
        if post is None:
            await self._django(scope, receive, send)
            return
        body = await _body(receive)
        if body is None:
            return  # its sender has gone
        answer = await self._answer(post, body)
        log.log(
            logging.INFO if answer.status < 400 else logging.WARNING,
            "request_finished",
            code=answer.status,
            request=f"POST {post.path}",
            request_id=post.request_id,
            ip=post.address,
        )
        content = orjson.dumps(answer.body)
        content_type = "application/json" if answer.status < 400 else CONTENT_TYPE
        own = {**answer.headers, "Content-Type": content_type, "Content-Length": str(len(content))}
        headers = [*_security_headers(is_secure=post.is_secure), *_encoded(own)]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def _answer(self, post: "_Post", body: bytes) -> Answer:
        alert = PostedAlert(post.feed, post.token, body, post.signature, post.address)
        try:
            receipt = await self._batches.store(alert)
        except NotStoredError as error:
            with bound_contextvars(request_id=post.request_id):
                return _not_stored(error)
        refused = receipt.error
        if isinstance(refused, UnknownAddressError):
            network = network_of(post.address)
            if wait := await asyncio.to_thread(retry_after_unauthenticated, network):
                refused = RateLimitedError(wait)
        if refused is not None:
            with bound_contextvars(request_id=post.request_id):  # the problem states it
                content, headers = refusal_problem(refused)
            return Answer(content["status"], content, headers)
        return Answer(202, accepted(receipt, post.feed, post.token), {})


class _Post(NamedTuple):
    path: str
    feed: str
    token: str
    address: str
    signature: str
    request_id: str
    is_secure: bool


def _post_in(scope: Scope) -> _Post | None:
    """Return the posted alert of a request; None: for Django, which redirects, say, to https."""
    if scope["type"] != "http" or scope["method"] != "POST":
        return None
    match = _PATH.fullmatch(scope["path"])
    if match is None:
        return None
    headers: dict[str, str] = {}
    for name, text in scope["headers"]:  # of equal names as Django has them, e.g. of two proxies
        known = headers.get(name.decode("latin-1"))
        shown = text.decode("latin-1")
        headers[name.decode("latin-1")] = shown if known is None else f"{known},{shown}"
    host, _ = split_domain_port(headers.get("host", ""))
    peer = (scope.get("client") or [""])[0]
    address, is_proxied = client_of(peer, headers.get("x-forwarded-for", ""))
    is_secure = scope.get("scheme") == "https" or (
        is_proxied and headers.get("x-forwarded-proto", "").split(",")[0].strip() == "https"
    )
    if not validate_host(host, settings.ALLOWED_HOSTS) or (
        settings.SECURE_SSL_REDIRECT and not is_secure
    ):
        return None
    length = headers.get("content-length", "")
    if length.isdigit() and int(length) > MAX_BYTES:
        return None
    named = headers.get("x-request-id", "")
    request_id = named if _REQUEST_ID.fullmatch(named) else str(uuid.uuid4())
    signature = headers.get("x-fillcast-signature", "")
    return _Post(match[0], match[1], match[2], address, signature, request_id, is_secure)


async def _body(receive: Receive) -> bytes | None:
    """Return the body, of a larger one a little more than MAX_BYTES; None: the sender has gone."""
    body = b""
    while len(body) <= MAX_BYTES:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    return body


def _not_stored(error: NotStoredError) -> Answer:
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if error.status == 503 else {}
    return Answer(error.status, problem(error.code, error.status), headers)


@cache
def _security_headers(*, is_secure: bool) -> list[tuple[bytes, bytes]]:
    """Return the headers that the middleware of all answers add to those of alerts."""
    request, response = HttpRequest(), HttpResponse()
    del response["Content-Type"]
    request.path = request.path_info = "/hooks/"
    request.META["HTTP_X_FORWARDED_PROTO"] = "https" if is_secure else "http"
    answer: Any = lambda _: response  # noqa: E731
    for middleware in (XFrameOptionsMiddleware, SecurityHeadersMiddleware, SecurityMiddleware):
        answer = middleware(answer)
    return _encoded(dict(answer(request).items()))


def _encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]
