"""What a change of sizing or limits means for what is open is stated before it is saved."""

import html
import re
from decimal import Decimal as D

import pytest
from django.test import Client

from common.clocks import market_now
from connections.models import ExecutionConnection, LossLimit, Subscription
from execution.models import Order
from signals.models import Signal
from tests.html import html_of
from tests.portal.conftest import SignedIn, as_web_process
from tests.portal.factories import World, order, position

pytestmark = pytest.mark.django_db
NOTHING = "Nothing is open or waits there now."


@pytest.fixture
def alice(world: World, signed_in: SignedIn) -> Client:
    return as_web_process(signed_in(world.alice))


@pytest.fixture
def taken(world: World) -> Subscription:
    """A subscription of the account Main MT5 with one of each: open, working, waiting, held."""
    found = Subscription.objects.filter(connection=world.mt5, archived_at=None).first()
    assert found is not None
    end_all(world)
    signals = [
        Signal.objects.create(
            feed=found.feed, currency_pair="EUR/USD", direction="BUY", order_type="STOP",
            stop_price="1.4", sl="1.3", approval="APPROVED", published_at=market_now(),
        )
        for _ in range(4)
    ]  # fmt: skip
    filled = order(world.mt5, signals[0], "FILLED", filled=D(1000), price=D("1.39"))
    position(filled, world.prices)
    order(world.mt5, signals[1], "SUBMITTED", quantity=D(1000))
    order(world.mt5, signals[2], "PENDING", submitted_at=None)
    held = order(world.mt5, signals[3], "PENDING", submitted_at=None)
    Order.objects.filter(pk=held.pk).update(reason="AWAITING_TRIGGER")
    return found


def end_all(world: World) -> None:
    """Leave nothing open on Main MT5."""
    live = Order.objects.filter(
        connection=world.mt5, status__in=("PENDING", "SUBMITTED", "UNKNOWN")
    )
    live.update(status="CANCELLED", reason="")
    world.mt5.positions.update(quantity=0)


def text_of(client: Client, address: str) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", html_of(client.get(address)))))


def test_terms_of_a_subscription(world: World, alice: Client, taken: Subscription) -> None:
    shown = text_of(alice, f"/subscriptions/{taken.pk}/edit/")
    assert "each entry that is decided uses the new values" in shown
    assert "1 open position (Main MT5): size, stop and targets stay." in shown
    assert "1 working order at the broker (Main MT5): not changed and not cancelled." in shown
    assert "1 entry that waits to be sent (Main MT5): sized and checked by the new values" in shown
    assert "1 order that Fillcast holds (Main MT5): sized and checked again" in shown
    assert "A stop rule that is changed here reaches positions that open from now on" in shown


def test_limits_of_a_subscription(world: World, alice: Client, taken: Subscription) -> None:
    shown = text_of(alice, f"/subscriptions/{taken.pk}/limits/")
    assert "1 open position (Main MT5): size, stop and targets stay." in shown
    assert "1 entry that waits to be sent (Main MT5)" in shown
    assert "Exits are never limited." in shown
    end_all(world)
    assert NOTHING in text_of(alice, f"/subscriptions/{taken.pk}/limits/")


def test_other_feeds_of_the_account_are_not_counted(
    world: World, alice: Client, taken: Subscription
) -> None:
    end_all(world)
    other = Signal.objects.create(
        feed=world.carry if taken.feed_id != world.carry.pk else world.breakout,
        currency_pair="EUR/USD", direction="BUY", order_type="STOP", stop_price="1.4", sl="1.3",
        approval="APPROVED", published_at=market_now(),
    )  # fmt: skip
    order(world.mt5, other, "SUBMITTED", quantity=D(1000))
    assert NOTHING in text_of(alice, f"/subscriptions/{taken.pk}/edit/")
    assert "1 working order at the broker" in text_of(alice, f"/accounts/{world.mt5.pk}/edit/")


def test_another_preset_of_an_account(world: World, alice: Client, taken: Subscription) -> None:
    shown = text_of(alice, f"/accounts/{world.mt5.pk}/edit/")
    assert "1 open position (Main MT5): size, stop and targets stay." in shown
    assert "1 entry that waits to be sent (Main MT5): sized and checked by the new values" in shown


def test_loss_limit_of_an_account(world: World, alice: Client, taken: Subscription) -> None:
    limit = LossLimit.objects.get(subscription=taken)
    for address in (f"/accounts/{world.mt5.pk}/loss-limit/", f"/loss-limits/{limit.pk}/edit/"):
        shown = text_of(alice, address)
        assert "If it is reached already, it pauses entries then." in shown
        assert "1 open position (Main MT5): kept, with stop and targets, unless you choose" in shown
        assert "1 working order at the broker (Main MT5): kept, and may still fill, unless" in shown
        assert "2 entries that wait (Main MT5): denied while the pause lasts." in shown
    end_all(world)
    assert NOTHING in text_of(alice, f"/loss-limits/{limit.pk}/edit/")


def test_loss_limit_of_an_own_preset_reaches_all_of_its_accounts(
    world: World, alice: Client, taken: Subscription
) -> None:
    ExecutionConnection.objects.filter(pk__in=(world.mt5.pk, world.ibkr.pk)).update(
        preset=world.own_preset
    )
    shown = text_of(alice, f"/accounts/{world.ibkr.pk}/loss-limit/")
    assert "open positions (IBKR, Main MT5): kept, with stop" in shown
    assert "2 entries that wait (Main MT5): denied while the pause lasts." in shown
