"""Engine-guarded levels are evaluated on each quote and all prices between two passes."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from django.db import OperationalError
from django.utils.timezone import now as machine_clock

from brokers.types import Quote
from common.clocks import market_now
from common.db.sql import database_now, rows
from connections.models import DataConnection, ExecutionConnection
from execution.models import Order
from execution.monitoring import tick_monitor
from execution.monitoring.tick_monitor import TickMonitor
from positions.models import ExecutionPosition
from prices.feeds import LiveFeed
from prices.signals import quotes_arrived
from signals.models import Feed
from tests.execution import factories

pytestmark = pytest.mark.django_db
HALVES = [("1.12", "0.5"), ("1.13", "0.5")]


def quotes_of(*bids: str, pair: str = "EUR/USD") -> list[Quote]:
    return [Quote(pair, D(bid), D(bid) + D("0.0001"), market_now()) for bid in bids]


def exits() -> list[tuple[str, Any]]:
    return list(Order.objects.exits().order_by("id").values_list("leg", "quantity"))


@pytest.fixture
def bought(alice: ExecutionConnection, feed: Feed) -> ExecutionPosition:
    """A position of 100 EUR/USD from 1.1: stop 1.09, half at 1.12, half at 1.13; engine-guarded."""
    return factories.filled(factories.signal(feed, HALVES))


def source(of: ExecutionConnection) -> int:
    assert of.data_connection_id
    return of.data_connection_id


@pytest.mark.parametrize(
    ("bids", "expected"),
    [
        (["1.1", "1.0901"], []),
        (["1.1", "1.09", "1.1"], [("sl", 100)]),  # touched between two others
        (["1.1", "1.12", "1.1"], [("tp-1", 50)]),
        (["1.12", "1.08"], [("sl", 100)]),  # both: the stop counts
    ],
)
def test_level_touched_between_two_passes_is_not_missed(
    bought: ExecutionPosition, alice: ExecutionConnection, bids: list[str], expected: list[object]
) -> None:
    assert len(TickMonitor().process_quotes(source(alice), quotes_of(*bids))) == len(expected)
    assert exits() == expected


@pytest.mark.parametrize(("waited", "expected"), [(0.0, D("1.07")), (3.0, D("1.0999"))])
def test_exit_is_decided_by_the_quote_that_it_was_written_for(
    bought: ExecutionPosition, alice: ExecutionConnection, waited: float, expected: D
) -> None:
    """Its batch is stored after that. A quote that came late is never stored as the current one."""
    factories.pass_time(10)
    factories.quote(alice, "1.0999")
    TickMonitor().process_quotes(source(alice), quotes_of("1.08", "1.07"), waited)
    [outgoing] = factories.claim_all()
    assert Order.objects.get(pk=outgoing.request.order_id).expected_price == expected


def test_levels_of_a_sell_are_hit_by_the_ask(alice: ExecutionConnection, feed: Feed) -> None:
    factories.filled(factories.signal(feed, [("1.08", "1")], direction="SELL", sl=D("1.11")))
    judge = TickMonitor().process_quotes
    assert judge(source(alice), quotes_of("1.1098")) == []
    assert len(judge(source(alice), quotes_of("1.1099", "1.1"))) == 1  # an ask of 1.11
    assert exits() == [("sl", 100)]


def test_prices_of_other_sources_and_pairs_hit_nothing(
    bought: ExecutionPosition, alice: ExecutionConnection
) -> None:
    judge = TickMonitor().process_quotes
    assert judge(source(alice) + 1, quotes_of("1.05")) == []
    assert judge(source(alice), quotes_of("1.05", pair="GBP/USD")) == []


def test_level_touched_repeatedly_causes_one_exit(
    bought: ExecutionPosition, alice: ExecutionConnection
) -> None:
    judge = TickMonitor().process_quotes
    judge(source(alice), quotes_of("1.08"))
    judge(source(alice), quotes_of("1.08"))
    judge(source(alice), [])
    assert exits() == [("sl", 100)]


def test_heartbeat_records_that_levels_are_monitored(alice: ExecutionConnection) -> None:
    before = database_now()
    TickMonitor().process_quotes(source(alice), [])
    (row,) = rows(
        "SELECT last_evaluated_at FROM execution_levelmonitorheartbeat WHERE source_id = %s",
        (source(alice),),
    )
    assert before <= row.last_evaluated_at <= database_now()


def test_unprocessed_quotes_are_evaluated_with_the_next_ones(
    bought: ExecutionPosition, alice: ExecutionConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = TickMonitor()
    with monkeypatch.context() as patched:
        patched.setattr(tick_monitor, "periodic_rows", _away)
        with pytest.raises(OperationalError):
            held.process_quotes(source(alice), quotes_of("1.08", "1.1"))
    assert len(held.process_quotes(source(alice), quotes_of("1.1"))) == 1


def test_old_prices_do_not_hit_positions_opened_since(
    alice: ExecutionConnection, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = TickMonitor()
    with monkeypatch.context() as patched:
        patched.setattr(tick_monitor, "periodic_rows", _away)
        with pytest.raises(OperationalError):
            held.process_quotes(source(alice), quotes_of("1.08", "1.1"))
    factories.filled(factories.signal(feed, HALVES))  # at 1.1, with its stop at 1.09
    assert held.process_quotes(source(alice), quotes_of("1.1")) == []
    assert held.process_quotes(source(alice), quotes_of("1.09")) != []


def _away(*_: object, **__: object) -> list[object]:
    raise OperationalError("the database is away")


@pytest.mark.django_db(transaction=True)
def test_locked_position_is_evaluated_again_with_the_same_prices(
    bought: ExecutionPosition, alice: ExecutionConnection
) -> None:
    held = TickMonitor()
    with factories.locked_elsewhere(lock(bought)):
        assert held.process_quotes(source(alice), quotes_of("1.08", "1.1")) == []
    assert len(held.process_quotes(source(alice), [])) == 1  # the heartbeat is enough
    assert held.process_quotes(source(alice), []) == []


@pytest.mark.django_db(transaction=True)
def test_hit_of_a_locked_position_is_kept_while_the_database_is_away(
    bought: ExecutionPosition, alice: ExecutionConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = TickMonitor()
    with factories.locked_elsewhere(lock(bought)):
        assert held.process_quotes(source(alice), quotes_of("1.08", "1.1")) == []
    with monkeypatch.context() as patched:
        patched.setattr(tick_monitor, "periodic_rows", _away)
        with pytest.raises(OperationalError):
            held.process_quotes(source(alice), quotes_of("1.1"))
    assert len(held.process_quotes(source(alice), [])) == 1


@pytest.mark.django_db(transaction=True)
def test_touch_of_one_position_does_not_hit_a_new_stop_of_another(
    bought: ExecutionPosition, alice: ExecutionConnection, feed: Feed
) -> None:
    other = factories.filled(factories.signal(feed, HALVES, sl=D("1.05")))
    held = TickMonitor()
    with factories.locked_elsewhere(lock(bought)):
        assert held.process_quotes(source(alice), quotes_of("1.08", "1.1")) == []
    ExecutionPosition.objects.filter(pk=other.pk).update(sl=D("1.09"))  # moved after that price
    (exit_id,) = held.process_quotes(source(alice), [])
    assert Order.objects.get(pk=exit_id).position == bought


def lock(position: ExecutionPosition) -> str:
    return f"SELECT 1 FROM positions_executionposition WHERE id = {position.pk} FOR UPDATE"


class Coming:
    """A stream that delivers these quotes at once."""

    def __init__(self, quotes: list[Quote]) -> None:
        self.quotes = quotes

    def due(self, now: datetime) -> list[Quote]:
        return self.quotes


@pytest.mark.parametrize(("opened", "fresh", "expected"), [
    (1, "1.1", []), (1, "1.085", [("sl", 100)]), (10, "1.1", [("sl", 100)]),
])  # fmt: skip
@pytest.mark.usefixtures("stopped_clock")
def test_queued_broker_prices_do_not_hit_positions_opened_since(
    bought: ExecutionPosition, alice: ExecutionConnection, opened: int, fresh: str, expected: object
) -> None:
    """The database was unavailable for some seconds while the price was under the stop."""
    then = machine_clock() - timedelta(seconds=opened)
    ExecutionPosition.objects.filter(pk=bought.pk).update(last_activity_at=then)
    came = market_now() - timedelta(seconds=3)
    stream = Coming([*(replace(one, time=came) for one in quotes_of("1.08")), *quotes_of(fresh)])
    row = DataConnection.objects.get(pk=source(alice))
    held = TickMonitor()

    def judged(
        *, data_connection_id: int, quotes: list[Quote], waited: float = 0.0, **_: Any
    ) -> None:
        held.process_quotes(data_connection_id, quotes, waited)

    quotes_arrived.connect(judged)
    try:
        LiveFeed(row, stream, to_paper=False).step(market_now())
    finally:
        quotes_arrived.disconnect(judged)
    assert exits() == expected
