"""A pushed quote that is held back outlives its process; sources share one look at the table."""

from decimal import Decimal as D
from typing import Any

import psycopg
import pytest

from common.clocks import market_now
from common.reason_codes import Code
from connections.models import DataConnection, SourceHealth
from prices import pushed_feeds, side_feeds
from prices.held_back import HOLD_SECONDS
from prices.models import PushedQuote
from prices.pushed_reader import PushedReader
from prices.side_feeds import SideFeedManager
from tests.prices.test_pushed_feeds import (
    PAIR,
    Clock,
    bid_of,
    clock,
    opened,
    push,
    pushed,
    step,
)  # fmt: skip
from tests.stopped_clock import StoppedClock

__all__ = ["clock", "pushed"]
pytestmark = pytest.mark.django_db
OTHER = "GBP/USD"


def waits(clock: Clock, manager: SideFeedManager) -> None:
    """Let a second pass in which nothing is pushed."""
    step(manager)
    clock.seconds += HOLD_SECONDS
    step(manager)


@pytest.fixture
def manager(pushed: DataConnection) -> SideFeedManager:
    """The feeds of a source that was at 1.1001 when a gap was pushed."""
    made = opened(pushed)
    push(pushed, "1.1", "1.1001")
    step(made)
    push(pushed, "0.99")
    step(made)
    assert bid_of(pushed) == D("1.1001")
    return made


def rows() -> list[D]:
    return list(PushedQuote.objects.order_by("id").values_list("bid", flat=True))


def test_gap_that_is_held_back_outlives_the_process(
    pushed: DataConnection, manager: SideFeedManager, clock: Clock
) -> None:
    assert rows() == [D("0.99")]
    again = opened(pushed)
    waits(clock, again)
    assert bid_of(pushed) == D("0.99")
    assert rows() == []


def test_gap_that_is_held_back_outlives_a_stop(
    pushed: DataConnection, manager: SideFeedManager, clock: Clock
) -> None:
    manager.close()
    waits(clock, opened(pushed))
    assert bid_of(pushed) == D("0.99")


def test_gap_that_is_held_back_outlives_new_settings(
    pushed: DataConnection, manager: SideFeedManager, clock: Clock
) -> None:
    clock.seconds += HOLD_SECONDS / 2
    step(manager)
    DataConnection.objects.update(settings={"symbols": [PAIR, OTHER]})
    manager.maintain()
    clock.seconds += HOLD_SECONDS / 2
    step(manager)
    assert bid_of(pushed) == D("0.99"), "its second goes on"
    assert rows() == []
    assert manager._pushed[pushed.pk].stream.pairs == {PAIR, OTHER}


def test_gap_of_a_pair_that_is_followed_no_more_is_dropped(
    pushed: DataConnection, manager: SideFeedManager, clock: Clock
) -> None:
    DataConnection.objects.update(settings={"symbols": [OTHER]})
    manager.maintain()
    waits(clock, manager)
    assert bid_of(pushed) == D("1.1001")
    assert rows() == []


def test_quote_that_is_denied_is_deleted(pushed: DataConnection, manager: SideFeedManager) -> None:
    push(pushed, "1.1002")
    step(manager)
    assert rows() == []
    assert bid_of(pushed) == D("1.1002")


def test_repeated_gap_keeps_one_row(pushed: DataConnection, manager: SideFeedManager) -> None:
    for _ in range(3):
        push(pushed, "0.99")
        step(manager)
    assert rows() == [D("0.99")]


def test_confirmed_quote_is_published_after_an_error(
    pushed: DataConnection, manager: SideFeedManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second source has confirmed it; then the table cannot be read."""
    (feed,) = manager.feeds
    stream = manager._pushed[pushed.pk].stream
    asked = {pair: suspect for pair, (_, suspect, _) in stream.suspects().items()}
    stream.decide(dict.fromkeys(asked, True), asked)
    with monkeypatch.context() as broken:
        broken.setattr(PushedReader, "_read", _fail)
        with pytest.raises(ValueError, match="broken"):
            feed.step(market_now())
    step(manager)
    assert bid_of(pushed) == D("0.99")
    assert rows() == []


def _fail(*_: Any) -> None:
    raise ValueError("broken")


# ---- one thread for all ------------------------------------------------------------------------
@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the statements that the driver gets from now on."""
    recorded: list[str] = []
    execute = psycopg.Cursor.execute

    def listen(self: Any, query: Any, *arguments: Any, **named: Any) -> Any:
        recorded.append(str(query))
        return execute(self, query, *arguments, **named)

    monkeypatch.setattr(psycopg.Cursor, "execute", listen)
    return recorded


def sources(number: int) -> list[DataConnection]:
    create = DataConnection.objects.create
    return [
        create(name=f"Source {n}", kind="push", settings={"symbols": [PAIR]}) for n in range(number)
    ]


def test_statements_of_a_step_do_not_grow_with_sources(
    pushed: DataConnection, statements: list[str]
) -> None:
    """They are idle, though each has quoted before."""
    counts = []
    for more in (0, 4):
        sources(more)
        manager = opened(pushed)
        for source in DataConnection.objects.all():
            push(source, "1.1", "1.1001")
        step(manager)
        step(manager)
        statements.clear()
        step(manager)
        counts.append(len(statements))
        assert all("DELETE" not in statement for statement in statements)
        PushedQuote.objects.all().delete()
    assert counts[0] == counts[1] > 0


def test_statements_of_a_look_do_not_grow_with_sources(
    pushed: DataConnection, statements: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(side_feeds, "REPORT_EVERY", 0.0)
    counts = []
    for more in (0, 4):
        sources(more)
        manager = opened(pushed)
        statements.clear()
        manager.maintain()
        counts.append(len(statements))
    assert counts[0] == counts[1]


def test_source_that_was_skipped_loses_no_quote(
    pushed: DataConnection, clock: Clock, stopped_clock: StoppedClock
) -> None:
    (other,) = sources(1)
    manager = opened(pushed)
    one, skipped = (manager._pushed[pk] for pk in (pushed.pk, other.pk))
    for bid in ("1.1", "1.1001", "1.1002"):
        stopped_clock.pass_time(0.1)
        clock.seconds += 0.1
        for source in (pushed, other):
            push(source, bid)
        one.step(market_now())
    assert bid_of(pushed) == D("1.1002")
    skipped.step(market_now())
    skipped.step(market_now())
    assert bid_of(other) == D("1.1002")


def test_error_of_one_source_ends_nothing_for_the_others(
    pushed: DataConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    (other,) = sources(1)
    opening = pushed_feeds.open_pushed

    def open_others(source: DataConnection, *arguments: Any) -> Any:
        return _fail() if source.pk == pushed.pk else opening(source, *arguments)

    monkeypatch.setattr(side_feeds, "open_pushed", open_others)
    manager = opened(pushed)
    assert [feed.data_connection_id for feed in manager.feeds] == [other.pk]
    assert SourceHealth.objects.get(source=pushed).error_code == Code.UNEXPECTED
    assert SourceHealth.objects.get(source=other).pairs == [PAIR]
    monkeypatch.setattr(side_feeds, "open_pushed", opening)
    manager.maintain()
    assert len(manager.feeds) == 2


def test_error_of_one_source_at_the_end_ends_nothing_for_the_others(
    pushed: DataConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    (other,) = sources(1)
    manager = opened(pushed)
    push(other, "1.1", "1.1001")
    monkeypatch.setattr(manager._pushed[pushed.pk], "step", _fail)
    manager.close()
    assert bid_of(other) == D("1.1001")


def test_source_is_its_own_when_it_is_switched_on_again(
    pushed: DataConnection, manager: SideFeedManager, clock: Clock
) -> None:
    """What was held back when it was switched off still counts."""
    DataConnection.objects.update(is_active=False)
    manager.maintain()
    assert manager.feeds == []
    DataConnection.objects.update(is_active=True)
    manager.maintain()
    waits(clock, manager)
    assert bid_of(pushed) == D("0.99")
