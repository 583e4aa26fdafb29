"""Orders that the adapter rejects before it sends anything."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from brokers.base import ReadFailed, Rejected
from brokers.types import (
    ModifyRequest,
    OrderRequest,
    OrderType,
    ReportKind,
    Side,
    TimeInForce,
)
from common.reason_codes import Code
from tests.crypto.factories import (
    SYMBOLS,
    D,
    ExchangeAccount,
    any_account,
    close,
    open_account,
)

__all__ = ["any_account"]

INVALID: dict[str, tuple[Callable[[ExchangeAccount], OrderRequest], Code]] = {
    "between steps": (lambda h: h.order(quantity=D("0.00015")), Code.VOLUME_INVALID),
    "below the minimum": (lambda h: h.order(quantity=D("0.0001")), Code.VOLUME_INVALID),
    "above the maximum": (lambda h: h.order(quantity=D(10) ** 17), Code.VOLUME_INVALID),
    "zero": (lambda h: h.order(quantity=D(0)), Code.VOLUME_INVALID),
    "not a number": (lambda h: h.order(quantity=D("NaN")), Code.VOLUME_INVALID),
    "worth too little": (
        lambda h: h.order(quantity=D("0.001"), limit_price=D(100)),
        Code.VOLUME_INVALID,
    ),
    "no price": (lambda h: h.order(order_type=OrderType.LIMIT), Code.PRICE_INVALID),
    "a price below a tick": (lambda h: h.order(limit_price=D("0.01")), Code.PRICE_INVALID),
    "a negative price": (lambda h: h.order(limit_price=D(-1)), Code.PRICE_INVALID),
    "a stop entry": (
        lambda h: h.order(order_type=OrderType.STOP, stop_price=D(60000)),
        Code.ORDER_TYPE_UNSUPPORTED,
    ),
    "a day order": (lambda h: h.order(time_in_force=TimeInForce.DAY), Code.ORDER_TYPE_UNSUPPORTED),
    "an unlisted symbol": (lambda h: h.order(symbol="ETH/USDT"), Code.UNKNOWN_SYMBOL_AT_BROKER),
    "an id with a space": (lambda h: h.order(client_order_id="a b"), Code.REJECTED_BY_BROKER),
    "an id too long": (lambda h: h.order(client_order_id="a" * 37), Code.REJECTED_BY_BROKER),
}


@pytest.mark.parametrize("name", INVALID)
def test_invalid_order_is_rejected_before_sending(any_account: ExchangeAccount, name: str) -> None:
    make, code = INVALID[name]
    if name == "worth too little" and any_account.spec.exchange_name == "okx":
        make, code = INVALID["below the minimum"]  # OKX states a minimum size, no minimum value
    guarded: list[object] = []
    with pytest.raises(Rejected) as outcome:
        any_account.submit(make(any_account), guarded.append)
    assert outcome.value.code is code
    assert (guarded, any_account.venue.writes) == ([], [])


def test_reduce_only_order_may_be_below_minimum_value(any_account: ExchangeAccount) -> None:
    any_account.submit(any_account.order())
    small = any_account.order(
        side=Side.SELL, quantity=D("0.001"), limit_price=D("60000"), reduce_only=True
    )
    assert any_account.submit(small)


@pytest.mark.parametrize("name", ["binance", "bybit", "okx"])
def test_perpetual_remainder_below_minimum_is_closed(name: str) -> None:
    """The minimum was raised while the position was open; an entry of that size is rejected."""
    account = open_account(name, swap=True)
    account.submit(account.order(quantity=D("0.004")))
    client = account.run(account.adapter._clients.get(account.spec))
    client.exchange.markets[account.symbol]["limits"]["amount"]["min"] = "10"
    with pytest.raises(Rejected) as outcome:
        account.submit(account.order(quantity=D("0.004")))
    assert outcome.value.code is Code.VOLUME_INVALID
    exit_order = account.order(side=Side.SELL, quantity=D("0.004"), reduce_only=True)
    (report,) = account.submit(exit_order)
    assert report.kind is ReportKind.FILLED
    assert account.run(account.adapter.positions(account.spec)) == []
    close(account)


@pytest.mark.parametrize(
    ("side", "requested", "sent"),
    [(Side.BUY, "40000.19", "40000.1"), (Side.SELL, "60000.11", "60000.2")],
)
def test_limit_price_is_rounded_in_our_favour(
    any_account: ExchangeAccount, side: Side, requested: str, sent: str
) -> None:
    any_account.venue.balances["BTC"] = D(1)
    any_account.submit(any_account.order(side=side, limit_price=D(requested)))
    assert any_account.venue.orders[0].price == D(sent)


WITH_LEVELS = {
    ("bybit", True), ("okx", True), ("okx", False), ("binance", True), ("binance", False),
}  # fmt: skip


@pytest.fixture(params=[case for case in SYMBOLS if case not in WITH_LEVELS])
def without_levels(request: pytest.FixtureRequest) -> Iterator[ExchangeAccount]:
    """An account whose stops and targets the engine watches."""
    name, swap = request.param
    account = open_account(name, swap=swap)
    assert not account.adapter.capabilities(account.spec).native_stops
    yield account
    close(account)


def test_levels_are_rejected(without_levels: ExchangeAccount) -> None:
    modify = ModifyRequest("abc", without_levels.symbol, without_levels.symbol, D(49000), None)
    with pytest.raises(Rejected) as outcome:
        without_levels.run(without_levels.adapter.modify(without_levels.spec, modify))
    assert outcome.value.code is Code.STOPS_INVALID


@pytest.mark.parametrize("which", ["stop_loss", "take_profit"])
def test_order_with_levels_is_rejected_before_sending(
    without_levels: ExchangeAccount, which: str
) -> None:
    with pytest.raises(Rejected) as outcome:
        without_levels.submit(without_levels.order(**{which: D(40000)}))
    assert outcome.value.code is Code.STOPS_INVALID
    assert without_levels.venue.writes == []


@pytest.mark.parametrize(
    "settings", [{"market": "margin"}, {"reply_timeout": "long"}, {"leverage": "much"}]
)
def test_invalid_settings_are_reported(
    any_account: ExchangeAccount, settings: dict[str, str]
) -> None:
    spec = replace(any_account.spec, settings={**any_account.spec.settings, **settings})
    with pytest.raises(ReadFailed) as outcome:
        any_account.run(any_account.adapter.account(spec))
    assert outcome.value.code is Code.FIELD_INVALID
    with pytest.raises(Rejected):
        any_account.run(any_account.adapter.submit(spec, any_account.order(), lambda _: None))
    (check,) = any_account.run(any_account.adapter.test(spec))
    assert (check.name, check.result) == ("settings", "fail")
