"""An entry in slices in the portal, under the web process's role."""

from datetime import timedelta
from decimal import Decimal as D

import pytest

from common.clocks import market_now
from execution.models import Order, SlicePlan
from portal.selectors.position import position_of, position_page
from tests.html import html_of
from tests.portal.conftest import SignedIn
from tests.portal.factories import World, order, position, signal

pytestmark = pytest.mark.django_db


@pytest.fixture
def first(world: World) -> Order:
    """Bob's first slice of 1,000 of 3,000, filled; two wait."""
    now = market_now()
    published = signal(
        world.carry, now, currency_pair="NZD/USD", direction="BUY", execution_style="TWAP",
        duration_seconds=600, slice_count=3,
    )  # fmt: skip
    sent = order(world.bobs, published, "FILLED", D(1000), D("0.86"))
    position(sent, world.prices)
    for number in (2, 3):
        Order.objects.create(
            signal=published, connection=world.bobs, leg=f"entry-{number}", pair="NZD/USD",
            side="BUY", order_type="MARKET", time_in_force="GTC", quantity=D(1000),
            status="PENDING", reason="SLICE_SCHEDULED",
        )  # fmt: skip
    SlicePlan.objects.create(
        order=sent, connection=world.bobs, style="TWAP", seed=sent.pk, quantity=D(3000),
        quantity_step=D(1000), quantity_min=D(1000), offsets=[0, 200, 400],
        quantities=[D(1000)] * 3, catch_up="CATCH_UP", at_end="LEAVE", arrival_price=D("0.86"),
        starts_at=now, ends_at=now + timedelta(minutes=10),
    )  # fmt: skip
    return sent


def test_page_of_a_ticket_has_the_slice_that_opened_it_and_no_other(
    world: World, first: Order
) -> None:
    """On a hedging account each slice has a position of its own."""
    Order.objects.filter(leg="entry-2").update(position_leg="entry-2")
    held = first.opened_position
    assert held is not None
    view = position_of(world.bob, held.pk)
    assert view is not None
    shown = [one.order.leg for one in position_page(view).history.orders]
    assert shown == ["entry", "entry-3"]  # the third adds to the same position


def test_owner_sees_and_ends_the_entry(
    world: World, first: Order, as_web: None, signed_in: SignedIn
) -> None:
    client = signed_in(world.bob)
    address = f"/signals/{first.signal_id}/"
    shown = html_of(client.get(address))
    for text in ("Entry in slices at", "1 of 3 slices sent", "Arrival price", "0.86",
                 "Market average, by time", "Market average, by volume"):  # fmt: skip
        assert text in shown, text
    waiting = Order.objects.get(leg="entry-2", signal=first.signal_id)
    assert client.get(f"{address}?order={waiting.pk}").status_code == 200
    asked = html_of(client.get(f"/orders/{waiting.pk}/cancel/"))
    assert "Ends the entry: no more of its slices are sent." in asked
    answer = client.post(f"/orders/{waiting.pk}/cancel/", {"confirmed": "1"}, follow=True)
    assert "The entry has ended; no more of its slices are sent." in html_of(answer)
    left = Order.objects.filter(signal=first.signal_id).order_by("pk")
    assert [one.status for one in left] == ["FILLED", "CANCELLED", "CANCELLED"]


def test_other_tenant_finds_nothing(
    world: World, first: Order, as_web: None, signed_in: SignedIn
) -> None:
    client = signed_in(world.alice)
    assert client.post(f"/orders/{first.pk}/cancel/", {"confirmed": "1"}).status_code == 404
    assert not Order.objects.filter(status="CANCELLED", signal=first.signal_id).exists()
