"""Spot: balances are the positions; nothing is ever sold that is not there."""

from datetime import UTC, datetime
from typing import Any

from brokers.crypto import spot_positions
from brokers.types import ExitSafety, Instrument, ModifyRequest, ReportKind, Side
from tests.crypto.factories import D, close, open_venue

BTC = Instrument("BTC/USDT", "BTC/USDT", 1, D("0.1"), D("0.001"), D("0.001"), D(100), D(1))


def _trade(side: str, amount: str, price: str, at: int, fee: str = "0") -> dict[str, Any]:
    return {"side": side, "amount": amount, "price": price, "timestamp": at,
            "fee": {"cost": fee, "currency": "BTC"}}  # fmt: skip


def test_the_entry_price_counts_from_when_nothing_was_held() -> None:
    trades = [
        _trade("buy", "1", "100", 1000), _trade("sell", "1", "110", 2000),
        _trade("buy", "1", "200", 3000), _trade("buy", "1", "300", 4000),
        _trade("sell", "0.5", "400", 5000),
    ]  # fmt: skip
    held = spot_positions.position(BTC, D("1.5"), trades)
    assert (held.quantity, held.entry_price, held.side) == (D("1.5"), D(250), Side.BUY)
    assert held.opened_at == datetime(1970, 1, 1, 0, 0, 3, tzinfo=UTC)


def test_a_fee_in_the_coin_is_gone_from_what_can_be_sold() -> None:
    held = spot_positions.position(BTC, D("0.9990"), [_trade("buy", "1", "100", 1000, fee="0.001")])
    assert (held.quantity, held.entry_price) == (D("0.999"), D(100))


def test_dust_is_nothing_and_what_was_always_there_has_no_price() -> None:
    assert spot_positions.sellable(D("0.0009"), BTC) == 0
    assert spot_positions.sellable(D("1.23456"), BTC) == D("1.234")
    assert spot_positions.position(BTC, D(2), []).entry_price == 0


def test_balance_that_cannot_be_sold_is_read_without_a_price() -> None:
    made = open_venue("binance")
    made.venue.balances["BTC"] = D("0.0004")  # the step is 0.001
    (rest,) = made.run(made.adapter.positions(made.spec))
    assert (rest.quantity, rest.entry_price, rest.opened_at) == (D("0.0004"), D(0), None)
    assert not [one for one in made.venue.seen if "rades" in str(one)]
    close(made)


def test_fees_from_the_coin_leave_an_exit_of_what_is_left() -> None:
    made = open_venue("binance")
    made.venue.fee_rate, made.venue.fee_in_base = D("0.001"), True
    (bought,) = made.submit(made.order(quantity=D(1)))
    assert (bought.fills[0].commission, bought.fills[0].commission_currency) == (D("0.001"), "BTC")
    (position,) = made.run(made.adapter.positions(made.spec))
    assert position.quantity == D("0.999")
    assert made.adapter.capabilities(made.spec).exit_safety is ExitSafety.CANCEL_FIRST
    made.submit(made.order(side=Side.SELL, quantity=position.quantity, reduce_only=True))
    assert made.run(made.adapter.positions(made.spec)) == []
    close(made)


def test_levels_are_not_kept_there_and_taking_them_away_is_answered() -> None:
    made = open_venue("binance")
    lift = ModifyRequest("abc", "BTC/USDT", "BTC/USDT", None, None)
    (told,) = made.run(made.adapter.modify(made.spec, lift))
    assert (told.kind, told.stop_loss, told.take_profit) == (ReportKind.LEVELS, None, None)
    assert made.venue.seen == []
    close(made)
