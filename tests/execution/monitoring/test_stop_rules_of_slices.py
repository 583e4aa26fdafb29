"""Break-even and trailing rules of a position that grows slice by slice."""

from decimal import Decimal as D
from typing import Any

import pytest

from connections.models import ExecutionConnection
from execution.models import Order
from execution.monitoring.stop_rules import StopRuleMonitor, judge_due
from execution.services import modify_position
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.monitoring.test_stop_rules import let_move, quotes_of, rule_of, stop_of
from tests.execution.monitoring.test_tick_monitor import source
from tests.execution.submission.test_slices import TWAP, refresh

pytestmark = pytest.mark.usefixtures("inline_commits")


@pytest.fixture
def account(feed: Feed, broker: FakeBroker) -> ExecutionConnection:
    return factories.account(feed, preset_fixed_quantity=D(90), snapshot_position_mode="NETTING")


def entered(feed: Feed, **rule: Any) -> ExecutionPosition:
    """30 of 90 at 1.1, with a stop at 1.09, its rule judged."""
    position = factories.filled(factories.signal(feed, **TWAP, **rule))
    judge_due()
    return position


def see(account: ExecutionConnection, *bids: str) -> None:
    StopRuleMonitor().process_quotes(source(account), quotes_of(*bids))
    factories.quote(account, bids[-1])


def grow(position: ExecutionPosition, bid: str) -> D:
    """Fill the next slice at the ask of this bid; return the new average."""
    factories.pass_time(20)
    refresh(bid=bid)
    (outgoing,) = factories.claim_all()
    order = Order.objects.get(pk=outgoing.request.order_id)
    price = D(bid) + D("0.0001")
    factories.apply(factories.fill_report(order, 30, f"fill-{order.pk}", price=price))
    let_move(position)
    judge_due()
    position.refresh_from_db()
    average: D = position.entry_price
    return average


def test_break_even_counts_from_the_average_of_all_slices(
    feed: Feed, account: ExecutionConnection
) -> None:
    position = entered(feed, break_even_profit=D(20))
    see(account, "1.10199")
    assert grow(position, "1.1015") == D("1.1008")
    see(account, "1.10279")
    assert stop_of(position) == D("1.09")
    see(account, "1.1028")
    assert stop_of(position) == D("1.1008")


def test_break_even_is_repeated_for_the_average_of_a_later_slice(
    feed: Feed, account: ExecutionConnection
) -> None:
    position = entered(feed, break_even_profit=D(20))
    see(account, "1.102")
    assert stop_of(position) == D("1.1")
    assert grow(position, "1.1039") == D("1.102")
    assert stop_of(position) == D("1.1")  # the profit of the whole is 19 pips
    see(account, "1.1040")
    assert stop_of(position) == D("1.102")
    assert rule_of(position).moves == 2


def test_price_before_a_slice_puts_no_stop_beyond_the_market(
    feed: Feed, account: ExecutionConnection
) -> None:
    """The best price of before has the profit of the new average; the price of now has not."""
    position = entered(feed, break_even_profit=D(20), trailing_distance=D(10),
                       trailing_activation=D(20))  # fmt: skip
    see(account, "1.1018")
    assert grow(position, "1.0989") == D("1.0995")
    assert stop_of(position) == D("1.09")
    see(account, "1.1015")
    assert stop_of(position) == D("1.1005")  # 10 pips behind


def test_break_even_is_not_repeated_where_a_person_has_set_the_stop(
    feed: Feed, account: ExecutionConnection
) -> None:
    position = entered(feed, break_even_profit=D(20))
    see(account, "1.102")
    modify_position(position.pk, stop_loss=D("1.095"), take_profit=None)
    judge_due()
    grow(position, "1.1039")
    see(account, "1.11")
    assert stop_of(position) == D("1.095")


def test_break_even_by_a_target_is_not_repeated(feed: Feed, account: ExecutionConnection) -> None:
    position = entered(feed, target_prices=[D("1.103"), D("1.2")],
                       target_fractions=[D("0.5"), D("0.5")], break_even_target=1,
                       break_even_profit=D(50))  # fmt: skip
    see(account, "1.102")
    ExecutionPosition.objects.update(tp_number=2)
    judge_due()
    assert stop_of(position) == D("1.1")
    assert grow(position, "1.1019") == D("1.101")
    see(account, "1.104")
    assert stop_of(position) == D("1.1")


def test_stop_goes_on_trailing_when_a_slice_fills(feed: Feed, account: ExecutionConnection) -> None:
    position = entered(feed, trailing_distance=D(30), trailing_step=D(5))
    let_move(position)
    see(account, "1.105", "1.104")
    assert stop_of(position) == D("1.102")
    grow(position, "1.103")
    assert stop_of(position) == D("1.102")
    see(account, "1.1054")
    assert stop_of(position) == D("1.102")
    see(account, "1.1055")
    assert stop_of(position) == D("1.1025")
    assert rule_of(position).water_mark == D("1.1055")
    position.refresh_from_db()
    assert (position.quantity, position.sl_guardian) == (60, "ENGINE")
