"""Refusals that are in none of our tables: ccxt's class for them proves nothing, the exchange's
lists decide."""

from dataclasses import replace

import pytest

from brokers import unlisted_refusals
from brokers.base import OutcomeUnknown, Rejected
from brokers.crypto import order_cache
from brokers.crypto.client import ClientPool
from brokers.types import ReportKind, Side
from common.reason_codes import Code
from tests.crypto.factories import allow, close, open_account, unlimited_rates
from tests.fakes.exchange.venue import Fault

# None is in our tables, and ccxt has a class for each that would be a refusal: MarketClosed,
# InvalidOrder three times, and InvalidNonce, after which an order would be sent again.
REFUSALS_BY_CCXT = [
    ("binance", Fault("status_after", 400, '{"code":-9998,"msg":"Market is closed."}')),
    ("bybit", Fault("status_after", 200, '{"retCode":170191,"retMsg":"try again later"}')),
    ("okx", Fault("status_after", 200, '{"code":"1","data":[{"sCode":"51321","sMsg":"No"}]}')),
    ("kraken", Fault("status_after", 200, '{"error":["ETomorrow:Invalid order"]}')),
    ("kraken", Fault("status_after", 200, '{"error":["ETomorrow:Invalid nonce"]}')),
]


@pytest.mark.parametrize(("name", "fault"), REFUSALS_BY_CCXT)
def test_unlisted_refusal_of_an_accepted_order_reports_the_order(name: str, fault: Fault) -> None:
    account = open_account(name)
    account.load_markets()
    account.venue.faults.append(fault)
    request = account.order()
    assert {report.kind for report in account.submit(request)} == {ReportKind.FILLED}
    assert account.venue.accepted(request.client_order_id) == 1
    close(account)


@pytest.mark.parametrize(("name", "fault"), REFUSALS_BY_CCXT)
def test_unlisted_refusal_is_final_when_no_list_has_the_order(
    name: str, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner reads the exchange's own number and text, not that the order never arrived."""
    _let_time_pass(monkeypatch)
    account = open_account(name)
    account.load_markets()
    account.venue.faults.append(replace(fault, kind="status"))
    request = account.order()
    with pytest.raises(Rejected) as outcome:
        account.submit(request)
    assert (outcome.value.code, outcome.value.detail) == (Code.REJECTED_BY_BROKER, fault.body)
    assert len(account.venue.writes) == 1
    close(account)


@pytest.mark.parametrize("name", ["binance", "bybit", "okx", "kraken"])
def test_unlisted_refusal_is_unknown_while_the_order_may_arrive(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exchange would still accept it, so that its absence proves nothing."""
    _hurry(monkeypatch)
    fault = dict(REFUSALS_BY_CCXT)[name]
    account = open_account(name)
    account.load_markets()
    account.venue.faults.append(replace(fault, kind="status"))
    with pytest.raises(OutcomeUnknown) as outcome:
        account.submit(account.order())
    assert outcome.value.detail == fault.body
    close(account)


def test_order_that_is_listed_late_was_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    _hurry(monkeypatch)
    account = open_account("binance")
    account.load_markets()
    account.venue.faults.append(dict(REFUSALS_BY_CCXT)["binance"])
    account.venue.hidden_lookups = 3
    assert {report.kind for report in account.submit(account.order())} == {ReportKind.FILLED}
    close(account)


def test_unlisted_refusal_of_an_exit_has_the_markets_loaded_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _let_time_pass(monkeypatch)
    monkeypatch.setattr("brokers.crypto.orders.ENTRY_DOUBT_SECONDS", 0.0)
    account = open_account("binance", swap=True)
    account.submit(account.order())
    account.venue.faults.append(Fault("status", 400, '{"code":-4999,"msg":"A new rule"}'))
    with pytest.raises(Rejected):
        account.submit(account.order(side=Side.SELL, reduce_only=True))
    account.run(account.adapter.instruments(account.spec))
    assert sum("exchangeInfo" in line for line in account.venue.request_lines) >= 2
    close(account)


def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look the order up four times at once, and not again."""
    monkeypatch.setattr(unlisted_refusals, "FIRST_PAUSES", (0.0,) * 4)
    monkeypatch.setattr(unlisted_refusals, "LONGEST_SECONDS", 0.0)


def _let_time_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make an absence certain at once, as it is some seconds after the write."""
    _hurry(monkeypatch)
    monkeypatch.setattr(order_cache, "ARRIVES_SECONDS", 0.0)
    monkeypatch.setattr("brokers.crypto.adapter.expires_ms", lambda clock: 1)


DUPLICATES = [
    ("bybit", Fault("status", 200, '{"retCode":110030,"retMsg":"Duplicate orderId"}')),
    ("okx", Fault("status", 200, '{"code":"1","data":[{"sCode":"51011","sMsg":"Duplicated"}]}')),
]


@pytest.mark.parametrize(("name", "fault"), DUPLICATES)
def test_duplicate_id_error_reports_the_existing_order(name: str, fault: Fault) -> None:
    """ccxt calls both of them an InvalidOrder."""
    account = open_account(name)
    request = account.order()
    account.submit(request)
    account.run(account.adapter.disconnect())
    account.adapter = account.new_adapter()  # with an empty cache
    account.load_markets()
    account.venue.faults.append(fault)
    assert [report.kind for report in account.submit(request)] == [ReportKind.FILLED]
    close(account)


# binanceus is not among the checked exchanges; the fake Binance serves it.
UNCHECKED = [
    (Fault("status", 400, '{"code":-2010,"msg":"Account has insufficient balance for requested'
                          ' action."}'), Code.NO_MONEY),
    (Fault("status", 400, '{"code":-1121,"msg":"Invalid symbol."}'),
     Code.UNKNOWN_SYMBOL_AT_BROKER),
    (Fault("status", 401, '{"code":-2015,"msg":"Invalid API-key"}'), Code.CREDENTIALS_REFUSED),
    (Fault("status_after", 400, '{"code":-1013,"msg":"InvalidOrder, by ccxt"}'), None),
    (Fault("status_after", 400, '{"code":-2026,"msg":"InvalidOrder, too"}'), None),
    (Fault("status_after", 400, '{"code":-1021,"msg":"InvalidNonce: it would be sent again"}'),
     None),
    (Fault("status_after", 429, '{"code":-1003,"msg":"RateLimitExceeded"}'), None),
    (Fault("status_after", 401, "<html>a gateway's</html>"), None),
]  # fmt: skip


@pytest.mark.parametrize(("fault", "code"), UNCHECKED)
def test_unchecked_exchange_refusal_counts_if_acceptance_is_impossible(
    fault: Fault, code: Code | None
) -> None:
    account = open_account("binance")
    spec = replace(account.spec, exchange_name="binanceus")
    adapter = type(account.adapter)(ClientPool({"binanceus": account.server.base}, unlimited_rates))
    account.run(adapter.instruments(spec))
    account.venue.faults.append(fault)
    request = account.order()
    expected = OutcomeUnknown if code is None else Rejected
    with pytest.raises(expected) as outcome:
        account.run(adapter.submit(spec, request, allow))
    assert outcome.value.code is (code or Code.REPLY_LOST)
    assert account.venue.accepted(request.client_order_id) == (1 if code is None else 0)
    account.run(adapter.disconnect())
    close(account)
