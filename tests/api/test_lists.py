"""Pagination, order and filters of lists, and how many queries they need."""

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from common.clocks import market_now
from connections.models import ConnectionHealth, Subscription
from execution.models import DriftItem
from positions.models import ExecutionPosition
from signals.feeds.services import create_feed
from signals.models import Signal
from tests.api.factories import World, order
from tests.api.reading import get


def test_pagination_neither_skips_nor_repeats_rows(world: World) -> None:
    created = [order(world.connection, world.published, f"entry-{n}").pk for n in range(10, 17)]
    seen: list[int] = []
    data = get(world, "orders/?page_size=3&status=PENDING")
    while True:
        seen += [result["id"] for result in data["results"]]
        if len(seen) == 3:
            order(world.connection, world.published, "entry-99")  # created meanwhile
        if not data["next"]:
            break
        data = world.client("alice").get(data["next"]).json()
    assert seen == [*reversed(created), world.pending.pk]


def test_orders_are_filtered_and_sorted(world: World) -> None:
    def ids(query: str) -> list[int]:
        return [result["id"] for result in get(world, f"orders/?{query}")["results"]]

    assert ids("status=PENDING&status=FAILED") == [world.failed.pk, world.pending.pk]
    assert ids("done=false") == ids("working=true") == [world.pending.pk]
    assert ids("working=false") == [world.failed.pk, world.filled.pk]
    feed = world.published.feed
    assert (ids(f"feed={feed.slug}"), ids("feed=other")) == (ids(""), [])
    assert ids("reason=NEVER_ARRIVED") == [world.failed.pk]
    assert ids("ordering=id")[0] == world.filled.pk
    assert ids(f"signal={world.published.pk}&entry=true&side=BUY") == ids("")
    assert ids("entry=false") == []
    assert ids("created_after=2100-01-01T00:00:00Z") == []


@pytest.mark.parametrize(
    "path",
    ["orders", "positions", "connections", "signals", "subscriptions", "feeds", "drift"],
)
def test_longer_list_needs_no_more_queries(world: World, path: str) -> None:
    def count_queries() -> int:
        with CaptureQueriesContext(database) as queries:
            get(world, f"{path}/")
        return len(queries)

    get(world, f"{path}/")
    before = count_queries()
    create_more_rows(world)
    assert count_queries() == before


def create_more_rows(world: World) -> None:
    """Create two more rows of each listed kind."""
    for number in (2, 3):
        row = type(world.connection).objects.create(
            user=world.alice, name=f"c{number}", type="paper", account=str(number),
            preset=world.preset, data_connection=world.prices,
        )  # fmt: skip
        ConnectionHealth.objects.create(connection=row)
        feed = create_feed(owner=world.alice, name=f"f{number}")
        Subscription.objects.create(connection=row, feed=feed)
        signal = Signal.objects.create(feed=feed, currency_pair="EUR/USD", direction="BUY")
        order(row, signal, "entry")
        DriftItem.objects.create(kind="UNKNOWN_POSITION", connection=row, key="k")
        ExecutionPosition.objects.create(
            connection=row, signal=signal, pair="EUR/USD", symbol="EURUSD", side="BUY",
            quantity=1, opened_quantity=1, entry_price=1, pip=1, conversion_rate=1,
            opened_at=market_now(),
        )  # fmt: skip
