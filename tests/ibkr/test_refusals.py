"""Refusals whose number no table knows: the order's own state at TWS decides, and at once."""

from dataclasses import replace
from decimal import Decimal as D

import pytest

from brokers.base import NotSent, OutcomeUnknown, Rejected
from brokers.types import ChangeRequest, ModifyRequest, OrderTerms, OrderType, ReportKind, Side
from common.reason_codes import Code
from tests.fakes.tws import messages
from tests.ibkr.factories import (
    QUICK,
    Environment,
    adapter,
    limit,
    order,
    protected,
    with_environment,
)

ID = "abc00000000000001"
REFUSALS = (
    (154, "This order cannot be transmitted for a halted security.", Code.MARKET_CLOSED),
    (163, "The price would violate the percentage constraint.", Code.PRICE_INVALID),
    (383, "The following order exceeds the Size Limit.", Code.VOLUME_INVALID),
    (460, "No trading permissions.", Code.SYMBOL_TRADING_DISABLED),
    (10243, "Fractional-sized order cannot be placed via API.", Code.VOLUME_INVALID),
    (10311, "This order will be directly routed to NASDAQ.", Code.REJECTED_BY_BROKER),
    (10318, "This order doesn't support fractional quantity trading.", Code.VOLUME_INVALID),
    (10999, "something new", Code.REJECTED_BY_BROKER),
    (399999, "something newer", Code.REJECTED_BY_BROKER),
)


@with_environment
async def test_each_refusal_is_final_with_its_number_and_text(stage: Environment) -> None:
    for n, (number, text, code) in enumerate(REFUSALS):
        stage.fault("reject", number, text)
        with pytest.raises(Rejected) as refused:
            await stage.submit(order(f"abc0000000000001{n}"))
        assert (refused.value.code, refused.value.detail) == (code, f"{number}: {text}")
    assert stage.venue.accepted == []


@with_environment
async def test_unlisted_refusal_waits_until_tws_would_list_the_order(stage: Environment) -> None:
    """TWS lists an order only some seconds after it was written: until then it may be alive."""
    stage.adapter = adapter(timing=replace(QUICK, reply=30.0, settle=0.3))
    stage.fault("reject", 10999, "something new")
    with pytest.raises(Rejected) as refused:
        await stage.submit(limit())
    assert refused.value.detail == "10999: something new"

    stage.fault("unlisted", 10999, "something new")
    other = limit("abc00000000000002")
    stage.tws.unreported.add(other.client_order_id)  # no list has it yet

    def is_listed() -> bool:
        return "open" in stage.tws.list_requests

    stage.tws.list_requests.clear()
    task = stage.start(stage.submit(other))
    await stage.wait_until(is_listed)
    stage.tws.unreported.clear()
    (report,) = await task
    assert report.kind is ReportKind.ACCEPTED


@with_environment
async def test_unlisted_refusal_is_unknown_when_lists_cannot_be_read(stage: Environment) -> None:
    await stage.submit(limit("abc00000000000002"))
    stage.fault("reject", 10999, "something new")
    stage.tws.muted = {16}
    with pytest.raises(OutcomeUnknown) as unknown:
        await stage.submit(limit())
    assert unknown.value.detail == "10999: something new"


@with_environment
async def test_duplicate_order_number_is_not_sent_and_renewed(stage: Environment) -> None:
    """Another program used numbers of this client id: TWS accepts none below its own."""
    await stage.submit(limit("abc00000000000002"))
    stage.venue.last_order_ids[stage.client_id] += 1000
    with pytest.raises(NotSent) as not_sent:
        await stage.submit(protected())
    assert not_sent.value.detail.startswith("103: ")
    assert stage.venue.accepted == ["abc00000000000002"]
    (report,) = await stage.submit(protected())
    assert report.kind is ReportKind.FILLED
    assert stage.venue.accepted[1:] == [ID, f"{ID}:sl", f"{ID}:tp"]


@with_environment
async def test_entry_is_withdrawn_when_its_last_level_is_refused(stage: Environment) -> None:
    """The last level transmits all: without it TWS keeps an entry that never starts."""
    for n, (number, text) in enumerate(((110, "not a price"), (10999, "something new"))):
        request = protected(f"abc0000000000002{n}")
        stage.venue.refused[f"{request.client_order_id}:tp"] = number, text
        with pytest.raises(Rejected) as refused:
            await stage.submit(request)
        assert refused.value.code is Code.STOPS_INVALID
        assert refused.value.detail == f"{number}: {text}"
        assert [one.ref for one in stage.venue.orders if one.live] == []
        assert await stage.find(request.client_order_id) is not None
    assert stage.venue.accepted == []


@with_environment
async def test_change_refused_because_tws_is_busy_is_not_sent(stage: Environment) -> None:
    text = "Unable to modify this order as it is still being processed."
    await stage.submit(limit())
    stage.venue.refused[ID] = 2102, text
    with pytest.raises(NotSent) as not_sent:
        await stage.adapter.change_order(stage.spec, change("1.08"))
    assert not_sent.value.detail == f"2102: {text}"
    assert stage.venue.order(ID).limit == "1.09"
    stage.venue.refused.clear()
    (report,) = await stage.adapter.change_order(stage.spec, change("1.08"))
    assert report.terms == OrderTerms(D(20000), D("1.08"))

    await stage.submit(protected("abc00000000000002"))
    stage.venue.refused["abc00000000000002:sl"] = 2102, text
    levels = ModifyRequest("abc00000000000002", "", "EURUSD", D("1.095"), D("1.12"), D(20000))
    with pytest.raises(NotSent):
        await stage.adapter.modify(stage.spec, levels)
    stage.venue.refused.clear()
    (held,) = await stage.adapter.modify(stage.spec, levels)
    assert held.stop_loss == D("1.095")


@with_environment
async def test_refused_change_states_its_number_and_text(stage: Environment) -> None:
    await stage.submit(limit())
    stage.venue.refused[ID] = 10999, "something new"
    with pytest.raises(Rejected) as refused:
        await stage.adapter.change_order(stage.spec, change("1.08"))
    assert (refused.value.code, refused.value.detail) == (
        Code.CHANGE_REFUSED, "10999: something new",
    )  # fmt: skip


@with_environment
async def test_warning_about_a_new_order_leaves_it_alive(stage: Environment) -> None:
    for n, number in enumerate((399, 2109, 10349, 2161)):
        request = limit(f"abc0000000000003{n}")
        stage.fault("accept in silence")
        task = stage.start(stage.submit(request))
        await stage.wait_until(lambda: request.client_order_id in stage.venue.accepted)  # noqa: B023
        placed = stage.venue.order(request.client_order_id)
        stage.tws.send(messages.error(placed.order_id, number, "a warning"))
        stage.tws.send(messages.order_status(placed, "Submitted", D(0), 0))
        (report,) = await task
        assert report.kind is ReportKind.ACCEPTED


def change(price: str) -> ChangeRequest:
    return ChangeRequest(
        ID, "", "c1", "EURUSD", Side.BUY, OrderType.LIMIT, OrderTerms(D(20000), D(price)),
        OrderTerms(D(20000), D("1.09")),
    )  # fmt: skip
