"""Which symbols a preset's patterns allow."""

import pytest

from connections.symbol_filter import is_allowed, read_patterns


@pytest.mark.parametrize(
    ("pair", "patterns", "allowed"),
    [
        ("EUR/USD", [], True),
        ("EUR/USD", ["EUR/USD"], True),
        ("EUR/USD", ["GBP/USD", "EUR/USD"], True),
        ("EUR/USD", ["GBP/USD"], False),
        ("EUR/USD", ["EUR/*"], True),
        ("EURX/USD", ["EUR/*"], False),
        ("EUR/USD", ["*/USD"], True),
        ("EUR/USDT", ["*/USD"], False),
        ("BTC/USDT", ["*/USD"], False),
        ("USD/JPY", ["*/USD"], False),
        ("BRK.A/USD", ["BRK.A/*"], True),
    ],
)
def test_pair_must_fit_a_pattern(pair: str, patterns: list[str], allowed: bool) -> None:
    assert is_allowed(pair, patterns) is allowed


def test_patterns_are_read_into_one_spelling_each_once() -> None:
    written = ["eurusd", " EUR_USD ", "eur/*", "*/jpy", "NASDAQ:AAPL"]
    assert read_patterns(written) == (["EUR/USD", "EUR/*", "*/JPY", "AAPL/USD"], [])


@pytest.mark.parametrize("text", ["*", "*/*", "E*/USD", "EUR/*D", "/USD", "EUR/", "", "KOSPI200"])
def test_text_that_is_no_pattern_is_an_error(text: str) -> None:
    patterns, errors = read_patterns(["EUR/USD", text, "?!"])
    assert patterns == ["EUR/USD"]
    assert len(errors) == 2
    assert errors[1].endswith("Write EUR/USD, EUR/* or */USD.")
