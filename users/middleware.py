"""One transaction around each request, for one tenant."""

import logging
from collections.abc import Callable

from django.db import DatabaseError, InterfaceError, transaction
from django.http import HttpRequest, HttpResponse
from django.urls import Resolver404, resolve

from common.audit_trail import request_facts
from common.database_errors import is_lost, is_passing, record_database_error
from common.row_changes import answering_a_request
from users.tenancy import act_as

log = logging.getLogger(__name__)
# They must answer when the database does not, and reach no tenant's rows.
WITHOUT_TRANSACTION = frozenset({"/healthz", "/readyz", "/metrics"})
# Passwords are hashed there, for longer than a transaction may idle, and a failed try must count
# whatever becomes of the answer: each step there has a transaction of its own.
IN_STEPS = ("/login/", "/admin/login/", "/security/")
# The audit trail's names of the ways in, by the beginning of the address; the first that fits.
DOORS = (("/api/", "API"), ("/hooks/", "alert"), ("/admin/", "console"), ("/", "portal"), ("", ""))


class Answered:
    """How far a request has come: what an error of the database means depends on it."""

    response: HttpResponse | None = None
    is_committed = False

    def commit(self) -> None:
        self.is_committed = True

    def after(self, error: Exception, request: HttpRequest) -> HttpResponse:
        """Return the answer after an error around the view. Raises it unless it passes."""
        if not is_passing(error):
            raise error
        if self.is_committed and self.response is not None:  # only what comes after it failed
            log.error("after the commit of a request", exc_info=error)
            return self.response
        record_database_error(request, error, is_known=self.response is None or not is_lost(error))
        return HttpResponse(
            status=503
        )  # nobody sees it: config/middleware/request_retry.py answers


class TenantMiddleware:
    """Work for whoever is logged in; keep nothing of a request that failed (5xx).

    Stands behind AuthenticationMiddleware. Whoever comes with an API key is known later: the API's
    authentication calls `act_as` in the same transaction. What a streaming answer sends is read
    after this transaction has ended; such a view opens its own by `tenancy.on_behalf_of`.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer one request."""
        with request_facts(**facts_of(request)):
            return self._answer(request)

    def _answer(self, request: HttpRequest) -> HttpResponse:
        path = request.path_info
        if path in WITHOUT_TRANSACTION or path.startswith(IN_STEPS):
            return self.get_response(request)
        answered = Answered()
        try:
            with answering_a_request(), transaction.atomic():
                transaction.on_commit(answered.commit)  # the first of them: a later one may fail
                act_as(request.user)
                response = answered.response = self.get_response(request)
                if response.status_code >= 500:
                    transaction.set_rollback(True)
        except (DatabaseError, InterfaceError) as error:
            return answered.after(error, request)
        return response


def facts_of(request: HttpRequest) -> dict[str, str]:
    """Return what the audit trail keeps of a request. Never its path, which may hold a secret."""
    facts = {
        "address": str(request.META.get("REMOTE_ADDR", "")),
        "origin": next(door for prefix, door in DOORS if request.path_info.startswith(prefix)),
    }
    if request.method not in ("GET", "HEAD", "OPTIONS"):
        try:
            facts["route"] = resolve(request.path_info).route
        except Resolver404:
            facts["route"] = ""
    return facts
