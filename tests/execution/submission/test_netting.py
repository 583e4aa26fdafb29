"""On a netting account an entry never closes what another signal opened."""

from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import pytest

from brokers.base import Rejected
from brokers.types import OrderType, Quote, ReportKind
from common.clocks import market_now
from common.reason_codes import Code
from execution.models import Order
from execution.monitoring.condition_watch import wake_settled
from execution.monitoring.trigger_monitor import TriggerMonitor
from execution.services import close_position
from positions.models import ExecutionPosition
from signals.models import Feed, Signal
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.submission.test_slices import next_slice, refresh

pytestmark = pytest.mark.usefixtures("inline_commits")


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


@pytest.mark.usefixtures("running_clock")
def test_held_entry_is_judged_again_when_it_is_triggered(
    feed: Feed, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was armed while the account held nothing."""
    usual = broker.capabilities
    only = frozenset({OrderType.MARKET, OrderType.LIMIT})
    monkeypatch.setattr(broker, "capabilities", lambda spec: replace(usual(spec), order_types=only))
    account = factories.account(feed, snapshot_position_mode="NETTING")
    monitor = TriggerMonitor()
    buy = factories.signal(feed, order_type="STOP", stop_price=D("1.105"))
    factories.claim_all()
    assert entries(buy) == [("entry", "PENDING", "AWAITING_TRIGGER")]
    sell = opposite(feed)
    factories.fill_all()
    assert entries(sell) == [("entry", "FILLED", "")]
    bid = D("1.10500")
    factories.quote(account, str(bid))
    quote = Quote("EUR/USD", bid, bid + D("0.0001"), market_now())
    assert monitor.process_quotes(account.data_connection_id or 0, [quote])
    factories.fill_all()
    assert entries(buy) == [("entry", "DENIED", "NETTING_OPPOSITE")]


def test_conditional_entry_is_judged_when_its_condition_holds(feed: Feed) -> None:
    factories.account(feed, snapshot_position_mode="NETTING")
    first = factories.signal(feed, direction="SELL", sl="1.11000")
    buy = factories.signal(feed, after_signal=first, after_state="FILLED")
    factories.fill_all()
    wake_settled()
    factories.fill_all()
    assert entries(buy) == [("entry", "DENIED", "NETTING_OPPOSITE")]


# ---- slices -----------------------------------------------------------------------------------
TWAP: dict[str, Any] = {"execution_style": "TWAP", "duration_seconds": 60, "slice_count": 3}


def begun_plan(feed: Feed, mode: str = "NETTING") -> Signal:
    """Return a BUY of 90 in slices whose first one was sent and did not fill."""
    factories.account(
        feed, snapshot_position_mode=mode, preset_fixed_quantity=D(90),
        preset_max_signal_age_seconds=15,
    )  # fmt: skip
    return plan_without_a_fill(feed)


def plan_without_a_fill(feed: Feed) -> Signal:
    buy = factories.signal(feed, **TWAP)
    factories.claim_all()
    first = Order.objects.get(signal=buy, leg="entry")
    factories.apply(factories.report(first, ReportKind.CANCELLED, code=Code.SLIPPAGE_LIMIT))
    return buy


def opposite(feed: Feed) -> Signal:
    return factories.signal(feed, direction="SELL", sl="1.11000")


def entries(of: Signal) -> list[tuple[str, str, str]]:
    found = Order.objects.entries().filter(signal=of).order_by("id")
    return [(order.leg, order.status, order.reason) for order in found]


def test_planned_slices_deny_an_opposite_entry(feed: Feed) -> None:
    buy = begun_plan(feed)
    sell = opposite(feed)
    factories.fill_all()
    assert entries(sell) == [("entry", "DENIED", "NETTING_OPPOSITE")]
    next_slice()
    next_slice()
    assert [status for _, status, _ in entries(buy)] == ["CANCELLED", "FILLED", "FILLED"]


def test_planned_slices_deny_no_entry_of_their_side(feed: Feed) -> None:
    begun_plan(feed)
    more = factories.signal(feed)
    factories.fill_all()
    assert entries(more) == [("entry", "FILLED", "")]


def test_planned_slices_deny_nothing_on_a_hedging_account(feed: Feed) -> None:
    buy = begun_plan(feed, "HEDGING")
    sell = opposite(feed)
    factories.fill_all()
    assert entries(sell) == [("entry", "FILLED", "")]
    next_slice()
    assert entries(buy)[1] == ("entry-2", "FILLED", "")


def test_slices_of_a_plan_that_is_over_deny_nothing(feed: Feed) -> None:
    """A rejected slice has ended it; the last one still waits for its time."""
    buy = begun_plan(feed)
    factories.pass_time(20)
    refresh()
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, Rejected(Code.NO_MONEY))
    sell = opposite(feed)
    factories.fill_all()
    assert entries(sell) == [("entry", "FILLED", "")]
    next_slice()
    assert entries(buy)[2] == ("entry-3", "CANCELLED", "SLICES_ENDED")


def test_slices_of_a_closed_trade_deny_nothing(feed: Feed) -> None:
    factories.account(feed, snapshot_position_mode="NETTING", preset_fixed_quantity=D(90))
    buy = factories.signal(feed, **TWAP)
    factories.fill_all()
    close_position(ExecutionPosition.objects.get(signal=buy).pk)
    factories.fill_all()
    assert ExecutionPosition.objects.get(signal=buy).quantity == 0
    sell = opposite(feed)
    factories.fill_all()
    assert entries(sell) == [("entry", "FILLED", "")]
    assert entries(buy)[1] == ("entry-2", "PENDING", "SLICE_SCHEDULED")


def test_opposite_entry_waits_while_a_trade_in_slices_is_closed(feed: Feed) -> None:
    """Its plan is over then. If the exit fails, the entry is denied."""
    factories.account(feed, snapshot_position_mode="NETTING", preset_fixed_quantity=D(90))
    buy = factories.signal(feed, **TWAP)
    factories.fill_all()
    position = ExecutionPosition.objects.get(signal=buy)
    close_position(position.pk)
    (outgoing,) = factories.claim_all()
    sell = opposite(feed)
    assert factories.claim_all() == []
    assert entries(sell) == [("entry", "PENDING", "OPPOSITE_CLOSING")]
    factories.answer(outgoing, factories.fake_broker().fill_at_once(outgoing.request))
    factories.pass_time(1)
    refresh()
    factories.fill_all()
    assert entries(sell) == [("entry", "FILLED", "")]


def late_sell(feed: Feed) -> tuple[Signal, Signal]:
    """Return a plan that holds nothing, and a SELL whose fill came after its end."""
    factories.account(
        feed, snapshot_position_mode="NETTING", preset_fixed_quantity=D(90),
        preset_max_signal_age_seconds=15,
    )  # fmt: skip
    sell = opposite(feed)
    factories.claim_all()
    order = Order.objects.get(signal=sell)
    factories.apply(factories.report(order, ReportKind.CANCELLED))
    buy = plan_without_a_fill(feed)
    factories.apply(factories.fill_report(Order.objects.get(pk=order.pk), 90, "late"))
    return buy, sell


def test_later_slice_never_closes_what_another_signal_holds(feed: Feed) -> None:
    buy, sell = late_sell(feed)
    next_slice()
    assert entries(buy)[1] == ("entry-2", "DENIED", "NETTING_OPPOSITE")
    next_slice()
    assert entries(buy)[2] == ("entry-3", "CANCELLED", "SLICES_ENDED")
    position = ExecutionPosition.objects.get()
    assert (position.signal_id, position.side, position.quantity) == (sell.pk, "SELL", 90)


def test_later_slice_waits_while_the_opposite_position_is_closed(feed: Feed) -> None:
    buy, sell = late_sell(feed)
    factories.close_signal(sell)
    factories.claim_all()
    factories.pass_time(20)
    refresh()
    assert factories.claim_all() == []
    assert entries(buy)[1] == ("entry-2", "PENDING", "OPPOSITE_CLOSING")
    factories.apply(factories.fill_report(Order.objects.get(leg="close-1"), 90, "closed"))
    factories.pass_time(1)
    refresh()
    factories.fill_all()
    assert entries(buy)[1] == ("entry-2", "FILLED", "")
