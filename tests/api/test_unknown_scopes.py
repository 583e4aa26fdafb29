"""Cancelling and closing all of an account, signal or user that there is not is refused."""

from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from tests.api.factories import World
from tests.html import html_of

ACTIONS = ("/api/v1/orders/cancel-all/", "/api/v1/positions/close-all/")
NONE = uuid4()
MISTYPED: dict[str, Any] = {"connection": str(NONE), "signal": 987_654_321, "user": 987_654_321}


@pytest.mark.django_db
@pytest.mark.parametrize("name", list(MISTYPED))
@pytest.mark.parametrize("dry_run", [False, True])
def test_unknown_scope_is_404_with_its_name(world: World, name: str, dry_run: bool) -> None:
    caller = world.client("olga" if name == "user" else "alice")
    for path in ACTIONS:
        answer = caller.post(path, {name: MISTYPED[name], "dry_run": dry_run}, format="json")
        assert answer.status_code == 404, (path, answer.json())
        assert str(MISTYPED[name]) in answer.json()["detail"]
        assert answer.json()["errors"][0]["field"] == name


@pytest.mark.django_db
def test_account_of_another_user_is_404_too(world: World) -> None:
    body = {"connection": str(world.connection.pk)}
    for path in ACTIONS:
        assert world.client("bob").post(path, body, format="json").status_code == 404, path
        assert world.client("alice").post(path, body, format="json").status_code in (200, 202)


@pytest.mark.django_db
def test_page_of_an_unknown_account_is_404_with_its_name(world: World) -> None:
    client = Client()
    client.force_login(world.alice)
    for page in ("/orders/cancel-all/", "/positions/close-all/"):
        for account in (str(NONE), "no-uuid"):
            for send in (client.get, client.post):
                answer = send(f"{page}?account={account}")
                assert answer.status_code == 404, page
                assert account in html_of(answer)
        own = client.get(f"{page}?account={world.connection.pk}")
        assert own.status_code in (200, 302), page


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("cancel_all", ["--connection", str(NONE), "--yes"]),
        ("close_all", ["--connection", str(NONE), "--yes"]),
        ("cancel_all", ["--signal", "S-987654321", "--yes"]),
        ("killswitch", ["set", "--scope", "CONNECTION", "--name", str(NONE), "--reason", "r"]),
    ],
)
def test_command_for_an_unknown_scope_says_so(command: str, options: list[str]) -> None:
    with pytest.raises(CommandError, match="There is no"):
        call_command(command, *options)
