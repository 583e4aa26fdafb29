"""Read the statements of an entry, and put each into its place. Pure."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise

from alerts.grammar import sizes, targets
from alerts.grammar.lexicon import END, ENTRY, MOST_MINUTES, NAMES, Kind, Token, kind_of, kinds_of
from alerts.grammar.numbers import read_number
from alerts.grammar.reading import refusal
from alerts.grammar.slots import SIDES, Slots
from alerts.grammar.symbols import symbol_after_side

_TYPES = (Kind.LIMIT, Kind.STOP_ORDER, Kind.STOP_LIMIT, Kind.MARKET)
_UNFINISHED = {*":=@(&/+", "and", "at", "on", "with", "zone", "range"}
# A size with its value: a number behind it is another thing.
_COMPLETE = {"leverage", "leverage_range", "risk", "ratio", "counted", "size"}
# “BUY SIGNAL”, “SELL ORDER”: one phrase, which says the side.
_OF_SIDE = NAMES | {"position"}
_MOST_LOTS = 10
_SILENT = ("mark", "label")
_WAYS = {"from", "to"}


def read_statements(tokens: list[Token]) -> Slots:
    """Return the places of an entry. Raises InvalidInputError for words that are no statement, and
    for a statement that could be several things."""
    slots = Slots(tokens)
    _find_symbols(slots)
    _require_end(slots.tokens)
    for name, start, end in ENTRY.statements(kinds_of(slots.tokens)):
        if start >= len(slots.tokens):
            break
        slots.place, slots.part = start, slots.tokens[start:end]
        if not name:
            raise slots.unread(slots.part[0])
        last, slots.last = slots.last, ""
        handler = HANDLERS.get(name)
        if handler is None:
            raise slots.ambiguous(name)
        slots.last = last
        handler(slots)
        if name not in _SILENT:
            slots.label = ""
            slots.last = slots.last if slots.last == "mode" != last else name
    return slots


def _find_symbols(slots: Slots) -> None:
    """Find the words that their place beside the side shows to be symbols: `BUY KOSPI @ 2650`."""
    found = slots.tokens = list(slots.tokens)
    has_symbol = any(one.kind is Kind.SYMBOL for one in found)
    for place, token in enumerate(found):
        if token.kind is not Kind.WORD:
            continue
        is_behind = place > 0 and found[place - 1].kind in SIDES
        is_before = not has_symbol and place + 1 < len(found) and found[place + 1].kind in SIDES
        if (is_behind or is_before) and (pair := symbol_after_side(token.text)):
            found[place] = replace(token, kind=Kind.SYMBOL, pair=pair)
            slots.word, has_symbol = token.text, True


def _require_end(tokens: list[Token]) -> None:
    """Raise InvalidInputError for a text that has been cut off."""
    words = [one.text.lower() for one in tokens if one.kind is not Kind.LINE]
    is_open = words.count("(") > words.count(")")
    if words and (is_open or words[-1] in _UNFINISHED):
        raise refusal("end", shown="(…" if is_open else words[-1])


def _side(slots: Slots) -> None:
    """Add a side. A second one is only a label's, or it is another trade."""
    side = SIDES[slots.part[0].kind]
    is_again = bool(slots.sides) and side == slots.sides[0]
    if is_again and not (slots.label or slots.before.text == "("):
        raise slots.ambiguous("side_twice")
    slots.sides.append(side)


def _priced_side(slots: Slots) -> None:
    """Take the price of “Buy: 14.20-14.50” or “Buy at 2350”, also a line below “LONG”."""
    is_label = slots.sides == [SIDES[slots.part[0].kind]] and slots.before.kind is Kind.LINE
    if not is_label or slots.entry or Kind.MARKET in slots.types:
        _side(slots)
    slots.part, slots.place = slots.part[1:], slots.place + 1
    _entry(slots)


def _symbol(slots: Slots) -> None:
    if slots.part[0].pair not in slots.pairs:
        slots.pairs.append(slots.part[0].pair)


def _type(slots: Slots) -> None:
    """Add the kind of the order. Behind the levels “CMP” can begin “CMP 1.0850”."""
    token = slots.part[0]
    if token.kind is Kind.MARKET:
        following = slots.tokens[slots.place + 1 :]
        ahead = next((one.text for one in following if one.text != "!"), "")
        is_described = slots.before.kind is Kind.DECOR or ahead in (":", "=")
        if token.text == "market" and is_described:
            raise slots.ambiguous("market_as_label")
        if slots.entry and slots.has_levels and not slots.label:
            raise slots.ambiguous("market_behind_levels")
    slots.types.append(token.kind)


def _entry_at_market(slots: Slots) -> None:
    slots.is_market_entry |= slots.after().kind is Kind.MARKET


def _described_entry(slots: Slots) -> None:
    """Skip “Entry: BUY …” and “LONG entry BTCUSDT”: another statement has the price."""
    if slots.part[0].kind is Kind.MARKET:
        _type(slots)


def _entry(slots: Slots) -> None:
    """Take a price behind a label, also that of “Entry 1: 1.0850”."""
    part = list(slots.part)
    place = next(place for place, one in enumerate(part) if one.kind is Kind.NUMBER)
    if part[place + 1 : place + 2] and part[place + 1].text in (")", ":", ".") and (
        part[place + 2 : place + 3] and part[place + 2].kind is Kind.NUMBER
    ):  # fmt: skip
        place += 2
    _take_price(slots, part[place:])


def _signal_number(slots: Slots) -> None:
    """Note the number of “Signal 128” in the first line; elsewhere it may be the price."""
    number = slots.numbers[0]
    if not slots.place and slots.part[0].text in NAMES and number.text.isdigit():
        sizes.signal_number(slots)
        return
    if slots.part[0].kind is Kind.LABEL:
        raise slots.ambiguous("number_of_label")
    slots.place, slots.part = slots.place + slots.part.index(number), [number]
    _bare(slots)


def _bare(slots: Slots) -> None:
    """Take a number without a label: the price, if it stands behind the side and the symbol."""
    is_first = not (slots.entry or slots.has_levels)
    is_beside = slots.before.kind in (Kind.SYMBOL, *SIDES)
    if not (slots.sides and slots.pairs) or slots.entry or not (is_first or is_beside):
        raise slots.unlabelled()
    if not _is_own_number(slots):
        slots.part = [_word_before(slots), *slots.numbers[:1]]
        raise slots.ambiguous("number_of_label")
    _take_price(slots, slots.part)
    slots.is_bare = True


def _take_price(slots: Slots, part: list[Token]) -> None:
    """Take an entry price, or the ends of a range. part: from the first number or its bracket."""
    numbers = [place for place, one in enumerate(part) if one.kind is Kind.NUMBER]
    is_range = len(numbers) > 1 and part[numbers[0] + 1].text.lower() in ("-", "to", "and")
    joint = slots.after().text in (",", "/", "&") and slots.after(1).kind is Kind.NUMBER
    shares = [one.text.rstrip("% ") for before, one in pairwise(part)
              if one.kind is Kind.PERCENT and before.text not in ("+", "-")]  # fmt: skip
    if {one.text.lower() for one in slots.part} & _WAYS:
        _require_levels(slots)
    if slots.entry or joint or any(read_number(one) != 100 for one in shares):
        raise slots.ambiguous("several_entries")
    slots.entry = [part[place].text for place in numbers[: 2 if is_range else 1]]
    slots.entry_place = slots.place + slots.part.index(part[numbers[0]])
    slots.describe(part, slots.entry[-1])


def _require_levels(slots: Slots) -> None:
    """Raise InvalidInputError for “from 2350 to 2330” without a stop and a target: it can be the
    way that the price is to go, and “long from 2350” a trade that is there."""
    kinds = {one.kind for one in slots.tokens}
    if not kinds >= {Kind.SL, Kind.TP}:
        raise slots.unread(next(one for one in slots.part if one.text.lower() in _WAYS))


def _word_before(slots: Slots) -> Token:
    """Return the nearest word before a number, without marks and asides that describe."""
    return next(_words_before(slots), END)


def _words_before(slots: Slots) -> Iterator[Token]:
    depth = 0
    for one in reversed(slots.tokens[: slots.place]):
        depth += (one.text == ")") - (one.text == "(")
        is_aside = depth > 0 and kind_of(one) == "DECOR"
        if one.kind is not Kind.LINE and one.text not in tuple("(),|:.;!-") and not is_aside:
            yield one


def _is_own_number(slots: Slots) -> bool:
    """Whether a number without a label is a price, and cannot belong to the word before it: the
    length of a chart's candles, a number of lots, or that of the signal."""
    number = slots.numbers[0]
    starts_line = slots.before.kind is Kind.LINE
    is_whole = number.text.isdigit()
    is_small = is_whole and int(number.text) <= MOST_MINUTES
    if slots.last in _COMPLETE:
        return True
    if slots.last in ("frame", "chart") and (starts_line or not is_whole):
        return True
    before = _word_before(slots)
    if before.kind in (*SIDES, *_TYPES):
        return True
    if before.kind is Kind.SYMBOL:
        is_aside = slots.part[0].text == "(" and len(slots.numbers) == 1
        return not (is_aside and is_small) or number.is_money
    if before.text in _OF_SIDE and _owner(slots, before).kind in SIDES:
        return not is_small and read_number(number.text) >= _MOST_LOTS
    is_chart = kind_of(before) == "CHART"
    is_description = kind_of(before) == "DECOR" or is_chart
    return before.kind is Kind.DECOR and (
        not is_whole or (is_description and (not is_small or (starts_line and is_chart)))
    )


def _owner(slots: Slots, word: Token) -> Token:
    """Return what stands before a word that is before the statement."""
    places = (place for place in range(slots.place) if slots.tokens[place] is word)
    place = max(places, default=0)
    return slots.tokens[place - 1] if place else END


def _skip(_: Slots) -> None:
    """Skip a mark between statements."""


def _label(slots: Slots) -> None:
    slots.label = slots.part[0].text


HANDLERS: dict[str, Callable[[Slots], None]] = {
    **targets.HANDLERS, **sizes.HANDLERS, "side": _side, "priced_side": _priced_side,
    "symbol": _symbol, "type": _type, "market_label": _skip, "heading": _skip,
    "entry_at_market": _entry_at_market, "described_entry": _described_entry, "entry": _entry,
    "at_price": _entry, "signal_number": _signal_number,
    "bare": _bare, "mark": _skip, "label": _label,
}  # fmt: skip
