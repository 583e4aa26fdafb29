"""Stops and targets of spot positions that rest at an exchange and reserve the coins."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal as D

import pytest

from brokers.base import NotSent, OutcomeUnknown, Rejected
from brokers.crypto.adapter import CryptoAdapter
from brokers.crypto.level_orders import Leg, LevelName, LevelOrder, plan_pair
from brokers.types import CloseCause, HeldLevels, ModifyRequest, OrderReport, OrderRequest, Side
from brokers.types import ReportKind as Kind
from common.clocks import machine_time, market_now
from common.reason_codes import Code
from tests.crypto.factories import ExchangeAccount, close, open_account
from tests.fakes.exchange.actions import close_by_hand, move_price
from tests.fakes.exchange.model import Fault, Order
from tests.sampling import exhaustive

EXCHANGES = [exhaustive("binance"), "okx"]
NONE = HeldLevels(None, None)


@pytest.fixture(params=EXCHANGES)
def trader(request: pytest.FixtureRequest) -> Iterator[ExchangeAccount]:
    """A spot account whose levels rest at the exchange."""
    account = open_account(request.param, reply_timeout=1.0)
    account.load_markets()
    yield account
    close(account)


def modify(
    account: ExchangeAccount, entry: OrderRequest, stop: str | None, target: str | None = None,
    quantity: str = "0.5", adapter: CryptoAdapter | None = None, send_by: float | None = None,
) -> OrderReport:  # fmt: skip
    request = ModifyRequest(
        entry.client_order_id, account.symbol, account.symbol, D(stop) if stop else None,
        D(target) if target else None, D(quantity), send_by,
    )  # fmt: skip
    (report,) = account.run((adapter or account.adapter).modify(account.spec, request))
    return report


def levels(account: ExchangeAccount) -> list[Order]:
    return [one for one in account.venue.orders if one.is_level and one.is_untriggered]


def terms(account: ExchangeAccount) -> list[tuple[D | None, D]]:
    return sorted((one.trigger or D(0), one.amount) for one in levels(account))


def placed(account: ExchangeAccount) -> list[str]:
    """Return the names of all levels that were ever accepted; OKX has one name for a pair."""
    return [one.cid for one in account.venue.orders if one.is_level and one.cid]


def buy(account: ExchangeAccount, **changes: object) -> OrderRequest:
    entry = account.order(**changes)
    account.submit(entry)
    return entry


def sell(account: ExchangeAccount, quantity: str, closes: OrderRequest) -> list[OrderReport]:
    return account.submit(
        account.order(
            side=Side.SELL, quantity=D(quantity), reduce_only=True, closes=closes.client_order_id
        )
    )


def level_exits(account: ExchangeAccount) -> list[OrderReport]:
    since = market_now() - timedelta(hours=1)
    found = account.run(account.adapter.fills_since(account.spec, since))
    return [one for one in found if one.close_cause is not None]


def coins(account: ExchangeAccount) -> tuple[D, D]:
    """Return the balance of the coin and what of it is reserved."""
    return account.venue.balances.get("BTC", D(0)), account.venue.locked("BTC")


# ---- placed ----------------------------------------------------------------------------------
def test_entrys_levels_rest_as_a_pair_before_its_outcome_is_returned(
    trader: ExchangeAccount,
) -> None:
    entry = trader.order(stop_loss=D(45000), take_profit=D(55000))
    reports = trader.submit(entry)
    held = [one.levels for one in reports if one.kind is Kind.LEVELS]
    assert held == [HeldLevels(D(45000), D(55000), D("0.5"))]
    assert terms(trader) == [(D(45000), D("0.5")), (D(55000), D("0.5"))]
    if trader.venue.reserves_for_levels:
        assert coins(trader) == (D("0.5"), D("0.5"))  # once
    (position,) = trader.run(trader.adapter.positions(trader.spec))
    assert (position.quantity, position.entry_levels) == (
        D("0.5"), {entry.client_order_id: held[0]},
    )  # fmt: skip
    assert trader.run(trader.adapter.open_orders(trader.spec)) == []


@pytest.mark.parametrize(("stop", "target"), [(45000, None), (None, 55000)])
def test_single_level_is_one_order(
    trader: ExchangeAccount, stop: int | None, target: int | None
) -> None:
    levels_asked = {"stop_loss": stop and D(stop), "take_profit": target and D(target)}
    buy(trader, **levels_asked)
    (order,) = levels(trader)
    assert (order.trigger, order.side, order.pair) == (D(stop or target or 0), "SELL", 0)


def test_level_is_for_whole_steps_of_what_is_left_after_fees_in_the_coin(
    trader: ExchangeAccount,
) -> None:
    trader.venue.fee_rate, trader.venue.fee_in_base = D("0.001"), True
    reports = trader.submit(trader.order(stop_loss=D(45000), take_profit=D(55000)))
    assert [one.amount for one in levels(trader)] == [D("0.499")] * 2
    (held,) = [one.levels for one in reports if one.kind is Kind.LEVELS]
    assert held == HeldLevels(D(45000), D(55000), D("0.499"))


def test_levels_of_a_limit_order_follow_its_fill(trader: ExchangeAccount) -> None:
    entry = buy(trader, limit_price=D(49000), stop_loss=D(45000))
    assert levels(trader) == []
    with pytest.raises(Rejected) as refused:
        modify(trader, entry, "45000")
    assert refused.value.code is Code.NO_POSITION
    move_price(trader.venue, trader.exchange_symbol, D(49000))
    assert modify(trader, entry, "45000").levels == HeldLevels(D(45000), None, D("0.5"))


def test_reached_stop_is_refused_with_its_code_and_the_old_pair_stays(
    trader: ExchangeAccount,
) -> None:
    entry = buy(trader, stop_loss=D(45000), take_profit=D(55000))
    for stop, target in (("50500", None), ("45500", "49000")):
        with pytest.raises(Rejected) as refused:
            modify(trader, entry, stop, target)
        assert refused.value.code is Code.STOPS_INVALID
    assert terms(trader) == [(D(45000), D("0.5")), (D(55000), D("0.5"))]
    reports = trader.submit(trader.order(stop_loss=D(50500)))
    assert [(one.code, one.stop_loss) for one in reports if one.kind is Kind.LEVELS] == [
        (Code.STOPS_INVALID, None)
    ]


def test_refusal_after_the_old_pair_was_cancelled_is_reported_as_it_is(
    trader: ExchangeAccount,
) -> None:
    """The engine then guards both levels, also the one that was not moved."""
    entry = buy(trader, stop_loss=D(45000), take_profit=D(55000))
    trader.venue.max_conditional = 0
    report = modify(trader, entry, "46000", "55000")
    assert (report.levels, report.code) == (NONE, Code.STOPS_INVALID)
    assert levels(trader) == []


def test_level_below_the_markets_minimum_is_guarded_by_us(trader: ExchangeAccount) -> None:
    entry = buy(trader)
    for quantity in ("0.0004", "0"):
        with pytest.raises(Rejected) as refused:
            modify(trader, entry, "45000", quantity=quantity)
        assert refused.value.code is Code.STOPS_INVALID
    assert levels(trader) == []


# ---- lost answers ----------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["drop_after", "reset_after", "torn"])
@pytest.mark.parametrize("target", [None, "55000"])
def test_levels_with_a_lost_answer_are_read_and_not_placed_again(
    trader: ExchangeAccount, kind: str, target: str | None
) -> None:
    entry = buy(trader)
    trader.venue.faults.append(Fault(kind, on="level"))
    with pytest.raises(OutcomeUnknown):
        modify(trader, entry, "45000", target)
    report = modify(trader, entry, "45000", target)
    assert report.levels == HeldLevels(D(45000), D(target) if target else None, D("0.5"))
    assert len([one for one in trader.venue.orders if one.is_level]) == (2 if target else 1)


def test_levels_that_were_lost_on_the_way_are_placed(trader: ExchangeAccount) -> None:
    entry = buy(trader)
    trader.venue.faults.append(Fault("drop", on="level"))
    with pytest.raises(OutcomeUnknown):
        modify(trader, entry, "45000", "55000")
    modify(trader, entry, "45000", "55000")
    assert terms(trader) == [(D(45000), D("0.5")), (D(55000), D("0.5"))]


def test_pair_that_is_not_listed_yet_is_not_placed_twice_by_another_process(
    trader: ExchangeAccount,
) -> None:
    entry = buy(trader)
    with trader.venue.lock:  # coins enough for a second pair
        trader.venue.balances["BTC"] += D(1)
    trader.venue.faults.append(Fault("drop_after", on="level"))
    with pytest.raises(OutcomeUnknown):
        modify(trader, entry, "45000", "55000")
    trader.venue.hides_levels = True
    other = trader.new_adapter()
    with pytest.raises((OutcomeUnknown, NotSent)):
        modify(trader, entry, "45000", "55000", adapter=other)
    trader.venue.hides_levels = False
    modify(trader, entry, "45000", "55000", adapter=other)
    trader.run(other.disconnect())
    assert len(levels(trader)) == 2


@pytest.mark.parametrize("kind", ["drop_after", "drop"])
def test_cancel_with_a_lost_answer_is_settled_before_the_new_pair(
    trader: ExchangeAccount, kind: str
) -> None:
    entry = buy(trader, stop_loss=D(45000), take_profit=D(55000))
    trader.venue.faults.append(Fault(kind, on="cancel"))
    with suppress(OutcomeUnknown):  # Binance's is repeated at once: HTTP's DELETE may be
        modify(trader, entry, "46000", "55000")
    assert modify(trader, entry, "46000", "55000").stop_loss == D(46000)
    assert terms(trader) == [(D(46000), D("0.5")), (D(55000), D("0.5"))]


def test_pair_that_is_lost_after_the_old_one_went_is_placed_by_the_next_change(
    trader: ExchangeAccount,
) -> None:
    entry = buy(trader, stop_loss=D(45000), take_profit=D(55000))
    trader.venue.faults.append(Fault("drop", on="level"))
    with pytest.raises(OutcomeUnknown):
        modify(trader, entry, "46000", "55000")
    assert levels(trader) == []
    other = trader.new_adapter()  # of another process: ours was killed
    assert modify(trader, entry, "46000", "55000", adapter=other).stop_loss == D(46000)
    trader.run(other.disconnect())


def test_removal_is_not_confirmed_while_a_level_may_still_arrive(trader: ExchangeAccount) -> None:
    """An exit would be refused, because the level reserves its coins."""
    entry = buy(trader)
    trader.venue.faults.append(Fault("drop", on="level"))
    with pytest.raises(OutcomeUnknown):
        modify(trader, entry, "45000")
    with pytest.raises(OutcomeUnknown) as unknown:
        modify(trader, entry, None)
    assert "may still arrive" in unknown.value.detail


def test_change_past_its_deadline_is_not_sent(trader: ExchangeAccount) -> None:
    entry = buy(trader, stop_loss=D(45000))
    with pytest.raises(NotSent) as refused:
        modify(trader, entry, "46000", send_by=machine_time() - 1)
    assert refused.value.code is Code.SEND_DEADLINE
    assert terms(trader) == [(D(45000), D("0.5"))]


# ---- moved, resized, removed -----------------------------------------------------------------
def test_pair_is_moved_resized_and_reduced_to_one_level(trader: ExchangeAccount) -> None:
    entry = buy(trader, stop_loss=D(45000), take_profit=D(55000))
    modify(trader, entry, "46000", "55000")
    assert terms(trader) == [(D(46000), D("0.5")), (D(55000), D("0.5"))]
    assert modify(trader, entry, "46000", "55000", quantity="0.2").protected == D("0.2")
    assert [one.amount for one in levels(trader)] == [D("0.2")] * 2
    modify(trader, entry, "46000", quantity="0.2")
    assert terms(trader) == [(D(46000), D("0.2"))]
    writes = len(trader.venue.writes)
    modify(trader, entry, "46000", quantity="0.2")
    assert len(trader.venue.writes) == writes  # nothing differs


def test_removed_levels_are_placed_again_under_another_number(trader: ExchangeAccount) -> None:
    entry = buy(trader, stop_loss=D(45000), take_profit=D(55000))
    for adapter in (trader.adapter, trader.new_adapter()):  # with and without its memory
        for _ in range(5):
            modify(trader, entry, None, adapter=adapter)
            modify(trader, entry, "45000", "55000", adapter=adapter)
        assert terms(trader) == [(D(45000), D("0.5")), (D(55000), D("0.5"))]
    trader.run(adapter.disconnect())
    assert len(set(placed(trader))) == len(placed(trader)) >= 11  # no name twice


def test_exit_is_sent_when_the_levels_are_removed(trader: ExchangeAccount) -> None:
    entry = buy(trader, stop_loss=D(45000), take_profit=D(55000))
    assert modify(trader, entry, None).levels == NONE
    sell(trader, "0.5", closes=entry)
    assert trader.run(trader.adapter.positions(trader.spec)) == []


# ---- executed --------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("price", "cause"), [(44000, CloseCause.STOP_LOSS), (56000, CloseCause.TAKE_PROFIT)]
)
def test_executed_level_ends_the_other_one_and_is_reported_with_its_entry(
    trader: ExchangeAccount, price: int, cause: CloseCause
) -> None:
    entry = buy(trader, stop_loss=D(45000), take_profit=D(55000))
    move_price(trader.venue, trader.exchange_symbol, D(price))
    (exit_,) = level_exits(trader)
    assert (exit_.client_order_id, exit_.close_cause) == (entry.client_order_id, cause)
    assert [(fill.quantity, fill.price) for fill in exit_.fills] == [(D("0.5"), D(price))]
    assert levels(trader) == []
    assert coins(trader) == (D(0), D(0))


def test_two_positions_of_a_symbol_have_separate_levels(trader: ExchangeAccount) -> None:
    first = buy(trader, stop_loss=D(45000), take_profit=D(55000))
    second = buy(trader, stop_loss=D(40000), quantity=D("0.3"))
    (position,) = trader.run(trader.adapter.positions(trader.spec))
    assert position.levels is None  # they are of two entries
    assert position.entry_levels == {
        first.client_order_id: HeldLevels(D(45000), D(55000), D("0.5")),
        second.client_order_id: HeldLevels(D(40000), None, D("0.3")),
    }
    move_price(trader.venue, trader.exchange_symbol, D(44000))
    assert terms(trader) == [(D(40000), D("0.3"))]
    (exit_,) = level_exits(trader)
    assert exit_.client_order_id == first.client_order_id
    assert sum(fill.quantity for fill in exit_.fills) == D("0.5")


@pytest.mark.parametrize("has_other_coins", [False, True])
def test_executed_stop_is_not_placed_again_before_its_execution_is_known(
    trader: ExchangeAccount, has_other_coins: bool
) -> None:
    """Another one would sell what belongs to another position of the symbol."""
    first = buy(trader, stop_loss=D(45000), take_profit=D(55000))
    if has_other_coins:
        buy(trader, quantity=D(1))
    move_price(trader.venue, trader.exchange_symbol, D(44000))
    with pytest.raises((NotSent, Rejected)) as refused:
        modify(trader, first, "43000", "55000")
    assert refused.value.code is Code.NO_POSITION
    assert levels(trader) == []


def test_stop_that_is_executed_while_it_is_moved_is_not_replaced(trader: ExchangeAccount) -> None:
    entry = buy(trader, stop_loss=D(45000), take_profit=D(55000))
    buy(trader, quantity=D(1))  # coins of another position
    trader.venue.fills_before_cancel = True
    with pytest.raises(OutcomeUnknown) as unknown:
        modify(trader, entry, "46000", "55000")
    assert unknown.value.code is Code.NO_POSITION
    assert levels(trader) == []
    assert coins(trader) == (D(1), D(0))


def test_stop_that_is_executed_while_it_is_removed_leaves_nothing_to_sell(
    trader: ExchangeAccount,
) -> None:
    entry = buy(trader, stop_loss=D(45000), take_profit=D(55000))
    trader.venue.fills_before_cancel = True
    assert modify(trader, entry, None).levels == NONE
    assert trader.run(trader.adapter.positions(trader.spec)) == []
    assert [one.close_cause for one in level_exits(trader)] == [CloseCause.STOP_LOSS]


def test_half_executed_stop_is_placed_again_for_what_is_left(trader: ExchangeAccount) -> None:
    entry = buy(trader, stop_loss=D(45000), take_profit=D(55000))
    trader.venue.fill_share = D("0.5")  # the book has no more: the rest of the stop ends
    move_price(trader.venue, trader.exchange_symbol, D(44000))
    trader.venue.fill_share = D(1)
    assert levels(trader) == []
    with pytest.raises(NotSent):  # the caller does not know the execution yet
        modify(trader, entry, "43000", "55000")
    assert modify(trader, entry, "43000", "55000", quantity="0.25").protected == D("0.25")


# ---- OKX reserves nothing --------------------------------------------------------------------
@pytest.fixture
def okx() -> Iterator[ExchangeAccount]:
    account = open_account("okx", reply_timeout=1.0)
    yield account
    close(account)


def test_level_that_outlived_its_position_is_an_order_and_can_be_removed(
    okx: ExchangeAccount,
) -> None:
    """Its owner has sold by hand; it would sell what another position buys."""
    entry = buy(okx, stop_loss=D(45000), take_profit=D(55000))
    close_by_hand(okx.venue, okx.exchange_symbol)
    found = okx.run(okx.adapter.open_orders(okx.spec))
    assert {one.level_of for one in found} == {entry.client_order_id}
    assert modify(okx, entry, None).levels == NONE
    assert okx.run(okx.adapter.open_orders(okx.spec)) == []


def test_level_beside_another_position_is_listed_with_its_own_entry(okx: ExchangeAccount) -> None:
    entry = buy(okx, stop_loss=D(45000))
    close_by_hand(okx.venue, okx.exchange_symbol)
    buy(okx, quantity=D("0.3"))
    (position,) = okx.run(okx.adapter.positions(okx.spec))
    assert position.entry_levels == {entry.client_order_id: HeldLevels(D(45000), None, D("0.5"))}


def test_level_that_finds_no_coins_sells_nothing_and_can_be_placed_again(
    okx: ExchangeAccount,
) -> None:
    entry = buy(okx, stop_loss=D(45000), take_profit=D(55000))
    close_by_hand(okx.venue, okx.exchange_symbol)
    move_price(okx.venue, okx.exchange_symbol, D(44000))
    assert [one.close_cause for one in level_exits(okx)] == [CloseCause.EXTERNAL]
    buy(okx)
    assert modify(okx, entry, "43000").stop_loss == D(43000)


# ---- Binance's own rules ---------------------------------------------------------------------
@pytest.fixture
def binance() -> Iterator[ExchangeAccount]:
    account = open_account("binance", reply_timeout=1.0)
    yield account
    close(account)


def test_coins_that_another_order_reserves_are_no_reason_to_give_the_level_up(
    binance: ExchangeAccount,
) -> None:
    entry = buy(binance)
    with binance.venue.lock:
        theirs = binance.venue.place(binance.exchange_symbol, "SELL", "LIMIT", D("0.5"), D(60000))
    with pytest.raises(Rejected) as refused:
        modify(binance, entry, "45000")
    assert refused.value.code is Code.NO_MONEY
    binance.venue.cancel(theirs)
    assert modify(binance, entry, "45000").stop_loss == D(45000)


def test_exit_is_refused_while_the_stop_rests_and_sent_when_it_is_removed(
    binance: ExchangeAccount,
) -> None:
    entry = buy(binance, stop_loss=D(45000), take_profit=D(55000))
    with pytest.raises(Rejected) as refused:
        sell(binance, "0.5", closes=entry)
    assert refused.value.code is Code.NO_MONEY
    assert modify(binance, entry, None).levels == NONE
    sell(binance, "0.5", closes=entry)
    assert binance.run(binance.adapter.positions(binance.spec)) == []


def test_target_is_guarded_by_us_where_the_symbol_takes_none(binance: ExchangeAccount) -> None:
    binance.venue.takes_levels = ("STOP_LOSS",)
    reports = binance.submit(binance.order(stop_loss=D(45000), take_profit=D(55000)))
    (report,) = [one for one in reports if one.kind is Kind.LEVELS]
    assert (report.code, report.stop_loss, report.take_profit) == (
        Code.STOPS_INVALID, D(45000), None,
    )  # fmt: skip


def test_symbol_without_stop_orders_leaves_both_levels_to_us(binance: ExchangeAccount) -> None:
    binance.venue.takes_levels = ()
    reports = binance.submit(binance.order(stop_loss=D(45000), take_profit=D(55000)))
    (report,) = [one for one in reports if one.kind is Kind.LEVELS]
    assert (report.code, report.levels) == (Code.STOPS_INVALID, NONE)
    assert levels(binance) == []


def test_price_band_is_for_limit_prices_and_not_for_levels(binance: ExchangeAccount) -> None:
    binance.venue.price_band = D("0.2")
    with pytest.raises(Rejected) as refused:
        binance.submit(binance.order(limit_price=D(30000)))
    assert refused.value.code is Code.PRICE_INVALID
    buy(binance, stop_loss=D(30000), take_profit=D(90000))
    assert terms(binance) == [(D(30000), D("0.5")), (D(90000), D("0.5"))]


def test_symbol_that_takes_no_pairs_has_its_stop(binance: ExchangeAccount) -> None:
    refused = '{"code":-1158,"msg":"Order type not supported in OCO."}'
    binance.venue.faults.append(Fault("status", 400, refused, on="level"))
    reports = binance.submit(binance.order(stop_loss=D(45000), take_profit=D(55000)))
    (report,) = [one for one in reports if one.kind is Kind.LEVELS]
    assert (report.code, report.stop_loss, report.take_profit) == (
        Code.STOPS_INVALID, D(45000), None,
    )  # fmt: skip


def test_stop_has_the_place_when_a_pair_is_too_many(binance: ExchangeAccount) -> None:
    binance.venue.max_conditional = 1
    reports = binance.submit(binance.order(stop_loss=D(45000), take_profit=D(55000)))
    (report,) = [one for one in reports if one.kind is Kind.LEVELS]
    assert (report.code, report.stop_loss, report.take_profit) == (
        Code.STOPS_INVALID, D(45000), None,
    )  # fmt: skip


# ---- pure ------------------------------------------------------------------------------------
def level(leg: Leg, price: int, number: int = 0, quantity: str = "1") -> LevelOrder:
    return LevelOrder(LevelName("a" * 18, leg, number), "X", Side.SELL, D(price), D(quantity))


STOP, TARGET = level(Leg.STOP, 90), level(Leg.TARGET, 110)


@pytest.mark.parametrize(
    ("live", "stop", "target", "expected"),
    [
        ([], 90, 110, ["PLACE"]),
        ([], None, None, []),
        ([STOP, TARGET], 90, 110, []),
        ([STOP], 90, None, []),
        ([TARGET], None, 110, []),
        ([STOP, TARGET], 95, 110, ["CANCEL", "PLACE"]),
        ([STOP, TARGET], 90, None, ["CANCEL", "PLACE"]),
        ([STOP], 90, 110, ["CANCEL", "PLACE"]),
        ([STOP, TARGET], None, None, ["CANCEL"]),
        ([level(Leg.STOP, 90, quantity="2")], 90, None, ["CANCEL", "PLACE"]),
        ([STOP, level(Leg.STOP, 90, number=1)], 90, None, ["CANCEL", "CANCEL", "PLACE"]),
        ([STOP, level(Leg.TARGET, 110, number=1)], 90, 110, ["CANCEL", "CANCEL", "PLACE"]),
    ],
)
def test_pair_is_cancelled_before_another_one_is_placed(
    live: list[LevelOrder], stop: int | None, target: int | None, expected: list[str]
) -> None:
    wanted = {
        Leg.STOP: D(stop) if stop else None, Leg.TARGET: D(target) if target else None,
    }  # fmt: skip
    steps = plan_pair(live, wanted, D(1))
    assert [step.action.value for step in steps] == expected
