"""Django's ASGI handler, with each request carried out in its thread from beginning to end.

All middleware and views here are ordinary functions. Django's own handler runs them in one thread
of the request, too, but it resolves the address on the event loop, and goes back there before and
after each `process_view`, the view and the rendering: ten changes for the page to sign in. Where
both cores are busy, each waits for its turn. Here the resolver runs in that thread as well, and the
loop only reads the request and sends the answer; `common/web/streaming.py` streams as before.

A request that was received as a whole is carried out to its end, also if its client disconnects
meanwhile, and what it has done is committed: "Close all" from a phone that loses its network
closes. Django's own handler cancels such a request, and its transaction is rolled back.

Whatever ends a request, its session goes back to the pool of the database: 16 requests that kept
theirs would stop the process for everybody.
"""

from typing import Any

from asgiref.sync import sync_to_async
from django.core import signals
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest
from django.http.response import HttpResponseBase


class ThreadedHandler(ASGIHandler):
    """An ASGI application whose middleware, resolver and view are one call in a thread."""

    def load_middleware(self, is_async: bool = False) -> None:
        """Load the middleware as for WSGI, whatever the caller asks for."""
        super().load_middleware(is_async=False)

    async def handle(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request. Django ends one that has raised without the signal of its end."""
        try:
            await super().handle(scope, receive, send)
        except Exception:  # any: whatever it was, the session goes back
            await signals.request_finished.asend(sender=type(self))
            raise

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        """Return the answer to a request; errors become answers, as in Django's own."""
        return await sync_to_async(self.get_response)(request)
