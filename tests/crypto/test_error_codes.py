"""Error codes of the exchanges, and which of them prove that an order was not accepted."""

from collections.abc import Callable
from dataclasses import replace
from uuid import uuid4

import pytest

from brokers.base import NotSent, OutcomeUnknown, ReadFailed, Rejected
from brokers.crypto.adapter import CryptoAdapter
from brokers.crypto.client import ClientPool
from brokers.crypto.exchanges import Exchange
from brokers.crypto.rate_limits import AccountRateLimits
from brokers.rate_limits import Rate, rate_limiter_for
from brokers.types import ConnectionSpec, OrderRequest, ReportKind
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
    unlimited_rates,
)
from tests.crypto.test_rate_limits import RecordingLimiter
from tests.fakes.exchange.venue import Fault

__all__ = ["account", "any_account"]

REJECTIONS: list[tuple[str, Callable[[ExchangeAccount], OrderRequest], Code]] = [
    ("money", lambda account: _order_of(account, money="1"), Code.NO_MONEY),
    ("closed", lambda account: _order_after(account, closed=True), Code.MARKET_CLOSED),
    ("disabled", lambda account: _order_after(account, can_trade=False), Code.TRADING_DISABLED),
]


def _order_of(account: ExchangeAccount, *, money: str) -> OrderRequest:
    account.venue.balances["USDT"] = D(money)
    return account.order()


def _order_after(account: ExchangeAccount, **changed: bool) -> OrderRequest:
    for name, value in changed.items():
        setattr(account.venue, name, value)
    return account.order()


@pytest.mark.parametrize(("_", "make", "code"), REJECTIONS, ids=[name for name, *_ in REJECTIONS])
def test_exchange_refusal_is_rejection_with_reason_code(
    account: ExchangeAccount, _: str, make: Callable[[ExchangeAccount], OrderRequest], code: Code
) -> None:
    account.load_markets()
    with pytest.raises(Rejected) as outcome:
        account.submit(make(account))
    assert outcome.value.code is code
    assert outcome.value.detail
    assert account.venue.orders == []


def _futures(code: int) -> Fault:
    return Fault("status", 400, f'{{"code":{code},"msg":"refused"}}')


def _bybit(code: int) -> Fault:
    return Fault("status", 200, f'{{"retCode":{code},"retMsg":"refused"}}')


def _okx(code: int) -> Fault:
    return Fault("status", 200, f'{{"code":"1","data":[{{"sCode":"{code}","sMsg":"refused"}}]}}')


def _kraken(text: str) -> Fault:
    return Fault("status", 200, f'{{"error":["{text}"]}}')


MARGIN_PRICE_POSITION = [
    ("binance", _futures(-2019), Code.NO_MONEY),
    ("binance", _futures(-4131), Code.PRICE_INVALID),
    ("binance", _futures(-4016), Code.PRICE_INVALID),
    ("binance", _futures(-4005), Code.VOLUME_INVALID),
    ("binance", _futures(-2022), Code.NO_POSITION),
    ("binance", _futures(-2024), Code.NO_POSITION),
    ("binance", _futures(-2025), Code.REJECTED_BY_BROKER),
    ("bybit", _bybit(110007), Code.NO_MONEY),
    ("bybit", _bybit(110003), Code.PRICE_INVALID),
    ("bybit", _bybit(110017), Code.NO_POSITION),
    ("bybit", _bybit(110034), Code.NO_POSITION),
    ("okx", _okx(51008), Code.NO_MONEY),
    ("okx", _okx(51137), Code.PRICE_INVALID),
    ("okx", _okx(51138), Code.PRICE_INVALID),
    ("okx", _okx(51169), Code.NO_POSITION),
    ("okx", _okx(51023), Code.NO_POSITION),
    ("kraken", _kraken("EOrder:Insufficient funds"), Code.NO_MONEY),
    ("kraken", _kraken("EOrder:Margin allowance exceeded"), Code.NO_MONEY),
]


@pytest.mark.parametrize(("name", "fault", "code"), MARGIN_PRICE_POSITION)
def test_refusals_for_margin_price_and_position_have_true_reasons(
    name: str, fault: Fault, code: Code
) -> None:
    account = open_account(name, swap=name != "kraken")
    account.load_markets()
    account.venue.faults.append(fault)
    with pytest.raises(Rejected) as outcome:
        account.submit(account.order(limit_price=D(51000)))
    assert outcome.value.code is code
    assert account.venue.orders == []
    close(account)


UNTRADABLE_PAIRS = [
    ("bybit", Fault("status", 200, '{"retCode":110023,"retMsg":"You can only reduce"}')),
    ("bybit", Fault("status", 200, '{"retCode":170209,"retMsg":"This trading pair is offline"}')),
    ("okx", Fault("status", 200, '{"code":"1","data":[{"sCode":"51155","sMsg":"local law"}]}')),
    ("okx", Fault("status", 200, '{"code":"1","data":[{"sCode":"54011","sMsg":"reduce only"}]}')),
    ("binance", Fault("status", 400, '{"code":-2010,"msg":"This symbol is not permitted."}')),
    ("kraken", Fault("status", 200, '{"error":["EAccount:Invalid permissions:BTCUSD barred"]}')),
]  # fmt: skip


@pytest.mark.parametrize(("name", "fault"), UNTRADABLE_PAIRS)
def test_untradable_pair_does_not_block_the_account(name: str, fault: Fault) -> None:
    account = open_account(name)
    account.load_markets()
    account.venue.faults.append(fault)
    with pytest.raises(Rejected) as outcome:
        account.submit(account.order())
    assert outcome.value.code is Code.SYMBOL_TRADING_DISABLED
    assert account.submit(account.order()), "the next order is not sent"
    close(account)


def test_wrong_key_is_refused_and_not_shown(any_account: ExchangeAccount) -> None:
    any_account.load_markets()
    any_account.venue.key = "another"
    with pytest.raises(Rejected) as outcome:
        any_account.submit(any_account.order())
    assert outcome.value.code is Code.CREDENTIALS_REFUSED
    for secret in any_account.spec.credentials.values():
        assert secret not in outcome.value.detail
    with pytest.raises(ReadFailed) as read:
        any_account.run(any_account.adapter.account(any_account.spec))
    assert read.value.code is Code.CREDENTIALS_REFUSED
    assert "signature=" not in read.value.detail.replace("signature=***", "")


RATE_LIMITED = [
    ("binance", Fault("status", 429, '{"code":-1003,"msg":"Too many requests."}')),
    ("binance", Fault("status", 418, "")),
    ("binance", Fault("status", 400, '{"code":-1015,"msg":"Too many new orders."}')),
    ("bybit", Fault("status", 200, '{"retCode":10006,"retMsg":"Too many visits!"}')),
    ("okx", Fault("status", 429, '{"code":"50011","msg":"Too Many Requests","data":[]}')),
    ("kraken", Fault("status", 200, '{"error":["EAPI:Rate limit exceeded"]}')),
]


@pytest.mark.parametrize(("name", "fault"), RATE_LIMITED)
def test_rate_limited_order_is_not_sent_and_account_backs_off(
    monkeypatch: pytest.MonkeyPatch, name: str, fault: Fault
) -> None:
    monkeypatch.setattr("brokers.crypto.orders.BACKOFF_SECONDS", 600.0)
    account = open_account(name)
    account.load_markets()
    account.venue.faults.append(fault)
    for _ in range(2):  # the second is not sent: its turn would come too late
        with pytest.raises(NotSent) as outcome:
            account.submit(account.order(send_by=machine_time() + 60))
        assert outcome.value.code is Code.RATE_LIMITED
    assert len(account.venue.writes) == 1
    close(account)


ADDRESS_BACKOFFS = [
    ("binance", Fault("status", 418, "", headers={"Retry-After": "600"})),
    ("binance", Fault("status", 429, "{}", headers={"Retry-After": "600"})),
    ("bybit", Fault("status", 403, "access too frequent")),
    ("kraken", Fault("status", 429, "<html>")),
]


@pytest.mark.parametrize(("name", "fault"), ADDRESS_BACKOFFS)
def test_address_backoff_applies_to_all_its_accounts(
    monkeypatch: pytest.MonkeyPatch, name: str, fault: Fault
) -> None:
    """The back-off lasts as long as Retry-After or the exchange's reference states."""
    monkeypatch.setattr("brokers.crypto.codes.DEFAULT_BACKOFFS", {418: 600.0, 429: 600.0})
    account = open_account(name)
    unlimited = Rate(1000.0, 1000.0)
    host = rate_limiter_for(f"address {fault.status} {name}", unlimited)

    def shared_host_limits(known: Exchange, spec: ConnectionSpec) -> AccountRateLimits:
        return replace(unlimited_rates(known, spec), host=host)

    account.adapter = CryptoAdapter(ClientPool({name: account.server.base}, shared_host_limits))
    other = replace(account.spec, connection_id=str(uuid4()),
                    credentials={**account.spec.credentials, "api_key": "another"})  # fmt: skip
    account.load_markets()
    account.run(account.adapter.instruments(other))
    account.venue.faults.append(replace(fault, on="read"))
    with pytest.raises(ReadFailed):
        account.run(account.adapter.account(account.spec))
    seen = len(account.venue.request_lines)
    with pytest.raises(NotSent) as outcome:
        account.run(account.adapter.submit(
            other, account.order(send_by=machine_time() + 60), allow
        ))  # fmt: skip
    assert outcome.value.code is Code.RATE_LIMITED
    assert len(account.venue.request_lines) == seen
    close(account)


@pytest.mark.parametrize("seconds", ["1795000000", "9" * 400])
def test_wait_that_is_longer_than_any_ban_is_not_kept(seconds: str) -> None:
    """A gateway may state a time instead of a duration. Then the reference's own wait counts."""
    account, host = open_account("binance", swap=True), RecordingLimiter()

    def recorded_limits(known: Exchange, spec: ConnectionSpec) -> AccountRateLimits:
        return replace(unlimited_rates(known, spec), host=host)

    account.adapter = CryptoAdapter(ClientPool({"binance": account.server.base}, recorded_limits))
    account.load_markets()
    headers = {"Retry-After": seconds}
    account.venue.faults.append(Fault("status", 429, "{}", on="read", headers=headers))
    with pytest.raises(ReadFailed):
        account.run(account.adapter.account(account.spec))
    assert [-taken for taken, _ in host.requested if taken < 0] == [10.0]
    close(account)


GATEWAY_PAGES = [(401, "<html>Authorization required</html>"), (407, ""), (511, "<html>Log in")]


@pytest.mark.parametrize(("status", "body"), GATEWAY_PAGES)
def test_page_of_a_gateway_is_no_refused_key(
    any_account: ExchangeAccount, status: int, body: str
) -> None:
    """A refused key would end the order, and pause the account for half an hour."""
    page = Fault("status", status, body, on="read")
    any_account.venue.faults.append(page)
    request = any_account.order()
    with pytest.raises(NotSent) as not_sent:
        any_account.submit(request)
    assert not_sent.value.code is Code.NOT_CONNECTED
    assert [report.kind for report in any_account.submit(request)] == [ReportKind.FILLED]
    any_account.venue.faults.append(page)
    with pytest.raises(ReadFailed) as failed:
        any_account.run(any_account.adapter.account(any_account.spec))
    assert failed.value.code is Code.BROKER_UNREACHABLE


def test_empty_answer_of_status_401_is_a_refused_key(any_account: ExchangeAccount) -> None:
    """As Bybit answers for a key that has expired."""
    any_account.load_markets()
    any_account.venue.faults.append(Fault("status", 401, "", on="read"))
    with pytest.raises(ReadFailed) as failed:
        any_account.run(any_account.adapter.account(any_account.spec))
    assert failed.value.code is Code.CREDENTIALS_REFUSED


UNKNOWN_OUTCOMES = [
    ("binance", Fault("status_after", 503, '{"code":-1000,"msg":"Unknown error, please check"}')),
    ("binance", Fault("status_after", 400, '{"code":-1007,"msg":"Timeout waiting for response"}')),
    ("binance", Fault("status_after", 400, '{"code":-1006,"msg":"An unexpected response"}')),
    ("bybit", Fault("status_after", 200, '{"retCode":10016,"retMsg":"Internal server error."}')),
    ("bybit", Fault("status_after", 200, '{"retCode":10000,"retMsg":"Server Timeout"}')),
    ("binance", Fault("status_after", 503, '{"code":-1001,"msg":"Internal error; unable"}')),
    ("binance", Fault("status_after", 503, '{"code":-1013,"msg":"Filter failure"}')),
    ("kraken", Fault("status_after", 429, "<html>")),
    # ccxt calls this one an InvalidOrder
    ("bybit", Fault("status_after", 200, '{"retCode":170146,"retMsg":"Order creation timeout"}')),
    ("okx", Fault("status_after", 200, '{"code":"50004","msg":"time-out","data":[]}')),
    ("kraken", Fault("status_after", 200, '{"error":["EService:Unavailable"]}')),
    ("kraken", Fault("status_after", 200, '{"error":["EService:Deadline elapsed"]}')),
    ("okx", Fault("status_after", 200, '{"code":"50036","msg":"expTime has passed","data":[]}')),
    ("kraken", Fault("status_after", 200, '{"error":["EGeneral:Internal error"]}')),
    ("kraken", Fault("status_after", 520, "")),
    ("kraken", Fault("status_after", 200, '{"error":{"message":"try later"}}')),
    ("kraken", Fault("status_after", 403, '{"error":{"message":"no"},"result":{}}')),
    ("kraken", Fault("status_after", 200, '{"error":"try later"}')),
    ("okx", Fault("status_after", 200, '{"code":"1","data":{"sCode":"51008"}}')),
    ("okx", Fault("status_after", 200, '{"code":"1","data":["no"],"msg":null}')),
    ("bybit", Fault("status_after", 200, '{"retCode":null,"result":null}')),
    ("bybit", Fault("status_after", 200, '{"retCode":0,"result":[]}')),
    ("binance", Fault("status_after", 200, '{"success":false,"msg":{"a":1}}')),
    ("binance", Fault("status_after", 200, '{"code":{"a":1},"msg":null}')),
]  # fmt: skip


@pytest.mark.parametrize(("name", "fault"), UNKNOWN_OUTCOMES)
def test_exchange_timeouts_and_unreadable_answers_are_unknown(name: str, fault: Fault) -> None:
    account = open_account(name)
    account.load_markets()
    account.venue.faults.append(fault)
    request = account.order()
    with pytest.raises(OutcomeUnknown) as outcome:
        account.submit(request)
    assert account.venue.accepted(request.client_order_id) == 1
    assert outcome.value.detail
    close(account)


@pytest.mark.parametrize("name", ["binance", "bybit", "okx"])
def test_order_refused_for_clock_skew_is_not_sent(name: str) -> None:
    account = open_account(name)
    account.load_markets()
    account.venue.skew_ms = 120_000  # after the clocks were compared
    request = account.order()
    with pytest.raises(NotSent) as outcome:
        account.submit(request)
    assert outcome.value.code is Code.BROKER_CLOCK
    assert account.venue.accepted(request.client_order_id) == 0
    close(account)


@pytest.mark.parametrize("name", ["binance", "bybit", "okx", "kraken"])
def test_constant_clock_skew_is_compensated(name: str) -> None:
    account = open_account(name)
    account.venue.skew_ms = -90_000
    assert [r.kind for r in account.submit(account.order())] == [ReportKind.FILLED]
    (clock,) = [c for c in account.run(account.adapter.test(account.spec)) if c.name == "clock"]
    assert clock.result == "warn"
    close(account)
