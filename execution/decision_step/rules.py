"""The built-in provider: rules about spread, volatility, session and news. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from common.money import plain
from common.units import size_of
from connections.models import DecisionProvider, Impact
from connections.trading_sessions import is_open
from execution.decision_step.types import Decided, Failure, NoAnswerError, Question
from signals.symbols import slippage_unit

ONE = Decimal(1)
_RANKS = {Impact.LOW.value: 0, Impact.MEDIUM.value: 1, Impact.HIGH.value: 2}


class News(NamedTuple):
    """A news event. at: market time."""

    at: datetime
    currency: str
    impact: str
    title: str


@dataclass(frozen=True, slots=True)
class Calendar:
    """The events around now, and the time that the calendar covers; None: it is empty."""

    name: str
    starts_at: datetime | None
    ends_at: datetime | None
    events: Sequence[News] = ()


def decide(
    rules: DecisionProvider, question: Question, calendar: Calendar | None = None
) -> Decided | NoAnswerError:
    """Return what the rules make of an entry: the factor of broken rules with all that broke.

    A broken rule decides even if another lacks its data. Without one, a rule that lacks its data
    (no quote, too few minute bars, a calendar that does not cover the window around now) is no
    answer.
    """
    broken: list[str] = []
    missing: list[str] = []
    for check in (_spread, _spread_percentile, _volatility, _session):
        try:
            broken += check(rules, question)
        except NoAnswerError as error:
            missing.append(error.detail)
    if calendar is not None:
        try:
            broken += _news(rules, question, calendar)
        except NoAnswerError as error:
            missing.append(error.detail)
    if broken:
        return Decided(rules.broken_rule_factor, "; ".join(broken)[:300])
    if missing:
        return NoAnswerError(Failure.NO_DATA, " ".join(missing))
    return Decided(ONE)


def _no_data(detail: str) -> NoAnswerError:
    return NoAnswerError(Failure.NO_DATA, detail)


def _spread(rules: DecisionProvider, question: Question) -> Iterable[str]:
    market = question.market
    if rules.max_spread is None:
        return ()
    if market.spread is None or market.bid is None or market.ask is None:
        raise _no_data("There is no current quote.")
    if question.pip is None or question.tick is None:
        raise _no_data("The broker does not list the symbol.")
    unit = slippage_unit(question.pair, rules.max_spread_unit)
    middle = (market.bid + market.ask) / 2
    size = size_of(unit, price=middle, pip=question.pip, tick=question.tick)
    if market.spread <= rules.max_spread * size:
        return ()
    return (
        f"spread {_short(market.spread / size)} {unit.word}, maximum {plain(rules.max_spread)}",
    )


def _spread_percentile(rules: DecisionProvider, question: Question) -> Iterable[str]:
    rank = question.market.spread_percentile
    if rules.max_spread_percentile is None:
        return ()
    if rank is None:
        raise _no_data("Too few minutes have a spread to compare with.")
    if rank <= rules.max_spread_percentile:
        return ()
    maximum = plain(rules.max_spread_percentile)
    return (f"spread wider than in {_short(rank)} % of the last day, maximum {maximum} %",)


def _volatility(rules: DecisionProvider, question: Question) -> Iterable[str]:
    low, high, atr = rules.min_atr_percent, rules.max_atr_percent, question.market.atr_percent
    if low is None and high is None:
        return ()
    if atr is None:
        raise _no_data("There are too few candles for the average true range.")
    if low is not None and atr < low:
        return (f"ATR {_short(atr)} % of the price, minimum {plain(low)} %",)
    if high is not None and atr > high:
        return (f"ATR {_short(atr)} % of the price, maximum {plain(high)} %",)
    return ()


def _session(rules: DecisionProvider, question: Question) -> Iterable[str]:
    if is_open(rules.sessions, question.now, rules.session_zone):
        return ()
    return ("outside of the sessions",)


def _news(rules: DecisionProvider, question: Question, calendar: Calendar) -> Iterable[str]:
    """Name the first event whose window now lies in. Both ends belong to the window."""
    now = question.now
    after = timedelta(minutes=rules.news_minutes_after)
    before = timedelta(minutes=rules.news_minutes_before)
    currencies = set(question.pair.split("/"))
    for event in calendar.events:
        counts = _RANKS[event.impact] >= _RANKS[rules.news_impact]
        if counts and event.currency in currencies and event.at - before <= now <= event.at + after:
            return (f"news: {event.currency} {event.title} at {event.at:%H:%M} UTC",)
    starts, ends = calendar.starts_at, calendar.ends_at
    # An event in the window that the calendar does not know of must not count as none.
    if starts is None or ends is None or now - after < starts or now + before > ends:
        raise _no_data(f"The calendar {calendar.name} does not cover this time.")
    return ()


def _short(value: Decimal) -> str:
    return plain(value.quantize(Decimal("0.0001")))
