"""Figures of trades of which a part has filled, is closed, or was taken by a fee."""

from datetime import timedelta
from decimal import Decimal as D

import pytest

from analytics.orders.slices import slice_result
from common.clocks import market_now
from connections.models import DataConnection, ExecutionConnection
from execution.funding import book_funding
from execution.models import Fill, Order
from execution.record_fills import real_fills
from execution.signal_totals import signal_total
from positions.models import ExecutionPosition
from signals.models import Feed, Signal
from tests.analytics.test_feed_records import T, filled, published, subscriber
from tests.connections import make
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.halfway import HALFWAY
from tests.execution.test_funding import opened, pay, read, swaps, venue

__all__ = ["venue"]
pytestmark = pytest.mark.django_db
NOTHING_ENTERED = {"PENDING", "PENDING again", "REJECTED"}


@pytest.mark.parametrize("state", HALFWAY)
def test_total_of_a_signal_names_who_has_entered_or_may(
    feed: Feed, broker: FakeBroker, state: str
) -> None:
    factories.account(feed)
    Feed.objects.filter(pk=feed.pk).update(max_signal_notional=D(1000), max_signal_currency="USD")
    HALFWAY[state](feed)
    found = signal_total(Signal.objects.select_related("feed").get())
    assert found.others == (0 if state in NOTHING_ENTERED else 1)


@pytest.mark.parametrize("of_slices", [False, True])
def test_person_counts_once_all_that_they_hold_is_closed(of_slices: bool) -> None:
    feed = make.feed()
    signal = published(feed, DataConnection.objects.create(name="recorded"), sl=D("1.09"))
    first, second = (subscriber(feed, number) for number in range(2))
    for row in (first, second):
        filled(row, signal, 11)

    def persons() -> int:
        return real_fills([signal.pk], owner_id=feed.owner_id)[signal.pk].persons

    assert persons() == 2
    part = ExecutionPosition.objects.get(connection=first)
    part.pk, part.entry_leg, part.quantity, part.closed_at = None, "entry-2", D(400), None
    if not of_slices:
        part.connection = make.connection(first.user, type="mt5", account="other")
        filled(part.connection, signal, 11)
    part.save(force_insert=True)
    assert persons() == 1, "it has closed a part only"
    ExecutionPosition.objects.filter(pk=part.pk).update(quantity=0, closed_at=T)
    assert persons() == 2


def test_average_of_slices_is_of_what_has_filled(feed: Feed, broker: FakeBroker) -> None:
    factories.account(feed)
    factories.signal(feed, execution_style="TWAP", duration_seconds=60, slice_count=3)
    factories.claim_all()
    order = Order.objects.get(leg="entry")
    factories.apply(factories.fill_report(order, 10, "f1", price="1.2"))
    factories.apply(factories.fill_report(order, 5, "f2", price="1.5"))
    result = slice_result(Order.objects.get(pk=order.pk))
    assert result is not None
    assert order.quantity is not None
    assert order.quantity > 15
    assert (result.filled, result.average) == (D(15), D("1.3"))


@pytest.mark.usefixtures("inline_commits")
def test_funding_is_shared_by_what_fees_in_base_have_left(
    alice: ExecutionConnection, feed: Feed, venue: FakeBroker
) -> None:
    first = opened(feed, "100", timedelta(minutes=30))
    opened(feed, "100", timedelta(minutes=30))
    fills = Fill.objects.filter(order__signal=first.signal_id)
    assert fills.update(fee_in_base=D(50)) == 1
    pay(venue, "-3.00", market_now() - timedelta(minutes=15))
    read()
    assert book_funding(settle_seconds=0) == 1
    assert swaps() == [D(-1), D(-2)]
