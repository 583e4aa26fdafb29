"""Where the window is set, and where orders that were sent as one say so."""

from decimal import Decimal as D
from typing import Any

import pytest
from django.test import Client

from analytics.orders.aggregates import cancelled_with_text, sent_with_text
from analytics.orders.timeline import timeline
from common.errors import InvalidInputError
from connections.models import MAX_AGGREGATION_MS, AccountSnapshot, ExecutionConnection
from connections.services import create_connection, update_connection
from execution.models import Order
from signals.models import Feed
from tests.connections import make
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker

pytestmark = pytest.mark.django_db


@pytest.fixture
def sent(feed: Feed, broker: FakeBroker) -> list[Order]:
    """Two orders of 100, sent as one, of which 30 have filled."""
    factories.account(feed, snapshot_position_mode="NETTING", aggregation_ms=MAX_AGGREGATION_MS)
    factories.feed_signal(feed)
    factories.feed_signal(feed)
    factories.claim_all()
    factories.pass_time(MAX_AGGREGATION_MS / 1000)
    (outgoing,) = factories.claim_all()
    factories.apply(broker.execute(broker.receive(outgoing.request), D(30)))
    return list(Order.objects.order_by("id"))


@pytest.mark.parametrize(
    ("value", "is_valid"), [(0, True), (5000, True), (5001, False), (-1, False), (True, False)]
)
def test_window_is_at_most_five_seconds(
    feed: Feed, broker: FakeBroker, value: int, is_valid: bool
) -> None:
    account = factories.account(feed, snapshot_position_mode="NETTING")
    if is_valid:
        update_connection(account.pk, by=None, aggregation_ms=value)
        account.refresh_from_db()
        assert account.aggregation_ms == value
        return
    with pytest.raises(InvalidInputError) as refused:
        update_connection(account.pk, by=None, aggregation_ms=value)
    assert refused.value.field == "aggregation_ms"
    assert "from 0 to 5000" in refused.value.detail


def test_window_is_refused_on_a_hedging_account(feed: Feed, broker: FakeBroker) -> None:
    account = factories.account(feed)
    with pytest.raises(InvalidInputError) as refused:
        update_connection(account.pk, by=None, aggregation_ms=500)
    assert "each order is a position of its own" in refused.value.detail
    AccountSnapshot.objects.all().delete()  # not read yet: unknown
    update_connection(account.pk, by=None, aggregation_ms=500)
    account.refresh_from_db()
    assert account.aggregation_ms == 500
    update_connection(account.pk, by=None, aggregation_ms=0)


def test_new_connection_has_no_window_unless_one_is_given(feed: Feed, broker: FakeBroker) -> None:
    fields: dict[str, Any] = {"by": None, "type": "paper", "user": make.user(), "settings": {}}
    first = create_connection(name="A", account="0000001", **fields)
    second = create_connection(name="B", account="0000002", aggregation_ms=250, **fields)
    assert (first.aggregation_ms, second.aggregation_ms) == (0, 250)


def test_order_names_those_that_it_was_sent_with(sent: list[Order]) -> None:
    first, second = sent
    assert sent_with_text(first) == (
        f"Sent as one order of 200 EUR with O-{second.pk}; what the broker executed is allotted by"
        " size."
    )
    steps = {step.title: step.text for step in timeline(second, [])}
    assert f"with O-{first.pk}" in steps["Intent saved, then sent"]
    assert cancelled_with_text(first) == (
        f"It is one order at the broker, so this also cancels what is not filled of O-{second.pk}."
    )


def test_order_that_was_sent_alone_says_nothing(alice: ExecutionConnection, feed: Feed) -> None:
    factories.filled(factories.feed_signal(feed))
    order = Order.objects.get()
    assert (sent_with_text(order), cancelled_with_text(order)) == ("", "")
    assert order.sent_as == order.client_order_id


def test_console_page_links_the_others(sent: list[Order]) -> None:
    first, second = sent
    client = Client()
    client.force_login(make.user("root", is_superuser=True, is_staff=True))
    page = client.get(f"/admin/execution/order/{first.pk}/").content.decode()
    assert "Sent as one order with" in page
    assert f"/admin/execution/order/{second.pk}/" in page
