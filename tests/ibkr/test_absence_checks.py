"""Absence is confirmed only once TWS is certain to have received all that was sent."""

from dataclasses import replace

import pytest

from brokers.base import NotSent, OutcomeUnknown, ReadFailed, Rejected
from brokers.types import CancelRequest, ReportKind
from tests.ibkr.factories import QUICK, Environment, adapter, limit, order, with_environment
from tests.ibkr.test_levels import move

ID, OTHER = "abc00000000000001", "abc00000000000002"
PATIENT = replace(QUICK, settle=3600.0)
LONG_AGO = 2 * 3600


async def is_not_sure(stage: Environment, client_order_id: str) -> None:
    await stage.wait_until(lambda: stage.session.usable)
    with pytest.raises(ReadFailed, match="may not list it yet"):
        await stage.adapter.find_order(stage.spec, client_order_id)


@with_environment
async def test_order_written_before_a_disconnect_may_be_reported_later(
    stage: Environment,
) -> None:
    stage.adapter = adapter(timing=PATIENT)
    stage.tws.unreported = {ID}  # the gateway has it, and lists it seconds later
    stage.fault("accept and cut")
    with pytest.raises(OutcomeUnknown):
        await stage.submit(limit())
    await is_not_sure(stage, ID)
    await stage.adapter.disconnect()  # a new process cannot know it either
    stage.adapter = adapter(timing=PATIENT)
    await stage.adapter.connect(stage.spec)
    await is_not_sure(stage, ID)
    with pytest.raises(NotSent):  # and a cancel does not report a missing order
        await stage.adapter.cancel(stage.spec, CancelRequest(ID, "", "EURUSD"))
    stage.tws.unreported = set()
    (found,) = await stage.find(ID) or []
    assert found.kind is ReportKind.ACCEPTED
    assert stage.venue.received == [ID]


@with_environment
async def test_absence_on_an_old_connection_counts_from_the_write(stage: Environment) -> None:
    stage.adapter = adapter(timing=PATIENT)
    await stage.adapter.connect(stage.spec)
    stage.session.stable_since -= LONG_AGO
    assert await stage.find(OTHER) is None
    stage.tws.unreported = {ID}
    stage.fault("accept in silence")
    with pytest.raises(OutcomeUnknown):
        await stage.submit(limit())
    await is_not_sure(stage, ID)
    with pytest.raises(OutcomeUnknown):  # it is not sent again either
        await stage.submit(limit())
    stage.session.order_cache.get("c1", ID).written_at -= LONG_AGO  # type: ignore[union-attr]
    assert await stage.find(ID) is None


@pytest.mark.parametrize("back", [1101, 1102])
@pytest.mark.parametrize("away", [1100, 2110])
def test_gateway_reconnected_to_ibkr_may_not_be_up_to_date(away: int, back: int) -> None:
    @with_environment
    async def test(stage: Environment) -> None:
        stage.adapter = adapter(timing=PATIENT)
        await stage.adapter.connect(stage.spec)
        stage.session.stable_since -= LONG_AGO
        assert await stage.find(ID) is None
        stage.tws.announce(away, "Connectivity has been lost.")
        await stage.wait_until(lambda: not stage.session.usable)
        stage.tws.announce(back, "Connectivity has been restored.")
        await is_not_sure(stage, ID)
        stage.session.stable_since -= LONG_AGO
        assert await stage.find(ID) is None
        with pytest.raises(Rejected):
            await stage.adapter.cancel(stage.spec, CancelRequest(ID, "", "EURUSD"))

    test()


@with_environment
async def test_level_that_may_still_arrive_is_not_placed_twice(stage: Environment) -> None:
    stage.adapter = adapter(timing=PATIENT)
    await stage.submit(order())
    stage.session.stable_since -= LONG_AGO
    stop = move("1.0900", None)
    stage.fault("ignore")
    with pytest.raises(OutcomeUnknown):
        await stage.adapter.modify(stage.spec, stop)
    with pytest.raises(NotSent, match="may not list it yet"):
        await stage.adapter.modify(stage.spec, stop)
    stage.session.order_cache.get("c1", ID, "sl").written_at -= LONG_AGO  # type: ignore[union-attr]
    await stage.adapter.modify(stage.spec, stop)
    assert [one.ref for one in stage.venue.orders].count(f"{ID}:sl") == 1
