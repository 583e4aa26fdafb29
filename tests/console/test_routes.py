"""Operators set the route of a subscription, and see where an entry would go."""

import pytest
from django.test import Client

from connections.models import ExecutionConnection, Subscription
from signals.models import Feed
from tests.connections import make
from tests.console import seed
from tests.execution import factories
from tests.html import html_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def accounts() -> tuple[Subscription, ExecutionConnection]:
    """Return a subscription, and another account of its owner."""
    factories.instrument()
    feed: Feed = make.feed()
    first = factories.account(feed, type="paper")
    other = factories.account(owner=first.user, type="paper")
    factories.quote(other, "1.0999", "1.1000")
    factories.quote(first, "1.0998", "1.1001")
    return first.subscriptions.get(), other


def test_operator_sets_a_route_and_sees_who_would_get_an_entry(
    client: Client, accounts: tuple[Subscription, ExecutionConnection]
) -> None:
    subscription, other = accounts
    client.force_login(seed.operator())
    address = f"/admin/connections/subscription/{subscription.pk}/route/"
    listed = html_of(client.get("/admin/connections/subscription/"))
    assert address in listed
    account = subscription.connection
    assert f"{account.name} · {account.account}" in listed
    html = html_of(client.get(address))
    assert other.name in html
    assert "Where an entry would go now" not in html
    refused = html_of(client.post(address, {"policy": "PRICE"}))
    assert "Name 2 to 10 accounts." in refused
    typed = {"policy": "PRICE", "accounts": [str(other.pk)]}
    html = html_of(client.post(address, typed, follow=True))
    assert "Saved. It applies from the next signal on." in html
    assert list(subscription.routes.values_list("connection", flat=True)) == [
        subscription.connection_id, other.pk,
    ]  # fmt: skip
    shown = html_of(client.get(f"{address}?symbol=EURUSD&side=BUY"))
    for text in ("Where an entry would go now", "Gets the entry", "Follows", "1.1001"):
        assert text in shown, text
    assert shown.index(subscription.connection.name) < shown.index("Gets the entry")
    client.post(address, {"policy": "", "accounts": []})
    assert not subscription.routes.exists()


def test_account_of_an_operator_has_no_others(client: Client) -> None:
    operator = seed.operator()
    client.force_login(operator)
    own = make.connection(user=None, admin=operator, type="paper")
    subscription = make.subscription(own, make.feed())
    address = f"/admin/connections/subscription/{subscription.pk}/route/"
    html = html_of(client.post(address, {"policy": "HEALTH"}))
    assert "take feeds without a subscription: no route" in html
