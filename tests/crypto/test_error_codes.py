"""What an exchange says no to, and what its no proves."""

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
    VenueSetup,
    allow,
    close,
    each,
    house,
    open_venue,
    unlimited_rates,
)
from tests.fakes.exchange.venue import Fault

__all__ = ["each", "house"]

REFUSALS: list[tuple[str, Callable[[VenueSetup], OrderRequest], Code]] = [
    ("money", lambda h: h.order(quantity=D(500)), Code.NO_MONEY),
    ("closed", lambda h: _with(h, closed=True), Code.MARKET_CLOSED),
    ("disabled", lambda h: _with(h, can_trade=False), Code.TRADING_DISABLED),
]


def _with(house: VenueSetup, **changed: bool) -> OrderRequest:
    for name, value in changed.items():
        setattr(house.venue, name, value)
    return house.order()


@pytest.mark.parametrize(("_", "make", "code"), REFUSALS, ids=[name for name, *_ in REFUSALS])
def test_what_an_exchange_refuses_is_final_with_our_code(
    house: VenueSetup, _: str, make: Callable[[VenueSetup], OrderRequest], code: Code
) -> None:
    house.warm()
    with pytest.raises(Rejected) as outcome:
        house.submit(make(house))
    assert outcome.value.code is code
    assert outcome.value.detail
    assert house.venue.orders == []


NO_SYMBOL = [
    ("bybit", Fault("status", 200, '{"retCode":110023,"retMsg":"You can only reduce"}')),
    ("bybit", Fault("status", 200, '{"retCode":170209,"retMsg":"This trading pair is offline"}')),
    ("okx", Fault("status", 200, '{"code":"1","data":[{"sCode":"51155","sMsg":"local law"}]}')),
    ("okx", Fault("status", 200, '{"code":"1","data":[{"sCode":"54011","sMsg":"reduce only"}]}')),
    ("binance", Fault("status", 400, '{"code":-2010,"msg":"This symbol is not permitted."}')),
    ("kraken", Fault("status", 200, '{"error":["EAccount:Invalid permissions:BTCUSD barred"]}')),
]  # fmt: skip


@pytest.mark.parametrize(("name", "fault"), NO_SYMBOL)
def test_a_pair_that_may_not_be_traded_is_no_fault_of_the_account(name: str, fault: Fault) -> None:
    made = open_venue(name)
    made.warm()
    made.venue.faults.append(fault)
    with pytest.raises(Rejected) as outcome:
        made.submit(made.order())
    assert outcome.value.code is Code.SYMBOL_TRADING_DISABLED
    assert made.submit(made.order()), "the next order leaves"
    close(made)


def test_a_wrong_key_is_refused_and_never_shown(each: VenueSetup) -> None:
    each.warm()
    each.venue.key = "another"
    with pytest.raises(Rejected) as outcome:
        each.submit(each.order())
    assert outcome.value.code is Code.CREDENTIALS_REFUSED
    for secret in each.spec.credentials.values():
        assert secret not in outcome.value.detail
    with pytest.raises(ReadFailed) as read:
        each.run(each.adapter.account(each.spec))
    assert read.value.code is Code.CREDENTIALS_REFUSED
    assert "signature=" not in read.value.detail.replace("signature=***", "")


BUSY = [
    ("binance", Fault("status", 429, '{"code":-1003,"msg":"Too many requests."}')),
    ("binance", Fault("status", 418, "")),
    ("binance", Fault("status", 400, '{"code":-1015,"msg":"Too many new orders."}')),
    ("bybit", Fault("status", 200, '{"retCode":10006,"retMsg":"Too many visits!"}')),
    ("okx", Fault("status", 429, '{"code":"50011","msg":"Too Many Requests","data":[]}')),
    ("kraken", Fault("status", 200, '{"error":["EAPI:Rate limit exceeded"]}')),
]


@pytest.mark.parametrize(("name", "fault"), BUSY)
def test_too_many_requests_took_nothing_and_the_account_rests(name: str, fault: Fault) -> None:
    made = open_venue(name)
    made.warm()
    made.venue.faults.append(fault)
    for wait in (60, 2):  # the second is not even asked: its turn would come too late
        with pytest.raises(NotSent) as outcome:
            made.submit(made.order(send_by=machine_time() + wait))
        assert outcome.value.code is Code.RATE_LIMITED
    assert len(made.venue.arrived) == 1
    close(made)


ADDRESS = [
    ("binance", Fault("status", 418, "", headers={"Retry-After": "30"})),
    ("binance", Fault("status", 429, "{}", headers={"Retry-After": "30"})),
    ("bybit", Fault("status", 403, "access too frequent")),
    ("kraken", Fault("status", 429, "<html>")),
]


@pytest.mark.parametrize(("name", "fault"), ADDRESS)
def test_an_address_that_is_to_be_silent_is_for_all_its_accounts(name: str, fault: Fault) -> None:
    """Retry-After counts, or what the exchange's reference names; ReadFailed says why."""
    made = open_venue(name)
    much = Rate(1000.0, 1000.0)
    host = rate_limiter_for(f"address {fault.status} {name}", much)

    def at_one_address(known: Exchange, spec: ConnectionSpec) -> AccountRateLimits:
        return replace(unlimited_rates(known, spec), host=host)

    made.adapter = CryptoAdapter(ClientPool({name: made.server.base}, at_one_address))
    other = replace(made.spec, connection_id=str(uuid4()),
                    credentials={**made.spec.credentials, "api_key": "another"})  # fmt: skip
    made.warm()
    made.run(made.adapter.instruments(other))
    made.venue.faults.append(replace(fault, on="read"))
    with pytest.raises(ReadFailed):
        made.run(made.adapter.account(made.spec))
    seen = len(made.venue.seen)
    with pytest.raises(NotSent) as outcome:
        made.run(made.adapter.submit(
            other, made.order(send_by=machine_time() + 2), allow
        ))  # fmt: skip
    assert outcome.value.code is Code.RATE_LIMITED
    assert len(made.venue.seen) == seen
    close(made)


UNSURE = [
    ("binance", Fault("status_after", 503, '{"code":-1000,"msg":"Unknown error, please check"}')),
    ("binance", Fault("status_after", 400, '{"code":-1007,"msg":"Timeout waiting for response"}')),
    ("binance", Fault("status_after", 400, '{"code":-1006,"msg":"An unexpected response"}')),
    ("binance", Fault("status_after", 400, '{"code":-9999,"msg":"A code of tomorrow"}')),
    ("bybit", Fault("status_after", 200, '{"retCode":10016,"retMsg":"Internal server error."}')),
    ("bybit", Fault("status_after", 200, '{"retCode":10000,"retMsg":"Server Timeout"}')),
    ("binance", Fault("status_after", 503, '{"code":-1001,"msg":"Internal error; unable"}')),
    ("binance", Fault("status_after", 503, '{"code":-1013,"msg":"Filter failure"}')),
    ("kraken", Fault("status_after", 429, "<html>")),
    # ccxt calls this one an InvalidOrder
    ("bybit", Fault("status_after", 200, '{"retCode":170146,"retMsg":"Order creation timeout"}')),
    ("bybit", Fault("status_after", 200, '{"retCode":999999,"retMsg":"tomorrow"}')),
    ("okx", Fault("status_after", 200, '{"code":"50004","msg":"time-out","data":[]}')),
    ("okx", Fault("status_after", 200, '{"code":"59999","msg":"tomorrow","data":[]}')),
    ("okx", Fault("status_after", 200, '{"code":"2","data":[{"sCode":"59999"}]}')),
    ("kraken", Fault("status_after", 200, '{"error":["EService:Unavailable"]}')),
    ("kraken", Fault("status_after", 200, '{"error":["EGeneral:Internal error"]}')),
    ("kraken", Fault("status_after", 520, "")),
    ("kraken", Fault("status_after", 200, '{"error":["ETomorrow:Code"]}')),
]  # fmt: skip


@pytest.mark.parametrize(("name", "fault"), UNSURE)
def test_unlisted_codes_and_their_time_outs_prove_nothing(name: str, fault: Fault) -> None:
    made = open_venue(name)
    made.warm()
    made.venue.faults.append(fault)
    request = made.order()
    with pytest.raises(OutcomeUnknown) as outcome:
        made.submit(request)
    assert made.venue.accepted(request.client_order_id) == 1
    assert outcome.value.detail
    close(made)


@pytest.mark.parametrize("name", ["binance", "bybit", "okx"])
def test_a_clock_that_went_wrong_is_refused_by_the_exchange_and_took_nothing(name: str) -> None:
    made = open_venue(name)
    made.warm()
    made.venue.skew_ms = 120_000  # after the difference was measured
    request = made.order()
    with pytest.raises(NotSent) as outcome:
        made.submit(request)
    assert outcome.value.code is Code.BROKER_CLOCK
    assert made.venue.accepted(request.client_order_id) == 0
    close(made)


@pytest.mark.parametrize("name", ["binance", "bybit", "okx", "kraken"])
def test_a_clock_that_is_wrong_all_along_is_made_up_for(name: str) -> None:
    made = open_venue(name)
    made.venue.skew_ms = -90_000
    assert [r.kind for r in made.submit(made.order())] == [ReportKind.FILLED]
    (clock,) = [c for c in made.run(made.adapter.test(made.spec)) if c.name == "clock"]
    assert clock.result == "warn"
    close(made)
