"""Swap and fees, read by the real package's client from the terminal's closing deals."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

import pytest

from brokers.mt5.adapter import Mt5Adapter
from brokers.types import Execution, OrderReport, Side
from tests.fakes.mt5.fake_terminal import FakeTerminal
from tests.mt5.factories import EXIT, bought, order, run, spec, submit

LOGIN = 1001


def since(adapter: Mt5Adapter) -> list[OrderReport]:
    return run(adapter.fills_since(spec(), datetime.now(UTC) - timedelta(minutes=5)))


def exits(adapter: Mt5Adapter) -> dict[str, D]:
    """Return the swap of each deal, by its number."""
    fills = [fill for report in since(adapter) for fill in report.fills]
    return {fill.broker_fill_id: fill.swap for fill in fills}


@pytest.mark.parametrize("swap", ["-2.71", "0.43"])
def test_close_reports_the_swap_that_the_broker_booked(
    venue: FakeTerminal, adapter: Mt5Adapter, swap: str
) -> None:
    position = bought(adapter)
    venue.control("roll_over", login=LOGIN, amount=float(swap))
    assert sum(exits(adapter).values()) == 0  # nothing is booked while it is open
    (closed,) = [
        fill
        for report in submit(
            adapter, order(EXIT, side=Side.SELL, broker_position_id=position, reduce_only=True)
        )
        for fill in report.fills
    ]
    assert closed.swap == D(swap)
    assert exits(adapter)[closed.broker_fill_id] == D(swap)


def test_parts_of_a_position_book_their_parts_of_its_swap(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    position = bought(adapter)
    venue.control("roll_over", login=LOGIN, amount=-1.01)
    booked: list[Execution] = []
    for number in (1, 2):
        booked += [
            fill
            for report in submit(
                adapter,
                order(
                    EXIT[:-2] + f"{number}0", side=Side.SELL, quantity=D(5_000),
                    broker_position_id=position, reduce_only=True,
                ),
            )
            for fill in report.fills
        ]  # fmt: skip
    assert [fill.swap for fill in booked] == [D("-0.51"), D("-0.5")]
    assert sum(exits(adapter).values()) == D("-1.01")


def test_fee_of_a_deal_is_part_of_its_commission(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    bought(adapter)
    (deal,) = [deal for deal in venue.state(LOGIN)["deals"] if deal["volume"]]
    venue.configure_account(LOGIN, deals=[{**deal, "commission": -0.35, "fee": -0.12}])
    ((fill,),) = [report.fills for report in since(adapter)]
    assert (fill.commission, fill.commission_currency) == (D("0.47"), "USD")
