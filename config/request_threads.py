"""Django's ASGI handler, with each request in one thread.

All middleware and views here are ordinary functions. Django's own handler runs the resolver on the
event loop and every middleware and the view in a thread, so that a page changes between them some
ten times; where both cores are busy, each change waits for its turn. Here the thread that begins a
request ends it. The loop reads and sends; `common/streaming.py` streams as before.
"""

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest
from django.http.response import HttpResponseBase


class ThreadedHandler(ASGIHandler):
    """An ASGI application whose middleware and view run in the request's thread."""

    def load_middleware(self, is_async: bool = False) -> None:
        """Load the middleware as for WSGI, whatever the caller asks for."""
        super().load_middleware(is_async=False)

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        """Return the answer to a request; errors become answers, as in Django's own."""
        return await sync_to_async(self.get_response)(request)
