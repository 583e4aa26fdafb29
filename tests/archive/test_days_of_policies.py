"""Each kind's policy has the days of its own setting."""

from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from common.operational.document import Retention
from events.models import Delivery, Event, WebhookAttempt, WebhookMessage
from execution.models import AuditRun
from tests.archive.rows import archive, make_old
from tests.operational import set_setting
from tests.users import world

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def hundred_days_ago() -> None:
    """Leave rows that are a hundred days old and over; no policy wants them yet."""
    world.tenant("alice")
    for name in Retention.__dataclass_fields__:
        if name.endswith("_days"):
            set_setting(f"retention.{name}", None)
    for _ in range(2):  # the last one stays
        AuditRun.objects.create(ok=True, at=timezone.now() - timedelta(days=100), counters={})
    for table, column in (
        ("events_event", "created_at"), ("events_delivery", "due_at"),
        ("events_webhookmessage", "created_at"), ("events_webhookattempt", "at"),
    ):  # fmt: skip
        make_old(table, column)


def archived_at(key: str, kind: str, folder: Path) -> list[int]:
    """Return how many rows go while the key is 101, then while it is 99."""
    numbers = []
    for days in (101, 99):
        set_setting(f"retention.{key}", days)
        numbers.append(archive(kind, folder))
    return numbers


def test_events_go_after_event_days(folder: Path) -> None:
    Delivery.objects.all().delete()
    Event.objects.update(routed_at=timezone.now())
    events = Event.objects.count()
    gone = archived_at("event_days", "events", folder)
    assert gone == [0, events - Event.objects.count()]
    assert gone[1] > 0


def test_deliveries_go_after_delivery_days(folder: Path) -> None:
    Delivery.objects.update(status="FAILED")
    assert archived_at("delivery_days", "deliveries", folder) == [0, 1]
    assert not Delivery.objects.exists()


def test_messages_go_after_webhook_days(folder: Path) -> None:
    WebhookAttempt.objects.all().delete()
    WebhookMessage.objects.update(status="SENT")
    assert archived_at("webhook_days", "webhook-messages", folder) == [0, 1]


def test_audit_runs_go_after_audit_run_days(folder: Path) -> None:
    assert archived_at("audit_run_days", "audit-runs", folder) == [0, 1]
    assert AuditRun.objects.count() == 1
