"""A connection's page: health at a glance, the last test, credentials that only go in."""

from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse

from config.console.credential_forms import CredentialsForm
from config.console.pages import Point, Question, View, ask, attempt, need, page
from connections.admin import health
from connections.eligibility import reason_for
from connections.models import ConnectionHealth, ExecutionConnection
from execution.models import DriftItem, ExecutionLog, Order

CHANGE = "connections.change_executionconnection"
LAST = 10


def find(pk: UUID) -> ExecutionConnection:
    related = ("user", "admin", "preset", "data_connection", "health", "snapshot")
    return get_object_or_404(ExecutionConnection.objects.select_related(*related), pk=pk)


def address(pk: UUID) -> str:
    return reverse("admin:connections_executionconnection_page", args=[pk])


def show(request: HttpRequest, pk: UUID, **_: Any) -> HttpResponse:
    """The page itself."""
    connection = find(pk)
    orders = Order.objects.filter(connection_id=pk).order_by("-pk")
    lines = ExecutionLog.objects.filter(order_id__in=list(orders.values_list("pk", flat=True)[:50]))
    return page(
        request,
        "connection/page.html",
        connection.name,
        connection=connection,
        snapshot=getattr(connection, "snapshot", None),
        health=health(connection),
        reason=reason_for(connection_id=pk) or "",
        has_credentials=connection.sealed_credentials is not None,
        subscriptions=connection.subscriptions.select_related("feed").order_by("feed__name"),
        orders=orders.select_related("signal")[:LAST],
        troubles=lines.filter(status__in=["REJECTED", "FAILED", "UNKNOWN"]).order_by("-pk")[:LAST],
        drift=DriftItem.objects.filter(connection_id=pk, state="OPEN"),
        can_change=request.user.has_perm(CHANGE),  # type: ignore[union-attr]
        **_test(connection),
    )


def _test(connection: ExecutionConnection) -> dict[str, Any]:
    state: ConnectionHealth | None = getattr(connection, "health", None)
    asked = state.test_requested_at if state else None
    done = state.last_tested_at if state else None
    waits = asked is not None and (done is None or done < asked)
    shapes = {"ok": "ok", "warn": "attention", "fail": "rejected"}
    checks = [
        {**check, "css": shapes.get(str(check.get("result")), "pending")}
        for check in (state.last_test if state else [])
    ]
    return {"state": state, "test_waits": waits, "checks": checks}


def checks(request: HttpRequest, pk: UUID, **_: Any) -> HttpResponse:
    """The panel of the last test alone, asked for every second while a test runs."""
    connection = find(pk)
    response = page(
        request, "connection/checks.html", "", connection=connection, **_test(connection)
    )
    response["Cache-Control"] = "no-store"
    return response


def test(request: HttpRequest, pk: UUID, **_: Any) -> HttpResponse:
    """Have a trading process test the connection; nothing is traded."""
    need(request, CHANGE)
    if request.method != "POST":
        return HttpResponseRedirect(address(pk))
    return attempt(request, lambda: _request_test(pk), back=address(pk) + "#checks")


def _request_test(pk: UUID) -> str:
    from connections import services

    services.request_test(pk)
    return "A trading process tests the connection; the checks appear below by themselves."


def credentials(request: HttpRequest, pk: UUID, **_: Any) -> HttpResponse:
    """Take new credentials. They are sealed at once; this process could not read them again."""
    need(request, CHANGE)
    connection = find(pk)
    stored = connection.sealed_credentials is not None
    form = CredentialsForm(connection.type, request.POST or None, stored=stored)
    if request.method == "POST" and form.is_valid():
        told = form.told()
        return attempt(request, lambda: _store(connection, told), back=address(pk))
    points = [
        Point("safe", "Sealed before it is written; only trading processes can open it. Nobody is "
              "shown it again."),
        Point("pending", "The connection takes no entry until its next test has passed."),
    ]  # fmt: skip
    title = f"{'Replace' if stored else 'Enter'} the credentials of {connection.name}"
    question = Question(title, points, "Seal and store", address(pk), danger=False, form=form)
    return ask(request, question)


def _store(connection: ExecutionConnection, told: dict[str, str]) -> str:
    from connections import services

    services.set_credentials(connection.pk, told)
    return "The credentials are stored. Run the connection test to see whether they open."


def pause(request: HttpRequest, pk: UUID, **_: Any) -> HttpResponse:
    """Pause or resume: nothing is sent by it, so it needs no question."""
    need(request, CHANGE)
    if request.method != "POST":
        return HttpResponseRedirect(address(pk))
    return attempt(request, lambda: _pause(pk), back=address(pk))


def _pause(pk: UUID) -> str:
    from connections import services

    if find(pk).is_paused:
        services.resume(pk)
        return "Resumed: it takes the next signal. What was skipped is not made up for."
    services.pause(pk)
    return "Paused: new signals are skipped; open positions keep their stops."


URLS: tuple[tuple[str, str, View], ...] = (
    ("<uuid:pk>/", "connections_executionconnection_page", show),
    ("<uuid:pk>/checks/", "connections_executionconnection_checks", checks),
    ("<uuid:pk>/test/", "connections_executionconnection_test", test),
    ("<uuid:pk>/credentials/", "connections_executionconnection_credentials", credentials),
    ("<uuid:pk>/pause/", "connections_executionconnection_pause", pause),
)
