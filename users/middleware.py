"""One transaction around each request, for one tenant."""

from collections.abc import Callable

from django.db import transaction
from django.http import HttpRequest, HttpResponse

from users.tenancy import act_as

# They must answer when the database does not, and reach no tenant's rows.
WITHOUT_TRANSACTION = frozenset({"/healthz", "/readyz", "/metrics"})
# Passwords are hashed there, for longer than a transaction may idle, and a failed try must count
# whatever becomes of the answer: each step there has a transaction of its own.
IN_STEPS = frozenset({"/login/", "/admin/login/"})


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
        if request.path_info in WITHOUT_TRANSACTION | IN_STEPS:
            return self.get_response(request)
        with transaction.atomic():
            act_as(request.user)
            response = self.get_response(request)
            if response.status_code >= 500:
                transaction.set_rollback(True)
        return response
