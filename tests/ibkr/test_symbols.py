"""Stocks, pairs, futures and CFDs, by the connection's symbol map and in base units."""

from decimal import Decimal

import pytest

from brokers.base import Rejected
from brokers.types import OrderType, TimeInForce
from common.reason_codes import Code
from tests.ibkr.factories import ACCOUNT, Environment, order, with_environment


@with_environment
async def test_unsupported_order_is_rejected_before_sending(stage: Environment) -> None:
    cases = [
        (order(symbol="NOPE"), Code.UNKNOWN_SYMBOL_AT_BROKER),
        (order(symbol="VOD"), Code.UNKNOWN_SYMBOL_AT_BROKER),  # priced in pence
        (order(symbol="ES 202612", quantity=Decimal(75)), Code.VOLUME_INVALID),  # 1.5 contracts
        (order(quantity=Decimal(0)), Code.VOLUME_INVALID),
        (order(quantity=Decimal("NaN")), Code.VOLUME_INVALID),
        (order(stop_loss=Decimal("NaN")), Code.PRICE_INVALID),
        (order(take_profit=Decimal(-1)), Code.PRICE_INVALID),
        (order(order_type=OrderType.LIMIT), Code.PRICE_INVALID),
        (order("Not Ours"), Code.FIELD_INVALID),
        (order(account="DU7654321"), Code.FIELD_INVALID),
        (order(connection_id="c2"), Code.FIELD_INVALID),
    ]
    for request, code in cases:
        with pytest.raises(Rejected) as refused:
            await stage.submit(request)
        assert refused.value.code is code
    assert stage.venue.received == []


@with_environment
async def test_futures_are_sized_in_base_units(stage: Environment) -> None:
    stage.venue.quote("ES", "5000.00", "5000.25")
    (report,) = await stage.submit(order(symbol="ES 202612", quantity=Decimal(100)))
    assert stage.venue.orders[0].quantity == 2
    assert report.fills[0].quantity == 100
    (held,) = await stage.adapter.positions(stage.spec)
    assert (held.symbol, held.quantity, held.entry_price) == (
        "ES 202612", Decimal(100), Decimal("5000.25"),
    )  # fmt: skip


@with_environment
async def test_shares_and_cfds_by_the_symbol_map(stage: Environment) -> None:
    stage.venue.quote("AAPL", "200.00", "200.02")
    stage.venue.quote("IBUS500", "5000.00", "5000.50")
    await stage.submit(order(symbol="AAPL", quantity=Decimal(10)))
    await stage.submit(order("abc00000000000002", symbol="IBUS500", quantity=Decimal("0.5")))
    held = {p.symbol: p.quantity for p in await stage.adapter.positions(stage.spec)}
    assert held == {"AAPL": Decimal(10), "IBUS500": Decimal("0.5")}


@pytest.mark.parametrize(
    ("symbol", "quantity", "contract", "contracts"),
    [
        ("EURUSD", "20000", ("12087792", "EUR", "CASH", "IDEALPRO", "USD"), "20000"),
        ("AAPL", "10", ("265598", "AAPL", "STK", "SMART", "USD"), "10"),
        ("ES 202612", "150", ("495512563", "ES", "FUT", "CME", "USD"), "3"),
        ("IBUS500", "0.5", ("120549942", "IBUS500", "CFD", "SMART", "USD"), "0.5"),
    ],
)
def test_order_message_fields(
    symbol: str, quantity: str, contract: tuple[str, ...], contracts: str
) -> None:
    """Each field as TWS gets it: the contract, the quantity in its units, always a tif."""

    @with_environment
    async def test(stage: Environment) -> None:
        request = order(
            symbol=symbol, quantity=Decimal(quantity), order_type=OrderType.LIMIT,
            limit_price=Decimal("100.00"), time_in_force=TimeInForce.DAY,
        )  # fmt: skip
        await stage.submit(request)
        (fields,) = stage.tws.order_messages
        assert (fields[2], fields[3], fields[4], fields[9], fields[11]) == contract
        assert fields[16:21] == ["BUY", contracts, "LMT", "100", ""]
        assert fields[21:24] == ["DAY", "", ACCOUNT]
        assert fields[26] == request.client_order_id

    test()
