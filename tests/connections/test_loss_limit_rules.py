"""Loss limits decide as docs/loss-limits.md states: windows, measures, both sides of the edge."""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.reason_codes import Code
from connections.loss_limits.rules import (
    LossFigures,
    breach_of,
    code_of,
    describe,
    pause_end,
    value_of,
    window_end,
    window_start,
)
from connections.models import LossWindow
from connections.trading_day import DayRule

NEW_YORK, UTC_MIDNIGHT = DayRule(), DayRule("UTC", time(0))
FIGURES = LossFigures(
    balance=D(9_700), equity=D(9_400),
    opening_balance=D(10_000), opening_equity=D(9_800),
    peak_balance=D(10_500), peak_equity=D(10_200),
    realized_loss=D(300), losing_streak=3,
)  # fmt: skip


@dataclass(frozen=True)
class Rule:
    measure: str
    maximum: D
    basis: str = "OPENING"
    unit: str = "AMOUNT"
    window: str = "DATE"
    resume: str = "NEXT_WINDOW"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("measure", "basis", "amount", "percent"),
    [
        ("BALANCE", "OPENING", "300", "3"),  # 10,000 − 9,700; of 10,000
        ("BALANCE_TO_EQUITY", "OPENING", "600", "6"),  # 10,000 − 9,400; of 10,000
        ("EQUITY", "OPENING", "400", "4.0816"),  # 9,800 − 9,400; of 9,800
        ("BALANCE", "PEAK", "800", "7.6190"),  # 10,500 − 9,700; of 10,500
        ("BALANCE_TO_EQUITY", "PEAK", "1100", "10.4762"),  # 10,500 − 9,400; of 10,500
        ("EQUITY", "PEAK", "800", "7.8431"),  # 10,200 − 9,400; of 10,200
        ("REALIZED_LOSS", "OPENING", "300", "3"),  # 300; of 10,000
    ],
)
def test_value_of_each_measure(measure: str, basis: str, amount: str, percent: str) -> None:
    value = value_of(Rule(measure, D(1), basis), FIGURES)
    assert value == D(amount)
    share = value_of(Rule(measure, D(1), basis, "PERCENT"), FIGURES)
    assert share is not None
    assert share.quantize(D("0.0001")) == D(percent).quantize(D("0.0001"))


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        (Rule("EQUITY", D(400)), Code.LOSS_LIMIT),
        (Rule("EQUITY", D(800), "PEAK"), Code.DRAWDOWN_LIMIT),
        (Rule("REALIZED_LOSS", D(300)), Code.REALIZED_LOSS_LIMIT),
        (Rule("LOSING_STREAK", D(3), unit="TRADES"), Code.LOSING_STREAK),
    ],
)
def test_limit_is_reached_at_its_maximum_and_not_before(rule: Rule, code: Code) -> None:
    breach = breach_of(rule, FIGURES)
    assert breach is not None
    assert (breach.code, breach.value, breach.maximum) == (code, rule.maximum, rule.maximum)
    above = Rule(rule.measure, rule.maximum + D("0.01"), rule.basis, rule.unit)
    assert breach_of(above, FIGURES) is None
    assert code_of(rule) is code


def test_account_that_was_not_read_in_the_window_reaches_no_limit() -> None:
    unread = LossFigures(balance=D(1), equity=D(1), realized_loss=D(500))
    assert value_of(Rule("EQUITY", D(1)), unread) is None
    assert breach_of(Rule("EQUITY", D(1), "PEAK"), unread) is None
    assert value_of(Rule("REALIZED_LOSS", D(1)), unread) == D(500)  # trades are known anyway
    assert value_of(Rule("REALIZED_LOSS", D(1), unit="PERCENT"), unread) is None


@pytest.mark.parametrize(("equity", "percent"), [("-1", "100"), ("0", "0"), ("5", "0")])
def test_percent_of_nothing_is_all_or_nothing(equity: str, percent: str) -> None:
    figures = LossFigures(balance=D(0), equity=D(equity), opening_equity=D(0))
    assert value_of(Rule("EQUITY", D(5), unit="PERCENT"), figures) == D(percent)


# A Wednesday, 13:37 in New York: trading day 2026-11-18, from the 17th 22:00 UTC on.
NOW = "2026-11-18T18:37:21Z"


@pytest.mark.parametrize(
    ("window", "start", "end"),
    [
        ("DAY", "2026-11-17T18:00:00Z", "2026-11-19T19:00:00Z"),
        ("DATE", "2026-11-17T22:00:00Z", "2026-11-18T22:00:00Z"),
        ("WEEK", "2026-11-11T18:00:00Z", "2026-11-25T19:00:00Z"),
        ("WEEK_TO_DATE", "2026-11-15T22:00:00Z", "2026-11-22T22:00:00Z"),  # Sunday 17:00
        ("MONTH", "2026-10-19T18:00:00Z", "2026-12-18T19:00:00Z"),
        ("MONTH_TO_DATE", "2026-10-31T21:00:00Z", "2026-11-30T22:00:00Z"),  # summer time's end
        ("QUARTER", "2026-08-19T18:00:00Z", "2027-02-17T19:00:00Z"),
        ("QUARTER_TO_DATE", "2026-09-30T21:00:00Z", "2026-12-31T22:00:00Z"),
        ("YEAR", "2025-11-18T18:00:00Z", "2027-11-18T19:00:00Z"),
        ("YEAR_TO_DATE", "2025-12-31T22:00:00Z", "2026-12-31T22:00:00Z"),
    ],
)
def test_window(window: str, start: str, end: str) -> None:
    assert window_start(window, at(NOW), NEW_YORK) == at(start)
    assert window_end(window, at(NOW), NEW_YORK) == at(end)


def test_all_time_has_no_start_and_no_end() -> None:
    assert window_start("LIFETIME", at(NOW), NEW_YORK) is None
    assert window_end("LIFETIME", at(NOW), NEW_YORK) is None


def test_window_begins_with_the_trading_day_of_the_preset() -> None:
    assert window_start("DATE", at(NOW), UTC_MIDNIGHT) == at("2026-11-18T00:00:00Z")
    assert window_start("YEAR_TO_DATE", at("2026-01-01T00:00:00Z"), UTC_MIDNIGHT) == at(
        "2026-01-01T00:00:00Z"
    )


def test_pause_by_hand_has_no_end() -> None:
    assert pause_end(Rule("EQUITY", D(1), resume="BY_HAND"), at(NOW), NEW_YORK) is None
    assert pause_end(Rule("EQUITY", D(1)), at(NOW), NEW_YORK) == at("2026-11-18T22:00:00Z")


@given(
    now=st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    window=st.sampled_from([window for window in LossWindow if window != "LIFETIME"]),
    rule=st.sampled_from([NEW_YORK, UTC_MIDNIGHT, DayRule("Asia/Tokyo", time(9, 30))]),
)
def test_next_window_leaves_out_what_was_before_the_pause(
    now: datetime, window: str, rule: DayRule
) -> None:
    start, end = window_start(window, now, rule), window_end(window, now, rule)
    assert start is not None and end is not None  # noqa: PT018  # for mypy
    assert start <= now < end
    following = window_start(window, end, rule)
    assert following is not None
    assert now < following <= end
    assert end - now <= timedelta(days=367)


def test_description_names_limit_value_and_maximum() -> None:
    breach = breach_of(Rule("EQUITY", D(400)), FIGURES)
    assert breach is not None
    assert describe("Fall of the equity", breach, "AMOUNT", "USD") == (
        "Fall of the equity: 400 USD, maximum 400 USD"
    )
    assert describe("Losing trades", breach, "TRADES", "USD") == (
        "Losing trades: 400 trades, maximum 400 trades"
    )
