"""Pages that stay up to date: htmx polls them and gets what has changed, until it is final."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from html import unescape
from typing import Any

import pytest
from django.test import Client

from events.models import EventKind, Notification
from execution.models import Order
from portal.views.inbox import REFRESH_SECONDS as INBOX_SECONDS
from portal.views.positions import REFRESH_SECONDS as POSITIONS_SECONDS
from portal.views.signals import FAST_SECONDS, SLOW_SECONDS
from positions.models import ExecutionPosition
from tests.html import html_of
from tests.portal.conftest import SignedIn
from tests.portal.factories import World, order, signal

pytestmark = pytest.mark.django_db
Follow = Callable[[str], "Live"]


@dataclass(frozen=True, slots=True)
class Live:
    """The `#live` element of a page. seconds: how often htmx polls it; 0: never."""

    html: str
    address: str
    seconds: int
    also: tuple[str, ...]


def live_of(page: str) -> Live:
    """Parse the element; the other parts that are replaced with it must be on the page."""
    assert page.count('id="live"') == 1
    element = re.search(r'<div [^>]*id="live"([^>]*)>(.*)</main>', page, re.DOTALL)
    assert element is not None
    attributes = {
        name: unescape(value) for name, value in re.findall(r'(hx-[\w-]+)="([^"]*)"', element[1])
    }
    if not attributes:
        return Live(element[2], "", 0, ())
    every = re.fullmatch(r"every (\d+)s", attributes["hx-trigger"])
    assert every is not None
    assert (attributes["hx-select"], attributes["hx-swap"]) == ("#live", "outerHTML")
    also = tuple(attributes.get("hx-select-oob", "").replace("#", "").split(","))
    for part in also:
        assert f'id="{part}"' in page
    return Live(element[2], attributes["hx-get"], int(every[1]), also)


@pytest.fixture
def alice(world: World, signed_in: SignedIn) -> Client:
    return signed_in(world.alice)


@pytest.fixture
def follow(alice: Client) -> Follow:
    """Return a function that polls an address as htmx does."""

    def poll(address: str) -> Live:
        response = alice.get(address, headers={"HX-Request": "true"})
        assert response.status_code == 200
        return live_of(html_of(response))

    return poll


def test_open_positions_update_quantity_and_close(world: World, follow: Follow) -> None:
    first = follow("/positions/?pair=XAU")
    assert first.seconds == POSITIONS_SECONDS["open"]
    assert first.address == "/positions/?pair=XAU"  # the filter is kept
    assert "15" in first.html
    ExecutionPosition.objects.filter(pk=world.gold_position.pk).update(quantity=7)
    second = follow(first.address)
    assert second.html != first.html
    assert "XAU/USD" in second.html
    now = datetime.now(UTC)
    ExecutionPosition.objects.filter(pk=world.gold_position.pk).update(
        quantity=0, closed_at=now, close_reason="sl"
    )
    assert "XAU/USD" not in follow(second.address).html
    closed = follow("/positions/?state=closed&pair=XAU")
    assert closed.seconds == POSITIONS_SECONDS["closed"]
    assert "IBKR" in closed.html


def test_positions_replace_their_counts_with_the_list(world: World, follow: Follow) -> None:
    assert follow("/positions/").also == ("pills", "unread")


def test_list_of_signals_polls_often_until_no_order_works(world: World, follow: Follow) -> None:
    first = follow("/signals/")
    assert (first.address, first.seconds) == ("/signals/", FAST_SECONDS)
    Order.objects.filter(pk=world.working.pk).update(
        status="CANCELLED", done_at=datetime.now(UTC), reason="CANCELLED_BY_USER"
    )
    second = follow(first.address)
    assert second.seconds == SLOW_SECONDS  # a new signal may come at any time
    assert second.html != first.html
    published = signal(world.breakout, datetime.now(UTC), currency_pair="GBP/USD", direction="BUY")
    order(world.mt5, published, "SUBMITTED", quantity=1000)
    third = follow(second.address)
    assert "GBP/USD" in third.html
    assert third.seconds == FAST_SECONDS


def test_page_of_a_signal_polls_until_it_is_final(world: World, follow: Follow) -> None:
    first = follow(f"/signals/{world.euro.pk}/")
    assert first.seconds == FAST_SECONDS
    Order.objects.filter(pk=world.working.pk).update(
        status="CANCELLED", done_at=datetime.now(UTC), reason="CANCELLED_BY_USER"
    )
    second = follow(first.address)
    assert second.seconds == SLOW_SECONDS  # it has open positions
    assert second.html != first.html
    ExecutionPosition.objects.filter(signal=world.euro).update(
        quantity=0, closed_at=datetime.now(UTC), close_reason="sl"
    )
    third = follow(second.address)
    assert (third.seconds, third.address) == (0, "")
    assert "Final as of" in third.html


def test_notifications_update_with_their_count(world: World, follow: Follow) -> None:
    first = follow("/inbox/?state=new")
    assert (first.address, first.seconds) == ("/inbox/?state=new", INBOX_SECONDS)
    assert first.also == ("unread",)
    assert "2 unread." in first.html
    values: dict[str, Any] = {"event_id": 77, "kind": EventKind.ORDER_FILLED, "body": ""}
    Notification.objects.create(user=world.alice, title="Bought 3 AUD/USD", **values)
    second = follow(first.address)
    assert "3 unread." in second.html
    assert "Bought 3 AUD/USD" in second.html
    Notification.objects.create(user=world.bob, title="Of another tenant", **values)
    assert "Of another tenant" not in follow(second.address).html
