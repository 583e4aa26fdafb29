"""A change that TWS sends while it has lost IBKR may become a second order, beside the first."""

from dataclasses import replace
from decimal import Decimal as D

import pytest

from brokers.base import OutcomeUnknown
from brokers.types import CancelRequest, ModifyRequest, ReportKind
from tests.fakes.tws.venue import Order
from tests.ibkr.factories import Environment, limit, protected, with_environment
from tests.ibkr.test_events import filled_sum

ID = limit().client_order_id


async def doubled(stage: Environment) -> list[Order]:
    """Return an order and its twin, which have one number and one reference."""
    await stage.submit(limit())
    placed = stage.venue.order(ID)
    stage.venue.orders.append(replace(placed, perm_id=placed.perm_id + 5000, limit="1.0880"))
    await stage.find(ID)
    return stage.venue.orders[-2:]


@with_environment
async def test_cancel_leaves_none_of_two_orders(stage: Environment) -> None:
    both = await doubled(stage)
    request = CancelRequest(ID, "", "EURUSD")
    reports = await stage.adapter.cancel(stage.spec, request)
    assert [report.kind for report in reports] == [ReportKind.CANCELLED]
    assert not any(order.live for order in both)


@with_environment
async def test_end_of_one_of_two_orders_ends_nothing(stage: Environment) -> None:
    first, second = await doubled(stage)
    stage.venue._end(first, "Cancelled")
    (report,) = await stage.find(ID) or []
    assert (report.kind, report.broker_order_id) == (ReportKind.ACCEPTED, str(second.perm_id))
    stage.venue.report_order(first, "status")  # TWS repeats what it states
    (listed,) = await stage.adapter.open_orders(stage.spec)
    assert listed.broker_order_id == str(second.perm_id)
    stage.venue.execute(second, D(20000), D("1.0880"))
    await stage.wait_for_reports(ReportKind.FILLED)
    assert filled_sum(stage.reports) == 20000
    assert ReportKind.CANCELLED not in {one.kind for one in stage.reports}


@with_environment
async def test_both_of_two_orders_end_before_the_lists_are_read(stage: Environment) -> None:
    for order in await doubled(stage):
        stage.venue._end(order, "Cancelled")
    (report,) = await stage.wait_for_reports(ReportKind.CANCELLED)
    assert report.client_order_id == ID
    assert await stage.adapter.open_orders(stage.spec) == []


@with_environment
async def test_removal_of_a_stop_is_done_when_none_of_two_is_left(stage: Environment) -> None:
    """The one that is left would open a position."""
    await stage.submit(protected())
    stop = stage.venue.order(f"{ID}:sl")
    stage.venue.orders.append(replace(stop, perm_id=stop.perm_id + 5000, aux="1.0850"))
    await stage.find(ID)
    request = ModifyRequest(ID, "12087792", "EURUSD", None, D("1.12"))
    with pytest.raises(OutcomeUnknown):  # one is left
        await stage.adapter.modify(stage.spec, request)
    (report,) = await stage.adapter.modify(stage.spec, request)
    assert (report.kind, report.stop_loss) == (ReportKind.LEVELS, None)
    assert not any(order.live for order in stage.venue.orders if order.ref == stop.ref)
