"""Spot: balances are the positions, and an exit never sells more than the balance."""

from datetime import UTC, datetime
from typing import Any

import pytest

from brokers.crypto import spot_positions
from brokers.types import ExitSafety, Instrument, ModifyRequest, ReportKind, Side
from tests.crypto.factories import D, close, open_account

BTC = Instrument("BTC/USDT", "BTC/USDT", 1, D("0.1"), D("0.001"), D("0.001"), D(100), D(1))


def _trade(side: str, amount: str, price: str, at: int, fee: str = "0") -> dict[str, Any]:
    return {"side": side, "amount": amount, "price": price, "timestamp": at,
            "fee": {"cost": fee, "currency": "BTC"}}  # fmt: skip


def test_entry_price_counts_from_last_flat_balance() -> None:
    trades = [
        _trade("buy", "1", "100", 1000), _trade("sell", "1", "110", 2000),
        _trade("buy", "1", "200", 3000), _trade("buy", "1", "300", 4000),
        _trade("sell", "0.5", "400", 5000),
    ]  # fmt: skip
    held = spot_positions.position(BTC, D("1.5"), trades)
    assert (held.quantity, held.entry_price, held.side) == (D("1.5"), D(250), Side.BUY)
    assert held.opened_at == datetime(1970, 1, 1, 0, 0, 3, tzinfo=UTC)


def test_fee_in_coin_reduces_sellable_quantity() -> None:
    held = spot_positions.position(BTC, D("0.9990"), [_trade("buy", "1", "100", 1000, fee="0.001")])
    assert (held.quantity, held.entry_price) == (D("0.999"), D(100))


def test_dust_is_not_sellable_and_untraded_balance_has_no_price() -> None:
    assert spot_positions.sellable(D("0.0009"), BTC) == 0
    assert spot_positions.sellable(D("1.23456"), BTC) == D("1.234")
    assert spot_positions.position(BTC, D(2), []).entry_price == 0


def test_balance_that_cannot_be_sold_is_read_without_a_price() -> None:
    account = open_account("binance")
    account.venue.balances["BTC"] = D("0.0004")  # the step is 0.001
    (position,) = account.run(account.adapter.positions(account.spec))
    assert (position.quantity, position.entry_price, position.opened_at) == (
        D("0.0004"),
        D(0),
        None,
    )
    assert not [request for request in account.venue.request_lines if "rades" in str(request)]
    close(account)


def test_exit_sells_what_is_left_after_fees_in_coin() -> None:
    account = open_account("binance")
    account.venue.fee_rate, account.venue.fee_in_base = D("0.001"), True
    (bought,) = account.submit(account.order(quantity=D(1)))
    assert (bought.fills[0].commission, bought.fills[0].commission_currency) == (D("0.001"), "BTC")
    (position,) = account.run(account.adapter.positions(account.spec))
    assert position.quantity == D("0.999")
    assert account.adapter.capabilities(account.spec).exit_safety is ExitSafety.CANCEL_FIRST
    account.submit(account.order(side=Side.SELL, quantity=position.quantity, reduce_only=True))
    assert account.run(account.adapter.positions(account.spec)) == []
    close(account)


@pytest.mark.parametrize("fields", [{}, {"limit_price": D(100)}])
def test_fee_of_a_sale_at_kraken_is_taken_from_the_money(fields: dict[str, Any]) -> None:
    """Its default takes it from the coin, and states it in money: another position's coins."""
    account = open_account("kraken")
    account.submit(account.order(quantity=D(1)))
    account.venue.fee_rate = D("0.004")
    account.submit(account.order(side=Side.SELL, quantity=D("0.4"), **fields))
    (position,) = account.run(account.adapter.positions(account.spec))
    assert position.quantity == D("0.6")
    close(account)


def test_debt_leaves_nothing_free() -> None:
    """As interest makes it. OKX then states that 0 is available."""
    account = open_account("okx")
    account.venue.balances["USDT"] = D("-0.5")
    read = account.run(account.adapter.account(account.spec))
    assert (read.balance, read.free_margin) == (D("-0.5"), D("-0.5"))
    close(account)


def test_balance_that_earns_at_kraken_is_the_position_and_the_money() -> None:
    """Kraken lists it under a name of its own, and sells it like any other."""
    account = open_account("kraken")
    account.submit(account.order())
    before = account.run(account.adapter.account(account.spec))
    account.venue.earning = frozenset({"BTC", "USDT"})
    (position,) = account.run(account.adapter.positions(account.spec))
    assert position.quantity == D("0.5")
    now = account.run(account.adapter.account(account.spec))
    assert (now.equity, now.free_margin) == (before.equity, before.free_margin)
    close(account)


def test_removing_levels_is_confirmed_without_a_request_where_none_can_rest() -> None:
    account = open_account("bybit")
    remove_levels = ModifyRequest("abc", "BTC/USDT", "BTC/USDT", None, None)
    (report,) = account.run(account.adapter.modify(account.spec, remove_levels))
    assert (report.kind, report.stop_loss, report.take_profit) == (ReportKind.LEVELS, None, None)
    assert account.venue.request_lines == []
    close(account)
