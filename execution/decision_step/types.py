"""What a decision provider is asked and what it answers. Packages import this module."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from common.money import plain
from execution.submission.provider_answers import MAX_FACTOR

MAX_REASON = 300


class Failure(StrEnum):
    """Why there is no valid answer about an entry."""

    TIMEOUT = "TIMEOUT"
    UNREACHABLE = "UNREACHABLE"
    HOST_NOT_ALLOWED = "HOST_NOT_ALLOWED"
    BAD_STATUS = "BAD_STATUS"
    BAD_ANSWER = "BAD_ANSWER"
    TOO_LARGE = "TOO_LARGE"
    MISSING = "MISSING"
    BAD_FACTOR = "BAD_FACTOR"
    NO_DATA = "NO_DATA"
    NOT_INSTALLED = "NOT_INSTALLED"
    NOT_ALLOWED = "NOT_ALLOWED"
    KEY_ENDED = "KEY_ENDED"
    ERROR = "ERROR"


class NoAnswerError(Exception):
    """A provider gave no valid answer: to a whole bundle, or about one entry."""

    def __init__(self, failure: Failure, detail: str = "") -> None:
        super().__init__(f"{failure}: {detail}")
        self.failure, self.detail = failure, detail


@dataclass(frozen=True, slots=True)
class Market:
    """The market when the provider is asked, from the account's price source.

    bid, ask, spread, atr: quote currency. quote_age: seconds. atr: average true range of 14
    candles. trend: move of the close in 14 candles, in average true ranges; above 0: up.
    spread_percentile: percent of the last 24 hours' minutes with no wider spread. None: there is
    no quote, or there are too few minute bars.
    """

    bid: Decimal | None = None
    ask: Decimal | None = None
    quote_age: int | None = None
    spread: Decimal | None = None
    spread_percentile: Decimal | None = None
    candle_minutes: int = 15
    atr: Decimal | None = None
    atr_percent: Decimal | None = None
    trend: Decimal | None = None

    def as_json(self) -> dict[str, str | int | None]:
        """Return the values as JSON; decimals are texts."""
        decimals = ("bid", "ask", "spread", "spread_percentile", "atr", "atr_percent", "trend")
        values = {name: getattr(self, name) for name in decimals}
        shown: dict[str, str | int | None] = {
            name: None if value is None else plain(value) for name, value in values.items()
        }
        return shown | {"quote_age": self.quote_age, "candle_minutes": self.candle_minutes}


@dataclass(frozen=True, slots=True)
class Question:
    """One entry that may be rejected or scaled. Prices: quote currency. now: market time.

    balance, equity: account currency. pip, tick: of the instrument, None if it is not listed.
    """

    order_id: int
    connection_id: str
    signal_id: int
    feed_id: int
    pair: str
    side: str
    order_type: str
    open_price: Decimal | None
    stop_price: Decimal | None
    stop_loss: Decimal | None
    targets: Sequence[Decimal]
    published_at: datetime
    now: datetime
    currency: str | None
    balance: Decimal | None
    equity: Decimal | None
    pip: Decimal | None = None
    tick: Decimal | None = None
    market: Market = field(default_factory=Market)


@dataclass(frozen=True, slots=True)
class Decided:
    """An answer about one entry. factor: 0 rejects it, 1 leaves its size, at most 3."""

    factor: Decimal
    reason: str = ""


Answers = Mapping[int, Decided | NoAnswerError]
"""The answer about each entry, by order id."""


class Provider(Protocol):
    """What the entry point of an installed package is: a callable."""

    def __call__(self, questions: Sequence[Question], /) -> Mapping[int, Decided]:
        """Return an answer for each order id. It is called on a thread of its own."""
        ...


def checked(factor: object, reason: object) -> Decided:
    """Return an answer with a factor from 0 to 3. Raises NoAnswerError for any other one."""
    if not isinstance(factor, Decimal) or not factor.is_finite() or not 0 <= factor <= MAX_FACTOR:
        raise NoAnswerError(Failure.BAD_FACTOR, f"{str(factor)[:40]!r} is not from 0 to 3.")
    if len(factor.normalize().as_tuple().digits) > 18 or factor != round(factor, 9):
        raise NoAnswerError(Failure.BAD_FACTOR, f"{str(factor)[:40]!r} has more than 9 decimals.")
    if not isinstance(reason, str):
        raise NoAnswerError(Failure.BAD_ANSWER, "The reason is not a text.")
    text = "".join(letter if letter.isprintable() else " " for letter in reason)
    return Decided(factor, text.strip()[:MAX_REASON])
