"""Their words into ours, and their codes, without any network."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from brokers.crypto import codes, parse, response
from brokers.crypto.codes import Meaning
from brokers.crypto.exchanges import CHECKED, Dialect, Lookup, rules
from brokers.types import OrderType, ReportKind, Side
from common.reason_codes import Code
from execution.ids import new_client_order_id

D = Decimal
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
MARKET: dict[str, Any] = {
    "symbol": "BTC/USDT:USDT", "base": "BTC", "quote": "USDT", "contract": True,
    "contractSize": "0.01", "precision": {"amount": "0.1", "price": "0.5"},
    "limits": {"amount": {"min": "0.2", "max": None}, "cost": {"min": "5"}},
}  # fmt: skip
ORDER: dict[str, Any] = {
    "id": "77", "symbol": "BTC/USDT:USDT", "status": "open", "side": "buy", "type": "limit",
    "amount": "10", "price": "50000", "filled": None, "average": None, "info": {},
    "timestamp": 1795192696189, "clientOrderId": "abc",
}  # fmt: skip
TRADE: dict[str, Any] = {
    "symbol": "BTC/USDT:USDT", "order": "77", "id": "9", "side": "buy", "amount": "4",
    "price": "50000.5", "timestamp": 1795192696189, "fee": {"cost": "0.1", "currency": "USDT"},
    "info": {},
}  # fmt: skip


@pytest.mark.parametrize("word", ["NaN", "Infinity", "x", None, ""])
def test_what_is_no_number_is_refused(word: object) -> None:
    with pytest.raises(ValueError, match="not a number"):
        parse.number(word)


def test_numbers_stay_exact_and_may_be_missing() -> None:
    assert parse.number("0.1") + parse.number("0.2") == D("0.3")
    assert (
        parse.optional_number(None),
        parse.optional_number("", D(7)),
        parse.optional_number("2"),
    ) == (
        D(0),
        D(7),
        D(2),
    )
    assert parse.moment("1795192696189") == datetime(2026, 11, 20, 16, 38, 16, 189000, tzinfo=UTC)


def test_an_instrument_is_in_base_units_whatever_a_contract_holds() -> None:
    one = parse.instrument(MARKET)
    assert (one.quantity_step, one.quantity_min, one.contract_size, one.pip, one.digits) == (
        D("0.001"), D("0.002"), D("0.01"), D("0.5"), 1,
    )  # fmt: skip
    assert one.quantity_max == parse.MAX_NUMBER * D("0.01")
    assert parse.min_notional(MARKET) == 5
    spot = {
        **MARKET,
        "contract": False,
        "limits": None,
        "precision": {"amount": "1", "price": "10"},
    }
    plain = parse.instrument(spot)
    assert (plain.contract_size, plain.quantity_min, plain.digits) == (D(1), D(1), 0)
    with pytest.raises(ValueError, match="no steps"):
        parse.instrument({**MARKET, "precision": {"amount": "0", "price": "1"}})


def test_an_execution_is_named_by_symbol_order_trade_and_side() -> None:
    fill = parse.execution(TRADE, D("0.01"))
    assert fill.broker_fill_id == "BTC/USDT:USDT:77:9:buy"
    assert (fill.quantity, fill.commission, fill.commission_currency) == (
        D("0.04"),
        D("0.1"),
        "USDT",
    )
    selfish = parse.execution({**TRADE, "side": "sell", "fee": None}, D(1))
    assert selfish.broker_fill_id != fill.broker_fill_id
    assert (selfish.commission, selfish.commission_currency) == (D(0), "")


def _told(order: dict[str, Any], fills: list[Any] | None = None) -> list[Any]:
    return parse.reports(
        "c", "abc", order, fills or [], size=D("0.01"), now=NOW, position="BTC/USDT:USDT"
    )


def test_an_order_tells_everything_about_itself() -> None:
    assert [r.kind for r in _told(ORDER)] == [ReportKind.ACCEPTED]
    full = {**ORDER, "status": "closed", "filled": "4", "average": "50000.5"}
    (filled,) = _told(full, [parse.execution(TRADE, D("0.01"))])
    assert (filled.kind, len(filled.fills), filled.broker_position_id) == (
        ReportKind.FILLED, 1, "BTC/USDT:USDT",
    )  # fmt: skip
    cut = _told({**full, "status": "canceled"}, [parse.execution(TRADE, D("0.01"))])
    assert [r.kind for r in cut] == [ReportKind.FILLED, ReportKind.CANCELLED]
    (expired,) = _told({**ORDER, "status": "expired"})
    assert (expired.kind, expired.code) == (ReportKind.EXPIRED, Code.TIME_IN_FORCE_ENDED)
    (refused,) = _told({**ORDER, "status": "rejected"})
    assert (refused.kind, refused.code) == (ReportKind.REJECTED, Code.REJECTED_BY_BROKER)
    (nothing,) = _told({**ORDER, "status": "closed", "filled": "0"})
    assert nothing.kind is ReportKind.EXPIRED
    (waits,) = _told({**ORDER, "status": "closed", "filled": "4"})  # its price is not told yet
    assert waits.kind is ReportKind.ACCEPTED


def test_a_sum_stands_in_for_executions_that_are_not_told_yet() -> None:
    order = {**ORDER, "status": "closed", "filled": "10", "average": "50001"}
    (report,) = _told(order, [parse.execution(TRADE, D("0.01"))])
    real, summed = report.fills
    assert (real.inferred, summed.inferred) == (False, True)
    assert (summed.quantity, summed.price) == (D("0.1"), D(50001))
    assert summed.time == parse.moment(ORDER["timestamp"])
    (report,) = _told({**order, "timestamp": None})
    assert report.fills[0].time == NOW


@pytest.mark.parametrize("broken", [{"status": None}, {"status": "new"}, {"id": None}])
def test_an_order_that_says_nothing_of_itself_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="status"):
        _told({**ORDER, **broken})


def test_what_rests_is_told_whatever_it_is() -> None:
    rests = parse.resting(ORDER, D("0.01"))
    assert (rests.order_type, rests.quantity, rests.limit_price) == (
        OrderType.LIMIT,
        D("0.1"),
        D(50000),
    )
    stop = parse.resting(
        {**ORDER, "triggerPrice": "49000", "price": None, "timestamp": None}, D("0.01")
    )
    assert (stop.order_type, stop.stop_price, stop.placed_at) == (OrderType.STOP, D(49000), None)
    assert parse.resting({**ORDER, "type": "market"}, D(1)).order_type is OrderType.MARKET
    assert parse.side("sell") is Side.SELL
    with pytest.raises(ValueError, match="UP"):
        parse.side("up")


def test_a_position_has_a_side_or_is_refused() -> None:
    read = {"symbol": "X", "contracts": "3", "side": "short", "entryPrice": "5"}
    assert parse.position({**read, "contracts": "0"}, D(1)) is None
    short = parse.position(read, D(2))
    assert short is not None
    assert (short.broker_position_id, short.side, short.quantity) == ("X", Side.SELL, D(6))
    with pytest.raises(ValueError, match="side"):
        parse.position({**read, "side": None}, D(1))


def test_an_execution_closes_when_it_realises_something() -> None:
    assert parse.closes({"side": "sell"}, spot=True)
    assert not parse.closes({"side": "buy"}, spot=True)
    assert not parse.closes({"side": "sell", "info": {"realizedPnl": "0"}}, spot=False)
    assert parse.closes({"side": "sell", "info": {"fillPnl": "-3"}}, spot=False)


@pytest.mark.parametrize(
    ("order", "does"),
    [
        ({"reduceOnly": True}, True),
        ({"reduceOnly": None, "info": {"closePosition": "true"}}, True),
        ({"reduceOnly": False, "info": {"closePosition": False}}, False),
    ],
)
def test_an_order_that_only_reduces_says_so(order: dict[str, object], does: bool) -> None:
    assert parse.reduces(order) is does


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({"retry-after": "30"}, 30.0), ({"Retry-After": "Wed, 21 Oct"}, None), ({}, None)],
)
def test_how_long_to_be_silent(headers: dict[str, str], seconds: float | None) -> None:
    assert response.retry_after(headers) == seconds


@pytest.mark.parametrize(
    ("dialect", "body", "code"),
    [
        (Dialect.BINANCE, '{"code":-2010,"msg":"no"}', "-2010"),
        (Dialect.BYBIT, '{"retCode":10006,"retMsg":"no"}', "10006"),
        (Dialect.OKX, '{"code":"1","data":[{"sCode":"51008","sMsg":"no"}]}', "51008"),
        (Dialect.OKX, '{"code":"50011","msg":"no","data":[]}', "50011"),
        (Dialect.OKX, '{"code":"50011","msg":"no","data":["x"]}', "50011"),
        (Dialect.KRAKEN, '{"error":["EOrder:Unknown order"]}', "EOrder:Unknown order"),
    ],
)
def test_each_dialect_says_its_code(dialect: Dialect, body: str, code: str) -> None:
    said = response.read_error(dialect, body)
    assert said is not None
    assert said.code == code


@pytest.mark.parametrize("body", ["", "<html>", "[1]", "null", "{}", '{"retCode":'])
@pytest.mark.parametrize("dialect", list(Dialect))
def test_what_is_not_their_envelope_says_nothing(dialect: Dialect, body: str) -> None:
    assert response.read_error(dialect, body) is None


WHOLE: list[tuple[Dialect, str, object, bool]] = [
    (Dialect.BINANCE, "/api/v3/account", {"balances": []}, True),
    (Dialect.BINANCE, "/fapi/v3/account", {"x": 1}, False),
    (Dialect.BINANCE, "/api/v3/openOrders", [], True),
    (Dialect.BINANCE, "/api/v3/openOrders", {}, False),
    (Dialect.BINANCE, "/api/v3/order", {}, False),
    (Dialect.BINANCE, "/api/v3/order", {"orderId": 1}, True),
    (Dialect.BYBIT, "/v5/x", {"retCode": 0, "result": {}}, True),
    (Dialect.BYBIT, "/v5/x", {"retCode": 0, "result": None}, False),
    (Dialect.BYBIT, "/v5/x", [], False),
    (Dialect.OKX, "/x", {"code": "0", "data": []}, True),
    (Dialect.OKX, "/x", {"code": "2", "data": []}, False),
    (Dialect.KRAKEN, "/x", {"error": [], "result": {}}, True),
    (Dialect.KRAKEN, "/x", {"error": []}, False),
    (Dialect.CCXT, "/x", [], True),
    (Dialect.CCXT, "/x", None, False),
]


@pytest.mark.parametrize(("dialect", "path", "read", "whole"), WHOLE)
def test_an_answer_has_its_envelope_or_is_none(
    dialect: Dialect, path: str, read: object, whole: bool
) -> None:
    assert response.is_whole(dialect, path, read) is whole


def test_codes_with_many_reasons_are_read_by_their_message() -> None:
    def meant(message: str) -> Code:
        found = codes.verdict_of(Dialect.BINANCE, "-2010", message)
        assert found is not None
        return found.code

    assert meant("Account has insufficient balance for requested action.") is Code.NO_MONEY
    assert meant("Market is closed.") is Code.MARKET_CLOSED
    assert meant("Something else.") is Code.REJECTED_BY_BROKER
    duplicate = codes.verdict_of(Dialect.BINANCE, "-2010", "Duplicate order sent.")
    assert duplicate is not None
    assert duplicate.means is Meaning.DUPLICATE
    long = codes.verdict_of(Dialect.KRAKEN, "EOrder:Invalid price:Invalid price argument", "")
    assert long is not None
    assert long.code is Code.PRICE_INVALID
    assert codes.verdict_of(Dialect.KRAKEN, "EService:Unavailable", "") is codes.UNKNOWN
    assert codes.verdict_of(Dialect.KRAKEN, "ETomorrow", "") is None


@pytest.mark.parametrize(
    ("dialect", "code"),
    [
        (Dialect.BINANCE, "-1006"), (Dialect.BINANCE, "-1007"), (Dialect.BINANCE, "-1000"),
        (Dialect.BINANCE, "-1001"), (Dialect.BYBIT, "10000"), (Dialect.BYBIT, "10016"),
        (Dialect.BYBIT, "170007"), (Dialect.BYBIT, "170146"), (Dialect.OKX, "50004"),
        (Dialect.OKX, "50026"), (Dialect.OKX, "50001"), (Dialect.OKX, "51149"),
    ],
)  # fmt: skip
def test_codes_that_may_mean_a_live_order_prove_nothing(dialect: Dialect, code: str) -> None:
    assert codes.verdict_of(dialect, code, "") is codes.UNKNOWN


def test_no_code_is_sure_and_unsure_at_once() -> None:
    for dialect, names in codes.UNSURE.items():
        assert names.isdisjoint(codes.TABLES[dialect])


def test_ccxts_classes_are_known_by_their_nearest_name() -> None:
    found = codes.verdict_by_class(("DuplicateOrderId", "InvalidOrder", "ExchangeError"))
    assert found is codes.DUPLICATE
    assert codes.verdict_by_class(("RequestTimeout", "NetworkError", "OperationFailed")) is None
    assert codes.verdict_by_class(("RateLimitExceeded", "NetworkError")) is None


def test_our_ids_are_what_each_exchange_takes() -> None:
    ccxt = pytest.importorskip("ccxt")
    for known in CHECKED.values():
        assert known.id_length >= len(new_client_order_id("abc")) == 18
        assert known.name in ccxt.exchanges
        assert known.lookup is not Lookup.NONE
        assert known.lookup_horizon("spot") is not None
    assert (rules("gate").lookup, rules("gate").lookup_horizon("spot")) == (Lookup.NONE, None)
    assert rules("binance").lookup_horizon("swap") != rules("binance").lookup_horizon("spot")


def test_every_class_in_the_table_is_one_of_ccxts() -> None:
    errors = pytest.importorskip("ccxt.base.errors")
    for name in codes.CLASSES:
        assert issubclass(getattr(errors, name), errors.BaseError)
    for name, verdict in codes.CLASSES.items():
        if issubclass(getattr(errors, name), errors.NetworkError):
            assert verdict.means is not Meaning.REJECTED, name
