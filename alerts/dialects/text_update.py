"""Instructions about a trade that is open: “SL to BE”, “close half”, “cancel”. Pure.

Only imperatives of a closed grammar are read; a report (“TP1 hit”) has no effect, and alone it is
refused. A message has one symbol at most.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

from alerts.dialects.level_support import is_share
from alerts.dialects.levels import require_magnitude
from alerts.dialects.numbers import mixed_separators, read_number, thousands_with_point
from alerts.dialects.reading import (
    ONE,
    AlertUpdate,
    Dialect,
    Note,
    Reading,
    ambiguous,
    excerpt,
    not_understood,
)
from alerts.dialects.separators import with_clear_numbers
from alerts.dialects.shares import SHARE, read_reduction, read_share
from alerts.dialects.update_refusals import MOVE, NUM, SL, TP, WRITE, unread_instruction
from alerts.dialects.vocabulary import Kind, Token
from signals.draft import Target
from signals.fields import read_time
from signals.models import Direction

_DIRECTED = {"raise", "lower", "tighten"}
_BE = r"(?:be|b/e|breakeven|break even|break-even|entry|entry price|entry level)"
_SIDE = r"(?P<side>long|short|buy|sell|longs|shorts|buys|sells)"
_THING = r"(?:trade|trades|position|positions|order|orders)"
_VERBS = {
    "close", "exit", "cancel", "delete", "move", "set", "put", "shift", "bring", "change", "adjust",
    "be", "b/e", "breakeven", "break-even", "update", "to", "trail", "trailing", "remove", "drop",
    "raise", "lower", "tighten",
    "reduce", "secure", "modify", "keep", "hold", "leave", "partial", "partials", "take", "book",
}  # fmt: skip
_ENTRY_SL = re.compile(
    rf"(?:{MOVE} (?:your |the |my )?{SL}(?: to| at)? |{SL} to ){_BE}"
    rf"|{SL} (?:= |@ |at )?(?:be|b/e|breakeven|break even|break-even)"
)
_BE_ALONE = r"(?:be|b/e|breakeven|break even|break-even)"
# “move to entry” is about the stop, “move entry” about the entry.
_TO_ENTRY = re.compile(
    rf"(?:{MOVE}(?: to)?|go to) {_BE_ALONE}"
    r"|(?:move|set|put|shift|bring) to (?:entry|entry price|entry level)"
)
_WHOSE, _TO = "(?:your |the |my |new )?", "(?: to| at)?"
_NEW_SL = re.compile(rf"(?:{MOVE} {_WHOSE}{SL}{_TO} |{SL} to |new {SL}{_TO} ){NUM}")
_NEW_TP = re.compile(rf"(?:{MOVE} {_WHOSE}{TP}{_TO} |{TP} to |new {TP}{_TO} ){NUM}")
_CLOSE = re.compile(
    rf"(?:full |partial (?=close {SHARE}))?(?:close|exit)"
    rf"(?: (?P<share>{SHARE}|all|full|fully|everything))?"
    rf"(?: {_SIDE})?(?P<thing> {_THING})?(?: at (?:market|cmp|market price))?"
)
_TAKE_OFF = re.compile(rf"take (?:off )?(?P<share>{SHARE})(?: off)?(?: {_SIDE})?(?: {_THING})?")
_REDUCE = re.compile(
    rf"reduce(?: {_SIDE})?(?: {_THING})?(?: (?P<how>by|to))? (?P<share>{SHARE})(?: {_THING})?"
)
_CANCEL = re.compile(
    rf"(?:cancel|delete)(?: pending)?(?:(?: {_SIDE}(?: (?:limit|stop))?)| limit)?(?: pending)?"
    rf"(?: (?:{_THING}|signal))?"
)
_REPORT = re.compile(r"(?:tp|target) ?[1-9]? ?(?:hit|reached|done)")
# A gain that is there, before the first instruction: “running +50 pips”, “TP1 hit +50 pips”.
# Without such a word it could be the condition of what follows. A percent has a plus, and before a
# close a mark: in “running 50% close” it can be the share.
_HIT = r"(?:tp|target) ?[1-9]? ?(?:hit|reached|done)(?: [,!.|\n])*"
_RUNS = r"(?:running|floating|currently|already)(?: in profit)?(?: by)?"
_GAIN = re.compile(
    rf"(?:{_HIT} \+|{_RUNS}(?: \+)?)"
    r" [0-9]+(?:\.[0-9])? ?pips?(?: (?:running|profit|in profit|up))?(?= |$)"
    rf"|(?:{_HIT}|{_RUNS}) \+ [0-9]{{1,4}}(?:\.[0-9]+)?%(?: (?:profit|in profit|gain|roi|roe))?"
    rf"(?= (?:[,;.!|\n]|(?:{MOVE}|{SL}|new)\b)|$)"
)
_OFFSET = re.compile(rf"\b{_BE} \+")
_LEFT_OUT = {"please", "now", "the", "this", "here", "update"}
_LEVEL_ALONE = re.compile(rf"(?:{SL}|{TP})(?: at)? {NUM}")
_PREPOSITIONS = {"on", "of", "for", "in"}
_SPLIT = re.compile(r"(?: (?:[,;.!&+|]|and|then|\n))+(?: |$)")
# A number, a share or a report ends an instruction, and a whole level is the next one: “new SL
# 2651.5 new TP 2680”, “TP1 hit move SL to BE”. In “close 50% TP 1 hit” a report follows, and the
# whole of it is no instruction. A condition stays in front: “if TP1 hit”.
_PRICE = r"[0-9]+(?:[.,][0-9]+)*"
_END = r"(?:(?<=[0-9%])|(?<= half)|(?<= hit)|(?<= reached)|(?<= done))"
_NEXT_LEVEL = re.compile(
    rf"{_END} (?=(?:(?:{MOVE}|new) {_WHOSE})?(?:{SL}|{TP})(?: to| at| =| @)? "
    rf"(?:{_PRICE}|{_BE})(?: (?!hit\b|reached\b|done\b)|$))"
)
_BELOW_TEN_THOUSAND = {"BNB", "BCH"}
_NUMBERS_OF_TARGETS = set("123456789")
_WORDS = {
    "long": Direction.BUY, "longs": Direction.BUY, "buy": Direction.BUY, "buys": Direction.BUY,
    "short": Direction.SELL, "shorts": Direction.SELL, "sell": Direction.SELL,
    "sells": Direction.SELL,
}  # fmt: skip


def is_update(tokens: list[Token]) -> bool:
    """Whether a text has a word of these instructions, which no entry has."""
    return any(token.text.lower() in _VERBS for token in tokens) or any(
        first.text.lower() == "new" and second.kind in (Kind.SL, Kind.TP)
        for first, second in pairwise(tokens)
    )


def read_update(tokens: list[Token], sent_at: str = "") -> Reading:
    """Return the instruction of a text. Raises InvalidInputError."""
    pairs = list(dict.fromkeys(token.pair for token in tokens if token.kind is Kind.SYMBOL))
    if len(pairs) > 1:
        raise ambiguous(
            "A message with several symbols", *pairs, field="symbol",
            write="Send one message for each symbol.",
        )  # fmt: skip
    if money := next((token for token in tokens if token.is_money), None):
        raise ambiguous(
            f"${money.text}", f"the price {money.text}", "an amount of money", field="sl",
            write="Write prices without $.",
        )  # fmt: skip
    pair = pairs[0] if pairs else ""
    words = [token.text.lower() for token in tokens if token.kind is not Kind.LINE]
    if words[-1] in ("and", "then", "&", "+", "to", "at"):
        raise not_understood(f"It ends with {excerpt(words[-1])}, as if it were cut off.", WRITE)
    _require_one_sentence(tokens)
    tokens = with_clear_numbers(tokens)
    update, notes, closes_all = AlertUpdate(pair=pair), list[Note](), False
    clauses = list(_clauses(tokens))
    _require_clear_levels(pair, clauses)
    for clause in clauses:
        if _REPORT.fullmatch(clause) or _GAIN.fullmatch(clause):
            notes.append(Note(clause, "a report changes nothing"))
            continue
        if _LEVEL_ALONE.fullmatch(clause) and (update.sl is not None or update.targets):
            clause = f"move {clause}"  # “move SL to 1.0870 and TP 1.0990”
        if (match := _CLOSE.fullmatch(clause)) and _is_of_all(match, pair):
            closes_all = True
        update = _with_clause(update, clause)
    if update == AlertUpdate(pair=pair):
        raise not_understood("It only reports something.", WRITE)
    if closes_all:
        return _close_all(update, len(clauses) - len(notes), notes, sent_at)
    require_magnitude(pair, update.prices)
    if sent_at:
        update = replace(update, sent_at=read_time(sent_at))
    return Reading(Dialect.TEXT_UPDATE, update=update, notes=tuple(notes))


def _require_clear_levels(pair: str, clauses: list[str]) -> None:
    """Raise InvalidInputError for levels whose point or comma may be of thousands. Without a symbol
    the trade decides: a level must be near its prices."""
    patterns = (_NEW_SL, _NEW_TP, _LEVEL_ALONE)
    found = [pattern.fullmatch(clause) for clause in clauses for pattern in patterns]
    levels = [match["number"] for match in found if match]
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


def _require_one_sentence(tokens: list[Token]) -> None:
    """Raise InvalidInputError for “close EURUSD BUY now”, which may close the buy, or close and
    buy."""
    for symbol, side, now in zip(tokens, tokens[1:], tokens[2:], strict=False):
        is_side = side.kind in (Kind.BUY, Kind.SELL) and side.text in ("buy", "sell")
        if symbol.kind is Kind.SYMBOL and is_side and now.kind is Kind.MARKET:
            raise ambiguous(
                f"“{symbol.text} {side.text} {now.text}” of an update",
                f"the {side.text} trade", f"a new {side.text}", field="direction",
                write="Write “close the long” or “close the short”, and a new trade apart.",
            )  # fmt: skip


def _clauses(tokens: list[Token]) -> Iterator[str]:
    """Yield the instructions of a message, in lower case, without its symbol and fillers."""
    words = []
    for place, (before, token) in enumerate(zip([None, *tokens], tokens, strict=False)):
        if before and " " in token.text and before.text == token.text:
            continue  # “buy limit” is two tokens of the same words
        word = token.text.lower()
        if token.kind is Kind.SYMBOL or word in _LEFT_OUT:
            continue
        if word in _PREPOSITIONS and _is_of_trade(tokens, place):
            continue  # “on close” is no close
        if token.text in (":", "-", "(", ")", "@", "="):
            words.append(" ") if token.text in ":-" else words.append(token.text)
            continue
        is_percent = token.kind is Kind.PERCENT
        words.append(token.text.replace(" ", "") if is_percent else token.text.lower())
    text = " ".join(word for word in words if word != " ")
    if match := _OFFSET.search(text.replace(" + close", " , close").replace(" + move", " , move")):
        raise not_understood(
            f"{excerpt(match[0])} is a price beside the entry.",
            "Write the price itself: “move SL to 1.0855”.", field="sl",
        )  # fmt: skip
    text = text.lstrip(",.!|\n ")
    if gain := _GAIN.match(text):
        yield gain[0]
        text = text[gain.end() :]
    text = _NEXT_LEVEL.sub(" , ", text)
    yield from (clause.strip(" ") for clause in _SPLIT.split(f" {text} ") if clause.strip(" "))


def _is_of_trade(tokens: list[Token], place: int) -> bool:
    """Whether the trade follows a preposition: “on EURUSD”, “of the position”."""
    after = [token for token in tokens[place + 1 :] if token.text.lower() != "the"]
    return bool(after) and (
        after[0].kind is Kind.SYMBOL or bool(re.fullmatch(_THING, after[0].text.lower()))
    )


def _is_of_all(match: re.Match[str], pair: str) -> bool:
    """Whether a close is about every trade, not about the whole of one."""
    share, thing = match["share"] or "", (match["thing"] or "").strip()
    is_plural = thing.endswith("s") or (match["side"] or "").endswith("s")
    return share == "everything" or (share == "all" and bool(is_plural or pair))


def _with_clause(update: AlertUpdate, clause: str) -> AlertUpdate:
    """Return an update with one more instruction. Raises InvalidInputError."""
    if _ENTRY_SL.fullmatch(clause) or _TO_ENTRY.fullmatch(clause):
        _require_first(update.sl is None and not update.sl_to_entry, "stop")
        return replace(update, sl_to_entry=True)
    if match := _NEW_SL.fullmatch(clause):
        _require_first(update.sl is None and not update.sl_to_entry, "stop")
        stop = read_number(match["number"], field="sl")
        return replace(update, sl=stop, sl_verb=_direction(clause))
    if match := _NEW_TP.fullmatch(clause):
        _require_first(not update.targets, "target")
        _require_price(match["number"])
        target = Target(read_number(match["number"], field="targets"), ONE)
        return replace(update, targets=(target,), target_verb=_direction(clause))
    if match := _CLOSE.fullmatch(clause):
        _require_first(update.fraction is None and not update.cancels, "close")
        share = match["share"] or "all"
        is_part = re.fullmatch(SHARE, share)
        return replace(update, fraction=read_share(share) if is_part else ONE, side=_side(match))
    if (match := _TAKE_OFF.fullmatch(clause)) and "off" in clause:
        _require_first(update.fraction is None and not update.cancels, "close")
        return replace(update, fraction=read_share(match["share"]), side=_side(match))
    if match := _REDUCE.fullmatch(clause):
        _require_first(update.fraction is None and not update.cancels, "close")
        share = read_reduction(match["share"], match["how"] or "")
        return replace(update, fraction=share, side=_side(match))
    if match := _CANCEL.fullmatch(clause):
        _require_first(update == AlertUpdate(pair=update.pair), "cancel")
        return replace(update, cancels=True, side=_side(match))
    raise unread_instruction(clause)


def _require_price(text: str) -> None:
    """Raise ALERT_AMBIGUOUS for “TP 1” of an update: it rather names the first target."""
    if text in _NUMBERS_OF_TARGETS:
        raise ambiguous(
            f"“TP {text}”", f"target {text}", f"a target at {text}", field="targets",
            write=f"Write “move TP to {text}.00” for a price.",
        )  # fmt: skip


def _direction(clause: str) -> str:
    """Return the verb that says where a level goes; '' for others, like move."""
    verb = clause.partition(" ")[0]
    return verb if verb in _DIRECTED else ""


def _side(match: re.Match[str]) -> Direction | None:
    return _WORDS.get(match["side"] or "")


def _require_first(is_first: bool, what: str) -> None:
    if not is_first:
        raise not_understood(f"It has more than one instruction for the {what}.", WRITE)


def _close_all(update: AlertUpdate, clauses: int, notes: list[Note], sent_at: str) -> Reading:
    """Return the close of every trade, of a symbol or of the feed."""
    if update.fraction != 1 or clauses != 1:
        raise not_understood("A close of all trades is a message of its own.", WRITE)
    document: dict[str, object] = {"action": "CLOSE"}
    document |= {"symbol": update.pair} if update.pair else {"all": True}
    document |= {"direction": update.side.value} if update.side else {}
    document |= {"time": sent_at} if sent_at else {}
    return Reading(Dialect.TEXT_UPDATE, document, notes=tuple(notes))
