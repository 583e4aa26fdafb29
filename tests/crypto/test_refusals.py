"""What is refused here, before any byte leaves."""

from collections.abc import Callable
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
from tests.crypto.factories import D, VenueSetup, close, each, open_venue

__all__ = ["each"]

WRONG: dict[str, tuple[Callable[[VenueSetup], OrderRequest], Code]] = {
    "between steps": (lambda h: h.order(quantity=D("0.00015")), Code.VOLUME_INVALID),
    "below the least": (lambda h: h.order(quantity=D("0.0001")), Code.VOLUME_INVALID),
    "above the most": (lambda h: h.order(quantity=D(10) ** 17), Code.VOLUME_INVALID),
    "nothing": (lambda h: h.order(quantity=D(0)), Code.VOLUME_INVALID),
    "no number": (lambda h: h.order(quantity=D("NaN")), Code.VOLUME_INVALID),
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


@pytest.mark.parametrize("name", WRONG)
def test_it_is_refused_and_nothing_leaves(each: VenueSetup, name: str) -> None:
    make, code = WRONG[name]
    if name == "worth too little" and each.spec.exchange_name == "okx":
        make, code = WRONG["below the least"]  # OKX tells no least worth, only a least size
    asked: list[object] = []
    with pytest.raises(Rejected) as outcome:
        each.submit(make(each), asked.append)
    assert outcome.value.code is code
    assert (asked, each.venue.arrived) == ([], [])


def test_a_reducing_order_may_be_worth_little(each: VenueSetup) -> None:
    each.submit(each.order())
    small = each.order(
        side=Side.SELL, quantity=D("0.001"), limit_price=D("60000"), reduce_only=True
    )
    assert each.submit(small)


@pytest.mark.parametrize("name", ["binance", "bybit", "okx"])
def test_the_rest_of_a_perpetual_is_closed_though_it_is_below_the_least(name: str) -> None:
    """The minimum was raised while the position was open; an entry as small stays refused."""
    made = open_venue(name, swap=True)
    made.submit(made.order(quantity=D("0.004")))
    client = made.run(made.adapter._clients.of(made.spec))
    client.exchange.markets[made.symbol]["limits"]["amount"]["min"] = "10"
    with pytest.raises(Rejected) as outcome:
        made.submit(made.order(quantity=D("0.004")))
    assert outcome.value.code is Code.VOLUME_INVALID
    rest = made.order(side=Side.SELL, quantity=D("0.004"), reduce_only=True)
    (told,) = made.submit(rest)
    assert told.kind is ReportKind.FILLED
    assert made.run(made.adapter.positions(made.spec)) == []
    close(made)


@pytest.mark.parametrize(
    ("side", "asked", "sent"),
    [(Side.BUY, "40000.19", "40000.1"), (Side.SELL, "60000.11", "60000.2")],
)
def test_a_limit_is_never_worse_than_asked(
    each: VenueSetup, side: Side, asked: str, sent: str
) -> None:
    each.venue.balances["BTC"] = D(1)
    each.submit(each.order(side=side, limit_price=D(asked)))
    assert each.venue.orders[0].price == D(sent)


def test_levels_are_refused(each: VenueSetup) -> None:
    wanted = ModifyRequest("abc", each.symbol, each.symbol, D(49000), None)
    with pytest.raises(Rejected) as outcome:
        each.run(each.adapter.modify(each.spec, wanted))
    assert outcome.value.code is Code.STOPS_INVALID


@pytest.mark.parametrize("which", ["stop_loss", "take_profit"])
def test_an_order_with_levels_is_refused_and_nothing_leaves(each: VenueSetup, which: str) -> None:
    with pytest.raises(Rejected) as outcome:
        each.submit(each.order(**{which: D(40000)}))
    assert outcome.value.code is Code.STOPS_INVALID
    assert each.venue.arrived == []


@pytest.mark.parametrize(
    "settings", [{"market": "margin"}, {"reply_timeout": "long"}, {"leverage": "much"}]
)
def test_settings_that_make_no_sense_are_told(each: VenueSetup, settings: dict[str, str]) -> None:
    spec = replace(each.spec, settings={**each.spec.settings, **settings})
    with pytest.raises(ReadFailed) as outcome:
        each.run(each.adapter.account(spec))
    assert outcome.value.code is Code.FIELD_INVALID
    with pytest.raises(Rejected):
        each.run(each.adapter.submit(spec, each.order(), lambda _: None))
    (check,) = each.run(each.adapter.test(spec))
    assert (check.name, check.result) == ("settings", "fail")
