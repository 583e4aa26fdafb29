"""A tenant changes the price or quantity of an entry that has not filled."""

from datetime import UTC, datetime
from decimal import Decimal as D
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from common.clocks import market_now
from connections.models import Instrument
from execution.models import EntryChange, Order
from tests.execution import factories
from tests.html import html_of
from tests.portal.conftest import SignedIn
from tests.portal.factories import World

pytestmark = pytest.mark.django_db


@pytest.fixture
def waiting(world: World) -> Order:
    """A sell stop of 84,000 that waits to be sent."""
    factories.force(
        "UPDATE execution_order SET status = 'PENDING', order_type = 'STOP', quantity = NULL,"
        " stop_price = 1.38564, limit_price = NULL WHERE id = %s",
        (world.working.pk,),
    )
    Instrument.objects.create(
        book=world.ibkr.instrument_book, pair="EUR/USD", symbol="EURUSD", digits=5,
        pip=D("0.0001"), quantity_min=1000, quantity_step=1000, quantity_max=1_000_000,
        contract_size=100_000, read_at=market_now(),
    )  # fmt: skip
    return world.working


@pytest.fixture
def alice(world: World, waiting: Order, signed_in: SignedIn, as_web: None) -> Client:
    return signed_in(world.alice)


def stored(order: Order) -> Order:
    with connection.cursor() as cursor:
        cursor.execute("RESET ROLE")
    return Order.objects.get(pk=order.pk)


def test_form_has_the_present_values_and_changes_what_was_typed(
    alice: Client, waiting: Order, enqueued: list[Any]
) -> None:
    page = alice.get(f"/orders/{waiting.pk}/change/")
    assert page.status_code == 200
    html = html_of(page)
    assert 'value="1.38564"' in html
    assert "Limit price" not in html  # a stop order has none
    body = {
        "stop_price": "1.3851", "initial-stop_price": "1.38564", "quantity": "",
        "initial-quantity": "",
    }  # fmt: skip
    after = html_of(alice.post(f"/orders/{waiting.pk}/change/", body, follow=True))
    assert f"O-{waiting.pk} was changed: stop price 1.38564 to 1.3851." in after
    assert "Last changed: stop price 1.38564 to 1.3851." in after
    assert (stored(waiting).stop_price, stored(waiting).requested_quantity) == (D("1.3851"), None)
    assert EntryChange.objects.get().requested_by is not None


def test_levels_of_the_coming_position_are_changed(
    alice: Client, waiting: Order, enqueued: list[Any]
) -> None:
    path = f"/orders/{waiting.pk}/change/"
    shown = html_of(alice.get(path))
    assert "Stop loss" in shown
    assert "Take profit" in shown
    usual = {
        "stop_price": "1.38564", "initial-stop_price": "1.38564", "quantity": "",
        "initial-quantity": "", "initial-stop_loss": "1.39", "initial-take_profit": "",
    }  # fmt: skip
    removed = alice.post(path, usual | {"stop_loss": "", "take_profit": ""})
    assert removed.status_code == 422
    assert "It can be removed when the position is open." in html_of(removed)
    wrong = alice.post(path, usual | {"stop_loss": "1.38", "take_profit": ""})
    assert "The stop loss is on the wrong side of the entry." in html_of(wrong)
    after = alice.post(path, usual | {"stop_loss": "1.395", "take_profit": "1.375"}, follow=True)
    assert "take profit" in html_of(after)
    end = {"valid_until": "2099-01-01T12:00:00", "initial-valid_until": ""}
    kept = {"stop_loss": "1.39", "take_profit": ""}
    page = html_of(alice.post(path, usual | kept | end, follow=True))
    assert " UTC to 2099-01-01 12:00:00 UTC." in page
    order = stored(waiting)
    assert order.own_valid_until == datetime(2099, 1, 1, 12, tzinfo=UTC)
    assert (order.own_stop_loss, order.own_take_profit) == (D("1.395"), D("1.375"))


def test_wrong_values_are_shown_beside_their_field(alice: Client, waiting: Order) -> None:
    body = {
        "stop_price": "1.38564", "initial-stop_price": "1.38564", "quantity": "1500",
        "initial-quantity": "",
    }  # fmt: skip
    page = alice.post(f"/orders/{waiting.pk}/change/", body)
    assert page.status_code == 422
    assert "not a multiple of 1000" in html_of(page)
    page = alice.post(f"/orders/{waiting.pk}/change/", body | {"stop_price": "abc"})
    assert page.status_code == 422
    assert "is not a plain decimal" in html_of(page)
    assert "not a multiple of 1000" in html_of(page)  # beside the one that cannot be read
    assert not EntryChange.objects.exists()
    assert stored(waiting).stop_price == D("1.38564")


def test_unchanged_form_changes_nothing(alice: Client, waiting: Order) -> None:
    body = {
        "stop_price": "1.38564", "initial-stop_price": "1.38564", "quantity": "",
        "initial-quantity": "",
    }  # fmt: skip
    page = alice.post(f"/orders/{waiting.pk}/change/", body)
    assert "already has these values" in html_of(page)


def test_page_of_the_signal_offers_the_change(alice: Client, waiting: Order, world: World) -> None:
    html = html_of(alice.get(f"/signals/{world.euro.pk}/"))
    assert f"/orders/{waiting.pk}/change/" in html
    assert f"/orders/{world.euro_order.pk}/change/" not in html
