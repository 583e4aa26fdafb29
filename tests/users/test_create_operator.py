"""The first person of an installation is made on the machine itself."""

import io
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from common.permissions import Right, Role, may
from users.models import User

pytestmark = pytest.mark.django_db
GOOD = "correct horse battery"


def create(monkeypatch: pytest.MonkeyPatch, password: str, *arguments: str) -> str:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{password}\n"))
    output = io.StringIO()
    call_command("create_operator", *arguments, stderr=output)
    return output.getvalue()


def check() -> int:
    with pytest.raises(SystemExit) as ended:
        call_command("create_operator", "--check", stdout=io.StringIO())
    code: Any = ended.value.code
    return int(code)


def test_first_administrator_is_superuser_and_the_next_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert check() == 1
    output = create(monkeypatch, GOOD, "olga", "--email", "olga@example.com")
    assert output == (
        "olga has the role administrator and, as the first one, a superuser. Sign in at /admin/.\n"
    )
    olga = User.objects.get()
    assert (olga.is_staff, olga.is_superuser, olga.email) == (True, True, "olga@example.com")
    assert olga.check_password(GOOD)
    assert all(may(olga, right) for right in Right)
    assert check() == 0
    output = create(monkeypatch, GOOD, "otto")
    assert output == "otto has the role administrator. Sign in at /admin/.\n"
    otto = User.objects.get(username="otto")
    assert (otto.is_staff, otto.is_superuser) == (True, False)
    assert all(may(otto, right) for right in Right)


def test_role_must_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    create(monkeypatch, GOOD, "rita", "--role", "risk officer")
    rita = User.objects.get()
    assert not rita.is_superuser
    assert [group.name for group in rita.groups.all()] == [Role.RISK_OFFICER.value]
    assert not may(rita, Right.PUBLISH)
    with pytest.raises(CommandError, match="invalid choice"):
        create(monkeypatch, GOOD, "paul", "--role", "king")


@pytest.mark.parametrize(
    ("password", "arguments", "output"),
    [
        ("1234", ("olga",), "too short"),
        (GOOD, (), "Give a name"),
        (GOOD, ("taken",), "The name 'taken' is taken"),
    ],
)
def test_rejection_states_remedy(
    monkeypatch: pytest.MonkeyPatch, password: str, arguments: tuple[str, ...], output: str
) -> None:
    User.objects.create_user("taken")
    with pytest.raises(CommandError, match=output):
        create(monkeypatch, password, *arguments)
    assert User.objects.count() == 1
