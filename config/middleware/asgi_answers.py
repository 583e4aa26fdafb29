"""Answers that are given in front of Django, with the headers that its middleware would add."""

from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.security import SecurityMiddleware

from config.middleware.proxies import client_of
from config.middleware.security_headers import SecurityHeadersMiddleware

Scope = dict[str, Any]
Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


def headers_of(scope: Scope) -> dict[str, str]:
    """Return a request's headers; equal names are joined as Django joins them."""
    headers: dict[str, str] = {}
    for name, text in scope["headers"]:
        known = headers.get(name.decode("latin-1"))
        shown = text.decode("latin-1")
        headers[name.decode("latin-1")] = shown if known is None else f"{known},{shown}"
    return headers


def caller(scope: Scope, headers: Mapping[str, str]) -> tuple[str, bool]:
    """Return the address that a request came from, and whether it came by https."""
    peer = (scope.get("client") or [""])[0]
    address, is_proxied = client_of(peer, headers.get("x-forwarded-for", ""))
    is_secure = scope.get("scheme") == "https" or (
        is_proxied and headers.get("x-forwarded-proto", "").split(",")[0].strip() == "https"
    )
    return address, is_secure


async def send_answer(
    send: Send, status: int, content: bytes, headers: Mapping[str, str], *, is_secure: bool
) -> None:
    """Send an answer as a whole."""
    own = {**headers, "Content-Length": str(len(content))}
    sent = [*_security_headers(is_secure=is_secure), *_encoded(own)]
    await send({"type": "http.response.start", "status": status, "headers": sent})
    await send({"type": "http.response.body", "body": content})


@cache
def _security_headers(*, is_secure: bool) -> list[tuple[bytes, bytes]]:
    """Return the headers that the middleware of all answers add to those given here."""
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
