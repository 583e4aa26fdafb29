"""The open exposure of an account, registered with the connections package."""

import pytest

from common.db.sql import run
from connections.exposure import OpenItem, describe_open_items, open_items
from connections.models import ExecutionConnection
from execution.models import Order
from signals.models import Feed
from tests.execution import factories

pytestmark = pytest.mark.usefixtures("inline_commits")


def test_open_items_are_positions_and_orders_that_may_be_at_the_broker(
    alice: ExecutionConnection, feed: Feed
) -> None:
    assert open_items(alice.pk) == []
    factories.signal(feed)
    assert open_items(alice.pk) == []  # still here: PENDING
    factories.live_lease()
    factories.claim_all()
    entry = Order.objects.get()
    assert open_items(alice.pk) == [OpenItem(entry.symbol, "an order that is SUBMITTING")]
    run("UPDATE execution_order SET status = 'UNKNOWN'")
    assert open_items(alice.pk) == [OpenItem(entry.symbol, "an order that is UNKNOWN")]
    factories.apply(factories.fill_report(entry, 100, "f1"))
    (position,) = open_items(alice.pk)[:1]
    assert position == OpenItem(entry.symbol, "an open position")


def test_open_items_are_described_in_one_sentence() -> None:
    item = OpenItem("BTC/USDT", "an open position")
    assert describe_open_items([item]) == "BTC/USDT (an open position)"
    assert describe_open_items([item._replace(symbol=name) for name in "ABCDE"]).endswith(
        "and 2 more"
    )
