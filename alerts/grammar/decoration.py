"""What stands around a signal: emoji, disclaimers, links, exchanges, sizes. Pure.

Both lists are closed, as the vocabulary is: any other emoji or line is refused.
"""

import re
import unicodedata

from alerts.grammar.lexicon import LEXICON, emoji, pattern
from alerts.grammar.reading import SIZING, Note, excerpt

REACHED = emoji("reached")
CROSSES = emoji("crosses")
# “Not”, “wait”, “perhaps”, “the other way round”: for the phrases that a mapping ignores.
FORBIDDING = emoji("crosses", "forbidding")
_UP, _DOWN, _GREEN, _RED = (emoji(name) for name in ("up", "down", "green", "red"))
_FLAGS = {chr(code) for code in range(0x1F1E6, 0x1F200)}
_LINES = {chr(code) for code in range(0x2500, 0x25A0)}
# Each only in a line with such a word: a lock beside a stop that is moved, a clock beside “now”.
_BESIDE = {
    letter: re.compile(rf"\b(?:{words})\b", re.IGNORECASE)
    for letters, words in LEXICON["beside"].items() for letter in letters
}  # fmt: skip
_PLAIN = emoji("up", "down", "green", "red", "arrows", "signs", "shapes", "tones") | _FLAGS | _LINES
_BEFORE_LABEL, _BEFORE_LEVEL = (
    re.compile(rf"[^A-Za-z0-9]*(?:{'|'.join(LEXICON['marked'][name])})(?![A-Za-z])", re.IGNORECASE)
    for name in ("labels", "levels")
)
_LEVEL = re.compile(r"\b(?:sl|stop|tp[0-9]?|target|profit)\b", re.IGNORECASE)
_SIDE = re.compile(r"\b(?:buy|sell|long|short)\b", re.IGNORECASE)
_UPDATE = re.compile(
    r"\b(?:close|exit|cancel|move|reduce|secure|set|(?:sl|stop) to)\b", re.IGNORECASE
)


def is_plain(letter: str, line: str) -> bool:
    """Whether an emoji changes nothing in its line, or only points up or down (`trend_of`)."""
    if words := _BESIDE.get(letter):
        return bool(words.search(line))
    return letter in _PLAIN


def is_of_label(line: str, place: int) -> bool:
    """Whether a check mark at the beginning of a line marks a price or an instruction, “✅ TP1
    1.0900”: before an entry, “✅ BUY EURUSD”, it can say that it is done."""
    is_update, is_label = bool(_UPDATE.search(line)), bool(_BEFORE_LABEL.match(line, place + 1))
    return (is_update and is_label) if _SIDE.search(line) else (is_update or is_label)


def _colours_level(line: str, place: int) -> bool:
    """Whether a circle is about a level or a label: “🔴 SL 1.0800”, “SL 1.0800 🔴”."""
    if _SIDE.search(line):
        return bool(_BEFORE_LEVEL.match(line, place + 1))
    return bool(_BEFORE_LABEL.match(line, place + 1) or _LEVEL.search(line))


def forbidding(text: str) -> str:
    """Return the first emoji of a text that can change a signal; '' if there is none."""
    changing = FORBIDDING | REACHED | _UP | _DOWN | _GREEN | _RED
    for one in text:
        is_emoji = unicodedata.category(one) in ("So", "Sk") and not one.isascii()
        if one in changing or (is_emoji and one not in _PLAIN):
            return one
    return ""


def trend_of(text: str) -> str:
    """Return BUY or SELL if the emoji of a text all point up or down; else empty.

    One before a level is about that, “🔻 SL 1.0800”; a circle also behind it: “SL 1.0800 🔴”.
    """
    sides = {
        "BUY" if letter in _UP | _GREEN else "SELL"
        for line in text.split("\n") for place, letter in enumerate(line)
        if (letter in _UP | _DOWN and not _BEFORE_LEVEL.match(line, place + 1))
        or (letter in _GREEN | _RED and not _colours_level(line, place))
    }  # fmt: skip
    return sides.pop() if len(sides) == 1 else ""


_CHANNEL, _LINK, _DISCLAIMER, _WARNING, _SIZE, _VENUES, _CONFIDENCE, _BEHIND, _CALL = (
    pattern("around", name)
    for name in ("channel", "link", "disclaimer", "warning", "size", "venues", "confidence",
                 "behind", "call")
)  # fmt: skip
_SENTENCE_END = re.compile(r"(?<![.!;|])[.!;|]+(?=[ \t]|\Z)")  # a run from its beginning only
_RULE = re.compile("[_=~]{3,}")


def without_signature(text: str) -> tuple[str, tuple[Note, ...]]:
    """Return a readable text without the lines that change nothing, and what they were."""
    lines, notes = [], []
    for line in _CALL.sub("", text).split("\n"):
        while behind := _BEHIND.search(line):
            line = line[: behind.start()]
            notes.append(Note(excerpt(behind[0].strip(" \t,;|.-!")), "it changes nothing"))
        words = line.strip(" \t.!-*|")
        if reason := _reason(words):
            notes.append(Note(excerpt(words), reason))
        elif not _RULE.fullmatch(words):
            lines.append(line)
    return "\n".join(lines), tuple(notes)


def _reason(words: str) -> str:
    """Return why a line has no effect; '' if it may have one."""
    if _SIZE.fullmatch(words):
        return SIZING
    if _VENUES.fullmatch(words):
        return "accounts choose where they trade"
    sentences = [one.strip(" \t") for one in _SENTENCE_END.split(_WARNING.sub("", words))]
    is_disclaimer = bool(sentences) and all(map(_DISCLAIMER.fullmatch, filter(None, sentences)))
    is_disclaimer &= any(sentences)
    is_known = is_disclaimer or any(
        known.fullmatch(words) for known in (_CHANNEL, _LINK, _CONFIDENCE)
    )
    return "a line that changes nothing" if is_known else ""
