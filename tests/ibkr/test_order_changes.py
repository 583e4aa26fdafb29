"""Working entries are changed under their own number; stop and target follow the quantity."""

from dataclasses import replace
from decimal import Decimal as D

import pytest

from brokers.base import OutcomeUnknown, Rejected
from brokers.types import ChangeRequest, OrderTerms, OrderType, ReportKind, Side
from common.reason_codes import Code
from tests.fakes.tws import messages
from tests.fakes.tws.faults import Fault
from tests.ibkr.factories import CONNECTION, Environment, limit, with_environment

ID = "abc00000000000001"
OLD = OrderTerms(D(20000), D("1.0900"))


def change(terms: OrderTerms, present: OrderTerms = OLD) -> ChangeRequest:
    return ChangeRequest(
        ID, "", CONNECTION, "EURUSD", Side.BUY, OrderType.LIMIT, terms=terms, present=present
    )


@with_environment
async def test_stop_and_target_follow_the_quantity(stage: Environment) -> None:
    await stage.submit(replace(limit(), stop_loss=D("1.08"), take_profit=D("1.12")))
    numbers = [one.order_id for one in stage.venue.orders]
    new = OrderTerms(D(30000), D("1.0880"))
    (report,) = await stage.adapter.change_order(stage.spec, change(new))
    assert (report.kind, report.terms) == (ReportKind.CHANGED, new)
    assert [one.order_id for one in stage.venue.orders] == numbers  # the same three orders
    assert {one.quantity for one in stage.venue.orders} == {D(30000)}
    stage.venue.quote("EURUSD", "1.0870", "1.0872")
    (held,) = await stage.adapter.positions(stage.spec)
    assert held.quantity == D(30000)


@with_environment
async def test_restarted_process_changes_the_order(stage: Environment) -> None:
    await stage.submit(limit())
    await stage.crash()
    new = replace(OLD, limit_price=D("1.0850"))
    (report,) = await stage.adapter.change_order(stage.spec, change(new))
    assert report.terms == new
    assert len(stage.venue.orders) == 1


@with_environment
async def test_price_between_ticks_never_gets_worse(stage: Environment) -> None:
    await stage.submit(limit())
    between = replace(OLD, limit_price=D("1.085012"))
    (report,) = await stage.adapter.change_order(stage.spec, change(between))
    assert report.terms == replace(OLD, limit_price=D("1.08500"))


@with_environment
async def test_refused_change_keeps_the_order(stage: Environment) -> None:
    await stage.submit(limit())
    stage.tws.faults.append(Fault("reject", 201, "Order rejected - reason:too large"))
    with pytest.raises(Rejected) as refused:
        await stage.adapter.change_order(stage.spec, change(replace(OLD, quantity=D(40000))))
    assert refused.value.code is Code.CHANGE_REFUSED
    (listed,) = await stage.adapter.open_orders(stage.spec)
    assert listed.terms == OLD


TOO_LARGE = 201, "Order rejected - reason:too large"


@with_environment
async def test_refusal_of_a_change_that_comes_too_late_ends_no_order(stage: Environment) -> None:
    """The change is not awaited any more, and the order works as it was."""
    await stage.submit(limit())
    stage.fault("ignore")
    with pytest.raises(OutcomeUnknown):
        await stage.adapter.change_order(stage.spec, change(replace(OLD, quantity=D(40000))))
    stage.tws.send(messages.error(stage.venue.order(ID).order_id, *TOO_LARGE))
    (found,) = await stage.find(ID) or []
    assert found.kind is ReportKind.ACCEPTED
    (listed,) = await stage.adapter.open_orders(stage.spec)
    assert listed.terms == OLD
    assert {one.kind for one in await stage.drain_events()} <= {ReportKind.ACCEPTED}


@with_environment
async def test_changed_order_that_is_refused_ends_as_the_lists_show(stage: Environment) -> None:
    await stage.submit(limit())
    new = replace(OLD, limit_price=D("1.0880"))
    await stage.adapter.change_order(stage.spec, change(new))
    stage.venue.end(ID, "Inactive", "No money")
    stage.tws.send(messages.error(stage.venue.order(ID).order_id, *TOO_LARGE))
    (report,) = await stage.wait_for_reports(ReportKind.REJECTED)
    assert report.detail.endswith("too large")


@with_environment
async def test_order_that_another_client_id_placed_is_refused(stage: Environment) -> None:
    await stage.submit(limit())
    other = replace(stage.spec, settings={**stage.spec.settings, "client_id": 9})
    await stage.crash()
    with pytest.raises(Rejected) as refused:
        await stage.adapter.change_order(other, change(replace(OLD, quantity=D(40000))))
    assert refused.value.code in (Code.OTHER_CLIENT_ID, Code.ORDER_ENDED)
    assert stage.venue.orders[0].quantity == D(20000)


@with_environment
async def test_fill_that_is_shown_before_the_new_terms_leaves_the_change_unknown(
    stage: Environment,
) -> None:
    """Which terms the order was filled with is not known yet: it is neither made nor refused."""
    await stage.submit(limit())
    stage.tws.faults.append(Fault("status first"))
    with pytest.raises(OutcomeUnknown) as unknown:
        await stage.adapter.change_order(stage.spec, change(replace(OLD, limit_price=D("1.2000"))))
    assert unknown.value.code is Code.REPLY_LOST
    assert await stage.adapter.open_orders(stage.spec) == []


@with_environment
async def test_change_to_a_reached_price_is_reported_with_its_fill(stage: Environment) -> None:
    await stage.submit(limit())
    new = replace(OLD, limit_price=D("1.2000"))
    reports = await stage.adapter.change_order(stage.spec, change(new))
    assert reports[0].terms == new
    await stage.wait_for_reports(ReportKind.FILLED)
