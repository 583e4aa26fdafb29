"""Each row of a pushed body is taken, or refused with a stable code and what to do."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from typing import Any

import pytest

from brokers.types import Quote
from common.reason_codes import Code
from prices.pushed_rules import MAX_AGE, MAX_AHEAD, JudgedRows, judge_rows

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
PAIRS = {"EUR/USD", "GBP/USD"}


def row(seconds: float = -1, **changes: Any) -> dict[str, Any]:
    time = (NOW + timedelta(seconds=seconds)).isoformat()
    return {"symbol": "EUR/USD", "bid": "1.1", "ask": "1.1002", "time": time} | changes


def judged(*rows: object, known: dict[str, Quote] | None = None) -> JudgedRows:
    return judge_rows(rows, PAIRS, known or {}, NOW)


def test_valid_rows_are_taken_in_order() -> None:
    found = judged(row(-2), row(-1, bid="1.1001"), row(-2, symbol="gbp/usd"))
    assert [(quote.symbol, quote.bid) for quote in found.accepted] == [
        ("EUR/USD", D("1.1")), ("EUR/USD", D("1.1001")), ("GBP/USD", D("1.1")),
    ]  # fmt: skip
    assert (found.repeated, found.refused) == (0, [])
    assert found.accepted[0].time == NOW - timedelta(seconds=2)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"bid": "1.2"}, Code.QUOTE_CROSSED),
        ({"bid": "0"}, Code.NUMBER_NOT_POSITIVE),
        ({"bid": "-1.1"}, Code.NUMBER_NOT_POSITIVE),
        ({"ask": "NaN"}, Code.NUMBER_MALFORMED),
        ({"ask": "Infinity"}, Code.NUMBER_MALFORMED),
        ({"ask": "1e999"}, Code.NUMBER_MALFORMED),
        ({"ask": "1.1002" + "0" * 40}, Code.NUMBER_MALFORMED),
        ({"ask": "9" * 21}, Code.NUMBER_MALFORMED),
        ({"ask": "１.2"}, Code.NUMBER_MALFORMED),
        ({"ask": True}, Code.NUMBER_MALFORMED),
        ({"ask": ["1.2"]}, Code.NUMBER_MALFORMED),
        ({"ask": None}, Code.FIELD_REQUIRED),
        ({"symbol": None}, Code.FIELD_REQUIRED),
        ({"symbol": ""}, Code.SYMBOL_NOT_OF_SOURCE),
        ({"symbol": "USD/JPY"}, Code.SYMBOL_NOT_OF_SOURCE),
        ({"symbol": 7}, Code.SYMBOL_NOT_OF_SOURCE),
        ({"last": "1.1"}, Code.FIELD_UNKNOWN),
        ({"time": "yesterday"}, Code.FIELD_INVALID),
        ({"time": "2026-05-04T12:00:00"}, Code.FIELD_INVALID),  # of which zone?
        ({"time": 1777896000}, Code.FIELD_INVALID),
        ({"time": "0001-01-01T00:00:00+23:59"}, Code.FIELD_INVALID),
        ({"time": "2" * 100}, Code.FIELD_INVALID),
    ],
)
def test_invalid_row_is_refused_alone(changes: dict[str, Any], code: Code) -> None:
    found = judged(row(-2), row(-1, **changes), row(-1, bid="1.1001"))
    assert len(found.accepted) == 2
    (refused,) = found.refused
    assert (refused.row, refused.code) == (1, code)
    assert refused.message.startswith(code.sentence)


@pytest.mark.parametrize(
    ("seconds", "code"),
    [
        (MAX_AHEAD.total_seconds() + 0.01, Code.QUOTE_FROM_FUTURE),
        (-MAX_AGE.total_seconds() - 0.01, Code.QUOTE_TOO_OLD),
        (MAX_AHEAD.total_seconds(), None),
        (-MAX_AGE.total_seconds(), None),
    ],
)
def test_time_must_be_of_now(seconds: float, code: Code | None) -> None:
    found = judged(row(seconds))
    assert [refused.code for refused in found.refused] == ([code] if code else [])
    assert len(found.accepted) == (not code)


@pytest.mark.parametrize("what", ["text", 1, None, ["EUR/USD"]])
def test_row_must_be_an_object(what: object) -> None:
    (refused,) = judged(what).refused
    assert refused.code is Code.FIELD_INVALID


def test_same_row_again_is_no_error_and_is_taken_once() -> None:
    found = judged(row(), row())
    assert (len(found.accepted), found.repeated, found.refused) == (1, 1, [])
    known = {quote.symbol: quote for quote in found.accepted}
    again = judged(row(), known=known)
    assert (again.accepted, again.repeated, again.refused) == ([], 1, [])


@pytest.mark.parametrize(("seconds", "bid"), [(-1, "1.1001"), (-2, "1.1"), (-2, "1.1001")])
def test_row_that_is_not_newer_is_refused(seconds: float, bid: str) -> None:
    """Two prices of one moment are none: neither may confirm the other."""
    found = judged(row(-1), row(seconds, bid=bid))
    assert [refused.code for refused in found.refused] == [Code.QUOTE_OUT_OF_ORDER]
    assert len(found.accepted) == 1


def test_refused_row_does_not_make_later_ones_old() -> None:
    found = judged(row(-0.5, bid="2"), row(-1))
    assert [refused.code for refused in found.refused] == [Code.QUOTE_CROSSED]
    assert len(found.accepted) == 1


def test_known_quote_of_the_future_puts_none_out_of_order() -> None:
    """It was taken before the clock was set back."""
    known = {"EUR/USD": Quote("EUR/USD", D("1.1"), D("1.1002"), NOW + timedelta(hours=1))}
    found = judged(row(-1), row(-2), known=known)
    assert len(found.accepted) == 1
    assert [refused.code for refused in found.refused] == [Code.QUOTE_OUT_OF_ORDER]
