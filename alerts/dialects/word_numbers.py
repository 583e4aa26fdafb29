"""Numbers that may belong to the word before them: “signal 15”, “TF: 240”, “H1 15”. Pure.

They are not the price of an entry. The length of a chart's candles is whole and small, 1.0850 is no
word's number, and 2350 only that of a signal.
"""

import re
from collections.abc import Sequence

from alerts.dialects.reading import ambiguous, not_understood
from alerts.dialects.vocabulary import Kind, Token
from common.errors import InvalidInputError

FRAMES = ("timeframe", "time frame", "tf")
NAMES_OF_NUMBER = {"signal", "signals", "trade", "alert", "new signal", "new trade", "id", "order",
                   "signal alert", "gold signal"}  # fmt: skip
# “BUY SIGNAL”, “SELL ORDER”: one phrase, which says the side.
_OF_SIDE = NAMES_OF_NUMBER | {"position"}
_EXCHANGES = {"binance", "bybit", "bybit usdt", "okx", "kucoin", "bitget", "oanda"}
_FRAME = re.compile("[1-9][0-9]{0,2}(m|min|h|d|w)", re.ASCII | re.IGNORECASE)
_CHART = re.compile("[mhd][0-9]{1,2}|[1-9][hd]", re.ASCII | re.IGNORECASE)
_MOST_MINUTES = 1440
_INTERVALS = {1, 3, 5, 15, 30, 45, 60, 120, 180, 240, 360, 480, 720, 1440}
_HOUR, _PAIR = "(?:[01]?[0-9]|2[0-3])", "[0-5][0-9]"
_TIME = re.compile(rf"(?<![0-9.,]){_HOUR} : {_PAIR}(?: : {_PAIR})?(?![0-9.,])")
_JOINT = "( ?[-/.] ?)"
_DATE = re.compile(
    rf"(?<![0-9.,])(?:20[0-9]{{2}}{_JOINT}[01]?[0-9]\1[0-3]?[0-9]"
    rf"|[0-3]?[0-9]{_JOINT}[01]?[0-9]\2(?:20)?[0-9]{{2}})(?![0-9.,])"
)
_FIRST_GROUP, _GROUP = re.compile("[1-9][0-9]{0,2}"), re.compile(r"[0-9]{3}(?:[.,][0-9]+)?")
_MOST_LOTS, _DECIMALS_OF_PRICE = 10, 3
_PRICED = (
    Kind.LIMIT, Kind.STOP_ORDER, Kind.STOP_LIMIT, Kind.MARKET, Kind.ENTRY,
)  # fmt: skip
_EXECUTIONS = {"execution", "entry order"}
_SIDES = (Kind.BUY, Kind.SELL)


def is_frame(text: str) -> bool:
    """Whether a text is the length of a chart's candles: 4h, or 240 minutes."""
    return bool(_FRAME.fullmatch(text)) or (text.isdigit() and 0 < int(text) <= _MOST_MINUTES)


def is_beside_symbol(tokens: Sequence[Token], place: int) -> bool:
    """Whether the length of candles stands beside a symbol, side or description of an entry with
    levels: “SOLUSDT 1h LONG”, “Scalp trade (15m)”. Without levels 5m can be how long a
    binary option lasts; 1M is a month."""
    around = (reversed(tokens[:place]), tokens[place + 1 :])
    beside = [next((one for one in side if one.kind is not Kind.MARK), None) for side in around]
    is_beside = any(one and one.kind in (Kind.SYMBOL, Kind.DECOR, *_SIDES) for one in beside)
    has_levels = any(token.kind in (Kind.SL, Kind.STOP, Kind.TP) for token in tokens)
    return is_beside and has_levels and not tokens[place].text.endswith("M")


def stop_of_candles(price: str, after: Token) -> InvalidInputError | None:
    """Return the error for “SL 2640 (H4)”, if this token is behind a stop's price; None."""
    if after.kind is not Kind.DECOR or not _CHART.fullmatch(after.text):
        return None
    chart = after.text.upper()
    return ambiguous(
        f"SL {price} {chart}", f"a stop at {price}, and the chart {chart}",
        f"a stop only if a candle of {chart} closes beyond {price}", field="sl",
        write=f"Write {chart} beside the symbol, or leave it out.",
    )  # fmt: skip


def number_behind_gap(tokens: Sequence[Token]) -> InvalidInputError | None:
    """Return the error for “1. 2650” at the end of these tokens: a price, or the first of a list;
    None: there is no such number."""
    if len(tokens) < len(("1", ".", "2650")) or tokens[-2].text != ".":
        return None
    whole, part = tokens[-3], tokens[-1].text
    if whole.kind is not Kind.NUMBER or not (whole.text.isdigit() and part.isdigit()):
        return None
    return ambiguous(
        f"“{whole.text}. {part}”", f"the price {whole.text}.{part}",
        f"{part} as number {whole.text} of a list", field="targets",
        write=f"Write {whole.text}.{part} without a space, or “TP{whole.text}: {part}”.",
    )  # fmt: skip


def part_of_number(tokens: Sequence[Token], place: int) -> InvalidInputError | None:
    """Return the error for a number that is only a part: of a time, 14:30, of a date, 2026-11-28,
    or of a price with a space, 64 500; None: it is none of them."""
    around = " ".join(token.text for token in tokens[max(0, place - 4) : place + 5])
    if found := _DATE.search(around) or _TIME.search(around):
        return not_understood(
            f"{found[0].replace(' ', '')} is no price.",
            "Leave it out; if it is when the signal was sent, write it at the end, like "
            "2026-11-28T14:30:00Z.",
        )  # fmt: skip
    before, number = tokens[max(0, place - 1)], tokens[place]
    if _FIRST_GROUP.fullmatch(before.text) and _GROUP.fullmatch(number.text):
        whole = before.text + number.text
        return not_understood(
            f"{before.text} {number.text} has a space in it.",
            f"Write {whole} if it is one number.",
        )  # fmt: skip
    return None


def names_side(before: Token, word: Token) -> bool:
    """Whether a word and the side before it are one phrase: “BUY SIGNAL”, “SELL ORDER”."""
    return before.kind in _SIDES and word.text in _OF_SIDE


def only_describes(token: Token) -> bool:
    """Whether a word describes and has no number: “swing”, “with”, but not “H4” or “signal”."""
    word = token.text
    has_number = word in NAMES_OF_NUMBER or word in _EXCHANGES or bool(_CHART.fullmatch(word))
    return token.kind in (Kind.DECOR, Kind.FILLER) and not has_number


def ends_with_line(token: Token) -> bool:
    """Whether a word's number can only be in its own line: that of a chart."""
    is_value = token.kind in (Kind.NUMBER, Kind.WORD) and is_frame(token.text)
    return is_value or (token.kind is Kind.DECOR and bool(_CHART.fullmatch(token.text)))


def names_signal(token: Token) -> bool:
    """Whether a word names a signal, which can have a number: “signal”, “new trade”."""
    return token.kind is Kind.DECOR and token.text in NAMES_OF_NUMBER


def number_of_word(
    before: Token, text: str, *, is_aside: bool, is_of_phrase: bool = False
) -> InvalidInputError | None:
    """Return the error for a number that may belong to the word before it; None: it is the price.

    is_aside: it is in parentheses. is_of_phrase: the word belongs to the side, “BUY ORDER”, or it
    names the signal in the line before.
    """
    word, kind = before.text, before.kind
    if kind in (*_PRICED, *_SIDES, Kind.LINE) or word in _EXECUTIONS:
        return None
    if not (_may_be_of_phrase(text) if is_of_phrase else _may_be_of(before, text, is_aside)):
        return None
    return ambiguous(
        f"{text} behind “{word}”", "the entry price", f"a number that belongs to “{word}”",
        field="open_price",
        write=f"If it is the price, write “@ {text}”; if not, leave the number {text} out.",
    )  # fmt: skip


def _may_be_of(before: Token, text: str, is_aside: bool) -> bool:
    """Whether a number may belong to the word before it."""
    if before.kind is Kind.LABEL:
        return len(text.replace(",", ".").partition(".")[2]) < _DECIMALS_OF_PRICE
    if not text.isdigit() or (before.kind is Kind.SYMBOL and not is_aside):
        return False
    if only_describes(before):
        return int(text) in _INTERVALS
    return before.text in NAMES_OF_NUMBER or is_frame(text)


def _may_be_of_phrase(text: str) -> bool:
    return (text.isdigit() and is_frame(text)) or _may_be_lots(text)


def _may_be_lots(text: str) -> bool:
    whole, _, after = text.replace(",", ".").partition(".")
    is_small = whole.isdigit() and int(whole) < _MOST_LOTS
    return is_small and len(after) < _DECIMALS_OF_PRICE
