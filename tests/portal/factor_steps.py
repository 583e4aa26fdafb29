"""Steps of tests about a fresh second factor: forms, refusals, and its confirmation."""

from typing import Any

import pytest
from django.test import Client

from common.permissions import Role
from connections.models import ExecutionConnection
from tests.portal.conftest import SignedIn
from tests.portal.factories import World
from tests.portal.test_second_factor import client_with_stale_factor, current_code
from tests.roles import staff
from users.models import User
from users.sign_in.session_factor import FRESH_SECONDS
from users.tenancy import for_all_tenants

STALE = FRESH_SECONDS + 1


@pytest.fixture
def rita(world: World) -> User:
    """Return a member of staff with all roles. Before `as_web`."""
    return staff(*Role, name="rita")


@pytest.fixture
def client(world: World, signed_in: SignedIn, as_web: None) -> Client:
    """A session of alice, whose second factor is too old for important actions."""
    return client_with_stale_factor(signed_in, world.alice)


def is_asked(response: Any) -> bool:
    """Whether the page sends the browser to the page that asks for the second factor."""
    to = response.get("Location", "")
    return bool(response.status_code == 302 and to.startswith("/security/confirm/"))


def confirm(client: Client, response: Any) -> Any:
    """Enter a code where a page sent the browser; return the page that it leads back to."""
    return client.get(client.post(response["Location"], {"code": current_code()})["Location"])


def errors_on(answer: Any) -> Any:
    shown = answer.context_data
    return [getattr(one, "errors", one) for one in (shown.get("form"), shown.get("errors"))] + [
        shown["question"].form.errors if "question" in shown else ""
    ]


def form_on(client: Client, page: str) -> dict[str, Any]:
    """Return what the form on a page holds, as a browser would send it."""
    answer = client.get(page)
    assert answer.status_code == 200, (answer.status_code, answer)
    shown: Any = answer.context_data
    form = shown["adminform"].form if "adminform" in shown else shown.get("form")
    form = form or shown["question"].form
    values = {name: form[name].value() for name in form.fields}
    for inline in shown.get("inline_admin_formsets", ()):
        management = inline.formset.management_form
        values |= {
            management.add_prefix(name): management[name].value() for name in management.fields
        }
    return {
        name: value if value is not True else "on"
        for name, value in values.items()
        if value is not None and value is not False and value != []
    }


def stored(connection: ExecutionConnection) -> ExecutionConnection:
    with for_all_tenants():
        return ExecutionConnection.objects.get(pk=connection.pk)
