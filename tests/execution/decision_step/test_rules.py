"""The built-in rules, on both sides of each edge. Pure."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from typing import Any

import pytest

from connections.models import DecisionProvider
from execution.decision_step.rules import Calendar, News, decide
from execution.decision_step.types import Decided, Failure, Market, NoAnswerError, Question

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)  # a Friday
MARKET = Market(
    bid=D("1.0999"), ask=D("1.1002"), quote_age=1, spread=D("0.0003"), spread_percentile=D(80),
    atr=D("0.0011"), atr_percent=D("0.1"), trend=D("1.5"),
)  # fmt: skip
QUESTION = Question(
    order_id=1, connection_id="c", signal_id=1, feed_id=1, pair="EUR/USD", side="BUY",
    order_type="MARKET", open_price=None, stop_price=None, stop_loss=None, targets=(),
    published_at=NOW, now=NOW, currency="USD", balance=D(1000), equity=D(1000), pip=D("0.0001"),
    tick=D("0.00001"), market=MARKET,
)  # fmt: skip


def decided(question: Question = QUESTION, calendar: Calendar | None = None, **rules: Any) -> Any:
    return decide(DecisionProvider(**rules), question, calendar)


def test_entry_passes_without_rules() -> None:
    assert decided() == Decided(D(1))


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ({"max_spread": D(3)}, ""),
        ({"max_spread": D("2.9")}, "spread 3 pips, maximum 2.9"),
        ({"max_spread": D(30), "max_spread_unit": "TICKS"}, ""),
        ({"max_spread": D(29), "max_spread_unit": "TICKS"}, "spread 30 ticks, maximum 29"),
        ({"max_spread_percentile": D(80)}, ""),
        ({"max_spread_percentile": D(79)},
         "spread wider than in 80 % of the last day, maximum 79 %"),
        ({"min_atr_percent": D("0.1"), "max_atr_percent": D("0.1")}, ""),
        ({"min_atr_percent": D("0.11")}, "ATR 0.1 % of the price, minimum 0.11 %"),
        ({"max_atr_percent": D("0.09")}, "ATR 0.1 % of the price, maximum 0.09 %"),
        ({"sessions": ["FRI 12:00-13:00"]}, ""),
        ({"sessions": ["MON-THU 00:00-24:00", "FRI 11:00-12:00"]}, "outside of the sessions"),
    ],
)  # fmt: skip
def test_rule_rejects_beyond_its_bound(rules: dict[str, Any], reason: str) -> None:
    assert decided(**rules) == Decided(D(0 if reason else 1), reason)


@pytest.mark.parametrize("rule", ["max_spread", "max_spread_percentile", "max_atr_percent"])
def test_rule_without_data_is_no_answer(rule: str) -> None:
    rules: dict[str, Any] = {rule: D(1)}
    answer = decided(replace(QUESTION, market=Market()), **rules)
    assert isinstance(answer, NoAnswerError)
    assert answer.failure is Failure.NO_DATA


def test_broken_rule_decides_though_another_lacks_data() -> None:
    blind = replace(QUESTION, market=Market())
    answer = decided(
        blind, max_spread=D(1), sessions=["MON 00:00-01:00"], broken_rule_factor=D("0.5")
    )
    assert answer == Decided(D("0.5"), "outside of the sessions")


def test_all_broken_rules_are_named() -> None:
    answer = decided(max_spread=D(1), max_atr_percent=D("0.05"))
    assert answer.reason == "spread 3 pips, maximum 1; ATR 0.1 % of the price, maximum 0.05 %"


def calendar(minutes: float, currency: str = "USD", impact: str = "HIGH") -> Calendar:
    event = News(NOW + timedelta(minutes=minutes), currency, impact, "Payrolls")
    return Calendar("News", NOW - timedelta(days=1), NOW + timedelta(days=1), [event])


@pytest.mark.parametrize(
    ("minutes", "rejected"),
    [(15.01, False), (15, True), (0, True), (-30, True), (-30.01, False)],
)
def test_news_window_includes_both_ends(minutes: float, rejected: bool) -> None:
    answer = decided(calendar=calendar(minutes), news_minutes_before=15, news_minutes_after=30)
    assert (answer.factor == 0) is rejected
    if rejected:
        assert answer.reason.startswith("news: USD Payrolls at ")


@pytest.mark.parametrize(
    ("currency", "impact", "least", "rejected"),
    [
        ("USD", "HIGH", "HIGH", True), ("EUR", "MEDIUM", "MEDIUM", True),
        ("GBP", "HIGH", "HIGH", False), ("USD", "MEDIUM", "HIGH", False),
        ("USD", "HIGH", "LOW", True),
    ],
)  # fmt: skip
def test_news_of_the_pairs_currencies_and_impact_count(
    currency: str, impact: str, least: str, rejected: bool
) -> None:
    answer = decided(calendar=calendar(0, currency, impact), news_impact=least)
    assert (answer.factor == 0) is rejected


@pytest.mark.parametrize(
    ("starts", "ends", "covered"),
    [
        (-30, 15, True), (-29.99, 15, False), (-30, 14.99, False), (-60, 0, False),
        (0, 60, False),
    ],
)  # fmt: skip
def test_calendar_that_does_not_cover_the_window_is_no_answer(
    starts: float, ends: float, covered: bool
) -> None:
    found = Calendar("News", NOW + timedelta(minutes=starts), NOW + timedelta(minutes=ends))
    answer = decided(calendar=found, news_minutes_before=15, news_minutes_after=30)
    assert (answer == Decided(D(1))) is covered
    empty = decided(calendar=Calendar("News", None, None))
    assert isinstance(empty, NoAnswerError)
