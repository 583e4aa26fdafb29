"""IBKR sends commissions apart from their executions: each reaches the fill that lacks it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from brokers.record_cache import RecordCache
from brokers.types import CloseCause, Execution, OrderReport, ReportKind
from tests.fakes.tws import messages
from tests.ibkr.factories import Environment, limit, order, protected, with_environment

ID = "abc00000000000001"
FEE = Decimal("1.25")


def stated(report: OrderReport) -> list[tuple[int, Decimal, bool]]:
    """Return revision and commission of each execution, and whether it is only that."""
    return [(f.revision, f.commission, f.is_commission_only) for f in report.fills]


LATE = [(0, FEE, False), (0, FEE, True)]  # the execution for who lacks it, its commission for all


async def filled_without_commission(stage: Environment) -> Execution:
    """Fill an order; its commission is not sent yet."""
    stage.tws.commissions = False
    await stage.submit(order())
    (first,) = await stage.wait_for_reports(ReportKind.FILLED)
    assert stated(first) == [(0, Decimal(0), False)]
    stage.tws.commissions = True
    return first.fills[0]


@with_environment
async def test_late_commission_is_stated_apart(stage: Environment) -> None:
    fill = await filled_without_commission(stage)
    stage.tws.replay()
    _, then = await stage.wait_for_reports(ReportKind.FILLED, 2)
    assert stated(then) == LATE
    charged = replace(fill, commission=FEE, commission_currency="USD")
    assert then.fills == (charged, replace(charged, is_commission_only=True))
    count = len(stage.reports)
    stage.tws.replay()
    await stage.find(ID)  # requested after it on the same connection
    assert len(await stage.drain_events()) == count


@with_environment
async def test_commission_in_time_is_part_of_the_execution(stage: Environment) -> None:
    await stage.submit(order())
    (only,) = await stage.wait_for_reports(ReportKind.FILLED)
    assert stated(only) == [(0, FEE, False)]
    (found, *_) = await stage.find(ID) or []
    assert stated(found) == [(0, FEE, False)]


@with_environment
async def test_commission_before_its_execution_is_part_of_it(stage: Environment) -> None:
    await stage.submit(limit())
    stage.tws.commissions = False
    stage.venue.report_execution = lambda execution: None
    execution = stage.venue.fill(ID, "20000", "1.0900")
    stage.tws.send(messages.commission(execution))
    security = stage.venue.securities[execution.order.con_id]
    stage.tws.send(messages.executed(-1, security, execution))
    (only,) = await stage.wait_for_reports(ReportKind.FILLED)
    assert stated(only) == [(0, FEE, False)]


@with_environment
async def test_commission_that_came_to_no_process_is_stated_to_the_next(
    stage: Environment,
) -> None:
    fill = await filled_without_commission(stage)
    await stage.crash()
    (listed,) = await stage.adapter.fills_since(stage.spec, fill.time)
    (pushed,) = await stage.wait_for_reports(ReportKind.FILLED)
    (found,) = await stage.find(ID) or []
    for report in (listed, pushed, found):
        assert stated(report) == LATE
        assert report.fills[0] == replace(fill, commission=FEE, commission_currency="USD")


@with_environment
async def test_commission_is_stated_after_a_change_of_the_client_id(stage: Environment) -> None:
    await filled_without_commission(stage)
    await stage.crash()
    stage.client_id = 8
    await stage.adapter.connect(stage.spec)
    (pushed,) = await stage.wait_for_reports(ReportKind.FILLED)
    assert (pushed.client_order_id, stated(pushed)) == (ID, LATE)


@with_environment
async def test_commission_during_a_disconnect_is_stated(stage: Environment) -> None:
    await filled_without_commission(stage)
    await stage.tws.close()
    await stage.wait_until(lambda: not stage.session.usable)
    await stage.tws.open(stage.tws.port)
    _, then = await stage.wait_for_reports(ReportKind.FILLED, 2)
    assert stated(then) == LATE


@with_environment
async def test_new_process_repeats_no_commission_that_is_not_there(stage: Environment) -> None:
    fill = await filled_without_commission(stage)
    stage.tws.commissions = False
    await stage.crash()
    (listed,) = await stage.adapter.fills_since(stage.spec, fill.time)
    assert stated(listed) == [(0, Decimal(0), False)]


@with_environment
async def test_commission_of_a_correction_belongs_to_it(stage: Environment) -> None:
    fill = await filled_without_commission(stage)
    stage.tws.commissions = False
    stage.venue.correct(stage.venue.executions[0], "1.1001")
    await stage.wait_for_reports(ReportKind.FILLED, 2)
    stage.tws.commissions = True
    stage.venue.executions[0].commission = Decimal("1.50")
    await stage.crash()
    (listed,) = await stage.adapter.fills_since(stage.spec, fill.time)
    assert stated(listed) == [(2, Decimal("1.50"), False), (2, Decimal("1.50"), True)]


@with_environment
async def test_commission_of_a_stop_names_its_entry(stage: Environment) -> None:
    await stage.submit(protected())
    stage.tws.commissions = False
    stage.venue.quote("EURUSD", "1.0880", "1.0882")
    await stage.wait_for_reports(ReportKind.FILLED, of=lambda r: r.close_cause is not None)
    stage.tws.commissions = True
    await stage.crash()
    await stage.adapter.connect(stage.spec)
    (stop,) = await stage.wait_for_reports(
        ReportKind.FILLED, of=lambda r: r.close_cause is not None
    )
    assert (stop.client_order_id, stop.close_cause) == (ID, CloseCause.STOP_LOSS)
    assert stated(stop) == LATE


@with_environment
async def test_commission_of_a_close_by_hand_in_tws_is_stated(stage: Environment) -> None:
    await stage.submit(order())
    stage.venue.close_by_hand("DU1234567", "EURUSD")
    stage.venue.executions[-1].currency = "GBP"
    _, exit_ = await stage.adapter.fills_since(stage.spec, datetime.now(UTC) - timedelta(hours=1))
    assert (exit_.close_cause, stated(exit_)) == (CloseCause.EXTERNAL, LATE)
    assert {fill.commission_currency for fill in exit_.fills} == {"GBP"}


@with_environment
async def test_commission_of_an_evicted_order_is_stated(stage: Environment) -> None:
    await stage.adapter.connect(stage.spec)
    stage.session.order_cache._partition = RecordCache(1).partition(stage.session.order_cache)
    fill = await filled_without_commission(stage)
    await stage.submit(order("abc00000000000002"))
    reports = await stage.adapter.fills_since(stage.spec, fill.time)
    by_order = {report.client_order_id: stated(report) for report in reports}
    assert by_order[ID] == LATE


@with_environment
async def test_execution_of_an_earlier_day_has_no_commission(stage: Environment) -> None:
    """TWS lists it no more: what is left is the order's cumulative quantity."""
    await stage.submit(limit())
    stage.tws.commissions = False
    stage.venue.fill(ID, "5000", "1.0900")
    await stage.wait_for_reports(ReportKind.FILLED)
    stage.tws.commissions = True
    stage.venue.executions.clear()
    await stage.crash()
    await stage.adapter.connect(stage.spec)
    found = await stage.find(ID) or []
    (total,) = [fill for report in found for fill in report.fills]
    assert (total.inferred, total.quantity, total.commission) == (True, Decimal(5000), Decimal(0))
    assert not total.is_commission_only
