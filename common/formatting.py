"""How numbers, ages and states are written for people: one way on every screen. Pure.

Thousands have commas, minus is `−`, a figure that is not known is empty. The states' words and
shapes are those of the style sheet (`fillcast.css`): a shape and a word, colour comes third.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal

from common.ended_orders import ENDED_WAITS, FINAL, FINAL_HINTS, is_ended_wait
from common.money import plain
from common.reason_codes import Code

MINUS = "−"


@dataclass(frozen=True, slots=True)
class StateLabel:
    """A state as people see it. css: its shape's class; word: beside it; share: what it counts as
    in the sum of a signal's candidates; rank: those that need someone come first."""

    css: str
    word: str
    share: str
    rank: int


def with_hint(said: str, remedy: str) -> str:
    """What is so and what helps as whole sentences: a broker's own words often end bare."""
    ends = not remedy or not said or said.rstrip().endswith((".", "!", "?", ":", "…"))
    return f"{said.rstrip()}{'' if ends else '.'} {remedy}".strip()


STATES: dict[str, StateLabel] = {
    "UNKNOWN": StateLabel("unknown", "Unknown", "unknown", 0),
    "FAILED": StateLabel("failed", "Failed", "failed", 1),
    "REJECTED": StateLabel("rejected", "Rejected", "rejected", 2),
    "DENIED": StateLabel("denied", "Denied", "denied", 3),
    "CANCEL_REQUESTED": StateLabel("cancelreq", "Cancel asked", "working", 4),
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
"""The parts that a signal's candidates add up from, in the order in which they are told."""


def statuses_of(share: str) -> list[str]:
    """Return the order states that count as this part of the sum."""
    return [status for status, shown in STATES.items() if shown.share == share]


def known_code(reason: str) -> Code | None:
    """Return the listed code; None for a reason that a newer or older version wrote."""
    try:
        return Code(reason)
    except ValueError:
        return None


def sentence(reason: str, status: str = "") -> str:
    """What a reason says to people; an unlisted one is shown as it is. status: of the order whose
    reason it is, for one that has ended does not wait any more."""
    found = known_code(reason)
    if found and is_ended_wait(found, status):
        return ENDED_WAITS[found].sentence
    return found.sentence if found else reason


def hint(reason: str, status: str = "") -> str:
    """What to do about a reason; empty where nothing is to be done. status: as in `sentence`."""
    found = known_code(reason)
    if found is None:
        return ""
    if is_ended_wait(found, status):
        return ENDED_WAITS[found].hint
    return FINAL_HINTS.get(found, found.hint) if status in FINAL else found.hint


def number(value: Decimal | int | None, places: int | None = None) -> str:
    """Write 1234.5 as `1,234.5`; with places, always that many. None is empty."""
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
    """Return what a quantity of this symbol is counted in: its base, `EUR` of `EUR/USD`."""
    return pair.partition("/")[0]


def quantity(value: Decimal | None, pair: str) -> str:
    """Write a quantity with its unit: `10,000 EUR`. None is empty."""
    return "" if value is None else f"{number(value)} {units_of(pair)}".rstrip()


def signed(value: Decimal | int | None, places: int | None = 2) -> str:
    """Write a gain as `+150.08`, a loss as `−48.40`, nothing as `0.00`."""
    if value is None:
        return ""
    text = number(value, places)
    if not text.strip(f"0.,{MINUS}"):
        return text.removeprefix(MINUS)  # rounds to nothing
    return f"+{text}" if value > 0 else text


def unconverted(fees: Mapping[str, object] | None) -> str:
    """Say which fees are in no result: `0.00075 BNB in fees not included: no rate was quoted`."""
    if not fees:
        return ""
    told = ", ".join(f"{number(Decimal(str(fees[name])))} {name}" for name in sorted(fees))
    return f"{told} in fees not included: no rate was quoted"


def milliseconds(value: float | timedelta | None) -> str:
    """Write milliseconds as a whole number: `1,040`."""
    if isinstance(value, timedelta):
        value = value / timedelta(milliseconds=1)
    return "" if value is None else number(round(value))


def join_first(names: Sequence[str], most: int = 3) -> str:
    """Return the first names and how many more there are: `EUR/USD, GBP/USD and 7 more`."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def age(seconds: float | None) -> str:
    """Write an age by its two largest parts: `1.9 s`, `6 min 22 s`, `3 h 5 min`, `2 d 4 h`."""
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


def clock(at: datetime | None, *, fine: bool = False) -> str:
    """Write a time of day, UTC: `12:30:01`, or `12:30:01.204` where milliseconds matter."""
    if at is None:
        return ""
    return f"{at:%H:%M:%S}" + (f".{at.microsecond // 1000:03d}" if fine else "")
