"""An independent, slow computation of a signal's result from the raw rows. Nothing is shared.

It walks over every minute from the publication on and looks all facts up again in each, in exact
fractions: no state that is carried, no events that are merged.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction as F

MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class RawSignal:
    """A row of signals_signal, as far as the oracle reads it. bid, ask: fresh market, or None."""

    action: str
    at: datetime
    direction: str = "BUY"
    order_type: str = "MARKET"
    price: F | None = None
    sl: F | None = None
    targets: tuple[tuple[F, F], ...] = ()
    fraction: F = F(1)
    valid_until: datetime | None = None
    bid: F | None = None
    ask: F | None = None
    has_rule: bool = False


RawBar = dict[str, F]  # bo bh bl bc ao ah al ac


def oracle(
    opened: RawSignal, later: list[RawSignal], bars: dict[datetime, RawBar], until: datetime
) -> tuple[str, F | None, F | None]:
    """Return (state, percent, R)."""
    buy = opened.direction == "BUY"
    start = opened.at.replace(second=0, microsecond=0)
    touched = {one.at.replace(second=0, microsecond=0) for one in (opened, *later)}
    entry = risk = None
    parts: list[tuple[F, F]] = []  # price, part
    taken = 0  # targets that were reached, of any list
    list_in_force: object = opened
    only_last = False
    left, last = F(1), None
    last_at: datetime | None = None
    now = opened.ask if buy else opened.bid
    if now is not None and (opened.order_type == "MARKET" or crosses(opened, opened.price, now)):
        entry, last, last_at = now, opened.bid if buy else opened.ask, opened.at
        risk = opened.sl
    elif opened.order_type == "MARKET":
        return "UNKNOWN", None, None
    minute = start
    seen: list[RawSignal] = []
    while minute + MINUTE <= until and left:
        end = minute + MINUTE
        for one in [x for x in later if minute <= x.at < end]:
            if not left:
                break
            seen.append(one)
            expiry = end_of(opened, seen[:-1])
            if entry is None and expiry is not None and one.at > expiry:
                return "NOT_ENTERED", None, None
            if one.has_rule:
                return "UNKNOWN", None, None
            if one.action == "CANCEL" and entry is None:
                return "NOT_ENTERED", None, None
            if one.action == "CLOSE":
                if entry is None:
                    if one.fraction == 1:
                        return "NOT_ENTERED", None, None
                    continue
                price = one.bid if buy else one.ask
                if price is None and last_at and one.at - last_at <= timedelta(minutes=5):
                    price = last
                if price is None:
                    return "UNKNOWN", None, None
                parts.append((price, left * one.fraction))
                left -= left * one.fraction
                last, last_at = price, one.at
        if not left:
            break
        moves = [x for x in seen if x.action == "MODIFY"]
        stops = [x.sl for x in moves if x.sl is not None]
        stop = stops[-1] if stops else opened.sl
        lists = [x for x in moves if x.targets]
        newest = lists[-1] if lists else opened
        if newest is not list_in_force:  # without a target of the next number, its last one counts
            list_in_force, only_last = newest, taken >= len(newest.targets)
        prices = [x.price for x in moves if x.price is not None]
        wanted = prices[-1] if prices else opened.price
        expiry = end_of(opened, seen)
        if entry is None and expiry is not None and end > expiry:
            return "NOT_ENTERED", None, None
        bar = bars.get(minute)
        if bar is not None:
            entered_now = False
            if entry is None and minute not in touched:
                names = ("ao", "al", "ah") if buy else ("bo", "bh", "bl")
                first, better, worse = (bar[name] for name in names)
                comes_back = opened.order_type in ("LIMIT", "IF_TOUCHED")
                if crosses(opened, wanted, better if comes_back else worse):
                    entry = first if crosses(opened, wanted, first) else wanted
                    risk, entered_now = stop, True
            if entry is not None and minute not in touched:
                low, high = (bar["bl"], bar["bh"]) if buy else (bar["al"], bar["ah"])
                first = bar["bo"] if buy else bar["ao"]
                if stop is not None and (low <= stop if buy else high >= stop):
                    price = min(first, stop) if buy else max(first, stop)
                    parts.append((price, left))
                    left = F(0)
                elif not entered_now:
                    whole = sum(part for _, part in newest.targets) >= 1
                    for price, part in newest.targets[-1:] if only_last else newest.targets[taken:]:
                        if left and (high >= price if buy else low <= price):
                            is_last = only_last or (whole and taken + 1 == len(newest.targets))
                            closed = left if is_last else min(part, left)
                            parts.append((price, closed))
                            left -= closed
                            taken += 1
                        else:
                            break
            if entry is not None and left:
                last, last_at = bar["bc"] if buy else bar["ac"], end
            # Each CLOSE of a part was of what is open, so of all that it fills.
            if entered_now and left and last is not None:
                for one in seen:
                    if one.action == "CLOSE":
                        parts.append((last, left * one.fraction))
                        left -= left * one.fraction
        minute = end
    if entry is None:
        expiry = end_of(opened, seen)
        expired = expiry is not None and until > expiry
        return ("NOT_ENTERED" if expired else "OPEN"), None, None
    held = [*parts, (last if last is not None else entry, left)]
    sign = 1 if buy else -1
    moved = sum((price - entry) * part for price, part in held) * sign
    distance = (entry - risk) * sign if risk is not None else F(0)
    r = moved / distance if distance > 0 else None
    return ("OPEN" if left else "CLOSED"), moved / entry * 100, r


def end_of(opened: RawSignal, seen: list[RawSignal]) -> datetime | None:
    """Return until when the entry waits: the newest end that a MODIFY gave it, else its own."""
    ends = [one.valid_until for one in seen if one.action == "MODIFY" and one.valid_until]
    return ends[-1] if ends else opened.valid_until


def crosses(opened: RawSignal, wanted: F | None, price: F) -> bool:
    """Whether an entry is filled at this price: a limit or touch at a better one, a stop at a worse
    one."""
    assert wanted is not None
    lower = (opened.direction == "BUY") == (opened.order_type in ("LIMIT", "IF_TOUCHED"))
    return price <= wanted if lower else price >= wanted
