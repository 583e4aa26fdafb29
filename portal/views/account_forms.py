"""Adding, changing and removing an account, and its credentials, each after a confirmation."""

from dataclasses import replace
from urllib.parse import urlencode
from uuid import UUID

from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from analytics.what_if.preset_use import uses_of_accounts
from common.web.confirmation import ConfirmationPage, Consequence
from common.web.formatting import join_first
from connections import services, tasks
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
from portal.forms import AddForm, PaperForm
from portal.pages import confirm, current_user, page, panel, tenants_only
from portal.preset_texts import use_lines
from portal.selectors.accounts import presets_for, price_sources_for
from portal.views.accounts import address, find, request_test
from users.sign_in.session_factor import require_fresh_factor

NEED_A_TEST = frozenset({"settings", "credentials"})  # of an account's fields


@tenants_only
def add(request: HttpRequest) -> HttpResponse:
    """Add an account: choose its broker type, then enter its settings."""
    user, broker_type = current_user(request), selected_broker_type(request)
    if broker_type is None or has_only_broker_type(request):
        return _choose(request)
    form = AddForm(user, broker_type, request.POST or None)
    if request.method == "GET" and form.needs_credentials:
        require_fresh_factor(user)  # asked for before they are typed: secrets are not kept
    created: list[UUID] = []
    points = [
        Consequence(
            "pending",
            "It is tested at once, and the result appears beside this form. The test places no "
            "order, and no entry is sent before it has passed.",
        ),
        Consequence("skipped", "It takes signals only from feeds that you subscribe it to."),
    ]
    title = f"Add an account: {broker_type_label(broker_type)}"
    question = ConfirmationPage(
        title, points, "Add the account", reverse("portal:accounts"), False, form, "Not now"
    )

    def act() -> str:
        connection = form.create(by=user, user=user)
        created.append(connection.pk)
        if connection.sealed_credentials is None and form.needs_credentials:
            return "The account was added. Enter its credentials next: the test needs them."
        request_test(connection.pk, user)
        return "The account was added, and its test is requested."

    response = confirm(request, question, act)
    if created and response.status_code == 302:
        return HttpResponseRedirect(reverse("portal:account_edit", args=created))
    return response


def _choose(request: HttpRequest) -> HttpResponse:
    form = BrokerTypeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        return HttpResponseRedirect(f"{request.path}?{urlencode(form.cleaned_data)}")
    points = [Consequence("pending", "You enter the broker's settings in the next step.")]
    question = ConfirmationPage(
        "Add an account", points, "Continue", reverse("portal:accounts"), False, form, "Not now"
    )
    status = 422 if form.errors else 200
    return page(request, "account_add.html", question=question, paper=PaperForm(), status=status)


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
        *use_lines(uses_of_accounts([(connection.pk, connection.name)])),
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
        changed = form.save(by=user)
        if not changed:
            return "Nothing was changed."
        if not changed.keys() & NEED_A_TEST:
            return "Saved. The change applies from now on."
        request_test(pk, user)
        return "Saved, and its test is requested. The change applies from now on."

    response = confirm(
        request, question, act, template="account_form.html", account=find(request, pk)
    )
    is_saved = response.status_code == 302 and form.is_valid()
    if is_saved and form.changed_values().keys() & NEED_A_TEST:
        return HttpResponseRedirect(request.path)
    return response


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
        request_test(pk, user)
        return "The credentials were stored, and the test that uses them is running."

    question = replace(question, back=request.path if request.method == "POST" else question.back)
    return confirm(request, question, act, template="account_form.html", account=find(request, pk))


@tenants_only
def paper(request: HttpRequest) -> HttpResponse:
    """Open a paper account by one click; a second click on the same button changes nothing."""
    user = current_user(request)
    form = PaperForm(request.POST or None)
    points = [
        Consequence("safe", "Nothing is real: no broker and no money are involved."),
        Consequence(
            "pending",
            "It is funded, gets the operators’ prices and is tested at once. Choose its preset "
            "next: without one it trades nothing.",
        ),
    ]
    question = ConfirmationPage(
        "Open a paper account", points, "Open it", reverse("portal:accounts"), False, form,
        "Not now",
    )  # fmt: skip
    opened: list[UUID] = []

    def act() -> str:
        connection, is_new = services.open_paper_account(by=user, **form.terms())
        opened.append(connection.pk)
        if not is_new:
            return f"{connection.name} is open already: nothing was opened twice."
        transaction.on_commit(lambda: tasks.enqueue_test(connection.pk))
        return f"{connection.name} is open and funded. Its test is requested."

    response = confirm(request, question, act)
    if opened and response.status_code == 302:
        return HttpResponseRedirect(address(opened[0]) + "#checks")
    return response


@tenants_only
def test_state(request: HttpRequest, *, pk: UUID) -> HttpResponse:
    """The test's progress and result beside a form of the account, polled while it runs."""
    return panel(request, "account/test.html", account=find(request, pk))


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
