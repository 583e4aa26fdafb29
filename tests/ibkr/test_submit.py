"""The outcome of an order on its way to IBKR and back: not sent, rejected or unknown."""

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from brokers.base import NotSent, OutcomeUnknown, ReadFailed, Rejected
from brokers.types import OrderRequest, OrderType, ReportKind, TimeInForce
from common.reason_codes import Code
from tests.fakes.tws import messages
from tests.ibkr.factories import (
    QUICK,
    WAIT_SECONDS,
    Environment,
    adapter,
    limit,
    order,
    protected,
    with_environment,
)

ID = "abc00000000000001"


@with_environment
async def test_market_order_is_filled_and_its_levels_share_a_group(
    stage: Environment,
) -> None:
    (report,) = await stage.submit(protected())

    assert report.kind is ReportKind.FILLED
    (fill,) = report.fills
    assert (fill.quantity, fill.price) == (Decimal(20000), Decimal("1.1002"))
    assert (fill.commission, fill.commission_currency) == (Decimal("1.25"), "USD")
    assert stage.venue.accepted == [ID, f"{ID}:sl", f"{ID}:tp"]
    entry, stop, target = stage.venue.orders
    assert [o.transmit for o in stage.venue.orders] == [False, False, True]
    assert (stop.parent_id, target.parent_id) == (entry.order_id, entry.order_id)
    assert (entry.oca_group, stop.oca_group, target.oca_group) == ("", ID[:-1], ID[:-1])
    assert (stop.oca_type, target.oca_type) == (2, 2)
    assert (stop.kind, stop.aux, target.kind, target.limit) == ("STP", "1.09", "LMT", "1.12")
    assert {o.tif for o in stage.venue.orders} == {"GTC"}


@with_environment
async def test_limit_and_stop_prices_are_rounded_to_ticks(stage: Environment) -> None:
    (bought,) = await stage.submit(limit(price="1.090037"))
    stop = order(
        "abc00000000000002", order_type=OrderType.STOP, stop_price=Decimal("1.120037"),
        time_in_force=TimeInForce.DAY,
    )  # fmt: skip
    (stopped,) = await stage.submit(stop)

    assert (bought.kind, stopped.kind) == (ReportKind.ACCEPTED, ReportKind.ACCEPTED)
    assert [o.limit or o.aux for o in stage.venue.orders] == ["1.09", "1.12005"]
    assert [o.tif for o in stage.venue.orders] == ["GTC", "DAY"]


@with_environment
async def test_stop_limit_good_till_date_order_is_sent_with_all_of_it(stage: Environment) -> None:
    end = datetime(2099, 1, 1, 12, 30, 15, 999_999, tzinfo=timezone(timedelta(hours=2)))
    waiting = order(
        order_type=OrderType.STOP_LIMIT, stop_price=Decimal("1.120037"),
        limit_price=Decimal("1.130037"), time_in_force=TimeInForce.GTD, expires_at=end,
    )  # fmt: skip
    (accepted,) = await stage.submit(waiting)
    assert accepted.kind is ReportKind.ACCEPTED
    [at_tws] = stage.venue.orders
    assert (at_tws.kind, at_tws.aux, at_tws.limit) == ("STP LMT", "1.12005", "1.13")
    assert (at_tws.tif, at_tws.good_till) == ("GTD", "20990101-10:30:15")
    for wrong in (replace(waiting, expires_at=None), replace(waiting, limit_price=None)):
        with pytest.raises(Rejected):
            await stage.submit(replace(wrong, client_order_id="abc00000000000009"))
    assert len(stage.venue.orders) == 1


@with_environment
async def test_immediate_order_without_a_price_expires(stage: Environment) -> None:
    hurried = limit()
    (end,) = await stage.submit(
        order(
            order_type=OrderType.LIMIT, limit_price=hurried.limit_price,
            time_in_force=TimeInForce.IOC,
        )
    )  # fmt: skip
    # It was accepted first: its end follows as an event, if it was not in the reply.
    if end.kind is ReportKind.ACCEPTED:
        (end,) = await stage.wait_for_reports(ReportKind.EXPIRED)
    assert (end.kind, end.code) == (ReportKind.EXPIRED, Code.NO_PRICE_WITHIN_LIMIT)


@with_environment
async def test_listed_refusal_is_final_and_reported_once(stage: Environment) -> None:
    cases = [
        (201, "Order rejected - reason:NOT ACCEPTED. INSUFFICIENT MARGIN", "NO_MONEY"),
        (110, "The price does not conform to the minimum price variation", "PRICE_INVALID"),
        (203, "The security AAPL is not available or allowed for this account",
         "SYMBOL_TRADING_DISABLED"),
        (321, "Error validating request: The API interface is currently in Read-Only mode.",
         "TRADING_DISABLED"),
    ]  # fmt: skip
    for n, (number, text, code) in enumerate(cases):
        stage.fault("reject", number, text)
        with pytest.raises(Rejected) as refused:
            await stage.submit(order(f"abc0000000000001{n}"))
        assert (refused.value.code, refused.value.detail) == (Code(code), f"{number}: {text}")
    assert stage.venue.accepted == []
    assert await stage.drain_events() == []  # it was in the reply; a retry has another id


@with_environment
async def test_order_accepted_before_a_disconnect_is_unknown_then_found(stage: Environment) -> None:
    stage.fault("accept and cut")
    with pytest.raises(OutcomeUnknown) as unknown:
        await stage.submit(order())
    assert unknown.value.code is Code.REPLY_LOST

    (found,) = await stage.find(ID) or []
    assert (found.kind, found.fills[0].quantity) == (ReportKind.FILLED, Decimal(20000))
    assert stage.venue.accepted == [ID]


@with_environment
async def test_order_lost_by_a_disconnect_is_unknown_then_absent(
    stage: Environment,
) -> None:
    stage.fault("lose")
    with pytest.raises(OutcomeUnknown):
        await stage.submit(order())

    assert await stage.find(ID) is None
    await stage.submit(order())  # a resend after a confirmed absence keeps the id
    assert stage.venue.accepted == [ID]


@with_environment
async def test_order_without_reply_is_unknown_after_the_timeout(stage: Environment) -> None:
    stage.fault("accept in silence")
    with pytest.raises(OutcomeUnknown):
        await stage.submit(limit())
    (found,) = await stage.find(ID) or []
    assert found.kind is ReportKind.ACCEPTED


@with_environment
async def test_late_reply_is_reported_as_an_event(stage: Environment) -> None:
    stage.fault("late", seconds=1.2)
    with pytest.raises(OutcomeUnknown):
        await stage.submit(limit())
    (late,) = await stage.wait_for_reports(ReportKind.ACCEPTED)
    assert late.client_order_id == ID


@with_environment
async def test_partial_answer_is_unknown(stage: Environment) -> None:
    stage.fault("half")
    with pytest.raises(OutcomeUnknown):
        await stage.submit(limit())
    (found,) = await stage.find(ID) or []
    assert found.kind is ReportKind.ACCEPTED


@with_environment
async def test_unlisted_code_is_resolved_by_a_lookup(stage: Environment) -> None:
    stage.fault("unlisted", 10999, "something new")
    (report,) = await stage.submit(limit())
    assert report.kind is ReportKind.ACCEPTED  # ib_async's own state would be Cancelled
    assert stage.venue.order(ID).live


@with_environment
async def test_inactive_order_is_looked_up_then_rejected(stage: Environment) -> None:
    stage.fault("inactive", text="Rejected by the exchange")
    with pytest.raises(Rejected) as refused:
        await stage.submit(limit())
    assert refused.value.code is Code.REJECTED_BY_BROKER
    assert refused.value.detail == "Rejected by the exchange"


@with_environment
async def test_malformed_answer_triggers_a_lookup(stage: Environment) -> None:
    stage.fault("garbage")
    (report,) = await stage.submit(limit())
    assert report.kind is ReportKind.ACCEPTED
    assert "not|an|order" in stage.session.malformed_message


@with_environment
async def test_invalid_message_without_a_reply_is_unknown_with_raw_text(stage: Environment) -> None:
    await stage.submit(limit("abc00000000000002"))
    stage.fault("garbage")
    stage.tws.muted = {16}
    with pytest.raises(OutcomeUnknown) as unknown:
        await stage.submit(limit())
    assert "not|an|order" in unknown.value.detail


@with_environment
async def test_invalid_message_about_another_account_is_not_quoted(
    stage: Environment,
) -> None:
    """The login may have other users' accounts; messages about them are not quoted."""
    await stage.submit(limit("abc00000000000002"))
    stage.fault("garbage", text="DU7654321")
    stage.tws.muted = {16}
    with pytest.raises(OutcomeUnknown) as unknown:
        await stage.submit(limit())
    assert "DU7654321" not in unknown.value.detail
    assert "invalid message" in unknown.value.detail


@with_environment
async def test_order_without_a_gateway_is_not_sent(stage: Environment) -> None:
    await stage.tws.close()
    with pytest.raises(NotSent) as not_sent:
        await stage.submit(order())
    assert not_sent.value.code is Code.NOT_CONNECTED
    assert stage.venue.received == []


@with_environment
async def test_tws_disconnected_from_ibkr_takes_no_order_and_confirms_no_absence(
    stage: Environment,
) -> None:
    await stage.submit(limit("abc00000000000002"))
    stage.tws.announce(1100, "Connectivity between IBKR and TWS has been lost.")
    await stage.wait_until(lambda: not stage.session.usable)
    assert stage.session.client.isConnected()
    with pytest.raises(NotSent) as not_sent:
        await stage.submit(order())
    assert not_sent.value.code is Code.BROKER_UNREACHABLE
    with pytest.raises(ReadFailed):
        await stage.adapter.find_order(stage.spec, ID)
    assert stage.venue.received == ["abc00000000000002"]

    for back in (1102, 1101):
        stage.venue.fill("abc00000000000002", "5000", "1.0900")
        stage.tws.announce(back, "restored")
        await stage.wait_until(lambda: stage.session.usable)
        stage.tws.announce(1100, "lost again")
        await stage.wait_until(lambda: not stage.session.usable)
    stage.tws.announce(1102, "restored")
    await stage.wait_until(lambda: stage.session.usable)
    await stage.submit(order())
    assert stage.venue.received == ["abc00000000000002", ID]


@with_environment
async def test_resend_is_refused_until_absence_is_confirmed(stage: Environment) -> None:
    stage.fault("accept in silence")
    with pytest.raises(OutcomeUnknown):
        await stage.submit(limit())
    with pytest.raises(OutcomeUnknown):
        await stage.submit(limit())
    assert stage.venue.received == [ID]


@with_environment
async def test_id_is_never_placed_twice(stage: Environment) -> None:
    first = await stage.submit(order())
    assert await stage.submit(order()) == first
    assert stage.venue.received == [ID]


@with_environment
async def test_outcomes_of_a_bundle_are_reported_one_by_one(stage: Environment) -> None:
    stage.fault("reject", 201, "rejected")
    outcomes: dict[str, Any] = {}
    requests = [(stage.spec, order(f"abc0000000000002{n}")) for n in range(3)]
    await stage.adapter.submit_many(
        requests, lambda _: None, lambda r, o: outcomes.setdefault(r.client_order_id, o)
    )
    refused = [o for o in outcomes.values() if isinstance(o, Rejected)]
    assert (len(outcomes), len(refused)) == (3, 1)


@with_environment
async def test_silent_or_broken_order_does_not_delay_other_outcomes(
    stage: Environment,
) -> None:
    """An unexpected error leaves its order unreported and is raised after all other outcomes."""
    stage.adapter = adapter(timing=replace(QUICK, reply=WAIT_SECONDS))
    await stage.adapter.instruments(stage.spec)
    stage.fault("accept in silence")
    silent, broken, good = (order(f"abc0000000000002{n}") for n in range(3))
    outcomes: dict[str, Any] = {}

    def guard(request: OrderRequest) -> None:
        if request is broken:
            raise ZeroDivisionError

    def record_outcome(request: OrderRequest, outcome: Any) -> None:
        outcomes[request.client_order_id] = outcome
        if request is good:  # while the other is pending
            stage.tws.send(
                messages.error(stage.venue.order(silent.client_order_id).order_id, 999, "?")
            )

    with pytest.raises(ZeroDivisionError):
        await stage.adapter.submit_many(
            [(stage.spec, one) for one in (silent, broken, good)], guard, record_outcome
        )
    assert list(outcomes) == [good.client_order_id, silent.client_order_id]
    assert [type(outcome) for outcome in outcomes.values()] == [list, list]
    assert sorted(stage.venue.received) == sorted(outcomes)
