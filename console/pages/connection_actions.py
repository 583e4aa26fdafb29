"""What operators can do with a connection: add, change, test, credentials, pause, archive."""

from collections.abc import Callable
from typing import Any, TypeVar, cast
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.db import transaction
from django.forms import Form
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse

from common.errors import FillcastError
from common.permissions import Right
from common.web.confirmation import ConfirmationPage, Consequence, add_form_error
from connections import services, tasks
from connections.forms import (
    BrokerTypeForm,
    CredentialsForm,
    broker_type_label,
    credentials_page,
    has_only_broker_type,
    selected_broker_type,
)
from connections.models import ExecutionConnection
from connections.selectors import describe_open_items, open_items, resume_message
from connections.services import lock_connection
from console.pages.connection_forms import AddForm, ChangeForm
from console.pages.page_helpers import View, confirm, require_permission, run_action
from users.models import User

T = TypeVar("T")


def find(pk: UUID) -> ExecutionConnection:
    """Return a connection with what its pages show. Raises Http404."""
    related = ("user", "admin", "preset", "data_connection", "health", "snapshot")
    return get_object_or_404(ExecutionConnection.objects.select_related(*related), pk=pk)


def address(pk: UUID) -> str:
    return reverse("admin:connections_executionconnection_page", args=[pk])


def add(request: HttpRequest) -> HttpResponse:
    """Add a connection: choose its broker type, then enter its settings."""
    require_permission(request, Right.CONNECTIONS)
    broker_type = selected_broker_type(request)
    if broker_type is None or has_only_broker_type(request):
        return _choose(request)
    form, by = AddForm(broker_type, request.POST or None), cast(User, request.user)
    if request.method == "POST" and form.is_valid():
        created = _run_or_show_error(form, lambda: _create(form, by))
        if created is not None:
            messages.success(
                request, "The connection was added. Enter its credentials, then run the test."
            )
            return HttpResponseRedirect(address(created.pk))
    back = reverse("admin:connections_executionconnection_changelist")
    points = [Consequence("pending", "No entry is sent until its first test has passed.")]
    title = f"Add a connection: {broker_type_label(broker_type)}"
    return confirm(
        request, ConfirmationPage(title, points, "Add the connection", back, False, form, "Not now")
    )


def _choose(request: HttpRequest) -> HttpResponse:
    form = BrokerTypeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        return HttpResponseRedirect(f"{request.path}?{urlencode(form.cleaned_data)}")
    back = reverse("admin:connections_executionconnection_changelist")
    points = [Consequence("pending", "You enter the broker's settings in the next step.")]
    question = ConfirmationPage(
        "Add a connection", points, "Continue", back, False, form, "Not now"
    )
    return confirm(request, question)


def _create(form: AddForm, by: User) -> ExecutionConnection:
    data = form.cleaned_data
    return form.create(by=by, **{"admin" if data["takes_all"] else "user": data["owner"]})


def _run_or_show_error(form: Form, act: Callable[[], T]) -> T | None:
    """Return what `act` returns; None after a refusal, which is added to the form."""
    try:
        return act()
    except FillcastError as error:
        add_form_error(form, error)
        return None


def change(request: HttpRequest, pk: UUID, **_: Any) -> HttpResponse:
    """Change the settings of a connection."""
    require_permission(request, Right.CONNECTIONS)
    by = cast(User, request.user)
    if request.method == "POST":
        # locked, so that what is validated is what is written
        lock_connection(find(pk).pk, by, archived_too=True)
    connection = find(pk)
    form = ChangeForm(connection, request.POST or None)
    valid = request.method == "POST" and form.is_valid()
    changed = _run_or_show_error(form, lambda: form.save(by=by)) if valid else None
    if changed is not None:
        restarts = changed.get("is_active") or changed.keys() & {"settings", "credentials"}
        effect = resume_message(find(pk)) if restarts else "It applies from now on."
        messages.success(request, f"Saved. {effect}")
        return HttpResponseRedirect(address(pk))
    points = [
        Consequence(
            "pending", "If you change broker settings, no entry is sent until a test has passed."
        )
    ]
    title = f"Change {connection.name}"
    return confirm(
        request, ConfirmationPage(title, points, "Save", address(pk), False, form, "Cancel")
    )


def test(request: HttpRequest, pk: UUID, **_: Any) -> HttpResponse:
    """Request a connection test from a trading process; it places no order."""
    require_permission(request, Right.CONNECTIONS)
    if request.method != "POST":
        return HttpResponseRedirect(address(pk))
    return run_action(request, lambda: _request_test(pk, request), back=address(pk) + "#checks")


def _request_test(pk: UUID, request: HttpRequest) -> str:
    by: Any = request.user
    services.request_test(pk, by=by)
    transaction.on_commit(lambda: tasks.enqueue_test(pk))
    return "The test is requested; its checks appear below."


def credentials(request: HttpRequest, pk: UUID, **_: Any) -> HttpResponse:
    """Store new credentials. They are sealed at once; this process cannot open them again."""
    require_permission(request, Right.CREDENTIALS)
    connection = find(pk)
    stored = connection.sealed_credentials is not None
    form = CredentialsForm(connection.type, request.POST or None)
    if request.method == "POST" and form.is_valid():
        values = form.entered_values()
        return run_action(request, lambda: _store(pk, values, request), back=address(pk))
    question = credentials_page(form, connection.name, stored=stored, back=address(pk))
    return confirm(request, question)


def _store(pk: UUID, values: dict[str, str], request: HttpRequest) -> str:
    by: Any = request.user
    services.set_credentials(pk, by=by, values=values)
    return "The credentials were stored. Run the connection test to check that they work."


def pause(request: HttpRequest, pk: UUID, **_: Any) -> HttpResponse:
    """Pause or resume without a question: nothing is sent, and one click undoes it."""
    require_permission(request, Right.CONNECTIONS)
    if request.method != "POST":
        return HttpResponseRedirect(address(pk))
    return run_action(request, lambda: _pause(find(pk), request), back=address(pk))


def _pause(row: ExecutionConnection, request: HttpRequest) -> str:
    by: Any = request.user
    if request.POST.get("to") == "resume":
        services.resume(row.pk, by=by)
        return f"{row.name} is resumed. {resume_message(row)}"
    services.pause(row.pk, by=by)
    return f"{row.name} is paused: new signals are skipped, open positions keep their stops."


def archive(request: HttpRequest, pk: UUID, **_: Any) -> HttpResponse:
    """Confirm, then archive the connection."""
    require_permission(request, Right.CONNECTIONS)
    connection = find(pk)
    if request.method == "POST":
        by: Any = request.user
        return run_action(
            request,
            lambda: (
                f"{connection.name} was archived."
                if services.archive_connection(pk, by=by, although_open=True)
                else f"{connection.name} is already archived."
            ),
            back=address(pk),
        )
    points = [
        Consequence("cancelled", "It takes no more signals, and its subscriptions end."),
        Consequence("filled", "Orders, positions and results are kept as history."),
    ]
    if found := open_items(pk):
        text = (
            f"Still open: {describe_open_items(found)}. This is not monitored once the connection "
            "is archived: close it first."
        )
        points.append(Consequence("attention", text))
    question = ConfirmationPage(f"Archive {connection.name}?", points, "Archive it", address(pk))
    return confirm(request, question)


URLS: tuple[tuple[str, str, View], ...] = (
    ("<uuid:pk>/edit/", "connections_executionconnection_edit", change),
    ("<uuid:pk>/test/", "connections_executionconnection_test", test),
    ("<uuid:pk>/credentials/", "connections_executionconnection_credentials", credentials),
    ("<uuid:pk>/pause/", "connections_executionconnection_pause", pause),
    ("<uuid:pk>/archive/", "connections_executionconnection_archive", archive),
)
