"""Linear perpetuals: contracts, one-way mode, reduce-only exits."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from brokers.base import ReadFailed, Rejected
from brokers.crypto.exchanges import rules
from brokers.types import CheckResult, CloseCause, ExitSafety, Side
from common.reason_codes import Code
from tests.crypto.factories import D, VenueSetup, close, open_venue

NAMES = ["binance", "bybit", "okx"]


@pytest.fixture(params=NAMES)
def one_way(request: pytest.FixtureRequest) -> Iterator[VenueSetup]:
    made = open_venue(request.param, swap=True)
    yield made
    close(made)


@pytest.fixture(params=NAMES)
def hedge(request: pytest.FixtureRequest) -> Iterator[VenueSetup]:
    made = open_venue(request.param, swap=True)
    made.venue.hedged = True
    yield made
    close(made)


def test_an_exit_never_reverses_a_position(one_way: VenueSetup) -> None:
    can = one_way.adapter.capabilities(one_way.spec)
    assert (can.exit_safety, can.native_stops) == (ExitSafety.REDUCE_ONLY, False)
    one_way.submit(one_way.order(quantity=D("0.2")))
    one_way.submit(one_way.order(side=Side.SELL, quantity=D("0.5"), reduce_only=True))
    assert one_way.run(one_way.adapter.positions(one_way.spec)) == []
    with pytest.raises(Rejected) as outcome:
        one_way.submit(one_way.order(side=Side.SELL, reduce_only=True))
    assert outcome.value.code is Code.NO_POSITION


def test_a_short_is_a_position_too(one_way: VenueSetup) -> None:
    one_way.submit(one_way.order(side=Side.SELL, quantity=D("0.3")))
    one_way.venue.prices[one_way.their_symbol] = D(49000)
    (position,) = one_way.run(one_way.adapter.positions(one_way.spec))
    assert (position.side, position.quantity, position.broker_position_id) == (
        Side.SELL, D("0.3"), one_way.symbol,
    )  # fmt: skip


def test_an_account_in_hedge_mode_is_not_traded(hedge: VenueSetup) -> None:
    """All entries of one side would be one position there: that is neither netting nor hedging."""
    checks = hedge.run(hedge.adapter.test(hedge.spec))
    assert [one.result for one in checks if one.name == "position mode"] == [CheckResult.FAIL]
    with pytest.raises(Rejected):
        hedge.submit(hedge.order())
    hedge.venue.place(hedge.their_symbol, "BUY", "MARKET", D(1), side_of="LONG")
    with pytest.raises(ReadFailed, match="one-way"):
        hedge.run(hedge.adapter.positions(hedge.spec))


def test_the_test_says_that_the_mode_is_right(one_way: VenueSetup) -> None:
    checks = one_way.run(one_way.adapter.test(one_way.spec))
    assert [one.result for one in checks if one.name == "position mode"] == [CheckResult.OK]


def test_open_profit_is_in_the_equity_not_in_the_balance(one_way: VenueSetup) -> None:
    one_way.submit(one_way.order())
    one_way.venue.prices[one_way.their_symbol] = D(50100)
    state = one_way.run(one_way.adapter.account(one_way.spec))
    assert (state.balance, state.equity) == (D(100000), D(100050))


def test_what_positions_bind_is_not_free(one_way: VenueSetup) -> None:
    one_way.submit(one_way.order())
    state = one_way.run(one_way.adapter.account(one_way.spec))
    assert (state.margin_used, state.free_margin) == (D(2500), D(97500))


@pytest.mark.parametrize("price", ["50100", "50000"], ids=["with profit", "at its entry price"])
def test_what_the_owner_closed_by_hand_is_told_as_external(one_way: VenueSetup, price: str) -> None:
    one_way.submit(one_way.order())
    one_way.venue.prices[one_way.their_symbol] = D(price)
    amount = D("0.5") / one_way.venue.markets[one_way.their_symbol].size
    one_way.venue.place(
        one_way.their_symbol, "SELL", "MARKET", amount, cid="web_1", reduce_only=True
    )
    since = datetime.now(UTC) - timedelta(minutes=5)
    told = one_way.run(one_way.adapter.fills_since(one_way.spec, since))
    causes = {report.client_order_id: report.close_cause for report in told}
    assert causes[""] is CloseCause.EXTERNAL
    assert len(told) == 2
    before = len(one_way.venue.seen)
    again = one_way.run(one_way.adapter.fills_since(one_way.spec, since))
    assert {report.client_order_id: report.close_cause for report in again} == causes
    asked = len(rules(one_way.spec.exchange_name).swap_fills)
    assert len(one_way.venue.seen) == before + asked  # whose orders they are is asked once
    assert all(report.broker_position_id == one_way.symbol for report in told)


def test_what_the_owner_opened_by_hand_is_no_close_and_hides_nothing(one_way: VenueSetup) -> None:
    since = datetime.now(UTC) - timedelta(minutes=5)
    one_way.submit(one_way.order())
    size = one_way.venue.markets[one_way.their_symbol].size
    one_way.venue.place(one_way.their_symbol, "BUY", "MARKET", D("0.5") / size)
    told = one_way.run(one_way.adapter.fills_since(one_way.spec, since))
    assert [one.close_cause for one in told] == [None, None]
    assert [one.fills[0].quantity for one in told][1] == D("0.5")


@pytest.mark.parametrize("kind", ["BustTrade", "AdlTrade"])
def test_what_bybit_closed_itself_is_told_as_external(kind: str) -> None:
    made = open_venue("bybit", swap=True)
    made.submit(made.order())
    made.venue.place(made.their_symbol, "SELL", "MARKET", D("0.5"), reduce_only=True)
    made.venue.trades[-1].kind = kind
    since = datetime.now(UTC) - timedelta(minutes=5)
    told = made.run(made.adapter.fills_since(made.spec, since))
    assert [one.close_cause for one in told] == [None, CloseCause.EXTERNAL]
    assert told[1].fills[0].quantity == D("0.5")
    close(made)


def test_contracts_are_counted_in_base_units() -> None:
    made = open_venue("okx", swap=True)
    made.submit(made.order(quantity=D("0.5")))
    assert made.venue.orders[0].amount == D(50)  # of 0.01 BTC
    with pytest.raises(Rejected) as outcome:
        made.submit(made.order(quantity=D("0.0005")))
    assert outcome.value.code is Code.VOLUME_INVALID
    close(made)
