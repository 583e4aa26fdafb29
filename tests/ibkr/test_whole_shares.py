"""Quantities of shares: whole ones, unless the account's owner says that fractions are accepted."""

from dataclasses import replace
from decimal import Decimal

import pytest

from brokers.base import Rejected
from brokers.types import (
    ChangeRequest,
    ModifyRequest,
    OrderTerms,
    OrderType,
    ReportKind,
    Side,
)
from common.reason_codes import Code
from tests.ibkr.factories import Environment, exit_of, order, with_environment

ID = "abc00000000000001"


@with_environment
async def test_shares_are_listed_in_whole_steps(stage: Environment) -> None:
    listed = {one.symbol: one for one in await stage.adapter.instruments(stage.spec)}
    steps = {name: (one.quantity_min, one.quantity_step) for name, one in listed.items()}
    assert steps["AAPL"] == (Decimal(1), Decimal(1)), (
        "TWS's sizeIncrement of a share is not what its API takes"
    )
    assert steps["EURUSD"] == (Decimal("0.01"), Decimal("0.01"))
    assert steps["IBUS500"] == (Decimal("0.1"), Decimal("0.1"))


@with_environment
async def test_fraction_of_a_share_is_refused_before_it_is_sent(stage: Environment) -> None:
    with pytest.raises(Rejected) as refused:
        await stage.submit(order(symbol="AAPL", quantity=Decimal("10.5432")))
    assert refused.value.code is Code.VOLUME_INVALID
    assert stage.venue.received == []


@with_environment
async def test_fraction_of_a_share_is_sent_when_the_account_takes_it(stage: Environment) -> None:
    stage.settings, stage.venue.takes_fractions = {"fractional_shares": True}, True
    stage.venue.quote("AAPL", "180.00", "180.02")
    listed = {one.symbol: one for one in await stage.adapter.instruments(stage.spec)}
    assert listed["AAPL"].quantity_step == Decimal("0.0001")
    (report,) = await stage.submit(order(symbol="AAPL", quantity=Decimal("10.5432")))
    assert (report.kind, report.fills[0].quantity) == (ReportKind.FILLED, Decimal("10.5432"))


@with_environment
async def test_exit_of_a_fraction_is_sent_and_refused_by_tws(stage: Environment) -> None:
    """TWS decides; the caller then reads the step again, and closes what is whole."""
    stage.venue.quote("AAPL", "180.00", "180.02")
    stage.venue.give("DU1234567", "AAPL", "10.5", "170")
    closing = replace(
        exit_of(), symbol="AAPL", quantity=Decimal("10.5"), closes="",
        broker_position_id=str(stage.venue.security("AAPL").con_id),
    )  # fmt: skip
    with pytest.raises(Rejected) as refused:
        await stage.submit(closing)
    assert refused.value.code is Code.VOLUME_INVALID
    assert refused.value.detail.startswith("10243")
    assert stage.venue.received == [closing.client_order_id]
    whole = replace(closing, client_order_id="abc00000000000041", quantity=Decimal(10))
    (report,) = await stage.submit(whole)
    assert (report.kind, stage.venue.held("AAPL")) == (ReportKind.FILLED, Decimal("0.5"))


@with_environment
async def test_exit_of_a_fraction_is_filled_by_an_account_that_takes_it(stage: Environment) -> None:
    """The setting is not there, and the broker is right."""
    stage.venue.takes_fractions = True
    stage.venue.quote("AAPL", "180.00", "180.02")
    stage.venue.give("DU1234567", "AAPL", "10.5", "170")
    aapl = str(stage.venue.security("AAPL").con_id)
    closing = replace(
        exit_of(), symbol="AAPL", quantity=Decimal("10.5"), closes="", broker_position_id=aapl
    )
    (report,) = await stage.submit(closing)
    assert (report.kind, stage.venue.held("AAPL")) == (ReportKind.FILLED, Decimal(0))


@with_environment
async def test_change_to_a_fraction_of_a_share_is_refused(stage: Environment) -> None:
    terms = OrderTerms(Decimal(10), Decimal(170))
    await stage.submit(
        order(
            symbol="AAPL",
            quantity=Decimal(10),
            order_type=OrderType.LIMIT,
            limit_price=Decimal(170),
        )
    )
    with pytest.raises(Rejected) as refused:
        await stage.adapter.change_order(
            stage.spec,
            ChangeRequest(
                ID, "", "c1", "AAPL", Side.BUY, OrderType.LIMIT,
                replace(terms, quantity=Decimal("10.5")), terms,
            ),
        )  # fmt: skip
    assert refused.value.code is Code.VOLUME_INVALID


@with_environment
async def test_levels_of_a_fraction_cover_its_whole_shares(stage: Environment) -> None:
    stage.venue.quote("AAPL", "180.00", "180.02")
    stage.venue.give("DU1234567", "AAPL", "10.5", "170")
    aapl = str(stage.venue.security("AAPL").con_id)
    (held,) = await stage.adapter.modify(
        stage.spec,
        ModifyRequest(ID, aapl, "AAPL", Decimal(170), Decimal(190), quantity=Decimal("10.5")),
    )
    assert (held.stop_loss, held.take_profit, held.protected) == (
        Decimal(170), Decimal(190), Decimal(10),
    )  # fmt: skip
