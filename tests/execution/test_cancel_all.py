"""`manage.py cancel_all`: asks first, cancels what is not filled and keeps fills."""

import json

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from common.db.sql import rows
from execution import cancels
from execution.models import Order
from signals.models import Feed
from tests.execution import factories

pytestmark = pytest.mark.usefixtures("inline_commits")


@pytest.fixture
def two_entries(feed: Feed) -> list[Order]:
    factories.account(feed)
    factories.account(feed)
    factories.signal(feed)
    return list(Order.objects.order_by("pk"))


def states() -> set[str]:
    return set(Order.objects.values_list("status", flat=True))


@pytest.mark.django_db(transaction=True)
def test_cancel_all_requires_confirmation(two_entries: list[Order]) -> None:
    with pytest.raises(CommandError, match="2 entries would be") as refused:
        call_command("cancel_all")
    assert refused.value.returncode == 2
    assert states() == {"PENDING"}


@pytest.mark.django_db(transaction=True)
def test_cancel_all_cancels_unsent_orders(
    two_entries: list[Order], capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("cancel_all", yes=True)
    assert states() == {"CANCELLED"}
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"cancelled": 2}


@pytest.mark.django_db(transaction=True)
def test_cancel_all_of_one_connection_keeps_other_orders(two_entries: list[Order]) -> None:
    call_command("cancel_all", connection=two_entries[0].connection_id, yes=True)
    assert [o.status for o in Order.objects.order_by("pk")] == ["CANCELLED", "PENDING"]


@pytest.mark.django_db(transaction=True)
def test_cancel_all_keeps_filled_positions(two_entries: list[Order]) -> None:
    factories.fill_all()
    call_command("cancel_all", yes=True)
    assert states() == {"FILLED"}


def statements_to_cancel(order_ids: list[int]) -> int:
    with CaptureQueriesContext(connection) as sent:
        assert cancels.cancel_orders(order_ids) == order_ids
    return len(sent)


def test_many_orders_are_cancelled_by_as_many_statements_as_one(feed: Feed) -> None:
    for _ in range(12):
        factories.account(feed)
    factories.signal(feed)
    ids = list(Order.objects.order_by("pk").values_list("pk", flat=True))
    assert statements_to_cancel(ids[:1]) == statements_to_cancel(ids[1:])
    assert states() == {"CANCELLED"}
    logged = "SELECT order_id FROM execution_executionlog WHERE code = 'OWNER_CANCELLED'"
    assert sorted(row.order_id for row in rows(logged)) == ids


def test_many_orders_are_cancelled_in_batches(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancels, "BATCH", 2)
    for _ in range(5):
        factories.account(feed)
    factories.signal(feed)
    factories.fill_all()
    factories.signal(feed)
    ids = list(Order.objects.order_by("pk").values_list("pk", flat=True))
    assert cancels.cancel_orders(ids) == ids[5:]  # the others have filled
    assert Order.objects.filter(status="CANCELLED").count() == 5


@pytest.mark.django_db(transaction=True)
def test_all_faults_of_the_scope_are_named_at_once() -> None:
    faults = "--feed is empty.*\nGive only one of --user and --symbol.*\nThere is no user.*\nSYMBOL"
    with pytest.raises(CommandError, match=faults):
        call_command("cancel_all", feed="", user="unknown", symbol="?!", yes=True)
