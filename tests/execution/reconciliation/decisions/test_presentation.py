"""A difference names its position, account and remedy on each page and in each message."""

from collections.abc import Callable
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
from django.test import Client

from brokers.types import CloseCause
from common.permissions import Role
from common.reason_codes import Code
from events.models import Event, Notification
from events.services import deliver
from execution.models import DriftItem
from positions.models import ExecutionPosition
from tests.execution.fake_broker import FakeBroker
from tests.execution.reconciliation.decisions.actions import drift_item
from tests.html import html_of
from tests.roles import staff
from users.models import User

pytestmark = pytest.mark.django_db(transaction=True)
DIFFER = {"QUANTITY_DIFFERS": "quantity 100 ≠ 70", "LEVELS_DIFFER": "stop loss 1.09 ≠ 1.085"}


@pytest.fixture(params=sorted(DIFFER))
def item(request: pytest.FixtureRequest, broker: FakeBroker) -> DriftItem:
    """Part of a position was closed at the broker, or its stop moved there."""
    Event.objects.all().delete()
    if request.param == "LEVELS_DIFFER":
        request.getfixturevalue("moved")
    else:
        request.getfixturevalue("position")
        broker.fills_horizon = None
        broker.close_at_broker(broker.tickets[0], CloseCause.EXTERNAL, Decimal(30))
    Event.objects.all().delete()
    return drift_item(request.param)


def browser(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def read_portal(item: DriftItem, owner: User) -> list[str]:
    """The account's list links to the page, which states what to do."""
    client = browser(owner)
    listed = html_of(client.get(f"/accounts/{item.connection_id}/"))
    assert f"/differences/{item.pk}/" in listed
    assert summary_of(item) in unescape(listed)
    return [html_of(client.get(f"/differences/{item.pk}/"))]


def read_console(item: DriftItem, owner: User) -> list[str]:
    client = browser(staff(Role.OPERATOR))
    listed = html_of(client.get("/admin/execution/driftitem/"))
    assert summary_of(item) in unescape(listed)
    return [html_of(client.get(f"/admin/execution/driftitem/{item.pk}/"))]


def read_api(item: DriftItem, owner: User) -> list[str]:
    client = browser(owner)
    one: dict[str, Any] = client.get(f"/api/v1/drift/{item.pk}/").json()
    assert one["summary"] == summary_of(item)
    return [f"{one['summary']} {one['reason']['hint']} {one['connection_name']}"]


def read_messages(item: DriftItem, owner: User) -> list[str]:
    """The owner and the operators are notified."""
    operator = staff(Role.OPERATOR)
    deliver()
    sent = Notification.objects.filter(kind="drift.found")
    assert {one.user for one in sent} == {owner, operator}
    for one in sent:
        assert DIFFER[item.kind] in one.body.lower()
    return [f"{one.title}\n{one.body}" for one in sent]


def summary_of(item: DriftItem) -> str:
    return f"{subject_of(item)}: {DIFFER[item.kind]}"


def subject_of(item: DriftItem) -> str:
    position = ExecutionPosition.objects.get()
    return f"Buy EURUSD, P-{position.pk}, {position.broker_position_id} at the broker"


READERS = [read_portal, read_console, read_api, read_messages]


@pytest.mark.parametrize("read", READERS, ids=[one.__name__ for one in READERS])
def test_difference_names_position_account_and_remedy(
    item: DriftItem, read: Callable[[DriftItem, User], list[str]]
) -> None:
    owner = item.connection.user
    assert owner is not None
    for text in (unescape(one).replace("\u00a0", " ") for one in read(item, owner)):
        assert subject_of(item) in text
        name, number = item.connection.name, item.connection.account
        assert name in text or f"Double · {number}</a>" in text
        assert Code(item.kind).hint in text
