"""What a decision provider answered: on the tenant's and the operators' page, and in the API."""

import pytest
from django.test import Client
from rest_framework.test import APIClient

from execution.models import Order
from tests.decisions import answered, provider_of
from tests.html import html_of
from tests.portal.conftest import SignedIn
from tests.portal.factories import World
from users.models import User
from users.services import create_api_key

pytestmark = pytest.mark.django_db
MARKET = {
    "spread": "0.0002", "spread_percentile": "62.5", "atr": "0.0011", "atr_percent": "0.1",
    "trend": "-1.2", "candle_minutes": 15,
}  # fmt: skip


@pytest.fixture
def order(world: World) -> Order:
    mine = Order.objects.filter(connection__user=world.alice, leg="entry").latest("id")
    answered(mine, provider_of(name="My model"), "0.5", reason="<thin> market", market=MARKET)
    return mine


def assert_shown(html: str) -> None:
    for text in ("My model", "size × 0.5", "&lt;thin&gt; market", "12 ms", "62.5 %", "-1.2"):
        assert text in html


def test_tenant_sees_what_their_provider_answered(
    world: World, signed_in: SignedIn, order: Order
) -> None:
    address = f"/signals/{order.signal_id}/?order={order.pk}"
    assert_shown(html_of(signed_in(world.alice).get(address)))


def test_operator_sees_it_on_the_orders_page(client: Client, order: Order) -> None:
    client.force_login(User.objects.create_superuser("op", password="op"))
    assert_shown(html_of(client.get(f"/admin/execution/order/{order.pk}/")))


@pytest.mark.parametrize("by", ["tenant", "operator"])
def test_entry_without_a_provider_states_why_its_market_is_not_known(
    world: World, signed_in: SignedIn, client: Client, by: str
) -> None:
    mine = Order.objects.filter(connection__user=world.alice, leg="entry").latest("id")
    if by == "tenant":
        page = signed_in(world.alice).get(f"/signals/{mine.signal_id}/?order={mine.pk}")
    else:
        client.force_login(User.objects.create_superuser("op", password="op"))
        page = client.get(f"/admin/execution/order/{mine.pk}/")
    html = html_of(page)
    assert "Market analysis" in html
    assert "The account has no price source." in html or "had no price of" in html


def test_api_has_it_in_the_order(world: World, order: Order) -> None:
    _, secret = create_api_key(world.alice, "test")
    client = APIClient(headers={"authorization": f"Bearer {secret}"})
    decision = client.get(f"/api/v1/orders/{order.pk}/").json()["decision"]
    assert (decision["factor"], decision["reason"]) == ("0.5", "<thin> market")
    assert (decision["latency_ms"], decision["market"]) == (12, MARKET)
    other = Order.objects.filter(connection__user=world.alice).exclude(pk=order.pk).first()
    assert other is not None
    assert client.get(f"/api/v1/orders/{other.pk}/").json()["decision"] is None
