"""Read the targets of an entry: one, a list, numbered ones, with shares or without. Pure."""

import re
from dataclasses import dataclass, field

from alerts.dialects.cursor import Cursor
from alerts.dialects.numbers import read_number
from alerts.dialects.reading import Distance, ambiguous, not_understood
from alerts.dialects.vocabulary import Kind, Token

SEPARATORS = ":=@-"
_DECIMALS = 2  # of a price that a whole number may stand beside in a list


@dataclass(slots=True)
class TargetText:
    """A target as written. price: '' for an open one. share: in percent; ''."""

    price: str
    share: str = ""


@dataclass(slots=True)
class TargetLists(Cursor):
    """The prices that a text has so far, as written. sl: '' without a stop. money: a level that was
    written with a $; '' if none was."""

    entry: list[str] = field(default_factory=list)
    sl: str = ""
    targets: list[TargetText] = field(default_factory=list)
    distances: list[Distance] = field(default_factory=list)
    money: str = ""

    def _targets(self, token: Token) -> None:
        """Read a target, or a list of them."""
        index = token.index or self._index()
        self.list_mark = self.list_mark if self.targets else ""
        if index and index != len(self.targets) + 1:
            raise not_understood(
                f"Target {index} is number {len(self.targets) + 1} of the text.",
                "Number targets from 1, each once.", field="targets",
            )  # fmt: skip
        if index and self._peek().text == "." and self._peek(1).kind is Kind.NUMBER:
            self.place += 1  # “TP1. 2360”
        start = self.place
        has_dash = self._skip_label()
        # “TP @ 1.0900 @ 1.0950”; before the entry a second one can be its price
        label = {one.text for one in self.tokens[start : self.place]} if self.entry else set()
        if self._is_heading():
            return
        if distance := self._distance("tp"):
            self._require_no_sign(distance, has_dash=has_dash)
            if self.targets or any(one.level == "tp" for one in self.distances):
                raise not_understood("Only one target can be in pips.", "Write prices.", field="tp")
            self.distances.append(distance)
            return
        if not self._skip_parenthesis():
            self._skip_enumerator(len(self.targets) + 1)
        self._target(is_numbered=bool(index))
        joints = "-" if not index and self._is_joined_by_dashes() else ""
        joints += "@" if "@" in label else ""
        while not index and self._has_another(joints):
            self._skip(",/|&;-@", Kind.LINE, Kind.FILLER)
            self._skip_enumerator(len(self.targets) + 1)
            self._target(is_numbered=False)

    def _skip_label(self) -> bool:
        """Skip what stands between a label and its price; return whether a dash did."""
        start = self.place
        self._skip(SEPARATORS, Kind.LINE, Kind.FILLER)
        return any(token.text == "-" for token in self.tokens[start : self.place])

    def _is_heading(self) -> bool:
        """Whether the lines that follow label each target themselves: “Targets:”, “1) TP1: …”."""
        is_listed = self._peek().kind is Kind.NUMBER and self._peek(1).text == ")"
        return self._peek(2 if is_listed else 0).kind is Kind.TP

    @staticmethod
    def _require_no_sign(distance: Distance, *, has_dash: bool) -> None:
        if has_dash:
            raise ambiguous(
                f"A dash before {distance.value} {distance.unit.lower()}", "a separator",
                "a loss", field=distance.level, write="Write the distance without a dash.",
            )  # fmt: skip

    def _is_joined_by_dashes(self) -> bool:
        """Whether dashes join the targets: three or more. Two could also be the edges of a zone."""
        numbers = 0
        while self._peek(2 * numbers).text == "-" and (
            self._peek(2 * numbers + 1).kind is Kind.NUMBER
        ):
            numbers += 1
        if numbers == 1:
            raise ambiguous(
                "Two targets joined by a dash", "two targets", "a zone for one", field="targets",
                write="Write “TP 1.0900, 1.0950” for two, or one price.",
            )  # fmt: skip
        return numbers > 1

    def _target(self, *, is_numbered: bool) -> None:
        if self._peek().kind is Kind.OPEN_END:
            self.place += 1
            self.targets.append(TargetText(""))
            return
        if self._peek().kind is not Kind.NUMBER:
            raise self._no_price("The target", "targets")
        if any(one.level == "tp" for one in self.distances):
            raise not_understood("Only one target can be in pips.", "Write prices.", field="tp")
        self._note_money()
        price = self._next().text
        self.targets.append(TargetText(price, self._share()))
        self._annotation(price)

    def _note_money(self) -> None:
        if self._peek().is_money:
            self.money = self._peek().text

    def _lines_ahead(self) -> int:
        """Return how many line ends follow."""
        lines = 0
        while self._peek(lines).kind is Kind.LINE and self.place + lines < len(self.tokens):
            lines += 1
        return lines

    def _has_another(self, joints: str) -> bool:
        """Whether the list of targets goes on: after a comma or space, or on the next line.

        joints: the marks that join these targets besides.
        """
        lines = self._lines_ahead()
        first, second = self._peek(lines), self._peek(lines + 1)
        if self._is_enumerator(lines):
            return self._peek(lines + 2).kind is not Kind.TP
        if self._is_in_list(lines, len(self.targets) + 1):
            return True
        if lines:
            is_alone = second.kind is Kind.LINE or second.text in ("(", ",")
            is_price = is_alone and self._is_like_target(first.text, at_most=1)
            return first.kind is Kind.NUMBER and is_price
        if first.text in (*",/|&;", "and", *joints):
            return second.kind in (Kind.NUMBER, Kind.OPEN_END)
        is_counted = second.kind is Kind.PIPS or self._is_unit(lines + 1)
        return first.kind is Kind.NUMBER and not is_counted and self._is_like_target(first.text)

    def _is_like_target(self, text: str, *, at_most: int = 0) -> bool:
        """Whether a number without a comma before it looks like the target before it: 1 950 is one
        number with a space, or two. at_most: by how many digits it may be longer or shorter."""
        numbers = [re.split("[.,]", one) for one in (self.targets[-1].price, text)]
        digits, decimals = ([len(one[part]) for one in numbers] for part in (0, -1))
        differs = len(numbers[0]) != len(numbers[1]) or decimals[0] != decimals[1]
        if differs and min(digits) < 3:
            return False  # 1.0900 and 1.5: not two prices of one symbol
        return abs(digits[0] - digits[1]) <= at_most and (digits[1] > 1 or "." in text)

    def _index(self) -> int:
        """Return the number of a target that is written apart from the word: `TP 1: 1.0900`."""
        number, mark, after = self._peek(), self._peek(1), self._peek(2)
        if number.kind is not Kind.NUMBER or not re.fullmatch("[1-9]", number.text):
            return 0
        is_marked = (mark.text in (":", ")", "=", "@") or mark.text.lower() == "at") and (
            after.kind in (Kind.NUMBER, Kind.OPEN_END)
        )
        is_price = len(after.text) > 2 and self._has_as_many_digits(after.text)
        is_marked |= mark.text == "-" and is_price
        is_apart = mark.kind is Kind.NUMBER and self._has_as_many_digits(mark.text)
        is_apart |= mark.kind is Kind.OPEN_END and int(number.text) == len(self.targets) + 1 > 1
        if not (is_marked or is_apart):
            return 0
        price = after if is_marked else mark
        if (is_apart or mark.text == "-") and price.kind is Kind.NUMBER:
            self._require_no_list(number.text, price.text)
        self.place += 2 if is_marked else 1
        return int(number.text)

    def _require_no_list(self, number: str, price: str) -> None:
        """Raise ALERT_AMBIGUOUS for a number that is as likely the first of two targets."""
        if self._is_list(number, price):
            raise ambiguous(
                f"TP {number} {price}", f"target {number} at {price}",
                f"two targets, {number} and {price}", field="targets",
                write=f"Write “TP{number}: {price}” for the one, “TP {number}, {price}” for the "
                "other.",
            )  # fmt: skip

    def _is_list(self, number: str, price: str) -> bool:
        """Whether the number of a target could be the first of two targets, as in “@ 0.92 TP 1
        1.2”: it is on the way from the prices before it, and no other target has a number."""
        known = [target.price for target in self.targets[-1:]] or self.entry or [self.sl]
        if not known[-1]:
            return False
        texts = (known[-1], number, price)
        start, first, last = (read_number(text, field="targets") for text in texts)
        others = (place for place in range(len(self.tokens)) if place != self.place - 1)
        is_on_way = start < first < last or start > first > last
        is_on_way &= len(price.partition(".")[2]) <= _DECIMALS  # 1 and 0.9900 are no list
        return is_on_way and not any(self._is_numbered(place) for place in others)

    def _is_numbered(self, place: int) -> bool:
        """Whether a target has a number of its own here: “TP2”, “TP 2 1.0950”, “TP 2: 1.0950”."""
        token, number, after = (*self.tokens[place : place + 3], None, None)[:3]
        if token is None or token.kind is not Kind.TP:
            return False
        is_small = number is not None and bool(re.fullmatch("[1-9]", number.text))
        return token.index > 0 or (is_small and after is not None and after.kind is not Kind.LINE)

    def _has_as_many_digits(self, text: str) -> bool:
        """Whether a number looks like the prices before it: so many digits before the point."""
        known = [*self.entry, self.sl, *(target.price for target in self.targets)]
        digits = [len(re.split("[.,]", price)[0]) for price in known if price]
        return bool(digits) and all(len(re.split("[.,]", text)[0]) == one for one in digits)
