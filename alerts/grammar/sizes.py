"""What has no effect: sizes, leverage, risk, charts, and the number of a signal. Pure."""

from collections.abc import Callable
from functools import partial

from alerts.grammar.lexicon import NAMES, Kind, Token, is_frame, kind_of
from alerts.grammar.reading import SIZING, Note
from alerts.grammar.slots import SIDES, Size, Slots

_MOST_LEVERAGE = 500
_MULTIPLES = {f"1{'0' * zeros}" for zeros in range(3, 9)}  # #1000 PEPEUSDT: 1000PEPE/USDT
_MARKS_SIZES = tuple("():=!")


def leverage(slots: Slots) -> None:
    """Skip a leverage: `10x`, `Leverage: Cross 20x`, `5-10x`, `1:100`."""
    slots.part = [one for one in slots.part if one.text.lower() != "at"]
    numbers = slots.numbers
    times = [one for one in slots.part if kind_of(one) == "TIMES"]
    if numbers and times:
        most = int(times[-1].text.lower().strip("x").partition(".")[0])
        if not int(numbers[0].text) < most <= _MOST_LEVERAGE:
            raise slots.unlabelled()
        slots.sizes.append(Size(Kind.LEVERAGE, numbers[0].text, slots.text, is_labelled=True))
    elif numbers and not (numbers[0].text.isdigit() and int(numbers[0].text) <= _MOST_LEVERAGE):
        raise slots.unlabelled()
    _skip(slots)


def ratio(slots: Slots) -> None:
    is_plain = len(slots.numbers) > 1 and slots.numbers[0].text == "1"  # 1:2 is nothing else
    _note_numbers(Kind.RATIO, slots, is_plain=is_plain)


def counted(slots: Slots) -> None:
    """Skip `0.1 lots`."""
    slots.sizes.append(Size(Kind.SIZE, slots.part[0].text, slots.text, is_counted=True))
    _skip(slots)


def _note_numbers(kind: Kind, slots: Slots, *, is_plain: bool = False) -> None:
    is_labelled = any(one.text in (":", "=") for one in slots.part)
    if not is_plain:
        slots.sizes += [
            Size(kind, one.text, slots.text, is_labelled=is_labelled) for one in slots.numbers
        ]
    _skip(slots)


def _skip(slots: Slots) -> None:
    """Note a size without effect. Raises ALERT_AMBIGUOUS for one of 0, by which robots open
    nothing, and for one with a second value that can be the price."""
    digits = [one.text for one in slots.part if any(map(str.isdigit, one.text))]
    if digits and not any(one.strip("0.,xX% ") for one in digits):
        raise slots.ambiguous("size_of_nothing")
    slots.notes.append(Note(_shown(slots), SIZING))
    if slots.after().text in ("-", "/") and slots.after(1).kind is Kind.NUMBER:
        raise slots.ambiguous("second_size")
    if not digits:
        slots.last = "mode"  # “isolated 20”: a number behind it can be its own


def _shown(slots: Slots) -> str:
    words = (
        one.text for one in slots.part if one.kind is not Kind.LINE and one.text not in _MARKS_SIZES
    )
    return " ".join(words).replace(" - ", "-")


def frame(slots: Slots) -> None:
    """Skip “TF: 4h”, “Timeframe: 240”."""
    if slots.numbers and not is_frame(slots.numbers[0].text):
        raise slots.ambiguous("number_of_label")
    slots.notes.append(Note(_shown(slots), "it describes the chart"))


def chart(slots: Slots) -> None:
    """Skip the length of candles beside a symbol, side or description of an entry with levels:
    “SOLUSDT 1h LONG”. Without levels 5m can be how long a binary option lasts; 1M is a month."""
    around = (reversed(slots.tokens[: slots.place]), slots.tokens[slots.place + 1 :])
    beside = [next((one for one in side if one.kind is not Kind.MARK), None) for side in around]
    is_beside = any(
        one and one.kind in (Kind.SYMBOL, Kind.DECOR, *SIDES) and one.text != slots.word
        for one in beside
    )
    has_levels = any(one.kind in (Kind.SL, Kind.STOP, Kind.TP) for one in slots.tokens)
    if not (is_beside and has_levels) or slots.part[0].text.endswith("M"):
        raise slots.unread(slots.part[0])
    slots.notes.append(Note(slots.text, "it describes the chart"))


def signal_number(slots: Slots) -> None:
    """Note the number of “Signal 128” in the first line. Elsewhere it may be a price, as one of
    several digits may be."""
    number = slots.numbers[0].text
    slots.numbered += [number] if len(number) > 1 else []
    slots.notes.append(Note(f"{slots.part[0].text} {number}", "it numbers the signal"))


def described(slots: Slots) -> None:
    """Skip what only describes, and the number of a signal: `Signal #128`, or `#128` before the
    side and symbol. Elsewhere it may be a price, or what a contract counts by."""
    token = slots.part[0]
    if not token.text.startswith("#"):
        return
    is_named = slots.before.text.lower() in NAMES
    if not is_named and (slots.sides or slots.pairs):
        raise slots.ambiguous("listed_number")
    if not is_named and token.text[1:] in _MULTIPLES and _next(slots).kind in (
        Kind.SYMBOL, Kind.WORD
    ):  # fmt: skip
        raise slots.ambiguous("multiple_of_coin")
    if not is_named or slots.before.text.lower() == "signalid":
        slots.numbered.append(token.text[1:])
    slots.notes.append(Note(token.text, "it numbers the signal"))


def _next(slots: Slots) -> Token:
    following = slots.tokens[slots.place + 1 :]
    return next((one for one in following if one.kind is not Kind.LINE), slots.part[0])


HANDLERS: dict[str, Callable[[Slots], None]] = {
    "leverage": leverage, "leverage_range": leverage, "ratio": ratio, "counted": counted,
    "risk": partial(_note_numbers, Kind.RISK), "size": partial(_note_numbers, Kind.SIZE),
    "frame": frame, "chart": chart, "described": described,
}  # fmt: skip
