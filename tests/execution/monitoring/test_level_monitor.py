"""The monitor of engine-guarded levels: a hit becomes one exit, the stop first."""

from decimal import Decimal as D
from typing import Any

import pytest

from brokers.base import Rejected
from common.db.sql import run
from common.reason_codes import Code
from connections.models import ExecutionConnection
from execution.exits import dust
from execution.models import Order
from execution.monitoring.level_monitor import scan_levels
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker

pytestmark = pytest.mark.django_db
HALVES = [("1.12", "0.5"), ("1.13", "0.5")]


def exits() -> list[tuple[str, Any]]:
    return list(Order.objects.exits().order_by("id").values_list("leg", "quantity"))


@pytest.fixture
def bought(alice: ExecutionConnection, feed: Feed) -> ExecutionPosition:
    """100 EUR/USD from 1.1, stop 1.09, half at 1.12, half at 1.13; all guarded by the engine."""
    return factories.filled(factories.signal(feed, HALVES))


@pytest.mark.parametrize(
    ("bid", "expected"),
    [
        ("1.09990", []),
        ("1.09001", []),
        ("1.09000", [("sl", D(100))]),
        ("1.05000", [("sl", D(100))]),  # a gap through the stop
        ("1.11999", []),
        ("1.12000", [("tp-1", D(50))]),
        ("1.14000", [("tp-1", D(50))]),  # one target at a time
    ],
)
def test_levels_of_a_buy_are_hit_by_the_bid(
    bought: ExecutionPosition, alice: ExecutionConnection, bid: str, expected: list[tuple[str, D]]
) -> None:
    factories.quote(alice, bid)
    ids = scan_levels()
    assert exits() == expected
    assert ids == list(Order.objects.exits().values_list("id", flat=True))


@pytest.mark.parametrize(
    ("ask", "expected"),
    [("1.10999", []), ("1.11", [("sl", D(100))]), ("1.08001", []), ("1.08", [("tp-1", D(100))])],
)
def test_levels_of_a_sell_are_hit_by_the_ask(
    alice: ExecutionConnection, feed: Feed, ask: str, expected: list[tuple[str, D]]
) -> None:
    factories.filled(factories.signal(feed, [("1.08", "1")], direction="SELL", sl=D("1.11")))
    factories.quote(alice, D(ask) - D("0.0001"), ask)
    scan_levels()
    assert exits() == expected


def test_stop_wins_where_stop_and_target_are_both_hit(
    bought: ExecutionPosition, alice: ExecutionConnection
) -> None:
    run("UPDATE positions_executionposition SET tp = 1.08")
    factories.quote(alice, "1.08500")
    scan_levels()
    assert exits() == [("sl", 100)]


def test_targets_are_taken_one_after_another(
    bought: ExecutionPosition, alice: ExecutionConnection
) -> None:
    factories.quote(alice, "1.14000")
    scan_levels()
    assert scan_levels() == []
    factories.fill_all()
    bought.refresh_from_db()
    assert (bought.tp_number, bought.tp, bought.quantity) == (2, D("1.13"), 50)
    scan_levels()
    factories.fill_all()
    bought.refresh_from_db()
    assert exits() == [("tp-1", 50), ("tp-2", 50)]
    assert (bought.quantity, bought.close_reason) == (0, "target_2")


def test_remainder_of_partial_targets_stays_open(alice: ExecutionConnection, feed: Feed) -> None:
    position = factories.filled(factories.signal(feed, [("1.12", "0.3"), ("1.13", "0.3")]))
    factories.quote(alice, "1.14000")
    for _ in range(3):
        scan_levels()
        factories.fill_all()
    position.refresh_from_db()
    assert (exits(), position.quantity, position.tp) == ([("tp-1", 30), ("tp-2", 30)], 40, None)


def test_levels_guarded_by_the_broker_are_ignored(feed: Feed, broker: FakeBroker) -> None:
    row = factories.account(feed, settings={"native_stops": True})
    factories.filled(factories.signal(feed, [("1.12", "1")]))
    factories.quote(row, "1.05000")
    assert scan_levels() == []


def test_exit_in_flight_is_not_doubled_and_the_stop_takes_the_remainder(
    bought: ExecutionPosition, alice: ExecutionConnection
) -> None:
    factories.quote(alice, "1.12000")
    scan_levels()
    factories.quote(alice, "1.09000")
    scan_levels()
    assert scan_levels() == []
    assert exits() == [("tp-1", 50), ("sl", 50)]


def test_failed_stop_is_retried_after_thirty_seconds_as_a_new_leg(
    bought: ExecutionPosition, alice: ExecutionConnection
) -> None:
    factories.quote(alice, "1.09000")
    scan_levels()
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, Rejected(Code.MARKET_CLOSED))
    assert scan_levels() == []
    factories.pass_time(20)
    assert scan_levels() == []
    factories.pass_time(11)
    scan_levels()
    assert exits() == [("sl", 100), ("sl-2", 100)]


def test_prices_of_another_source_hit_nothing(bought: ExecutionPosition, feed: Feed) -> None:
    other = factories.account()
    factories.quote(other, "1.05000")
    assert scan_levels() == []


def test_exit_states_the_level_that_was_hit(
    bought: ExecutionPosition, alice: ExecutionConnection
) -> None:
    factories.quote(alice, "1.08950")
    scan_levels()
    stop = Order.objects.exits().get()
    assert stop.detail == "sl 1.09 reached at 1.0895"
    assert factories.log_codes(stop.pk) == [("LEVEL_HIT", "PENDING")]


@pytest.mark.django_db(transaction=True)
def test_locked_position_is_left_for_the_next_pass(alice: ExecutionConnection, feed: Feed) -> None:
    first = factories.filled(factories.signal(feed))
    second = factories.filled(factories.signal(feed))
    factories.quote(alice, "1.09000")
    lock = f"SELECT 1 FROM positions_executionposition WHERE id = {first.pk} FOR UPDATE"
    with factories.locked_elsewhere(lock):
        scan_levels()
        found = Order.objects.exits().values_list("position_id", flat=True)
        assert list(found) == [second.pk]
    scan_levels()
    assert Order.objects.exits().count() == 2


@pytest.mark.django_db(transaction=True)
def test_stop_exit_is_written_when_broker_positions_cannot_be_refreshed(
    bought: ExecutionPosition, alice: ExecutionConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The statement after the exits exceeds the database's time-out."""
    monkeypatch.setattr(dust, "REQUEST_READ", "SELECT pg_sleep(30)")
    factories.quote(alice, "1.09000")
    run("SET statement_timeout = '500ms'")
    try:
        ids = scan_levels()
    finally:
        run("RESET statement_timeout")
    assert ids == list(Order.objects.exits().values_list("id", flat=True))
    assert exits() == [("sl", D(100))]
