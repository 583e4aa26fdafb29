"""Figures of refusals: rounding away from a bound, texts, and rows of earlier versions."""

from decimal import Decimal as D

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from common.db.sql import rows
from common.figure_names import Bound
from common.limit_figures import Figures, read_figures, text_with_detail
from common.money import plain, rounded_apart, rounded_apart_sql, significant
from common.reason_codes import Code

# Near to each other, so that two places are often too few, and halfway between two values.
EDGES = st.integers(-40, 40).map(lambda n: D(n) / 1000) | st.decimals(
    D(-1000), D(1000), places=18, allow_nan=False, allow_infinity=False
)
AMOUNTS = st.decimals(D(0), D(10) ** 9, places=6, allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(
    ("value", "bound", "shown"),
    [
        ("2.001", "2", "2.001"),
        ("2.0149", "2", "2.01"),
        ("2.2049575", "2.204", "2.205"),
        ("330.000000000000000001", "330", "330.000000000000000001"),
        ("59.999", "60", "59.999"),
        ("29.9951", "29.995", "30"),
        ("29.995", "29.9951", "29.995"),
        ("0.011", "0.0109", "0.011"),
        ("331", "300", "331"),
        ("2", "2", "2"),
        ("-0.001", "0", "-0.001"),
        (str(10**9), "30", str(10**9)),
    ],
)
def test_value_is_rounded_apart_from_its_bound(value: str, bound: str, shown: str) -> None:
    assert rounded_apart(D(value), D(bound)) == D(shown)


@given(AMOUNTS, AMOUNTS)
def test_rounded_value_stays_on_its_side_of_the_bound(value: D, bound: D) -> None:
    shown = rounded_apart(value, bound)
    assert (shown > bound, shown < bound) == (value > bound, value < bound)
    assert abs(shown - value) <= D("0.005")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("0.00000001", "0.00000001"),
        ("0.0000000123456789", "0.0000000123457"),
        ("-0.00123456789", "-0.00123457"),
        ("1.23456789", "1.23457"),
        ("12345678.9", "12345679"),
        ("0", "0"),
    ],
)
def test_small_values_keep_their_significant_digits(value: str, shown: str) -> None:
    assert plain(significant(D(value))) == shown


@pytest.mark.django_db
@given(st.lists(st.tuples(EDGES, EDGES), min_size=1, max_size=200))
@settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@example([(D("0.125"), D(3)), (D("0.135"), D(3)), (D("-2.125"), D(1)), (D("0.005"), D(0))])
@example([(D("500.004"), D(500)), (D("330.000000000000000001"), D(330)), (D(2), D(2))])
def test_database_rounds_values_as_the_program_does(pairs: list[tuple[D, D]]) -> None:
    shown = rounded_apart_sql("t.value", "t.bound")
    query = f"""SELECT {shown} AS shown
        FROM unnest(%s::numeric[], %s::numeric[]) WITH ORDINALITY AS t(value, bound, number)
        ORDER BY number"""
    values, bounds = zip(*pairs, strict=True)
    found = [row.shown for row in rows(query, (list(values), list(bounds)))]
    assert found == [rounded_apart(value, bound) for value, bound in pairs]


def test_text_has_name_value_bound_and_unit() -> None:
    quantity = Figures("Quantity", "1001.5", Bound.MAXIMUM, "1000", "EUR")
    assert quantity.text == "Quantity: 1,001.5 EUR, maximum 1,000 EUR"
    prices = Figures("Entry price", "1.1", Bound.COMPARED_WITH, "1.2", word="stop loss")
    assert prices.text == "Entry price: 1.1, stop loss 1.2"
    symbol = Figures("Symbol", "GBP/USD", Bound.ALLOWED, "EUR/*, XAU/USD", word="not in")
    assert symbol.text == "Symbol: GBP/USD, not in EUR/*, XAU/USD"
    assert Figures("Quantity", "5", Bound.MINIMUM, "").text == "Quantity: 5"


@pytest.mark.parametrize(
    "figures",
    [
        Figures("Quantity", "1001.5", Bound.MAXIMUM, "1000", "EUR"),
        Figures("Time until its end", "5", Bound.MINIMUM, "60", "s"),
        Figures("Entry price", "1.1", Bound.COMPARED_WITH, "1.2", word="stop loss"),
        Figures("Time", "Sat 12:00 UTC", Bound.ALLOWED, ""),
    ],
)
def test_stored_figures_are_read_as_they_were(figures: Figures) -> None:
    found = read_figures("MAX_QUANTITY", figures.as_json())
    assert found is not None
    assert found.text == figures.text
    assert found.as_json() == figures.as_json()


def test_rows_of_earlier_versions_are_read() -> None:
    old = {"current": "2.01", "limit": "2"}
    risk = read_figures("TRADE_RISK", old)
    assert risk == Figures("Risk of the trade", "2.01", Bound.MAXIMUM, "2", "% of equity")
    below = read_figures("QUANTITY_BELOW_MINIMUM", {"current": "5", "limit": "10"})
    assert below is not None
    assert below.text == "Quantity: 5, minimum 10"
    assert read_figures("NO_LONGER_KNOWN", old) == Figures("Value", "2.01", Bound.MAXIMUM, "2")


@pytest.mark.parametrize("stored", [None, {}, [], "", {"accounts": 3}, {"name": "x"}])
def test_lines_without_figures_have_none(stored: object) -> None:
    assert read_figures("MAX_QUANTITY", stored) is None


def test_detail_is_not_repeated() -> None:
    spread = Figures("Spread", "3.1", Bound.MAXIMUM, "3", "pips")
    assert text_with_detail(spread, "pips") == "Spread: 3.1 pips, maximum 3 pips."
    loss = Figures("Fall of the equity", "500", Bound.MAXIMUM, "400", "USD")
    detail = "Fall of the equity: 500 USD, maximum 400 USD. Flows could not be read"
    assert text_with_detail(loss, detail) == detail
    size = Figures("Size", "3.1", Bound.MAXIMUM, "3", "× the median")
    assert text_with_detail(size, "3100, and the median is 1000") == (
        "Size: 3.1 × the median, maximum 3 × the median. 3100, and the median is 1000"
    )
    assert text_with_detail(None, "detail") == "detail"
    assert text_with_detail(size, "") == "Size: 3.1 × the median, maximum 3 × the median."


@pytest.mark.parametrize("code", [code for code in Code if code.figures])
def test_each_code_has_a_name_and_a_word_for_its_bound(code: str) -> None:
    limit = Code(code).figures
    assert limit is not None
    assert limit.name
    assert limit.word or limit.bound in (Bound.MAXIMUM, Bound.MINIMUM)
