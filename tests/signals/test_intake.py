"""The strict parser of signals: exact codes and fields for every kind of invalid input."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import InvalidInputError
from common.reason_codes import Code
from signals.draft import Target
from signals.errors import FieldError, field_errors
from signals.intake import read_signal
from signals.models import Action, Direction, OrderType
from signals.strict_json import MAX_BYTES

GOOD: dict[str, Any] = {"symbol": "EURUSD", "direction": "BUY"}


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
        "max_slippage_pips": 0, "external_id": "x-1", "provider_quantity": 100000,
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
    assert draft.provider_quantity == 100_000


def test_tp_is_short_for_one_target() -> None:
    assert read(tp="1.5").targets == (Target(Decimal("1.5"), Decimal(1)),)


def test_null_is_the_same_as_missing() -> None:
    assert read(sl=None, targets=None, valid_for=None, note=None) == read()


BAD_NUMBERS = [
    '"NaN"', "NaN", "Infinity", "-Infinity", '"inf"', '"1e999"', "1e999", "1e5", '"1E5"', '"１２"',
    '"1_000"', '"1,000"', '"0x10"', '"+1"', '" 1"', '"1 "', '""', '".5"', '"5."', "true", "[1]",
    "{}", '"' + "9" * 21 + '"', "9" * 4400, "0." + "1" * 19,
]  # fmt: skip


@pytest.mark.parametrize("field", ["sl", "tp", "open_price", "max_slippage_pips"])
@pytest.mark.parametrize("number", BAD_NUMBERS)
def test_number_must_be_a_plain_decimal(number: str, field: str) -> None:
    body = f'{{"symbol": "EURUSD", "direction": "BUY", "{field}": {number}}}'
    assert codes(body.encode()) == [(Code.NUMBER_MALFORMED, field)]


@pytest.mark.parametrize("field", ["sl", "tp", "open_price", "provider_quantity"])
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
        ({"order_type": "STOP_LIMIT"}, [("FIELD_INVALID", "order_type")]),
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
        ({"action": "MODIFY", "refers_to": 1}, [("FIELD_REQUIRED", "sl")]),
        (
            {"action": "MODIFY", "refers_to": 1, "tp": "1", "open_price": "1"},
            [("FIELD_INVALID", "open_price")],
        ),
    ],
)
def test_every_error_has_its_code_and_field(
    changes: dict[str, Any], errors: list[tuple[str, str]]
) -> None:
    assert codes(json.dumps(GOOD | changes).encode()) == errors


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


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES.split()), json_values, max_size=8))
def test_any_json_is_parsed_or_rejected_with_codes(data: dict[str, Any]) -> None:
    errors: tuple[FieldError, ...] | None = None
    try:
        read_signal(json.dumps(data).encode())
    except InvalidInputError as error:
        errors = field_errors(error)
    assert errors is None or all(error.code and error.detail for error in errors)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_random_bytes_are_rejected(data: bytes) -> None:
    with pytest.raises(InvalidInputError):
        read_signal(data)
