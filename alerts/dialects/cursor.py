"""Walk along the tokens of an entry, and read what stands beside a price. Pure."""

import re
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise

from alerts.dialects.numbers import read_number, without_k
from alerts.dialects.reading import Distance, Note, Unit, ambiguous, excerpt, not_understood
from alerts.dialects.vocabulary import Kind, Token
from common.errors import InvalidInputError

_PIPS = re.compile(r"([0-9]+(?:\.[0-9]+)?)pips?", re.IGNORECASE)
_POINTS = re.compile(r"([0-9]+(?:\.[0-9]+)?)p(?:ts?|oints?)?", re.IGNORECASE)
_LONGEST_ITEM = 8  # tokens of an item of a list behind its price: “- 50%”, a line end, “2.”
_DIGITS_OF_ENUMERATOR = 2
# Words that count the number before them, if none is behind them; others label the one behind.
_UNITS = {"lot", "lots", "contracts", "units", "qty", "quantity"}


def read_pips(text: str, level: str) -> Decimal:
    """Return a number of pips. Raises InvalidInputError ALERT_AMBIGUOUS for one with the decimals
    of a price: SL 1.0800 pips."""
    number = read_number(text, field=level)
    exponent = Decimal(text.replace(",", "")).as_tuple().exponent
    if isinstance(exponent, int) and exponent <= -2:
        raise ambiguous(
            f"{text} pips", f"the price {text}", f"a distance of {text} pips", field=level,
            write="Write the price alone, or whole pips.",
        )  # fmt: skip
    return number


@dataclass(slots=True)
class Cursor:
    """A place in the tokens of a text. list_mark: behind the numbers of a list of prices, `1.`.
    notes: what has no effect. stated: prices, and the pips that stand beside them."""

    tokens: list[Token]
    place: int = 0
    list_mark: str = ""
    notes: list[Note] = field(default_factory=list)
    stated: list[tuple[str, str]] = field(default_factory=list)

    def _next(self) -> Token:
        self.place += 1
        return self.tokens[self.place - 1]

    def _peek(self, ahead: int = 0) -> Token:
        place = self.place + ahead
        return self.tokens[place] if place < len(self.tokens) else Token(Kind.LINE, "\n")

    def _skip(self, marks: str, *kinds: Kind) -> bool:
        """Skip these marks and kinds; return whether there was one."""
        start = self.place
        while self.place < len(self.tokens) and (
            (self._peek().kind is Kind.MARK and self._peek().text in marks)
            or self._peek().kind in kinds
            or self._peek().text.lower() == "at"
        ):
            self.place += 1
        return self.place > start

    def _skip_enumerator(self, expected: int = 1) -> None:
        """Skip the `1)`, `1.`, `1:` or `1 -` of a list. expected: its number."""
        number = self._peek()
        if self._is_in_list(0, expected):
            self.list_mark = self._peek(1).text
            self.place += 2
            return
        if self._is_enumerator(0):
            if self._peek(2).kind is not Kind.NUMBER or int(number.text) != expected:
                raise self._no_price("The list", "targets")
            self.place += 2

    def _is_enumerator(self, ahead: int) -> bool:
        """Whether the `1)` of a list stands here. In “(SL 2640)” the price ends an aside."""
        number, mark = self._peek(ahead), self._peek(ahead + 1)
        is_small = number.text.isdigit() and len(number.text) <= _DIGITS_OF_ENUMERATOR
        return number.kind is Kind.NUMBER and is_small and mark.text == ")"

    def _is_in_list(self, ahead: int, expected: int) -> bool:
        """Whether `1. 66000` stands here: the number in a list, and its price. `1. 2650` can be a
        price with a gap, and `1 - 1.2` a range, unless the list goes on with 2."""
        number, mark, price = (self._peek(ahead + more) for more in range(3))
        kinds = (Kind.NUMBER, Kind.OPEN_END) if expected > 1 else (Kind.NUMBER,)
        is_item = number.text == str(expected) and price.kind in kinds
        if not is_item or mark.text not in (".", ":", "-"):
            return False
        is_line = self._peek(ahead - 1).kind is Kind.LINE
        is_clear = mark.text == ":" or (mark.text == "." and not price.text.isdigit())
        if expected > 1:
            return mark.text == self.list_mark
        if is_line and is_clear:
            return True
        following = self.tokens[self.place + ahead + 3 :][:_LONGEST_ITEM]
        return any(
            one.text == str(expected + 1) and after.text == mark.text
            for one, after in pairwise(following)
        )

    def _is_unit(self, ahead: int) -> bool:
        """Whether a word counts the number before it: “0.1 lots”, but not “2350 lot 0.10”."""
        unit, after = self._peek(ahead), self._peek(ahead + 1)
        if after.text in (":", "="):
            after = self._peek(ahead + 2)
        is_count = unit.kind is Kind.SIZE and unit.text.lower() in _UNITS
        return is_count and after.kind not in (Kind.NUMBER, Kind.PERCENT)

    def _skip_parenthesis(self) -> bool:
        """Skip the mark before a price that is alone in parentheses, `SL (2340)`.

        Return whether there is one.
        """
        number, after = self._peek(1), self._peek(3)
        is_alone = number.kind is Kind.NUMBER and self._peek(2).text == ")"
        is_price = self._peek().text == "(" and is_alone and after.kind is not Kind.NUMBER
        self.place += is_price
        return is_price

    def _is_risk(self, ahead: int) -> bool:
        """Whether “risk” has its percent before it, “1% risk”, and none behind it."""
        mark = 1 if self._peek(ahead + 1).text in tuple(":=-") else 0
        after = self._peek(ahead + 1 + mark).kind
        is_own = after in (Kind.NUMBER, Kind.PERCENT) and (mark or after is Kind.PERCENT)
        return self._peek(ahead).kind is Kind.RISK and not is_own

    def _share(self) -> str:
        start = self.place
        self._skip("(-:")
        if self._peek().kind is Kind.PERCENT and not self._is_risk(1):
            text = self._next().text.rstrip("% ")
            self._skip(")")
            return text
        self.place = start
        return ""

    def _distance(self, level: str) -> Distance | None:
        """Return a distance in pips (`20 pips`, `20pips`), if there is one."""
        token, after = self._peek(), self._peek(1)
        if token.kind is Kind.PERCENT or (token.text == "+" and after.kind is Kind.PERCENT):
            raise ambiguous(
                f"{level.upper()} in percent", "percent of the price",
                "percent of the margin with leverage", "a share of the trade", field=level,
                write="Write the price; a share stands behind it: “TP1 1.0900 (50%)”.",
            )  # fmt: skip
        if token.kind is Kind.NUMBER and after.kind is Kind.PIPS:
            self.place += 2
            return Distance(level, read_pips(token.text, level), Unit.PIPS)
        if token.kind is Kind.WORD and (match := _PIPS.fullmatch(token.text)):
            self.place += 1
            return Distance(level, read_pips(match[1], level), Unit.PIPS)
        if token.kind is Kind.WORD and (match := _POINTS.fullmatch(token.text)):
            raise ambiguous(
                excerpt(token.text), f"{match[1]} pips", f"{match[1]} points, a tenth of that",
                field=level, write=f"Write “{match[1]} pips”, or the price.",
            )  # fmt: skip
        return None

    def _annotation(self, price: str = "") -> None:
        """Skip the pips, the signed percent or the R:R in parentheses: the price counts."""
        if self._peek().text != "(":
            return
        ahead = 1 if self._peek(1).text in "+-" else 0
        number, unit = self._peek(1 + ahead), self._peek(2 + ahead)
        if ahead and number.kind is Kind.PERCENT and unit.text == ")":
            self.place += 4
            self.notes.append(Note(f"({number.text})", "the price counts"))
        elif (
            number.kind is Kind.NUMBER
            and unit.kind is Kind.PIPS
            and (self._peek(3 + ahead).text == ")")
        ):
            self.place += 4 + ahead
            self.stated += [(price, number.text)] if price else []
            self.notes.append(Note(f"({number.text} pips)", "the price counts"))
        elif (
            number.kind is Kind.WORD
            and (_PIPS.fullmatch(number.text) or _POINTS.fullmatch(number.text))
            and unit.text == ")"
        ):
            self.place += 3 + ahead
            if price and (pips := _PIPS.fullmatch(number.text)):
                self.stated.append((price, pips[1]))
            self.notes.append(Note(f"({number.text})", "the price counts"))
        elif not ahead and number.text == "1" and unit.text == ":" and self._peek(4).text == ")":
            self.notes.append(Note(f"(1:{self._peek(3).text})", "the price counts"))
            self.place += 5

    def _no_price(self, what: str, name: str) -> InvalidInputError:
        shown = excerpt(self._peek().text) if self._peek().kind is not Kind.LINE else "nothing"
        price = without_k(self._peek().text) or "a price like 1.0850"
        return not_understood(f"{what} has no price, but {shown}.", f"Write {price}.", field=name)
