"""Break-even and trailing: where the stop of a position goes. Pure: no database, no clock.

Everything is computed as for a buy: for a sell all prices change their sign. So a higher price is
better, and a stop only ever rises.
"""

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from enum import StrEnum

from common.money import divide
from common.stop_rules import ATR
from common.units import size_of
from signals.symbols import slippage_unit

ZERO = Decimal(0)


class MoveKind(StrEnum):
    """Which part of a rule has moved a stop."""

    BREAK_EVEN = "BREAK_EVEN"
    TRAILING = "TRAILING"


@dataclass(frozen=True, slots=True)
class RuledPosition:
    """An open position with its rule. Prices and `pip`, `tick`, `stops_level`: quote currency.

    targets_done: how many targets have closed their part. at_broker: the broker executes the stop.
    known_stop: the stop when the rule was judged last. water_mark: the best recorded price.
    resumes_beyond: a person or a signal has set the stop, and trailing goes on beyond this price.
    atr: the average true range that counts; set if a unit is ATR. wait: seconds until the stop may
    move again; 0 or less: now. Distances are in their units.
    """

    pair: str
    side: str
    entry_price: Decimal
    sl: Decimal | None
    pip: Decimal
    tick: Decimal
    stops_level: Decimal
    at_broker: bool
    targets_done: int
    break_even_target: int | None
    break_even_profit: Decimal | None
    break_even_offset: Decimal | None
    break_even_unit: str
    break_even_done: bool
    trailing_distance: Decimal | None
    trailing_step: Decimal | None
    trailing_activation: Decimal | None
    trailing_unit: str
    atr: Decimal | None
    min_seconds: int
    wait: float
    known_stop: Decimal | None
    water_mark: Decimal | None
    resumes_beyond: Decimal | None


@dataclass(frozen=True, slots=True)
class Judgement:
    """What follows for a position. stop: its new stop; None: it stays.

    next_price: the price from which the rule acts again; None: none. due_in: seconds after which
    it is judged again without a new price; None: not needed.
    """

    stop: Decimal | None
    kind: MoveKind | None
    break_even_done: bool
    water_mark: Decimal | None
    resumes_beyond: Decimal | None
    next_price: Decimal | None
    due_in: float | None


def distance_in_price(value: Decimal, unit: str, position: RuledPosition) -> Decimal:
    """Return a rule's distance in the quote currency. Percent: of the entry price."""
    if unit == ATR:
        assert position.atr is not None  # the caller judges no rule before it is known
        return value * position.atr
    return price_distance(
        value,
        unit,
        pair=position.pair,
        price=position.entry_price,
        pip=position.pip,
        tick=position.tick,
    )


def price_distance(
    value: Decimal, unit: str, *, pair: str, price: Decimal, pip: Decimal, tick: Decimal
) -> Decimal:
    """Return a distance in the quote currency. unit: any but ATR; '': the usual one of the pair."""
    if unit == "PRICE":
        return value
    return value * size_of(slippage_unit(pair, unit), price=price, pip=pip, tick=tick)


@dataclass(frozen=True, slots=True)
class _Rule:
    """A rule in prices as for a buy. mark: the best price so far, with the new one."""

    entry: Decimal
    stop: Decimal | None
    mark: Decimal
    tick: Decimal
    break_even: Decimal | None  # the level; None: none, or it is done
    starts_at: Decimal | None  # the price from which break-even counts
    is_reached: bool
    distance: Decimal | None
    step: Decimal
    active_from: Decimal | None
    resumes: Decimal | None

    def floor(self, price: Decimal) -> Decimal:
        return divide(price, self.tick).to_integral_value(ROUND_FLOOR) * self.tick

    def break_even_level(self) -> Decimal | None:
        """Return where break-even puts the stop now; None: nowhere."""
        return self.break_even if self.is_reached else None

    def trailing_level(self, ceiling: Decimal | None = None) -> Decimal | None:
        """Return where trailing puts the stop, at most at `ceiling`; None: not a step further."""
        if self.distance is None or self.mark < self.trails_from():
            return None
        level = self.floor(self.mark - self.distance)
        level = level if ceiling is None else min(level, ceiling)
        return level if self.stop is None or level >= self.stop + self.step else None

    def trails_from(self) -> Decimal:
        """Return the least best price at which the stop trails."""
        limits = [self.active_from]
        if self.resumes is not None:
            limits.append(self.resumes + self.step)
        return max((limit for limit in limits if limit is not None), default=self.mark)


def judge(position: RuledPosition, *, best: Decimal, last: Decimal) -> Judgement:
    """Return what a rule does with a position's stop.

    best: the best price at which it could have been closed since it was judged: the highest bid for
    a buy, the lowest ask for a sell. last: that price now. The new stop is better than the present
    one, by a step if it trails. Where the broker executes the stop, it is not nearer to the price
    than the broker accepts; it follows later.
    """
    sign = Decimal(1) if position.side == "BUY" else Decimal(-1)
    rule = _rule_of(position, sign, best)
    ceiling = None
    if position.at_broker:
        ceiling = rule.floor(sign * last - max(position.stops_level, rule.tick))
    wanted = _best_of(rule.break_even_level(), rule.trailing_level())
    stop, kind = None, None
    if wanted is not None and position.wait <= 0:
        level = rule.break_even_level()
        possible = level if level is not None and (ceiling is None or level <= ceiling) else None
        stop, kind = _chosen(possible, rule.trailing_level(ceiling))
    due_in = None
    if wanted is not None and (stop is None or stop < wanted):
        due_in = max(position.wait, float(position.min_seconds))
        if stop is None and position.wait > 0:
            due_in = position.wait
    reaches = rule.break_even is not None and stop is not None and stop >= rule.break_even
    next_price = _next_price(rule, stop)
    return Judgement(
        None if stop is None else sign * stop,
        kind,
        rule.break_even is None or (rule.is_reached and reaches),
        sign * rule.mark,
        None if rule.resumes is None else sign * rule.resumes,
        None if next_price is None else sign * next_price,
        due_in,
    )


def _rule_of(position: RuledPosition, sign: Decimal, best: Decimal) -> _Rule:
    """Return the position's rule with what is known now. A stop set by others stays for now."""

    def in_price(value: Decimal | None, unit: str) -> Decimal:
        return distance_in_price(value or ZERO, unit, position)

    entry, tick = sign * position.entry_price, position.tick
    stop = None if position.sl is None else sign * position.sl
    before = None if position.water_mark is None else sign * position.water_mark
    mark = sign * best if before is None else max(before, sign * best)
    starts_at = None
    if position.break_even_profit is not None:
        starts_at = entry + in_price(position.break_even_profit, position.break_even_unit)
    is_reached = (
        position.break_even_target is not None
        and position.targets_done >= position.break_even_target
    ) or (starts_at is not None and mark >= starts_at)
    has_break_even = starts_at is not None or position.break_even_target is not None
    level: Decimal | None = None
    if has_break_even and not position.break_even_done:
        offset = in_price(position.break_even_offset, position.break_even_unit)
        # Upwards, as `price_rounding.round_level_price`: a tick below would be a loss.
        level = divide(entry + offset, tick).to_integral_value(ROUND_CEILING) * tick
    resumes = None if position.resumes_beyond is None else sign * position.resumes_beyond
    is_set_by_others = position.sl != position.known_stop
    if is_set_by_others:
        resumes = mark if resumes is None else max(resumes, mark)
    is_there = stop is not None and level is not None and stop >= level
    if is_reached and (is_set_by_others or is_there):
        level = None  # it is done
    unit = position.trailing_unit
    step = max(in_price(position.trailing_step, unit) or position.pip, tick)
    is_trailing = position.trailing_distance is not None
    active_from = None
    if position.trailing_activation is not None:
        active_from = entry + in_price(position.trailing_activation, unit)
    return _Rule(
        entry=entry, stop=stop, mark=mark, tick=tick, break_even=level, starts_at=starts_at,
        is_reached=is_reached,
        distance=max(in_price(position.trailing_distance, unit), tick) if is_trailing else None,
        step=divide(step, tick).to_integral_value(ROUND_CEILING) * tick,
        active_from=active_from, resumes=resumes,
    )  # fmt: skip


def _best_of(*levels: Decimal | None) -> Decimal | None:
    return max((level for level in levels if level is not None), default=None)


def _chosen(
    break_even: Decimal | None, trailing: Decimal | None
) -> tuple[Decimal | None, MoveKind | None]:
    """Return the better of both levels, with its kind."""
    if break_even is not None and (trailing is None or break_even >= trailing):
        return break_even, MoveKind.BREAK_EVEN
    return trailing, None if trailing is None else MoveKind.TRAILING


def _next_price(rule: _Rule, moved_to: Decimal | None) -> Decimal | None:
    """Return the price at which the rule acts next, as for a buy; None: at none."""
    prices = []
    if rule.break_even is not None and rule.starts_at is not None and not rule.is_reached:
        prices.append(rule.starts_at)
    if rule.distance is not None:
        stop = rule.stop if moved_to is None else moved_to
        trails_at = rule.trails_from()
        if stop is not None:
            trails_at = max(trails_at, stop + rule.step + rule.distance)
        prices.append(trails_at if trails_at > rule.mark else rule.mark + rule.step)
    return min(prices, default=None)
