"""Adding, changing and removing an account, and its credentials, each after a confirmation."""

from urllib.parse import urlencode
from uuid import UUID

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from common.confirmation import ConfirmationPage, Consequence
from common.formatting import join_first
from connections import services
from connections.forms import (
    BrokerTypeForm,
    ChangeAccountForm,
    CredentialsForm,
    broker_type_label,
    credentials_page,
    has_only_broker_type,
    selected_broker_type,
)
from connections.selectors import describe_open_items, open_items, other_accounts_using
from connections.services import lock_connection
from portal.forms import AddForm
from portal.pages import confirm, current_user, page, tenants_only
from portal.selectors.accounts import presets_for, price_sources_for
from portal.views.accounts import address, find


@tenants_only
def add(request: HttpRequest) -> HttpResponse:
    """Add an account: choose its broker type, then enter its settings."""
    user, broker_type = current_user(request), selected_broker_type(request)
    if broker_type is None or has_only_broker_type(request):
        return _choose(request)
    form = AddForm(user, broker_type, request.POST or None)
    created: list[UUID] = []
    points = [
        Consequence(
            "pending",
            "It does not trade yet. Enter its credentials if the broker needs them, then run its "
            "test. No entry is sent before the test has passed.",
        ),
        Consequence("skipped", "It takes signals only from feeds that you subscribe it to."),
    ]
    title = f"Add an account: {broker_type_label(broker_type)}"
    question = ConfirmationPage(
        title, points, "Add the account", reverse("portal:accounts"), False, form, "Not now"
    )

    def act() -> str:
        created.append(form.create(by=user, user=user).pk)
        return "The account was added. Run its test next."

    response = confirm(request, question, act)
    if created and response.status_code == 302:
        return HttpResponseRedirect(address(created[0]))
    return response


def _choose(request: HttpRequest) -> HttpResponse:
    """Ask for the broker type."""
    form = BrokerTypeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        return HttpResponseRedirect(f"{request.path}?{urlencode(form.cleaned_data)}")
    points = [Consequence("pending", "You enter the broker's settings in the next step.")]
    question = ConfirmationPage(
        "Add an account", points, "Continue", reverse("portal:accounts"), False, form, "Not now"
    )
    return page(request, "confirm.html", question=question, status=422 if form.errors else 200)


@tenants_only
def edit(request: HttpRequest, *, pk: UUID) -> HttpResponse:
    """Change name, settings, preset, price source and automatic correction."""
    user = current_user(request)
    if request.method == "POST":
        # locked, so that what is validated is what is written
        lock_connection(find(request, pk).connection.pk, user, archived_too=True)
    connection = find(request, pk).connection
    form = ChangeAccountForm(
        connection.type, request.POST or None, connection=connection, presets=presets_for(user),
        sources=price_sources_for(user, kept=connection.data_connection_id),
    )  # fmt: skip
    points = [
        Consequence(
            "validated",
            "Applies from the next signal on. Open positions keep their size and stops.",
        ),
        Consequence(
            "pending",
            "If you change the broker's settings, no entry is sent until the next test has passed. "
            "It runs automatically.",
        ),
    ]
    question = ConfirmationPage(
        f"Change {connection.name}", points, "Save", address(pk), False, form
    )

    def act() -> str:
        if not form.save(by=user):
            return "Nothing was changed."
        return "Saved. The change applies from the next signal on."

    return confirm(request, question, act)


@tenants_only
def credentials(request: HttpRequest, *, pk: UUID) -> HttpResponse:
    """Store new credentials. They are sealed at once; this process cannot open them again."""
    user = current_user(request)
    connection = find(request, pk).connection
    form = CredentialsForm(connection.type, request.POST or None)
    stored = connection.has_credentials
    question = credentials_page(form, connection.name, stored=stored, back=address(pk))

    def act() -> str:
        services.set_credentials(pk, by=user, values=form.entered_values())
        return "The credentials were stored. Test the account to check that they work."

    return confirm(request, question, act)


@tenants_only
def remove(request: HttpRequest, *, pk: UUID) -> HttpResponse:
    """Remove an account that is no longer used; its history stays."""
    user = current_user(request)
    name = find(request, pk).connection.name
    points = [
        Consequence(
            "cancelled",
            "It takes no more signals, its subscriptions end, and it disappears from these pages. "
            "Its account number and key can be connected again.",
        ),
        Consequence(
            "filled",
            "Orders, positions and results are kept as history. Nothing is sent to the broker.",
        ),
    ]
    if others := other_accounts_using(pk):
        text = (
            f"Its prices go with it: {join_first(others)} would get no entries, and stops that "
            "Fillcast guards there would not be monitored. Choose another price source there first."
        )
        points.insert(0, Consequence("attention", text))
    if found := open_items(pk):
        text = (
            f"Still open: {describe_open_items(found)}. Close this before you remove the account."
        )
        points.insert(0, Consequence("attention", text))
    question = ConfirmationPage(
        f"Remove {name}?", points, "Remove it", reverse("portal:accounts"), decline_label="Keep it"
    )

    def act() -> str:
        services.archive_connection(pk, by=user)
        return f"{name} was removed."

    return confirm(request, question, act)
