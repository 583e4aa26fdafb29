"""The page of the history: its numbers lead on, its codes have words, its times are the user's."""

import re
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.test import Client
from django.urls import reverse

from execution.models import Order
from portal.history_cells import cell
from positions.models import ExecutionPosition
from signals.models import Signal
from tests.html import html_of
from tests.portal.conftest import SignedIn
from tests.portal.factories import World
from users.models import User

pytestmark = pytest.mark.django_db
AT = datetime(2026, 7, 1, 12, 30, 1, tzinfo=UTC)


@pytest.fixture
def client(world: World, signed_in: SignedIn) -> Client:
    User.objects.filter(pk=world.alice.pk).update(time_zone="Europe/Berlin")
    return signed_in(User.objects.get(pk=world.alice.pk))


def read(client: Client, table: str) -> str:
    return " ".join(html_of(client.get(f"/history/{table}/")).split())


@pytest.fixture
def closed(world: World) -> ExecutionPosition:
    position = ExecutionPosition.objects.filter(connection=world.mt5).latest("pk")
    ExecutionPosition.objects.filter(pk=position.pk).update(
        quantity=0, reserved=0, closed_at=AT, close_reason="external_close"
    )
    return position


def test_each_number_leads_to_its_page(
    world: World, client: Client, closed: ExecutionPosition
) -> None:
    order = world.euro_order
    signal = reverse("portal:signal", args=[order.signal_id])
    assert f'<a href="{signal}">S-{order.signal_id}</a>' in read(client, "signals")
    orders = read(client, "orders")
    assert f'<a href="{signal}?order={order.pk}#timeline">O-{order.pk}</a>' in orders
    assert f'<a href="{signal}">S-{order.signal_id}</a>' in orders
    page = reverse("portal:position", args=[closed.pk])
    trades = read(client, "trades")
    assert f'<a href="{page}">P-{closed.pk}</a>' in trades
    for table in ("signals", "orders", "trades"):
        links = re.findall(r'<t[hd][^>]*><a href="([^"]+)"', read(client, table))
        assert links
        for link in set(links):
            assert client.get(link).status_code == 200, link


def test_codes_have_words_and_reasons_have_their_page(
    world: World, client: Client, closed: ExecutionPosition
) -> None:
    Order.objects.filter(connection__user=world.alice, status="DENIED").update(reason="MARGIN")
    orders = read(client, "orders")
    assert '<a href="/reasons/MARGIN/"><code>MARGIN</code></a>' in orders
    assert '<span class="fc-st is-denied">Denied</span>' in orders
    assert '<option value="PARTIALLY_FILLED">Partly filled</option>' in orders
    trades = read(client, "trades")
    assert ">Closed by its owner at the broker</td>" in trades
    assert ">external_close<" not in trades


@pytest.mark.parametrize(
    ("currency", "shown"), [("JPY", "−1,212"), ("BTC", "−1,211.50000000"), ("", "−1,211.5")]
)
def test_money_has_the_decimals_of_the_rows_currency(currency: str, shown: str) -> None:
    row = {"net": Decimal("-1211.5"), "quantity": Decimal("0.001"), "currency": currency}
    assert cell(row, "net") == shown
    assert cell(row, "quantity") == "0.001"


def test_times_are_in_the_users_zone_with_the_months_name(
    world: World, client: Client, closed: ExecutionPosition
) -> None:
    Signal.objects.filter(pk=world.euro.pk).update(published_at=AT)
    for table in ("signals", "trades"):
        page = read(client, table)
        assert ">1 Jul 2026 14:30:01</td>" in page
        assert "Times are Berlin time." in page
    found = client.get("/history/trades.csv")
    text = b"".join(found.streaming_content).decode("utf-8-sig")  # type: ignore[attr-defined]
    assert "2026-07-01T12:30:01" in text, "files stay in UTC"


@pytest.mark.parametrize("page", ["/inbox/", "/sessions/"])
def test_other_pages_name_the_zone_of_their_times(client: Client, page: str) -> None:
    address = reverse("security:sessions") if page == "/sessions/" else page
    assert "Berlin time" in re.sub(
        r'<p class="fc-clock">.*?</p>', "", html_of(client.get(address)), flags=re.DOTALL
    )
