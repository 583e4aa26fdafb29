"""Which pushed quotes are taken, and why the others are not. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from brokers.types import Quote
from common.errors import InvalidInputError
from common.money import read_decimal
from common.reason_codes import Code
from prices.quote_buffer import FRESH_AGE, LARGEST, SMALLEST

FIELDS = ("symbol", "bid", "ask", "time")
MAX_AGE = FRESH_AGE  # an older one is no current price of any source
MAX_AHEAD = timedelta(seconds=2)  # the clocks of two machines differ by less
LONGEST_TIME = 40  # characters


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row that was not taken. row: its number in the body, from 0. detail: what it has."""

    row: int
    symbol: str
    code: Code
    detail: str = ""

    @property
    def message(self) -> str:
        """What is wrong, and what to do."""
        return " ".join(filter(None, (self.code.sentence, self.detail, self.code.hint)))


@dataclass(slots=True)
class JudgedRows:
    """The rows of a body. accepted: quotes by the sender's time. repeated: known already."""

    accepted: list[Quote] = field(default_factory=list)
    repeated: int = 0
    refused: list[RefusedRow] = field(default_factory=list)


def judge_rows(
    rows: Sequence[object], symbols: Collection[str], known: Mapping[str, Quote], now: datetime
) -> JudgedRows:
    """Return which rows are taken, in order.

    symbols: the pairs of the source. known: the newest quote of each that was taken. now: UTC.
    A row that is the newest quote of its symbol again is no error: a body may be sent twice. After
    a clock was set back, a known quote of the future puts none out of order.
    """
    judged = JudgedRows()
    newest = {symbol: last for symbol, last in known.items() if last.time <= now + MAX_AHEAD}
    for number, row in enumerate(rows):
        try:
            quote = _read(row)
            _check(quote, symbols, now)
            last = newest.get(quote.symbol)
            if last is not None and _is_again(quote, last):
                judged.repeated += 1
                continue
            if last is not None and quote.time <= last.time:
                detail = f"It has {_time(quote)}, and the last one {_time(last)}."
                raise InvalidInputError(Code.QUOTE_OUT_OF_ORDER, detail)
        except InvalidInputError as error:
            refused = RefusedRow(number, _symbol_of(row), error.code, error.detail)
            judged.refused.append(refused)
        else:
            newest[quote.symbol] = quote
            judged.accepted.append(quote)
    return judged


def _read(row: object) -> Quote:
    if not isinstance(row, Mapping):
        raise InvalidInputError(Code.FIELD_INVALID, "A quote is an object.")
    if unknown := sorted(map(str, row.keys() - set(FIELDS))):
        raise InvalidInputError(Code.FIELD_UNKNOWN, f"{unknown[0][:40]!r} is not one of {FIELDS}.")
    if missing := [name for name in FIELDS if row.get(name) is None]:
        raise InvalidInputError(Code.FIELD_REQUIRED, f"It has no {missing[0]}.")
    bid, ask = (_read_price(row[name], name) for name in ("bid", "ask"))
    return Quote(_symbol_of(row), bid, ask, _read_time(row["time"]))


def _read_price(value: object, name: str) -> Decimal:
    price = read_decimal(value, field=name, positive=True)
    if not SMALLEST <= price <= LARGEST:
        detail = f"{name} {price:.3g} is not a price."
        raise InvalidInputError(Code.NUMBER_MALFORMED, detail, field=name)
    return price


def _read_time(value: object) -> datetime:
    text = value if isinstance(value, str) and len(value) <= LONGEST_TIME else ""
    try:
        time = datetime.fromisoformat(text)
        if time.tzinfo is not None:
            return time.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise InvalidInputError(
        Code.FIELD_INVALID, "time must be written as 2026-05-04T12:00:00.123Z, with its offset."
    )


def _check(quote: Quote, symbols: Collection[str], now: datetime) -> None:
    if quote.symbol not in symbols:
        raise InvalidInputError(Code.SYMBOL_NOT_OF_SOURCE, f"It has {quote.symbol[:40]!r}.")
    if quote.bid > quote.ask:
        detail = f"It has bid {quote.bid:f} and ask {quote.ask:f}."
        raise InvalidInputError(Code.QUOTE_CROSSED, detail)
    if quote.time > now + MAX_AHEAD:
        detail = f"It has {_time(quote)}, and here it is {now:%Y-%m-%d %H:%M:%S} UTC."
        raise InvalidInputError(Code.QUOTE_FROM_FUTURE, detail)
    if now - quote.time > MAX_AGE:
        detail = (
            f"It is {(now - quote.time).total_seconds():.1f} s old; {MAX_AGE.seconds} s may be."
        )
        raise InvalidInputError(Code.QUOTE_TOO_OLD, detail)


def _is_again(quote: Quote, last: Quote) -> bool:
    return (quote.bid, quote.ask, quote.time) == (last.bid, last.ask, last.time)


def _symbol_of(row: object) -> str:
    symbol = row.get("symbol") if isinstance(row, Mapping) else None
    return symbol.strip().upper()[:40] if isinstance(symbol, str) else ""


def _time(quote: Quote) -> str:
    return f"{quote.time:%Y-%m-%d %H:%M:%S.%f} UTC"
