"""Values that IBKR does not state, in whichever way it writes that: one must not spoil a read."""

from dataclasses import replace
from decimal import Decimal as D

import pytest

from brokers.base import ReadFailed, Rejected
from brokers.types import CancelRequest, ReportKind
from tests.fakes.tws import client_session, messages, venue
from tests.fakes.tws.messages import Security
from tests.ibkr.factories import (
    ACCOUNT,
    Environment,
    limit,
    order,
    with_environment,
)

LARGEST_DOUBLE = "1.7976931348623157E308"
LARGEST_DECIMAL = "170141183460469231731687303715884105727"  # its own form of no decimal
ID = "abc00000000000001"


@with_environment
async def test_commission_that_is_not_stated_is_no_commission(stage: Environment) -> None:
    stage.tws.commissions = False
    await stage.submit(order())
    (execution,) = stage.venue.executions
    for amount in (LARGEST_DOUBLE, ""):
        stage.tws.send(messages.pack(59, 1, execution.exec_id, amount, "USD", "", "", ""))
    (found,) = await stage.find(ID) or []
    assert [(one.quantity, one.commission) for one in found.fills] == [(D(20000), D(0))]
    assert not stage.session.malformed_message


@with_environment
async def test_position_without_a_cost_is_read_with_the_others(stage: Environment) -> None:
    await stage.submit(order())
    sie = stage.venue.security("SIE").con_id
    for cost in (LARGEST_DOUBLE, "nan", "", "0.0"):
        stage.venue.positions[ACCOUNT, sie] = (D(5), cost)  # type: ignore[assignment]
        found = await stage.adapter.positions(stage.spec)
        assert [(one.symbol, one.quantity) for one in found] == [
            ("EURUSD", D(20000)),
            ("SIE", D(5)),
        ]
        assert found[1].entry_price == 0


@with_environment
async def test_position_without_a_quantity_fails_the_read(stage: Environment) -> None:
    """It would count as closed."""
    sie = stage.venue.security("SIE").con_id
    stage.venue.positions[ACCOUNT, sie] = (D(LARGEST_DECIMAL), D(100))
    with pytest.raises(ReadFailed):
        await stage.adapter.positions(stage.spec)


@with_environment
async def test_symbol_without_a_tick_leaves_the_others_tradable(stage: Environment) -> None:
    sie = stage.venue.security("SIE")
    for tick in ("0.0", LARGEST_DOUBLE, ""):
        stage.venue.securities[sie.con_id] = replace(sie, min_tick=tick)
        await stage.adapter.disconnect()  # else it keeps the details
        found = {one.symbol for one in await stage.adapter.instruments(stage.spec)}
        assert "SIE" not in found
        assert {"EURUSD", "AAPL"} <= found


@with_environment
async def test_pip_of_a_pair_goes_by_its_quote_currency(stage: Environment) -> None:
    usd_huf = Security(777, "USD", "CASH", "IDEALPRO", "HUF", "0.005", "0.01", "0.01")
    stage.venue.securities[777] = usd_huf
    pair = {"secType": "CASH", "exchange": "IDEALPRO"}
    stage.settings["symbols"] = dict.fromkeys(("USDHUF", "USDJPY", "EURUSD"), pair)
    found = await stage.adapter.instruments(stage.spec)
    assert {one.symbol: one.pip for one in found} == {
        "USDHUF": D("0.01"), "USDJPY": D("0.01"), "EURUSD": D("0.0001"),
    }  # fmt: skip


@with_environment
async def test_quantity_that_is_not_stated_executes_nothing(stage: Environment) -> None:
    await stage.submit(limit())
    placed = stage.venue.order(ID)
    stage.tws.send(messages.order_status(placed, "Submitted", D(LARGEST_DECIMAL), "1.09"))
    await stage.find(ID)
    (listed,) = await stage.adapter.open_orders(stage.spec)
    assert (listed.quantity, listed.filled) == (D(20000), D(0))


@pytest.mark.parametrize(
    ("tag", "value"),
    [("UnrealizedPnL", LARGEST_DOUBLE), ("InitMarginReq", ""), ("ExchangeRate", "nan"),
     ("AvailableFunds", LARGEST_DOUBLE)],
)  # fmt: skip
def test_account_is_read_without_a_value_that_is_not_stated(
    tag: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = tuple((name, value if name == tag else one, currency)
                   for name, one, currency in venue.VALUES)  # fmt: skip
    monkeypatch.setattr(client_session, "VALUES", values)

    @with_environment
    async def read(stage: Environment) -> None:
        state = await stage.adapter.account(stage.spec)
        assert (state.equity, state.currency) == (D("100250.50"), "USD")

    read()


REFUSALS = (383, 109, 201)


@with_environment
async def test_refused_order_that_tws_works_all_the_same_is_listed(stage: Environment) -> None:
    """A person may release in TWS what its precautions have held back."""
    for n, number in enumerate(REFUSALS):
        name = f"abc0000000000001{n}"
        stage.fault("unlisted", number, "precautions")
        with pytest.raises(Rejected, match="precautions"):
            await stage.submit(limit(name))
        stage.venue.report_order(stage.venue.order(name), "accepted")
    await stage.wait_until(lambda: all(
        (one := stage.session.order_cache.get("c1", f"abc0000000000001{n}")) and one.live
        for n in range(len(REFUSALS))
    ))  # fmt: skip
    listed = {one.client_order_id for one in await stage.adapter.open_orders(stage.spec)}
    assert listed == {f"abc0000000000001{n}" for n in range(len(REFUSALS))}


@with_environment
async def test_refused_order_that_tws_works_can_be_cancelled(stage: Environment) -> None:
    stage.fault("unlisted", 383, "precautions")
    with pytest.raises(Rejected, match="precautions"):
        await stage.submit(limit())
    await stage.adapter.open_orders(stage.spec)  # the list has it as working
    (report,) = await stage.adapter.cancel(stage.spec, CancelRequest(ID, "", "EURUSD", None))
    assert (report.kind, stage.venue.order(ID).status) == (ReportKind.CANCELLED, "Cancelled")


@with_environment
async def test_refused_order_that_tws_never_works_stays_refused(stage: Environment) -> None:
    stage.fault("reject", 383, "precautions")
    with pytest.raises(Rejected, match="precautions"):
        await stage.submit(limit())
    assert await stage.adapter.open_orders(stage.spec) == []
    (report,) = await stage.find(ID) or []
    assert report.detail == "383: precautions"


@with_environment
async def test_order_that_is_held_while_shares_are_located_works(stage: Environment) -> None:
    """TWS calls it inactive, and may execute it at any time."""
    stage.fault("ignore")
    task = stage.start(stage.submit(limit()))
    await stage.wait_until(lambda: "ignored" if stage.tws.order_messages else "")
    stage.venue.place(7, messages.read_order(stage.tws.order_messages[-1]))
    stage.venue.hold(ID)
    (report,) = await task
    assert report.kind is ReportKind.ACCEPTED
    (found,) = await stage.find(ID) or []
    assert found.kind is ReportKind.ACCEPTED
    (listed,) = await stage.adapter.open_orders(stage.spec)
    assert listed.client_order_id == ID
    stage.venue.fill(ID, "20000", "1.09")
    (filled,) = await stage.wait_for_reports(ReportKind.FILLED)
    assert filled.client_order_id == ID
