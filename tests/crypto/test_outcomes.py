"""Every way an order's answer can fail to come, or come wrong, and what is then known."""

import asyncio
import importlib
import socket
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from brokers.base import NotSent, OutcomeUnknown, ReadFailed, Rejected
from brokers.crypto import adapter as adapter_module
from brokers.crypto import lookup
from brokers.crypto.exchanges import EXPIRES_SECONDS, LAG_SECONDS
from brokers.types import CancelRequest, OrderRequest, ReportKind, Side
from common.clocks import machine_time
from common.reason_codes import Code
from tests.crypto.factories import D, VenueSetup, allow, close, each, house, open_venue
from tests.fakes.exchange.venue import Fault, RejectedError

__all__ = ["each", "house"]

LOST = [
    Fault("drop_after"),
    Fault("reset_after"),
    Fault("half"),
    Fault("torn"),
    Fault("status_after", 500, "{}"),
    Fault("status_after", 502, "<html>Bad gateway</html>"),
    Fault("status_after", 504, ""),
    Fault("status_after", 200, "<html>We are being maintained</html>"),
    Fault("status_after", 404, "<html>Not here</html>"),
    Fault("status_after", 200, "{}"),
    Fault("status_after", 200, "null"),
    Fault("status_after", 200, '{"news": 1}'),
]


def _id(fault: Fault) -> str:
    return f"{fault.kind}-{fault.status}-{fault.body[:8]}"


@pytest.mark.parametrize("fault", LOST, ids=_id)
def test_an_accepted_order_whose_answer_is_lost_is_unknown_and_found(
    each: VenueSetup, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    each.warm()
    each.venue.faults.append(fault)
    request = each.order()
    with pytest.raises(OutcomeUnknown):
        each.submit(request)
    assert each.venue.accepted(request.client_order_id) == 1
    found = each.find(request.client_order_id)
    assert found is not None
    assert [report.kind for report in found] == [ReportKind.FILLED]


@pytest.mark.parametrize("kind", ["half", "status_after"])
def test_a_secret_that_is_cut_where_the_answer_breaks_off_is_not_told(
    house: VenueSetup, kind: str
) -> None:
    house.warm()
    house.venue.faults.append(Fault(kind, 200, f'{{"key": "{house.venue.key[:-2]}'))
    with pytest.raises(OutcomeUnknown) as unknown:
        house.submit(house.order())
    assert unknown.value.detail.endswith('{"key": "***')


@pytest.mark.parametrize(
    "fault", [Fault("drop"), Fault("status", 503, "<html>busy</html>")], ids=_id
)
def test_an_order_that_was_not_taken_is_unknown_too_and_absent_only_when_it_can_no_more_arrive(
    each: VenueSetup, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    each.warm()
    each.venue.faults.append(fault)
    request = each.order()
    with pytest.raises(OutcomeUnknown):
        each.submit(request)
    assert each.venue.accepted(request.client_order_id) == 0
    with pytest.raises(ReadFailed, match="may still arrive"):
        each.find(request.client_order_id)
    late = machine_time() + 60
    monkeypatch.setattr(adapter_module, "machine_time", lambda: late)
    monkeypatch.setattr(lookup, "machine_time", lambda: late)
    with pytest.raises(ReadFailed, match="may still arrive"):
        each.find(request.client_order_id)  # by their clock it is too early
    each.venue.skew_ms = 60_000
    assert each.find(request.client_order_id) is None


def test_an_absence_counts_from_when_it_was_looked_for(
    each: VenueSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the answers take: what was not there at first may have come meanwhile."""
    each.warm()
    each.venue.faults.append(Fault("drop"))
    request = each.order()
    with pytest.raises(OutcomeUnknown):
        each.submit(request)
    now, asked = machine_time(), len(each.venue.seen)
    monkeypatch.setattr(
        adapter_module, "machine_time", lambda: now + 60 * (len(each.venue.seen) > asked)
    )
    with pytest.raises(ReadFailed, match="may still arrive"):
        each.find(request.client_order_id)


def test_a_late_answer_ends_in_time_as_unknown(each: VenueSetup) -> None:
    each.warm()
    client = each.run(each.adapter._clients.of(each.spec))
    usual, client.exchange.timeout = client.exchange.timeout, 1500
    each.venue.faults.append(Fault("late", seconds=60))
    request = each.order()
    began = machine_time()
    with pytest.raises(OutcomeUnknown):
        each.submit(request)
    assert machine_time() - began < 30
    client.exchange.timeout = usual
    assert each.venue.accepted(request.client_order_id) == 1
    assert each.find(request.client_order_id) is not None


def test_the_guard_is_asked_when_only_the_write_is_left_and_its_no_is_proven(
    each: VenueSetup,
) -> None:
    each.warm()
    request = each.order()
    asked: list[int] = []

    def refuse(_: OrderRequest) -> None:
        asked.append(len(each.venue.arrived))
        raise NotSent(Code.KILL_SWITCH)

    with pytest.raises(NotSent) as outcome:
        each.submit(request, refuse)
    assert (outcome.value.code, asked) == (Code.KILL_SWITCH, [0])
    assert each.venue.arrived == []
    assert each.venue.accepted(request.client_order_id) == 0
    assert [r.kind for r in each.submit(request)] == [ReportKind.FILLED]  # the line still works


def test_the_guard_is_asked_after_the_connect(
    each: VenueSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[str] = []
    line = importlib.import_module(
        "brokers.crypto.http_session"
    )  # it wants aiohttp, an optional extra
    make = line._socket

    def noted(address: Any) -> socket.socket:
        happened.append("connect")
        made: socket.socket = make(address)
        return made

    monkeypatch.setattr(line, "_socket", noted)
    monkeypatch.setattr(line, "KEEP_SECONDS", 0.0)  # each request connects anew
    each.warm()
    happened.clear()
    each.submit(each.order(), lambda _: happened.append("guard"))
    assert happened[:2] == ["connect", "guard"]


def test_nothing_runs_between_the_guard_and_the_write(
    each: VenueSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    each.warm()
    happened: list[str] = []
    kind = asyncio.selector_events._SelectorSocketTransport  # type: ignore[attr-defined]
    write = kind.write

    def noted(self: Any, data: bytes) -> None:
        if data.startswith(b"POST") and b"abc0" in data:
            happened.append("write")
        write(self, data)

    def guard(_: OrderRequest) -> None:
        happened.append("guard")
        asyncio.get_running_loop().call_soon(happened.append, "something else")

    monkeypatch.setattr(kind, "write", noted)
    each.submit(each.order(), guard)
    assert happened[:3] == ["guard", "write", "something else"]


def test_a_connect_that_fails_is_proven_unsent(each: VenueSetup) -> None:
    each.warm()
    each.server.stop()
    with pytest.raises(NotSent) as outcome:
        each.submit(each.order())
    assert outcome.value.code is Code.NOT_CONNECTED


def test_an_exchange_that_cannot_be_reached_at_first_is_unsent(each: VenueSetup) -> None:
    each.server.stop()
    with pytest.raises(NotSent) as outcome:
        each.submit(each.order())
    assert outcome.value.code is Code.NOT_CONNECTED


def test_an_order_never_follows_a_redirect(each: VenueSetup) -> None:
    each.warm()
    each.venue.faults.append(Fault("redirect"))
    with pytest.raises(OutcomeUnknown):
        each.submit(each.order())
    assert len(each.venue.arrived) == 1
    assert each.venue.orders == []


def test_a_repeated_id_is_looked_up_not_believed_new(each: VenueSetup) -> None:
    request = each.order(limit_price=D(40000))
    first = each.submit(request)
    again = each.submit(request)
    assert [r.broker_order_id for r in again] == [r.broker_order_id for r in first]
    assert each.venue.accepted(request.client_order_id) == 1


@pytest.mark.parametrize("name", ["binance", "okx", "kraken"])
def test_an_id_that_was_accepted_is_looked_up_though_the_exchange_would_take_it_again(
    name: str,
) -> None:
    """Once the first has closed; a process that remembers nothing cannot know it."""
    made = open_venue(name)
    request = made.order(quantity=D("0.1"))
    first, again = made.submit(request), made.submit(request)
    assert [r.broker_order_id for r in again] == [r.broker_order_id for r in first]
    assert made.venue.accepted(request.client_order_id) == 1
    other = made.another()
    made.run(other.submit(made.spec, request, allow))
    assert made.venue.accepted(request.client_order_id) == 2
    assert made.adapter.capabilities(made.spec).refuses_repeated_ids is False
    made.run(other.disconnect())
    close(made)


def test_each_exchange_is_told_when_an_order_is_too_old(each: VenueSetup) -> None:
    each.submit(each.order())
    name, (written, *_) = each.spec.exchange_name, each.venue.arrived
    where = {
        "binance": "recvWindow=5000" in written,
        "bybit": each.venue.last_write.get("X-BAPI-RECV-WINDOW") == "5000",
        "okx": int(each.venue.last_write.get("expTime", 0)) > each.venue.now(),
        "kraken": "deadline=20" in written,
    }
    assert where[name]
    waits = each.adapter.capabilities(each.spec).arrives_within
    assert waits.total_seconds() == EXPIRES_SECONDS + LAG_SECONDS  # what the engine waits for


def test_a_cancel_past_its_time_never_leaves(each: VenueSetup) -> None:
    request = each.order(limit_price=D(40000))
    each.submit(request)
    before = len(each.venue.arrived)
    with pytest.raises(NotSent) as outcome:
        each.cancel(request, send_by=machine_time() - 1)
    assert outcome.value.code is Code.SEND_DEADLINE
    assert len(each.venue.arrived) == before
    assert each.venue.orders[0].is_open


def test_a_cancel_whose_answer_is_lost_is_unknown_and_may_be_asked_again(house: VenueSetup) -> None:
    request = house.order(limit_price=D(40000))
    house.submit(request)
    house.venue.faults.append(Fault("drop_after", on="cancel"))
    with suppress(OutcomeUnknown):  # aiohttp writes a DELETE once more by itself: Binance's
        house.cancel(request)
    told = house.cancel(request)
    assert told[0].kind is ReportKind.CANCELLED
    assert house.venue.orders[0].status == "CANCELED"


def test_a_cancel_that_cannot_be_looked_up_is_unknown(each: VenueSetup) -> None:
    request = each.order(limit_price=D(40000))
    each.submit(request)
    for _ in range(2):
        each.venue.faults.append(Fault("status", 502, "<html>", on="read"))
    with pytest.raises(OutcomeUnknown):
        each.cancel(request)


def test_an_order_is_cancelled_though_its_symbol_is_no_longer_listed(each: VenueSetup) -> None:
    request = each.order(limit_price=D(40000))
    each.submit(request)
    spec = replace(each.spec, settings={**each.spec.settings, "symbols": []})
    wanted = CancelRequest(request.client_order_id, "", request.symbol)
    told = each.run(each.adapter.cancel(spec, wanted))
    assert [report.kind for report in told] == [ReportKind.CANCELLED]


def test_a_cancel_of_what_is_nowhere_is_unknown(each: VenueSetup) -> None:
    with pytest.raises(OutcomeUnknown, match="neither cancelled nor"):
        each.cancel(each.order())


def test_a_repeated_id_that_cannot_be_looked_up_is_unknown(each: VenueSetup) -> None:
    request = each.order(limit_price=D(40000))
    each.submit(request)
    for _ in range(2):
        each.venue.faults.append(Fault("status", 502, "<html>", on="read"))
    with pytest.raises(OutcomeUnknown):
        each.submit(request)
    assert each.venue.accepted(request.client_order_id) == 1


def test_one_of_many_that_is_refused_is_told_and_the_others_go_on(each: VenueSetup) -> None:
    requests = [each.order(), each.order(quantity=D("0.0001")), each.order(quantity=D("0.1"))]
    told: dict[OrderRequest, Any] = {}
    pairs = [(each.spec, request) for request in requests]
    each.run(each.adapter.submit_many(pairs, lambda _: None, told.__setitem__))
    assert [type(told[request]) for request in requests] == [list, Rejected, list]


def test_a_reply_without_fills_is_accepted_when_the_look_up_fails(each: VenueSetup) -> None:
    each.warm()
    for _ in range(2):
        each.venue.faults.append(Fault("status", 502, "<html>", on="read"))
    told = each.submit(each.order())
    assert [report.kind for report in told] == [ReportKind.ACCEPTED]
    assert told[0].broker_order_id


def test_a_venue_refuses_what_it_should() -> None:
    """The double itself: it is no yes-man."""
    made = open_venue("binance", swap=True)
    with pytest.raises(RejectedError, match="flat"):
        made.venue.place("BTCUSDT", "SELL", "MARKET", D(1), reduce_only=True)
    assert made.order(side=Side.SELL).side is Side.SELL
    close(made)
