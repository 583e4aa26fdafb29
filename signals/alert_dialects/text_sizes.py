"""Sizes, leverage and risk of a text, which have no effect: only numbers that can be nothing else.

`0.1 lots` counts, `lot 0.10` labels: a number before a label is the price. Pure.
"""

from dataclasses import dataclass, field

from signals.alert_dialects.entry_prices import EntryPrices
from signals.alert_dialects.reading import SIZING, Note, ambiguous, excerpt, not_understood
from signals.alert_dialects.vocabulary import Kind, Token

_LINES = {True: (Kind.LINE,), False: ()}
_RISK_WORDS = {"low", "medium", "moderate", "high"}
_MOST_LEVERAGE = 500
_NAMES_OF_NUMBER = {"signal", "signals", "trade", "alert", "new signal", "new trade", "id", "order",
                    "signal alert", "gold signal"}  # fmt: skip


@dataclass(slots=True)
class TextSizes(EntryPrices):
    """The sizes of a text. sizes: the numbers of risk, size and leverage. numbered: those of the
    signal itself, `#128`."""

    sizes: list[tuple[Kind, str]] = field(default_factory=list)
    numbered: list[str] = field(default_factory=list)

    def _without_effect(self, token: Token) -> None:
        """Skip leverage, size and risk with their numbers."""
        words = [token.text]
        start, is_leverage = self.place, token.text.lower().startswith("lev")
        is_margin = token.text.lower() == "margin"
        self._skip(":=(!-" if is_leverage else ":=(", Kind.LEVERAGE, *_LINES[is_leverage])
        if token.kind is Kind.RISK and self._peek().text.lower() in _RISK_WORDS:
            words.append(self._next().text)
        self._take_size(token, words)
        skipped = self.tokens[start : self.place]
        has_multiple = any(one.kind is Kind.LEVERAGE for one in skipped)
        is_described = (has_multiple and (is_margin or token.kind is Kind.LEVERAGE)) or (
            token.kind is Kind.LEVERAGE and not is_leverage
        )
        if len(words) == 1 and not is_described:
            raise not_understood(
                f"{excerpt(token.text)} has no number beside it.", "Leave it out: " + SIZING + "."
            )
        words += [one.text for one in skipped if one.kind is Kind.LEVERAGE]
        self._skip(")")
        self.notes.append(Note(" ".join(words), SIZING))

    def _take_size(self, token: Token, words: list[str]) -> None:
        """Take the number of a size, a range or a ratio, `1-2%`, `1:2`."""
        numbers = (Kind.NUMBER, Kind.PERCENT)
        is_labelled = token.kind is not Kind.LEVERAGE or token.text.lower().startswith("lev")
        if is_labelled and self._peek().kind in numbers:
            if self._peek().kind is Kind.NUMBER:
                self.sizes.append((token.kind, self._peek().text))
            words.append(self._next().text)
        if token.kind is Kind.RISK and self._peek().text == "-" and self._peek(1).kind in numbers:
            self.place += 1
            words.append(f"to {self._next().text}")
        is_ratio = self._peek().text in (":", "/") and self._peek(1).kind is Kind.NUMBER
        if token.kind in (Kind.RATIO, Kind.LEVERAGE) and is_ratio:
            self.place += 1
            words.append(self._next().text)

    def _is_size(self, token: Token) -> bool:
        """Take a number without a label that is a size, `0.1 lots`, or a leverage, `3-5x`; return
        whether it is one."""
        if self._is_unit(0):
            unit = self._next().text
            self.sizes.append((Kind.SIZE, token.text))
            self.notes.append(Note(f"{token.text} {unit}", SIZING))
            return True
        most = self._peek(1)
        if self._peek().text != "-" or most.kind is not Kind.LEVERAGE:
            return False
        digits = most.text.lower().removesuffix("x")
        is_range = token.text.isdigit() and digits.isdigit()
        if not (is_range and int(token.text) < int(digits) <= _MOST_LEVERAGE):
            return False
        self.place += 2
        self.notes.append(Note(f"{token.text}-{most.text}", SIZING))
        return True

    def _number_of_signal(self, token: Token, *, is_first: bool) -> None:
        """Note the number of a signal: `Signal #128`, or `#128` before its side and symbol.

        Elsewhere it may be a price. Raises InvalidInputError.
        """
        before = self.tokens[self.place - 2].text.lower() if self.place > 1 else ""
        if before not in _NAMES_OF_NUMBER:
            if not is_first:
                raise ambiguous(
                    token.text, "the number of the signal", f"the price {token.text[1:]}",
                    field="open_price", write=f"Write “Signal {token.text}”, or “@” before a "
                    "price.",
                )  # fmt: skip
            self.numbered.append(token.text[1:])
        self.notes.append(Note(token.text, "it numbers the signal"))
