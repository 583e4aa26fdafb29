"""What an order of a charting platform's strategy means: entry, add, reduce, reverse or flat. Pure.

A strategy trades one position of its own and sends, for each filled order, its side and the
position before and after. `sell` alone is ambiguous: it ends a long trade, or a part of one, or
opens a short one. The table holds every possible order. If the alert leaves only one meaning, that
is it; otherwise the order is refused. Nothing is guessed with people's money.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_UP, Context, Decimal
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

from alerts.grammar.reading import refusal
from common.errors import InvalidInputError
from common.money import plain, read_decimal
from common.reason_codes import Code
from signals.models import Direction
from signals.reading.fields import Fields


class MarketPosition(StrEnum):
    """A strategy's position, in the platform's words."""

    LONG = "long"
    SHORT = "short"
    FLAT = "flat"


class Change(StrEnum):
    """What an order does to a strategy's position."""

    ENTRY = "entry"
    ADD = "add"
    REDUCE = "reduce"
    REVERSE = "reverse"
    FLAT = "flat"


class Case(NamedTuple):
    """One possible order: the position before, the side of the order, the position after."""

    before: MarketPosition
    action: Direction
    after: MarketPosition
    change: Change
    reading: str


L, S, F = MarketPosition.LONG, MarketPosition.SHORT, MarketPosition.FLAT
BUY, SELL = Direction.BUY, Direction.SELL
TABLE = (
    Case(F, BUY, L, Change.ENTRY, "open a long trade"),
    Case(L, BUY, L, Change.ADD, "add to a long trade"),
    Case(S, BUY, S, Change.REDUCE, "close a part of a short trade"),
    Case(S, BUY, F, Change.FLAT, "close a short trade"),
    Case(S, BUY, L, Change.REVERSE, "close a short trade and open a long one"),
    Case(F, SELL, S, Change.ENTRY, "open a short trade"),
    Case(S, SELL, S, Change.ADD, "add to a short trade"),
    Case(L, SELL, L, Change.REDUCE, "close a part of a long trade"),
    Case(L, SELL, F, Change.FLAT, "close a long trade"),
    Case(L, SELL, S, Change.REVERSE, "close a long trade and open a short one"),
)
_SIDE = {MarketPosition.LONG: Direction.BUY, MarketPosition.SHORT: Direction.SELL}
# Sizes are decimal texts of floating-point numbers: within this relative distance they are equal.
_NEAR = Decimal("1e-9")
_FRACTION = Context(prec=60, rounding=ROUND_UP)
_LAST_PLACE = Decimal("1e-18")


@dataclass(frozen=True, slots=True)
class StrategyOrder:
    """What an alert states about an order; None: not stated. Sizes are not negative."""

    action: Direction | None = None
    before: MarketPosition | None = None
    after: MarketPosition | None = None
    contracts: Decimal | None = None
    size_before: Decimal | None = None
    size_after: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Meaning:
    """What to do with the feed's trades.

    closes: the side of the trades to close, by `fraction` of each; None: both sides, or none.
    opens: the side of the trade to open.
    """

    change: Change
    closes: Direction | None = None
    opens: Direction | None = None
    fraction: Decimal = Decimal(1)


def meaning_of(order: StrategyOrder) -> Meaning:
    """Return the one meaning that an order can have.

    Raises InvalidInputError ALERT_CONTRADICTORY (no order fits), ALERT_AMBIGUOUS (several fit),
    FIELD_REQUIRED (it closes a part of unknown size).
    """
    possible = [case for case in TABLE if _agrees(case, order)]
    if len(possible) > 1:
        sizes = (order.contracts, order.size_before, order.size_after)
        possible = [case for case in possible if _SIZES[case.change](*sizes)]
    if not possible:
        raise InvalidInputError(
            Code.ALERT_CONTRADICTORY, _stated_facts(order), field="market_position"
        )
    case = possible[0]
    if any(_effect(other) != _effect(case) for other in possible):
        if len(possible) == 2 and all(other.change == Change.FLAT for other in possible):
            return Meaning(Change.FLAT)
        readings = ", or ".join(dict.fromkeys(case.reading for case in possible))
        detail = f"{_stated_facts(order)} That could {readings}."
        raise InvalidInputError(Code.ALERT_AMBIGUOUS, detail, field="market_position")
    closes = _SIDE.get(case.before) if case.change in _CLOSING else None
    opens = case.action if case.change in _OPENING else None
    fraction = _fraction(order) if case.change == Change.REDUCE else Decimal(1)
    return Meaning(case.change, closes, opens, fraction)


_OPENING = {Change.ENTRY, Change.ADD, Change.REVERSE}
_CLOSING = {Change.REDUCE, Change.REVERSE, Change.FLAT}


def _agrees(case: Case, order: StrategyOrder) -> bool:
    stated = (order.before, order.action, order.after)
    return all(fact is None or fact == value for fact, value in zip(stated, case[:3], strict=True))


def _effect(case: Case) -> tuple[Change, MarketPosition, Direction]:
    return case.change, case.before, case.action


def _is_less(a: Decimal | None, b: Decimal | None) -> bool:
    """Whether a may be below b: it is, or one of them is not stated."""
    return a is None or b is None or b - a > _NEAR * max(abs(a), abs(b))


def _is_same(a: Decimal | None, b: Decimal | None) -> bool:
    return a is None or b is None or abs(a - b) <= _NEAR * max(abs(a), abs(b))


def _rise(*sizes: Decimal | None) -> bool:
    return all(_is_less(one, other) for one, other in pairwise(sizes))


ZERO = Decimal(0)
# How the sizes of each kind of order must relate: its contracts, those before and those after.
_Sizes = Callable[[Decimal | None, Decimal | None, Decimal | None], bool]
_SIZES: dict[Change, _Sizes] = {
    Change.ENTRY: lambda order, before, after: _is_same(before, ZERO) and _is_same(order, after),
    Change.ADD: lambda order, before, after: _rise(ZERO, before, after) and _is_less(order, after),
    Change.REDUCE: lambda order, before, after: (
        _rise(ZERO, after, before) and _is_less(order, before)
    ),
    Change.FLAT: lambda order, before, after: _is_same(after, ZERO) and _is_same(order, before),
    Change.REVERSE: lambda order, before, after: (
        _rise(ZERO, before, order) and _rise(ZERO, after, order)
    ),
}


def _fraction(order: StrategyOrder) -> Decimal:
    """Return the share of the earlier position that an order closes.

    It is rounded up at the last stored place: a third of 3,000 is 1,000 and not a step less.
    """
    before, after, closed = order.size_before, order.size_after, order.contracts
    if before is None and after is not None and closed is not None:
        before = after + closed
    if closed is None and before is not None and after is not None:
        closed = before - after
    if before is None or closed is None:
        raise refusal("part_of_unknown_size")
    if not ZERO < closed < before:
        raise refusal("no_part_of_position", closed=closed, before=before)
    share = _FRACTION.divide(closed, before)
    return min(_FRACTION.quantize(share, _LAST_PLACE), Decimal(1))


def _stated_facts(order: StrategyOrder) -> str:
    facts = {
        "position before:": order.before, "order:": order.action and order.action.lower(),
        "position after:": order.after,
    }  # fmt: skip
    stated = ", ".join(f"{name} {value}" for name, value in facts.items() if value is not None)
    return f"It states {stated}." if stated else "It states neither order nor position."


# --- its fields in an alert

POSITIONS = ("market_position", "prev_market_position", "position_size")
_SIZES_OF = ("contracts", "prev_market_position_size", "market_position_size", "position_size")
# A floating-point number as JavaScript, Python and Java write it, within the range of a size.
_FLOAT = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,40})?([eE]([+]?1?[0-9]|-[0-9]{1,2}))?", re.ASCII)


def read_strategy(fields: Fields) -> StrategyOrder:
    """Read side, positions and sizes; the sign of `position_size` also gives the position."""
    closed, before, stated, signed = (_size(fields, name) for name in _SIZES_OF)
    after = _position(fields, "market_position")
    if signed is not None:
        by_size = F if not signed else L if signed > 0 else S
        if after not in (None, by_size):
            detail = f"It says {by_size}, and market_position or sentiment {after}."
            fields.add_error(Code.ALERT_CONTRADICTORY, "position_size", detail)
        after = by_size
        stated = abs(signed) if stated is None else stated
    return StrategyOrder(
        action=read_side(fields, fields.one_name("action", "direction", "side")),
        before=_position(fields, "prev_market_position"), after=after, contracts=closed,
        size_before=before, size_after=stated,
    )  # fmt: skip


def read_side(fields: Fields, name: str) -> Direction | None:
    """Read buy or sell; None: not stated, or a fault that is added to the fields."""
    text = fields.text(name, 40)
    if not text or _is_unfilled(fields, name, text):
        return None
    if text.upper() in Direction.values:
        return Direction(text.upper())
    detail = f"{text!r} is not buy or sell, the values of {{{{strategy.order.action}}}}."
    fields.add_error(Code.FIELD_INVALID, name, detail)
    return None


def _is_unfilled(fields: Fields, name: str, text: str) -> bool:
    """Whether a placeholder was not filled in, which is added to the fields as a fault."""
    if "{{" not in text:
        return False
    detail = (
        f"{text[:60]!r} was not filled in: only the alert of a strategy has an order and a "
        "position. For an indicator, write the action itself (docs/tradingview.md)."
    )
    fields.add_error(Code.FIELD_INVALID, name, detail)
    return True


def _position(fields: Fields, name: str) -> MarketPosition | None:
    text = fields.text(name, 60)
    if not text or _is_unfilled(fields, name, text):
        return None
    if text.lower() in {position.value for position in MarketPosition}:
        return MarketPosition(text.lower())
    fields.add_error(Code.FIELD_INVALID, name, f"{text!r} is not one of long, short, flat.")
    return None


def _size(fields: Fields, name: str) -> Decimal | None:
    """Read a size; `NaN` means that the platform has none.

    It may be written as its language does (`1e-7`, twenty places), since sizes are only compared
    with each other.
    """
    value = fields.raw(name)
    text = value.strip() if isinstance(value, str) else ""
    if value is None or text.lower() == "nan" or (isinstance(value, str) and not text):
        return None
    if _is_unfilled(fields, name, text):
        return None
    try:
        number = Decimal(text) if _FLOAT.fullmatch(text) else read_decimal(value, field=name)
    except InvalidInputError as error:
        fields.add_error(error.code, name, error.detail)
        return None
    if number < 0 and name != "position_size":
        fields.add_error(Code.FIELD_INVALID, name, f"{plain(number)} must not be below 0.")
        return None
    return number
