"""The page of an account's sample order: one button to place it, one to close it."""

from decimal import Decimal as D
from typing import Any

import pytest
from django.test import Client

from connections.models import AccountSnapshot, ExecutionConnection, Instrument
from execution.models import Order
from prices.models import LatestQuote
from tests.html import html_of
from tests.portal.conftest import SignedIn
from tests.portal.factories import World

pytestmark = pytest.mark.django_db
BITCOIN = "BTC/USD"  # always traded


@pytest.fixture
def account(world: World) -> ExecutionConnection:
    """Alice's paper account without a twin's role, which may trade bitcoin."""
    found = world.twin
    ExecutionConnection.objects.filter(pk=found.pk).update(
        account="P-9", instrument_book="sample", is_paused=False
    )
    Instrument.objects.create(
        book="sample", symbol="BTCUSD", pair=BITCOIN, digits=0, pip=D(1), quantity_min=D("0.001"),
        quantity_step=D("0.001"), quantity_max=D(100), contract_size=D(1),
        read_at=world.prices.created_at,
    )  # fmt: skip
    LatestQuote.objects.create(
        data_connection=world.prices, symbol=BITCOIN, bid=D(10_000), ask=D(10_001),
        time=LatestQuote.objects.order_by("-time").values_list("time", flat=True)[0],
    )  # fmt: skip
    return found


@pytest.fixture
def alice(account: ExecutionConnection, world: World, signed_in: SignedIn, as_web: None) -> Client:
    return signed_in(world.alice)


def page_of(account: ExecutionConnection) -> str:
    return f"/accounts/{account.pk}/sample-order/"


def test_one_button_places_a_sample_order_and_one_closes_it(
    account: ExecutionConnection, alice: Client, enqueued: list[Any]
) -> None:
    assert "Place a sample order" in html_of(alice.get(f"/accounts/{account.pk}/"))
    assert "Try the whole way once" in html_of(alice.get(page_of(account)))
    sent = {"request_id": "a", "closes": "on"}
    shown = html_of(alice.post(page_of(account), sent, follow=True))
    assert f"The sample order is placed: buy {BITCOIN}." in shown
    assert "On its way" in shown
    assert "Place the sample order" not in shown
    assert "It is closed by itself 60 s after its fill." in shown
    again = html_of(alice.post(page_of(account), {"request_id": "b"}, follow=True))
    assert "A sample order is open already; no other one was placed." in again
    closed = html_of(alice.post(page_of(account) + "close/", follow=True))
    assert "The sample order is being closed" in closed
    assert "Cancelled" in closed
    assert Order.objects.filter(connection=account, signal__note="Sample order").count() == 1
    repeated = html_of(alice.post(page_of(account), sent, follow=True))
    assert "This sample order was placed before; no other one was placed." in repeated


def test_refused_sample_order_states_code_and_what_to_do(
    account: ExecutionConnection, alice: Client
) -> None:
    alice.post(f"/accounts/{account.pk}/pause/")
    refused = html_of(alice.post(page_of(account), {"request_id": "a"}, follow=True))
    assert "CONNECTION_PAUSED" in refused
    assert "Resume it to trade from the next signal on." in refused


def test_live_account_has_no_button_and_is_refused(
    world: World, account: ExecutionConnection, alice: Client
) -> None:
    live = world.mt5
    AccountSnapshot.objects.filter(connection=live).update(demo=False)
    assert "sample-order" not in html_of(alice.get(f"/accounts/{live.pk}/"))
    shown = html_of(alice.get(page_of(live)))
    assert "Sample orders are placed on paper and demo accounts only." in shown
    assert "Place the sample order" not in shown
    refused = html_of(alice.post(page_of(live), {"request_id": "a"}, follow=True))
    assert "SAMPLE_NEEDS_DEMO" in refused
    assert not Order.objects.filter(signal__note="Sample order").exists()


def test_sample_order_of_another_tenant_is_not_found(
    account: ExecutionConnection, alice: Client, world: World, signed_in: SignedIn
) -> None:
    alice.post(page_of(account), {"request_id": "a"})
    bob = signed_in(world.bob)
    for path in (page_of(account), page_of(account) + "close/"):
        assert bob.post(path).status_code == 404
    assert bob.get(page_of(account)).status_code == 404
    assert "On its way" in html_of(alice.get(page_of(account)))  # and rows are Alice's again
    assert Order.objects.filter(signal__note="Sample order").count() == 1


def test_sample_orders_do_not_count_as_first_subscription(
    account: ExecutionConnection, alice: Client
) -> None:
    before = html_of(alice.get("/first-steps/"))
    alice.post(page_of(account), {"request_id": "a"})
    assert html_of(alice.get("/first-steps/")).count("is-done") == before.count("is-done")
