"""Look-ups, histories and the connection test: whole or not at all."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from brokers.base import OutcomeUnknown, ReadFailed, Rejected
from brokers.crypto import exchanges
from brokers.crypto.adapter import CryptoAdapter
from brokers.crypto.client import ClientPool
from brokers.types import Check, CheckResult, CloseCause, ReportKind
from common.reason_codes import Code
from tests.crypto.factories import D, VenueSetup, allow, close, each, open_venue, unlimited_rates
from tests.fakes.exchange.okx import Okx
from tests.fakes.exchange.venue import Fault

__all__ = ["each"]
HOUR_AGO = timedelta(hours=1)


def _results(checks: list[Check]) -> dict[str, CheckResult]:
    return {check.name: check.result for check in checks}


# ---- look-ups -------------------------------------------------------------------------------
def test_okxs_latest_executions_are_read_where_they_are_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Okx, "_get_trade_fills_history", lambda *_: [])  # it lags
    made = open_venue("okx")
    (told,) = made.submit(made.order())
    (fill,) = told.fills
    assert not fill.inferred
    (again,) = made.run(made.adapter.fills_since(made.spec, datetime.now(UTC) - HOUR_AGO))
    assert again.fills == told.fills
    close(made)


def test_an_order_that_never_was_is_absent_for_sure(each: VenueSetup) -> None:
    assert each.find("abc00000000000zzz0") is None


def test_an_order_that_the_lists_do_not_show_yet_is_not_called_absent(each: VenueSetup) -> None:
    request = each.order()
    each.venue.lag = 10
    told = each.submit(request)  # its own look-up finds nothing either
    assert [report.kind for report in told] == [ReportKind.ACCEPTED]
    each.venue.lag = 10
    with pytest.raises(ReadFailed):
        each.find(request.client_order_id)
    each.venue.lag = 0
    assert each.find(request.client_order_id) is not None


@pytest.mark.parametrize(
    "body", ["<html>We are being maintained</html>", "", "{}", "null", "[]", '{"orderId":']
)
def test_nonsense_instead_of_an_order_is_no_absence(each: VenueSetup, body: str) -> None:
    request = each.order()
    each.submit(request)
    for _ in range(3):
        each.venue.faults.append(Fault("status", 200, body, on="read"))
    with pytest.raises(ReadFailed):
        each.find(request.client_order_id)


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
def test_a_gateways_no_is_no_absence(each: VenueSetup, status: int) -> None:
    each.warm()
    for _ in range(3):
        each.venue.faults.append(Fault("status", status, "<html>no</html>", on="read"))
    with pytest.raises(ReadFailed):
        each.find("abc00000000000zzz0")


def test_every_listed_symbol_is_asked_where_nothing_is_remembered() -> None:
    made = open_venue("binance")
    eth = replace(made.venue.markets["BTCUSDT"], base="ETH")
    made.venue.markets["ETHUSDT"], made.venue.prices["ETHUSDT"] = eth, D(3000)
    spec = replace(made.spec, settings={**made.spec.settings, "symbols": "BTC/USDT, ETH/USDT"})
    request = replace(made.order(), symbol="ETH/USDT")
    made.run(made.adapter.submit(spec, request, allow))
    fresh = made.another()
    found = made.run(fresh.find_order(spec, request.client_order_id))
    assert found is not None
    asked = [line for line in made.venue.seen if line.startswith("GET /api/v3/order?")]
    assert ["BTCUSDT" in line for line in asked] == [True, False]
    made.venue.seen.clear()
    made.run(fresh.find_order(spec, "abc00000000000zzz0", symbol="ETH/USDT"))
    assert len([line for line in made.venue.seen if "/order?" in line]) == 1
    bare = replace(spec, settings={"market": "spot"})
    with pytest.raises(ReadFailed, match="lists no symbols"):
        made.run(fresh.find_order(bare, "abc00000000000zzz0"))
    made.run(fresh.disconnect())
    close(made)


def test_an_exchange_that_was_not_checked_promises_nothing() -> None:
    made = open_venue("binance")
    spec = replace(made.spec, exchange_name="gate")
    can = made.adapter.capabilities(spec)
    assert (can.lookup_horizon, can.fills_horizon) == (None, None)
    with pytest.raises(ReadFailed) as outcome:
        made.run(made.adapter.find_order(spec, "abc"))
    assert outcome.value.code is Code.LOOKUP_WINDOW_EXCEEDED
    with pytest.raises(ReadFailed):
        made.run(made.adapter.fills_since(spec, datetime.now(UTC)))
    with pytest.raises(ReadFailed, match="ccxt knows no exchange"):
        made.run(made.adapter.account(replace(made.spec, exchange_name="mtgox")))
    close(made)


def test_any_other_exchange_trades_by_ccxts_unified_names() -> None:
    made = open_venue("binance")
    adapter = CryptoAdapter(ClientPool({"binanceus": made.server.base}, unlimited_rates))
    spec = replace(made.spec, exchange_name="binanceus")
    request = made.order()
    (told,) = made.run(adapter.submit(spec, request, allow))
    assert (told.kind, made.venue.accepted(request.client_order_id)) == (ReportKind.FILLED, 1)
    with pytest.raises(Rejected) as outcome:
        made.run(adapter.submit(spec, made.order(quantity=D(500)), allow))
    assert outcome.value.code is Code.NO_MONEY
    made.venue.faults.append(Fault("drop_after"))
    with pytest.raises(OutcomeUnknown):
        made.run(adapter.submit(spec, made.order(quantity=D("0.1")), allow))
    checks = _results(made.run(adapter.test(spec)))
    assert (checks["exchange"], checks["credentials"]) == (CheckResult.WARN, CheckResult.OK)
    made.venue.faults.append(Fault("status", 429, "slow down"))
    with pytest.raises(OutcomeUnknown):  # nobody has read there that 429 takes nothing
        made.run(adapter.submit(spec, made.order(quantity=D("0.1")), allow))
    made.run(adapter.disconnect())
    close(made)


# ---- executions -----------------------------------------------------------------------------
@pytest.mark.parametrize("minutes", [-50, 10], ids=["past", "later than now"])
def test_a_full_page_is_asked_again_in_halves(
    each: VenueSetup, minutes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Later than now: their clock jumped ahead a moment ago, and nobody knows yet."""
    name = each.spec.exchange_name
    page, pieces = (50, 13) if name == "kraken" else (4, 3)  # Kraken's is always 50
    small = replace(exchanges.CHECKED[name], fills_page=page)
    monkeypatch.setattr(exchanges, "CHECKED", {**exchanges.CHECKED, name: small})
    each.venue.pieces = pieces
    for _ in range(4):
        each.submit(each.order(quantity=D("0.3")))
    start = each.venue.now() + minutes * 60_000
    for number, trade in enumerate(each.venue.trades):
        trade.at = start + number * 50_000
    told = each.run(each.adapter.fills_since(each.spec, datetime.now(UTC) - HOUR_AGO))
    assert sorted(len(report.fills) for report in told) == [pieces] * 4


def test_what_is_further_back_than_the_exchange_tells_is_not_asked(each: VenueSetup) -> None:
    with pytest.raises(ReadFailed) as outcome:
        each.run(each.adapter.fills_since(each.spec, datetime.now(UTC) - timedelta(days=800)))
    assert outcome.value.code is Code.LOOKUP_WINDOW_EXCEEDED


def test_a_part_of_the_history_is_no_history(each: VenueSetup) -> None:
    each.submit(each.order())
    each.venue.faults.append(Fault("status", 502, "<html>", on="read"))
    with pytest.raises(ReadFailed):
        each.run(each.adapter.fills_since(each.spec, datetime.now(UTC) - HOUR_AGO))


def test_the_owners_own_sale_is_an_external_close_on_spot() -> None:
    made = open_venue("kraken")
    made.submit(made.order())
    made.venue.place("XBTUSDT", "SELL", "MARKET", D("0.5"), cid="")
    told = made.run(made.another().fills_since(made.spec, datetime.now(UTC) - HOUR_AGO))
    assert [r.close_cause for r in told if not r.client_order_id] == [CloseCause.EXTERNAL]
    close(made)


# ---- reads that break -------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["account", "positions", "open_orders"])
@pytest.mark.parametrize("fault", [Fault("drop", on="read"), Fault("status", 200, "{}", on="read")])
def test_a_read_is_whole_or_fails(each: VenueSetup, name: str, fault: Fault) -> None:
    each.submit(each.order())
    for _ in range(2):  # aiohttp asks a GET once more
        each.venue.faults.append(replace(fault))
    with pytest.raises(ReadFailed):
        each.run(getattr(each.adapter, name)(each.spec))


def test_too_many_open_orders_for_one_answer_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    small = replace(exchanges.OKX, open_page=2)
    monkeypatch.setattr(exchanges, "CHECKED", {**exchanges.CHECKED, "okx": small})
    made = open_venue("okx")
    for _ in range(2):
        made.submit(made.order(limit_price=D(40000), quantity=D("0.1")))
    with pytest.raises(ReadFailed, match="2 or more"):
        made.run(made.adapter.open_orders(made.spec))
    close(made)


# ---- the connection test ----------------------------------------------------------------------
def test_the_test_says_what_is_wrong_and_shows_no_secret(each: VenueSetup) -> None:
    each.venue.key = "another"
    checks = each.run(each.adapter.test(each.spec))
    assert _results(checks)["credentials"] is CheckResult.FAIL
    told = " ".join(f"{check.detail} {check.hint}" for check in checks)
    assert each.spec.credentials["secret"] not in told
    assert each.spec.credentials["api_key"] not in told


def test_the_test_says_that_nobody_answers(each: VenueSetup) -> None:
    each.server.stop()
    (check,) = each.run(each.adapter.test(each.spec))
    assert (check.name, check.result) == ("reach", CheckResult.FAIL)
    assert check.hint


@pytest.mark.parametrize("symbols", [[], ["BTC/EUR"], "BTC/USDT DOGE/USDT"])
def test_the_test_checks_the_symbols(each: VenueSetup, symbols: object) -> None:
    spec = replace(each.spec, settings={**each.spec.settings, "symbols": symbols})
    assert _results(each.run(each.adapter.test(spec)))["symbols"] is CheckResult.FAIL


def test_the_test_says_when_trading_is_not_allowed() -> None:
    made = open_venue("binance")
    made.venue.can_trade = False
    assert _results(made.run(made.adapter.test(made.spec)))["trading"] is CheckResult.FAIL
    assert made.run(made.adapter.account(made.spec)).trading_allowed is False
    close(made)


@pytest.mark.parametrize("name", ["bybit", "okx"])
def test_the_test_says_what_the_key_may_do(name: str) -> None:
    made = open_venue(name)
    assert _results(made.run(made.adapter.test(made.spec)))["rights"] is CheckResult.OK
    made.venue.may_withdraw = True
    assert _results(made.run(made.adapter.test(made.spec)))["rights"] is CheckResult.WARN
    made.venue.can_trade = False
    assert _results(made.run(made.adapter.test(made.spec)))["rights"] is CheckResult.FAIL
    close(made)


def test_a_late_history_is_no_proof_of_absence() -> None:
    """Bybit's history of orders may be late; the list of the last that have ended is not."""
    made = open_venue("bybit")
    request = made.order()
    made.submit(request)
    made.venue.history_late = True
    other = made.another()
    told = made.run(other.find_order(made.spec, request.client_order_id))
    assert told is not None
    assert [one.kind for one in told] == [ReportKind.FILLED]
    made.run(other.disconnect())
    close(made)
