"""What goes and what stays: by age, and by what still needs a row."""

from datetime import timedelta
from pathlib import Path

import pytest
from django.db import transaction
from django.db.utils import ProgrammingError
from django.utils import timezone
from pytest_django import Settings

from common.archive.overview import count_removable
from common.db.sql import rows, run
from common.models import ArchiveFile
from config.retention import KINDS
from events.models import Channel, Delivery, Event, Notification, WebhookAttempt, WebhookMessage
from events.routing import route_events
from execution.models import AuditRun, ExecutionLog, Order
from positions.models import ExecutionPosition
from tests.archive.rows import OLD, archive, archived, line_ids, make_old, old_lines, table
from tests.execution.factories import force
from tests.operational import set_setting
from tests.users import world

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice() -> world.Tenant:
    """An order, an open position and a line of the log, all of them new."""
    return world.tenant("alice")


def ended(order: Order, *, days_ago: int = 100) -> Order:
    """Let the order have been denied so long ago."""
    force(
        "UPDATE execution_order SET status = 'DENIED', reason = 'MAX_QUANTITY',"
        " done_at = clock_timestamp() - make_interval(days => %s) WHERE id = %s",
        (days_ago, order.pk),
    )
    return Order.objects.get(pk=order.pk)


def closed(alice: world.Tenant) -> None:
    force("UPDATE positions_executionposition SET quantity = 0, reserved = 0")


# ---- every kind


def test_policy_never_removes_nothing(settings: Settings, folder: Path) -> None:
    old_lines(3)
    set_setting("retention.log_days", None)
    assert (archive("logs", folder), count_removable(KINDS["logs"])) == (0, 0)
    assert len(table("execution_executionlog")) == 3
    assert not folder.exists()
    set_setting("retention.log_days", 90)
    assert count_removable(KINDS["logs"]) == archive("logs", folder) == 3


def test_only_rows_older_than_the_policy_go(settings: Settings, folder: Path) -> None:
    old = old_lines(2)
    young = ExecutionLog.objects.create(code="KILL_SWITCH").pk
    set_setting("retention.log_days", 101)
    assert archive("logs", folder) == 0
    set_setting("retention.log_days", 99)
    assert archive("logs", folder) == 2
    assert line_ids(archived("logs", folder)) == old
    assert line_ids(table("execution_executionlog")) == [young]
    assert archive("logs", folder) == 0  # nothing twice
    assert ArchiveFile.objects.count() == 1


def test_rows_that_stay_do_not_stop_the_next_batches(alice: world.Tenant, folder: Path) -> None:
    for _ in range(4):  # of an order that has not ended
        ExecutionLog.objects.create(order_id=alice.order.pk, code="CLAIMED")
    last = old_lines(1)
    assert archive("logs", folder, rows_at_once=2) == 1
    assert line_ids(archived("logs", folder)) == last


# ---- lines of the execution log


def test_lines_of_order_that_has_not_ended_stay(alice: world.Tenant, folder: Path) -> None:
    closed(alice)
    make_old("execution_executionlog", "at")
    assert archive("logs", folder) == 0
    ended(alice.order, days_ago=89)
    assert archive("logs", folder) == 0
    ended(alice.order, days_ago=91)
    assert archive("logs", folder) == 1


def test_lines_of_open_position_stay(alice: world.Tenant, folder: Path) -> None:
    ended(alice.order)
    ids = {"signal_id": alice.signal.pk, "connection_id": alice.connection.pk}
    old_lines(1, **ids)  # about the position
    old_lines(1, **ids, order_id=alice.order.pk)
    world_line = 1  # it names its order and account, and no signal
    assert archive("logs", folder) == world_line
    closed(alice)
    assert archive("logs", folder) == 2


def test_lines_of_exit_whose_position_is_open_stay(alice: world.Tenant, folder: Path) -> None:
    closed(alice)
    position = ExecutionPosition.objects.get(connection=alice.connection)
    force(
        "UPDATE execution_order SET leg = 'close-1', position_id = %s, status = 'CANCELLED',"
        " done_at = clock_timestamp() - interval '100 days' WHERE id = %s",
        (position.pk, alice.order.pk),
    )
    force("UPDATE positions_executionposition SET quantity = 1")
    make_old("execution_executionlog", "at")
    assert archive("logs", folder) == 0
    closed(alice)
    assert archive("logs", folder) == 1


@pytest.mark.parametrize("code", ["NEVER_ARRIVED", "OPERATOR_RETRY", "RESTORED"])
def test_line_that_the_engine_or_audit_reads_stays(
    alice: world.Tenant, folder: Path, code: str
) -> None:
    closed(alice)
    order = ended(alice.order)
    ExecutionLog.objects.create(order_id=order.pk, code=code)
    make_old("execution_executionlog", "at")
    assert archive("logs", folder) == 1
    assert [row["code"] for row in table("execution_executionlog")] == [code]


def test_figures_of_a_denial_stay_with_their_order(alice: world.Tenant, folder: Path) -> None:
    closed(alice)
    order = ended(alice.order)
    figures = {"limit": "max_quantity", "value": "3", "maximum": "2"}
    ExecutionLog.objects.create(order_id=order.pk, code=order.reason, numbers=figures)
    ExecutionLog.objects.create(order_id=order.pk, code=order.reason)
    make_old("execution_executionlog", "at")
    assert archive("logs", folder) == 2
    assert [row["numbers"] for row in table("execution_executionlog")] == [figures]


# ---- the log stays append-only for the application


@pytest.fixture
def as_trade(db: None) -> None:
    run("SET LOCAL ROLE fillcast_trade")


def test_worker_archives_lines_although_it_may_not_delete_any(folder: Path) -> None:
    lines = old_lines(2)
    run("SET LOCAL ROLE fillcast_trade")
    for statement in ("DELETE FROM {}", "UPDATE {} SET code = 'x'"):
        for name in ("execution_executionlog", "common_archivefile"):
            with pytest.raises(ProgrammingError, match="permission denied"), transaction.atomic():
                run(statement.format(name).replace("code = 'x'", "id = id"))
    assert archive("logs", folder) == 2
    assert line_ids(archived("logs", folder)) == lines


def listed(lines: list[int]) -> int:
    now = timezone.now()
    return ArchiveFile.objects.create(
        kind="logs", path="x", sha256="x", size=1, host="x", rows=len(lines), first_id=min(lines),
        last_id=max(lines), first_at=now, last_at=now,
    ).pk  # fmt: skip


REMOVE = "SELECT execution_remove_archived_lines(%s, %s::bigint[]) AS removed"


def test_function_removes_only_the_lines_of_its_file() -> None:
    lines = old_lines(4)
    file = listed(lines[:2])
    for others in (lines[:1], lines[1:3], lines[:3], []):
        with pytest.raises(ProgrammingError, match="not the lines of"), transaction.atomic():
            rows(REMOVE, (file, others))
    assert rows(REMOVE, (file, lines[:2]))[0].removed == 2
    assert line_ids(table("execution_executionlog")) == lines[2:]


def test_function_removes_no_line_of_the_last_week() -> None:
    old_lines(1)
    make_old("execution_executionlog", "at", by=-timedelta(days=94))
    (line,) = line_ids(table("execution_executionlog"))
    assert rows(REMOVE, (listed([line]), [line]))[0].removed == 0


def test_web_role_may_not_call_the_function() -> None:
    lines = old_lines(1)
    file = listed(lines)
    run("SET LOCAL ROLE fillcast_web")
    with pytest.raises(ProgrammingError, match="permission denied"), transaction.atomic():
        rows(REMOVE, (file, lines))


# ---- events and deliveries


@pytest.fixture
def event(alice: world.Tenant) -> Event:
    """Alice's event with its delivery, both old; neither is done."""
    make_old("events_event", "created_at")
    make_old("events_delivery", "due_at")
    return Event.objects.get(user_id=alice.user.pk, kind="order.filled")


def test_event_that_is_not_routed_stays(event: Event, folder: Path) -> None:
    Delivery.objects.all().delete()
    assert archive("events", folder) == 0
    Event.objects.update(routed_at=event.created_at)
    assert archive("events", folder) == Event.objects.count() + 1 == 1


def test_event_stays_until_its_deliveries_have_gone(event: Event, folder: Path) -> None:
    Event.objects.update(routed_at=event.created_at)
    assert (archive("deliveries", folder), archive("events", folder)) == (0, 0)  # PENDING
    Delivery.objects.update(status="SENT", sent_at=timezone.now() - timedelta(days=89))
    assert (archive("deliveries", folder), archive("events", folder)) == (0, 0)  # young
    Delivery.objects.update(sent_at=timezone.now() - timedelta(days=91))
    assert (archive("events", folder), archive("deliveries", folder)) == (0, 1)
    assert archive("events", folder) == 1
    assert not Event.objects.exists()


def test_result_of_last_test_message_stays(event: Event, folder: Path) -> None:
    Delivery.objects.update(status="SENT", sent_at=event.created_at)
    Channel.objects.update(test_event_id=event.pk)
    assert archive("deliveries", folder) == 0
    Channel.objects.update(test_event_id=event.pk + 1)
    assert archive("deliveries", folder) == 1


def test_archived_event_is_neither_routed_nor_delivered_again(event: Event, folder: Path) -> None:
    Event.objects.update(routed_at=event.created_at)
    Delivery.objects.update(status="SENT", sent_at=event.created_at)
    archive("deliveries", folder)
    archive("events", folder)
    notified = Notification.objects.count()
    assert route_events(100) == 0
    assert (Notification.objects.count(), Delivery.objects.count()) == (notified, 0)
    assert Event.objects.create(kind="order.filled").pk > event.pk  # its number is not given again


def test_delivery_that_is_sent_again_meanwhile_stays(event: Event, folder: Path) -> None:
    Delivery.objects.update(status="FAILED")
    Delivery.objects.update(status="PENDING", tries=0)
    assert archive("deliveries", folder) == 0


# ---- messages to webhooks


def test_message_goes_after_its_attempts(alice: world.Tenant, folder: Path) -> None:
    make_old("events_webhookattempt", "at")
    make_old("events_webhookmessage", "created_at")
    kinds = ("webhook-attempts", "webhook-messages")
    assert [archive(kind, folder) for kind in kinds] == [0, 0]  # PENDING
    WebhookMessage.objects.update(status="SENT")
    assert [archive(kind, folder) for kind in reversed(kinds)] == [0, 1]
    assert archive("webhook-messages", folder) == 1
    assert not WebhookAttempt.objects.exists()
    (message,) = archived("webhook-messages", folder)
    (attempt,) = archived("webhook-attempts", folder)
    assert attempt["message_id"] == message["id"]


def test_message_that_was_repeated_recently_stays(alice: world.Tenant, folder: Path) -> None:
    make_old("events_webhookmessage", "created_at")
    WebhookMessage.objects.update(status="SENT")
    assert archive("webhook-attempts", folder) == 0
    assert archive("webhook-messages", folder) == 0


# ---- audit runs


def test_last_audit_run_stays_whatever_its_age(folder: Path) -> None:
    past = timezone.now() - OLD * 2
    runs = [AuditRun.objects.create(ok=True, at=past, counters={"DUP": 0}).pk for _ in range(3)]
    assert archive("audit-runs", folder) == 2
    assert line_ids(table("execution_auditrun")) == runs[2:]
    assert [row["counters"] for row in archived("audit-runs", folder)] == [{"DUP": 0}] * 2


def test_default_policies() -> None:
    kept = {kind.name: kind.kept_for for kind in KINDS.values()}
    assert kept == {
        "webhook-attempts": timedelta(days=30),
        "webhook-messages": timedelta(days=30),
        "deliveries": timedelta(days=90),
        "events": timedelta(days=90),
        "logs": timedelta(days=90),
        "audit-runs": timedelta(days=180),
        "orders": None,
    }
