"""Adding an account, changing it, and its credentials, each said before it is done."""

from urllib.parse import urlencode
from uuid import UUID

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from common.confirmation import ConfirmationPage, Consequence
from common.formatting import join_first
from connections import services
from connections.account_settings.forms import (
    BrokerTypeForm,
    broker_type_label,
    has_only_broker_type,
    selected_broker_type,
)
from connections.credentials.forms import CredentialsForm
from connections.market_data.forms import OWN
from connections.selectors import describe_open_items, open_items, other_accounts_using
from connections.services import lock_connection, use_own_prices
from portal.forms import AddForm, ChangeAccountForm
from portal.pages import confirm, current_user, page, tenants_only
from portal.views.accounts import address, find
from users.models import User


@tenants_only
def add(request: HttpRequest) -> HttpResponse:
    """A new account: first its broker, then what that asks for; its page says what is next."""
    user, kind = current_user(request), selected_broker_type(request)
    if kind is None or has_only_broker_type(request):
        return _choose(request)
    form = AddForm(user, kind, request.POST or None)
    made: list[UUID] = []
    points = [
        Consequence("pending", "It trades nothing yet: enter its credentials if the broker wants "
                               "some, "
              "then run its test. No entry is sent before the test has passed."),
        Consequence("skipped", "It takes signals only of feeds that you subscribe it to."),
    ]  # fmt: skip
    title = f"Add an account: {broker_type_label(kind)}"
    question = ConfirmationPage(
        title, points, "Add it", reverse("portal:accounts"), False, form, "Not now"
    )

    def act() -> str:
        made.append(_create(form, kind, user))
        return "The account is added. Run its test next."

    answer = confirm(request, question, act)
    return HttpResponseRedirect(address(made[0])) if made and answer.status_code == 302 else answer


def _choose(request: HttpRequest) -> HttpResponse:
    """Ask for the broker."""
    form = BrokerTypeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        return HttpResponseRedirect(f"{request.path}?{urlencode(form.cleaned_data)}")
    points = [Consequence("pending", "What the broker needs to know is asked for next.")]
    question = ConfirmationPage("Add an account", points, "Go "
                                                          "on", reverse("portal:accounts"), False,
                        form, "Not now")  # fmt: skip
    return page(request, "confirm.html", question=question, status=422 if form.errors else 200)


def _create(form: AddForm, kind: str, user: User) -> UUID:
    said = form.cleaned_data
    own = said["data_connection"] == OWN
    made = services.create_connection(
        by=user, user=user, type=kind, name=said["name"], account=said["account"],
        exchange_name=said.get("exchange_name") or "", settings=form.entered_settings(),
        preset=said["preset"], data_connection=None if own else said["data_connection"],
    )  # fmt: skip
    if own:
        use_own_prices(made.pk, by=user)
    return made.pk


@tenants_only
def edit(request: HttpRequest, *, pk: UUID) -> HttpResponse:
    """Name, settings, preset, price source, and what it may correct by itself."""
    user = current_user(request)
    if request.method == "POST":
        lock_connection(
            find(request, pk).connection.pk, user, archived_too=True
        )  # judged and written as it is now
    connection = find(request, pk).connection
    form = ChangeAccountForm(user, connection, request.POST or None)
    points = [
        Consequence("validated", "Counts from the next signal on. What is open keeps its size and "
                                 "its "
              "stops."),
        Consequence("pending", "Where you change what the broker needs to know, no entry is sent "
                               "before "
              "the next test has passed; it runs by itself."),
    ]  # fmt: skip
    question = ConfirmationPage(
        f"Change {connection.name}", points, "Save", address(pk), False, form
    )

    def act() -> str:
        changes = form.changed_values()
        if not changes:
            return "Nothing was different; all stays as it was."
        own = changes.get("data_connection") == OWN and changes.pop("data_connection")
        services.update_connection(pk, by=user, **changes)
        if own:
            use_own_prices(pk, by=user)
        return "Saved. It counts from the next signal on."

    return confirm(request, question, act)


@tenants_only
def credentials(request: HttpRequest, *, pk: UUID) -> HttpResponse:
    """Take new credentials. They are sealed at once; this process could not read them again."""
    user = current_user(request)
    connection = find(request, pk).connection
    form = CredentialsForm(connection.type, request.POST or None)
    points = [
        Consequence("safe", "Sealed before they are stored; only the processes that trade can "
                            "open them. "
              "Nobody is shown them again, not even you."),
        Consequence("pending", "They replace all that is stored. The account takes no entry until "
                               "its "
              "next test has passed."),
    ]  # fmt: skip
    verb = "Replace" if connection.has_credentials else "Enter"
    question = ConfirmationPage(f"{verb} the credentials of {connection.name}", points, "Seal and "
                                                                                        "store",
                        address(pk), False, form)  # fmt: skip

    def act() -> str:
        services.set_credentials(pk, by=user, values=form.entered_values())
        return "The credentials are stored. Test the account to see whether they open."

    return confirm(request, question, act)


@tenants_only
def remove(request: HttpRequest, *, pk: UUID) -> HttpResponse:
    """Give the account up here: what was connected by mistake, or is used no more."""
    user = current_user(request)
    name = find(request, pk).connection.name
    points = [
        Consequence("cancelled", "It takes no signal any more, its feeds end, and it is gone from "
                                 "these "
              "pages. Another account may have its number and its key then."),
        Consequence("filled", "Orders, positions and results stay as history. Nothing is sent to "
                              "the "
              "broker."),
    ]  # fmt: skip
    if others := other_accounts_using(pk):
        said = (
            f"Its prices go with it: {join_first(others)} would get no entry, and stops that we "
            f"hold"
            " there would see no price. Choose another price source there first."
        )
        points.insert(0, Consequence("attention", said))
    if found := open_items(pk):
        said = (
            f"Open there: {describe_open_items(found)}. It cannot be removed before that is closed."
        )
        points.insert(0, Consequence("attention", said))
    question = ConfirmationPage(f"Remove {name}?", points, "Remove it", reverse("portal:accounts"),
                        keep="Keep it")  # fmt: skip

    def act() -> str:
        services.archive_connection(pk, by=user)
        return f"{name} is removed."

    return confirm(request, question, act)
