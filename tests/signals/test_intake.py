"""The strict parser of signals: exact codes and fields for every kind of invalid input."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import InvalidInputError
from common.reason_codes import Code
from signals.field_error import FieldError
from signals.models import TRAIL_FIELDS, Action, Direction, OrderType, TimeInForce
from signals.reading.draft import Target
from signals.reading.errors import field_errors
from signals.reading.intake import read_signal
from signals.reading.strict_json import MAX_BYTES
from tests.examples import examples

GOOD: dict[str, Any] = {"symbol": "EURUSD", "direction": "BUY"}
STOP_LIMIT = {"order_type": "STOP_LIMIT", "stop_price": "1.4", "open_price": "1.41"}


def read_json(text: str) -> Any:
    return read_signal(text.encode())


def read(**changes: Any) -> Any:
    return read_signal(json.dumps(GOOD | changes).encode())


def codes(data: bytes) -> list[tuple[str, str]]:
    """Return all errors of a body as (code, field); they must be raised, not returned."""
    with pytest.raises(InvalidInputError) as caught:
        read_signal(data)
    assert all(error.detail for error in field_errors(caught.value))
    return [(str(error.code), error.field) for error in field_errors(caught.value)]


def test_complete_signal_is_parsed() -> None:
    draft = read_json(
        """{"action": "open", "symbol": "FX:EURUSD", "side": "sell", "order_type": "limit",
        "open_price": 1.3860, "stop_loss": "1.3900", "risk_category": "large",
        "targets": [{"price": 1.38, "fraction": 0.5}, {"price": "1.37", "fraction": "0.5"}],
        "time_in_force": "DAY", "valid_until": "2030-01-01T00:00:00+02:00",
        "max_slippage_pips": 0, "max_spread": "1.5", "max_spread_unit": "bps",
        "break_even_target": 1, "break_even_offset": "2", "trailing_distance": 0,
        "stop_rule_unit": "pips",
        "external_id": "x-1", "provider_quantity": 100000,
        "provider_equity": "25000.50", "provider_currency": "usd",
        "strategy_id": "s", "trade_plan_id": "t", "note": "two\\nlines", "feed": "majors"}"""
    )
    assert (draft.action, draft.pair, draft.direction) == (Action.OPEN, "EUR/USD", Direction.SELL)
    assert draft.order_type == OrderType.LIMIT
    assert (draft.open_price, draft.sl) == (Decimal("1.3860"), Decimal("1.3900"))
    assert str(draft.open_price) == "1.3860"  # read from its text, not from a float
    assert draft.targets == (
        Target(Decimal("1.38"), Decimal("0.5")),
        Target(Decimal("1.37"), Decimal("0.5")),
    )
    assert draft.valid_until.isoformat() == "2029-12-31T22:00:00+00:00"
    assert draft.max_slippage_pips == 0
    assert (draft.max_spread, draft.max_spread_unit) == (Decimal("1.5"), "BPS")
    assert (draft.break_even_target, draft.break_even_offset) == (1, Decimal(2))
    assert (draft.trailing_distance, draft.stop_rule_unit) == (Decimal(0), "PIPS")
    assert draft.provider_quantity == 100_000
    assert (draft.provider_equity, draft.provider_currency) == (Decimal("25000.5"), "USD")


@pytest.mark.parametrize("currency", ['"U"', '"US DOLLAR"', '"€"', '"ABCDEFGHIJK"', "1"])
def test_currency_of_the_provider_is_a_code(currency: str) -> None:
    body = f'{{"symbol": "EURUSD", "direction": "BUY", "provider_currency": {currency}}}'
    assert codes(body.encode()) == [(Code.FIELD_INVALID, "provider_currency")]


def test_stop_limit_and_good_till_date_orders_are_parsed() -> None:
    for levels in (
        {"sl": "1.399", "tp": "1.411"},
        {"open_price": "1.39", "sl": "1.389", "tp": "1.391"},  # bought after the price came back
        {"direction": "SELL", "open_price": "1.39", "sl": "1.401", "tp": "1.389"},
    ):
        draft = read(**(STOP_LIMIT | levels))
        assert draft.order_type == OrderType.STOP_LIMIT
        assert (draft.stop_price, draft.entry_price) == (Decimal("1.4"), draft.open_price)
    until = "2030-01-01T00:00:00Z"
    draft = read(**STOP_LIMIT, time_in_force="gtd", valid_until=until)
    assert (draft.time_in_force, draft.valid_until.year) == (TimeInForce.GTD, 2030)
    assert read(**STOP_LIMIT, time_in_force="GTD", valid_for=60).valid_for == 60


TRAILING = {"order_type": "TRAILING_STOP", "trail_distance": "0.002"}
ENDS = "2030-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("fields", "entry"),
    [
        (TRAILING, None),
        (TRAILING | {"activation_price": "1.39", "sl": "1.2", "tp": "1.5"}, None),
        (TRAILING | {"trail_distance": None, "trail_pips": "20"}, None),
        (TRAILING | {"trail_distance": None, "trail_percent": "99.99"}, None),
        (TRAILING | {"trail_distance": None, "trail_atr": "1.5", "trail_atr_minutes": 15}, None),
        (TRAILING | {"time_in_force": "GTD", "valid_until": ENDS, "max_slippage": "3"}, None),
        ({"order_type": "IF_TOUCHED", "stop_price": "1.38", "max_slippage": "3"}, "1.38"),
        ({"order_type": "IF_TOUCHED", "stop_price": "1.38", "open_price": "1.38"}, "1.38"),
    ],
)
def test_orders_that_the_engine_holds_are_parsed(fields: dict[str, Any], entry: str | None) -> None:
    draft = read(**fields)
    assert draft.order_type == fields["order_type"]
    assert draft.entry_price == (None if entry is None else Decimal(entry))
    for name in (*TRAIL_FIELDS, "activation_price", "trail_atr_minutes"):
        value = fields.get(name)
        assert getattr(draft, name) == (None if value is None else Decimal(value))


@pytest.mark.parametrize(
    ("fields", "errors"),
    [
        ({"order_type": "TRAILING_STOP"}, [("FIELD_REQUIRED", "trail_distance")]),
        (
            {"order_type": "TRAILING_STOP", "activation_price": "1.4"},
            [("FIELD_REQUIRED", "trail_distance")],
        ),
        (TRAILING | {"trail_pips": "5"}, [("FIELD_INVALID", "trail_pips")]),
        (
            TRAILING | {"trail_pips": "5", "trail_percent": "100"},
            [("FIELD_INVALID", name) for name in ("trail_pips", "trail_percent", "trail_percent")],
        ),
        (
            {"order_type": "TRAILING_STOP", "trail_percent": "100"},
            [("FIELD_INVALID", "trail_percent")],
        ),
        (TRAILING | {"open_price": "1.4"}, [("FIELD_INVALID", "open_price")]),
        (TRAILING | {"stop_price": "1.4"}, [("FIELD_INVALID", "stop_price")]),
        (TRAILING | {"time_in_force": "DAY"}, [("FIELD_INVALID", "time_in_force")]),
        (TRAILING | {"time_in_force": "IOC"}, [("FIELD_INVALID", "time_in_force")]),
        (TRAILING | {"trail_distance": "0"}, [("NUMBER_NOT_POSITIVE", "trail_distance")]),
        ({"trail_distance": "1"}, [("FIELD_INVALID", "trail_distance")]),
        ({"activation_price": "1"}, [("FIELD_INVALID", "activation_price")]),
        (
            {"order_type": "STOP", "stop_price": "1.4", "trail_pips": "1"},
            [("FIELD_INVALID", "trail_pips")],
        ),
        (
            {"symbol": "BTCUSD", "order_type": "TRAILING_STOP", "trail_pips": "5"},
            [("FIELD_INVALID", "trail_pips")],
        ),
        (
            TRAILING | {"trail_atr": "2", "trail_atr_minutes": "7"},
            [("FIELD_INVALID", "trail_atr_minutes"), ("FIELD_INVALID", "trail_atr")],
        ),
        (TRAILING | {"trail_atr_minutes": 60}, [("FIELD_INVALID", "trail_atr_minutes")]),
        (
            {"trail_atr": "2", "trail_atr_minutes": 60},
            [("FIELD_INVALID", "trail_atr"), ("FIELD_INVALID", "trail_atr_minutes")],
        ),
        (
            {"order_type": "TRAILING_STOP", "trail_atr": "0"},
            [("NUMBER_NOT_POSITIVE", "trail_atr")],
        ),
        ({"not_before": ENDS, "close_at": ENDS}, [("FIELD_INVALID", "close_at")]),
        (
            {"close_at": "then", "close_after_seconds": 0},
            [("FIELD_INVALID", "close_at"), ("FIELD_INVALID", "close_after_seconds")],
        ),
        (
            {"action": "CLOSE", "refers_to": 1, "close_at": ENDS, "close_after_seconds": 60},
            [("FIELD_INVALID", "close_at"), ("FIELD_INVALID", "close_after_seconds")],
        ),
        ({"action": "MODIFY", "refers_to": 1, "sl": None}, [("FIELD_REQUIRED", "sl")]),
        ({"after_signal": 5}, [("FIELD_REQUIRED", "after_state")]),
        ({"after_state": "CLOSED"}, [("FIELD_INVALID", "after_state")]),
        (
            {"after_signal": 5, "after_signal_external_id": "a", "after_state": "FILLED"},
            [("FIELD_INVALID", "after_signal_external_id")],
        ),
        (
            {"after_signal": "x", "after_state": "OPEN", "not_before": "soon"},
            [("FIELD_INVALID", name) for name in ("not_before", "after_signal", "after_state")],
        ),
        ({"not_before": ENDS, "valid_until": ENDS}, [("FIELD_INVALID", "not_before")]),
        (
            {
                "action": "CLOSE",
                "refers_to": 1,
                "not_before": ENDS,
                "after_signal": 3,
                "after_state": "CLOSED",
            },
            [("FIELD_INVALID", name) for name in ("not_before", "after_signal", "after_state")],
        ),
        ({"order_type": "IF_TOUCHED"}, [("PRICE_REQUIRED", "stop_price")]),
        (
            {"order_type": "IF_TOUCHED", "stop_price": "1.38", "price": "1.39"},
            [("FIELD_INVALID", "price")],
        ),
        (
            {"order_type": "IF_TOUCHED", "stop_price": "1.38", "time_in_force": "FOK"},
            [("FIELD_INVALID", "time_in_force")],
        ),
        (
            {"order_type": "IF_TOUCHED", "stop_price": "1.38", "sl": "1.38"},
            [("STOP_WRONG_SIDE", "sl")],
        ),
        (
            {"action": "CLOSE", "refers_to": 1, "trail_distance": "1", "activation_price": "1"},
            [("FIELD_INVALID", "trail_distance"), ("FIELD_INVALID", "activation_price")],
        ),
    ],
)
def test_trigger_that_contradicts_itself_is_refused_with_all_faults(
    fields: dict[str, Any], errors: list[tuple[str, str]]
) -> None:
    assert codes(json.dumps(GOOD | fields).encode()) == errors


def test_tp_is_short_for_one_target() -> None:
    assert read(tp="1.5").targets == (Target(Decimal("1.5"), Decimal(1)),)


def test_null_is_the_same_as_missing() -> None:
    assert read(sl=None, targets=None, valid_for=None, note=None) == read()


BAD_NUMBERS = [
    '"NaN"', "NaN", "Infinity", "-Infinity", '"inf"', '"1e999"', "1e999", "1e5", '"1E5"', '"１２"',
    '"1_000"', '"1,000"', '"0x10"', '"+1"', '" 1"', '"1 "', '""', '".5"', '"5."', "true", "[1]",
    "{}", '"' + "9" * 21 + '"', "9" * 4400, "0." + "1" * 19,
]  # fmt: skip


@pytest.mark.parametrize("field", ["sl", "tp", "open_price", "max_slippage_pips", "max_spread"])
@pytest.mark.parametrize("number", BAD_NUMBERS)
def test_number_must_be_a_plain_decimal(number: str, field: str) -> None:
    body = f'{{"symbol": "EURUSD", "direction": "BUY", "{field}": {number}}}'
    assert codes(body.encode()) == [(Code.NUMBER_MALFORMED, field)]


@pytest.mark.parametrize(
    "field", ["sl", "tp", "open_price", "provider_quantity", "provider_equity"]
)
@pytest.mark.parametrize("number", ["0", "-1", '"-1.5"', '"0.000"', "-0"])
def test_price_must_be_positive(number: str, field: str) -> None:
    body = f'{{"symbol": "EURUSD", "direction": "BUY", "{field}": {number}}}'
    assert codes(body.encode()) == [(Code.NUMBER_NOT_POSITIVE, field)]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", Code.BODY_NOT_JSON),
        (b"buy EURUSD", Code.BODY_NOT_JSON),
        (b"[]", Code.BODY_NOT_JSON),
        (b'"text"', Code.BODY_NOT_JSON),
        (b"null", Code.BODY_NOT_JSON),
        (b"1e999", Code.BODY_NOT_JSON),
        (b"{'symbol': 'EURUSD'}", Code.BODY_NOT_JSON),
        (b'{"symbol": "EURUSD",}', Code.BODY_NOT_JSON),
        (b'{"symbol": "EURUSD"} {}', Code.BODY_NOT_JSON),
        (b"\xff\xfe{}", Code.BODY_NOT_JSON),
        (b'\xef\xbb\xbf{"symbol": "EURUSD"}', Code.BODY_NOT_JSON),
        (b'{"note": "\xc3\x28"}', Code.BODY_NOT_JSON),
        (b'{"a":' * 2000, Code.BODY_NOT_JSON),
        (b"[" * 16_000, Code.BODY_NOT_JSON),
        (b'{"note": "' + b"x" * MAX_BYTES + b'"}', Code.BODY_TOO_LARGE),
    ],
)
def test_body_that_is_no_json_object_is_rejected(body: bytes, code: Code) -> None:
    assert codes(body) == [(code, "")]


@pytest.mark.parametrize(
    ("changes", "errors"),
    [
        ({"symbol": "EUR UDS"}, [("SYMBOL_UNKNOWN", "symbol")]),
        ({"symbol": ""}, [("SYMBOL_UNKNOWN", "symbol")]),
        ({"symbol": "   "}, [("SYMBOL_UNKNOWN", "symbol")]),
        ({"symbol": 7}, [("FIELD_INVALID", "symbol")]),
        ({"symbol": None}, [("FIELD_REQUIRED", "symbol")]),
        ({"pair": "EURUSD"}, [("FIELD_INVALID", "pair")]),
        ({"direction": None}, [("FIELD_REQUIRED", "direction")]),
        ({"direction": "UP"}, [("FIELD_INVALID", "direction")]),
        ({"direction": ["BUY"]}, [("FIELD_INVALID", "direction")]),
        ({"action": "HOLD"}, [("FIELD_INVALID", "action")]),
        ({"order_type": "TRAILING"}, [("FIELD_INVALID", "order_type")]),
        (
            {"order_type": "STOP_LIMIT"},
            [("PRICE_REQUIRED", "open_price"), ("PRICE_REQUIRED", "stop_price")],
        ),
        (STOP_LIMIT | {"open_price": None}, [("PRICE_REQUIRED", "open_price")]),
        (STOP_LIMIT | {"stop_price": None}, [("PRICE_REQUIRED", "stop_price")]),
        (STOP_LIMIT | {"max_slippage": "1"}, [("FIELD_INVALID", "max_slippage")]),
        (STOP_LIMIT | {"time_in_force": "IOC"}, [("FIELD_INVALID", "time_in_force")]),
        (STOP_LIMIT | {"time_in_force": "FOK"}, [("FIELD_INVALID", "time_in_force")]),
        (STOP_LIMIT | {"sl": "1.405"}, [("STOP_WRONG_SIDE", "sl")]),  # behind its limit only
        (STOP_LIMIT | {"open_price": "1.39", "sl": "1.395"}, [("STOP_WRONG_SIDE", "sl")]),
        (STOP_LIMIT | {"tp": "1.405"}, [("TARGET_WRONG_SIDE", "tp")]),
        (
            STOP_LIMIT | {"direction": "SELL", "open_price": "1.39", "sl": "1.395"},
            [("STOP_WRONG_SIDE", "sl")],
        ),
        (
            STOP_LIMIT | {"time_in_force": "FOK", "sl": "1.5", "max_slippage_pips": "2"},
            [
                ("FIELD_INVALID", "max_slippage_pips"),
                ("STOP_WRONG_SIDE", "sl"),
                ("FIELD_INVALID", "time_in_force"),
            ],
        ),
        (
            {"order_type": "LIMIT", "open_price": "1.4", "time_in_force": "GTD"},
            [("FIELD_REQUIRED", "valid_until")],
        ),
        ({"time_in_force": "GTD", "valid_for": 60}, [("FIELD_INVALID", "time_in_force")]),
        ({"time_in_force": "GTX"}, [("FIELD_INVALID", "time_in_force")]),
        ({"order_type": "LIMIT"}, [("PRICE_REQUIRED", "open_price")]),
        ({"order_type": "STOP"}, [("PRICE_REQUIRED", "stop_price")]),
        ({"stop_price": "1.4"}, [("FIELD_INVALID", "stop_price")]),
        (
            {"order_type": "STOP", "stop_price": "1.4", "open_price": "1.3"},
            [("FIELD_INVALID", "open_price")],
        ),
        (
            {"order_type": "STOP", "stop_price": "1.4", "max_slippage": "0"},
            [("FIELD_INVALID", "max_slippage")],
        ),
        (
            {"order_type": "STOP", "stop_price": "1.4", "max_slippage_pips": "2"},
            [("FIELD_INVALID", "max_slippage_pips")],
        ),
        ({"open_price": "1.4", "sl": "1.4"}, [("STOP_WRONG_SIDE", "sl")]),
        ({"open_price": "1.4", "sl": "1.5"}, [("STOP_WRONG_SIDE", "sl")]),
        ({"open_price": "1.4", "stop_loss": "1.5"}, [("STOP_WRONG_SIDE", "stop_loss")]),
        ({"direction": "SELL", "open_price": "1.4", "sl": "1.3"}, [("STOP_WRONG_SIDE", "sl")]),
        ({"open_price": "1.4", "tp": "1.3"}, [("TARGET_WRONG_SIDE", "tp")]),
        ({"sl": "1.4", "tp": "1.4"}, [("TARGET_WRONG_SIDE", "tp")]),
        ({"direction": "SELL", "open_price": "1.4", "tp": "1.5"}, [("TARGET_WRONG_SIDE", "tp")]),
        (
            {"order_type": "STOP", "stop_price": "1.4", "sl": "1.45"},
            [("STOP_WRONG_SIDE", "sl")],
        ),
        ({"tp": "1.5", "targets": [{"price": "1.5", "fraction": "1"}]}, [("FIELD_INVALID", "tp")]),
        ({"targets": []}, [("FIELD_INVALID", "targets")]),
        ({"targets": "1.5"}, [("FIELD_INVALID", "targets")]),
        ({"targets": ["1.5"]}, [("FIELD_INVALID", "targets")]),
        ({"targets": [{"price": "1.5"}]}, [("FIELD_REQUIRED", "targets.0.fraction")]),
        (
            {"targets": [{"price": "1.5", "fraction": "0.6"}, {"price": "2", "fraction": "0.6"}]},
            [("TARGET_FRACTIONS", "targets")],
        ),
        (
            {"targets": [{"price": "1.5", "fraction": "0"}]},
            [("NUMBER_NOT_POSITIVE", "targets.0.fraction")],
        ),
        (
            {"targets": [{"price": "1.5", "fraction": "1", "x": 1}]},
            [("FIELD_UNKNOWN", "targets.0.x")],
        ),
        ({"targets": [{"price": "1.5", "fraction": "1"}] * 11}, [("FIELD_INVALID", "targets")]),
        ({"valid_until": "2030-01-01T00:00:00"}, [("FIELD_INVALID", "valid_until")]),
        ({"valid_until": "tomorrow"}, [("FIELD_INVALID", "valid_until")]),
        ({"valid_until": "9999-12-31T23:59:59-12:00"}, [("FIELD_INVALID", "valid_until")]),
        ({"valid_until": 1_900_000_000}, [("FIELD_INVALID", "valid_until")]),
        ({"valid_for": 0}, [("FIELD_INVALID", "valid_for")]),
        ({"valid_for": "1e3"}, [("FIELD_INVALID", "valid_for")]),
        ({"valid_for": 1.5}, [("FIELD_INVALID", "valid_for")]),
        ({"valid_for": 10**15}, [("FIELD_INVALID", "valid_for")]),
        ({"valid_for": "٣"}, [("FIELD_INVALID", "valid_for")]),
        (
            {"valid_for": 60, "valid_until": "2030-01-01T00:00:00Z"},
            [("FIELD_INVALID", "valid_for")],
        ),
        ({"max_slippage_pips": -1}, [("FIELD_INVALID", "max_slippage_pips")]),
        (
            {"max_spread": -1, "max_spread_unit": "POINTS"},
            [("FIELD_INVALID", "max_spread"), ("FIELD_INVALID", "max_spread_unit")],
        ),
        (
            {"max_spread_unit": "BPS", "max_slippage_unit": "BPS"},
            [("FIELD_INVALID", "max_slippage_unit"), ("FIELD_INVALID", "max_spread_unit")],
        ),
        ({"max_spread": None, "max_spread_unit": "BPS"}, [("FIELD_INVALID", "max_spread_unit")]),
        (
            {"symbol": "AAPL", "max_spread": 1, "max_spread_unit": "PIPS"},
            [("FIELD_INVALID", "max_spread_unit")],
        ),
        (
            {"action": "CLOSE", "refers_to": 1, "max_spread": 1},
            [("FIELD_INVALID", "max_spread")],
        ),
        (
            {
                "break_even_target": 11,
                "break_even_offset": 1,
                "trailing_step": 0,
                "trailing_activation": 2,
                "stop_rule_unit": "MILES",
            },
            [
                ("FIELD_INVALID", "break_even_target"),
                ("NUMBER_NOT_POSITIVE", "trailing_step"),
                ("FIELD_INVALID", "stop_rule_unit"),
                ("FIELD_INVALID", "break_even_offset"),
                ("FIELD_INVALID", "trailing_activation"),
            ],
        ),
        (
            {"break_even_target": 2, "tp": "1.5"},
            [("FIELD_INVALID", "break_even_target")],
        ),
        (
            {"break_even_profit": 5, "break_even_offset": 5},
            [("FIELD_INVALID", "break_even_offset")],
        ),
        (
            {"break_even_profit": 0, "break_even_target": 1, "tp": "1.5"},
            [("FIELD_INVALID", "break_even_profit")],
        ),
        (
            {"trailing_distance": 100, "stop_rule_unit": "PERCENT"},
            [("FIELD_INVALID", "trailing_distance")],
        ),
        (
            {"symbol": "AAPL", "trailing_distance": 1, "stop_rule_unit": "PIPS"},
            [("FIELD_INVALID", "stop_rule_unit")],
        ),
        ({"stop_rule_unit": "PIPS"}, [("FIELD_INVALID", "stop_rule_unit")]),
        (
            {"action": "CLOSE", "refers_to": 1, "trailing_distance": 1},
            [("FIELD_INVALID", "trailing_distance")],
        ),
        ({"note": "a\x00b"}, [("FIELD_INVALID", "note")]),
        ({"note": "\ud800"}, [("FIELD_INVALID", "note")]),
        ({"note": "x" * 501}, [("FIELD_INVALID", "note")]),
        ({"external_id": "x" * 101}, [("FIELD_INVALID", "external_id")]),
        ({"external_id": 12}, [("FIELD_INVALID", "external_id")]),
        ({"leverage": 5}, [("FIELD_UNKNOWN", "leverage")]),
        ({"is_published": True}, [("FIELD_UNKNOWN", "is_published")]),
        ({"approval": "APPROVED"}, [("FIELD_UNKNOWN", "approval")]),
        ({"refers_to": 1}, [("FIELD_INVALID", "refers_to")]),
        ({"close_fraction": "0.5"}, [("FIELD_INVALID", "close_fraction")]),
        ({"action": "CLOSE"}, [("REFERENCE_REQUIRED", "refers_to")]),
        ({"action": "CLOSE", "refers_to": "S-1"}, [("FIELD_INVALID", "refers_to")]),
        ({"action": "CLOSE", "refers_to": 0}, [("FIELD_INVALID", "refers_to")]),
        ({"action": "CLOSE", "refers_to": 2**63}, [("FIELD_INVALID", "refers_to")]),
        ({"action": "CLOSE", "refers_to_external_id": ""}, [("REFERENCE_REQUIRED", "refers_to")]),
        (
            {"action": "CLOSE", "refers_to": 1, "refers_to_external_id": "a"},
            [("FIELD_INVALID", "refers_to_external_id")],
        ),
        ({"action": "CLOSE", "refers_to": 1, "sl": "1"}, [("FIELD_INVALID", "sl")]),
        (
            {"action": "CLOSE", "refers_to": 1, "close_fraction": "1.1"},
            [("FIELD_INVALID", "close_fraction")],
        ),
        ({"close_when_signal": 7}, [("FIELD_REQUIRED", "close_when_state")]),
        ({"close_when_state": "CLOSED"}, [("FIELD_INVALID", "close_when_state")]),
        (
            {"close_when_signal": 7, "close_when_state": "OPEN"},
            [("FIELD_INVALID", "close_when_state")],
        ),
        (
            {
                "close_when_signal": 7,
                "close_when_signal_external_id": "a",
                "close_when_state": "CLOSED",
                "after_state": "CLOSED",
            },
            [("FIELD_INVALID", "close_when_signal_external_id"), ("FIELD_INVALID", "after_state")],
        ),
        (
            {
                "action": "CLOSE",
                "refers_to": 1,
                "close_when_signal": 7,
                "close_when_state": "CLOSED",
            },
            [("FIELD_INVALID", "close_when_signal"), ("FIELD_INVALID", "close_when_state")],
        ),
        ({"action": "MODIFY", "refers_to": 1}, [("FIELD_REQUIRED", "sl")]),
        (
            {"action": "MODIFY", "refers_to": 1, "valid_until": "soon", "open_price": "0"},
            [("NUMBER_NOT_POSITIVE", "open_price"), ("FIELD_INVALID", "valid_until")],
        ),
        (
            {"action": "MODIFY", "refers_to": 1, "tp": "1", "order_type": "LIMIT"},
            [("FIELD_INVALID", "order_type")],
        ),
    ],
)
def test_every_error_has_its_code_and_field(
    changes: dict[str, Any], errors: list[tuple[str, str]]
) -> None:
    assert codes(json.dumps(GOOD | changes).encode()) == errors


def test_modify_may_set_nothing_but_another_end() -> None:
    draft = read_signal({"action": "MODIFY", "refers_to": 1, "valid_for": 60})
    assert (draft.valid_for, draft.sl) == (60, None)


def test_duplicate_key_is_rejected_at_any_depth() -> None:
    assert codes(b'{"symbol": "EURUSD", "direction": "BUY", "direction": "SELL"}') == [
        ("DUPLICATE_KEY", "direction")
    ]
    body = b"""{"symbol": "EURUSD", "direction": "BUY",
        "targets": [{"price": "1", "price": "2", "fraction": "1"}]}"""
    assert codes(body) == [("DUPLICATE_KEY", "targets.0.price")]


def test_all_errors_are_reported_together() -> None:
    assert codes(b'{"direction": "UP", "sl": "NaN", "valid_for": 0, "color": "red"}') == [
        ("FIELD_INVALID", "direction"),
        ("FIELD_REQUIRED", "symbol"),
        ("NUMBER_MALFORMED", "sl"),
        ("FIELD_INVALID", "valid_for"),
        ("FIELD_UNKNOWN", "color"),
    ]


def test_key_with_a_lone_surrogate_can_be_reported() -> None:
    body = b'{"symbol": "EURUSD", "direction": "BUY", "\\ud800": 1}'
    assert codes(body) == [("FIELD_UNKNOWN", "?")]


def test_hash_depends_on_meaning_not_spelling() -> None:
    base = read(open_price="1.10", sl="1.05")
    same = read(open_price="1.1000", stop_loss=1.05, symbol="EUR/USD", time="2030-01-01T00:00:00Z")
    assert base.digest() == same.digest()
    assert base.digest(with_time=True) != same.digest(with_time=True)
    others = [read(open_price="1.11", sl="1.05"), read(open_price="1.10"), read(sl="1.05")]
    assert len({draft.digest() for draft in (base, *others)}) == 4


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
NAMES = (
    "action symbol direction order_type open_price stop_price sl tp targets refers_to valid_for "
    "valid_until note external_id close_fraction refers_to_external_id x"
)


@settings(max_examples=examples(300))
@given(st.dictionaries(st.sampled_from(NAMES.split()), json_values, max_size=8))
def test_any_json_is_parsed_or_rejected_with_codes(data: dict[str, Any]) -> None:
    errors: tuple[FieldError, ...] | None = None
    try:
        read_signal(json.dumps(data).encode())
    except InvalidInputError as error:
        errors = field_errors(error)
    assert errors is None or all(error.code and error.detail for error in errors)


@settings(max_examples=examples(200))
@given(st.binary(max_size=60))
def test_random_bytes_are_rejected(data: bytes) -> None:
    with pytest.raises(InvalidInputError):
        read_signal(data)
