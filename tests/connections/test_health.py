"""What a connection's methods say, and how its health is written."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from connections import services
from connections.health import status_updates
from connections.models import ConnectionHealth, ExecutionConnection
from events.models import Event, EventKind
from tests.connections import make

pytestmark = pytest.mark.django_db


@pytest.fixture
def alices() -> ExecutionConnection:
    return make.connection()


def health_of(row: ExecutionConnection) -> ConnectionHealth:
    return ConnectionHealth.objects.get(pk=row.pk)


def events(row: ExecutionConnection) -> list[str]:
    return list(
        Event.objects.filter(connection_id=row.pk).order_by("id").values_list("kind", flat=True)
    )


def test_connection_properties_reflect_health(alices: ExecutionConnection) -> None:
    admin = make.connection(admin=make.user(is_staff=True))
    assert (alices.is_admin_owned(), admin.is_admin_owned()) == (False, True)
    assert alices.has_preset()
    assert alices.has_data_connection()
    assert alices.owner_id == alices.user_id
    assert admin.owner_id == admin.admin_id
    alices.preset = alices.data_connection = None
    assert not alices.has_preset()
    assert not alices.has_data_connection()


def test_can_execute_trades_uses_fan_out_rules(alices: ExecutionConnection) -> None:
    assert alices.can_execute_trades()
    switch = make.kill_switch("REDUCING", scope="CONNECTION", connection=alices)
    assert not alices.can_execute_trades()
    switch.delete()
    assert alices.can_execute_trades()
    alices.mark_as_error("The broker does not answer.")
    assert not alices.can_execute_trades()


def test_error_and_recovery_emit_one_event_each(alices: ExecutionConnection) -> None:
    assert alices.mark_as_error("The broker does not answer.") is True
    assert alices.mark_as_error("Still not.") is False
    assert alices.has_error()
    health = health_of(alices)
    assert (health.last_error, health.consecutive_failures) == ("Still not.", 2)
    assert alices.get_health_status() == "error"
    assert alices.mark_as_active() is True
    assert alices.mark_as_active() is False
    assert not alices.has_error()
    assert (health_of(alices).last_error, health_of(alices).consecutive_failures) == ("", 0)
    assert events(alices) == [EventKind.CONNECTION_ERROR, EventKind.CONNECTION_RECOVERED]
    event = Event.objects.filter(connection_id=alices.pk).earliest("id")
    assert event.user_id == alices.user_id
    assert event.payload == {"name": alices.name, "message": "The broker does not answer."}


def test_first_success_of_untested_connection_is_no_recovery() -> None:
    new = make.connection(health_status="UNTESTED", health_reconciled_at=None)
    assert new.get_health_status() == "untested"
    assert new.mark_as_active() is False
    assert health_of(new).status == "ACTIVE"
    assert events(new) == []


def test_account_is_reconciled_after_error_before_trading(alices: ExecutionConnection) -> None:
    alices.mark_as_error("Lost.")
    assert health_of(alices).reconciled_at is None
    ConnectionHealth.objects.filter(pk=alices.pk).update(reconciled_at=timezone.now())
    alices.mark_as_error("Lost still.")
    assert health_of(alices).reconciled_at is not None  # reconciled since; the error went on


def test_error_that_goes_on_keeps_the_time_of_its_beginning(alices: ExecutionConnection) -> None:
    """What is read or compared after that time is of the account as it was in error."""
    seen = []
    for _ in range(2):
        alices.mark_as_error("Lost.")
        seen.append(health_of(alices))
    alices.mark_as_active()
    alices.mark_as_error("Lost again.")
    first, later, again = *seen, health_of(alices)
    assert (later.errored_at, later.failing_since) == (first.errored_at, first.failing_since)
    for name in ("errored_at", "failing_since", "last_error_at"):
        assert getattr(again, name) > getattr(first, name)
    assert later.last_error_at != first.last_error_at


@pytest.mark.parametrize("needs_test", [True, False])
def test_answer_ends_no_error_of_an_account_that_needs_a_test(
    alices: ExecutionConnection, needs_test: bool
) -> None:
    """The pauses between logins that are refused go on growing until the test has passed."""
    services.mark_errors([(alices.pk, "The login was refused.")])
    ConnectionHealth.objects.filter(pk=alices.pk).update(needs_test=needs_test)
    before = health_of(alices)
    services.mark_active([alices.pk])
    after = health_of(alices)
    for name in ("failing_since", "read_after", "last_error"):
        assert (getattr(after, name) == getattr(before, name)) is needs_test, name
    assert after.status == ("ERROR" if needs_test else "ACTIVE")
    assert (after.test_requested_at is not None) is needs_test


def test_circuit_opens_after_five_failures_for_growing_time(alices: ExecutionConnection) -> None:
    for seconds in [0, 0, 0, 0, 30, 60, 60, 60, 60, 60, 60, 60]:
        before = timezone.now()
        alices.mark_as_error("No answer.")
        until = health_of(alices).circuit_open_until
        assert (until is not None) is bool(seconds)
        assert until is None or before <= until - timedelta(seconds=seconds) <= timezone.now()
    assert alices.get_health_status() == "resting"
    alices.mark_as_active()
    assert health_of(alices).circuit_open_until is None


def test_healthy_row_is_not_rewritten(alices: ExecutionConnection) -> None:
    with CaptureQueriesContext(database):
        before = _version(alices)
        services.mark_active([alices.pk])
        assert _version(alices) == before


def _version(row: ExecutionConnection) -> str:
    with database.cursor() as cursor:
        cursor.execute(
            "SELECT ctid::text FROM connections_connectionhealth WHERE connection_id = %s",
            [row.pk],
        )
        return str(cursor.fetchone()[0])


def test_times_of_use_and_contact(alices: ExecutionConnection) -> None:
    assert alices.is_stale(24)
    alices.update_last_connected()
    assert not alices.is_stale(24)
    old = timezone.now() - timedelta(hours=3)
    ConnectionHealth.objects.filter(pk=alices.pk).update(last_connected_at=old)
    assert alices.is_stale(2)
    assert not alices.is_stale(4)
    alices.update_last_used()
    first = health_of(alices).last_used_at
    alices.update_last_used()
    second = health_of(alices).last_used_at
    assert first is not None
    assert second is not None
    assert second > first


def test_use_is_written_at_most_once_a_second(alices: ExecutionConnection) -> None:
    other = make.connection()
    assert services.mark_used([alices.pk, other.pk, uuid4()]) == 2
    assert services.mark_used([alices.pk, other.pk]) == 0


def test_health_labels(alices: ExecutionConnection) -> None:
    assert alices.get_health_status() == "stale"
    alices.update_last_connected()
    assert alices.get_health_status() == "healthy"
    alices.is_paused = True
    assert alices.get_health_status() == "paused"
    alices.is_active = False
    assert alices.get_health_status() == "inactive"
    alices.archived_at = timezone.now()
    assert alices.get_health_status() == "archived"


def test_batch_takes_at_most_three_statements() -> None:
    rows = [make.connection() for _ in range(20)]
    with CaptureQueriesContext(database) as asked:
        changed = services.mark_errors([(row.pk, f"No answer from {row.name}.") for row in rows])
    assert set(changed) == {row.pk for row in rows}
    assert len(asked) <= 2  # the savepoint; what common.db.sql runs is not counted by Django
    assert Event.objects.filter(kind=EventKind.CONNECTION_ERROR).count() == 20
    assert {row.get_health_status() for row in rows} == {"error"}


def test_last_failure_of_connection_in_batch_is_stored(
    alices: ExecutionConnection,
) -> None:
    services.mark_errors([(alices.pk, "first"), (alices.pk, "second")])
    assert health_of(alices).last_error == "second"
    assert health_of(alices).consecutive_failures == 1


def test_accepted_order_clears_broker_refusal(
    alices: ExecutionConnection,
) -> None:
    """It stays ACTIVE and compared, and an answer without orders leaves the note."""
    other, doubted, new = make.connection(), make.connection(), make.connection()
    live = ConnectionHealth.objects.exclude(pk=new.pk)
    live.update(status="ACTIVE", reconciled_at=timezone.now(), needs_test=False)
    ConnectionHealth.objects.filter(pk=new.pk).update(reconciled_at=None)
    status_updates.mark_failures([(doubted.pk, "No answer.")])
    before = events(alices)
    rows = (alices, other, doubted, new)
    status_updates.mark_refused([(row.pk, "Closed.\0") for row in rows])
    status_updates.mark_active([alices.pk, other.pk])  # a poll's answers
    noted = [health_of(row).last_error for row in rows]
    assert noted == ["Closed.\\0", "Closed.\\0", "No answer.", ""]  # nothing worse is written over
    assert (health_of(alices).status, events(alices)) == ("ACTIVE", before)
    assert health_of(alices).reconciled_at is not None
    status_updates.mark_active([alices.pk, other.pk], cleared=[alices.pk])
    assert [health_of(row).last_error for row in (alices, other)] == ["", "Closed.\\0"]


def test_accepted_order_does_not_write_clean_account(
    alices: ExecutionConnection,
) -> None:
    ConnectionHealth.objects.update(status="ACTIVE", needs_test=False)
    contacted = health_of(alices).last_connected_at
    status_updates.mark_active([alices.pk], cleared=[alices.pk])
    assert health_of(alices).last_connected_at == contacted
