"""Sizes, leverage and risk of a text, which have no effect: only numbers that can be nothing else.

`0.1 lots` counts, `lot 0.10` labels: a number before a label is the price. Pure.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from alerts.dialects.entry_prices import MOST_LEVERAGE, EntryPrices
from alerts.dialects.reading import SIZING, Note, ambiguous, excerpt, not_understood
from alerts.dialects.tokens import is_multiple
from alerts.dialects.vocabulary import Kind, Token
from alerts.dialects.word_numbers import NAMES_OF_NUMBER

_RISK_WORDS = {"low", "medium", "moderate", "high"}
_MOST_PERCENT, _DECIMALS = 100, 2
# What contracts of small coins count by: “#1000 PEPEUSDT” can be 1000PEPE/USDT.
_MULTIPLES = {f"1{'0' * zeros}" for zeros in range(3, 9)}


class Size(NamedTuple):
    """A number without effect. shown: with its word. is_counted: its unit is behind it, `0.1 lots`.
    is_labelled: it is as clear beside the market, `Lot: 0.10`, `3-5x`; alone 3 can be a price."""

    kind: Kind
    text: str
    shown: str
    is_counted: bool = False
    is_labelled: bool = False


@dataclass(slots=True)
class TextSizes(EntryPrices):
    """The sizes of a text. sizes: the numbers of risk, size and leverage. numbered: those of the
    signal itself, `#128`."""

    sizes: list[Size] = field(default_factory=list)
    numbered: list[str] = field(default_factory=list)

    def _without_effect(self, token: Token) -> None:
        """Skip leverage, size and risk with their numbers."""
        words = [token.text]
        start, is_leverage = self.place, token.text.lower().startswith("lev")
        is_margin = token.text.lower() == "margin"
        marks = ":=(!-" if is_leverage else ":=("
        self._skip(marks, *((Kind.LINE,) if is_leverage else ()))
        self._skip(marks, Kind.LEVERAGE)
        skipped = self.tokens[start : self.place]
        if token.kind is Kind.RISK and self._peek().text.lower() in _RISK_WORDS:
            words.append(self._next().text)
        modes = [one.text for one in skipped if one.kind is Kind.LEVERAGE]
        self._take_size(token, words, modes)
        is_described = (bool(modes) and (is_margin or token.kind is Kind.LEVERAGE)) or (
            token.kind is Kind.LEVERAGE and not is_leverage
        )
        if len(words) == 1 and not is_described:
            raise not_understood(
                f"{excerpt(token.text)} has no number beside it.", "Leave it out: " + SIZING + "."
            )
        words += modes
        _require_above_zero(token.text if len(words) == 1 else "", *words[1:], shown=words)
        self._skip(")")
        self.notes.append(Note(" ".join(words), SIZING))
        self._require_no_second(token.kind, " ".join(words))

    def _take_size(self, token: Token, words: list[str], modes: list[str]) -> None:
        """Take the number of a size, a range or a ratio, `1-2%`, `1:2`. modes: isolated, 10x. A
        leverage has one value: behind 10x a number is another thing."""
        is_leverage = token.kind is Kind.LEVERAGE
        is_labelled = not is_leverage or token.text.lower().startswith("lev")
        has_multiple = any(map(is_multiple, (token.text, *modes)))
        numbers = (Kind.PERCENT,) if has_multiple else (Kind.NUMBER, Kind.PERCENT)
        first = Token(Kind.LINE, "")
        if is_labelled and self._peek().kind in numbers:
            first = self._next()
            words.append(first.text)
            is_plain = is_leverage and not modes and _is_leverage(first.text)
            if not is_plain:  # else “leverage 5” is nothing else
                self._note_size(token, first)
        after = self._peek(1)
        # a range that begins with a percent ends with one
        is_end = after.kind is Kind.PERCENT or (after.kind is first.kind is Kind.NUMBER)
        if token.kind is Kind.RISK and self._peek().text == "-" and is_end:
            self.place += 2
            words.append(f"to {after.text}")
            self._note_size(token, after)
        is_ratio = self._peek().text in (":", "/") and self._peek(1).kind is Kind.NUMBER
        is_ratio &= first.kind is Kind.NUMBER and (is_leverage or token.kind is Kind.RATIO)
        if is_ratio:
            joint, second = self._next(), self._next()
            words.append(second.text)
            if (first.text, joint.text) != ("1", ":"):  # 1:2 and 1:500 are nothing else
                self._note_size(token, second)

    def _note_size(self, word: Token, token: Token) -> None:
        """Remember a number without effect: it may look like a price of the text."""
        if token.kind is Kind.NUMBER:
            is_labelled = self.tokens[self.place - 2].text in (":", "=")
            shown = f"{word.text}: {token.text}" if is_labelled else f"{word.text} {token.text}"
            self.sizes.append(Size(word.kind, token.text, shown, is_labelled=is_labelled))

    def _require_no_second(self, kind: Kind, size: str) -> None:
        """Raise ALERT_AMBIGUOUS for “10x / 150” and “risk 1% - 2”: a second value, or the price."""
        joint, after = self._peek(), self._peek(1)
        if joint.text not in ("-", "/") or after.kind is not Kind.NUMBER:
            return
        whole, _, part = after.text.partition(".")
        is_percent = whole.isdigit() and int(whole) <= _MOST_PERCENT and len(part) <= _DECIMALS
        if _is_leverage(after.text) if kind is Kind.LEVERAGE else is_percent:
            raise ambiguous(
                f"{size} {joint.text} {after.text}", "a second size, which has no effect",
                f"the price {after.text}", field="open_price",
                write=f"Write “@ {after.text}” for a price, or one size.",
            )  # fmt: skip

    def _is_size(self, token: Token) -> bool:
        """Take a number without a label that is a size, `0.1 lots`, or a leverage, `3-5x`; return
        whether it is one."""
        if self._is_unit(0):
            unit = self._next().text
            _require_above_zero(token.text, shown=[token.text, unit])
            self.sizes.append(Size(Kind.SIZE, token.text, f"{token.text} {unit}", is_counted=True))
            self.notes.append(Note(f"{token.text} {unit}", SIZING))
            self._require_no_second(Kind.SIZE, f"{token.text} {unit}")
            return True
        if not self._is_leverage_range(-1):
            return False
        most = self._peek(1)
        self.place += 2
        self._skip("", Kind.LEVERAGE)  # “5-10x leverage”
        shown = f"{token.text}-{most.text}"
        self.sizes.append(Size(Kind.LEVERAGE, token.text, shown, is_labelled=True))
        self.notes.append(Note(shown, SIZING))
        return True

    def _percent_of_size(self, token: Token) -> bool:
        """Note “1% risk”; return whether a percent is one."""
        if token.kind is not Kind.PERCENT or not self._is_risk(0):
            return False
        word = self._next().text
        _require_above_zero(token.text, shown=[token.text, word])
        self.notes.append(Note(f"{token.text} {word}", SIZING))
        return True

    def _numbers_signal(self, token: Token) -> bool:
        """Note the number of “Signal 128” or “Signal: 128” in a line of its own at the beginning;
        return whether it is one. Elsewhere it may be a price."""
        *words, _ = (one.text.lower() for one in self.tokens[: self.place] if one.text != ":")
        is_alone = len(words) == 1 and self._peek().kind is Kind.LINE
        if not (is_alone and token.text.isdigit() and words[0] in NAMES_OF_NUMBER):
            return False
        self.numbered.append(token.text)
        self.notes.append(Note(f"{words[0]} {token.text}", "it numbers the signal"))
        return True

    def _number_of_signal(self, token: Token, *, is_first: bool) -> None:
        """Note the number of a signal: `Signal #128`, or `#128` before its side and symbol.

        Elsewhere it may be a price, or what a contract counts by. Raises InvalidInputError.
        """
        before = self.tokens[self.place - 2].text.lower() if self.place > 1 else ""
        if before not in NAMES_OF_NUMBER and not is_first:
            raise ambiguous(
                token.text, "the number of the signal", f"the price {token.text[1:]}",
                field="open_price", write=f"Write “Signal {token.text}”, or “@” before a price.",
            )  # fmt: skip
        after = next((one for one in self.tokens[self.place :] if one.kind is not Kind.LINE), token)
        is_multiple_of = token.text[1:] in _MULTIPLES and after.kind in (Kind.SYMBOL, Kind.WORD)
        if before not in NAMES_OF_NUMBER and is_multiple_of:
            joined = token.text[1:] + after.text.lstrip("#$")
            raise ambiguous(
                f"{token.text} before {after.text}", "the number of the signal",
                f"a part of the symbol {joined}", field="symbol",
                write=f"Write “Signal {token.text}”, or “{joined}” without a gap.",
            )  # fmt: skip
        if before not in NAMES_OF_NUMBER or before == "id":  # “ID: 2650” can be the price, too
            self.numbered.append(token.text[1:])
        self.notes.append(Note(token.text, "it numbers the signal"))


def _is_leverage(text: str) -> bool:
    return text.isdigit() and int(text) <= MOST_LEVERAGE


def _require_above_zero(*numbers: str, shown: list[str]) -> None:
    """Raise ALERT_AMBIGUOUS for “lot 0” and “leverage 0x”: robots write it to open nothing."""
    stated = [text for text in numbers if any(map(str.isdigit, text))]
    if stated and not any(text.strip("0.,xX%to ") for text in stated):
        raise ambiguous(
            " ".join(shown), "an entry", "something that is closed or left alone",
            write="Leave it out, or send the close as a message of its own.",
        )  # fmt: skip
