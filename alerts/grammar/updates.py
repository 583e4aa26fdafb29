"""Instructions about a trade that is open: “SL to BE”, “close half”, “cancel”. Pure.

Only imperatives of the grammar are read; a report (“TP1 hit”) has no effect, and alone it is
refused. A message has one symbol at most.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from alerts.grammar.levels import is_share, require_magnitude
from alerts.grammar.lexicon import LEXICON, Kind, Token
from alerts.grammar.notation import Grammar, Statement, rules_of
from alerts.grammar.numbers import (
    mixed_separators,
    read_number,
    thousands_with_point,
    with_clear_numbers,
)
from alerts.grammar.reading import ONE, AlertUpdate, Dialect, Note, Reading, refusal
from alerts.grammar.shares import read_reduction, read_share, unread_instruction
from signals.models import Direction
from signals.reading.draft import Target
from signals.reading.fields import read_time

_CLASSES = {"SMALL": ("ONE", "DIGIT"), "NUMBER": ("ONE", "DIGIT", "PRICE")}
GRAMMAR = Grammar(rules_of((Path(__file__).parent / "update.grammar").read_text("utf-8")), _CLASSES)
_VERBS = frozenset(LEXICON["updates"]["verbs"])
_LEFT_OUT = frozenset(LEXICON["updates"]["left_out"])
_PREPOSITIONS = {"on", "of", "for", "in"}
_DIRECTED = {"raise", "lower", "tighten"}
_SEPARATORS = {*",;.!&+|\n", "and", "then"}
_THING = re.compile("(?:trade|position|order)s?")
_TARGET, _PIPS = re.compile("(?:tp|target)[1-9]"), re.compile(r"[0-9]+(?:\.[0-9])?pips?")
_PLAIN = re.compile(r"[0-9]+(?:[.,][0-9]+)*")
_BELOW_TEN_THOUSAND = {"BNB", "BCH"}
_SIDES = {
    **dict.fromkeys(("long", "longs", "buy", "buys"), Direction.BUY),
    **dict.fromkeys(("short", "shorts", "sell", "sells"), Direction.SELL),
}
_LEVELS = ("new_stop", "new_target", "level_alone")
_END = Token(Kind.LINE, "")


def is_update(tokens: list[Token]) -> bool:
    """Whether a text has a word of these instructions, which no entry has."""
    ends = (Kind.NUMBER, Kind.LEVERAGE)  # “1.0840 to 1.0860” is a range
    around = zip([_END, *tokens], tokens, [*tokens[1:], _END], strict=False)
    return any(
        (
            token.text.lower() in _VERBS
            and not (token.text.lower() == "to" and before.kind in ends and after.kind in ends)
        )
        or (token.text.lower() == "new" and after.kind in (Kind.SL, Kind.TP))
        for before, token, after in around
    )


def read_update(tokens: list[Token], sent_at: str = "") -> Reading:
    """Return the instruction of a text. Raises InvalidInputError."""
    pair = _pair_of(tokens)
    _require_one_sentence(tokens)
    words = list(_words(with_clear_numbers(tokens)))
    found = _instructions(words)
    _require_clear_levels(pair, [one.words[-1] for one in found if one.name in _LEVELS])
    update = AlertUpdate(pair=pair)
    reports = [one for one in found if one.name in ("report", "gain")]
    for one in found:
        if one not in reports:
            update = EFFECTS[one.name](update, one)
    notes = tuple(Note(str(one), "a report changes nothing") for one in reports)
    if update == AlertUpdate(pair=pair):
        raise refusal("only_report")
    if any(one.name == "close" and _is_of_all(one.words, pair) for one in found):
        return _close_all(update, len(found) - len(reports), notes, sent_at)
    require_magnitude(pair, update.prices)
    if sent_at:
        update = replace(update, sent_at=read_time(sent_at))
    return Reading(Dialect.TEXT_UPDATE, update=update, notes=notes)


def _pair_of(tokens: list[Token]) -> str:
    """Return the symbol of an update; '' for none. Raises InvalidInputError for several symbols, a
    price in dollars, and a text that is cut off."""
    pairs = list(dict.fromkeys(token.pair for token in tokens if token.kind is Kind.SYMBOL))
    if len(pairs) > 1:
        raise refusal("symbols_of_update", *pairs)
    if money := next((token for token in tokens if token.is_money), None):
        raise refusal("money_of_update", text=money.text)
    last = next((one.text.lower() for one in reversed(tokens) if one.kind is not Kind.LINE), "")
    if last in ("and", "then", "&", "+", "to", "at"):
        raise refusal("update_cut_off", last=last)
    return pairs[0] if pairs else ""


def _require_one_sentence(tokens: list[Token]) -> None:
    """Raise InvalidInputError for “close EURUSD BUY now”, which may close the buy, or close and
    buy."""
    for symbol, side, now in zip(tokens, tokens[1:], tokens[2:], strict=False):
        is_side = side.kind in (Kind.BUY, Kind.SELL) and side.text in ("buy", "sell")
        if symbol.kind is Kind.SYMBOL and is_side and now.kind is Kind.MARKET:
            raise refusal("one_sentence", text=symbol.text, text_2=side.text, text_3=now.text)


def _words(tokens: list[Token]) -> Iterator[str]:
    """Yield the words of a message in small letters, without its symbol and fillers."""
    for before, token in pairwise([_END, *tokens]):
        if " " in token.text and before.text == token.text:
            continue  # “buy limit” is two tokens of the same words
        word = token.text.lower()
        if token.kind is Kind.SYMBOL or word in _LEFT_OUT or word in (":", "-"):
            continue
        if word in _PREPOSITIONS and _is_of_trade(tokens, token):
            continue  # “on close” is no close
        yield from [word.replace(" ", "")] if token.kind is Kind.PERCENT else _split(word)


def _split(word: str) -> list[str]:
    return [word] if word == "\n" else word.split()


def _is_of_trade(tokens: list[Token], preposition: Token) -> bool:
    """Whether the trade follows a preposition: “on EURUSD”, “of the position”."""
    place = next(place for place, one in enumerate(tokens) if one is preposition)
    after = [token for token in tokens[place + 1 :] if token.text.lower() != "the"]
    return bool(after) and (
        after[0].kind is Kind.SYMBOL or bool(_THING.fullmatch(after[0].text.lower()))
    )


def _kind_of(word: str) -> str:
    if word in GRAMMAR.letters:
        return word
    if _PLAIN.fullmatch(word):
        is_small = len(word) == 1 and word != "0"
        return "PRICE" if not is_small else "ONE" if word == "1" else "DIGIT"
    if word.endswith("%"):
        return "PERCENT"
    if _TARGET.fullmatch(word):
        return "TP_N"
    return "LINE" if word == "\n" else "PIPS_OF" if _PIPS.fullmatch(word) else "WORD"


class _Instruction:
    """An instruction: the name of its rule and its words."""

    def __init__(self, statement: Statement, words: list[str]) -> None:
        self.name, self.words = statement.name, words[statement.start : statement.end]

    def __str__(self) -> str:
        return " ".join(self.words)

    @property
    def side(self) -> Direction | None:
        return next((_SIDES[one] for one in self.words if one in _SIDES), None)

    @property
    def share(self) -> str:
        """The words of its share, `half`, `1 / 3`, `30%`; '' for none."""
        for place, one in enumerate(self.words):
            if one == "/":
                return " ".join(self.words[place - 1 : place + 2])
            if one in ("half", "third", "quarter") or one.endswith("%"):
                return one
            if one in ("thirds", "quarters"):
                return f"{self.words[place - 1]} {one}"
        return ""


def _instructions(words: list[str]) -> list[_Instruction]:
    """Return the instructions of a message. Raises InvalidInputError for words that are none."""
    found = list[_Instruction]()
    kinds = [*map(_kind_of, words), "LINE"]
    for statement in GRAMMAR.statements(kinds):
        if statement.start >= len(words):
            break
        one = _Instruction(statement, words)
        is_late_gain = one.name == "gain" and bool(found)
        if not one.name or is_late_gain or (one.name == "level_alone" and not _has_level(found)):
            raise unread_instruction(_clause(words[statement.start :]))
        if one.name != "mark":
            found.append(one)
    return found


def _clause(words: list[str]) -> str:
    """Return the first instruction of these words, up to a mark or the next level."""
    for place, (before, word) in enumerate(pairwise(words), 1):
        is_level = word in ("sl", "s/l", "stop", "tp", "t/p", "target") and before[:1].isdigit()
        if word in _SEPARATORS or is_level:
            return " ".join(words[:place])
    return " ".join(words)


def _has_level(found: list[_Instruction]) -> bool:
    return any(one.name in ("new_stop", "new_target") for one in found)


def _require_clear_levels(pair: str, levels: list[str]) -> None:
    """Raise InvalidInputError for levels whose point or comma may be of thousands. Without a symbol
    the trade decides: a level must be near its prices."""
    error = mixed_separators(levels)
    if pair and not error and all(_may_be_thousands(pair, level) for level in levels):
        error = thousands_with_point(pair, levels, field="sl")
    if error:
        raise error


def _may_be_thousands(pair: str, level: str) -> bool:
    """Whether 195.250 of a symbol could be 195250: no share, and no BNB, is above 10,000."""
    base = pair.partition("/")[0]
    is_below = is_share(base) or base in _BELOW_TEN_THOUSAND
    return len(level.partition(".")[0]) == 1 or not is_below


def _is_of_all(words: list[str], pair: str) -> bool:
    """Whether a close is about every trade, not about the whole of one."""
    is_plural = any(one.endswith("s") and (one in _SIDES or _THING.fullmatch(one)) for one in words)
    return "everything" in words or ("all" in words and bool(is_plural or pair))


def _stop_to_entry(update: AlertUpdate, one: _Instruction) -> AlertUpdate:
    _require_first(update.sl is None and not update.sl_to_entry, "stop")
    return replace(update, sl_to_entry=True)


def _new_stop(update: AlertUpdate, one: _Instruction) -> AlertUpdate:
    _require_first(update.sl is None and not update.sl_to_entry, "stop")
    return replace(update, sl=read_number(one.words[-1], field="sl"), sl_verb=_verb(one))


def _new_target(update: AlertUpdate, one: _Instruction) -> AlertUpdate:
    """“TP 1” rather names the first target than a price."""
    _require_first(not update.targets, "target")
    text = one.words[-1]
    if text in set("123456789"):
        raise refusal("new_target", text=text)
    target = Target(read_number(text, field="targets"), ONE)
    return replace(update, targets=(target,), target_verb=_verb(one))


def _level_alone(update: AlertUpdate, one: _Instruction) -> AlertUpdate:
    is_stop = one.words[0] in ("sl", "s/l", "stop", "stoploss")
    return (_new_stop if is_stop else _new_target)(update, one)


def _close(update: AlertUpdate, one: _Instruction) -> AlertUpdate:
    _require_first(update.fraction is None and not update.cancels, "close")
    fraction = read_share(one.share) if one.share else ONE
    return replace(update, fraction=fraction, side=one.side)


def _reduce(update: AlertUpdate, one: _Instruction) -> AlertUpdate:
    _require_first(update.fraction is None and not update.cancels, "close")
    how = next((word for word in one.words if word in ("by", "to")), "")
    return replace(update, fraction=read_reduction(one.share, how), side=one.side)


def _cancel(update: AlertUpdate, one: _Instruction) -> AlertUpdate:
    _require_first(update == AlertUpdate(pair=update.pair), "cancel")
    return replace(update, cancels=True, side=one.side)


EFFECTS: dict[str, Callable[[AlertUpdate, _Instruction], AlertUpdate]] = {
    "stop_to_entry": _stop_to_entry, "new_stop": _new_stop, "new_target": _new_target,
    "level_alone": _level_alone, "close": _close, "partial_close": _close, "take_off": _close,
    "reduce": _reduce, "cancel": _cancel,
}  # fmt: skip


def _verb(one: _Instruction) -> str:
    """Return the verb that says where a level goes; '' for others, like move."""
    return one.words[0] if one.words[0] in _DIRECTED else ""


def _require_first(is_first: bool, what: str) -> None:
    if not is_first:
        raise refusal("first", what=what)


def _close_all(update: AlertUpdate, count: int, notes: tuple[Note, ...], sent_at: str) -> Reading:
    """Return the close of every trade, of a symbol or of the feed."""
    if update.fraction != 1 or count != 1:
        raise refusal("close_all")
    document: dict[str, object] = {"action": "CLOSE"}
    document |= {"symbol": update.pair} if update.pair else {"all": True}
    document |= {"direction": update.side.value} if update.side else {}
    document |= {"time": sent_at} if sent_at else {}
    return Reading(Dialect.TEXT_UPDATE, document, notes=notes)
