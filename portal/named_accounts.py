"""The account that the address of a page names: one of one's own, else 404 with its name."""

from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from connections.models import ExecutionConnection
from portal.pages import current_user


def unknown_account(request: HttpRequest) -> HttpResponse | None:
    """Return the answer to an address with an account that is not the user's; None: it is.

    For what acts on all that the address names: a mistyped account must not look as if nothing had
    been open there.
    """
    named = request.GET.get("account", "")
    if not named:
        return None
    try:
        if ExecutionConnection.objects.filter(user=current_user(request), pk=UUID(named)).exists():
            return None
    except ValueError:
        pass
    sentence = f"There is no account {named[:100]}, or it is not yours."
    return render(request, "404.html", {"sentence": sentence}, status=404)
