"""Make a message's characters safe to read: what cannot be seen, or looks like another, is refused.

Emoji between words are decoration, except those that say that a target was reached or that
something is not to be done.
"""

import re
import unicodedata

from common.errors import InvalidInputError
from signals.alert_dialects.reading import ambiguous, excerpt, not_understood

_KEYCAP = re.compile("([0-9])\ufe0f?\u20e3")
_JOINER, _VARIANT = "\u200d", "\ufe0f"
_REACHED = set("✅☑✔✓🏆💯")
# “Not”, “wait”, “perhaps”, “watch”, “the other way round”.
_CROSSES = set("❌🚫⛔🛑✖❎✗✘✕☒🗙🛇")
_FORBIDDING = _CROSSES | set("🙅❓❔⁉✋🤚🖐👎🚷⏸⏹⏳⌛🤔🤷👀🧐🔜💤😴🙈🤞🗑♻↩↪⟲⟳🔄🔁🔃🔙🔟")
_UP, _DOWN = set("📈⬆🔼↗↑⤴🐂"), set("📉⬇🔽↘↓⤵🐻")
_STOP_WORD = re.compile(r"\s*(sl|s/l|stop)\b", re.IGNORECASE)
_REPORTED = re.compile(r"\b(hit|reached|done)\s*$", re.IGNORECASE)  # the word says it, too
_DASHES = str.maketrans({"–": "-", "—": "-", "‐": "-", "‑": "-", "‒": "-", "―": "-", "’": "'",
                         "\u00a0": " ", "\u202f": " ", "\r": "\n", "ℹ": " "})  # fmt: skip
_MINUS = re.compile("([0-9]?)([ \t]*)[−➖➕]([ \t]*[0-9]?)")
_ARROW = re.compile("[-=]+>")  # as typed: SL -> 1.0800
_BULLET = re.compile(r"^[ \t]*(?:[-*][ \t]+|[•·‣⁃∙◦][ \t]*)(?=\S)", re.MULTILINE)
_NUMBER_BEFORE = re.compile(r"(?<![A-Za-z0-9])[0-9][0-9.,]*[ \t]*$")
_DECORATION = {"So", "Sk", "Sm"}
_ASCII_SYMBOLS = set("+<=>^`|~$")
_PLAIN_SQUARES = set("🆕🆓◽◾▷◁")
_AS_LETTERS = re.compile("SQUARED|CIRCLED|PARENTHESIZED|IDEOGRAPH|KEYCAP|SCRIPT|FRAKTUR")
MAX_CHARACTERS = 4_000


def readable(text: str) -> str:
    """Return a text with ASCII letters, digits and marks only. Raises InvalidInputError."""
    if len(text) > MAX_CHARACTERS:
        raise not_understood(
            f"It has {len(text)} characters.", f"Write at most {MAX_CHARACTERS}, the signal only."
        )
    text = _KEYCAP.sub(r"\1 ", text.removeprefix("\ufeff")).translate(_DASHES)
    text = _BULLET.sub("  ", _ARROW.sub("→", _MINUS.sub(_dash, text)))
    text = re.sub(r"[ \t]*•[ \t]*", ", ", text)
    lines = [_line(line) for line in text.split("\n")]
    plain = "\n".join(lines)
    for letter in plain:
        if not (letter.isascii() and (letter.isprintable() or letter in "\n\t")):
            raise _unreadable(letter)
    return plain.replace("**", " ")


def _line(line: str) -> str:
    """Return a line without its decoration."""
    shown: list[str] = []
    is_start = True
    for index, letter in enumerate(line):
        if letter in (_VARIANT, _JOINER):
            before, after = line[index - 1 : index], line[index + 1 : index + 2]
            if (before + after).isascii() and before + after:
                raise _unreadable(letter)
            continue
        if letter in _REACHED and not is_start and not _REPORTED.search("".join(shown)):
            raise not_understood(
                f"{letter} after a word can say that it was reached.",
                "Leave it out, or write it at the beginning of a line.",
            )
        is_of_stop = letter in _CROSSES and _STOP_WORD.match(_after(line, index))
        if letter in _FORBIDDING and not is_of_stop:
            raise not_understood(f"{letter} can say that it is not meant.", "Leave it out.")
        if letter in _ASCII_SYMBOLS or unicodedata.category(letter) not in _DECORATION:
            shown.append(letter)
            is_start = is_start and letter.isspace()
        else:
            _require_decoration(letter, "".join(shown), _after(line, index))
            # what a report is followed by is another instruction
            is_report = letter in _REACHED or _REPORTED.search("".join(shown))
            shown.append("," if is_report and not is_start else " ")
    return "".join(shown)


def _dash(match: re.Match[str]) -> str:
    """Return a dash for a minus sign between numbers, or before a word. Raises InvalidInputError
    before a number alone, where it can mean less, a loss, or nothing."""
    before, space, after = match[1], match[2], match[3]
    sign = match[0].strip(" \t0123456789")
    if after.strip() and (sign != "−" or not before):
        raise ambiguous(
            f"{sign} before a number", "a separator", "a number below zero",
            write="Write prices without a sign.",
        )  # fmt: skip
    return f"{before}{space}{'-' if sign == '−' else ' '}{after}"


def _require_decoration(letter: str, before: str, after: str) -> None:
    """Raise InvalidInputError for a symbol that is no decoration: a comparison, a picture of a
    letter, an arrow from one number to another."""
    name = unicodedata.name(letter, "")
    if letter in _PLAIN_SQUARES or letter in _REACHED:
        return
    if _AS_LETTERS.search(name):
        raise _unreadable(letter)
    is_arrow = "ARROW" in name or letter in "▶◀⏩⏪"
    if unicodedata.category(letter) == "Sm" and not is_arrow:
        raise not_understood(
            f"{letter} ({name.lower()}) compares or calculates.", "Write the price alone."
        )
    if is_arrow and _NUMBER_BEFORE.search(before) and after.lstrip()[:1].isdigit():
        raise ambiguous(
            f"{letter} between two numbers", "a range", "a change from one to the other",
            write="Write a range with a dash, or the new price alone.",
        )  # fmt: skip


def _after(line: str, index: int) -> str:
    """Return what follows an emoji, without the marks that belong to it and other emoji."""
    rest = line[index + 1 :]
    return "".join(
        letter for letter in rest if letter != _VARIANT and unicodedata.category(letter) != "So"
    )


def _unreadable(letter: str) -> InvalidInputError:
    name = unicodedata.name(letter, "a character without a name").lower()
    if letter.isalpha() and "fullwidth" not in name and "mathematical" not in name:
        return not_understood(
            f"{excerpt(letter)} ({name}) is a letter of another alphabet or language.",
            "Write English words; or set your words for BUY, SELL and symbols in the feed's "
            "mapping (docs/alerts.md#mapping).",
        )
    return not_understood(
        f"{excerpt(letter)} ({name}) is not a letter, digit or mark that is read.",
        "Write it in plain letters and digits, without formatting.",
    )


def forbidding(text: str) -> str:
    """Return the first emoji of a text that can change a signal; '' if there is none."""
    return next((one for one in text if one in _FORBIDDING | _REACHED | _UP | _DOWN), "")


def trend_of(text: str) -> str:
    """Return BUY or SELL if the emoji of a text all point up or down; else empty."""
    up, down = bool(_UP & set(text)), bool(_DOWN & set(text))
    return "BUY" if up and not down else "SELL" if down and not up else ""
