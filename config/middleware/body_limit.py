"""Refuses a body that is larger than any page takes, while it arrives.

Django reads a whole body, into a temporary file, before it looks at the request: a stranger could
fill the disk by one. How long a body may take: `config/web_protocol.py`.
"""

import orjson
import structlog
from django.conf import settings

from api.problems import CONTENT_TYPE, problem
from common.reason_codes import Code
from config.middleware.asgi_answers import (
    Application,
    Message,
    Receive,
    Scope,
    Send,
    caller,
    headers_of,
    send_answer,
)
from config.middleware.request_retry import MACHINE_PATHS

log = structlog.get_logger(__name__)
STATUS = 413


class BodyLimit:
    """An ASGI application around all others. It has no part in what is small enough."""

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, one that is too large as soon as that is known."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        if any(name == b"content-length" and int(size) > most for name, size in scope["headers"]):
            await _refuse(scope, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > most:
                raise _TooLargeError
            return message

        try:
            await self._application(scope, counted, send)
        except _TooLargeError:
            await _refuse(scope, send)


class _TooLargeError(Exception):
    """More of a body has arrived than any page takes."""


async def _refuse(scope: Scope, send: Send) -> None:
    headers = headers_of(scope)
    address, is_secure = caller(scope, headers)
    request = f"{scope['method']} {scope['path']}"
    log.warning("request_refused", code=STATUS, request=request, ip=address)
    if scope["path"].startswith(MACHINE_PATHS):
        content = orjson.dumps(problem(Code.BODY_TOO_LARGE, STATUS))
        kind = CONTENT_TYPE
    else:
        most = f"{settings.DATA_UPLOAD_MAX_MEMORY_SIZE:,}"
        content = f"The request is too large. At most {most} bytes are taken.".encode()
        kind = "text/plain; charset=utf-8"
    own = {"Content-Type": kind, "Cache-Control": "no-store"}
    await send_answer(send, STATUS, content, own, is_secure=is_secure)
