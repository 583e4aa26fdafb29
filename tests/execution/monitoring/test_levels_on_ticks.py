"""Brokers keep levels in whole ticks: our books hold the same price."""

from decimal import Decimal as D

import pytest

from connections.models import ExecutionConnection, Instrument
from execution.models import Order
from execution.monitoring.pending_actions import process_pending_actions
from execution.reconciliation.reconcile import reconcile
from execution.runtime.trading_runtime import TradingRuntime
from positions.models import ExecutionPosition
from signals.models import Feed, Signal
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker

pytestmark = pytest.mark.django_db
GOLD = "XAU/USD"


@pytest.fixture
def account(feed: Feed, broker: FakeBroker, runtime: TradingRuntime) -> ExecutionConnection:
    """A broker that holds stops, where a pip is a point and a tick is one or more."""
    found = factories.account(feed, settings={"native_stops": True})
    factories.mark_monitored(found)
    return found


def listed(broker: FakeBroker, account: ExecutionConnection, tick: str) -> None:
    broker.tick, broker.price = D(tick), D("2410.00")
    factories.instrument(GOLD, digits=2, pip=D("0.01"), tick=0 if tick == "0.01" else D(tick))
    factories.quote(account, "2409.90", "2410.00", GOLD)


def bought(feed: Feed, sl: str = "2401.337", target: str = "2450.113") -> Signal:
    signal = factories.signal(feed, [(target, "1")], currency_pair=GOLD, sl=D(sl))
    factories.filled(signal)
    return signal


def levels() -> tuple[D | None, ...]:
    held = ExecutionPosition.objects.get()
    return held.sl, held.broker_sl, held.tp, held.broker_tp


def sent(broker: FakeBroker) -> int:
    return [name for name, _ in broker.calls].count("modify")


def rounds(times: int = 4) -> None:
    for _ in range(times):
        process_pending_actions()
        factories.pass_time(31)


@pytest.mark.parametrize(
    ("tick", "stop", "target"),
    [("0.01", "2401.34", "2450.12"), ("0.25", "2401.50", "2450.25")],
)
def test_levels_between_two_ticks_are_not_sent_again(
    account: ExecutionConnection, feed: Feed, broker: FakeBroker, tick: str, stop: str, target: str
) -> None:
    listed(broker, account, tick)
    bought(feed)
    rounds()
    assert sent(broker) == 0
    assert levels() == (D(stop), D(stop), D(target), D(target))
    assert ExecutionPosition.objects.get().stop_guardian == "BROKER"
    broker.tickets[0].request = broker.kept(broker.tickets[0].request)
    reconcile()
    assert factories.drift_items() == []


STEPS = [["0", "0.01"], ["2405", "0.25"], ["2440", "0.5"]]


def test_levels_lie_on_the_tick_that_counts_at_their_price(
    account: ExecutionConnection, feed: Feed, broker: FakeBroker
) -> None:
    listed(broker, account, "0.01")
    Instrument.objects.update(price_steps=STEPS)
    opened = bought(feed)
    assert levels() == (D("2401.34"), D("2401.34"), D("2450.5"), D("2450.5"))
    factories.signal(
        feed, [("2439.99", "1")], action="MODIFY", refers_to=opened, direction="BUY",
        currency_pair=GOLD, sl=D("2405.001"),
    )  # fmt: skip
    rounds()
    assert levels() == (D("2405.25"), D("2405.25"), D(2440), D(2440))
    assert sent(broker) == 1


@pytest.mark.parametrize(
    ("side", "kind", "price", "expected"),
    [
        ("BUY", "LIMIT", "2404.999", "2404.99"), ("BUY", "LIMIT", "2409.9", "2409.75"),
        ("SELL", "LIMIT", "2439.9", "2440"), ("SELL", "LIMIT", "2440.1", "2440.5"),
        ("BUY", "STOP", "2440.1", "2440.5"), ("SELL", "STOP", "2405.1", "2405"),
    ],
)  # fmt: skip
def test_entry_price_lies_on_the_tick_that_counts_there(
    account: ExecutionConnection, feed: Feed, broker: FakeBroker, side: str, kind: str, price: str,
    expected: str,
) -> None:  # fmt: skip
    listed(broker, account, "0.01")
    Instrument.objects.update(price_steps=STEPS)
    own = {"open_price" if kind == "LIMIT" else "stop_price": D(price)}
    factories.signal(
        feed, [], currency_pair=GOLD, direction=side, order_type=kind,
        sl=D(price) - 5 if side == "BUY" else D(price) + 5, **own,
    )  # fmt: skip
    factories.claim_all()
    order = Order.objects.get()
    assert (order.limit_price or order.stop_price) == D(expected), (order.status, order.reason)


def test_modify_between_two_ticks_is_sent_once(
    account: ExecutionConnection, feed: Feed, broker: FakeBroker
) -> None:
    listed(broker, account, "0.01")
    opened = bought(feed)
    factories.signal(
        feed, [("2460.007", "1")], action="MODIFY", refers_to=opened, direction="BUY",
        currency_pair=GOLD, sl=D("2402.001"),
    )  # fmt: skip
    rounds()
    assert sent(broker) == 1
    assert levels() == (D("2402.01"), D("2402.01"), D("2460.01"), D("2460.01"))


def test_level_of_a_short_is_rounded_down(
    account: ExecutionConnection, feed: Feed, broker: FakeBroker
) -> None:
    listed(broker, account, "0.01")
    signal = factories.signal(
        feed, [("2350.113", "1")], currency_pair=GOLD, direction="SELL", sl=D("2417.337")
    )
    factories.filled(signal)
    rounds()
    assert (sent(broker), levels()) == (
        0, (D("2417.33"), D("2417.33"), D("2350.11"), D("2350.11")),
    )  # fmt: skip


def test_old_levels_are_rounded_to_the_tick_by_one_change(
    account: ExecutionConnection, feed: Feed, broker: FakeBroker
) -> None:
    listed(broker, account, "0.01")
    bought(feed)
    ExecutionPosition.objects.update(sl=D("2401.337"))
    rounds()
    assert (sent(broker), levels()[:2]) == (1, (D("2401.34"), D("2401.34")))


def test_average_price_in_whole_ticks_is_no_difference(
    account: ExecutionConnection, feed: Feed, broker: FakeBroker
) -> None:
    listed(broker, account, "0.01")
    bought(feed)
    ExecutionPosition.objects.update(entry_price=D("2410.004"))
    factories.pass_time(1)
    reconcile()
    assert factories.drift_items() == []
    assert Instrument.objects.get(pair=GOLD).tick == 0
