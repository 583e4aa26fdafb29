"""Answers posted alerts in front of Django, since a sender at a bar's close waits only seconds.

Django takes a thread and some milliseconds of computing for each request. Here alerts that arrive
together are stored together (`api/alert_batches.py`). All rules and answers are those of the view
(`api/hooks.py`), which answers whatever is not plainly a posted alert.
"""

import asyncio
import logging
import re
import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson
import structlog
from django.conf import settings
from django.http.request import split_domain_port, validate_host
from structlog.contextvars import bound_contextvars

from alerts.inbox.addresses import UnknownAddressError
from alerts.inbox.posts import PostedAlert
from alerts.inbox.storing import RateLimitedError
from api.alert_batches import AlertBatches, NotStoredError
from api.hooks import accepted
from api.problems import CONTENT_TYPE, problem, refusal_problem
from api.throttling import retry_after_unauthenticated
from config.middleware.asgi_answers import (
    Application,
    Receive,
    Scope,
    Send,
    caller,
    headers_of,
    send_answer,
)
from config.middleware.request_retry import RETRY_AFTER_SECONDS
from signals.reading.strict_json import MAX_BYTES
from users.sign_in.attempt_limits import network_of

log = structlog.get_logger(__name__)
_PATH = re.compile(r"/hooks/tradingview/([-a-zA-Z0-9_]+)/([^/\0]+)/")
_REQUEST_ID = re.compile(r"[\w.:-]{1,64}")


class Answer(NamedTuple):
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
        own = {**answer.headers, "Content-Type": content_type}
        await send_answer(send, answer.status, content, own, is_secure=post.is_secure)

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
    headers = headers_of(scope)
    host, _ = split_domain_port(headers.get("host", ""))
    address, is_secure = caller(scope, headers)
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
