"""The places of an entry that its statements fill: side, symbol, price, stop, targets. Pure."""

from dataclasses import dataclass, field

from alerts.grammar.lexicon import END, PIPS, Kind, Token
from alerts.grammar.numbers import part_of_number
from alerts.grammar.reading import Distance, Note, excerpt, refusal
from alerts.grammar.words import WRITE, unknown_word
from common.errors import InvalidInputError
from signals.models import Direction

SIDES = {Kind.BUY: Direction.BUY, Kind.SELL: Direction.SELL}
# The nearest line that is read, for a label without a price.
_EXAMPLES: dict[Kind | str, str] = {
    Kind.SL: "SL 1.0800", Kind.STOP: "SL 1.0800", Kind.TP: "TP1 1.0900", Kind.ENTRY: "@ 1.0850",
    "@": "@ 1.0850", "at": "@ 1.0850", "zone": "Entry 1.0840-1.0860", "range":
    "Entry 1.0840-1.0860", Kind.LEVERAGE: "Leverage: 10x", Kind.SIZE: "0.10 lots",
    Kind.RISK: "Risk 1%", Kind.RATIO: "R:R 1:2",
}  # fmt: skip
_ADVICE = {
    Kind.PIPS: f"Write it directly behind its stop or target. {WRITE}",
    Kind.PERCENT: f"Write it directly behind its stop or target. {WRITE}",
    Kind.OPEN_END: "Write “TP3 open”, or “TP 2350, 2360, open” with a comma before it.",
}
_GAP = {":", "=", "@", "-", "(", "at", "zone", "range", "with", "on", "and", "\n"}


@dataclass(slots=True)
class TargetText:
    """A target as written. price: '' for an open one. share: in percent; ''."""

    price: str
    share: str = ""


@dataclass(frozen=True, slots=True)
class Size:
    """A number without effect. shown: its statement. is_counted: its unit is behind it, `0.1 lots`.
    is_labelled: it is as clear beside the market, `Lot: 0.10`, `3-5x`; alone 3 can be a price."""

    kind: Kind
    text: str
    shown: str
    is_counted: bool = False
    is_labelled: bool = False


@dataclass(slots=True)
class Slots:
    """The places of an entry, and the statement that is read.

    part: its words. place: of the first one. last: the statement before it, marks left out. label:
    the label before it. is_bare: the price has no @ and no label. stated: prices, and the pips
    beside them. numbered: numbers of the signal itself. money: a level with a $. word: a symbol
    that only its place shows.
    """

    tokens: list[Token]
    sides: list[Direction] = field(default_factory=list)
    pairs: list[str] = field(default_factory=list)
    types: list[Kind] = field(default_factory=list)
    entry: list[str] = field(default_factory=list)
    sl: str = ""
    targets: list[TargetText] = field(default_factory=list)
    distances: list[Distance] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    stated: list[tuple[str, str]] = field(default_factory=list)
    sizes: list[Size] = field(default_factory=list)
    numbered: list[str] = field(default_factory=list)
    money: str = ""
    is_bare: bool = False
    is_market_entry: bool = False
    entry_place: int = -1
    word: str = ""
    label: str = ""
    last: str = ""
    place: int = 0
    part: list[Token] = field(default_factory=list)

    @property
    def before(self) -> Token:
        """The word before the statement."""
        return self.tokens[self.place - 1] if self.place else END

    def after(self, ahead: int = 0) -> Token:
        """Return a word behind the statement."""
        place = self.place + len(self.part) + ahead
        return self.tokens[place] if place < len(self.tokens) else END

    @property
    def numbers(self) -> list[Token]:
        """The numbers of the statement."""
        return [one for one in self.part if one.kind is Kind.NUMBER]

    @property
    def text(self) -> str:
        """The statement as it is written, with single gaps."""
        return " ".join(one.text for one in self.part if one.kind is not Kind.LINE)

    @property
    def prices(self) -> list[str]:
        """The prices so far, as they are written."""
        found = (*self.entry, self.sl, *(one.price for one in self.targets))
        return [text for text in found if text]

    @property
    def has_levels(self) -> bool:
        return bool(self.sl or self.targets or self.distances)

    def has_distance(self, level: str) -> bool:
        return any(one.level == level for one in self.distances)

    def ambiguous(self, name: str) -> InvalidInputError:
        """Return the error for the statement with the readings of this name."""
        numbers = self.numbers or [one for one in self.part if any(map(str.isdigit, one.text))]
        first = numbers[0].text if numbers else ""
        words = {
            "text": self.text, "label": self.part[0].text, "LABEL": self.part[0].text.upper(),
            "number": numbers[-1].text if numbers else "", "entry": "".join(self.entry[:1]),
            "price": first, "first": first,
            "LAST": self.part[-1].text.upper(), "next": self.next_word.lstrip("#$"),
        }  # fmt: skip
        words["digits"] = "".join(one for one in words["number"] if one.isdigit() or one == ".")
        return refusal(name, **words)

    @property
    def next_word(self) -> str:
        """The first word or number behind the statement."""
        following = (one for one in self.tokens[self.place + len(self.part) :])
        kinds = (Kind.LINE, Kind.MARK)
        return next((one.text for one in following if one.kind not in kinds), "")

    def unlabelled(self, token: Token | None = None) -> InvalidInputError:
        """Return the error for a number of which no statement says what it is."""
        number = token or self.numbers[0]
        if error := part_of_number(self.tokens, self.tokens.index(number)):
            return error
        if self.sides and not self.pairs:
            return self.ambiguous("number_before_symbol")
        write = (
            f"Write “@ {number.text}” for the price, “SL {number.text}” for the stop, "
            f"“TP {number.text}” for a target."
        )
        if self.before.kind is Kind.DECOR and self.before.text.endswith("signal"):
            write = f"Write “Signal #{number.text}”."
        return refusal("unlabelled", text=number.text, write=write)

    def unread(self, token: Token) -> InvalidInputError:
        """Return the error for a word that begins no statement, with the nearest line that is
        read."""
        if token.kind is Kind.NUMBER:
            return self.unlabelled(token)
        if example := _EXAMPLES.get(token.kind) or _EXAMPLES.get(token.text):
            return self._no_price(token, example)
        if token.kind is Kind.WORD:
            return self._unknown(token)
        write = _ADVICE.get(token.kind, WRITE)
        return refusal("word_in_no_place", text=token.text, write=write)

    def _no_price(self, label: Token, example: str) -> InvalidInputError:
        """Return the error for a label that no price follows."""
        following = self.tokens[self.tokens.index(label) + 1 :]
        found = next((one for one in following if one.text.lower() not in _GAP), END)
        if found.kind is Kind.WORD:
            return self._unknown(found)
        shown = "nothing" if found.kind is Kind.LINE else excerpt(found.text)
        return refusal("no_price", text=label.text, shown=shown, example=example)

    def _unknown(self, token: Token) -> InvalidInputError:
        place = self.tokens.index(token)
        beside = self.tokens[max(0, place - 1) : place + 2]
        return unknown_word(
            token.text, [one.text for one in self.tokens if one.kind is Kind.WORD],
            has_symbol=any(one.kind is Kind.SYMBOL for one in self.tokens),
            is_beside_side=any(one.kind in SIDES for one in beside),
        )  # fmt: skip

    def describe(self, part: list[Token], price: str = "") -> None:
        """Note what describes a price: (50 pips), “Risk 50 pips”. price: the last before."""
        depth, before = 0, END
        for place, token in enumerate(part):
            depth += (token.text == "(") - (token.text == ")")
            after = part[place + 1] if place + 1 < len(part) else END
            if not depth and before.kind not in (Kind.RISK, Kind.RATIO):
                price = token.text if token.kind is Kind.NUMBER else price
            elif token.kind is Kind.NUMBER and (after.kind is Kind.PIPS or after.text == "points"):
                self._note_pips(price, token.text, f"({token.text} {after.text})")
            elif token.kind is Kind.WORD and (match := PIPS.fullmatch(token.text)):
                self._note_pips(price, match[1], f"({token.text})")
            elif after.text == ":":
                self.notes.append(Note(f"(1:{part[place + 2].text})", "the price counts"))
            elif token.kind is Kind.PERCENT and part[place - 1].text in tuple("+-"):
                self.notes.append(Note(f"({token.text})", "the price counts"))
            before = token

    def _note_pips(self, price: str, pips: str, shown: str) -> None:
        self.stated += [(price, pips)] if price else []
        self.notes.append(Note(shown, "the price counts"))
