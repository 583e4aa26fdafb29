"""Drift items in the portal: what an account's owner sees and decides."""

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
    """Let Alice's broker list EURUSD."""
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


def test_account_lists_its_differences_and_links_to_them(world: World, alice: Client) -> None:
    html = html_of(alice.get(f"/accounts/{world.mt5.pk}/"))
    assert "Differences with your broker" in html
    assert "Buy EURUSD, 770 at the broker: quantity none ≠ 5,000" in html
    page = html_of(alice.get(f"/differences/{world.difference.pk}/"))
    assert "<strong>5,000</strong>" in page
    assert "Close it at the broker…" in page
    assert "<strong>Buy EURUSD, 770 at the broker</strong>, Main MT5 · 7714" in page
    assert "It was opened at the broker." in page, "its meaning"
    assert "Adopt it, link it to one of ours, or have it closed" in page, "and the remedy"
    other = html_of(alice.get(f"/accounts/{world.ibkr.pk}/"))
    assert "we differ" not in other


def test_position_opened_at_the_broker_is_adopted_with_a_stop(world: World, alice: Client) -> None:
    path = f"/differences/{world.difference.pk}/adopt/"
    assert "the broker’s stop and target" in html_of(alice.get(path))
    wrong = alice.post(path, {"stop_loss": "1.5"})
    assert (wrong.status_code, "has passed the level" in html_of(wrong)) == (422, True)
    content = html_of(alice.post(path, {"stop_loss": "1.381"}, follow=True))
    assert "Decided and resolved." in content
    as_owner_of_tables()
    position = ExecutionPosition.objects.get(broker_position_id="770")
    assert (position.quantity, position.sl, position.broker_sl) == (5000, D("1.381"), D("1.3805"))
    assert Fill.objects.get(order__signal=position.signal).inferred
    assert position.signal.feed.owner == world.alice
    item = DriftItem.objects.get(pk=world.difference.pk)
    assert (item.state, item.decided_by) == ("RESOLVED", world.alice)


def test_unwanted_position_is_closed_and_its_exit_enqueued(
    world: World, alice: Client, enqueued: list[Any], django_capture_on_commit_callbacks: Committed
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        alice.post(f"/differences/{world.difference.pk}/close/")
    as_owner_of_tables()
    exit_ = Order.objects.get(leg="owner-1")
    assert (exit_.quantity, exit_.status, enqueued) == (5000, "PENDING", [([exit_.pk], "exits")])


def test_difference_is_ignored_only_with_a_reason(world: World, alice: Client) -> None:
    path = f"/differences/{world.difference.pk}/ignore/"
    assert alice.post(path).status_code == 422
    content = html_of(alice.post(path, {"reason": "My hedge."}, follow=True))
    assert "Ignored" in content
    assert "My hedge." in content


def test_reconciliation_of_an_account_is_requested_by_hand(
    world: World, alice: Client, enqueued: list[Any], django_capture_on_commit_callbacks: Committed
) -> None:
    path = f"/accounts/{world.mt5.pk}/compare/"
    alice.get(path)
    assert not AccountSyncState.objects.exclude(reconcile_requested_at=None).exists()
    with django_capture_on_commit_callbacks(execute=True):
        alice.post(path)
    assert (AccountSyncState.objects.get(pk=world.mt5.pk).reconcile_requested_at is not None,
    enqueued) == (
        True, ["reconciliation"],
    )  # fmt: skip


def test_automatic_correction_is_a_setting_of_the_account(world: World, alice: Client) -> None:
    page = f"/accounts/{world.twin.pk}/"
    assert "wait for you" in html_of(alice.get(page))
    typed = {  # all fields as a browser sends them: while something is open, settings stay equal
        "name": "Twin", "preset": world.preset.pk, "data_connection": world.prices.pk,
        "settings.native_stops": "on",
    }  # fmt: skip
    alice.post(f"{page}edit/", {**typed, "auto_correct": "on"})
    assert "accepted automatically" in html_of(alice.get(page))
