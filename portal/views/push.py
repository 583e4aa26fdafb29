"""What browsers need for push messages: the service worker, and the renewal of a subscription."""

from functools import cache
from pathlib import Path
from typing import Any

import orjson
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt

from common.errors import CONTENT_ERRORS, FillcastError
from events import push_services
from events.models import Channel
from portal.pages import with_security_headers
from users.tenancy import for_all_tenants, on_behalf_of

WORKER = Path(__file__).parents[1] / "static" / "portal" / "push_worker.js"
WORKER_POLICY = "default-src 'none'; connect-src 'self'; img-src 'self'"
MOST_BYTES = 8_000


def worker(request: HttpRequest) -> HttpResponse:
    """Serve the service worker at a root path, so that it works for all pages. Anyone may read it.

    Browsers ask for it again after each visit, so that a new version works at once.
    """
    response = HttpResponse(_worker(), content_type="text/javascript; charset=utf-8")
    response["Service-Worker-Allowed"] = "/"
    response["Cache-Control"] = "no-cache"
    response["Content-Security-Policy"] = WORKER_POLICY
    response["X-Content-Type-Options"] = "nosniff"
    return response


@csrf_exempt
def renew(request: HttpRequest) -> HttpResponse:
    """State whether a subscription is known, and replace it by a new one of the same browser.

    The service worker calls it too, whether or not its user is signed in: the subscription's secret
    shows that it is this browser. No form of another site can send JSON.
    """
    if request.method != "POST":
        return with_security_headers(HttpResponseRedirect(reverse("security:channels")))
    if request.content_type != "application/json":
        return with_security_headers(JsonResponse({"known": False}, status=422))
    try:
        body = _body(request)
        with for_all_tenants():  # the owner of a subscription is not known before
            channel = push_services.find_browser(body["endpoint"], body["auth"])
        if channel is not None and (fresh := body.get("new")) and channel.user.is_active:
            keys = fresh["keys"]
            subscription = push_services.checked_subscription(
                fresh["endpoint"], keys["p256dh"], keys["auth"]
            )
            with on_behalf_of(channel.user):
                channel = push_services.renew_browser(channel.pk, subscription)
    except FillcastError as error:
        return with_security_headers(JsonResponse({"error": error.detail}, status=400))
    except CONTENT_ERRORS:  # not what our own script sends
        return with_security_headers(JsonResponse({"error": "not a subscription"}, status=400))
    return with_security_headers(JsonResponse(_answer(request, channel)))


def _answer(request: HttpRequest, channel: Channel | None) -> dict[str, Any]:
    """Return what a page shows of its browser: only to its owner, who is signed in."""
    if channel is None:
        return {"known": False, "mine": False}
    if channel.user_id != request.user.pk:
        return {"known": True, "mine": False}
    return {
        "known": True, "mine": True, "name": channel.name, "active": channel.is_active,
        "ended": channel.ended_at is not None,
        "page": reverse("security:channel", args=[channel.pk]),
    }  # fmt: skip


def _body(request: HttpRequest) -> dict[str, Any]:
    """Return the body. Raises ValueError, KeyError or TypeError if it is not a subscription."""
    raw = request.body
    if len(raw) > MOST_BYTES:
        raise ValueError("too long")
    body = orjson.loads(raw)
    fresh = body.get("new")
    texts = [body["endpoint"], body["auth"]]
    if fresh is not None:
        texts += [fresh["endpoint"], fresh["keys"]["p256dh"], fresh["keys"]["auth"]]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("not texts")
    return dict(body)


@cache
def _worker() -> str:
    return WORKER.read_text()
