"""On a netting account an entry never closes what another signal opened."""

import pytest

from common.reason_codes import Code
from execution.models import Order
from signals.models import Feed
from tests.execution import factories

pytestmark = pytest.mark.django_db(transaction=True)


def reason_of_a_sell_beside_a_buy(feed: Feed) -> str:
    factories.filled(factories.signal(feed))
    sell = factories.signal(feed, direction="SELL", sl="1.11000")
    factories.fill_all()
    return Order.objects.get(signal=sell).reason


def test_opposite_entry_is_denied_on_a_netting_account(feed: Feed) -> None:
    factories.account(feed, snapshot_position_mode="NETTING")
    assert reason_of_a_sell_beside_a_buy(feed) == Code.NETTING_OPPOSITE


def test_opposite_entry_is_sent_on_a_hedging_account(feed: Feed) -> None:
    factories.account(feed, snapshot_position_mode="HEDGING")
    assert reason_of_a_sell_beside_a_buy(feed) == ""


def test_one_of_two_opposite_entries_in_a_bundle_is_denied(feed: Feed) -> None:
    factories.account(feed, snapshot_position_mode="NETTING")
    buy = factories.signal(feed)
    sell = factories.signal(feed, direction="SELL", sl="1.11000")
    factories.fill_all()
    assert Order.objects.get(signal=buy).status == "FILLED"
    assert Order.objects.get(signal=sell).reason == Code.NETTING_OPPOSITE


def test_entries_of_the_same_side_are_all_sent(feed: Feed) -> None:
    factories.account(feed, snapshot_position_mode="NETTING")
    factories.filled(factories.signal(feed))
    more = factories.signal(feed)
    factories.fill_all()
    assert Order.objects.get(signal=more).status == "FILLED"
