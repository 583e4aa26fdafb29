"""A request that the database could not serve at this moment: tried once more, then 503.

Nothing of the first try stands: the transaction around it was rolled back, and what was to be done
after its commit was not done. So the same request is simply answered again, by views that know
nothing of it. Not repeated are the sign-in pages, which commit in steps, bodies that were not read
whole, and a transaction whose commit got no answer.
"""

import logging
import sys
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any

from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from django.shortcuts import render
from django.views import defaults

from api.problems import CONTENT_TYPE, problem
from common.database_errors import (
    DatabaseTrouble,
    is_passing,
    pop_database_error,
    record_database_error,
)
from common.reason_codes import Code
from portal.pages import with_security_headers
from users.middleware import IN_STEPS

log = logging.getLogger(__name__)
RETRY_AFTER_SECONDS = 5
MACHINE_PATHS = ("/api/", "/hooks/")
Answer = Callable[[HttpRequest], HttpResponse]


class RetryMiddleware:
    """Stands in front of the request's transaction, and behind what gives a request its id."""

    sync_capable, async_capable = True, False

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response
        self._session = SessionMiddleware(get_response)
        self._user = AuthenticationMiddleware(get_response)

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer one request."""
        is_whole = _read_body(request)
        before = dict(vars(request))
        response = self.get_response(request)
        trouble = pop_database_error(request)
        if trouble is None:
            return response
        self._restore(request, before)
        if is_whole and trouble.is_known and not request.path_info.startswith(IN_STEPS):
            log.warning("request is tried again: %s", trouble.error)
            self._user.process_request(request)  # read again: the first try may have changed it
            response = self.get_response(request)
            again = pop_database_error(request)
            if again is None:
                return response
            trouble = again
            self._restore(request, before)
        log.error("the database could not serve a request", exc_info=trouble.error)
        return unavailable(request, trouble)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Take what a page raised; the API's views have a handler of their own."""
        if not is_passing(error):
            return None
        record_database_error(request, error)
        return HttpResponse(status=503)  # nobody sees it: it rolls the transaction back

    def _restore(self, request: Any, before: Mapping[str, Any]) -> None:
        """Make the request what it was before an answer that is thrown away: none of what views,
        forms and the API set on it stays, and its session is read again from the database.

        The user stays the one that was read first: the log names it without another query.
        """
        attributes = vars(request)
        attributes.clear()
        attributes.update(before)
        for name in ("_cached_user", "_acached_user", "_post", "_files"):
            attributes.pop(name, None)
        if "_body" in attributes:
            request._stream = BytesIO(request._body)
        self._session.process_request(request)


def _read_body(request: HttpRequest) -> bool:
    """Read the body, so that it can be read again. False: it cannot, or is larger than allowed."""
    if request.method in ("GET", "HEAD", "OPTIONS"):
        return True
    try:
        return request.body is not None
    except (RequestDataTooBig, UnreadablePostError):
        return False


def unavailable(request: HttpRequest, trouble: DatabaseTrouble) -> HttpResponse:
    """Say that nothing was done and when to try again, to people and machines."""
    code = Code.DATABASE_BUSY if trouble.is_known else Code.OUTCOME_UNKNOWN
    response: HttpResponse
    if request.path_info.startswith(MACHINE_PATHS):
        response = JsonResponse(problem(code, 503), status=503, content_type=CONTENT_TYPE)
        response["Cache-Control"] = "no-store"
    else:
        response = with_security_headers(render(None, "503.html", {"code": code}, status=503))
    response["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler of what a middleware raised: 503 where it passes, else the page for 500."""
    error = sys.exc_info()[1]
    if error is not None and is_passing(error):
        record_database_error(request, error)
        return unavailable(request, DatabaseTrouble(error))
    return defaults.server_error(request)
