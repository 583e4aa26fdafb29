"""Each dropped message is counted once, and counting blocks no other session."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.test import Client
from django.urls import reverse

from brokers.types import ReportKind
from brokers.unreadable_rows import UnreadableRows
from common.db.sql import run
from connections.models import ExecutionConnection
from execution.base import dropped_messages
from execution.models import DroppedMessageCount, Order
from execution.reports.apply import apply_reports
from signals.models import Feed
from tests.execution import factories
from tests.html import html_of

pytestmark = pytest.mark.usefixtures("inline_commits")
NOBODYS, ENDED = DroppedMessageCount.Name.UNKNOWN_CONNECTION, DroppedMessageCount.Name.ENDED


def counted_by_another(*names: DroppedMessageCount.Name) -> None:
    """Count in another session, which never waits for long."""

    def work() -> None:
        run("SET lock_timeout = '1s'")
        for name in names:
            dropped_messages.record_dropped(name, "another's")
        connection.close()

    with ThreadPoolExecutor(1) as another:
        another.submit(work).result(60)


def test_unreadable_row_is_counted_once_however_often_it_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = UnreadableRows()
    monkeypatch.setattr(dropped_messages, "UNREADABLE_ROWS", rows)
    for _ in range(3):
        rows.note("c1", "open order", "7 in EURUSD", ValueError("no price"))
        dropped_messages.record_unreadable_rows()
    rows.note("c1", "open order", "8 in EURUSD", ValueError("no price"))
    dropped_messages.record_unreadable_rows()
    sample = "open order 8 in EURUSD of connection c1: ValueError no price"
    assert factories.dropped_counts() == {"row.unreadable": (2, sample)}


@pytest.mark.django_db(transaction=True)
def test_counting_in_a_flush_blocks_no_other_session() -> None:
    dropped_messages.record_dropped(NOBODYS, "first")
    with transaction.atomic():
        dropped_messages.record_dropped(NOBODYS, "ours")
        counted_by_another(ENDED, NOBODYS)
        dropped_messages.record_dropped(ENDED, "ours")
    assert factories.dropped_counts() == {
        "report.unknown_connection": (3, "another's"),
        "message.ended": (2, "ours"),
    }


def test_retried_flush_counts_dropped_messages_once(alice: ExecutionConnection, feed: Feed) -> None:
    factories.signal(feed)
    factories.claim_all()
    report = factories.report(Order.objects.get(), ReportKind.ACCEPTED, client_order_id="x")
    reports = [replace(report, connection_id=str(uuid4()))]
    with transaction.atomic():
        apply_reports(reports)
        transaction.set_rollback(True)
    assert factories.dropped_counts() == {}
    apply_reports(reports)
    assert factories.dropped_counts()["report.unknown_connection"][0] == 1


@pytest.mark.django_db(transaction=True)
def test_aggregation_beside_a_flush_loses_no_count() -> None:
    for number in range(dropped_messages.MANY + 1):
        dropped_messages.record_dropped(ENDED, f"order {number}", 2)
    with transaction.atomic():
        dropped_messages.record_dropped(ENDED, "under way", 5)
        with ThreadPoolExecutor(1) as another:
            another.submit(added_up_by_another).result(60)
        assert DroppedMessageCount.objects.count() == 2
    total = 2 * (dropped_messages.MANY + 1) + 5
    assert factories.dropped_counts() == {"message.ended": (total, "under way")}
    dropped_messages.aggregate()
    assert DroppedMessageCount.objects.count() == 2  # few rows are left alone
    assert factories.dropped_counts() == {"message.ended": (total, "under way")}


def added_up_by_another() -> None:
    run("SET lock_timeout = '1s'")
    dropped_messages.aggregate()
    connection.close()


def test_console_shows_one_row_per_counter(admin_client: Client) -> None:
    for number in range(3):
        dropped_messages.record_dropped(ENDED, f"order {number}", 10)
    dropped_messages.record_dropped(NOBODYS, "a stranger")
    page = reverse("admin:execution_droppedmessagecount_changelist")
    for ordered in ("", "?o=2", "?o=-2"):
        html = html_of(admin_client.get(page + ordered))
        assert html.count("Order in a message that had ended") == 1
        assert "30" in html
        assert "order 2" in html
        assert "order 1" not in html
