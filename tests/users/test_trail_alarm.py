"""A broken audit trail is an alarm for staff, in the console until a full check passes."""

import json

import psycopg
import pytest
from django.core.management import call_command
from django.db import transaction
from django.test import Client

from common.db.audit_trail_sql import LINES
from common.db.sql import rows, run
from common.permissions import Role
from config.tasks import verify_trail
from connections.models import TradingPreset
from events.models import Event, Notification
from events.services import deliver
from tests.connections import make
from tests.html import html_of
from tests.roles import staff
from tests.users.conftest import Opened
from users.models import User
from users.tasks import checkpoint_trail
from users.trail_alarm import trail_status

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("trail")]
HEADING = "<h2>The audit trail is broken</h2>"


@pytest.fixture
def operator() -> User:
    return staff(Role.OPERATOR, name="olga")


@pytest.fixture
def trail(operator: User) -> None:
    preset = make.preset(make.user("alice"))
    TradingPreset.objects.filter(pk=preset.pk).update(max_open_positions=2)
    checkpoint_trail.apply()
    TradingPreset.objects.filter(pk=preset.pk).update(max_open_positions=3)


def change_line(*, number: int, user: str) -> None:
    with transaction.atomic():
        run("SET LOCAL session_replication_role = replica")
        rows(f"UPDATE {LINES} SET user_id = {user} WHERE number = {number}")


def last_number() -> int:
    return int(rows(f"SELECT max(number) AS n FROM {LINES}")[0].n)


def kinds() -> list[str]:
    events = Event.objects.filter(kind__startswith="audit_trail").order_by("id")
    return list(events.values_list("kind", flat=True))


def console_page(user: User, path: str = "/admin/") -> str:
    client = Client()
    client.force_login(user)
    return html_of(client.get(path))


def test_regular_check_of_broken_trail_alarms_staff_once(operator: User) -> None:
    administrator, tenant = (
        staff(Role.ADMINISTRATOR, name="anna"),
        User.objects.get(username="alice"),
    )
    assert HEADING not in console_page(operator)
    change_line(number=last_number(), user="1")
    for _ in range(3):
        checkpoint_trail.apply()
    assert kinds() == ["audit_trail.broken"]
    deliver()
    found = Notification.objects.filter(kind="audit_trail.broken")
    assert {item.user for item in found} == {operator, administrator}
    assert tenant not in {item.user for item in found}
    assert found[0].title == "The audit trail is broken"
    assert f"Line {last_number()} (" in found[0].body
    assert "Run `manage.py verify_trail`" in found[0].body


@pytest.mark.parametrize(
    "path", ["/admin/", "/admin/execution/order/", "/admin/console/scan-alarm/"]
)
def test_console_shows_alarm_until_full_check_passes(operator: User, path: str) -> None:
    change_line(number=last_number(), user="1")
    checkpoint_trail.apply()
    assert HEADING in console_page(operator, path)
    with pytest.raises(SystemExit):
        call_command("verify_trail")
    assert HEADING in console_page(operator, path), "a check that fails ends nothing"

    change_line(number=last_number(), user="NULL")
    checkpoint_trail.apply()
    assert HEADING in console_page(operator, path), "the check of new lines does not prove the rest"
    call_command("verify_trail")
    assert HEADING not in console_page(operator, path)
    assert kinds() == ["audit_trail.broken", "audit_trail.intact"]


def test_daily_check_finds_change_before_last_checkpoint() -> None:
    checkpoint_trail.apply()
    change_line(number=1, user="1")
    checkpoint_trail.apply()
    assert kinds() == [], "the regular check reads the new lines only"
    verify_trail.apply()
    verify_trail.apply()
    assert kinds() == ["audit_trail.broken"]
    change_line(number=1, user="NULL")
    verify_trail.apply()
    assert kinds() == ["audit_trail.broken", "audit_trail.intact"]
    assert not trail_status().is_broken


def test_mistyped_head_raises_no_alarm() -> None:
    with pytest.raises(SystemExit):
        call_command("verify_trail", "--expect", f"1:{'0' * 64}")
    assert kinds() == []


@pytest.mark.parametrize("is_mistyped", [False, True], ids=["a head that fits", "mistyped"])
def test_broken_chain_raises_the_alarm_with_a_given_head_too(
    capsys: pytest.CaptureFixture[str], is_mistyped: bool
) -> None:
    call_command("verify_trail")
    kept = json.loads(capsys.readouterr().out.splitlines()[-1])["head"]
    kept = f"1:{'0' * 64}" if is_mistyped else kept
    change_line(number=last_number(), user="1")
    with pytest.raises(SystemExit):
        call_command("verify_trail", "--expect", kept)
    assert kinds() == ["audit_trail.broken"]
    assert f"Line {last_number()} (" in trail_status().findings
    assert "The head that you gave" not in trail_status().findings
    output = capsys.readouterr().out
    assert ("The head that you gave" in output) == is_mistyped
    assert json.loads(output.splitlines()[-1])["wrong"] == 1 + is_mistyped


def test_mistyped_head_does_not_end_the_alarm() -> None:
    change_line(number=last_number(), user="1")
    checkpoint_trail.apply()
    change_line(number=last_number(), user="NULL")
    with pytest.raises(SystemExit):
        call_command("verify_trail", "--expect", f"1:{'0' * 64}")
    assert trail_status().is_broken
    call_command("verify_trail")
    assert not trail_status().is_broken


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE users_trailstatus SET broken_at = NULL",
        "DELETE FROM users_trailstatus",
        "INSERT INTO users_trailstatus (id) VALUES (1) ON CONFLICT DO NOTHING",
    ],
)
def test_web_role_cannot_end_the_alarm(operator: User, as_role: Opened, statement: str) -> None:
    change_line(number=last_number(), user="1")
    checkpoint_trail.apply()
    with (
        as_role("web", tenant=operator.pk, operator=True) as session,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        session.execute(statement)
    assert trail_status().is_broken
