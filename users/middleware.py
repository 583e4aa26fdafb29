"""One transaction around each request, limited to the rows of its user."""

import logging
from collections.abc import Callable

from django.db import DatabaseError, InterfaceError, transaction
from django.http import HttpRequest, HttpResponse
from django.urls import Resolver404, resolve

from common.db.audit_trail import request_fact, request_facts
from common.db.errors import is_gone, is_lost, is_transient, record_database_error
from common.db.row_changes import answering_a_request
from users.keys.networks import record_use
from users.tenancy import act_as

log = logging.getLogger(__name__)
# These must answer when the database does not, and they read no tenant's rows. The schema takes
# longer to make than a transaction may idle.
WITHOUT_TRANSACTION = frozenset({"/healthz", "/readyz", "/metrics", "/api/v1/schema/"})
REFERENCE = "/api/v1/docs/"  # written from the schema, for everybody: it needs no transaction
# Views that open their own transactions, one for each step. They hash passwords, for longer than a
# transaction may idle, and a failed attempt must count even if the request fails.
OWN_TRANSACTIONS = (
    "/login/",
    "/admin/login/",
    "/security/",
    "/sign-up/",
    "/invitation/",
    "/forgot-password/",
    "/reset-password/",
)
NO_TRANSACTION_BELOW = (REFERENCE, *OWN_TRANSACTIONS)
# The origin that the audit trail records, by the beginning of the path; the first match counts.
ORIGINS = (
    ("/api/", "API"),
    ("/hooks/", "alert"),
    ("/admin/", "console"),
    ("/", "portal"),
    ("", ""),
)


class RequestProgress:
    """How far a request has come, which decides what a database error means."""

    response: HttpResponse | None = None
    is_committed = False

    def record_commit(self) -> None:
        """Note that the request's transaction is committed."""
        self.is_committed = True

    def after(self, error: Exception, request: HttpRequest) -> HttpResponse:
        """Return the response after a database error. Re-raises errors that are not transient, but
        for a row that the answered request refers to and that was deleted before its commit."""
        if not is_transient(error) and not (self.response is not None and is_gone(error)):
            raise error
        if self.is_committed and self.response is not None:  # only on_commit failed
            log.error("error after the commit of a request", exc_info=error)
            return self.response
        record_database_error(
            request, error, is_rolled_back=self.response is None or not is_lost(error)
        )
        return HttpResponse(status=503)  # config/middleware/request_retry.py replaces it


class TenantMiddleware:
    """Run each request in a transaction of its user; roll back a request that failed (5xx).

    It comes after AuthenticationMiddleware. The user of an API key is known later: the API's
    authentication calls `act_as` in the same transaction. A streaming response is read after this
    transaction has ended; such a view opens its own with `tenancy.on_behalf_of`.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with request_facts(**facts_of(request)):
            return self._answer(request)

    def _answer(self, request: HttpRequest) -> HttpResponse:
        path = request.path_info
        if path in WITHOUT_TRANSACTION or path.startswith(NO_TRANSACTION_BELOW):
            return self.get_response(request)
        progress = RequestProgress()
        try:
            with answering_a_request(), transaction.atomic():
                transaction.on_commit(progress.record_commit)  # first: a later one may fail
                act_as(request.user)
                response = progress.response = self.get_response(request)
                if response.status_code >= 500:
                    transaction.set_rollback(True)
        except (DatabaseError, InterfaceError) as error:
            return progress.after(error, request)
        if (user := getattr(request, "api_key_user", None)) is not None:
            record_use(user, request_fact("address"))  # of refused calls as well
        return response


def facts_of(request: HttpRequest) -> dict[str, str]:
    """Return what the audit trail records of a request: never its path, which may hold a secret."""
    facts = {
        "address": str(request.META.get("REMOTE_ADDR", "")),
        "origin": next(
            origin for prefix, origin in ORIGINS if request.path_info.startswith(prefix)
        ),
    }
    if request.method not in ("GET", "HEAD", "OPTIONS"):
        try:
            facts["route"] = resolve(request.path_info).route
        except Resolver404:
            facts["route"] = ""
    return facts
