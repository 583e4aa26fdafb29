"""Format numbers, ages and states for people, the same way on every page. Pure.

Thousands have commas, minus is `−`, an unknown figure is empty. A state has a word and a shape of
the style sheet (`fillcast.css`); colour only comes third.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal

from common.currencies import money_places
from common.ended_orders import ENDED_WAITS, FINAL, FINAL_HINTS, is_ended_wait
from common.money import plain
from common.reason_codes import Code

MINUS = "−"


@dataclass(frozen=True, slots=True)
class StateLabel:
    """How an order status is shown.

    css: the class of its shape. word: the text beside it. share: the part of a signal's candidates
    that it counts as. rank: lower ranks need attention and come first.
    """

    css: str
    word: str
    share: str
    rank: int


def with_hint(message: str, remedy: str) -> str:
    """Join a message and its remedy as sentences: brokers' texts often lack the full stop."""
    message = message.rstrip()
    is_complete = not remedy or not message or message.endswith((".", "!", "?", ":", "…"))
    return f"{message}{'' if is_complete else '.'} {remedy}".strip()


STATES: dict[str, StateLabel] = {
    "UNKNOWN": StateLabel("unknown", "Unknown", "unknown", 0),
    "FAILED": StateLabel("failed", "Failed", "failed", 1),
    "REJECTED": StateLabel("rejected", "Rejected", "rejected", 2),
    "DENIED": StateLabel("denied", "Denied", "denied", 3),
    "CANCEL_REQUESTED": StateLabel("cancelreq", "Cancel requested", "working", 4),
    "PARTIALLY_FILLED": StateLabel("partial", "Partly filled", "working", 5),
    "SUBMITTED": StateLabel("submitted", "Working", "working", 5),
    "SUBMITTING": StateLabel("submitting", "Submitting", "working", 5),
    "PENDING": StateLabel("pending", "Pending", "working", 5),
    "EXPIRED": StateLabel("expired", "Expired", "expired", 6),
    "CANCELLED": StateLabel("cancelled", "Cancelled", "cancelled", 7),
    "SKIPPED": StateLabel("skipped", "Skipped", "skipped", 8),
    "FILLED": StateLabel("filled", "Filled", "filled", 9),
}
CANCELLING = "Cancellation requested; the order may still fill first."
SHARES = (
    "filled", "working", "skipped", "denied", "rejected", "failed", "cancelled", "expired",
    "unknown",
)  # fmt: skip
"""The parts into which a signal's candidates are counted, in the order of display."""


def statuses_of(share: str) -> list[str]:
    """Return the order statuses that count as this share."""
    return [status for status, label in STATES.items() if label.share == share]


def known_code(reason: str) -> Code | None:
    """Return the reason code; None for one that another version of Fillcast wrote."""
    try:
        return Code(reason)
    except ValueError:
        return None


def sentence(reason: str, status: str = "") -> str:
    """Return the sentence of a reason code; an unknown code is returned as it is.

    status: the order's status, if it is the reason of an order: one that has ended no longer waits.
    """
    found = known_code(reason)
    if found and is_ended_wait(found, status):
        return ENDED_WAITS[found].sentence
    return found.sentence if found else reason


def hint(reason: str, status: str = "") -> str:
    """Return what to do about a reason; empty if nothing. status: as in `sentence`."""
    found = known_code(reason)
    if found is None:
        return ""
    if is_ended_wait(found, status):
        return ENDED_WAITS[found].hint
    return FINAL_HINTS.get(found, found.hint) if status in FINAL else found.hint


def number(value: Decimal | int | None, places: int | None = None) -> str:
    """Return 1234.5 as `1,234.5`. places: the fixed number of decimals. None is empty."""
    if value is None:
        return ""
    if places is not None:
        value = Decimal(value).quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN)
        whole, _, rest = f"{abs(value):f}".partition(".")
    else:
        whole, _, rest = plain(abs(Decimal(value))).partition(".")
    text = f"{int(whole):,}" + (f".{rest}" if rest else "")
    return MINUS + text if value < 0 else text


def units_of(pair: str) -> str:
    """Return the unit of a quantity of this symbol: its base, `EUR` of `EUR/USD`."""
    return pair.partition("/")[0]


def quantity(value: Decimal | None, pair: str) -> str:
    """Return a quantity with its unit: `10,000 EUR`. None is empty."""
    return "" if value is None else f"{number(value)} {units_of(pair)}".rstrip()


def signed(value: Decimal | int | None, places: int | None = 2) -> str:
    """Return a gain as `+150.08`, a loss as `−48.40`, zero as `0.00`. None is empty."""
    if value is None:
        return ""
    text = number(value, places)
    if not text.strip(f"0.,{MINUS}"):
        return text.removeprefix(MINUS)  # rounds to zero
    return f"+{text}" if value > 0 else text


def money(value: Decimal | int | None, currency: str) -> str:
    """Return an amount with the decimals of its currency, without its name: `1,200` in JPY."""
    return number(value, money_places(currency))


def gain(value: Decimal | int | None, currency: str) -> str:
    """Return a gain or loss with the decimals of its currency, without its name: `+1,200`."""
    return signed(value, money_places(currency))


def amount(value: Decimal | int | None, currency: str) -> str:
    """Return an amount and its currency: `1,200 JPY`, `0.00012000 BTC`. None is empty."""
    return "" if value is None else f"{money(value, currency)} {currency}".rstrip()


def gain_amount(value: Decimal | int | None, currency: str) -> str:
    """Return a gain or loss and its currency: `+1,200 JPY`. None is empty."""
    return "" if value is None else f"{gain(value, currency)} {currency}".rstrip()


def unconverted(fees: Mapping[str, object] | None) -> str:
    """Return the fees that no result includes: `0.00075 BNB in fees not included: no rate …`."""
    if not fees:
        return ""
    amounts = ", ".join(f"{number(Decimal(str(fees[name])))} {name}" for name in sorted(fees))
    return f"{amounts} in fees not included: no rate was quoted"


def milliseconds(value: float | timedelta | None) -> str:
    """Return milliseconds, or a duration, as whole milliseconds: `1,040`. None is empty."""
    if isinstance(value, timedelta):
        value = value / timedelta(milliseconds=1)
    return "" if value is None else number(round(value))


def duration(milliseconds_taken: float | None) -> str:
    """Return a time with its unit: `243 ms` below ten seconds, then as an age, `12 s`."""
    if milliseconds_taken is None:
        return ""
    if milliseconds_taken < 10_000:
        return f"{milliseconds(milliseconds_taken)} ms"
    return age(milliseconds_taken / 1000)


def join_first(names: Sequence[str], most: int = 3) -> str:
    """Return the first `most` names and a count of the rest: `EUR/USD, GBP/USD and 7 more`."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def age(seconds: float | None) -> str:
    """Return an age in its two largest units: `1.9 s`, `6 min 22 s`, `3 h 5 min`, `2 d 4 h`."""
    if seconds is None:
        return ""
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return _two(whole // 60, "min", whole % 60, "s")
    if whole < 86_400:
        return _two(whole // 3600, "h", whole % 3600 // 60, "min")
    return _two(whole // 86_400, "d", whole % 86_400 // 3600, "h")


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large} {large_unit}" + (f" {small} {small_unit}" if small else "")


def clock(at: datetime | None, *, with_ms: bool = False) -> str:
    """Return a time of day: `12:30:01`; with_ms: with milliseconds, `12:30:01.204`.

    In the zone of `at`, which is not converted.
    """
    if at is None:
        return ""
    return f"{at:%H:%M:%S}" + (f".{at.microsecond // 1000:03d}" if with_ms else "")
