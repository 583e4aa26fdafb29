"""An order that had been accepted, and that no list of TWS has any more.

It may have ended while the gateway was away: TWS lists only today's orders. Or the nightly reset
has dropped it without a message.
"""

from dataclasses import replace
from decimal import Decimal

import pytest

from brokers.base import OutcomeUnknown, Rejected
from brokers.types import (
    CancelRequest,
    ChangeRequest,
    HeldLevels,
    OrderReport,
    OrderTerms,
    OrderType,
    ReportKind,
    Side,
)
from common.reason_codes import Code
from tests.ibkr.factories import (
    CONNECTION,
    Environment,
    adapter,
    limit,
    with_environment,
)
from tests.ibkr.test_absence_checks import LONG_AGO, PATIENT, is_not_sure

ID = "abc00000000000001"
RESTING = replace(limit(), stop_loss=Decimal("1.08"), take_profit=Decimal("1.12"))
CANCEL = CancelRequest(ID, "", "EURUSD")


async def end_unseen(stage: Environment, *refs: str) -> None:
    """Be without the gateway while orders end and TWS's midnight passes."""
    await stage.tws.close()
    await stage.wait_until(lambda: not stage.session.usable)
    for ref in refs:
        stage.venue.forget(ref)
    stage.venue.executions.clear()
    await stage.tws.open(stage.tws.port)


def kinds(reports: list[OrderReport] | None) -> list[ReportKind]:
    return [report.kind for report in reports or []]


@with_environment
async def test_order_that_ended_unseen_is_absent_as_for_a_new_process(stage: Environment) -> None:
    await stage.submit(limit())
    await end_unseen(stage, ID)
    assert [await stage.find(ID) for _ in range(2)] == [None, None]
    assert await stage.adapter.open_orders(stage.spec) == []
    assert kinds(await stage.drain_events()) == [ReportKind.ACCEPTED]  # no end is made up
    stage.tws.list_requests.clear()
    await stage.adapter.open_orders(stage.spec)
    assert stage.tws.list_requests == ["open"]  # nothing is missing there any more
    await stage.crash()
    await stage.adapter.connect(stage.spec)
    assert await stage.find(ID) is None


@with_environment
async def test_accepted_order_is_not_absent_before_tws_lists_all(stage: Environment) -> None:
    stage.adapter = adapter(timing=PATIENT)
    await stage.submit(limit())
    stage.venue.fill(ID, "5000", "1.0900")
    await stage.wait_for_reports(ReportKind.FILLED)
    stage.tws.unreported = {ID}
    await is_not_sure(stage, ID)
    stage.tws.unreported = set()
    assert kinds(await stage.find(ID)) == [ReportKind.FILLED]
    stage.tws.unreported = {ID}
    stage.session.stable_since -= LONG_AGO
    await is_not_sure(stage, ID)  # it was written a moment ago
    stage.session.order_cache.get("c1", ID).written_at -= LONG_AGO  # type: ignore[union-attr]
    assert await stage.find(ID) is None


@with_environment
async def test_executions_of_today_alone_are_no_answer_before_tws_lists_all(
    stage: Environment,
) -> None:
    stage.adapter = adapter(timing=PATIENT)
    await stage.submit(limit())
    stage.venue.fill(ID, "5000", "1.0900")
    stage.venue.forget(ID)
    await is_not_sure(stage, ID)


@with_environment
async def test_order_that_is_listed_late_is_reported_again(stage: Environment) -> None:
    await stage.submit(limit())
    stage.tws.unreported = {ID}
    assert await stage.find(ID) is None
    stage.tws.unreported = set()
    assert kinds(await stage.find(ID)) == [ReportKind.ACCEPTED]
    (listed,) = await stage.adapter.open_orders(stage.spec)
    assert listed.client_order_id == ID
    assert kinds(await stage.drain_events()) == [ReportKind.ACCEPTED] * 2
    assert stage.venue.received == [ID]
    assert kinds(await stage.adapter.cancel(stage.spec, CANCEL)) == [ReportKind.CANCELLED]


@with_environment
async def test_cancel_of_a_vanished_order_does_not_report_it_as_accepted(
    stage: Environment,
) -> None:
    await stage.submit(limit())
    await end_unseen(stage, ID)
    await stage.wait_until(lambda: stage.session.usable)
    for _ in range(2):
        with pytest.raises(Rejected, match="no such order"):
            await stage.adapter.cancel(stage.spec, CANCEL)
    assert await stage.find(ID) is None
    assert kinds(await stage.drain_events()) == [ReportKind.ACCEPTED]


@with_environment
async def test_cancel_is_unknown_while_tws_may_not_list_the_order(stage: Environment) -> None:
    stage.adapter = adapter(timing=PATIENT)
    await stage.submit(limit())
    stage.venue.forget(ID)
    with pytest.raises(OutcomeUnknown, match="may not list it yet"):
        await stage.adapter.cancel(stage.spec, CANCEL)
    stage.session.stable_since -= LONG_AGO
    stage.session.order_cache.get("c1", ID).written_at -= LONG_AGO  # type: ignore[union-attr]
    with pytest.raises(Rejected, match="no such order"):
        await stage.adapter.cancel(stage.spec, CANCEL)


@with_environment
async def test_change_of_a_vanished_order_places_none(stage: Environment) -> None:
    await stage.submit(limit())
    await end_unseen(stage, ID)
    await stage.wait_until(lambda: stage.session.usable)
    before, after = (OrderTerms(Decimal(20000), Decimal(price)) for price in ("1.09", "1.08"))
    request = ChangeRequest(ID, "", CONNECTION, "EURUSD", Side.BUY, OrderType.LIMIT, after, before)
    with pytest.raises(Rejected) as refused:
        await stage.adapter.change_order(stage.spec, request)
    assert refused.value.code is Code.CHANGE_REFUSED
    assert stage.venue.orders == []


@with_environment
async def test_executions_of_today_remain_of_a_vanished_order(stage: Environment) -> None:
    """It is not absent then: an exit that was executed in part may not be sent again as a whole."""
    await stage.submit(limit())
    stage.venue.fill(ID, "5000", "1.0900")
    await stage.wait_for_reports(ReportKind.FILLED)
    stage.venue.forget(ID)  # by the nightly reset

    async def is_known() -> None:
        (found,) = await stage.find(ID) or []
        assert (found.kind, found.fills[0].quantity) == (ReportKind.FILLED, Decimal(5000))

    await is_known()
    refused = await stage.adapter.cancel(stage.spec, CANCEL)
    assert kinds(refused) == [ReportKind.CANCEL_REFUSED, ReportKind.FILLED]
    await is_known()
    await stage.crash()
    await stage.adapter.connect(stage.spec)
    await is_known()
    stage.venue.executions.clear()  # TWS's midnight
    assert await stage.find(ID) is None


@with_environment
async def test_executions_of_an_earlier_day_leave_a_vanished_order_absent(
    stage: Environment,
) -> None:
    await stage.submit(limit())
    stage.venue.fill(ID, "5000", "1.0900")
    await stage.wait_for_reports(ReportKind.FILLED)
    await end_unseen(stage, ID)
    assert await stage.find(ID) is None
    events = await stage.drain_events()
    assert kinds(events) == [ReportKind.ACCEPTED, ReportKind.FILLED]
    assert events[1].fills[0].quantity == Decimal(5000)


@with_environment
async def test_levels_that_vanished_with_their_entry_are_forgotten(stage: Environment) -> None:
    await stage.submit(RESTING)
    await end_unseen(stage, ID, f"{ID}:sl", f"{ID}:tp")
    assert await stage.find(ID) is None
    assert stage.session.order_cache.of("c1") == []


@with_environment
async def test_levels_that_work_outlast_their_vanished_entry(stage: Environment) -> None:
    """The entry was filled unseen; its stop and target protect the position."""
    await stage.submit(RESTING)
    await stage.tws.close()
    await stage.wait_until(lambda: not stage.session.usable)
    stage.venue.fill(ID, "20000", "1.0900")
    stage.venue.forget(ID)
    stage.venue.executions.clear()
    await stage.tws.open(stage.tws.port)
    assert await stage.find(ID) is None
    (held,) = await stage.adapter.positions(stage.spec)
    assert held.levels == HeldLevels(Decimal("1.08"), Decimal("1.12"), Decimal(20000))


@with_environment
async def test_level_is_not_gone_before_tws_lists_all(stage: Environment) -> None:
    """Otherwise a second stop would be placed beside the one that works."""
    stage.adapter = adapter(timing=PATIENT)
    await stage.submit(RESTING)
    stage.venue.fill(ID, "20000", "1.0900")
    await stage.wait_for_reports(ReportKind.FILLED)
    stage.tws.unreported = {f"{ID}:sl"}
    (held,) = await stage.adapter.positions(stage.spec)
    assert held.levels is None
    stage.tws.unreported = set()
    (held,) = await stage.adapter.positions(stage.spec)
    assert held.levels == HeldLevels(Decimal("1.08"), Decimal("1.12"), Decimal(20000))
    stage.tws.unreported = {f"{ID}:sl"}
    stage.session.stable_since -= LONG_AGO
    for record in stage.session.order_cache.of("c1"):
        record.written_at -= LONG_AGO
    (held,) = await stage.adapter.positions(stage.spec)
    assert held.levels is not None
    assert (held.levels.stop_loss, held.levels.take_profit) == (None, Decimal("1.12"))


@with_environment
async def test_vanished_order_may_be_placed_after_its_absence(stage: Environment) -> None:
    await stage.submit(limit())
    await end_unseen(stage, ID)
    assert await stage.find(ID) is None
    assert kinds(await stage.submit(limit())) == [ReportKind.ACCEPTED]
    assert [one.ref for one in stage.venue.orders] == [ID]
