"""Shares of a trade that is open, and instructions about one that are not read. Pure.

A number that could be a share, a size, a gain or a price is refused with these readings.
"""

import re
from decimal import ROUND_DOWN, Context, Decimal

from alerts.grammar.numbers import read_number
from alerts.grammar.reading import ONE, excerpt, refusal
from common.errors import InvalidInputError
from common.money import plain

SHARE = (
    r"(?:(?:a |one )?(?:half|third|quarter)|two thirds|three quarters"
    r"|[1-9] / [2-9]|[0-9]+(?:\.[0-9]+)?%)"
)
WRITE = "Write “close half”, “close 1/3” or “close 30%”; JSON takes any close_fraction."
_WORDS = {"half": (1, 2), "third": (1, 3), "quarter": (1, 4), "two thirds": (2, 3),
          "three quarters": (3, 4)}  # fmt: skip
_LEAST_PERCENT = 10  # who closes a part closes more; less than that is rather what was gained
_EXACT, _PLACE = Context(prec=40, rounding=ROUND_DOWN), Decimal("1e-18")
_CLOSES = r"(?:close|exit|take|reduce|book|secure)"
_NUM = r"(?P<number>[0-9]+(?:[.,][0-9]+)?)"
_AT_TARGET = re.compile(
    rf"{_CLOSES}\b.* (?:at|on|when|after|once|if|in) (?:tp|target|sl|be)[1-9]?\b.*"
)
_PIPS = re.compile(rf"(?:{_CLOSES}\b.* )?{_NUM} pips?(?: .*)?")
_LOTS = re.compile(rf"{_CLOSES}\b.* {_NUM} (?:lot|lots|contracts?|units?)(?: .*)?")
_PROFIT = re.compile(rf"{_CLOSES}\b.* (?P<number>[0-9]+(?:\.[0-9]+)?%)(?: in)? profits?")
_AT_PRICE = re.compile(rf"{_CLOSES}\b.* (?:at|@|to) {_NUM}")
_NUMBER = re.compile(
    rf"{_CLOSES}(?: (?:all|full|long|short|buy|sell|trades?|positions?|orders?|by))* {_NUM}"
)


def read_share(word: str) -> Decimal:
    """Return the share that a word of `SHARE` means. Raises InvalidInputError."""
    if word.endswith("%"):
        return _percent(word)
    part, whole = (
        (int(digit) for digit in word.split(" / "))
        if "/" in word
        else _WORDS[word.removeprefix("a ").removeprefix("one ")]
    )
    if part >= whole:
        raise refusal("share", word=word)
    return _EXACT.divide(Decimal(part), Decimal(whole)).quantize(_PLACE, ROUND_DOWN).normalize()


def _percent(word: str) -> Decimal:
    percent = read_number(word[:-1], field="close_fraction")
    if percent > 100:
        raise refusal("percent", word=word)
    if percent < _LEAST_PERCENT:
        as_fraction = [f"{plain(percent * 100)} % of the trade"] if percent < 1 else []
        raise refusal("percent_2", *as_fraction, word=word)
    return percent / 100


def read_reduction(word: str, how: str) -> Decimal:
    """Return the share that is closed by “reduce by 30%” or “to 30%”. how: by, to; ''.

    Raises InvalidInputError, also ALERT_AMBIGUOUS if by and to differ and neither is there.
    """
    share = read_share(word)
    if how == "to" and share == ONE:
        raise refusal("reduction")
    if how == "to":
        return ONE - share
    if not how and share * 2 != ONE:
        raise refusal("reduction_2", word=word, round=round((ONE - share) * 100, 2))
    return share


def unclear_close(clause: str) -> InvalidInputError | None:
    """Return the error for a close of an unclear part, with its readings; None: it is none."""
    subject = excerpt(clause)
    if _AT_TARGET.fullmatch(clause):
        return refusal("unclear_close", subject=subject)
    if match := _PIPS.fullmatch(clause):
        pips = match["number"]
        return refusal("unclear_close_2", subject=subject, pips=pips)
    if match := _LOTS.fullmatch(clause):
        return refusal("unclear_close_3", subject=subject, number=match["number"])
    if match := _PROFIT.fullmatch(clause):
        return refusal("unclear_close_4", subject=subject, number=match["number"])
    if match := _AT_PRICE.fullmatch(clause):
        price = match["number"]
        return refusal("unclear_close_5", subject=subject, price=price)
    if match := _NUMBER.fullmatch(clause):
        return _unclear_number(subject, match["number"])
    return None


def _unclear_number(subject: str, text: str) -> InvalidInputError:
    number = Decimal(text.replace(",", "."))
    percent = f"{plain(number * 100 if number < 1 else number)} % of the trade"
    readings = [percent] if number <= 100 else []
    return refusal("unclear_number", *readings, subject=subject, text=text)


WRITE_UPDATE = (
    "Write it like “EURUSD close half”, “EURUSD SL to BE”, “EURUSD move SL to 1.0870”, “cancel "
    "EURUSD” or “close all EURUSD trades”."
)
SL = r"(?:sl|s/l|stop|stop loss|stoploss)"
TP = r"(?:tp|t/p|take profit|target)"
MOVE = r"(?:move|set|put|shift|bring|change|adjust|modify|raise|lower|tighten)"
NUM = r"(?P<number>[0-9]+(?:[.,][0-9]+)*)"
_REMOVAL = re.compile(rf"(?:cancel|delete|remove|drop|no) (?:{SL}|{TP})(?: order)?")
_OFFSET = re.compile(r"\b(?:be|b/e|break[ -]?even|entry(?: price| level)?) \+")
_UNSUPPORTED = (
    (r"\btrail", "A text sets no trailing stop.", "Send JSON with trailing_distance."),
    (
        rf"^(?:{MOVE}|go) .*\bentry\b", "A text does not move an entry that waits.",
        "Cancel it and send a new one, or send JSON with action MODIFY and open_price.",
    ),
    (
        r"^(?:cancel|delete) (?:all|everything)", "A text cancels one entry.",
        "Name its symbol: “cancel EURUSD”.",
    ),
    (
        r"#[0-9]|\b(?:signal|trade|order|id) [0-9]+\b", "Updates know no number of a signal.",
        "Answer the signal's message, or name its symbol: “EURUSD close half”.",
    ),
    (
        r"^(?:tp|target) ?[1-9]? ?(?:hit|reached|done) (?:close|exit|take|book|reduce)\b",
        "It has a report and an instruction without a mark between them.",
        "Write the instruction alone: “EURUSD close half”.",
    ),
    (
        r"^(?:close|exit) (?:remaining|rest|other|last|first|second)\b",
        "Which part that is depends on what each account still has.",
        "Write “close” for all that is open, or “close half” for a share of it.",
    ),
    (
        rf"^(?:{MOVE} (?:your |the |my |new )?|new )(?:tp|target) ?[1-9] ",
        "A text changes no single one of several targets.",
        "Send JSON with action MODIFY and all targets.",
    ),
    (
        rf"\b{SL} (?:to|at) (?:tp|target) ?[1-9]\b", "A target is no price of a stop.",
        "Write the price itself: “move SL to 1.0870”.",
    ),
    (
        r"\b(?:moved|changed|raised|lowered|closed|cancelled|canceled|deleted)\b",
        "It can report what was done.",
        "Write what is to be done: “move SL to 1.0870”, “SL to BE”, “close half”.",
    ),
    (
        r"\b(?:except|but|besides|other than)\b", "A close with an exception is not read.",
        "Name each symbol that is closed, in a message of its own.",
    ),
)  # fmt: skip


def unread_instruction(clause: str) -> InvalidInputError:
    """Return the error for an instruction that is not read, with its readings if it has some."""
    if _REMOVAL.fullmatch(clause):
        return refusal("unread_instruction_2", clause=clause)
    if offset := _OFFSET.search(clause):
        return refusal("unread_instruction_3", offset=offset[0])
    for words, detail, write in _UNSUPPORTED:
        if re.search(words, clause):
            return refusal("unread_instruction_6", detail=detail, write=write)
    if error := unclear_close(clause):
        return error
    if "partial" in clause:
        return refusal("unread_instruction_4")
    if re.fullmatch(rf"{SL} {NUM}", clause):
        return refusal("unread_instruction_5", clause=clause)
    return refusal("unread_instruction", clause=clause)
