"""What an account's owner sees and decides where their broker and we differ."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from common.clocks import market_now
from connections.models import ExecutionConnection, Instrument
from execution.models import AccountSyncState, DriftItem, Fill, Order
from positions.models import ExecutionPosition
from tests.html import html_of
from tests.portal.conftest import SignedIn
from tests.portal.factories import D, World

pytestmark = pytest.mark.django_db
Committed = Callable[..., Any]


@pytest.fixture
def listed(world: World) -> None:
    """Alice's broker lists EURUSD."""
    ExecutionConnection.objects.filter(pk=world.mt5.pk).update(instrument_book="book")
    Instrument.objects.create(
        book="book", symbol="EURUSD", pair="EUR/USD", digits=5, pip=D("0.0001"),
        read_at=market_now(), quantity_min=D(10), quantity_step=D(10),
        quantity_max=D(1_000_000), contract_size=D(1000),
    )  # fmt: skip


@pytest.fixture
def alice(world: World, listed: None, signed_in: SignedIn, as_web: None) -> Client:
    return signed_in(world.alice)


def as_owner_of_tables() -> None:
    with connection.cursor() as cursor:
        cursor.execute("RESET ROLE")


def test_an_account_shows_what_differs_and_leads_to_it(world: World, alice: Client) -> None:
    html = html_of(alice.get(f"/accounts/{world.mt5.pk}/"))
    assert "Differences with your broker" in html
    assert "Buy EURUSD, 770 at the broker: quantity none ≠ 5,000" in html
    page = html_of(alice.get(f"/differences/{world.difference.pk}/"))
    assert "<strong>5,000</strong>" in page
    assert "Close it at the broker…" in page
    assert "<strong>Buy EURUSD, 770 at the broker</strong>, Main MT5 · 7714" in page
    assert "It was opened at the broker." in page, "what it means"
    assert "Adopt it, link it to one of ours, or have it closed" in page, "and what to do"
    other = html_of(alice.get(f"/accounts/{world.ibkr.pk}/"))
    assert "we differ" not in other


def test_a_trade_opened_at_the_broker_is_adopted_with_a_stop(world: World, alice: Client) -> None:
    path = f"/differences/{world.difference.pk}/adopt/"
    assert "the broker’s stop and target" in html_of(alice.get(path))
    wrong = alice.post(path, {"stop_loss": "1.5"})
    assert (wrong.status_code, "has passed the level" in html_of(wrong)) == (422, True)
    told = html_of(alice.post(path, {"stop_loss": "1.381"}, follow=True))
    assert "Decided and resolved." in told
    as_owner_of_tables()
    position = ExecutionPosition.objects.get(broker_position_id="770")
    assert (position.quantity, position.sl, position.broker_sl) == (5000, D("1.381"), D("1.3805"))
    assert Fill.objects.get(order__signal=position.signal).inferred
    assert position.signal.feed.owner == world.alice
    item = DriftItem.objects.get(pk=world.difference.pk)
    assert (item.state, item.decided_by) == ("RESOLVED", world.alice)


def test_an_unwanted_one_is_closed_and_its_exit_is_rung(
    world: World, alice: Client, rung: list[Any], django_capture_on_commit_callbacks: Committed
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        alice.post(f"/differences/{world.difference.pk}/close/")
    as_owner_of_tables()
    exit_ = Order.objects.get(leg="close-1")
    assert (exit_.quantity, exit_.status, rung) == (5000, "PENDING", [([exit_.pk], "exits")])


def test_it_can_be_left_with_a_reason_only(world: World, alice: Client) -> None:
    path = f"/differences/{world.difference.pk}/ignore/"
    assert alice.post(path).status_code == 422
    told = html_of(alice.post(path, {"reason": "My hedge."}, follow=True))
    assert "Ignored" in told
    assert "My hedge." in told


def test_an_account_is_compared_by_hand(
    world: World, alice: Client, rung: list[Any], django_capture_on_commit_callbacks: Committed
) -> None:
    path = f"/accounts/{world.mt5.pk}/compare/"
    alice.get(path)
    assert not AccountSyncState.objects.exclude(reconcile_requested_at=None).exists()
    with django_capture_on_commit_callbacks(execute=True):
        alice.post(path)
    assert (AccountSyncState.objects.get(pk=world.mt5.pk).reconcile_requested_at is not None,
    rung) == (
        True, ["comparison"],
    )  # fmt: skip


def test_what_may_be_corrected_by_itself_is_a_setting_of_the_account(
    world: World, alice: Client
) -> None:
    page = f"/accounts/{world.twin.pk}/"
    assert "wait for you" in html_of(alice.get(page))
    said = {  # with all that a browser sends: no setting changes, for something is open
        "name": "Twin", "preset": world.preset.pk, "data_connection": world.prices.pk,
        "settings.native_stops": "on",
    }  # fmt: skip
    alice.post(f"{page}edit/", {**said, "auto_correct": "on"})
    assert "accepted automatically" in html_of(alice.get(page))
