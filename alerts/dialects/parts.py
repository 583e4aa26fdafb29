"""Put the tokens of an entry into their places: side, symbol, entry, stop, targets. Pure."""

from dataclasses import dataclass, field

from alerts.dialects.numbers import read_number
from alerts.dialects.reading import Note, ambiguous, excerpt, not_understood
from alerts.dialects.target_lists import SEPARATORS
from alerts.dialects.text_sizes import TextSizes
from alerts.dialects.tokens import symbol_after_side
from alerts.dialects.unknown_words import WRITE, unknown_word
from alerts.dialects.vocabulary import Kind, Token
from alerts.dialects.word_numbers import (
    FRAMES,
    ends_with_line,
    is_beside_symbol,
    is_frame,
    names_side,
    names_signal,
    number_behind_gap,
    number_of_word,
    only_describes,
    part_of_number,
    stop_of_candles,
)
from signals.models import Direction

_SIDES = {Kind.BUY: Direction.BUY, Kind.SELL: Direction.SELL}
_TYPES = (Kind.LIMIT, Kind.STOP_ORDER, Kind.STOP_LIMIT, Kind.MARKET)
_SIZES = (Kind.LEVERAGE, Kind.SIZE, Kind.RISK, Kind.RATIO)
_BESIDE = (Kind.SYMBOL, *_SIDES)
_AT = "@"
_UNFINISHED = {*":=@(&/+", "and", "at", "on", "with", "zone", "range"}
_MOST_LINES = 10


@dataclass(slots=True)
class Parts(TextSizes):
    """The places of an entry's tokens.

    is_bare: the entry price has no @ and no label. is_market_entry: the market is named where an
    entry's price stands, “Entry: CMP”. word: a symbol that only its place beside the side shows.
    before: the last token to which a number could belong: no mark, line end or complete size.
    beside: the last side or symbol of the line. phrase: the word that belongs to the side before
    it, “BUY ORDER”, or names the signal in the line before.
    """

    sides: list[Direction] = field(default_factory=list)
    pairs: list[str] = field(default_factory=list)
    types: list[Kind] = field(default_factory=list)
    is_bare: bool = False
    label: str = ""
    is_market_entry: bool = False
    word: str = ""
    before: Token | None = None
    beside: Token | None = None
    phrase: Token | None = None

    def read(self) -> None:
        """Read all tokens. Raises InvalidInputError for one without a meaning in its place."""
        self._require_end()
        while self.place < len(self.tokens):
            token = self._next()
            self._read(token)
            is_open_label = token.kind in (Kind.LABEL, Kind.FILLER, Kind.DECOR)
            if not (is_open_label or token.text in ":=-("):
                self.label = ""
            if token.kind is Kind.LINE:
                self._end_line()
            elif names_side(self._previous(), token):
                self.phrase = token
            elif token.kind is not Kind.MARK and not self._is_complete(token):
                self.before, self.phrase = token, None
                self.beside = token if token.kind in _BESIDE else self.beside

    def _end_line(self) -> None:
        """Forget a description at the end of a line with a side or symbol, “SOLUSDT LONG | 4H”, and
        that of a chart. A number of the next line is the price, unless it can number a signal."""
        is_open = self._previous().text in (":", "=")
        before = self.before
        if before and not is_open:
            is_described = before.kind is Kind.DECOR and self.beside is not None
            self.phrase = before if names_signal(before) else None
            self.before = self.beside if is_described or ends_with_line(before) else before
        self.beside = None

    def _previous(self) -> Token:
        return self.tokens[self.place - 2] if self.place > 1 else Token(Kind.LINE, "")

    def _read(self, token: Token) -> None:
        if token.kind in _SIDES:
            self._side(_SIDES[token.kind])
        elif token.kind is Kind.SYMBOL:
            self._symbol(token)
        elif token.kind is Kind.MARKET and token.text == "market" and self._is_label():
            self._market_label()
        elif token.kind in _TYPES:
            self._require_whole_price(token)
            self.types.append(token.kind)
            self.is_at_market |= token.kind is Kind.MARKET
        elif token.kind is Kind.ENTRY or token.text == _AT:
            self._entry(token)
        elif token.kind in (Kind.SL, Kind.STOP):
            self._stop(token)
        elif token.kind is Kind.TP:
            self._targets(token)
        elif token.kind in _SIZES:
            self._without_effect(token)
        elif token.kind is Kind.LABEL:
            self.label = token.text
        elif token.kind is Kind.NUMBER:
            self._number(token)
        elif token.kind is Kind.WORD:
            self._word(token)
        elif token.kind is Kind.FILLER:
            self._filler(token)
        elif token.kind is Kind.DECOR and token.text.startswith("#"):
            self._number_of_signal(token, is_first=not (self.sides or self.pairs))
        elif token.kind not in (Kind.DECOR, Kind.LINE) and not self._percent_of_size(token):
            self._mark(token)

    def _require_end(self) -> None:
        """Raise InvalidInputError for a text that has been cut off."""
        words = [token.text.lower() for token in self.tokens if token.kind is not Kind.LINE]
        is_open = words.count("(") > words.count(")")
        if words and (is_open or words[-1] in _UNFINISHED):
            raise not_understood(
                f"It ends with {excerpt('(…' if is_open else words[-1])}, as if it were cut off.",
                "Send the whole text, or leave that out.",
            )

    def _filler(self, token: Token) -> None:
        """Skip a word like “with”. Raises InvalidInputError for “at” or “zone” without a price."""
        word = token.text.lower()
        is_priced = self._peek().kind in (Kind.NUMBER, Kind.MARKET) or bool(self.entry)
        ahead = 1 if self._peek().text in tuple(SEPARATORS) else 0
        is_priced |= self._peek(ahead).kind is Kind.NUMBER
        is_label = word in ("at", "zone", "range") and self._peek(ahead).kind is Kind.NUMBER
        is_label &= not self._is_leverage_range(ahead)  # “at 5-10x”
        if is_label and self.sides and not self.entry:
            self.place += ahead
            self._take_entry()
            return
        if word in ("at", "zone", "range") and not is_priced:
            raise self._no_price(f"“{word}”", "open_price")

    def _is_label(self) -> bool:
        ahead = 0
        while self._peek(ahead).text == "!" or (
            self._peek(ahead).kind is Kind.LINE and self.place + ahead < len(self.tokens)
        ):
            ahead += 1
        return (
            self._peek(ahead).text in (":", "=")
            or (self._peek().text == "-" and self._peek(1).kind is Kind.DECOR)
            or self._follows_description()
        )

    def _follows_description(self) -> bool:
        return self.place > 1 and self.tokens[self.place - 2].kind is Kind.DECOR

    def _market_label(self) -> None:
        """Read “Market: Forex” as a description. Raises InvalidInputError for other values, and for
        “Spot market”."""
        self._skip(":=-!", Kind.LINE)
        if self._peek().kind not in (Kind.DECOR, Kind.SYMBOL) or self._follows_description():
            raise ambiguous(
                "“Market” as a label", "an entry at market",
                "a description", field="order_type",
                write="Write “BUY EURUSD NOW” for the one, leave it out for the other.",
            )  # fmt: skip
        self.label = "market"

    def _symbol(self, token: Token) -> None:
        ahead = 1 if self._peek().kind is Kind.LINE else 0
        if self._peek(ahead).text == "!" and token.text[-1] in "12":
            raise ambiguous(
                f"{token.text} !", f"the continuous future {token.text}!", token.text,
                field="symbol", write="Write it without a space, or leave the mark out.",
            )  # fmt: skip
        if token.pair not in self.pairs:
            self.pairs.append(token.pair)

    def _side(self, side: Direction) -> None:
        """Add a side. A second one is only a label's, or it is another trade."""
        in_parens = self.place > 1 and self.tokens[self.place - 2].text == "("
        if self.sides and side == self.sides[0] and self._labels_entry():
            return
        if self.sides and side == self.sides[0] and not (self.label or in_parens):
            raise ambiguous(
                f"{side} twice", "one trade", "two trades", field="direction",
                write="Write the side once; send one message for each trade.",
            )  # fmt: skip
        self.sides.append(side)
        following = self._peek()
        if following.kind is Kind.WORD and (pair := symbol_after_side(following.text)):
            self.place += 1
            self.word = following.text
            if pair not in self.pairs:
                self.pairs.append(pair)

    def _entry(self, token: Token) -> None:
        before = self._previous()
        is_aside = token.text == _AT and before.text == "("  # “(@ 150)”
        self._skip(SEPARATORS, Kind.LINE, Kind.FILLER)
        if self._peek().kind in (Kind.MARKET, Kind.LIMIT):
            self.is_market_entry |= self._peek().kind is Kind.MARKET
            return
        if token.index > 1:
            raise self._several_entries()
        if token.kind is Kind.ENTRY and not token.index:
            self._skip_number_of_entry()
        if not is_aside:
            self._skip_enumerator()
        if self._peek().kind is not Kind.NUMBER:
            if token.kind is Kind.ENTRY and self._describes_entry(before):
                return
            raise self._no_price("The entry", "open_price")
        self._take_entry(joint="and" if token.text == "between" else "-")

    def _describes_entry(self, before: Token) -> bool:
        """Whether “entry” has no price of its own: “Entry: BUY @ …”, “LONG entry BTCUSDT @ …”,
        “market entry”."""
        after = self._peek().kind
        is_of_side = before.kind in _SIDES and after is Kind.SYMBOL
        return after in _SIDES or is_of_side or before.text == "market"

    def _stop(self, token: Token) -> None:
        if token.kind is Kind.STOP and not (self.entry or Kind.MARKET in self.types):
            raise ambiguous(
                "“stop” before an entry price", "a stop order to enter", "the stop loss",
                field="sl", write="Write “BUY STOP @ …” for the one, “SL …” for the other.",
            )  # fmt: skip
        has_dash = self._skip_label()
        if not self._skip_parenthesis():
            self._skip_enumerator()
        if self.sl or any(one.level == "sl" for one in self.distances):
            raise not_understood("It has several stops.", "Write one SL.", field="sl")
        if distance := self._distance("sl"):
            self._require_no_sign(distance, has_dash=has_dash)
            self.distances.append(distance)
            return
        if self._peek().kind is not Kind.NUMBER:
            raise self._no_price("The stop loss", "sl")
        self._note_money()
        self.sl = self._next().text
        self._annotation(self.sl)
        ahead = 1 if self._peek().text == "(" else 0
        if error := stop_of_candles(self.sl, self._peek(ahead)):
            raise error
        if (share := self._share()) and read_number(share) != 100:
            raise ambiguous(
                f"SL {self.sl} beside {share}%", "how far the stop is", "a stop of that share",
                field="sl", write="Write one SL, and no percent beside it.",
            )  # fmt: skip

    def _require_whole_price(self, token: Token) -> None:
        """Raise InvalidInputError for the market behind a price and its levels: “SL 1.0750 TP
        1.0900 CMP” is rather the beginning of “CMP 1.0850” than another kind of entry."""
        has_levels = bool(self.sl or self.targets or self.distances)
        if token.kind is Kind.MARKET and self.entry and has_levels and not self.label:
            raise ambiguous(
                f"{excerpt(token.text)} behind the levels", "an entry at market",
                f"a limit at {self.entry[0]}, and where the market is", field="order_type",
                write="Write “NOW” before the price for the one, leave it out for the other.",
            )  # fmt: skip

    def _is_number_of_line(self, token: Token) -> bool:
        """Whether a number only counts the lines of targets. Any other one may be the price."""
        before = self.tokens[self.place - 2] if self.place > 1 else Token(Kind.LINE, "")
        is_small = token.text.isdigit() and int(token.text) <= _MOST_LINES
        is_apart = before.kind in (Kind.LINE, Kind.DECOR) or before.text in (",", ";", ":", "|")
        is_listed = self._peek().text == ")" and self._peek(1).kind is Kind.TP
        return is_listed and is_small and is_apart

    def _is_complete(self, token: Token) -> bool:
        """Whether a size has its value, so that a number behind it is another thing: “risk 1%”,
        “risk low”, “cross 20x”, “0.1 lots”; of “leverage cross” it can follow."""
        if token.kind in _SIZES:
            return token.kind is not Kind.LEVERAGE or any(
                letter.isdigit() for letter in self.notes[-1].text
            )
        has_number = token.kind in (Kind.NUMBER, Kind.PERCENT)
        return has_number and self.tokens[self.place - 1].kind in _SIZES

    def _require_own_number(self, token: Token) -> None:
        """Raise ALERT_AMBIGUOUS if a number may belong to the word before it."""
        is_aside = self.tokens[self.place - 2].text == "(" and self._peek().text != "-"
        before = self.phrase or self.before or Token(Kind.LINE, "")
        is_of_phrase = self.phrase is not None
        is_behind_aside = self._previous().text == ")" and only_describes(before)
        if is_behind_aside or (token.is_money and not self.label):
            return  # “(swing) 240”, “SOLUSDT ($150)”
        if error := number_of_word(
            before, token.text, is_aside=is_aside, is_of_phrase=is_of_phrase
        ):
            raise error

    def _number(self, token: Token) -> None:
        """Take a number without a label: the price beside the symbol, or a number of lots."""
        if self._is_number_of_line(token):
            self.place += 1  # “1) TP1: 1.0900”
            return
        if self._is_size(token):
            return
        is_of_label = bool(self.before and self.label == self.before.text)
        if is_of_label and self.label in FRAMES and is_frame(token.text):
            self.notes.append(Note(f"{self.label} {token.text}", "it describes the chart"))
            return
        if self._numbers_signal(token):
            return
        comes_first = not (self.sl or self.targets or self.entry or self.distances)
        before = self.tokens[self.place - 2].kind if self.place > 1 else Kind.LINE
        is_beside = not self.entry and before in _BESIDE
        is_price = (comes_first or is_beside) and bool(self.sides and self.pairs)
        if self.label or is_price:
            self._require_own_number(token)
        if is_price:
            self.place -= 1
            self._take_entry()
            self.is_bare = True
            return
        if comes_first and self.sides:
            raise ambiguous(
                f"{token.text} before the symbol", "a quantity", "the price", field="open_price",
                write="Leave a quantity out; write a price as @ 1.0850 after the symbol.",
            )  # fmt: skip
        if error := number_behind_gap(self.tokens[: self.place]):
            raise error
        if error := part_of_number(self.tokens, self.place - 1):
            raise error
        is_named = self.before is not None and names_signal(self.before)
        write = f"Write “Signal #{token.text}”." if is_named else f"Write what it is. {WRITE}"
        raise not_understood(f"The number {token.text} has no label.", write)

    def _word(self, token: Token) -> None:
        """Take a word that is a symbol because the side follows it; refuse any other."""
        following = self._peek()
        pair = symbol_after_side(token.text)
        if pair and not self.pairs and following.kind in _SIDES:
            self.pairs.append(pair)
            self.word = token.text
            return
        is_of_chart = self.label in FRAMES or is_beside_symbol(self.tokens, self.place - 1)
        if is_frame(token.text) and is_of_chart:
            self.notes.append(Note(token.text, "it describes the chart"))
            return
        raise unknown_word(
            token.text, [one.text for one in self.tokens if one.kind is Kind.WORD],
            has_symbol=any(one.kind is Kind.SYMBOL for one in self.tokens),
            is_beside_side=self._is_beside_side(),
        )  # fmt: skip

    def _is_beside_side(self) -> bool:
        before = self.tokens[self.place - 2].kind if self.place > 1 else Kind.LINE
        return before in _SIDES or self._peek().kind in _SIDES

    def _mark(self, token: Token) -> None:
        if token.kind is Kind.MARK and token.text in ":,;|.!()-=&/":
            return
        advice = "Leave it out."
        if token.kind in (Kind.PIPS, Kind.PERCENT):
            advice = "Write it directly behind its stop or target."
        elif token.kind is Kind.OPEN_END:
            advice = "Write “TP3 open”, or “TP 2350, 2360, open” with a comma before it."
        raise not_understood(f"{excerpt(token.text)} is not understood here.", f"{advice} {WRITE}")
