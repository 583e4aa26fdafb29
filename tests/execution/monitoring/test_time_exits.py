"""Positions that are closed by time: once, late after a downtime, at the time that counts now."""

from datetime import datetime, timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from django.db.models import F

from common.clocks import market_now
from connections.models import ExecutionConnection, Instrument
from execution.models import Order
from execution.monitoring.time_exits import close_due
from execution.reports.position_rebuild import rebuild_positions
from positions.api import PositionSerializer
from positions.models import ExecutionPosition
from signals.models import Feed, Signal
from tests.execution import factories

pytestmark = pytest.mark.django_db
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


def bought(feed: Feed, **fields: Any) -> ExecutionPosition:
    return factories.filled(factories.signal(feed, **fields))


def close_time(position: ExecutionPosition) -> datetime | None:
    position.refresh_from_db()
    at: datetime | None = position.close_at
    return at


def set_time(position: ExecutionPosition, at: datetime) -> None:
    ExecutionPosition.objects.filter(pk=position.pk).update(close_at=at)


@pytest.mark.parametrize(
    ("at", "seconds", "expected"),
    [
        (None, None, None),
        (HOUR, None, HOUR),
        (None, 600, timedelta(seconds=600)),
        (HOUR, 600, timedelta(seconds=600)),  # the earlier one
        (HOUR, 7200, HOUR),
    ],
)
def test_time_is_fixed_when_the_position_opens(
    alice: ExecutionConnection, feed: Feed, at: timedelta | None, seconds: int | None,
    expected: timedelta | None,
) -> None:  # fmt: skip
    now = market_now()
    position = bought(feed, close_at=at and now + at, close_after_seconds=seconds)
    if expected is None:
        assert position.close_at is None
    elif expected == at:
        assert position.close_at == now + at
    else:
        assert position.close_at == position.opened_at + expected
    assert "close_at" in PositionSerializer(position).data


def test_position_is_closed_at_its_time_once(alice: ExecutionConnection, feed: Feed) -> None:
    position = bought(feed, close_at=market_now() + HOUR)
    assert close_due() == []
    set_time(position, market_now() - SECOND)
    [order_id] = close_due()
    assert close_due() == []
    order = Order.objects.get(pk=order_id)
    assert (order.leg, order.quantity, order.order_type) == ("time-1", position.quantity, "MARKET")
    assert factories.log_codes(order_id) == [("TIME_EXIT", "PENDING")]
    factories.fill_all()
    position.refresh_from_db()
    assert (position.quantity, position.close_reason) == (0, "time_exit")
    rebuild_positions([order_id])  # from its fills, as after a correction
    position.refresh_from_db()
    assert (position.quantity, position.close_reason) == (0, "time_exit")
    assert close_due() == []


def test_time_that_came_in_a_downtime_closes_late(alice: ExecutionConnection, feed: Feed) -> None:
    position = bought(feed, close_after_seconds=60)
    set_time(position, market_now() - 26 * HOUR)
    assert len(close_due()) == 1


def test_rest_is_closed_after_a_partial_exit(alice: ExecutionConnection, feed: Feed) -> None:
    position = bought(feed, close_at=market_now() + HOUR)
    factories.close_signal(position.signal, "0.5")
    set_time(position, market_now() - SECOND)
    [order_id] = close_due()
    assert Order.objects.get(pk=order_id).quantity == position.quantity / 2


def test_dust_that_its_exit_leaves_gets_none(alice: ExecutionConnection, feed: Feed) -> None:
    """No exit can close it; `close_dust` writes it off."""
    Instrument.objects.update(close_min=D(10))
    position = bought(feed, close_at=market_now() + HOUR)
    ExecutionPosition.objects.update(quantity=95, opened_quantity=95)
    set_time(position, market_now() - SECOND)
    assert len(close_due()) == 1
    factories.fill_all()
    position.refresh_from_db()
    assert position.quantity == 5
    assert close_due() == []


@pytest.mark.parametrize("smallest", [(10, 100), (20, 1)], ids=["worth", "quantity"])
def test_dust_of_an_entry_that_still_works_gets_no_exit(
    alice: ExecutionConnection, feed: Feed, smallest: tuple[int, int]
) -> None:
    """Dust by quantity or by worth is written off without an exit, once its entry has ended."""
    factories.signal(feed, close_at=market_now() + HOUR)
    [entry] = factories.claim_all()
    broker = factories.fake_broker()
    factories.answer(entry, [broker.execute(broker.receive(entry.request), D(10))])
    Instrument.objects.update(close_min=smallest[0], close_worth_min=smallest[1])
    set_time(ExecutionPosition.objects.get(), market_now() - SECOND)
    for _ in range(3):
        close_due()
        factories.claim_all()
        Order.objects.exits().update(done_at=F("done_at") - HOUR)
    assert not Order.objects.exits().exists()


def test_exit_that_failed_is_written_again_after_a_while(
    alice: ExecutionConnection, feed: Feed
) -> None:
    position = bought(feed, close_at=market_now() + HOUR)
    set_time(position, market_now() - SECOND)
    [first] = close_due()
    factories.force(
        "UPDATE execution_order SET status = 'REJECTED', done_at = clock_timestamp() WHERE id = %s",
        (first,),
    )
    ExecutionPosition.objects.filter(pk=position.pk).update(reserved=0)
    assert close_due() == []
    Order.objects.filter(pk=first).update(done_at=market_now() - timedelta(seconds=31))
    assert len(close_due()) == 1


def modify(of: Signal, **fields: Any) -> Signal:
    usual = {"sl": None, "direction": of.direction, "currency_pair": of.currency_pair}
    return factories.signal(of.feed, action="MODIFY", refers_to=of, **{**usual, **fields})


def test_modify_changes_the_time_of_open_and_later_positions(
    alice: ExecutionConnection, feed: Feed
) -> None:
    bob = factories.account(feed)
    now = market_now()
    signal = factories.signal(feed, close_after_seconds=60)
    calls = factories.claim_all()
    of_alice = Order.objects.get(signal=signal, connection=alice)
    factories.apply(factories.fill_report(of_alice, of_alice.quantity or 0, "a"))
    position = ExecutionPosition.objects.get(signal=signal)
    stop = position.sl
    written = modify(signal, close_at=now + HOUR)
    assert (len(calls), written.candidate_count) == (2, 2)
    assert close_time(position) == now + HOUR
    assert position.sl == stop
    of_bob = Order.objects.get(signal=signal, connection=bob)
    factories.apply(factories.fill_report(of_bob, of_bob.quantity or 0, "b"))
    assert ExecutionPosition.objects.get(connection=bob).close_at == now + HOUR
    modify(signal, close_at=now + 2 * HOUR, sl=stop)
    assert close_time(position) == now + 2 * HOUR
    modify(signal, sl=stop)  # leaves it
    assert close_time(position) == now + 2 * HOUR
