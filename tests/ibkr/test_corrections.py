"""IBKR corrects an execution to a smaller quantity, or cancels it: no total has the former one."""

from decimal import Decimal

import pytest

from brokers.base import Rejected
from brokers.types import ReportKind
from common.reason_codes import Code
from tests.fakes.tws.venue import Execution
from tests.ibkr.factories import Environment, limit, order, with_environment
from tests.ibkr.test_levels import move

ID = "abc00000000000001"
PRICE = "1.0900"


async def corrected(stage: Environment, execution: Execution, quantity: str) -> None:
    """Correct an execution that was reported, and wait for the report of that."""
    before = len(await stage.wait_for_reports(ReportKind.FILLED))
    stage.venue.correct(execution, PRICE, quantity)
    await stage.wait_for_reports(ReportKind.FILLED, before + 1)


async def found_fills(stage: Environment) -> list[tuple[Decimal, int, bool]]:
    """Return quantity, revision and kind of the fills that a look-up finds."""
    reports = await stage.find(ID) or []
    fills = [f for report in reports for f in report.fills if not f.is_commission_only]
    return [(f.quantity, f.revision, f.inferred) for f in fills]


async def listed_quantity(stage: Environment) -> Decimal:
    """Return what the working order has executed; only what works must be read for it."""
    stage.tws.list_requests.clear()
    (working,) = await stage.adapter.open_orders(stage.spec)
    assert stage.tws.list_requests == ["open"]
    return working.filled


@with_environment
async def test_smaller_correction_leaves_no_inferred_rest(stage: Environment) -> None:
    await stage.submit(limit())
    await corrected(stage, stage.venue.fill(ID, "1000", PRICE), "900")
    assert await found_fills(stage) == [(Decimal(900), 2, False)]
    assert await listed_quantity(stage) == Decimal(900)
    stage.tws.replay()  # the correction once more
    assert await found_fills(stage) == [(Decimal(900), 2, False)]
    assert await listed_quantity(stage) == Decimal(900)


@with_environment
async def test_correction_changes_only_its_part_of_the_total(stage: Environment) -> None:
    await stage.submit(limit())
    first = stage.venue.fill(ID, "1000", PRICE)
    stage.venue.fill(ID, "500", PRICE)
    await stage.wait_for_reports(ReportKind.FILLED, 2)
    await corrected(stage, first, "900")
    assert await listed_quantity(stage) == Decimal(1400)
    stage.venue.fill(ID, "200", PRICE)
    await stage.wait_for_reports(ReportKind.FILLED, 4)
    assert await listed_quantity(stage) == Decimal(1600)
    assert [quantity for quantity, _, _ in await found_fills(stage)] == [900, 500, 200]
    await corrected(stage, first, "1000")
    assert await listed_quantity(stage) == Decimal(1700)


@with_environment
async def test_correction_whose_message_was_lost_is_found(stage: Environment) -> None:
    await stage.submit(limit())
    execution = stage.venue.fill(ID, "1000", PRICE)
    await stage.wait_for_reports(ReportKind.FILLED)
    stage.tws.sessions[0].silent = True
    stage.venue.correct(execution, PRICE, "900")
    assert await found_fills(stage) == [(Decimal(900), 2, False)]
    assert await listed_quantity(stage) == Decimal(900)


@with_environment
async def test_execution_without_a_message_is_inferred_after_a_correction(
    stage: Environment,
) -> None:
    """A status that counts more than the corrected executions is believed, as before."""
    await stage.submit(limit())
    await corrected(stage, stage.venue.fill(ID, "1000", PRICE), "900")
    stage.tws.sessions[0].silent = True
    stage.venue.fill(ID, "300", PRICE)
    del stage.venue.executions[-1]  # of an earlier day: no list has it
    expected = [(Decimal(900), 2, False), (Decimal(1200), 0, True)]
    assert await found_fills(stage) == expected


@with_environment
async def test_filled_order_keeps_its_end_with_the_smaller_quantity(stage: Environment) -> None:
    await stage.submit(order())
    await corrected(stage, stage.venue.executions[0], "15000")
    for _ in range(2):
        assert await found_fills(stage) == [(Decimal(15000), 2, False)]
    stage.tws.list_requests.clear()
    assert await stage.adapter.open_orders(stage.spec) == []
    assert stage.tws.list_requests == ["open"]


@with_environment
async def test_working_order_whose_only_execution_was_cancelled_is_accepted(
    stage: Environment,
) -> None:
    await stage.submit(limit())
    await corrected(stage, stage.venue.fill(ID, "1000", PRICE), "0")
    found = await stage.find(ID) or []
    assert [report.kind for report in found] == [ReportKind.FILLED, ReportKind.ACCEPTED]
    assert await found_fills(stage) == [(Decimal(0), 2, False)]
    assert await listed_quantity(stage) == 0


@with_environment
async def test_entry_whose_execution_was_cancelled_gets_no_stop(stage: Environment) -> None:
    """A stop without a position would open one."""
    await stage.submit(order())
    await corrected(stage, stage.venue.executions[0], "0")
    with pytest.raises(Rejected) as refused:
        await stage.adapter.modify(stage.spec, move("1.0800", None))
    assert refused.value.code is Code.NO_POSITION
    assert [one.ref for one in stage.venue.orders] == [ID]
