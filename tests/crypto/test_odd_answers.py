"""Answers of another form than the reference shows: an error inside of a success, a warning beside
one, a trade of nothing, a market or a position that lacks a number."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from brokers.base import ReadFailed, Rejected
from brokers.crypto import market_steps, parse
from brokers.price_rounding import PriceGrid, step_at
from brokers.types import OrderType, ReportKind
from common.reason_codes import Code
from tests.crypto.factories import D, ExchangeAccount, account, close, open_account
from tests.fakes.exchange.kraken import Kraken
from tests.fakes.exchange.model import Trade
from tests.fakes.exchange.okx import Okx
from tests.fakes.exchange.venue import Fault, Market

__all__ = ["account"]

OKX_INNER = '{"code":"%s","msg":"","data":[{"clOrdId":"","ordId":"","sCode":"%s","sMsg":"no"}]}'
REFUSALS = [
    ("okx", OKX_INNER % ("0", "51008"), Code.NO_MONEY),
    ("okx", OKX_INNER % ("2", "51008"), Code.NO_MONEY),
    ("kraken", '{"error":["WGeneral:Old","EOrder:Insufficient funds"]}', Code.NO_MONEY),
    ("kraken", '{"error":["EGeneral:Invalid arguments:volume minimum not met"]}',
     Code.VOLUME_INVALID),
    ("kraken", '{"error":["EGeneral:Invalid arguments:price2"]}', Code.PRICE_INVALID),
    ("kraken", '{"error":["EGeneral:Invalid arguments:timeinforce"]}', Code.REJECTED_BY_BROKER),
    ("binance", '{"code":-1013,"msg":"Filter failure: MAX_NUM_ORDERS"}', Code.REJECTED_BY_BROKER),
    ("binance", '{"code":-2010,"msg":"Filter failure: MAX_NUM_ALGO_ORDERS"}',
     Code.REJECTED_BY_BROKER),
    ("binance", '{"code":-2010,"msg":"Filter failure: LOT_SIZE"}', Code.VOLUME_INVALID),
    ("binance", '{"code":-2010,"msg":"Filter failure: NOTIONAL"}', Code.VOLUME_INVALID),
    ("binance", '{"code":-1013,"msg":"Filter failure: MAX_POSITION"}', Code.VOLUME_INVALID),
    ("binance", '{"code":-1111,"msg":"Parameter \'price\' has too much precision."}',
     Code.PRICE_INVALID),
    ("binance", '{"code":-1111,"msg":"Precision is over the maximum defined for this asset."}',
     Code.VOLUME_INVALID),
    ("bybit", '{"retCode":10001,"retMsg":"position idx not match position mode"}',
     Code.REJECTED_BY_BROKER),
]  # fmt: skip


@pytest.mark.parametrize(("name", "body", "code"), REFUSALS)
def test_refusal_is_read_from_what_the_answer_states_inside(
    name: str, body: str, code: Code
) -> None:
    account = open_account(name)
    account.load_markets()
    account.venue.faults.append(Fault("status", 400 if name == "binance" else 200, body))
    with pytest.raises(Rejected) as outcome:
        account.submit(account.order())
    assert (outcome.value.code, outcome.value.detail) == (code, body)
    close(account)


def test_cancel_that_okx_refuses_inside_leaves_the_order_working() -> None:
    account = open_account("okx")
    request = account.order(limit_price=D(40000))
    account.submit(request)
    account.venue.faults.append(Fault("status", 200, OKX_INNER % ("0", "51410"), on="cancel"))
    assert [one.kind for one in account.cancel(request)] == [ReportKind.ACCEPTED]
    close(account)


def test_answer_with_a_warning_is_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kraken lists warnings among its errors; the request was done."""
    plain = Kraken.answer

    def warn(self: Kraken, *request: Any) -> tuple[int, Any]:
        status, answer = plain(self, *request)
        return status, {**answer, "error": [*answer["error"], "WGeneral:To be removed"]}

    monkeypatch.setattr(Kraken, "answer", warn)
    account = open_account("kraken")
    assert account.run(account.adapter.account(account.spec)).equity == 100_000
    reports = account.submit(account.order())
    assert {one.kind for one in reports} == {ReportKind.FILLED}
    close(account)


def test_trade_of_nothing_is_no_fill(account: ExchangeAccount) -> None:
    """Less than the smallest unit was traded, and the exchange writes it as nothing."""
    request = account.order()
    account.submit(request)
    (order,) = account.venue.orders
    now = account.venue.now()
    account.venue.trades.append(Trade(99, order, D(0), D(50000), D(0), "USDT", D(0), now))
    account.run(account.adapter.disconnect())
    account.adapter = account.new_adapter()
    fills = [
        fill for report in account.find(request.client_order_id) or () for fill in report.fills
    ]
    assert [fill.quantity for fill in fills] == [D("0.5")]


@pytest.mark.parametrize("swap", [False, True])
def test_market_without_steps_leaves_the_others_readable(
    swap: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OKX lists what will be traded later without its steps."""
    end = ":USDT" if swap else ""
    account = open_account("okx", swap=swap)
    account.spec.settings["symbols"].append(f"ETH/USDT{end}")
    name = "ETH-USDT-SWAP" if swap else "ETH-USDT"
    account.venue.markets[name] = Market("ETH", "USDT", D("0.001"), D("0.01"), D(5))
    account.venue.prices[name] = D(3000)
    account.venue.balances["ETH"] = D(2)
    plain = Okx._get_public_instruments

    def without_steps(self: Okx, asked: Mapping[str, Any]) -> Any:
        found = plain(self, asked)
        found[1].update(tickSz="", lotSz="", minSz="")
        return found

    monkeypatch.setattr(Okx, "_get_public_instruments", without_steps)
    listed = account.run(account.adapter.instruments(account.spec))
    assert [one.symbol for one in listed] == [f"BTC/USDT{end}"]
    account.submit(account.order())
    held = {
        one.symbol: one.is_tradable for one in account.run(account.adapter.positions(account.spec))
    }
    assert held == {f"BTC/USDT{end}": True} | ({} if swap else {"ETH/USDT": False})
    writes = len(account.venue.writes)
    with pytest.raises(Rejected) as outcome:
        account.submit(account.order(symbol=f"ETH/USDT{end}"))
    assert outcome.value.code is Code.SYMBOL_TRADING_DISABLED
    assert len(account.venue.writes) == writes
    close(account)


@pytest.mark.parametrize(("field", "value"), [("avgPx", ""), ("avgPx", "0"), ("upl", "")])
def test_position_that_lacks_a_number_is_a_position(
    field: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Okx._get_account_positions

    def lacking(self: Okx, asked: Mapping[str, Any]) -> Any:
        return [{**line, field: value} for line in plain(self, asked)]

    monkeypatch.setattr(Okx, "_get_account_positions", lacking)
    account = open_account("okx", swap=True)
    account.submit(account.order())
    (held,) = account.run(account.adapter.positions(account.spec))
    assert (held.symbol, held.quantity) == ("BTC/USDT:USDT", D("0.5"))
    close(account)


def test_positions_of_other_kinds_are_none_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """OKX lists margin, options and perpetuals of an account together."""
    plain = Okx._get_account_positions
    others = (
        {"instId": "DOGE-USDT", "instType": "MARGIN", "posCcy": "DOGE", "pos": "500"},
        {"instId": "BTC-USD-261225-50000-C", "instType": "OPTION", "pos": "5"},
    )

    def with_others(self: Okx, asked: Mapping[str, Any]) -> Any:
        found = plain(self, asked)
        return [*found, *({**found[0], **other} for other in others)]

    monkeypatch.setattr(Okx, "_get_account_positions", with_others)
    account = open_account("okx", swap=True)
    account.submit(account.order())
    found = account.run(account.adapter.positions(account.spec))
    assert [one.symbol for one in found] == ["BTC/USDT:USDT"]
    close(account)


def _market(mode: int, amount: object, price: object) -> dict[str, Any]:
    return {
        "symbol": "BTC/USD", "base": "BTC", "quote": "USD", "spot": True, "precisionMode": mode,
        "precision": {"amount": amount, "price": price}, "limits": {},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("mode", "amount", "price", "step", "ticks"),
    [
        (market_steps.TICK_SIZE, "0.001", "0.1", "0.001", {"1": "0.1", "60000": "0.1"}),
        (market_steps.TICK_SIZE, "1e-05", "1E-8", "0.00001", {"1": "0.00000001"}),
        (market_steps.DECIMAL_PLACES, "8", "2", "0.00000001", {"1": "0.01", "60000": "0.01"}),
        (market_steps.SIGNIFICANT_DIGITS, "8", "5", "0.00000001",
         {"60000": "1", "3012.5": "0.1", "1.5": "0.0001", "0.00002": "0.00000001"}),
    ],
)  # fmt: skip
def test_steps_are_read_by_the_exchanges_precision_mode(
    mode: int, amount: str, price: str, step: str, ticks: dict[str, str]
) -> None:
    market = _market(mode, amount, price)
    grid = market_steps.price_tick(market)
    found = {at: step_at(D(at), grid) for at in ticks}
    assert found == {at: D(tick) for at, tick in ticks.items()}
    instrument = parse.instrument(market)
    assert instrument.quantity_step == D(step)
    assert instrument.price_steps == (grid.steps if isinstance(grid, PriceGrid) else ())


@pytest.mark.parametrize("stated", [None, "", "0", "nan", "-1"])
def test_market_without_a_step_is_no_instrument(stated: object) -> None:
    with pytest.raises(ValueError, match="has no step"):
        parse.instrument(_market(market_steps.TICK_SIZE, stated, "0.1"))
    with pytest.raises(ValueError, match="has no step"):
        parse.instrument(_market(market_steps.TICK_SIZE, Decimal("0.1"), stated))


def test_precision_mode_of_an_exchange_is_that_of_its_markets() -> None:
    ccxt = pytest.importorskip("ccxt")
    from brokers.crypto.ccxt_hooks import HookedExchange

    for name, mode in (("bitfinex", 3), ("bithumb", 3), ("binance", 4)):
        exchange = type(name, (HookedExchange, getattr(ccxt, name)), {})()
        exchange.set_markets([exchange.safe_market_structure({"id": "X", "symbol": "BTC/USD"})])
        assert exchange.markets["BTC/USD"]["precisionMode"] == mode


@pytest.mark.parametrize("is_level", [True, False])
def test_price_that_triggers_at_bybit_is_named(is_level: bool) -> None:
    account = open_account("bybit", swap=True)
    if is_level:
        account.submit(account.order(stop_loss=D(45000)))
    else:
        terms = {"limit_price": D(51100), "stop_price": D(51000)}
        account.submit(account.order(order_type=OrderType.STOP_LIMIT, **terms))
    assert '"triggerBy":"LastPrice"' in account.venue.writes[-1].replace(" ", "")
    close(account)


NOT_YET = {
    "binance": (400, '{"code":-2011,"msg":"Unknown order sent."}'),
    "bybit": (200, '{"retCode":170213,"retMsg":"Order does not exist."}'),
    "okx": (200, '{"code":"1","data":[{"sCode":"51603","sMsg":"Order does not exist"}]}'),
    "kraken": (200, '{"error":["EOrder:Unknown order"]}'),
}


@pytest.mark.parametrize("name", NOT_YET)
def test_cancel_that_does_not_find_a_new_order_yet_reports_it_working(name: str) -> None:
    account = open_account(name)
    request = account.order(limit_price=D(40000))
    account.submit(request)
    account.venue.faults.append(Fault("status", *NOT_YET[name], on="cancel"))
    assert [one.kind for one in account.cancel(request)] == [ReportKind.ACCEPTED]
    close(account)


def test_contract_of_nothing_fails_the_read_of_its_position() -> None:
    """Its position would count as closed."""
    for size in ("0", "-1"):
        with pytest.raises(ValueError, match="contracts of"):
            parse.contract_size({"symbol": "X", "contract": True, "contractSize": size})


def test_held_coin_without_a_price_has_its_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its market stands still. Without any price the read fails: it would look like a loss."""
    account = open_account("okx")
    account.venue.balances |= {"USDT": D(1000), "BTC": D(2)}
    assert account.run(account.adapter.account(account.spec)).equity == 101_000
    lacking: dict[str, Any] = {"last": "", "bidPx": "", "askPx": ""}
    plain = Okx._ticker
    monkeypatch.setattr(Okx, "_ticker", lambda self, name: {**plain(self, name), **lacking})
    assert account.run(account.adapter.account(account.spec)).equity == 101_000
    lacking["bidPx"] = "49000"
    assert account.run(account.adapter.account(account.spec)).equity == 99_000
    lacking["bidPx"] = ""
    account.run(account.adapter.disconnect())
    account.adapter = account.new_adapter()
    with pytest.raises(ReadFailed, match="lists no price"):
        account.run(account.adapter.account(account.spec))
    close(account)
