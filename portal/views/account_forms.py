"""Adding an account, changing it, and its credentials, each said before it is done."""

from uuid import UUID

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from common.questions import Point, Question
from connections import services
from connections.credential_forms import CredentialsForm
from portal.forms import AddForm, ChangeAccountForm
from portal.pages import asked, for_tenants, me
from portal.views.accounts import address, find
from users.models import User


@for_tenants
def add(request: HttpRequest) -> HttpResponse:
    """A new account; then its page says what comes next."""
    user = me(request)
    form = AddForm(user, request.POST or None)
    made: list[UUID] = []
    points = [
        Point("pending", "It trades nothing yet: enter its credentials if the broker wants some, "
              "then run its test. No entry is sent before the test has passed."),
        Point("skipped", "It takes signals only of feeds that you subscribe it to."),
    ]  # fmt: skip
    question = Question("Add an account", points, "Add it", reverse("portal:accounts"), False,
                        form, "Not now")  # fmt: skip

    def act() -> str:
        made.append(_create(form, user))
        return "The account is added. Run its test next."

    answer = asked(request, question, act)
    return HttpResponseRedirect(address(made[0])) if made and answer.status_code == 302 else answer


def _create(form: AddForm, user: User) -> UUID:
    said = form.cleaned_data
    names = ("name", "type", "account", "exchange_name", "preset", "data_connection")
    made = services.create_connection(by=user, user=user, **{name: said[name] for name in names})
    return made.pk


@for_tenants
def edit(request: HttpRequest, *, pk: UUID) -> HttpResponse:
    """Name, preset, price source, and what it may correct by itself."""
    user = me(request)
    connection = find(request, pk).connection
    names = ("name", "preset", "data_connection", "auto_correct")
    before = {name: getattr(connection, name) for name in names}
    form = ChangeAccountForm(user, request.POST or None, initial=before)
    points = [Point("validated", "Counts from the next signal on. What is open keeps its size and "
                    "its stops.")]  # fmt: skip
    question = Question(f"Change {connection.name}", points, "Save", address(pk), False, form)

    def act() -> str:
        said = {name: form.cleaned_data[name] for name in names}
        changes = {name: value for name, value in said.items() if value != before[name]}
        if not changes:
            return "Nothing was different; all stays as it was."
        services.update_connection(pk, by=user, **changes)
        return "Saved. It counts from the next signal on."

    return asked(request, question, act)


@for_tenants
def credentials(request: HttpRequest, *, pk: UUID) -> HttpResponse:
    """Take new credentials. They are sealed at once; this process could not read them again."""
    user = me(request)
    connection = find(request, pk).connection
    form = CredentialsForm(connection.type, request.POST or None)
    points = [
        Point("safe", "Sealed before they are stored; only the processes that trade can open them. "
              "Nobody is shown them again, not even you."),
        Point("pending", "They replace all that is stored. The account takes no entry until its "
              "next test has passed."),
    ]  # fmt: skip
    verb = "Replace" if connection.has_credentials else "Enter"
    question = Question(f"{verb} the credentials of {connection.name}", points, "Seal and store",
                        address(pk), False, form)  # fmt: skip

    def act() -> str:
        services.set_credentials(pk, by=user, values=form.told())
        return "The credentials are stored. Test the account to see whether they open."

    return asked(request, question, act)
