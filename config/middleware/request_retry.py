"""Retry a request once if the database could not serve it at that moment, then answer 503.

A new trade that comes while due orders wait for the machine is retried too, once they have gone.

The first attempt leaves nothing behind: its transaction was rolled back and its on-commit actions
did not run. So the same views answer the same request again, unaware of the first attempt. Not
retried are the sign-in pages, which commit in steps, requests whose body was not read completely,
and a transaction whose commit got no answer.
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
from common.db.errors import (
    DatabaseTrouble,
    TryLaterError,
    is_lost,
    is_transient,
    pop_database_error,
    record_database_error,
)
from common.reason_codes import Code
from execution.publication_pace import wait_for_machine, without_waiting
from portal.pages import with_security_headers
from users.middleware import OWN_TRANSACTIONS

log = logging.getLogger(__name__)
RETRY_AFTER_SECONDS = 5
MACHINE_PATHS = ("/api/", "/hooks/")
GetResponse = Callable[[HttpRequest], HttpResponse]


class RetryMiddleware:
    """Retries a failed request once.

    Must come before the middleware that opens the transaction and after the one that sets the
    request's id.
    """

    sync_capable, async_capable = True, False

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self._session = SessionMiddleware(get_response)
        self._user = AuthenticationMiddleware(get_response)

    def __call__(self, request: HttpRequest) -> HttpResponse:
        is_body_complete = _read_body(request)
        before = dict(vars(request))
        response = self.get_response(request)
        trouble = pop_database_error(request)
        if trouble is None:
            return response
        self._restore(request, before)
        if (
            is_body_complete
            and trouble.is_rolled_back
            and not request.path_info.startswith(OWN_TRANSACTIONS)
        ):
            log.warning("request is retried: %s", trouble.error)
            if isinstance(trouble.error, TryLaterError):
                wait_for_machine()
            self._user.process_request(request)  # read again: the first attempt may have changed it
            with without_waiting():
                response = self.get_response(request)
            second_trouble = pop_database_error(request)
            if second_trouble is None:
                return response
            trouble = second_trouble
            self._restore(request, before)
        log.error("the database could not serve a request", exc_info=trouble.error)
        return unavailable(request, trouble)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Record a transient database error that a page raised. The API has its own handler."""
        if not is_transient(error):
            return None
        record_database_error(request, error)
        return HttpResponse(status=503)  # rolls the transaction back; it never reaches the client

    def _restore(self, request: Any, before: Mapping[str, Any]) -> None:
        """Restore the request's attributes from before the discarded attempt.

        Removes all that views, forms and the API set on it and reads the session again from the
        database. The user object is kept, so that the log can name it without another query.
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
    """Keep the body for a second attempt. Return False if it is too large or cannot be read."""
    if request.method in ("GET", "HEAD", "OPTIONS"):
        return True
    try:
        return request.body is not None
    except (RequestDataTooBig, UnreadablePostError):
        return False


def unavailable(request: HttpRequest, trouble: DatabaseTrouble) -> HttpResponse:
    """Return the 503 as a page or as JSON, with the code and when to retry.

    The code states whether nothing was changed or whether the outcome is unknown.
    """
    code = Code.DATABASE_BUSY if trouble.is_rolled_back else Code.OUTCOME_UNKNOWN
    response: HttpResponse
    if request.path_info.startswith(MACHINE_PATHS):
        response = JsonResponse(problem(code, 503), status=503, content_type=CONTENT_TYPE)
        response["Cache-Control"] = "no-store"
    else:
        context = {
            "code": code,
            "try_again_seconds": _seconds_until_reload(request),
            # Not only busy: no session can be opened, or this one was lost.
            "is_away": is_lost(trouble.error) and "connection" in str(trouble.error),
        }
        response = with_security_headers(render(None, "503.html", context, status=503))
    response["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


def _seconds_until_reload(request: HttpRequest) -> int:
    """After how many seconds the page loads itself again; 0: not, since it would send a form."""
    return RETRY_AFTER_SECONDS if request.method in ("GET", "HEAD") else 0


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer what a middleware raised (Django's handler500): 503 if it is transient, else 500."""
    error = sys.exc_info()[1]
    if error is not None and is_transient(error):
        record_database_error(request, error)
        return unavailable(request, DatabaseTrouble(error))
    return defaults.server_error(request)
