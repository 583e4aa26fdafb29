"""Levels and cancels: changed under the same id, by the session that placed them."""

from decimal import Decimal
from typing import Any

import pytest

from brokers.base import NotSent, OutcomeUnknown, Rejected
from brokers.types import (
    CancelRequest,
    CheckResult,
    ModifyRequest,
    OrderType,
    ReportKind,
    Side,
)
from common.clocks import machine_time
from common.reason_codes import Code
from tests.fakes.tws import messages
from tests.ibkr.factories import Environment, exit_of, limit, order, protected, with_environment

ID = "abc00000000000001"


def move(stop: str | None, target: str | None, **more: object) -> ModifyRequest:
    prices = [None if price is None else Decimal(price) for price in (stop, target)]
    return ModifyRequest(ID, "12087792", "EURUSD", prices[0], prices[1], **more)  # type: ignore[arg-type]


def stopping(client_order_id: str = ID) -> CancelRequest:
    return CancelRequest(client_order_id, "", "EURUSD")


@with_environment
async def test_levels_are_changed_under_their_own_ids(stage: Environment) -> None:
    await stage.submit(protected())
    stop_id = stage.venue.order(f"{ID}:sl").order_id
    (report,) = await stage.adapter.modify(stage.spec, move("1.095", "1.13"))
    assert (report.kind, report.stop_loss, report.take_profit, report.protected) == (
        ReportKind.LEVELS, Decimal("1.095"), Decimal("1.13"), Decimal(20000),
    )  # fmt: skip
    assert len(stage.venue.orders) == 3  # nothing was placed beside them
    assert stage.venue.order(f"{ID}:sl").order_id == stop_id
    assert stage.venue.order(f"{ID}:sl").oca_group == ID[:-1]


@with_environment
async def test_replaced_level_is_known_to_the_next_process(stage: Environment) -> None:
    await stage.submit(protected())
    await stage.adapter.modify(stage.spec, move(None, "1.12"))
    await stage.adapter.modify(stage.spec, move("1.08", "1.12", quantity=Decimal(20000)))
    await stage.crash()
    (held,) = await stage.adapter.positions(stage.spec)
    assert (held.stop_loss, held.take_profit) == (Decimal("1.08"), Decimal("1.12"))
    (report,) = await stage.adapter.modify(stage.spec, move("1.085", "1.12"))
    assert report.stop_loss == Decimal("1.085")
    stage.venue.cancel(stage.venue.order(f"{ID}:sl"))  # also if cancelled elsewhere
    (gone, *_) = await stage.wait_for_reports(ReportKind.LEVELS, of=lambda r: r.stop_loss is None)
    assert gone.take_profit == Decimal("1.12")


@with_environment
async def test_cancel_that_its_exchange_has_not_made_yet_is_not_refused(
    stage: Environment,
) -> None:
    """As while the exchange is closed. TWS refuses a second cancel in that state."""
    await stage.submit(limit())
    stage.venue.cancels_later = True
    with pytest.raises(OutcomeUnknown):
        await stage.adapter.cancel(stage.spec, stopping())
    for _ in range(2):
        (report,) = await stage.adapter.cancel(stage.spec, stopping())
        assert report.kind is ReportKind.ACCEPTED
    stage.venue.end(ID)
    (report,) = await stage.wait_for_reports(ReportKind.CANCELLED)
    found = await stage.adapter.cancel(stage.spec, stopping())
    assert [one.kind for one in found] == [ReportKind.CANCELLED]


@with_environment
async def test_refused_move_of_a_stop_that_comes_too_late_leaves_the_stop(
    stage: Environment,
) -> None:
    await stage.submit(protected())
    stop = stage.venue.order(f"{ID}:sl")
    stage.fault("ignore")
    with pytest.raises(OutcomeUnknown):
        await stage.adapter.modify(stage.spec, move("1.095", "1.12"))
    stage.tws.send(messages.error(stop.order_id, 201, "Order rejected - reason:Invalid price."))
    (held,) = await stage.adapter.positions(stage.spec)
    assert (held.stop_loss, held.take_profit) == (Decimal("1.09"), Decimal("1.12"))
    found = [one for one in await stage.drain_events() if one.kind is ReportKind.LEVELS]
    assert {one.code for one in found} <= {None}
    (report,) = await stage.adapter.modify(stage.spec, move("1.095", "1.12"))
    assert report.stop_loss == Decimal("1.095")
    assert [one.live for one in stage.venue.orders if one.ref == stop.ref] == [True]  # the same one


@pytest.mark.parametrize(
    ("side", "stop", "target", "sent"),
    [
        (Side.BUY, "1.09001", "1.12001", ("1.09005", "1.12005")),
        (Side.SELL, "1.12004", "1.09004", ("1.12", "1.09")),
    ],
)
def test_level_between_ticks_is_rounded_in_our_favour(
    side: Side, stop: str, target: str, sent: tuple[str, str]
) -> None:
    @with_environment
    async def test(stage: Environment) -> None:
        below, above = Decimal(stop), Decimal(target)
        await stage.submit(order(side=side, stop_loss=below, take_profit=above))
        resting = stage.venue.order(f"{ID}:sl").aux, stage.venue.order(f"{ID}:tp").limit
        assert resting == sent
        received = list(stage.venue.received)
        await stage.adapter.modify(stage.spec, move(stop, target))
        assert stage.venue.received == received  # no message was sent

    test()


@pytest.mark.parametrize(
    ("side", "field", "price", "sent"),
    [
        (Side.BUY, "stop_price", "1.20001", "1.20005"),
        (Side.SELL, "stop_price", "1.00004", "1"),
        (Side.BUY, "limit_price", "1.00004", "1"),
        (Side.SELL, "limit_price", "1.20001", "1.20005"),
    ],
)
def test_entry_price_between_ticks_is_rounded_to_never_be_worse(
    side: Side, field: str, price: str, sent: str
) -> None:
    @with_environment
    async def test(stage: Environment) -> None:
        kind = OrderType.STOP if field == "stop_price" else OrderType.LIMIT
        price_field: dict[str, Any] = {field: Decimal(price)}
        await stage.submit(order(side=side, order_type=kind, **price_field))
        placed = stage.venue.order(ID)
        assert (placed.aux if kind is OrderType.STOP else placed.limit) == sent

    test()


@with_environment
async def test_unchanged_levels_send_no_message(stage: Environment) -> None:
    await stage.submit(protected())
    await stage.wait_for_reports(ReportKind.LEVELS)
    received = list(stage.venue.received)
    (report,) = await stage.adapter.modify(stage.spec, move("1.09", "1.12"))
    assert (report.stop_loss, report.take_profit) == (Decimal("1.09"), Decimal("1.12"))
    assert stage.venue.received == received


@with_environment
async def test_level_is_removed_and_placed_again(stage: Environment) -> None:
    await stage.submit(protected())
    (report,) = await stage.adapter.modify(stage.spec, move(None, "1.12"))
    assert (report.stop_loss, report.take_profit, report.protected) == (None, Decimal("1.12"), None)
    assert stage.venue.order(f"{ID}:sl").status == "Cancelled"

    (report,) = await stage.adapter.modify(
        stage.spec, move("1.08", "1.12", quantity=Decimal(20000))
    )
    assert (report.stop_loss, report.protected) == (Decimal("1.08"), Decimal(20000))
    fresh = stage.venue.order(f"{ID}:sl")
    assert (fresh.status, fresh.oca_group, fresh.oca_type) == ("PreSubmitted", ID[:-1], 2)
    stage.venue.quote("EURUSD", "1.0790", "1.0792")
    assert stage.venue.held("EURUSD") == 0
    assert not stage.venue.order(f"{ID}:tp").live


@with_environment
async def test_levels_are_added_to_an_entry_without_levels(stage: Environment) -> None:
    await stage.submit(order())
    (report,) = await stage.adapter.modify(stage.spec, move("1.08", None, quantity=Decimal(20000)))
    assert (report.stop_loss, report.take_profit) == (Decimal("1.08"), None)
    assert stage.venue.order(f"{ID}:sl").action == "SELL"


@with_environment
async def test_levels_of_working_entry_are_its_children(stage: Environment) -> None:
    await stage.submit(limit())
    await stage.adapter.modify(stage.spec, move("1.08", "1.12"))
    entry = stage.venue.order(ID)
    assert stage.venue.order(f"{ID}:sl").parent_id == entry.order_id
    stage.venue.quote("EURUSD", "1.1300", "1.1302")  # beyond the target, and no position is open
    assert stage.venue.held("EURUSD") == 0
    stage.venue.fill(ID, "20000", "1.09")
    assert stage.venue.held("EURUSD") == 0  # the target closed it


@with_environment
async def test_no_level_is_placed_for_entry_that_ended_unfilled(stage: Environment) -> None:
    await stage.submit(limit())
    stage.venue.end(ID)
    await stage.wait_for_reports(ReportKind.CANCELLED)
    with pytest.raises(Rejected) as refused:  # the caller has not received the end yet
        await stage.adapter.modify(stage.spec, move("1.08", "1.12"))
    assert refused.value.code is Code.NO_POSITION
    assert [one.ref for one in stage.venue.orders] == [ID]


@with_environment
async def test_no_level_is_placed_after_the_old_one_closed_the_position(
    stage: Environment,
) -> None:
    await stage.submit(protected())
    stage.venue.quote("EURUSD", "1.0890", "1.0892")  # the stop
    assert stage.venue.held("EURUSD") == 0
    await stage.wait_for_reports(ReportKind.FILLED, count=2)
    with pytest.raises(Rejected) as refused:  # the caller has not received it yet
        await stage.adapter.modify(stage.spec, move("1.08", "1.12", quantity=Decimal(20000)))
    assert refused.value.code is Code.NO_POSITION
    stage.venue.quote("EURUSD", "1.0790", "1.0792")
    assert stage.venue.held("EURUSD") == 0


@with_environment
async def test_new_level_covers_only_what_exits_left_open(stage: Environment) -> None:
    await stage.submit(order())
    await stage.submit(exit_of(quantity=15000))
    (report,) = await stage.adapter.modify(stage.spec, move("1.08", None, quantity=Decimal(20000)))
    assert report.protected == Decimal(5000)
    stage.venue.quote("EURUSD", "1.0790", "1.0792")
    assert stage.venue.held("EURUSD") == 0


@with_environment
async def test_levels_of_position_older_than_todays_lists_are_changed(stage: Environment) -> None:
    await stage.submit(order())
    stage.venue.orders.clear()
    stage.venue.executions.clear()
    await stage.crash()
    (report,) = await stage.adapter.modify(stage.spec, move("1.08", None, quantity=Decimal(20000)))
    assert (report.stop_loss, report.protected) == (Decimal("1.08"), Decimal(20000))
    with pytest.raises(Rejected) as refused:
        await stage.adapter.modify(
            stage.spec, ModifyRequest("abc00000000000009", "", "AAPL", Decimal(1), None)
        )
    assert refused.value.code is Code.NO_POSITION


@with_environment
async def test_refused_level_change_keeps_the_old_level(stage: Environment) -> None:
    await stage.submit(protected())
    await stage.wait_for_reports(ReportKind.LEVELS)
    stage.fault("reject", 110, "The price does not conform to the minimum price variation")
    with pytest.raises(Rejected) as refused:
        await stage.adapter.modify(stage.spec, move("1.095", "1.12"))
    assert refused.value.code is Code.STOPS_INVALID
    (held,) = await stage.adapter.positions(stage.spec)
    assert held.stop_loss == Decimal("1.09")


@with_environment
async def test_level_change_past_its_deadline_is_not_sent(stage: Environment) -> None:
    await stage.submit(protected())
    received = list(stage.venue.received)
    with pytest.raises(NotSent) as not_sent:
        await stage.adapter.modify(stage.spec, move("1.095", None, send_by=machine_time() - 1))
    assert not_sent.value.code is Code.SEND_DEADLINE
    late = CancelRequest(ID, "", "EURUSD", send_by=machine_time() - 1)
    await stage.submit(limit("abc00000000000002"))
    with pytest.raises(NotSent):
        await stage.adapter.cancel(
            stage.spec, CancelRequest("abc00000000000002", "", "EURUSD", late.send_by)
        )
    assert stage.venue.received == [*received, "abc00000000000002"]
    assert stage.venue.order("abc00000000000002").live


@with_environment
async def test_level_change_without_reply_is_unknown(stage: Environment) -> None:
    await stage.submit(protected())
    stage.fault("accept in silence")
    with pytest.raises(OutcomeUnknown):
        await stage.adapter.modify(stage.spec, move("1.095", "1.12"))


@with_environment
async def test_level_lost_on_its_way_is_placed_by_the_next_request(
    stage: Environment,
) -> None:
    await stage.submit(order())
    wanted = move("1.08", None, quantity=Decimal(20000))
    stage.fault("lose")
    with pytest.raises(OutcomeUnknown):
        await stage.adapter.modify(stage.spec, wanted)
    await stage.wait_until(lambda: stage.session.usable)
    (report,) = await stage.adapter.modify(stage.spec, wanted)
    assert report.stop_loss == Decimal("1.08")
    assert stage.venue.order(f"{ID}:sl").live


@with_environment
async def test_cancel_ends_the_order_and_its_levels(stage: Environment) -> None:
    entry = limit()
    await stage.submit(
        order(order_type=entry.order_type, limit_price=entry.limit_price, stop_loss=Decimal("1.08"))
    )
    (report,) = await stage.adapter.cancel(stage.spec, stopping())
    assert (report.kind, report.client_order_id) == (ReportKind.CANCELLED, ID)
    await stage.wait_until(lambda: not stage.venue.order(f"{ID}:sl").live)


@with_environment
async def test_cancel_after_fill_is_refused(stage: Environment) -> None:
    await stage.submit(limit())
    stage.venue.order(ID).status = "Submitted"
    stage.tws.muted = {4}
    with pytest.raises(OutcomeUnknown):
        await stage.adapter.cancel(stage.spec, stopping())
    stage.tws.muted = set()
    stage.venue.fill(ID, "20000", "1.09")
    refused, filled = await stage.adapter.cancel(stage.spec, stopping())
    assert (refused.kind, filled.kind) == (ReportKind.CANCEL_REFUSED, ReportKind.FILLED)


@with_environment
async def test_refused_cancel_reports_the_orders_state(stage: Environment) -> None:
    await stage.submit(limit())
    placed = stage.venue.order(ID)
    stage.venue.report_order = lambda order, what: None  # the fill's report is delayed
    stage.venue.report_execution = lambda execution: None
    stage.venue.fill(ID, "20000", "1.09")
    refused, *did = await stage.adapter.cancel(stage.spec, stopping())
    assert refused.kind is ReportKind.CANCEL_REFUSED
    assert refused.detail.startswith("10148")
    assert placed.filled == 20000
    report = did or await stage.wait_for_reports(ReportKind.FILLED)
    assert report[0].fills[0].quantity == 20000


@with_environment
async def test_missing_order_cannot_be_cancelled(stage: Environment) -> None:
    with pytest.raises(Rejected):
        await stage.adapter.cancel(stage.spec, stopping("abc00000000000009"))


@with_environment
async def test_orders_of_another_client_id_are_listed_but_not_changed(stage: Environment) -> None:
    await stage.submit(protected())
    await stage.submit(limit("abc00000000000002"))
    await stage.crash()
    stage.client_id = 8
    await stage.adapter.account(stage.spec)
    (found, *_) = await stage.find("abc00000000000002") or []
    assert found.kind is ReportKind.ACCEPTED
    with pytest.raises(Rejected) as refused:
        await stage.adapter.cancel(stage.spec, stopping("abc00000000000002"))
    assert refused.value.code is Code.OTHER_CLIENT_ID
    with pytest.raises(Rejected) as refused:
        await stage.adapter.modify(stage.spec, move("1.095", None))
    assert refused.value.code is Code.OTHER_CLIENT_ID
    lines = {one.name: one for one in await stage.adapter.test(stage.spec)}
    report = lines["orders of another client id"]
    assert (report.result, report.detail) == (CheckResult.WARN, "placed by client id 7")
    # An exit after a takeover: the group ends the orders that cannot be changed.
    await stage.submit(exit_of(ID))
    assert stage.venue.held("EURUSD") == 0
    assert not stage.venue.order(f"{ID}:sl").live
