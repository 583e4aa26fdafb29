"""What a published signal would have earned at the recorded prices. Pure. ADR 0040.

A trade is followed from its publication by the minute bars of the price source that quoted it then,
and by the signals that change it. It can be followed in pieces: the state after one piece is where
the next begins. docs/records.md defines each rule.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from positions.levels import target_fraction

ZERO, ONE, HUNDRED = Decimal(0), Decimal(1), Decimal(100)
MINUTE = timedelta(minutes=1)
RECENT = timedelta(minutes=5)  # an older price is not that of a CLOSE
PLACES = Decimal("1e-10")


@dataclass(frozen=True, slots=True)
class MinutePrices:
    """The prices of one minute, as open, highest, lowest and last bid and ask."""

    minute: datetime
    bid: tuple[Decimal, Decimal, Decimal, Decimal]
    ask: tuple[Decimal, Decimal, Decimal, Decimal]


@dataclass(frozen=True, slots=True)
class Change:
    """A MODIFY, CLOSE or CANCEL of the trade. bid, ask: the market then; None: unknown.

    has_rule: it brings a rule that minute bars cannot follow, such as a trailing stop.
    """

    at: datetime
    kind: str
    sl: Decimal | None = None
    targets: tuple[tuple[Decimal, Decimal], ...] = ()
    price: Decimal | None = None  # new limit, or trigger of a type without a limit
    fraction: Decimal = ONE
    bid: Decimal | None = None
    ask: Decimal | None = None
    valid_until: datetime | None = None  # new end of an entry that waits
    has_rule: bool = False


@dataclass(frozen=True, slots=True)
class Exit:
    """A part of the trade that was closed. fraction: of the whole; reason: sl, tp or close."""

    at: datetime
    price: Decimal
    fraction: Decimal
    reason: str


@dataclass(frozen=True, slots=True)
class TradeState:
    """A trade as far as it was followed.

    sign: 1 of a BUY, -1 of a SELL. price: at which a waiting entry is filled; None: at market.
    comes_back: the entry waits for a better price (a limit, if touched), else for a worse one.
    targets: all of the newest list; targets_done: how many have closed their part, of any list.
    open: the fraction that is open. stop_at_entry: the stop when it was entered, the risk of R.
    mark: the price at which it could be closed at `marked_at`. is_ended: nothing is open or waits.
    lost_at: since when its result is not known, as a price that it needed is not; None: it is.
    closed_before: the fraction that CLOSEs before the entry close once it is entered.
    """

    sign: int
    published_at: datetime
    price: Decimal | None
    comes_back: bool
    valid_until: datetime | None
    sl: Decimal | None
    targets: tuple[tuple[Decimal, Decimal], ...]
    entry: Decimal | None = None
    entered_at: datetime | None = None
    stop_at_entry: Decimal | None = None
    open: Decimal = ZERO
    exits: tuple[Exit, ...] = ()
    mark: Decimal | None = None
    marked_at: datetime | None = None
    ended_at: datetime | None = None
    lost_at: datetime | None = None
    changed_minutes: tuple[datetime, ...] = field(default=())
    targets_done: int = 0
    closed_before: Decimal = ZERO

    @property
    def is_lost(self) -> bool:
        """Whether a price that was needed is not known."""
        return self.lost_at is not None

    @property
    def is_ended(self) -> bool:
        """Whether nothing can change any more."""
        return self.ended_at is not None or self.is_lost


def begin(
    state: TradeState, *, bid: Decimal | None, ask: Decimal | None, is_immediate: bool
) -> TradeState:
    """Return the trade at its publication. bid, ask: the market then; None: not known.

    is_immediate: an entry that is not filled at once is not filled at all (IOC, FOK).
    """
    enters = ask if state.sign > 0 else bid
    leaves = bid if state.sign > 0 else ask
    state = replace(state, changed_minutes=(_minute(state.published_at),))
    if enters is None or leaves is None:
        # A waiting entry is followed by bars; one at market has no price.
        is_lost = state.price is None or is_immediate
        return replace(state, lost_at=state.published_at) if is_lost else state
    is_filled = state.price is None or _is_reached(state, enters)
    if is_filled:
        state = replace(_entered(state, enters, state.published_at), mark=leaves)
        return replace(state, marked_at=state.published_at)
    return replace(state, ended_at=state.published_at) if is_immediate else state


def follow(
    state: TradeState,
    bars: Iterable[MinutePrices],
    changes: Iterable[Change],
    *,
    until: datetime,
) -> TradeState:
    """Return the trade at `until`, after these bars and changes, which come after those before.

    A bar counts at its end. A minute in which the trade was published or changed is not compared
    with its prices and levels, since a part of it lies before the change.
    """
    events: list[tuple[datetime, int, MinutePrices | Change]] = [
        (bar.minute + MINUTE, 0, bar) for bar in bars
    ]
    events += [(change.at, 1, change) for change in changes]
    for at, _, event in sorted(events, key=lambda item: item[:2]):
        if state.is_ended:
            break
        state = _expired(state, at)
        if state.is_ended:
            break
        state = _changed(state, event) if isinstance(event, Change) else _after_bar(state, event)
    return state if state.is_ended else _expired(state, until)


def results(state: TradeState) -> tuple[Decimal | None, Decimal | None]:
    """Return the result in percent of the entry price, and in R; None: there is none.

    What is open counts at its mark. R is the distance from the entry to the stop of that time.
    """
    if state.entry is None or state.is_lost:
        return None, None
    parts = [(one.price, one.fraction) for one in state.exits]
    if state.open:
        parts.append((state.mark if state.mark is not None else state.entry, state.open))
    moved = sum(((price - state.entry) * part * state.sign for price, part in parts), ZERO)
    percent = (moved / state.entry * HUNDRED).quantize(PLACES)
    if state.stop_at_entry is None:
        return percent, None
    risk = (state.entry - state.stop_at_entry) * state.sign
    return percent, (moved / risk).quantize(PLACES) if risk > 0 else None


def as_of(state: TradeState, at: datetime) -> TradeState:
    """Return the trade as it was at an earlier time, without a mark; its levels are the newest."""
    exits = tuple(one for one in state.exits if one.at <= at)
    found = replace(
        state, exits=exits, mark=None, marked_at=None, ended_at=_until(state.ended_at, at),
        lost_at=_until(state.lost_at, at),
    )  # fmt: skip
    if _until(state.entered_at, at) is None:
        return replace(found, entry=None, entered_at=None, stop_at_entry=None, open=ZERO)
    return replace(found, open=ONE - sum((one.fraction for one in exits), ZERO))


def exit_price(state: TradeState) -> Decimal | None:
    """Return the mean price of its exits, by their parts; None: it has none."""
    closed = sum((one.fraction for one in state.exits), ZERO)
    if not closed:
        return None
    value = sum((one.price * one.fraction for one in state.exits), ZERO)
    return (value / closed).quantize(PLACES)


def _until(moment: datetime | None, at: datetime) -> datetime | None:
    return moment if moment is not None and moment <= at else None


def _minute(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)


def _is_reached(state: TradeState, price: Decimal) -> bool:
    """Whether a waiting entry is filled at this ask (of a SELL: bid)."""
    assert state.price is not None
    distance = (price - state.price) * state.sign
    return distance <= 0 if state.comes_back else distance >= 0


def _entered(state: TradeState, price: Decimal, at: datetime) -> TradeState:
    return replace(state, entry=price, entered_at=at, open=ONE, stop_at_entry=state.sl)


def _expired(state: TradeState, at: datetime) -> TradeState:
    until = state.valid_until
    if state.entry is None and until is not None and at > until:
        return replace(state, ended_at=until)
    return state


def _changed(state: TradeState, change: Change) -> TradeState:
    minutes = (*state.changed_minutes[-1:], _minute(change.at))
    state = replace(state, changed_minutes=minutes)
    if change.kind == "MODIFY":
        return _modified(state, change)
    if state.entry is None:  # a CLOSE ends what waits, too
        if change.kind == "CANCEL" or change.fraction == ONE:
            return replace(state, ended_at=change.at)
        stays = (ONE - state.closed_before) * (ONE - change.fraction)
        return replace(state, closed_before=ONE - stays)
    if change.kind == "CANCEL":
        return state  # what is open stays
    price = change.bid if state.sign > 0 else change.ask
    if price is None and state.marked_at and change.at - state.marked_at <= RECENT:
        price = state.mark
    if price is None:
        return replace(state, lost_at=change.at)
    return _exit(state, Exit(change.at, price, state.open * change.fraction, "close"))


def _modified(state: TradeState, change: Change) -> TradeState:
    """Return the trade with a MODIFY's values. A new list of targets goes on at the same number, as
    the engine's positions do; if it is shorter, its last one closes what is left."""
    targets, done = change.targets or state.targets, state.targets_done
    if change.targets and done >= len(targets):
        targets += ((targets[-1][0], ONE),) * (done + 1 - len(targets))
    return replace(
        state,
        sl=change.sl if change.sl is not None else state.sl,
        targets=targets,
        price=change.price if change.price is not None and state.price else state.price,
        valid_until=change.valid_until or state.valid_until,
        lost_at=change.at if change.has_rule else None,
    )


def _exit(state: TradeState, part: Exit) -> TradeState:
    left = state.open - part.fraction
    return replace(
        state, exits=(*state.exits, part), open=left, mark=part.price, marked_at=part.at,
        ended_at=None if left else part.at,
    )  # fmt: skip


def _after_bar(state: TradeState, bar: MinutePrices) -> TradeState:
    at = bar.minute + MINUTE
    enters, leaves = (bar.ask, bar.bid) if state.sign > 0 else (bar.bid, bar.ask)
    is_compared = bar.minute not in state.changed_minutes
    has_entered_now = False
    if state.entry is None:
        if not is_compared or state.price is None:
            return state
        first, high, low, _ = enters
        favourable, adverse = (low, high) if state.sign > 0 else (high, low)
        if not _is_reached(state, favourable if state.comes_back else adverse):
            return state
        # Beyond the price from the start: filled where the minute began.
        price = first if _is_reached(state, first) else state.price
        state, has_entered_now = _entered(state, price, at), True
    if is_compared:
        state = _after_levels(state, leaves, at, with_targets=not has_entered_now)
    if state.is_ended:
        return state
    if has_entered_now and state.closed_before:
        return _exit(state, Exit(at, leaves[3], state.closed_before, "close"))
    return replace(state, mark=leaves[3], marked_at=at)


def _after_levels(
    state: TradeState, leaves: tuple[Decimal, ...], at: datetime, *, with_targets: bool
) -> TradeState:
    """Close at the stop, else at the targets that were reached: of both, the stop came first."""
    first, high, low, _ = leaves
    best, worst = (high, low) if state.sign > 0 else (low, high)
    if state.sl is not None and (worst - state.sl) * state.sign <= 0:
        has_gapped = (first - state.sl) * state.sign <= 0
        price = first if has_gapped else state.sl
        return _exit(state, Exit(at, price, state.open, "sl"))
    while with_targets and state.open and state.targets_done < len(state.targets):
        price, _ = state.targets[state.targets_done]
        if (best - price) * state.sign < 0:
            break
        state = replace(state, targets_done=state.targets_done + 1)
        fraction = target_fraction([part for _, part in state.targets], state.targets_done)
        part = state.open if fraction is None else min(fraction, state.open)
        state = _exit(state, Exit(at, price, part, "tp"))
    return state


def to_json(state: TradeState) -> dict[str, Any]:
    values = {name: _json(value) for name, value in asdict(state).items()}
    if not state.closed_before:
        del values["closed_before"]  # an earlier release, which may run beside this, lacks it
    return values


def from_json(values: dict[str, Any]) -> TradeState:
    """Return the state that `to_json` has stored."""
    amounts = ("price", "sl", "entry", "stop_at_entry", "open", "mark", "closed_before")
    times = ("published_at", "valid_until", "entered_at", "marked_at", "ended_at", "lost_at")
    read: dict[str, Any] = {"lost_at": None, "closed_before": ZERO, **values}
    if read.pop("is_lost", False):  # stored by an earlier version, without its time
        read["lost_at"] = read["published_at"]
    for name in amounts:
        read[name] = None if read[name] is None else Decimal(read[name])
    for name in times:
        read[name] = None if read[name] is None else datetime.fromisoformat(read[name])
    read["targets"] = tuple((Decimal(price), Decimal(part)) for price, part in read["targets"])
    read["changed_minutes"] = tuple(map(datetime.fromisoformat, read["changed_minutes"]))
    read["exits"] = tuple(
        Exit(
            datetime.fromisoformat(one["at"]), Decimal(one["price"]), Decimal(one["fraction"]),
            one["reason"],
        )
        for one in read["exits"]
    )  # fmt: skip
    return TradeState(**read)


def _json(value: Any) -> Any:
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return {name: _json(one) for name, one in value.items()}
    return [_json(one) for one in value] if isinstance(value, list | tuple) else value
