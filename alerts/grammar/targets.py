"""Read the stops and targets of an entry into its slots. Pure."""

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import pairwise

from alerts.grammar.lexicon import END, PIPS, Kind, Token
from alerts.grammar.numbers import read_number
from alerts.grammar.reading import Distance, Unit, refusal
from alerts.grammar.slots import Slots, TargetText

_DECIMALS = 2  # of a price that a whole number may stand beside in a list
_JOINTS = (*",;/|&-@", "and")


def read_pips(text: str, level: str) -> Decimal:
    """Return a number of pips. Raises InvalidInputError ALERT_AMBIGUOUS for one with the decimals
    of a price: SL 1.0800 pips."""
    number = read_number(text, field=level)
    if len(text.replace(",", "").partition(".")[2]) >= _DECIMALS:
        raise refusal("pips", field=level, text=text)
    return number


def _one_stop(slots: Slots) -> None:
    """Raise InvalidInputError for a second stop, and for “stop” where it could be a stop order to
    enter."""
    is_behind_entry = bool(slots.entry) or Kind.MARKET in slots.types
    if slots.part[0].kind is Kind.STOP and not is_behind_entry:
        raise slots.ambiguous("stray_stop")
    if slots.sl or slots.has_distance("sl"):
        raise refusal("one_stop")


def labelled_stop(slots: Slots) -> None:
    """Take the stop: `SL 1.0800`, `Stop Targets: 1) 63000`."""
    _one_stop(slots)
    part = slots.part
    place = next(place for place, one in enumerate(part) if one.kind is Kind.NUMBER)
    if part[place - 1].text != "(" and len(part) > place + 2 and part[place + 1].text in (")", "."):
        place += 2 if part[place + 2].kind is Kind.NUMBER else 3
    slots.money = part[place].text if part[place].is_money else slots.money
    slots.sl = part[place].text
    slots.describe(part[place:], slots.sl)
    shares = [one.text for before, one in pairwise(part)
              if one.kind is Kind.PERCENT and before.text != "+"]  # fmt: skip
    is_signed = any(before.text == "(" and after.text == "-"
                    for before, after in pairwise(part))  # fmt: skip
    if shares and not is_signed and read_number(shares[0].rstrip("% ")) != 100:
        raise slots.ambiguous("stop_of_share")


def stop_distance(slots: Slots) -> None:
    _one_stop(slots)
    _distance(slots, "sl")


def target_distance(slots: Slots) -> None:
    if slots.targets or slots.has_distance("tp") or slots.part[0].index > 1:
        raise refusal("target_distance")
    _distance(slots, "tp")


def _distance(slots: Slots, level: str) -> None:
    glued = [match[1] for one in slots.part if (match := PIPS.fullmatch(one.text))]
    text = glued[0] if glued else slots.numbers[0].text
    slots.distances.append(Distance(level, read_pips(text, level), Unit.PIPS))


def line_number(slots: Slots) -> None:
    """Skip the number of a line: “1) TP1: 1.0900”."""
    if not (slots.before.kind in (Kind.LINE, Kind.DECOR) or slots.before.text in tuple(",;:|")):
        raise slots.unlabelled()


def numbered_target(slots: Slots) -> None:
    _require_next(slots, slots.part[0].index)
    _take(slots, slots.part[1:])


def spaced_target(slots: Slots) -> None:
    """Take “TP 1: 1.0900”, and “TP 1 1.0900” if that is no list of two."""
    number, rest = slots.part[1].text, slots.part[2:]
    is_apart = rest[0].text not in (":", ")", "=", "@", "at", ".")
    price = next(one for one in rest if one.kind in (Kind.NUMBER, Kind.OPEN_END))
    if is_apart and price.kind is Kind.NUMBER:
        is_short = rest[0].text == "-" and len(price.text) <= _DECIMALS
        if is_short or not _has_digits(slots, price.text):
            raise refusal("spaced_target", number=number, text=price.text)
        if _is_list(slots, number, price.text):
            raise slots.ambiguous("list_of_targets")
    if is_apart and price.kind is Kind.OPEN_END and number == "1":
        raise slots.unread(price)
    _require_next(slots, int(number))
    _take(slots, rest)


def listed_targets(slots: Slots) -> None:
    """Take the targets of a list with numbers: `1) 3200 2) 3300`, or `1. 3200` a line."""
    part, kept, mark = slots.part[1:], list[Token](), ""
    while part[0].kind is not Kind.NUMBER:
        part.pop(0)
    expected = len(slots.targets) + 1
    while part:
        is_item = part[0].text == str(expected) and len(part) > 2 and part[1].text in tuple(").:-")
        if is_item and part[2].kind in (Kind.NUMBER, Kind.OPEN_END):
            mark = mark or part[1].text
            if part[1].text != mark:
                raise slots.unlabelled(part[2])
            kept.append(Token(Kind.MARK, ","))
            part, expected = part[2:], expected + 1
        kept.append(part.pop(0))
    if not mark:
        raise slots.unlabelled(slots.numbers[0])
    _take(slots, kept)


def targets(slots: Slots) -> None:
    """Take a target, or several with marks, gaps or lines between."""
    part = slots.part[1:]
    at = [place for place, one in enumerate(part) if one.text == "@"]
    if len(at) > 1 and not slots.entry:  # the second one can be the price of the entry
        raise slots.unlabelled(part[at[-1] + 1])
    if at and part[0].text != "@" and part.index(slots.numbers[0]) < at[-1]:
        raise slots.ambiguous("several_entries")
    _take(slots, part)


def dashed_targets(slots: Slots) -> None:
    _take(slots, slots.part[1:])


def _take(slots: Slots, part: Sequence[Token]) -> None:
    """Take the targets of a list: prices, and the shares behind them."""
    if slots.has_distance("tp"):
        raise refusal("take")
    before, depth, count = END, 0, 0
    for place, token in enumerate(part):
        depth += (token.text == "(") - (token.text == ")")
        after = part[place + 1] if place + 1 < len(part) else END
        is_aside = (
            after.kind is Kind.PIPS
            or after.text == "points"
            or (depth and (before.text in ("+", "-", ":") or after.text == ":"))
        )
        if token.kind is Kind.OPEN_END or (token.kind is Kind.NUMBER and not is_aside):
            if count and before.text not in _JOINTS:
                _require_alike(slots, token, at_most=int(before.kind is Kind.LINE))
            slots.money = token.text if token.is_money else slots.money
            count += 1
            slots.targets.append(TargetText(token.text if token.kind is Kind.NUMBER else ""))
        elif token.kind is Kind.PERCENT and not is_aside:
            slots.targets[-1].share = token.text.rstrip("% ")
        before = token
    slots.describe(list(part))


def _require_alike(slots: Slots, token: Token, *, at_most: int) -> None:
    """Raise InvalidInputError for a number behind a gap that is not written as the target before
    it. at_most: by how many digits it may be longer or shorter."""
    numbers = [re.split("[.,]", one) for one in (slots.targets[-1].price, token.text)]
    digits, decimals = ([len(one[part]) for one in numbers] for part in (0, -1))
    differs = len(numbers[0]) != len(numbers[1]) or decimals[0] != decimals[1]
    is_alike = token.kind is Kind.NUMBER and bool(slots.targets[-1].price)
    is_alike &= not (differs and min(digits) < 3) and abs(digits[0] - digits[1]) <= at_most
    if not (is_alike and (digits[1] > 1 or "." in token.text)):
        raise slots.unlabelled(token)


def _require_next(slots: Slots, index: int) -> None:
    if index != len(slots.targets) + 1:
        raise refusal("next", index=index, shown=len(slots.targets) + 1)


def _has_digits(slots: Slots, text: str) -> bool:
    """Whether a number has so many digits before its point as the prices before it."""
    digits = {len(re.split("[.,]", price)[0]) for price in slots.prices}
    return digits == {len(re.split("[.,]", text)[0])}


def _is_list(slots: Slots, number: str, price: str) -> bool:
    """Whether the number of a target could be the first of two targets, as in “@ 0.92 TP 1 1.2”: it
    is on the way from the price before it, and no other target has a number."""
    known = [one.price for one in slots.targets[-1:]] or slots.entry or [slots.sl]
    if not known[-1] or len(price.partition(".")[2]) > _DECIMALS:
        return False
    start, one, other = (read_number(text, field="targets") for text in (known[-1], number, price))
    others = (place for place in range(len(slots.tokens)) if place != slots.place)
    is_on_way = start < one < other or start > one > other
    return is_on_way and not any(_is_numbered(slots, place) for place in others)


def _is_numbered(slots: Slots, place: int) -> bool:
    token, number, after = [*slots.tokens[place : place + 3], END, END][:3]
    is_small = bool(re.fullmatch("[1-9]", number.text)) and after.kind is not Kind.LINE
    return token.kind is Kind.TP and (token.index > 0 or is_small)


HANDLERS: dict[str, Callable[[Slots], None]] = {
    one.__name__: one
    for one in (labelled_stop, stop_distance, target_distance,
                line_number, numbered_target, spaced_target, listed_targets, targets,
                dashed_targets)
}  # fmt: skip
