"""Refusals that none of our tables knows: what ccxt calls them proves nothing of an order."""

from dataclasses import replace

import pytest

from brokers.base import OutcomeUnknown, Rejected
from brokers.crypto.client import ClientPool
from brokers.types import ReportKind
from common.reason_codes import Code
from tests.crypto.factories import allow, close, open_venue, unlimited_rates
from tests.fakes.exchange.venue import Fault

# Each is in no table of ours, and ccxt has a class for it that would be a refusal: MarketClosed,
# InvalidOrder three times, and InvalidNonce, after which an order would be sent again.
BY_CLASS = [
    ("binance", Fault("status_after", 400, '{"code":-9998,"msg":"Market is closed."}')),
    ("bybit", Fault("status_after", 200, '{"retCode":170191,"retMsg":"try again later"}')),
    ("okx", Fault("status_after", 200, '{"code":"1","data":[{"sCode":"51321","sMsg":"No"}]}')),
    ("kraken", Fault("status_after", 200, '{"error":["ETomorrow:Invalid order"]}')),
    ("kraken", Fault("status_after", 200, '{"error":["ETomorrow:Invalid nonce"]}')),
]


@pytest.mark.parametrize(("name", "fault"), BY_CLASS)
def test_what_ccxt_calls_a_refusal_is_none_of_a_checked_exchange(name: str, fault: Fault) -> None:
    made = open_venue(name)
    made.warm()
    made.venue.faults.append(fault)
    request = made.order()
    with pytest.raises(OutcomeUnknown):
        made.submit(request)
    assert made.venue.accepted(request.client_order_id) == 1
    told = made.find(request.client_order_id)
    assert [one.kind for one in told or ()] == [ReportKind.FILLED]
    close(made)


REPEATED = [
    ("bybit", Fault("status", 200, '{"retCode":110030,"retMsg":"Duplicate orderId"}')),
    ("okx", Fault("status", 200, '{"code":"1","data":[{"sCode":"51011","sMsg":"Duplicated"}]}')),
]


@pytest.mark.parametrize(("name", "fault"), REPEATED)
def test_an_order_that_is_there_already_is_told_not_refused(name: str, fault: Fault) -> None:
    """ccxt calls both of them an InvalidOrder."""
    made = open_venue(name)
    request = made.order()
    made.submit(request)
    made.run(made.adapter.disconnect())
    made.adapter = made.another()  # which does not remember it
    made.warm()
    made.venue.faults.append(fault)
    assert [one.kind for one in made.submit(request)] == [ReportKind.FILLED]
    close(made)


# binanceus is one that we did not check, and speaks as the double for Binance does.
OF_UNCHECKED = [
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


@pytest.mark.parametrize(("fault", "code"), OF_UNCHECKED)
def test_an_unchecked_exchange_is_believed_where_an_acceptance_is_out_of_the_question(
    fault: Fault, code: Code | None
) -> None:
    made = open_venue("binance")
    spec = replace(made.spec, exchange_name="binanceus")
    adapter = type(made.adapter)(ClientPool({"binanceus": made.server.base}, unlimited_rates))
    made.run(adapter.instruments(spec))
    made.venue.faults.append(fault)
    request = made.order()
    wanted = OutcomeUnknown if code is None else Rejected
    with pytest.raises(wanted) as outcome:
        made.run(adapter.submit(spec, request, allow))
    assert outcome.value.code is (code or Code.REPLY_LOST)
    assert made.venue.accepted(request.client_order_id) == (1 if code is None else 0)
    made.run(adapter.disconnect())
    close(made)
