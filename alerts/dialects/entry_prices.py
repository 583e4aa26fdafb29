"""Read the entry price of a text, or the ends of a range: of one entry, not of several. Pure."""

from dataclasses import dataclass

from alerts.dialects.numbers import read_number
from alerts.dialects.reading import ambiguous
from alerts.dialects.target_lists import TargetLists
from alerts.dialects.vocabulary import Kind
from common.errors import InvalidInputError

MOST_LEVERAGE = 500


@dataclass(slots=True)
class EntryPrices(TargetLists):
    """The prices of an entry, among those of a text. entry_place: of the first one's token.
    is_at_market: a word says so."""

    entry_place: int = -1
    is_at_market: bool = False

    def _take_entry(self, *, joint: str = "-") -> None:
        """Take an entry price, or a range. joint: what joins its ends, “and” after “between”."""
        if self.entry:
            raise self._several_entries()
        if self._is_leverage_range(0):
            raise self._no_price("The entry", "open_price")
        self.entry_place = self.place
        self.entry.append(self._next().text)
        if self._peek().text == joint and self._peek(1).kind is Kind.NUMBER:
            self.place += 1
            self.entry.append(self._next().text)
        elif joint != "-":
            raise self._no_price("The other end of the range", "open_price")
        if self._peek().text in (",", "/", "&") and self._peek(1).kind is Kind.NUMBER:
            raise self._several_entries()
        self._annotation()
        share = self._share()
        lines = self._lines_ahead()
        is_listed = self._peek(lines).kind is Kind.NUMBER and self._peek(lines + 1).text == ")"
        is_listed &= self._peek(lines + 2).kind not in (Kind.TP, Kind.SL, Kind.STOP)
        if is_listed or self._is_in_list(lines, 2) or (share and read_number(share) != 100):
            raise self._several_entries()

    def _is_leverage_range(self, ahead: int) -> bool:
        """Whether “5-10x” stands here."""
        least, joint, most = (self._peek(ahead + more) for more in range(3))
        digits = most.text.lower().removesuffix("x")
        is_range = least.text.isdigit() and digits.isdigit() and most.kind is Kind.LEVERAGE
        return is_range and joint.text == "-" and int(least.text) < int(digits) <= MOST_LEVERAGE

    def _labels_entry(self) -> bool:
        """Take the price of “Buy: 14.20-14.50” or “Buy at 2350”, a line below “LONG”.

        Return whether the side is its label.
        """
        starts_line = self.place > 1 and self.tokens[self.place - 2].kind is Kind.LINE
        ahead = 1 if self._peek().text.lower() == "zone" else 0
        is_label = (
            self._peek(ahead).text.lower() in (":", "at", "@")
            and self._peek(ahead + 1).kind is Kind.NUMBER
        )
        if not (starts_line and is_label) or self.entry or self.is_at_market:
            return False
        self.place += ahead + 1
        self._take_entry()
        return True

    def _skip_number_of_entry(self) -> None:
        """Skip the number of “Entry 1: 1.0850”."""
        number, mark, price = self._peek(), self._peek(1), self._peek(2)
        if number.text == "1" and mark.text == ":" and price.kind is Kind.NUMBER:
            self.place += 2

    def _several_entries(self) -> InvalidInputError:
        return ambiguous(
            "Several entry prices", "a range", "an entry at each", field="open_price",
            write="Write a range as 1.0840-1.0860, or one message for each entry.",
        )  # fmt: skip
