"""No number of a text vanishes: each is in what was read, or in a note, or the text is refused."""

import json
import re
from decimal import Decimal as D
from functools import cache
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from alerts.forms.envelopes import from_form
from alerts.grammar.characters import readable
from alerts.grammar.decoration import without_signature
from alerts.grammar.lexicon import PHRASES, Kind, Token
from alerts.grammar.tokens import raw_tokens
from alerts.reading import Alert, Dialect, read_alert
from common.errors import InvalidInputError
from tests.alerts.alert_rendering import rendered

GOLDEN = Path(__file__).parent / "alerts_golden"
TEXTS = [text for path in sorted(GOLDEN.glob("*.json")) for text, _ in json.loads(path.read_text())]
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T\S+Z")
_NUMBER = re.compile(r"[0-9]+(?:[.,][0-9]+)*")


def read(text: str) -> Alert | None:
    """Return what a text in words is read as; None: it is refused, or of another form."""
    try:
        alert = read_alert(text.encode())
    except InvalidInputError:
        return None
    is_text = alert.dialect in (Dialect.TEXT, Dialect.TEXT_UPDATE) and not text.startswith("{")
    return alert if is_text else None


@cache
def read_texts() -> list[str]:
    """Return the golden texts that are read as words: not when tests are collected, since reading
    all takes a second."""
    return [text for text in TEXTS if read(text) is not None]


def meanings(text: str) -> set[D]:
    """Return what the numbers of a text could be: 64,200 with its comma as either mark."""
    found = set[D]()
    for number in _NUMBER.findall(text):
        for plain in (number.replace(",", ""), number.replace(".", "").replace(",", "."),
                      number.replace(",", ".")):  # fmt: skip
            if re.fullmatch(r"[0-9]+(\.[0-9]+)?", plain):
                found.add(D(plain))
    return found


def shown(text: str, alert: Alert) -> set[D]:
    """Return the numbers of a reading and of its notes."""
    notes = " ".join(f"{note.text} {note.reason}" for note in alert.notes)
    return meanings(rendered(text).replace(",", " ")) | meanings(notes)


def is_ordinal(tokens: list[Token], place: int) -> bool:
    """Whether a number counts lines or targets: `1) 3200`, `1. 3200`, `1: 3200` in a line of
    its own, `1) 3200 2) 3210` and `1. 3200 2. 3210` in one, `TP 2 OPEN`, `Entry 1: 1.0850`."""
    number, before, after = tokens[place], tokens[place - 1], tokens[place + 1 : place + 3]
    is_small = bool(re.fullmatch("[1-9]|10", number.text))
    has_line = bool(place) and before.kind is Kind.LINE
    marks = (")", ".", ":", "-") if has_line else (")", ".")
    is_listed = bool(after) and after[0].text in marks
    if is_listed and after[0].text == "." and not has_line:
        is_listed = len(after) == 2 and after[1].kind is Kind.NUMBER
    return is_small and (is_listed or (place > 0 and _is_label(before)))


def _is_label(token: Token) -> bool:
    word = token.text.lower()
    return PHRASES.get((word,)) in (Kind.TP, Kind.ENTRY) or word in ("take", "profit")


def test_each_number_of_a_text_is_read_or_noted() -> None:
    lost = []
    for text in read_texts():
        alert = read(text)
        assert alert is not None
        found = shown(text, alert)
        plain = readable(_TIME.sub("", from_form(text)))
        tokens = raw_tokens(without_signature(plain)[0].strip())
        for place, token in enumerate(tokens):
            is_number = token.kind in (Kind.NUMBER, Kind.PERCENT)
            if not is_number or is_ordinal(tokens, place) or alert.dialect is Dialect.TEXT_UPDATE:
                continue
            meant = meanings(token.text)
            if token.kind is Kind.PERCENT:
                meant |= {number / 100 for number in meant}
            if token.text != "100%" and not meant & found:  # all of it is no share
                lost.append((text, token.text))
    assert lost == [], lost


FORMS = [
    "{}", "({})", "#{}", "@{}", "{} lots", "{}%", "-{}", "/ {}", ", {}", "[{}]", "{}p", "{}x",
    "{} pips", "({} pips)", "+{}", "({}%)", "(+{}%)", "1:{}", "lot {}", "{}:", "risk {}", "${}",
    "= {}", "margin {}", "{} USDT", "amount {}", "{} margin", "Risk: {}%", "| {}", "{} )",
]  # fmt: skip
NUMBERS = st.one_of(
    st.integers(11, 99_999).map(str),
    st.builds(lambda whole, part: f"{whole}.{part:04}", st.integers(0, 3), st.integers(1, 9_999)),
)


@given(
    st.deferred(lambda: st.sampled_from(read_texts())),
    st.sampled_from(FORMS),
    NUMBERS,
    st.integers(0, 400),
)
def test_number_that_is_added_anywhere_is_read_noted_or_refused(
    text: str, form: str, number: str, place: int
) -> None:
    if D(number) in meanings(text):
        return
    gaps = [0, *(i for i, letter in enumerate(text) if letter in " \n"), len(text)]
    at = gaps[place % len(gaps)]
    changed = f"{text[:at]} {form.format(number)} {text[at:]}"
    if alert := read(changed):
        share = D(number) / 100
        assert {D(number), share, 1 - share} & shown(changed, alert), changed


COMMANDS = [
    ("60123456789,buy,EURUSD,", ",", ["risk=1", "sl=30", "tp=60", "betrigger=20", "comment=Long"]),
    ("60123456789,closelong,EURUSD,", ",", ["risk=1", "secret=abc", "comment=Exit"]),
    ("e=binance s=BTCUSDT b=long t=market ", " ", ["q=10%", "sl=@42000", "tp=@44000", "l=5"]),
    ("bybit(BTCUSDT) { market(", ", ", ["side=buy", "amount=1", "leverage=5"]),
]  # fmt: skip
ENDS = {"bybit": "); }"}


@given(
    st.sampled_from(COMMANDS), st.sampled_from([" ", ";", "; ", ".", "|", "&", "/", ":", "", "\t"]),
    st.data(),
)  # fmt: skip
def test_missing_separator_never_loses_an_option(
    command: tuple[str, str, list[str]], wrong: str, data: st.DataObject
) -> None:
    start, right, options = command
    options = data.draw(st.permutations(options))
    place = data.draw(st.integers(1, len(options) - 1))
    end = ENDS.get(start[:5], "")
    text = start + right.join(options[:place]) + wrong + right.join(options[place:]) + end
    shown = rendered(start + right.join(options) + end)
    assert not shown.startswith("refuse")
    if wrong.strip() or right != " ":
        assert rendered(text) in (shown, "refuse ALERT_NOT_UNDERSTOOD"), text
