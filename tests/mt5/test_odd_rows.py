"""Rows of other forms: one of them must not spoil what is read of the others."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from brokers.mt5.adapter import Mt5Adapter
from brokers.types import CloseCause, Side
from tests.fakes.mt5.fake_terminal import FakeTerminal
from tests.mt5.factories import CID, D, order, run, spec, submit

NETTING = 1002
NOT_A_NUMBER = float("nan")


@pytest.mark.parametrize("name", ["point", "volume_step", "trade_contract_size", "volume_max"])
def test_symbol_whose_data_are_no_numbers_leaves_the_others_tradable(
    venue: FakeTerminal, adapter: Mt5Adapter, name: str
) -> None:
    venue.configure_symbol("USDJPY", **{name: NOT_A_NUMBER})
    listed = {one.symbol for one in run(adapter.instruments(spec()))}
    assert "USDJPY" not in listed
    assert {"EURUSD", "US500"} <= listed


def test_deal_whose_costs_are_no_numbers_is_a_fill(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    submit(adapter, order())
    (deal,) = venue.state()["deals"]
    venue.configure_account(deals=[{**deal, "commission": NOT_A_NUMBER, "swap": NOT_A_NUMBER}])
    (report,) = run(adapter.find_order(spec(), CID)) or []
    assert [(one.quantity, one.commission, one.swap) for one in report.fills] == [
        (D(10_000), D(0), D(0))
    ]


@pytest.mark.parametrize("price", [NOT_A_NUMBER, -1.0])
def test_price_that_is_none_is_left_out(
    venue: FakeTerminal, adapter: Mt5Adapter, price: float
) -> None:
    venue.configure_symbol("USDJPY", ask=price)

    async def first_two() -> set[str]:
        found: list[str] = []
        async for quote in adapter.stream_quotes(spec(), ["USDJPY", "EURUSD"]):
            found.append(quote.symbol)
            if len(found) == 2:
                break
        return set(found)

    assert run(first_two()) == {"EUR/USD"}


def test_reversal_by_hand_of_a_netting_account_is_an_external_exit(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    """One deal (INOUT) closes what we have and opens the other side, under the same number."""
    account = spec(NETTING)
    run(adapter.connect(account))
    (entry,) = submit(adapter, order(quantity=D(30_000)), login=NETTING)
    ticket = int(entry.broker_position_id)
    how: dict[str, Any] = {"reason": 0, "comment": "", "volume": 0.5, "magic": 0}
    venue.control("close", login=NETTING, ticket=ticket, **how)
    (held,) = run(adapter.positions(account))
    assert (held.side, held.quantity) == (Side.SELL, D(20_000))
    since = datetime.now(UTC) - timedelta(hours=1)
    (_, reversal) = run(adapter.fills_since(account, since))
    assert (reversal.client_order_id, reversal.close_cause) == (CID, CloseCause.EXTERNAL)
    assert [one.quantity for one in reversal.fills] == [D(50_000)]
