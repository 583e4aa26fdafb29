"""The overview's last signals are the first of the list of signals, whatever happened since."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

import pytest

from analytics.orders import last_signals
from common.clocks import market_now
from connections.models import ExecutionConnection
from execution.models import ArchivedOrder, Order
from portal.selectors.signals import last_published_to, published_to
from positions.models import ExecutionPosition
from signals.models import Signal
from tests.html import html_of
from tests.portal import factories
from tests.portal.conftest import SignedIn
from tests.portal.factories import World

COUNT = 6

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def few_orders_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_signals, "ORDERS_OF_AN_ACCOUNT", (8, 20))


def received(world: World, on: ExecutionConnection, **fields: object) -> Signal:
    """Publish a signal to one account."""
    of = factories.signal(
        world.breakout, market_now(), currency_pair="EUR/USD", direction="BUY", **fields
    )
    factories.order(on, of, "SKIPPED")
    return of


def modified(world: World, of: Signal) -> Signal:
    return factories.signal(
        world.breakout, market_now(), currency_pair="EUR/USD", direction="BUY", action="MODIFY",
        refers_to=of,
    )  # fmt: skip


def later_exits(of: Signal, on: ExecutionConnection, count: int) -> None:
    trade = ExecutionPosition.objects.filter(connection=on).earliest("pk")
    for number in range(count):
        factories.order(on, of, "CANCELLED", leg=f"close-{number}", position=trade)


def shown(world: World) -> list[int]:
    return [one.pk for one in last_published_to(world.alice, COUNT)]


def expect_the_first_of_the_list(world: World) -> None:
    assert shown(world) == [one.pk for one in published_to(world.alice)[:COUNT]]


@pytest.mark.parametrize("path", ["/", "/signals/"])
def test_modification_states_what_it_changes(world: World, signed_in: SignedIn, path: str) -> None:
    moved = modified(world, world.euro)
    page = html_of(signed_in(world.alice).get(path))
    assert f"changes S-{world.euro.pk}; no order of its own" in page
    shown = html_of(signed_in(world.alice).get(f"/signals/{moved.pk}/"))
    assert f"It changes what S-{world.euro.pk} has caused" in " ".join(shown.split())


def test_fewer_signals_than_are_shown(world: World) -> None:
    moved = modified(world, world.euro)
    assert shown(world) == [moved.pk, world.euro.pk, world.gold.pk]
    expect_the_first_of_the_list(world)


@pytest.mark.parametrize("others", [4, 12, 40])
def test_change_of_an_old_trade_is_shown(world: World, others: int) -> None:
    old = received(world, world.mt5)
    for _ in range(others):
        received(world, world.mt5)
    moved = modified(world, old)
    assert shown(world)[0] == moved.pk
    expect_the_first_of_the_list(world)


@pytest.mark.parametrize("exits", [6, 15, 40])
def test_many_exits_of_one_trade_hide_no_signal(world: World, exits: int) -> None:
    old = received(world, world.mt5)
    for _ in range(COUNT):
        received(world, world.ibkr)
    newer = [received(world, world.mt5).pk for _ in range(COUNT - 2)]
    later_exits(old, world.mt5, exits)
    assert set(newer) <= {*shown(world)}
    expect_the_first_of_the_list(world)


def test_close_is_a_signal_of_its_own(world: World) -> None:
    opened = [received(world, world.mt5) for _ in range(20)]
    close = factories.signal(
        world.breakout, market_now(), currency_pair="EUR/USD", direction="BUY", action="CLOSE",
        refers_to=opened[0],
    )  # fmt: skip
    later_exits(close, world.mt5, 1)
    assert shown(world)[0] == close.pk
    expect_the_first_of_the_list(world)


def test_removed_account_keeps_its_signals(world: World) -> None:
    for _ in range(COUNT):
        received(world, world.ibkr)
    last = received(world, world.mt5)
    ExecutionConnection.objects.filter(pk=world.mt5.pk).update(archived_at=market_now())
    assert shown(world)[0] == last.pk
    expect_the_first_of_the_list(world)


@pytest.mark.parametrize("count", [2, 20])
def test_archived_entries_count(world: World, count: int) -> None:
    for _ in range(count):
        received(world, world.ibkr)
    of = received(world, world.mt5)
    entry = Order.objects.get(signal=of)
    done = datetime.now(UTC) - timedelta(days=1)
    ArchivedOrder.objects.create(
        id=entry.pk, signal=of, connection=world.mt5, status="SKIPPED", pair=entry.pair,
        side=entry.side, order_type=entry.order_type, created_at=done, done_at=done, quantity=D(1),
    )  # fmt: skip
    Order.objects.filter(pk=entry.pk).delete()
    assert shown(world)[0] == of.pk
    expect_the_first_of_the_list(world)


def test_signals_of_others_are_not_shown(world: World) -> None:
    of = factories.signal(world.carry, market_now(), currency_pair="EUR/USD", direction="BUY")
    factories.order(world.bobs, of, "SKIPPED")
    modified(world, of)
    assert shown(world) == [world.euro.pk, world.gold.pk]
