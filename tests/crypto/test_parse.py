"""Parsing of ccxt's answers and of error codes, without a network."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from brokers.crypto import codes, parse, response
from brokers.crypto.codes import Meaning
from brokers.crypto.exchanges import CHECKED, Envelope, Lookup, rules
from brokers.types import CloseCause, Execution, OrderReport, OrderType, ReportKind, Side
from common.reason_codes import Code
from execution.ids import new_client_order_id
from execution.models import Fill

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


@pytest.mark.parametrize("text", ["NaN", "Infinity", "x", None, ""])
def test_invalid_number_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="not a number"):
        parse.number(text)


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


def test_instrument_is_in_base_units_for_any_contract_size() -> None:
    swap = parse.instrument(MARKET)
    assert (swap.quantity_step, swap.quantity_min, swap.contract_size, swap.pip, swap.digits) == (
        D("0.001"), D("0.002"), D("0.01"), D("0.5"), 1,
    )  # fmt: skip
    assert swap.quantity_max == parse.MAX_NUMBER * D("0.01")
    assert parse.min_notional(MARKET) == 5
    spot = {
        **MARKET,
        "contract": False,
        "limits": None,
        "precision": {"amount": "1", "price": "10"},
    }
    spot_instrument = parse.instrument(spot)
    assert (
        spot_instrument.contract_size,
        spot_instrument.quantity_min,
        spot_instrument.digits,
    ) == (D(1), D(1), 0)
    with pytest.raises(ValueError, match="no step of its amount"):
        parse.instrument({**MARKET, "precision": {"amount": "0", "price": "1"}})


def test_fill_id_is_symbol_order_trade_and_side() -> None:
    fill = parse.execution(TRADE, D("0.01"))
    assert fill.broker_fill_id == "BTC/USDT:USDT:77:9:buy"
    assert (fill.quantity, fill.commission, fill.commission_currency) == (
        D("0.04"),
        D("0.1"),
        "USDT",
    )
    opposite = parse.execution({**TRADE, "side": "sell", "fee": None}, D(1))
    assert opposite.broker_fill_id != fill.broker_fill_id
    assert (opposite.commission, opposite.commission_currency) == (D(0), "")


@pytest.mark.parametrize("symbol", ["BTC/USDT:USDT", "1000000BABYDOGE/USDT:USDT"])
def test_fill_id_of_any_symbol_can_be_stored(symbol: str) -> None:
    """Ids as Bybit's derivatives have them."""
    trade = {**TRADE, "symbol": symbol, "order": "8c065341-7b52-4ca9-ac2c-37e31ac55c94"}
    names = {
        parse.execution({**trade, "id": name, "side": side}, D(1)).broker_fill_id
        for name in ("e0cbe81d-0f18-5866-9415-cf319b5dab3b", "e0cbe81d-0f18-5866-9415-cf319b5dab3c")
        for side in ("buy", "sell")
    }
    longest = Fill._meta.get_field("broker_fill_id").max_length
    assert longest is not None
    assert len(names) == 4
    assert max(map(len, names)) <= longest


def _reports(order: dict[str, Any], fills: list[Any] | None = None) -> list[Any]:
    return parse.reports(
        "c", "abc", order, fills or [], size=D("0.01"), now=NOW, position="BTC/USDT:USDT"
    )


def test_order_status_maps_to_reports() -> None:
    assert [r.kind for r in _reports(ORDER)] == [ReportKind.ACCEPTED]
    closed_order = {
        **ORDER, "status": "closed", "amount": "4", "filled": "4", "average": "50000.5",
    }  # fmt: skip
    (filled,) = _reports(closed_order, [parse.execution(TRADE, D("0.01"))])
    assert (filled.kind, len(filled.fills), filled.broker_position_id) == (
        ReportKind.FILLED, 1, "BTC/USDT:USDT",
    )  # fmt: skip
    cancelled = _reports(
        {**closed_order, "status": "canceled"}, [parse.execution(TRADE, D("0.01"))]
    )
    assert [r.kind for r in cancelled] == [ReportKind.FILLED, ReportKind.CANCELLED]
    (expired,) = _reports({**ORDER, "status": "expired"})
    assert (expired.kind, expired.code) == (ReportKind.EXPIRED, Code.TIME_IN_FORCE_ENDED)
    for kind in ({}, {"type": "market"}, {"timeInForce": "IOC"}):
        (self_trade,) = _reports(
            {**ORDER, "status": "expired", "info": {"status": "EXPIRED_IN_MATCH"}, **kind}
        )
        assert (self_trade.code, self_trade.detail) == (
            Code.REJECTED_BY_BROKER, "EXPIRED_IN_MATCH",
        )  # fmt: skip
    (refused,) = _reports({**ORDER, "status": "rejected"})
    assert (refused.kind, refused.code) == (ReportKind.REJECTED, Code.REJECTED_BY_BROKER)
    (unfilled,) = _reports({**ORDER, "status": "closed", "filled": "0"})
    assert unfilled.kind is ReportKind.EXPIRED
    # Its price is not reported yet.
    (unpriced,) = _reports({**ORDER, "status": "closed", "filled": "4"})
    assert unpriced.kind is ReportKind.ACCEPTED


@pytest.mark.parametrize(
    ("fields", "end"),
    [
        ({}, (ReportKind.CANCELLED, None)),
        ({"timeInForce": "FOK"}, (ReportKind.CANCELLED, Code.NO_PRICE_WITHIN_LIMIT)),
        ({"type": "market"}, (ReportKind.CANCELLED, Code.NO_PRICE_WITHIN_LIMIT)),
        ({"amount": "4"}, (ReportKind.FILLED, None)),
        ({"amount": None}, (ReportKind.FILLED, None)),  # of a purchase for an amount of money
        ({"average": None}, (ReportKind.ACCEPTED, None)),  # its executions are not known yet
    ],
)
def test_closed_order_with_less_filled_than_ordered_is_cancelled(
    fields: dict[str, Any], end: tuple[ReportKind, Code | None]
) -> None:
    order = {**ORDER, "status": "closed", "filled": "4", "average": "50001", **fields}
    last = _reports(order)[-1]
    assert (last.kind, last.code) == end


def test_missing_fills_are_inferred_from_cumulative_quantity() -> None:
    order = {**ORDER, "status": "closed", "filled": "10", "average": "50001"}
    (report,) = _reports(order, [parse.execution(TRADE, D("0.01"))])
    reported, inferred = report.fills
    assert (reported.inferred, inferred.inferred) == (False, True)
    assert (inferred.quantity, inferred.price) == (D("0.1"), D(50001))
    assert inferred.time == parse.moment(ORDER["timestamp"])
    (report,) = _reports({**order, "timestamp": None})
    assert report.fills[0].time == NOW


def test_order_without_an_id_is_refused() -> None:
    with pytest.raises(ValueError, match="without an id"):
        _reports({**ORDER, "id": None})


@pytest.mark.parametrize("status", [None, "new", "SOME_NEW_STATE"])
def test_order_in_an_unknown_state_is_at_the_exchange_with_what_it_has_filled(
    status: str | None,
) -> None:
    """It has neither ended nor is it absent."""
    (accepted,) = _reports({**ORDER, "status": status, "filled": "0"})
    assert accepted.kind is ReportKind.ACCEPTED
    order = {**ORDER, "status": status, "filled": "4", "average": "50001"}
    (filled,) = _reports(order)
    assert (filled.kind, filled.fills[0].quantity) == (ReportKind.FILLED, D("0.04"))


@pytest.mark.parametrize("status", ["canceled", "expired", "closed"])
def test_order_has_not_ended_before_what_it_has_filled_is_known(status: str) -> None:
    """Its executions are listed late, and its price is not stated."""
    for average in (None, "", "0"):
        order = {**ORDER, "status": status, "amount": "10", "filled": "4", "average": average}
        assert [one.kind for one in _reports(order)] == [ReportKind.ACCEPTED]
    trade = parse.execution({**TRADE, "amount": "4"}, D("0.01"))
    order["average"] = "50001"
    kinds = [one.kind for one in _reports(order, [trade])]
    assert kinds[0] is ReportKind.FILLED
    assert len(kinds) == 2


def test_closed_order_that_does_not_state_what_was_filled_has_not_expired() -> None:
    for filled in (None, ""):
        (report,) = _reports({**ORDER, "status": "closed", "filled": filled})
        assert report.kind is ReportKind.ACCEPTED


ENDS: list[tuple[dict[str, Any], Code | None, str]] = [
    ({"rejectReason": "EC_NoError", "cancelType": "UNKNOWN"}, None, "canceled"),
    ({"rejectReason": "EC_PerCancelRequest", "cancelType": "CancelByUser"}, None,
     "canceled: EC_PerCancelRequest CancelByUser"),
    ({"rejectReason": "EC_NoError", "cancelType": "CancelBySmp"}, Code.REJECTED_BY_BROKER,
     "canceled: CancelBySmp"),
    ({"rejectReason": "EC_BySelfMatch"}, Code.REJECTED_BY_BROKER, "canceled: EC_BySelfMatch"),
    ({"cancelType": "CancelByCannotAffordOrderCost"}, Code.NO_MONEY,
     "canceled: CancelByCannotAffordOrderCost"),
    ({"cancelSource": "32", "cancelSourceReason": ""}, Code.REJECTED_BY_BROKER, "canceled: 32"),
    ({"cancelSource": "2", "cancelSourceReason": "Insufficient margin"}, Code.NO_MONEY,
     "canceled: 2 Insufficient margin"),
    ({"cancelSource": "", "cancelSourceReason": ""}, None, "canceled"),
    ({"reason": None}, None, "canceled"),
    ({"reason": "Out of funds"}, None, "canceled: Out of funds"),
]  # fmt: skip


@pytest.mark.parametrize(("info", "code", "detail"), ENDS)
def test_end_of_an_order_has_the_exchanges_own_reason(
    info: dict[str, Any], code: Code | None, detail: str
) -> None:
    (ended,) = _reports({**ORDER, "status": "canceled", "filled": "0", "info": info})
    assert (ended.code, ended.detail) == (code, detail)
    brief = {**ORDER, "status": "canceled", "filled": "0", "type": "market", "info": info}
    assert _reports(brief)[0].code is (code or Code.NO_PRICE_WITHIN_LIMIT)
    (refused,) = _reports({**ORDER, "status": "rejected", "filled": "0", "info": info})
    assert refused.code is (code or Code.REJECTED_BY_BROKER)


def test_working_order_of_any_type_is_parsed() -> None:
    limit = parse.resting(ORDER, D("0.01"))
    assert (limit.order_type, limit.quantity, limit.limit_price) == (
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


def test_position_without_side_is_refused() -> None:
    answer = {"symbol": "X", "contracts": "3", "side": "short", "entryPrice": "5"}
    assert parse.position({**answer, "contracts": "0"}, D(1)) is None
    short = parse.position(answer, D(2))
    assert short is not None
    assert (short.broker_position_id, short.side, short.quantity) == ("X", Side.SELL, D(6))
    with pytest.raises(ValueError, match="side"):
        parse.position({**answer, "side": None}, D(1))


def test_fill_with_realized_pnl_closes() -> None:
    assert parse.closes({"side": "sell"}, spot=True)
    assert not parse.closes({"side": "buy"}, spot=True)
    assert not parse.closes({"side": "sell", "info": {"realizedPnl": "0"}}, spot=False)
    assert parse.closes({"side": "sell", "info": {"fillPnl": "-3"}}, spot=False)


@pytest.mark.parametrize(
    ("order", "reduces"),
    [
        ({"reduceOnly": True}, True),
        ({"reduceOnly": None, "info": {"closePosition": "true"}}, True),
        ({"reduceOnly": False, "info": {"closePosition": False}}, False),
    ],
)
def test_reduce_only_order_is_recognised(order: dict[str, object], reduces: bool) -> None:
    assert parse.reduces(order) is reduces


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "30"}, 30.0),
        ({"Retry-After": "259200"}, 259200.0),
        ({"Retry-After": "Wed, 21 Oct"}, None),
        ({}, None),
        ({"Retry-After": "1795000000"}, None),
        ({"Retry-After": "9" * 400}, None),
    ],
)
def test_retry_after_header_is_read(headers: dict[str, str], seconds: float | None) -> None:
    assert response.retry_after(headers) == seconds


@pytest.mark.parametrize(
    ("envelope", "body", "code"),
    [
        (Envelope.BINANCE, '{"code":-2010,"msg":"no"}', "-2010"),
        (Envelope.BYBIT, '{"retCode":10006,"retMsg":"no"}', "10006"),
        (Envelope.OKX, '{"code":"1","data":[{"sCode":"51008","sMsg":"no"}]}', "51008"),
        (Envelope.OKX, '{"code":"50011","msg":"no","data":[]}', "50011"),
        (Envelope.OKX, '{"code":"50011","msg":"no","data":["x"]}', "50011"),
        (Envelope.KRAKEN, '{"error":["EOrder:Unknown order"]}', "EOrder:Unknown order"),
    ],
)
def test_error_code_is_read_from_each_dialect(envelope: Envelope, body: str, code: str) -> None:
    error = response.read_error(envelope, body)
    assert error is not None
    assert error.code == code


@pytest.mark.parametrize("body", ["", "<html>", "[1]", "null", "{}", '{"retCode":'])
@pytest.mark.parametrize("envelope", list(Envelope))
def test_answer_without_envelope_has_no_error_code(envelope: Envelope, body: str) -> None:
    assert response.read_error(envelope, body) is None


WHOLE: list[tuple[Envelope, str, object, bool]] = [
    (Envelope.BINANCE, "/api/v3/account", {"balances": []}, True),
    (Envelope.BINANCE, "/fapi/v3/account", {"x": 1}, False),
    (Envelope.BINANCE, "/api/v3/openOrders", [], True),
    (Envelope.BINANCE, "/api/v3/openOrders", {}, False),
    (Envelope.BINANCE, "/api/v3/openOrders", [{"orderId": 1}], True),
    (Envelope.BINANCE, "/api/v3/openOrders", [{"orderId": 1}, {}], False),
    (Envelope.BINANCE, "/api/v3/openOrders", [None], False),
    (Envelope.BINANCE, "/api/v3/order", {}, False),
    (Envelope.BINANCE, "/api/v3/order", {"orderId": 1}, True),
    (Envelope.BYBIT, "/v5/x", {"retCode": 0, "result": {}}, True),
    (Envelope.BYBIT, "/v5/x", {"retCode": 0, "result": None}, False),
    (Envelope.BYBIT, "/v5/x", [], False),
    (Envelope.BYBIT, "/v5/order/realtime", {"retCode": 0, "result": {"list": []}}, True),
    (Envelope.BYBIT, "/v5/order/realtime", {"retCode": 0, "result": {}}, False),
    (Envelope.BYBIT, "/v5/position/list", {"retCode": 0, "result": {"list": None}}, False),
    (Envelope.OKX, "/x", {"code": "0", "data": []}, True),
    (Envelope.OKX, "/x", {"code": "2", "data": []}, False),
    (Envelope.OKX, "/x", {"code": "0", "data": [{}]}, False),
    (Envelope.OKX, "/api/v5/account/balance", {"code": "0", "data": []}, False),
    (Envelope.KRAKEN, "/x", {"error": [], "result": {}}, True),
    (Envelope.KRAKEN, "/x", {"error": []}, False),
    (Envelope.KRAKEN, "/x", {"error": [], "result": None}, False),
    (Envelope.KRAKEN, "/x/OpenOrders", {"error": [], "result": {"open": {}}}, True),
    (Envelope.KRAKEN, "/x/OpenOrders", {"error": [], "result": {}}, False),
    (Envelope.KRAKEN, "/x/ClosedOrders", {"error": [], "result": {"closed": None}}, False),
    (Envelope.CCXT, "/x", [], True),
    (Envelope.CCXT, "/x", None, False),
]


@pytest.mark.parametrize(("envelope", "path", "answer", "is_whole"), WHOLE)
def test_answer_is_whole_only_with_its_envelope(
    envelope: Envelope, path: str, answer: object, is_whole: bool
) -> None:
    assert response.is_whole(envelope, path, answer) is is_whole


def test_ambiguous_codes_are_resolved_by_message() -> None:
    def code_of(message: str) -> Code:
        verdict = codes.verdict_of(Envelope.BINANCE, "-2010", message)
        assert verdict is not None
        return verdict.code

    assert code_of("Account has insufficient balance for requested action.") is Code.NO_MONEY
    assert code_of("Market is closed.") is Code.MARKET_CLOSED
    assert code_of("Something else.") is Code.REJECTED_BY_BROKER
    duplicate = codes.verdict_of(Envelope.BINANCE, "-2010", "Duplicate order sent.")
    assert duplicate is not None
    assert duplicate.means is Meaning.DUPLICATE
    detailed = codes.verdict_of(Envelope.KRAKEN, "EOrder:Invalid price:Invalid price argument", "")
    assert detailed is not None
    assert detailed.code is Code.PRICE_INVALID
    assert codes.verdict_of(Envelope.KRAKEN, "EService:Unavailable", "") is codes.UNKNOWN
    assert codes.verdict_of(Envelope.KRAKEN, "ETomorrow", "") is None


@pytest.mark.parametrize(
    ("envelope", "code"),
    [
        (Envelope.BINANCE, "-1006"), (Envelope.BINANCE, "-1007"), (Envelope.BINANCE, "-1000"),
        (Envelope.BINANCE, "-1001"), (Envelope.BYBIT, "10000"), (Envelope.BYBIT, "10016"),
        (Envelope.BYBIT, "170007"), (Envelope.BYBIT, "170146"), (Envelope.OKX, "50004"),
        (Envelope.OKX, "50026"), (Envelope.OKX, "50001"), (Envelope.OKX, "51149"),
    ],
)  # fmt: skip
def test_codes_of_a_possibly_live_order_are_unknown(envelope: Envelope, code: str) -> None:
    assert codes.verdict_of(envelope, code, "") is codes.UNKNOWN


def test_no_code_is_both_sure_and_unsure() -> None:
    for envelope, code_names in codes.UNSURE.items():
        assert code_names.isdisjoint(codes.TABLES[envelope])


def test_ccxt_error_is_classified_by_nearest_class() -> None:
    verdict = codes.verdict_by_class(("DuplicateOrderId", "InvalidOrder", "ExchangeError"))
    assert verdict is codes.DUPLICATE
    assert codes.verdict_by_class(("RequestTimeout", "NetworkError", "OperationFailed")) is None
    assert codes.verdict_by_class(("RateLimitExceeded", "NetworkError")) is None


def test_client_order_ids_fit_each_exchange() -> None:
    ccxt = pytest.importorskip("ccxt")
    for exchange in CHECKED.values():
        assert exchange.id_length >= len(new_client_order_id("abc")) == 18
        assert exchange.name in ccxt.exchanges
        assert exchange.lookup is not Lookup.NONE
        assert exchange.lookup_horizon("spot") is not None
    assert (rules("gate").lookup, rules("gate").lookup_horizon("spot")) == (Lookup.NONE, None)
    assert rules("binance").lookup_horizon("swap") != rules("binance").lookup_horizon("spot")


def test_every_class_in_the_table_exists_in_ccxt() -> None:
    errors = pytest.importorskip("ccxt.base.errors")
    for name in codes.CLASSES:
        assert issubclass(getattr(errors, name), errors.BaseError)
    for name, verdict in codes.CLASSES.items():
        if issubclass(getattr(errors, name), errors.NetworkError):
            assert verdict.means is not Meaning.REJECTED, name


@pytest.mark.parametrize(("summed", "opened"), [("4", "3.996"), ("10", "0")])
def test_what_a_spot_order_opened_is_known_once_its_executions_are(
    summed: str, opened: str
) -> None:
    """Their fees in the coin come with them; of a sum alone they are not known."""
    one = Execution("9", D(4), D(50_000), NOW, fee_in_base=D("0.004"))
    all_of_it = Execution("inferred:77", D(summed), D(50_000), NOW, inferred=True)
    report = OrderReport(ReportKind.FILLED, "c", "abc", fills=(one, all_of_it))
    assert parse.opened_quantity([report]) == D(opened)


@pytest.mark.parametrize(
    ("info", "client_order_id", "cause"),
    [
        ({}, "autoclose-1623938374", CloseCause.STOP_OUT),
        ({}, "adl_autoclose", CloseCause.STOP_OUT),
        ({}, "settlement_autoclose-1", CloseCause.EXPIRY),
        ({"execType": "BustTrade"}, "", CloseCause.STOP_OUT),
        ({"execType": "AdlTrade"}, "", CloseCause.STOP_OUT),
        ({"execType": "Delivery"}, "", CloseCause.EXPIRY),
        ({"execType": "Trade"}, "", CloseCause.EXTERNAL),
        ({"subType": "104"}, "", CloseCause.STOP_OUT),
        ({"subType": "125"}, "", CloseCause.STOP_OUT),
        ({"subType": "112"}, "", CloseCause.EXPIRY),
        ({"subType": "5"}, "", CloseCause.EXTERNAL),
        ({"subType": None}, "x", CloseCause.EXTERNAL),
    ],
)
def test_close_by_the_exchange_states_its_cause(
    info: dict[str, object], client_order_id: str, cause: CloseCause
) -> None:
    assert parse.cause_of({"info": info}, client_order_id) is cause
    assert parse.cause_of({}, "mine") is CloseCause.EXTERNAL
