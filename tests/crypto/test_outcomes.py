"""Lost, late and malformed replies to an order, and the outcome that each of them means."""

import asyncio
import importlib
import socket
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from brokers.base import NotSent, OutcomeUnknown, ReadFailed, Rejected
from brokers.crypto import account_identity, lookup
from brokers.crypto import adapter as adapter_module
from brokers.crypto.exchanges import EXPIRES_SECONDS, LAG_SECONDS
from brokers.types import CancelRequest, OrderRequest, ReportKind, Side
from common.clocks import machine_time
from common.reason_codes import Code
from tests.crypto.factories import (
    D,
    ExchangeAccount,
    account,
    allow,
    any_account,
    close,
    open_account,
)
from tests.fakes.exchange.venue import Fault, RejectedError

__all__ = ["account", "any_account"]

LOST_REPLIES = [
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


@pytest.mark.parametrize("fault", LOST_REPLIES, ids=_id)
def test_accepted_order_with_lost_reply_is_unknown_then_found(
    any_account: ExchangeAccount, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    any_account.load_markets()
    any_account.venue.faults.append(fault)
    request = any_account.order()
    with pytest.raises(OutcomeUnknown):
        any_account.submit(request)
    assert any_account.venue.accepted(request.client_order_id) == 1
    found = any_account.find(request.client_order_id)
    assert found is not None
    assert [report.kind for report in found] == [ReportKind.FILLED]


@pytest.mark.parametrize("kind", ["half", "status_after"])
def test_truncated_secret_in_broken_reply_is_redacted(account: ExchangeAccount, kind: str) -> None:
    account.load_markets()
    account.venue.faults.append(Fault(kind, 200, f'{{"key": "{account.venue.key[:-2]}'))
    with pytest.raises(OutcomeUnknown) as unknown:
        account.submit(account.order())
    assert unknown.value.detail.endswith('{"key": "***')


@pytest.mark.parametrize(
    "fault", [Fault("drop"), Fault("status", 503, "<html>busy</html>")], ids=_id
)
def test_unaccepted_order_is_absent_only_after_it_can_no_longer_arrive(
    any_account: ExchangeAccount, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    any_account.load_markets()
    any_account.venue.faults.append(fault)
    request = any_account.order()
    with pytest.raises(OutcomeUnknown):
        any_account.submit(request)
    assert any_account.venue.accepted(request.client_order_id) == 0
    with pytest.raises(ReadFailed, match="may still arrive"):
        any_account.find(request.client_order_id)
    late = machine_time() + 60
    monkeypatch.setattr(adapter_module, "machine_time", lambda: late)
    monkeypatch.setattr(lookup, "machine_time", lambda: late)
    with pytest.raises(ReadFailed, match="may still arrive"):
        any_account.find(request.client_order_id)  # by their clock it may still arrive
    any_account.venue.skew_ms = 60_000
    assert any_account.find(request.client_order_id) is None


def test_order_is_not_sent_if_opening_the_account_raises_any_error(
    any_account: ExchangeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ccxt's signers raise plain exceptions, for example if the key has a wrong format."""

    async def fail(*_: Any, **__: Any) -> Any:
        raise Exception("the signer failed")  # noqa: TRY002  # ccxt does so

    any_account.load_markets()
    monkeypatch.setattr(account_identity, "require_tested_account", fail)
    request = any_account.order()
    with pytest.raises(NotSent, match="the signer failed"):
        any_account.submit(request)
    assert any_account.venue.accepted(request.client_order_id) == 0
    with pytest.raises(ReadFailed, match="the signer failed"):
        any_account.find(request.client_order_id)


def test_absence_counts_from_start_of_lookup(
    any_account: ExchangeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers may take long, and an order may arrive after the first of them."""
    any_account.load_markets()
    any_account.venue.faults.append(Fault("drop"))
    request = any_account.order()
    with pytest.raises(OutcomeUnknown):
        any_account.submit(request)
    now, requests_before = machine_time(), len(any_account.venue.request_lines)
    monkeypatch.setattr(
        adapter_module,
        "machine_time",
        lambda: now + 60 * (len(any_account.venue.request_lines) > requests_before),
    )
    with pytest.raises(ReadFailed, match="may still arrive"):
        any_account.find(request.client_order_id)


def test_late_reply_times_out_as_unknown(any_account: ExchangeAccount) -> None:
    any_account.load_markets()
    client = any_account.run(any_account.adapter._clients.get(any_account.spec))
    usual, client.exchange.timeout = client.exchange.timeout, 1500
    any_account.venue.faults.append(Fault("late", seconds=600))
    request = any_account.order()
    started = machine_time()
    with pytest.raises(OutcomeUnknown):
        any_account.submit(request)
    assert machine_time() - started < 300  # it has not waited for the reply
    client.exchange.timeout = usual
    assert any_account.venue.accepted(request.client_order_id) == 1
    assert any_account.find(request.client_order_id) is not None


def test_guard_refusal_right_before_the_write_is_not_sent(any_account: ExchangeAccount) -> None:
    any_account.load_markets()
    request = any_account.order()
    writes_before_guard: list[int] = []

    def refuse(_: OrderRequest) -> None:
        writes_before_guard.append(len(any_account.venue.writes))
        raise NotSent(Code.KILL_SWITCH)

    with pytest.raises(NotSent) as outcome:
        any_account.submit(request, refuse)
    assert (outcome.value.code, writes_before_guard) == (Code.KILL_SWITCH, [0])
    assert any_account.venue.writes == []
    assert any_account.venue.accepted(request.client_order_id) == 0
    # The connection still works.
    assert [r.kind for r in any_account.submit(request)] == [ReportKind.FILLED]


def test_guard_runs_after_the_connect(
    any_account: ExchangeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    # aiohttp is an optional extra
    http_session = importlib.import_module("brokers.crypto.http_session")
    make_socket = http_session._socket

    def recording_socket(address: Any) -> socket.socket:
        calls.append("connect")
        created: socket.socket = make_socket(address)
        return created

    monkeypatch.setattr(http_session, "_socket", recording_socket)
    monkeypatch.setattr(http_session, "KEEPALIVE_SECONDS", 0.0)  # each request opens a connection
    any_account.load_markets()
    calls.clear()
    any_account.submit(any_account.order(), lambda _: calls.append("guard"))
    assert calls[:2] == ["connect", "guard"]


def test_nothing_runs_between_guard_and_write(
    any_account: ExchangeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    any_account.load_markets()
    calls: list[str] = []
    transport = asyncio.selector_events._SelectorSocketTransport  # type: ignore[attr-defined]
    write = transport.write

    def recording_write(self: Any, data: bytes) -> None:
        if data.startswith(b"POST") and b"abc0" in data:
            calls.append("write")
        write(self, data)

    def guard(_: OrderRequest) -> None:
        calls.append("guard")
        asyncio.get_running_loop().call_soon(calls.append, "something else")

    monkeypatch.setattr(transport, "write", recording_write)
    any_account.submit(any_account.order(), guard)
    assert calls[:3] == ["guard", "write", "something else"]


def test_failed_connect_is_not_sent(any_account: ExchangeAccount) -> None:
    any_account.load_markets()
    any_account.server.stop()
    with pytest.raises(NotSent) as outcome:
        any_account.submit(any_account.order())
    assert outcome.value.code is Code.NOT_CONNECTED


def test_unreachable_exchange_at_first_use_is_not_sent(any_account: ExchangeAccount) -> None:
    any_account.server.stop()
    with pytest.raises(NotSent) as outcome:
        any_account.submit(any_account.order())
    assert outcome.value.code is Code.NOT_CONNECTED


def test_order_never_follows_a_redirect(any_account: ExchangeAccount) -> None:
    any_account.load_markets()
    any_account.venue.faults.append(Fault("redirect"))
    with pytest.raises(OutcomeUnknown):
        any_account.submit(any_account.order())
    assert len(any_account.venue.writes) == 1
    assert any_account.venue.orders == []


def test_repeated_id_is_looked_up(any_account: ExchangeAccount) -> None:
    request = any_account.order(limit_price=D(40000))
    first = any_account.submit(request)
    again = any_account.submit(request)
    assert [r.broker_order_id for r in again] == [r.broker_order_id for r in first]
    assert any_account.venue.accepted(request.client_order_id) == 1


@pytest.mark.parametrize("name", ["binance", "okx", "kraken"])
def test_accepted_id_is_looked_up_even_if_exchange_would_accept_it_again(name: str) -> None:
    """The exchange accepts an id again once its order has ended; a new process cannot know it."""
    account = open_account(name)
    request = account.order(quantity=D("0.1"))
    first, again = account.submit(request), account.submit(request)
    assert [r.broker_order_id for r in again] == [r.broker_order_id for r in first]
    assert account.venue.accepted(request.client_order_id) == 1
    other = account.new_adapter()
    account.run(other.submit(account.spec, request, allow))
    assert account.venue.accepted(request.client_order_id) == 2
    assert account.adapter.capabilities(account.spec).refuses_repeated_ids is False
    account.run(other.disconnect())
    close(account)


def test_each_order_request_carries_its_expiry(any_account: ExchangeAccount) -> None:
    any_account.submit(any_account.order())
    name, (request, *_) = any_account.spec.exchange_name, any_account.venue.writes
    has_expiry = {
        "binance": "recvWindow=5000" in request,
        "bybit": any_account.venue.last_write.get("X-BAPI-RECV-WINDOW") == "5000",
        "okx": int(any_account.venue.last_write.get("expTime", 0)) > any_account.venue.now(),
        "kraken": "deadline=20" in request,
    }
    assert has_expiry[name]
    arrives_within = any_account.adapter.capabilities(any_account.spec).arrives_within
    # How long the engine waits.
    assert arrives_within.total_seconds() == EXPIRES_SECONDS + LAG_SECONDS


def test_cancel_past_its_deadline_is_not_sent(any_account: ExchangeAccount) -> None:
    request = any_account.order(limit_price=D(40000))
    any_account.submit(request)
    before = len(any_account.venue.writes)
    with pytest.raises(NotSent) as outcome:
        any_account.cancel(request, send_by=machine_time() - 1)
    assert outcome.value.code is Code.SEND_DEADLINE
    assert len(any_account.venue.writes) == before
    assert any_account.venue.orders[0].is_open


def test_cancel_with_lost_reply_is_unknown_and_may_be_repeated(account: ExchangeAccount) -> None:
    request = account.order(limit_price=D(40000))
    account.submit(request)
    account.venue.faults.append(Fault("drop_after", on="cancel"))
    with suppress(OutcomeUnknown):  # aiohttp repeats a DELETE, which Binance uses
        account.cancel(request)
    reports = account.cancel(request)
    assert reports[0].kind is ReportKind.CANCELLED
    assert account.venue.orders[0].status == "CANCELED"


NOT_CANCELLABLE = {
    "binance": (400, '{"code":-2011,"msg":"Unknown order sent."}'),
    "bybit": (200, '{"retCode":110001,"retMsg":"order not exists or too late to cancel"}'),
    "okx": (200, '{"code":"1","data":[{"sCode":"51410","sMsg":"already under cancelling"}]}'),
    "kraken": (200, '{"error":["EOrder:Unknown order"]}'),
}


def test_cancel_refused_as_missing_is_no_refusal_while_the_order_is_open(
    any_account: ExchangeAccount,
) -> None:
    """Its list is late, or it is cancelling the order already. What has filled is reported."""
    any_account.venue.fill_share = D("0.4")
    request = any_account.order(limit_price=D(51000))
    any_account.submit(request)
    status, body = NOT_CANCELLABLE[any_account.spec.exchange_name]
    any_account.venue.faults.append(Fault("status", status, body, on="cancel"))
    reports = any_account.cancel(request)
    assert [report.kind for report in reports] == [ReportKind.FILLED]
    assert reports[0].fills[0].quantity == D("0.2")
    reports = any_account.cancel(request)
    assert [report.kind for report in reports] == [ReportKind.FILLED, ReportKind.CANCELLED]


def test_cancel_is_unknown_when_lookup_fails(any_account: ExchangeAccount) -> None:
    request = any_account.order(limit_price=D(40000))
    any_account.submit(request)
    for _ in range(2):
        any_account.venue.faults.append(Fault("status", 502, "<html>", on="read"))
    with pytest.raises(OutcomeUnknown):
        any_account.cancel(request)


def test_order_is_cancelled_after_its_symbol_left_the_settings(
    any_account: ExchangeAccount,
) -> None:
    request = any_account.order(limit_price=D(40000))
    any_account.submit(request)
    spec = replace(any_account.spec, settings={**any_account.spec.settings, "symbols": []})
    cancel = CancelRequest(request.client_order_id, "", request.symbol)
    reports = any_account.run(any_account.adapter.cancel(spec, cancel))
    assert [report.kind for report in reports] == [ReportKind.CANCELLED]


def test_cancel_of_missing_order_is_unknown(any_account: ExchangeAccount) -> None:
    with pytest.raises(OutcomeUnknown, match="neither cancelled nor"):
        any_account.cancel(any_account.order())


def test_repeated_id_is_unknown_when_lookup_fails(any_account: ExchangeAccount) -> None:
    request = any_account.order(limit_price=D(40000))
    any_account.submit(request)
    for _ in range(2):
        any_account.venue.faults.append(Fault("status", 502, "<html>", on="read"))
    with pytest.raises(OutcomeUnknown):
        any_account.submit(request)
    assert any_account.venue.accepted(request.client_order_id) == 1


def test_rejected_order_of_a_batch_does_not_stop_the_others(any_account: ExchangeAccount) -> None:
    requests = [
        any_account.order(),
        any_account.order(quantity=D("0.0001")),
        any_account.order(quantity=D("0.1")),
    ]
    outcomes: dict[OrderRequest, Any] = {}
    pairs = [(any_account.spec, request) for request in requests]
    any_account.run(any_account.adapter.submit_many(pairs, lambda _: None, outcomes.__setitem__))
    assert [type(outcomes[request]) for request in requests] == [list, Rejected, list]


def test_reply_without_fills_is_accepted_when_lookup_fails(any_account: ExchangeAccount) -> None:
    any_account.load_markets()
    for _ in range(2):
        any_account.venue.faults.append(Fault("status", 502, "<html>", on="read"))
    reports = any_account.submit(any_account.order())
    assert [report.kind for report in reports] == [ReportKind.ACCEPTED]
    assert reports[0].broker_order_id


def test_fake_exchange_refuses_invalid_orders() -> None:
    """The fake does not accept everything."""
    account = open_account("binance", swap=True)
    with pytest.raises(RejectedError, match="flat"):
        account.venue.place("BTCUSDT", "SELL", "MARKET", D(1), reduce_only=True)
    assert account.order(side=Side.SELL).side is Side.SELL
    close(account)
