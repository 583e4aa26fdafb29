"""Look-ups, histories and the connection test; a partial read fails."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from brokers.base import OutcomeUnknown, ReadFailed, Rejected
from brokers.crypto import exchanges, paging
from brokers.crypto.adapter import CryptoAdapter
from brokers.crypto.client import ClientPool
from brokers.types import Check, CheckResult, CloseCause, ReportKind
from common.reason_codes import Code
from tests.crypto.factories import (
    D,
    ExchangeAccount,
    allow,
    any_account,
    close,
    open_account,
    unlimited_rates,
)
from tests.fakes.exchange.okx import Okx
from tests.fakes.exchange.venue import Fault, Market

__all__ = ["any_account"]
HOUR_AGO = timedelta(hours=1)


def _results(checks: list[Check]) -> dict[str, CheckResult]:
    return {check.name: check.result for check in checks}


# ---- look-ups -------------------------------------------------------------------------------
def test_okx_recent_fills_are_read_from_the_recent_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Okx, "_get_trade_fills_history", lambda *_: [])  # it lags
    account = open_account("okx")
    (report,) = account.submit(account.order())
    (fill,) = report.fills
    assert not fill.inferred
    (read_again,) = account.run(
        account.adapter.fills_since(account.spec, datetime.now(UTC) - HOUR_AGO)
    )
    assert read_again.fills == report.fills
    close(account)


def test_order_that_was_never_sent_is_absent(any_account: ExchangeAccount) -> None:
    assert any_account.find("abc00000000000zzz0") is None


def test_order_not_listed_yet_is_not_absent(any_account: ExchangeAccount) -> None:
    request = any_account.order()
    any_account.venue.hidden_lookups = 10
    reports = any_account.submit(request)  # its own look-up does not find it either
    assert [report.kind for report in reports] == [ReportKind.ACCEPTED]
    any_account.venue.hidden_lookups = 10
    with pytest.raises(ReadFailed):
        any_account.find(request.client_order_id)
    any_account.venue.hidden_lookups = 0
    assert any_account.find(request.client_order_id) is not None


@pytest.mark.parametrize(
    "body",
    [
        "<html>We are being maintained</html>", "", "{}", "null", "[]", '{"orderId":',
        '{"error":{"message":"no"}}',
    ],
)  # fmt: skip
def test_malformed_answer_is_no_absence(any_account: ExchangeAccount, body: str) -> None:
    request = any_account.order()
    any_account.submit(request)
    for _ in range(3):
        any_account.venue.faults.append(Fault("status", 200, body, on="read"))
    with pytest.raises(ReadFailed):
        any_account.find(request.client_order_id)


WITHOUT_LIST = [
    ("binance", "[{}]"),
    ("bybit", '{"retCode":0,"result":{}}'),
    ("bybit", '{"retCode":0,"result":{"list":null}}'),
    ("okx", '{"code":"0","data":[null]}'),
    ("kraken", '{"error":[],"result":null}'),
    ("kraken", '{"error":[],"result":{}}'),
    ("kraken", '{"error":[],"result":{"open":null,"closed":null,"trades":null}}'),
]


@pytest.mark.parametrize(("name", "body"), WITHOUT_LIST)
def test_success_without_its_list_is_no_empty_account(name: str, body: str) -> None:
    """It would end positions, and have an order sent again whose reply was lost."""
    account = open_account(name)
    adapter, spec, request = account.adapter, account.spec, account.order()
    account.submit(request)
    for read in (
        adapter.find_order(spec, request.client_order_id),
        adapter.open_orders(spec),
        adapter.fills_since(spec, datetime.now(UTC) - HOUR_AGO),
    ):
        account.venue.faults += [Fault("status", 200, body, on="read") for _ in range(9)]
        with pytest.raises(ReadFailed):
            account.run(read)
        account.venue.faults.clear()
    assert account.find(request.client_order_id)
    close(account)


WITHOUT_BALANCES = [
    ("binance", '{"balances":null}'),
    ("binance", '{"balances":[{}]}'),
    ("bybit", '{"retCode":0,"result":{"list":[]}}'),
    ("okx", '{"code":"0","data":[]}'),
]


@pytest.mark.parametrize(("name", "body"), WITHOUT_BALANCES)
def test_balances_that_are_missing_end_no_spot_position(name: str, body: str) -> None:
    account = open_account(name)
    account.submit(account.order())
    for read in (account.adapter.positions, account.adapter.account):
        account.venue.faults += [Fault("status", 200, body, on="read") for _ in range(9)]
        with pytest.raises(ReadFailed):
            account.run(read(account.spec))
        account.venue.faults.clear()
    assert len(account.run(account.adapter.positions(account.spec))) == 1
    close(account)


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
def test_gateway_error_is_no_absence(any_account: ExchangeAccount, status: int) -> None:
    any_account.load_markets()
    for _ in range(3):
        any_account.venue.faults.append(Fault("status", status, "<html>no</html>", on="read"))
    with pytest.raises(ReadFailed):
        any_account.find("abc00000000000zzz0")


def test_lookup_without_cache_tries_every_listed_symbol() -> None:
    account = open_account("binance")
    eth = replace(account.venue.markets["BTCUSDT"], base="ETH")
    account.venue.markets["ETHUSDT"], account.venue.prices["ETHUSDT"] = eth, D(3000)
    spec = replace(
        account.spec, settings={**account.spec.settings, "symbols": "BTC/USDT, ETH/USDT"}
    )
    request = replace(account.order(), symbol="ETH/USDT")
    account.run(account.adapter.submit(spec, request, allow))
    new_adapter = account.new_adapter()
    reports = account.run(new_adapter.find_order(spec, request.client_order_id))
    assert reports is not None
    lookups = [
        line for line in account.venue.request_lines if line.startswith("GET /api/v3/order?")
    ]
    assert ["BTCUSDT" in line for line in lookups] == [True, False]
    account.venue.request_lines.clear()
    account.run(new_adapter.find_order(spec, "abc00000000000zzz0", symbol="ETH/USDT"))
    assert len([line for line in account.venue.request_lines if "/order?" in line]) == 1
    without_symbols = replace(spec, settings={"market": "spot"})
    with pytest.raises(ReadFailed, match="lists no symbols"):
        account.run(new_adapter.find_order(without_symbols, "abc00000000000zzz0"))
    account.run(new_adapter.disconnect())
    close(account)


def test_unchecked_exchange_promises_no_horizons() -> None:
    account = open_account("binance")
    spec = replace(account.spec, exchange_name="gate")
    capabilities = account.adapter.capabilities(spec)
    assert (capabilities.lookup_horizon, capabilities.fills_horizon) == (None, None)
    with pytest.raises(ReadFailed) as outcome:
        account.run(account.adapter.find_order(spec, "abc"))
    assert outcome.value.code is Code.LOOKUP_WINDOW_EXCEEDED
    with pytest.raises(ReadFailed):
        account.run(account.adapter.fills_since(spec, datetime.now(UTC)))
    with pytest.raises(ReadFailed, match="ccxt knows no exchange"):
        account.run(account.adapter.account(replace(account.spec, exchange_name="mtgox")))
    close(account)


def test_unchecked_exchange_trades_by_unified_names() -> None:
    account = open_account("binance")
    adapter = CryptoAdapter(ClientPool({"binanceus": account.server.base}, unlimited_rates))
    spec = replace(account.spec, exchange_name="binanceus")
    request = account.order()
    (report,) = account.run(adapter.submit(spec, request, allow))
    assert (report.kind, account.venue.accepted(request.client_order_id)) == (ReportKind.FILLED, 1)
    with pytest.raises(Rejected) as outcome:
        account.run(adapter.submit(spec, account.order(quantity=D(500)), allow))
    assert outcome.value.code is Code.NO_MONEY
    account.venue.faults.append(Fault("drop_after"))
    with pytest.raises(OutcomeUnknown):
        account.run(adapter.submit(spec, account.order(quantity=D("0.1")), allow))
    checks = _results(account.run(adapter.test(spec)))
    assert (checks["exchange"], checks["credentials"]) == (CheckResult.WARN, CheckResult.OK)
    account.venue.faults.append(Fault("status", 429, "slow down"))
    with pytest.raises(OutcomeUnknown):  # nothing states that this exchange's 429 accepts nothing
        account.run(adapter.submit(spec, account.order(quantity=D("0.1")), allow))
    account.run(adapter.disconnect())
    close(account)


# ---- executions -----------------------------------------------------------------------------
@pytest.mark.parametrize("max_pages", [1, 20], ids=["in halves", "page by page"])
@pytest.mark.parametrize("minutes", [-50, 10], ids=["past", "later than now"])
def test_more_fills_than_a_page_are_read_completely(
    any_account: ExchangeAccount, minutes: int, max_pages: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Later than now: their clock jumped ahead a moment ago, and we have not noticed."""
    monkeypatch.setattr(paging, "MAX_PAGES", max_pages)
    name = any_account.spec.exchange_name
    page, pieces = (50, 13) if name == "kraken" else (4, 3)  # Kraken's is always 50
    small = replace(exchanges.CHECKED[name], fills_page=page)
    monkeypatch.setattr(exchanges, "CHECKED", {**exchanges.CHECKED, name: small})
    any_account.venue.trades_per_fill = pieces
    for _ in range(4):
        any_account.submit(any_account.order(quantity=D("0.3")))
    start = any_account.venue.now() + minutes * 60_000
    for number, trade in enumerate(any_account.venue.trades):
        trade.time_ms = start + number * 50_000
    reports = any_account.run(
        any_account.adapter.fills_since(any_account.spec, datetime.now(UTC) - HOUR_AGO)
    )
    assert sorted(len(report.fills) for report in reports) == [pieces] * 4


@pytest.mark.parametrize(
    ("name", "swap", "pieces", "ago"),
    [
        ("kraken", False, 130, timedelta(minutes=1)), ("okx", True, 220, timedelta(minutes=1)),
        ("okx", True, 220, timedelta(days=4)), ("bybit", True, 200, timedelta(minutes=1)),
        ("binance", False, 1100, timedelta(minutes=1)),
    ],
    ids=["kraken", "okx", "okx-later", "bybit-full last page", "binance"],
)  # fmt: skip
def test_order_executed_at_once_in_more_trades_than_a_page_is_read(
    name: str, swap: bool, pieces: int, ago: timedelta
) -> None:
    """No time is short enough to ask for a part of them; and later executions are read with it."""
    account = open_account(name, swap=swap)
    account.venue.trades_per_fill = pieces
    request = account.order(quantity=D("1.2") if name != "okx" else D(1) / 2)
    account.submit(request)
    for trade in account.venue.trades:
        trade.time_ms = account.venue.now() - int(ago.total_seconds() * 1000)
    (looked_up,) = account.find(request.client_order_id) or []
    assert [fill.inferred for fill in looked_up.fills] == [False] * pieces
    account.venue.trades_per_fill = 1
    account.venue.prices[account.exchange_symbol] += 100
    account.venue.place(account.exchange_symbol, "SELL", "MARKET", D("0.5"), cid="")
    found = account.run(
        account.new_adapter().fills_since(account.spec, datetime.now(UTC) - ago - HOUR_AGO)
    )
    ours, external = sorted(found, key=lambda one: one.close_cause is not None)
    assert {fill.broker_fill_id for fill in ours.fills} == {
        fill.broker_fill_id for fill in looked_up.fills
    }
    assert (len(ours.fills), external.close_cause) == (pieces, CloseCause.EXTERNAL)
    close(account)


@pytest.mark.parametrize("name", ["binance", "bybit", "okx"])  # Kraken's have no limit
def test_more_fills_at_once_than_all_pages_hold_fail(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = open_account(name)
    monkeypatch.setattr(paging, "MAX_PAGES", 2)
    small = replace(exchanges.CHECKED[name], fills_page=50)
    monkeypatch.setattr(exchanges, "CHECKED", {**exchanges.CHECKED, name: small})
    account.venue.trades_per_fill = 101
    account.submit(account.order(quantity=D(2) if name != "okx" else D(1)))
    with pytest.raises(ReadFailed, match="more than 100 executions"):
        account.run(account.adapter.fills_since(account.spec, datetime.now(UTC) - HOUR_AGO))
    close(account)


# ---- executions of others -------------------------------------------------------------------
def _sold_by_hand(account: ExchangeAccount, *, seconds_ago: int) -> None:
    """Sell at the exchange by an order that it does not keep, as in a liquidation."""
    account.venue.prices[account.exchange_symbol] += 100
    order = account.venue.place(account.exchange_symbol, "SELL", "MARKET", D("0.1"), cid="")
    account.venue.orders.remove(order)
    account.venue.trades[-1].time_ms -= seconds_ago * 1000


def test_trade_of_an_order_that_is_not_kept_is_external(any_account: ExchangeAccount) -> None:
    request = any_account.order()
    any_account.submit(request)
    _sold_by_hand(any_account, seconds_ago=40)
    found = any_account.run(
        any_account.new_adapter().fills_since(any_account.spec, datetime.now(UTC) - HOUR_AGO)
    )
    assert {one.client_order_id: one.close_cause for one in found} == {
        request.client_order_id: None, "": CloseCause.EXTERNAL,
    }  # fmt: skip


@pytest.mark.parametrize("name", ["binance", "okx", "kraken"])
def test_trade_whose_order_is_not_listed_yet_is_read_again(name: str) -> None:
    """It may be ours: its order may follow a moment later."""
    account = open_account(name)
    account.submit(account.order())
    _sold_by_hand(account, seconds_ago=0)
    with pytest.raises(ReadFailed):
        account.run(account.new_adapter().fills_since(account.spec, datetime.now(UTC) - HOUR_AGO))
    close(account)


@pytest.mark.parametrize(
    ("cid", "symbols"), [("", []), ("abc00000000000zzz0", []), ("", ["ETH/USDT"])],
    ids=["theirs", "ours", "perhaps ours"],
)  # fmt: skip
def test_trade_of_an_unlisted_symbol_is_left_out_unless_it_may_be_ours(
    cid: str, symbols: list[str]
) -> None:
    """The owner trades by hand what was listed since the markets were loaded."""
    account = open_account("okx")
    settings = account.spec.settings
    spec = replace(account.spec, settings={**settings, "symbols": [account.symbol, *symbols]})
    request = account.order()
    account.run(account.adapter.submit(spec, request, allow))
    account.venue.markets["ETH-USDT"] = Market("ETH", "USDT", D("0.001"), D("0.1"), D(5))
    account.venue.prices["ETH-USDT"] = D(2000)
    account.venue.place("ETH-USDT", "BUY", "MARKET", D(1), cid=cid)
    reading = account.adapter.fills_since(spec, datetime.now(UTC) - HOUR_AGO)
    if cid or symbols:
        with pytest.raises(ReadFailed, match="does not list"):
            account.run(reading)
    else:
        assert [one.client_order_id for one in account.run(reading)] == [request.client_order_id]
    close(account)


@pytest.mark.parametrize("name", ["binance", "bybit"])
def test_fills_are_read_although_the_settings_name_an_unlisted_symbol(name: str) -> None:
    account = open_account(name)
    settings = {**account.spec.settings, "symbols": ["GONE/USDT", account.symbol]}
    request = account.order()
    account.submit(request)
    (read,) = account.run(
        account.adapter.fills_since(
            replace(account.spec, settings=settings), datetime.now(UTC) - HOUR_AGO
        )
    )
    assert read.client_order_id == request.client_order_id
    close(account)


def test_fills_beyond_the_horizon_are_not_requested(any_account: ExchangeAccount) -> None:
    with pytest.raises(ReadFailed) as outcome:
        any_account.run(
            any_account.adapter.fills_since(
                any_account.spec, datetime.now(UTC) - timedelta(days=800)
            )
        )
    assert outcome.value.code is Code.LOOKUP_WINDOW_EXCEEDED


def test_partial_history_fails(any_account: ExchangeAccount) -> None:
    any_account.submit(any_account.order())
    any_account.venue.faults.append(Fault("status", 502, "<html>", on="read"))
    with pytest.raises(ReadFailed):
        any_account.run(
            any_account.adapter.fills_since(any_account.spec, datetime.now(UTC) - HOUR_AGO)
        )


def test_manual_sale_is_external_close_on_spot() -> None:
    account = open_account("kraken")
    account.submit(account.order())
    account.venue.place("XBTUSDT", "SELL", "MARKET", D("0.5"), cid="")
    reports = account.run(
        account.new_adapter().fills_since(account.spec, datetime.now(UTC) - HOUR_AGO)
    )
    assert [r.close_cause for r in reports if not r.client_order_id] == [CloseCause.EXTERNAL]
    close(account)


# ---- reads that break -------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["account", "positions", "open_orders"])
@pytest.mark.parametrize("fault", [Fault("drop", on="read"), Fault("status", 200, "{}", on="read")])
def test_incomplete_read_fails(any_account: ExchangeAccount, name: str, fault: Fault) -> None:
    any_account.submit(any_account.order())
    for _ in range(2):  # aiohttp repeats a GET once
        any_account.venue.faults.append(replace(fault))
    with pytest.raises(ReadFailed):
        any_account.run(getattr(any_account.adapter, name)(any_account.spec))


@pytest.mark.parametrize(("name", "count"), [("okx", 100), ("okx", 250), ("bybit", 120)])
def test_more_open_orders_than_a_page_are_read(
    name: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = open_account(name)
    for _ in range(count):
        account.venue.place(account.exchange_symbol, "BUY", "LIMIT", D("0.001"), D(40000))
    listed = account.run(account.adapter.open_orders(account.spec))
    assert sorted(int(one.broker_order_id) for one in listed) == [
        order.number for order in account.venue.orders
    ]
    monkeypatch.setattr(paging, "MAX_PAGES", 1)
    with pytest.raises(ReadFailed) as outcome:
        account.run(account.adapter.open_orders(account.spec))
    assert outcome.value.code is Code.TOO_MANY_OPEN_ORDERS
    close(account)


# ---- symbols that are not among the loaded markets ------------------------------------------
def _list_eth(account: ExchangeAccount) -> str:
    """List another symbol after the markets were loaded; return the exchange's name of it."""
    account.load_markets()
    name = account.exchange_symbol.replace("BTC", "ETH").replace("XBT", "ETH")
    market = account.venue.markets[account.exchange_symbol]
    account.venue.markets[name] = replace(market, base="ETH")
    account.venue.prices[name] = D(50000)
    return name


def _renew_markets(account: ExchangeAccount) -> None:
    """Let the next use of the account load its markets again, which happens in the background."""

    async def renew() -> None:
        await account.adapter._clients.get(account.spec)
        (state,) = account.adapter._clients._loops.values()
        await asyncio.gather(*state.renewing)

    account.run(renew())


def test_open_order_of_others_in_a_new_symbol_does_not_stop_the_read(
    any_account: ExchangeAccount,
) -> None:
    name = _list_eth(any_account)
    any_account.venue.place(name, "BUY", "LIMIT", D("0.5"), D(40000), cid="theirs")
    request = any_account.order(limit_price=D(40000))
    any_account.submit(request)
    (listed,) = any_account.run(any_account.adapter.open_orders(any_account.spec))
    assert listed.client_order_id == request.client_order_id


@pytest.mark.parametrize("swap", [False, True], ids=["spot", "swap"])
@pytest.mark.parametrize("name", ["binance", "bybit", "okx"])
def test_open_order_of_ours_in_a_new_symbol_is_read_with_newer_markets(
    name: str, swap: bool
) -> None:
    """Another process, whose markets are newer, has sent it."""
    account = open_account(name, swap=swap)
    symbol = _list_eth(account)
    account.venue.place(symbol, "BUY", "LIMIT", D("0.5"), D(40000), cid="abc00000000000zzz0")
    # Of a perpetual nothing states how much a contract is: it is left out until it is listed.
    first = account.run(account.adapter.open_orders(account.spec))
    assert [order.quantity for order in first] == ([] if swap else [D("0.5")])
    _renew_markets(account)
    (listed,) = account.run(account.adapter.open_orders(account.spec))
    size = account.venue.markets[symbol].contract_size
    assert (listed.symbol[:4], listed.quantity) == ("ETH/", D("0.5") * size)
    close(account)


def test_other_account_with_the_same_old_markets_is_no_source_of_newer_ones() -> None:
    account = open_account("binance")
    other = replace(account.spec, connection_id="22222222-2222-4222-8222-222222222222")
    symbol = _list_eth(account)
    account.run(account.adapter.instruments(other))  # shares the markets
    account.venue.place(symbol, "BUY", "LIMIT", D("0.5"), D(40000), cid="abc00000000000zzz0")
    (found,) = account.run(account.adapter.open_orders(account.spec))
    assert found.symbol == "ETHUSDT"
    _renew_markets(account)
    (found,) = account.run(account.adapter.open_orders(account.spec))
    assert found.symbol == "ETH/USDT"
    close(account)


@pytest.mark.parametrize("name", ["binance", "bybit", "okx"])
def test_position_of_others_in_a_new_symbol_does_not_stop_the_read(name: str) -> None:
    account = open_account(name, swap=True)
    symbol = _list_eth(account)
    account.submit(account.order())
    account.venue.place(symbol, "BUY", "MARKET", D("0.5"))
    (held,) = account.run(account.adapter.positions(account.spec))
    assert held.symbol == account.symbol
    settings = {**account.spec.settings, "symbols": [account.symbol, "ETH/USDT:USDT"]}
    both = account.run(account.adapter.positions(replace(account.spec, settings=settings)))
    assert {(one.symbol, one.is_readable) for one in both} == {
        (account.symbol, True), ("ETH/USDT:USDT", False),  # it may be ours
    }  # fmt: skip
    close(account)


# ---- the connection test ----------------------------------------------------------------------
def test_connection_test_reports_wrong_key_without_secrets(any_account: ExchangeAccount) -> None:
    any_account.venue.key = "another"
    checks = any_account.run(any_account.adapter.test(any_account.spec))
    assert _results(checks)["credentials"] is CheckResult.FAIL
    texts = " ".join(f"{check.detail} {check.hint}" for check in checks)
    assert any_account.spec.credentials["secret"] not in texts
    assert any_account.spec.credentials["api_key"] not in texts


def test_connection_test_reports_unreachable_exchange(any_account: ExchangeAccount) -> None:
    any_account.server.stop()
    (check,) = any_account.run(any_account.adapter.test(any_account.spec))
    assert (check.name, check.result) == ("reach", CheckResult.FAIL)
    assert check.hint


@pytest.mark.parametrize("symbols", [[], ["BTC/EUR"], "BTC/USDT DOGE/USDT"])
def test_connection_test_checks_symbols(any_account: ExchangeAccount, symbols: object) -> None:
    spec = replace(any_account.spec, settings={**any_account.spec.settings, "symbols": symbols})
    assert _results(any_account.run(any_account.adapter.test(spec)))["symbols"] is CheckResult.FAIL


def test_connection_test_reports_forbidden_trading() -> None:
    account = open_account("binance")
    account.venue.can_trade = False
    assert _results(account.run(account.adapter.test(account.spec)))["trading"] is CheckResult.FAIL
    assert account.run(account.adapter.account(account.spec)).trading_allowed is False
    close(account)


@pytest.mark.parametrize("name", ["bybit", "okx"])
def test_connection_test_reports_key_permissions(name: str) -> None:
    account = open_account(name)
    assert _results(account.run(account.adapter.test(account.spec)))["rights"] is CheckResult.OK
    account.venue.may_withdraw = True
    assert _results(account.run(account.adapter.test(account.spec)))["rights"] is CheckResult.WARN
    account.venue.can_trade = False
    assert _results(account.run(account.adapter.test(account.spec)))["rights"] is CheckResult.FAIL
    close(account)


def test_late_history_is_no_absence() -> None:
    """Bybit's order history may be late; its list of recently ended orders is not."""
    account = open_account("bybit")
    request = account.order()
    account.submit(request)
    account.venue.history_lags = True
    other = account.new_adapter()
    reports = account.run(other.find_order(account.spec, request.client_order_id))
    assert reports is not None
    assert [report.kind for report in reports] == [ReportKind.FILLED]
    account.run(other.disconnect())
    close(account)
