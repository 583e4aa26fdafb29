"""Cut a readable text into words, numbers and marks, and find its concepts. Pure.

The vocabulary is closed: a word that is not in it is refused, which is why a negation, a report or
an analysis is never read as a signal.
"""

import re
from collections.abc import Iterator

from alerts.grammar.levels import listed_pair
from alerts.grammar.lexicon import (
    GLUED,
    LONGEST,
    NOT_SYMBOLS,
    PHRASES,
    PREFIXED,
    WORDS,
    Kind,
    Token,
    is_multiple,
)
from alerts.grammar.mapping import AlertMapping
from alerts.grammar.reading import refusal
from alerts.grammar.symbols import is_coin, is_glued, pair_of
from signals.symbols import is_asset, is_currency_or_metal, read_symbol

# A label that is glued to its price: SL2338, SL-2338, TP1-2350, TP1.0900. TP2350 and TP1.2350 stay
# words: they have two meanings.
_GLUED_LABEL = (
    r"(?:(?:sl|stoploss|entry)-?|(?:tp|target)[1-9]?-)"
    r"(?=(?:[0-9]{2,}|[0-9]+\.[0-9]+)(?:\.[0-9]+)?(?![A-Za-z0-9]))"
    r"|(?:tp|target)(?=[0-9]\.0[0-9]+(?![A-Za-z0-9.,]))"
)
_TOKEN = re.compile(
    rf"(?P<glued>(?i:{_GLUED_LABEL}))|(?P<listed>\#[0-9]{{1,12}}\b)|"
    r"(?P<alnum>[#$]?[0-9]+(?:[.,][0-9]+)*[A-Za-z][A-Za-z0-9]*(?:/[A-Za-z0-9]+)?(?:\.P\b)?)"
    r"|(?P<percent>[0-9]+(?:[.,][0-9]+)*\s?%)"
    r"|(?P<number>\$?[0-9]+(?:[.,][0-9]+)*\$?)"
    r"|(?P<word>[$#]?[A-Za-z][A-Za-z0-9_']*(?:(?:[/._-]|:(?=[A-Za-z]))[A-Za-z0-9]+)*(?:(?<=[A-Z][12])!)?)"
    r"|(?P<line>\n)|(?P<space>[ \t]+)|(?P<mark>[@:=(),;|/.!&+-])",
    re.ASCII,
)
_QUOTE = re.compile("USD[TC]?", re.ASCII)
# “.485”: without its point it would be 485. In “TP.2660” the point belongs to the word.
_POINT_FIRST = re.compile(r"(?<![^\s(:=@/$|,+-])\.[0-9]+(?![0-9.,])", re.ASCII)
_PLACEHOLDER = re.compile(r"\{\{?[^{}\n]{1,60}\}\}?")
# What a mark of these is about may be a price: only the mark itself can be left out.
_WRITE_OF_MARKS = {
    **dict.fromkeys("[]{}", "Leave the brackets out, or write “(” and “)”."),
    "$": "Write it beside its price, “$64200”, or leave it out.",
    "#": "Leave the mark out, or write it beside its word: “#EURUSD”.",
    "_": "Leave the mark out.",
}
_NEGATION = re.compile(r"(?<!\S)!+[A-Za-z]\S{0,20}")
_EXCHANGES = {"oanda", "binance", "bybit", "okx", "kucoin"}
_GAPS = " \t\n:=@"
# Lengths of candles. 5M is none of them: it is also how long a binary option lasts.
_CHARTS = {"1H", "2H", "4H", "1D"}
_NUMBERED_ENTRY = re.compile("entry([1-9])", re.ASCII | re.IGNORECASE)
_MARKED = re.compile(r"(tp|target|t/p|t\.p)[ ._-]?([1-9][0-9]?)", re.ASCII | re.IGNORECASE)


def raw_tokens(text: str) -> list[Token]:
    """Return the words, numbers and marks of a text. Raises InvalidInputError for other marks."""
    found: list[Token] = []
    position = 0
    if match := _POINT_FIRST.search(text):
        raise refusal("point_first", match=match[0])
    if match := _NEGATION.search(text):
        raise refusal("mark_of_negation", match=match[0])
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None and (placeholder := _PLACEHOLDER.match(text, position)):
            raise refusal("placeholder", placeholder=placeholder[0])
        if match is None:
            letter = text[position]
            write = _WRITE_OF_MARKS.get(letter, "Leave it out, with what it marks.")
            raise refusal("unknown_mark", letter=letter, write=write)
        if match[0] == "-":
            _require_separator(text, position, found)
        position = match.end()
        if match.lastgroup == "space":
            continue
        if match.lastgroup == "glued":
            found.append(Token(Kind.WORD, match[0].rstrip("-")))
            found += [Token(Kind.MARK, "-")] if match[0].endswith("-") else []
            continue
        kinds = {"number": Kind.NUMBER, "percent": Kind.PERCENT, "line": Kind.LINE,
                 "mark": Kind.MARK, "listed": Kind.DECOR}  # fmt: skip
        kind = kinds.get(str(match.lastgroup), Kind.WORD)
        if kind is Kind.WORD:
            found += _words(match[0])
        else:
            found.append(Token(kind, match[0].strip("$"), is_money="$" in match[0]))
    return found


def _require_separator(text: str, place: int, before: list[Token]) -> None:
    """Raise InvalidInputError for a dash that may be the sign of the number that follows."""
    is_glued = text[place + 1 : place + 2].isdigit() and (place == 0 or text[place - 1] in _GAPS)
    if is_glued and not (before and before[-1].kind is Kind.NUMBER):
        raise refusal("dash_or_sign", text=text[place : place + 8])


def _words(text: str) -> Iterator[Token]:
    """Yield a word, or its parts if marks join words of the vocabulary (`Entry:BUY`)."""
    lower = GLUED.get(text.lower(), text.lower())
    parts = re.split(r"([:_ -])", lower)
    is_label = len(parts) > 1 and all(
        part in WORDS or part in ":_- " or _MARKED.fullmatch(part) for part in parts
    )
    head, colon, tail = text.partition(":")
    if is_label and lower != "r:r":
        yield from (Token(Kind.WORD, part) for part in parts if part not in "_- " or part == ":")
    elif colon and head.lower() in WORDS - _EXCHANGES:
        yield Token(Kind.WORD, head)
        yield Token(Kind.MARK, ":")
        yield from _words(tail)
    else:
        yield Token(Kind.WORD, text)


def concepts(text: str, mapping: AlertMapping) -> list[Token]:
    """Return the tokens of a text with their meanings; unknown words stay WORD."""
    raw, found, place = raw_tokens(text), list[Token](), 0
    while place < len(raw):
        token = raw[place]
        if token.kind is not Kind.WORD:
            found.append(token)
            place += 1
            continue
        used, tokens = (
            _phrase(raw, place)
            or _currencies(raw, place)
            or _spaced_coin(raw, place)
            or (1, [_word(token.text, mapping)])
        )  # fmt: skip
        found += tokens
        place += used
    return found


def _phrase(raw: list[Token], place: int) -> tuple[int, list[Token]] | None:
    """Return how many words make the longest known phrase here, and its tokens."""
    words = []
    for token in raw[place : place + LONGEST]:
        if token.kind is not Kind.WORD:
            break
        words.append(token.text.lower())
    for length in range(len(words), 0, -1):
        phrase = tuple(words[:length])
        text = " ".join(phrase)
        if phrase in PREFIXED and not _is_stop_loss(raw, place + 1):
            return length, [Token(kind, text) for kind in PREFIXED[phrase]]
        if phrase[1:] == ("stop", "limit") and phrase[0] in ("buy", "sell"):
            return length, [Token(Kind(phrase[0]), text), Token(Kind.STOP_LIMIT, text)]
        if phrase in PHRASES:
            return length, [Token(PHRASES[phrase], text)]
    return None


def _is_stop_loss(raw: list[Token], place: int) -> bool:
    """Whether “buy stop loss 1.0800” goes on here: a side, and a stop loss."""
    words = [token.text.lower() for token in raw[place : place + 2]]
    return words == ["stop", "loss"]


def _currencies(raw: list[Token], place: int) -> tuple[int, list[Token]] | None:
    """Return the pair of exactly two currencies side by side: EUR USD."""
    codes = []
    for token in raw[place : place + 3]:
        if token.kind is not Kind.WORD or not is_currency_or_metal(token.text.lstrip("#").upper()):
            break
        codes.append(token.text.lstrip("#"))
    is_pair = len(codes) == 2 and ("".join(codes).isupper() or bool(listed_pair("".join(codes))))
    if not is_pair or codes[0].upper() == codes[1].upper():
        return None
    return 2, [Token(Kind.SYMBOL, " ".join(codes), pair=read_symbol("/".join(codes).upper()))]


def _spaced_coin(raw: list[Token], place: int) -> tuple[int, list[Token]] | None:
    """Return the pair of a coin and its dollars around a spaced mark: ATOM / USDT."""
    base, mark, quote = ([*raw, *[Token(Kind.LINE, "")] * 2])[place : place + 3]
    if mark.text != "/" or quote.kind is not Kind.WORD or not _QUOTE.fullmatch(quote.text):
        return None
    name = base.text.lstrip("#$")
    is_known = is_asset(name) if quote.text == "USD" else is_coin(f"{name}{quote.text}")
    if not is_known or name == quote.text:
        return None
    pair = read_symbol(f"{name}/{quote.text}")
    return 3, [Token(Kind.SYMBOL, f"{base.text} / {quote.text}", pair=pair)]


def _word(text: str, mapping: AlertMapping) -> Token:
    """Return a single word's meaning: a target's number, a symbol, leverage, or unknown."""
    if match := _MARKED.fullmatch(text):
        return Token(Kind.TP, text, index=int(match[2]))
    if match := _NUMBERED_ENTRY.fullmatch(text):
        return Token(Kind.ENTRY, "entry", index=int(match[1]))
    if is_multiple(text):
        return Token(Kind.LEVERAGE, text)
    if text in _CHARTS:
        return Token(Kind.DECOR, text)
    bare = text.removeprefix("#").removeprefix("$")
    if text.startswith("#") and (kind := PHRASES.get((bare.lower(),))):
        # “#BUY #EURUSD”; but “#market” may be a topic as well as an order
        return Token(Kind.WORD if bare.lower() == "market" else kind, bare)
    if bare.upper() in mapping.sides and mapping.sides[bare.upper()] in ("BUY", "SELL"):
        return Token(Kind(mapping.sides[bare.upper()].lower()), text)
    if (pair := mapping.symbol_of(bare)) != bare:
        return Token(Kind.SYMBOL, text, pair=pair)
    pair = "" if is_glued(bare, NOT_SYMBOLS) else pair_of(text, bare)
    return Token(Kind.SYMBOL, text, pair=pair) if pair else Token(Kind.WORD, text)
