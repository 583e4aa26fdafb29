"""Stops and targets that rest at an exchange, as orders of one position each."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal as D

import pytest

from brokers.base import NotSent, OutcomeUnknown, Rejected
from brokers.crypto.level_orders import (
    Action,
    Leg,
    LevelName,
    LevelOrder,
    held_levels,
    plan,
)
from brokers.types import (
    CloseCause,
    HeldLevels,
    ModifyRequest,
    OrderReport,
    OrderRequest,
    OrderType,
    ReportKind,
    Side,
)
from common.clocks import machine_time, market_now
from common.reason_codes import Code
from tests.crypto.factories import ExchangeAccount, close, open_account
from tests.fakes.exchange.actions import move_price
from tests.fakes.exchange.model import Fault, Order
from tests.sampling import exhaustive

EXCHANGES = ["bybit", exhaustive("okx"), exhaustive("binance")]


@pytest.fixture(params=EXCHANGES)
def trader(request: pytest.FixtureRequest) -> Iterator[ExchangeAccount]:
    """An account that trades perpetuals where levels rest at the exchange."""
    account = open_account(request.param, swap=True, reply_timeout=1.0)
    account.load_markets()
    yield account
    close(account)


def modify(
    account: ExchangeAccount, entry: OrderRequest, stop: str | None, target: str | None = None,
    quantity: str = "0.5", adapter: object = None, send_by: float | None = None,
) -> list[OrderReport]:  # fmt: skip
    request = ModifyRequest(
        entry.client_order_id, account.symbol, account.symbol, D(stop) if stop else None,
        D(target) if target else None, D(quantity), send_by,
    )  # fmt: skip
    chosen = adapter or account.adapter
    return account.run(chosen.modify(account.spec, request))  # type: ignore[attr-defined]


def levels(account: ExchangeAccount) -> list[Order]:
    """Return the levels that wait at the exchange."""
    return [one for one in account.venue.orders if one.is_level and one.is_untriggered]


def terms(account: ExchangeAccount) -> list[tuple[D | None, D]]:
    size = account.venue.markets[account.exchange_symbol].contract_size
    return sorted((one.trigger or D(0), one.amount * size) for one in levels(account))


def buy(account: ExchangeAccount, **changes: object) -> OrderRequest:
    entry = account.order(**changes)
    account.submit(entry)
    return entry


def level_exits(account: ExchangeAccount) -> list[OrderReport]:
    since = market_now() - timedelta(hours=1)
    found = account.run(account.adapter.fills_since(account.spec, since))
    return [one for one in found if one.close_cause is not None]


# ---- placed ----------------------------------------------------------------------------------
def test_entrys_levels_rest_at_the_exchange_before_its_outcome_is_returned(
    trader: ExchangeAccount,
) -> None:
    entry = trader.order(stop_loss=D(45000), take_profit=D(55000))
    reports = trader.submit(entry)
    held = [one.levels for one in reports if one.kind is ReportKind.LEVELS]
    assert held == [HeldLevels(D(45000), D(55000), D("0.5"))]
    assert terms(trader) == [(D(45000), D("0.5")), (D(55000), D("0.5"))]
    assert all(one.side == "SELL" and one.reduce_only for one in levels(trader))
    (position,) = trader.run(trader.adapter.positions(trader.spec))
    assert position.entry_levels == {entry.client_order_id: held[0]}
    assert trader.run(trader.adapter.open_orders(trader.spec)) == []


def test_levels_of_a_limit_order_follow_its_fill(trader: ExchangeAccount) -> None:
    entry = buy(trader, limit_price=D(49000), stop_loss=D(45000))
    assert levels(trader) == []  # a stop without a position would open one
    move_price(trader.venue, trader.exchange_symbol, D(49000))
    (report,) = modify(trader, entry, "45000")
    assert report.levels == HeldLevels(D(45000), None, D("0.5"))


def test_stop_of_a_short_position_triggers_above(trader: ExchangeAccount) -> None:
    entry = buy(trader, side=Side.SELL, stop_loss=D(55000), take_profit=D(45000))
    assert [one.side for one in levels(trader)] == ["BUY", "BUY"]
    move_price(trader.venue, trader.exchange_symbol, D(55000))
    (exit_,) = level_exits(trader)
    assert (exit_.client_order_id, exit_.close_cause) == (
        entry.client_order_id, CloseCause.STOP_LOSS,
    )  # fmt: skip


def test_reached_stop_is_refused_with_its_code_and_nothing_else_changes(
    trader: ExchangeAccount,
) -> None:
    entry = buy(trader, stop_loss=D(45000), take_profit=D(55000))
    with pytest.raises(Rejected) as refused:
        modify(trader, entry, "50500", None)
    assert refused.value.code is Code.STOPS_INVALID
    assert terms(trader) == [(D(45000), D("0.5")), (D(55000), D("0.5"))]
    lost = trader.order(stop_loss=D(50500))
    reports = trader.submit(lost)
    assert [(one.code, one.stop_loss) for one in reports if one.kind is ReportKind.LEVELS] == [
        (Code.STOPS_INVALID, None)
    ]


def test_too_many_conditional_orders_are_refused_with_the_code_of_levels(
    trader: ExchangeAccount,
) -> None:
    trader.venue.max_conditional = 1
    (report,) = [
        one
        for one in trader.submit(trader.order(stop_loss=D(45000), take_profit=D(55000)))
        if one.kind is ReportKind.LEVELS
    ]
    # The stop has the place; we watch the target.
    assert (report.code, report.stop_loss, report.take_profit) == (
        Code.STOPS_INVALID, D(45000), None,
    )  # fmt: skip


def test_levels_are_placed_when_the_fill_is_listed_late(trader: ExchangeAccount) -> None:
    reads = 4 if trader.spec.exchange_name == "bybit" else 1  # of one look-up
    trader.venue.hidden_lookups = reads
    reports = trader.submit(trader.order(stop_loss=D(45000)))
    assert [one.stop_loss for one in reports if one.kind is ReportKind.LEVELS] == [D(45000)]
    assert any(report.fills for report in reports)


# ---- lost answers ----------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["drop_after", "reset_after", "torn"])
def test_stop_with_a_lost_answer_is_read_and_not_placed_again(
    trader: ExchangeAccount, kind: str
) -> None:
    entry = buy(trader)
    trader.venue.faults.append(Fault(kind, on="level"))
    with pytest.raises(OutcomeUnknown):
        modify(trader, entry, "45000")
    (report,) = modify(trader, entry, "45000")
    assert report.levels == HeldLevels(D(45000), None, D("0.5"))
    assert len([one for one in trader.venue.orders if one.is_level]) == 1


def test_stop_that_was_lost_on_the_way_is_placed(trader: ExchangeAccount) -> None:
    entry = buy(trader)
    trader.venue.faults.append(Fault("drop", on="level"))
    with pytest.raises(OutcomeUnknown):
        modify(trader, entry, "45000")
    modify(trader, entry, "45000")
    assert terms(trader) == [(D(45000), D("0.5"))]


def test_stop_that_is_not_listed_yet_is_not_placed_twice_by_another_process(
    trader: ExchangeAccount,
) -> None:
    """The name is the same, so the exchange refuses the second one."""
    entry = buy(trader)
    trader.venue.faults.append(Fault("drop_after", on="level"))
    with pytest.raises(OutcomeUnknown):
        modify(trader, entry, "45000")
    trader.venue.hides_levels = True
    other = trader.new_adapter()
    with pytest.raises((OutcomeUnknown, NotSent)):
        modify(trader, entry, "45000", adapter=other)
    trader.venue.hides_levels = False
    modify(trader, entry, "45000", adapter=other)
    trader.run(other.disconnect())
    assert len([one for one in trader.venue.orders if one.is_level]) == 1


def test_moved_stop_with_a_lost_answer_is_read(trader: ExchangeAccount) -> None:
    entry = buy(trader, stop_loss=D(45000))
    trader.venue.faults.append(Fault("drop_after", on="level"))
    with pytest.raises(OutcomeUnknown):
        modify(trader, entry, "46000")
    (report,) = modify(trader, entry, "46000")
    assert report.stop_loss == D(46000)
    assert terms(trader) == [(D(46000), D("0.5"))]


def test_change_past_its_deadline_is_not_sent(trader: ExchangeAccount) -> None:
    entry = buy(trader, stop_loss=D(45000))
    with pytest.raises(NotSent) as refused:
        modify(trader, entry, "46000", send_by=machine_time() - 1)
    assert refused.value.code is Code.SEND_DEADLINE
    assert terms(trader) == [(D(45000), D("0.5"))]


# ---- moved, resized, removed -----------------------------------------------------------------
def test_level_is_resized_for_what_is_left(trader: ExchangeAccount) -> None:
    entry = buy(trader, stop_loss=D(45000), take_profit=D(55000))
    (report,) = modify(trader, entry, "45000", "55000", quantity="0.2")
    assert report.protected == D("0.2")
    assert terms(trader) == [(D(45000), D("0.2")), (D(55000), D("0.2"))]


def test_removed_levels_are_placed_again_under_another_name(trader: ExchangeAccount) -> None:
    entry = buy(trader, stop_loss=D(45000))
    modify(trader, entry, None)
    assert levels(trader) == []
    for adapter in (trader.adapter, trader.new_adapter()):  # with and without its memory
        modify(trader, entry, "45000", adapter=adapter)
        assert terms(trader) == [(D(45000), D("0.5"))]
        modify(trader, entry, None, adapter=adapter)
    trader.run(adapter.disconnect())


def test_exit_removes_the_levels_of_what_it_has_closed(trader: ExchangeAccount) -> None:
    entry = buy(trader, stop_loss=D(45000), take_profit=D(55000))
    trader.submit(trader.order(side=Side.SELL, reduce_only=True, closes=entry.client_order_id))
    assert levels(trader) == []


def test_two_positions_of_a_symbol_have_separate_stops(trader: ExchangeAccount) -> None:
    first = buy(trader, stop_loss=D(45000))
    second = buy(trader, stop_loss=D(40000), quantity=D("0.3"))
    (position,) = trader.run(trader.adapter.positions(trader.spec))
    assert position.levels is None  # they are of two entries
    assert position.entry_levels == {
        first.client_order_id: HeldLevels(D(45000), None, D("0.5")),
        second.client_order_id: HeldLevels(D(40000), None, D("0.3")),
    }
    move_price(trader.venue, trader.exchange_symbol, D(44000))
    (position,) = trader.run(trader.adapter.positions(trader.spec))
    assert position.quantity == D("0.3")
    (exit_,) = level_exits(trader)
    assert exit_.client_order_id == first.client_order_id
    assert sum(fill.quantity for fill in exit_.fills) == D("0.5")


def test_executed_stop_is_not_placed_again_before_its_execution_is_known(
    trader: ExchangeAccount,
) -> None:
    """Another one could close what belongs to another position of the symbol."""
    first = buy(trader, stop_loss=D(45000))
    buy(trader, quantity=D("0.3"))
    move_price(trader.venue, trader.exchange_symbol, D(44000))
    with pytest.raises(NotSent) as refused:
        modify(trader, first, "43000")
    assert refused.value.code is Code.NO_POSITION
    assert levels(trader) == []


def test_level_without_a_position_is_an_order_and_can_be_removed(
    trader: ExchangeAccount,
) -> None:
    entry = buy(trader, stop_loss=D(45000), take_profit=D(55000))
    move_price(trader.venue, trader.exchange_symbol, D(44000))  # the target is left
    (left,) = trader.run(trader.adapter.open_orders(trader.spec))
    assert (left.level_of, left.stop_price, left.order_type) == (
        entry.client_order_id, D(55000), OrderType.STOP,
    )  # fmt: skip
    (report,) = modify(trader, entry, None)
    assert report.levels == HeldLevels(None, None)
    assert trader.run(trader.adapter.open_orders(trader.spec)) == []


def test_stop_that_is_larger_than_the_position_never_reverses_it(
    trader: ExchangeAccount,
) -> None:
    entry = buy(trader, stop_loss=D(45000))
    trader.submit(trader.order(side=Side.SELL, quantity=D("0.3"), reduce_only=True))
    move_price(trader.venue, trader.exchange_symbol, D(44000))
    assert trader.run(trader.adapter.positions(trader.spec)) == []
    exits = [one for one in level_exits(trader) if one.client_order_id == entry.client_order_id]
    assert [fill.quantity for one in exits for fill in one.fills] == [D("0.2")]


def test_more_orders_than_a_page_are_read_completely(trader: ExchangeAccount) -> None:
    for n in range(60):
        trader.venue.place(trader.exchange_symbol, "BUY", "LIMIT", D(1), D(1000 + n))
    assert len(trader.run(trader.adapter.open_orders(trader.spec))) == 60


# ---- pure ------------------------------------------------------------------------------------
def level(leg: Leg, number: int, price: int, quantity: str = "1") -> LevelOrder:
    return LevelOrder(LevelName("a" * 18, leg, number), "X", Side.SELL, D(price), D(quantity))


def steps(live: list[LevelOrder], stop: int | None, *, amends: bool) -> list[tuple[str, str]]:
    wanted = {Leg.STOP: D(stop) if stop else None, Leg.TARGET: None}
    return [
        (step.action.value, str(step.order.name.number) if step.order else "")
        for step in plan(live, wanted, D(1), amends=amends)
    ]


def test_plan_amends_or_places_before_it_cancels() -> None:
    old, new = level(Leg.STOP, 0, 90), level(Leg.STOP, 1, 95)
    assert steps([], 95, amends=True) == [(Action.PLACE, "")]
    assert steps([old], 95, amends=True) == [(Action.AMEND, "0")]
    assert steps([old], 95, amends=False) == [(Action.PLACE, "")]
    assert steps([old, new], 95, amends=False) == [(Action.CANCEL, "0")]
    assert steps([new], 95, amends=False) == []
    assert steps([old, new], None, amends=True) == [(Action.CANCEL, "1"), (Action.CANCEL, "0")]


def test_two_stops_of_a_position_are_a_difference() -> None:
    assert held_levels([level(Leg.STOP, 0, 90), level(Leg.STOP, 1, 95)]).protected == D(2)
    assert held_levels([level(Leg.TARGET, 0, 110)]).protected == D(1)
    assert held_levels([]) == HeldLevels(None, None)


def test_names_are_of_one_entry() -> None:
    name = LevelName("abc000000000000010", Leg.TARGET, 12)
    assert LevelName.read(str(name)) == name
    assert LevelName.read("abc000000000000010") is None
    assert len(str(LevelName("a" * 18, Leg.STOP, 9999))) <= 32  # OKX's limit
