"""What a signal did on the tenant's accounts, on lists and on its own page."""

from datetime import UTC, datetime
from decimal import Decimal as D
from typing import Any

from execution.models import Order
from portal.selectors.signals import signal_history, signal_summaries
from tests.portal import factories
from tests.portal.factories import World


def exit_of(world: World, leg: str, **fields: Any) -> Order:
    """An exit of the open position in gold that has filled."""
    trade = world.gold_position
    return factories.order(
        trade.connection, fields.pop("of", world.gold), "FILLED", D(5), D(1285), leg=leg,
        position=trade, client_order_id=f"out-{leg}", **fields,
    )  # fmt: skip


def test_close_has_its_exits_and_the_open_its_later_ones(world: World) -> None:
    close = factories.signal(
        world.gold.feed, datetime.now(UTC), action="CLOSE", refers_to=world.gold,
        currency_pair=world.gold.currency_pair,
    )  # fmt: skip
    before = signal_summaries(world.alice, [world.gold])[0].breakdown
    asked, stopped = exit_of(world, "close-1", of=close), exit_of(world, "sl")
    summaries = signal_summaries(world.alice, [world.gold, close])
    assert [one.breakdown for one in summaries] == [before, "1 filled"]
    closed, opened = (signal_history(world.alice, one) for one in (close, world.gold))
    assert [one.order for one in closed.outcomes] == [asked]
    assert closed.exits == []
    assert [one.order for one in opened.exits] == [stopped]
    assert all(one.order.is_entry for one in opened.outcomes)


def test_exits_of_another_tenant_are_no_outcome_of_mine(world: World) -> None:
    exit_of(world, "sl")
    assert signal_history(world.bob, world.gold).exits == []
