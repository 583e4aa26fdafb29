"""Make a message's characters safe to read: what cannot be seen, or looks like another, is refused.

Known emoji between words are decoration (`emoji`); others could say that a target was
reached, or that something is not to be done.
"""

import re
import unicodedata

from alerts.grammar.decoration import CROSSES, FORBIDDING, REACHED, is_of_label, is_plain
from alerts.grammar.lexicon import LEXICON, emoji
from alerts.grammar.reading import refusal
from common.errors import InvalidInputError

# Full-width forms and letters in a mathematical style, as channels write headings.
_STYLES = "\uff01-\uff5e\u3000\U0001d400-\U0001d7ff"
_IN_WORD = f"[A-Za-z0-9.,{_STYLES}]"
_STYLED_WORD = re.compile(f"(?<!{_IN_WORD}){_IN_WORD}*[{_STYLES}]{_IN_WORD}*")
_MARKS = "\u200b\u200c\u200e\u200f\u2060\u061c"
_DIRECTING = re.compile(f"(?<![A-Za-z0-9.,])[{_MARKS}]+|[{_MARKS}]+(?![A-Za-z0-9.,])")
_EMBEDDING = "\u202a\u202b\u202c\u2066\u2067\u2068\u2069"
# A run is looked at from its beginning only: within a line it would be searched from each mark.
_AROUND_LINE = re.compile(
    f"^[ \t]*[{_EMBEDDING}]+|(?<![{_EMBEDDING}])[{_EMBEDDING}]+(?=[ \t\r]*$)", re.MULTILINE
)
_WIDE_SPACES = str.maketrans(dict.fromkeys("\u00a0\u2007\u2009\u202f", " "))
_UNBROKEN = "[\u00a0\u2007\u2009\u202f]"
_SPACED = re.compile(
    rf"(?<![0-9.,'’])(?<!{_UNBROKEN})[1-9][0-9]{{0,2}}(?:{_UNBROKEN}[0-9]{{3}})+(?:,[0-9]{{1,2}})?(?![0-9])"
)
_LABEL_BEFORE = re.compile(r"(?:tp|target|t/p)[ .:_-]*$", re.IGNORECASE)
_SWISS = re.compile(r"(?<![\w.,'’])[1-9][0-9]{0,2}(?:['’][0-9]{3})+(?![\w'’])", re.ASCII)
_KEYCAP = re.compile("([1-9])\ufe0f?\u20e3(?=[ \t]*[0-9])")
_RAISED = re.compile("(?<=tp)[¹²³⁴⁵⁶⁷⁸⁹](?![0-9¹²³⁴⁵⁶⁷⁸⁹])", re.IGNORECASE)
_LABELLED = re.compile(r"(?:tp|target|t/p|entry|sl)[ \t]*$", re.IGNORECASE)
_LIST_BEFORE = re.compile(r"(?:^|[\s:|,=-])$")


def in_plain_letters(text: str) -> str:
    """Return a text with plain letters and digits, numbers in one piece, and without marks of
    direction."""
    text = _RAISED.sub(lambda found: unicodedata.normalize("NFKC", found[0]), text)
    text = _STYLED_WORD.sub(_plain, text.removeprefix("\ufeff"))
    text = _AROUND_LINE.sub("", _DIRECTING.sub("", text))
    text = _SWISS.sub(lambda found: re.sub("['’]", "", found[0]), text)
    return _KEYCAP.sub(_listed, _joined(text).translate(_WIDE_SPACES))


def _plain(found: re.Match[str]) -> str:
    """Return a styled word or number in plain letters; as it is if only a part of it is styled, or
    if a letter stands for one of another alphabet."""
    word = found[0]
    has_plain = any(letter.isascii() and letter.isalnum() for letter in word)
    plain = unicodedata.normalize("NFKC", word)
    return word if has_plain or not plain.isascii() else plain


def _joined(text: str) -> str:
    """Return a text without the spaces inside numbers, `42 000`, if they are of a kind that no
    other words of it have between them: a list of prices has the spaces of its sentence."""
    inside = sum(len(re.findall(_UNBROKEN, found[0])) for found in _SPACED.finditer(text))
    if not inside or inside != len(re.findall(_UNBROKEN, text)):
        return text

    def join(found: re.Match[str]) -> str:
        is_numbered = _LABEL_BEFORE.search(text[max(0, found.start() - 12) : found.start()])
        is_clear = not is_numbered or len(re.split(_UNBROKEN, found[0])[0]) > 1
        return re.sub(_UNBROKEN, "", found[0]).replace(",", ".") if is_clear else found[0]

    return _SPACED.sub(join, text)


def _listed(found: re.Match[str]) -> str:
    """Return the keycap of a list as `1)`; beside a label it is the label's number."""
    before = found.string[max(0, found.start() - 12) : found.start()]
    is_of_list = _LIST_BEFORE.search(before) and not _LABELLED.search(before)
    return f"{found[1]}) " if is_of_list else found[0]


_JOINER, _VARIANT = "\u200d", "\ufe0f"
_BEFORE_STOP = re.compile(
    r"[\s\x80-\U0010ffff]*(?:sl|s/l|stop(?:[ -]?loss)?)(?![A-Za-z])", re.IGNORECASE
)
_REPORTED = re.compile(
    r"\b(hit|reached|done)[^A-Za-z0-9]*$", re.IGNORECASE
)  # the word says it, too
_DASHES = str.maketrans({"–": "-", "—": "-", "‐": "-", "‑": "-", "‒": "-", "―": "-", "’": "'",
                         "\r": "\n", "ℹ": " "})  # fmt: skip
_SIGN = re.compile("[−➖]")
_DIGITS = tuple("0123456789")
_ARROWED = re.compile(
    rf"(?<![A-Za-z0-9.,])[0-9][0-9.,]*[ \t]*([{''.join(emoji('arrows'))}↑↗⤴⬆↓↘⤵⬇])[\s\ufe0f]*[0-9]"
)
_DECORATION = {"So", "Sk", "Sm"}
_ASCII_SYMBOLS = set("+<=>^`|~$")
_PLAIN_SQUARES = set("🆕🆓◽◾▷◁")
_AS_LETTERS = re.compile("SQUARED|CIRCLED|PARENTHESIZED|IDEOGRAPH|KEYCAP|SCRIPT|FRAKTUR")
MAX_CHARACTERS = 4_000


def readable(text: str) -> str:
    """Return a text with ASCII letters, digits and marks only. Raises InvalidInputError."""
    if len(text) > MAX_CHARACTERS:
        raise refusal("too_long", count=len(text), max_characters=MAX_CHARACTERS)
    text = _rewritten("before", in_plain_letters(_rewritten("first", text))).translate(_DASHES)
    text = _rewritten("after", _with_dashes(text))
    text = ", ".join(part.strip(" \t") for part in text.split("•")) if "•" in text else text
    plain = "\n".join(map(_line, text.split("\n")))
    if found := _ARROWED.search(text):
        raise refusal("arrow_between_numbers", letter=found[1])
    for letter in plain:
        if not (letter.isascii() and (letter.isprintable() or letter in "\n\t")):
            raise _unreadable(letter)
    return _rewritten("last", plain)


def _rewritten(step: str, text: str) -> str:
    """Return a text in which the patterns of a step are replaced, one after the other."""
    for pattern, put in LEXICON["rewrites"][step]:
        text = re.sub(pattern, put, text)
    return text


def _line(line: str) -> str:
    """Return a line without its decoration."""
    shown, is_start = _Shown(), True
    for index, letter in enumerate(line):
        if letter in (_VARIANT, _JOINER):
            beside = line[index - 1 : index] + line[index + 1 : index + 2]
            if beside.isascii() and beside:
                raise _unreadable(letter)
            continue
        is_marking = is_start and (
            letter not in REACHED or is_of_label(line, index) or bool(_REPORTED.search(line))
        )
        if letter in REACHED and not is_marking and not _REPORTED.search(shown.end()):
            raise refusal("reached_mark", letter=letter)
        is_of_stop = letter in CROSSES and _BEFORE_STOP.match(line, index + 1)
        if letter in FORBIDDING and not is_of_stop:
            raise refusal("forbidding_mark", letter=letter)
        if letter in _ASCII_SYMBOLS or unicodedata.category(letter) not in _DECORATION:
            shown.add(letter)
            is_start = is_start and letter.isspace()
        else:
            _require_decoration(letter)
            _require_plain(letter, line, is_of_stop=bool(is_of_stop))
            # what a report is followed by is another instruction
            is_report = letter in REACHED or _REPORTED.search(shown.end())
            shown.add("," if is_report and not is_start else " ")
    return "".join(shown.letters)


class _Shown:
    """What is shown of a line so far. Its end is asked for at each emoji, of which a line may have
    thousands."""

    def __init__(self) -> None:
        self.letters: list[str] = []
        self._until = 0  # behind the last letter that is not blank

    def add(self, letter: str) -> None:
        self.letters.append(letter)
        if not letter.isspace():
            self._until = len(self.letters)

    def end(self) -> str:
        """Return its last word, or number, and what is before it, without blanks at the end."""
        return "".join(self.letters[max(0, self._until - 40) : self._until])


def _with_dashes(text: str) -> str:
    """Return a text with a dash for a minus sign between numbers, or before a word. Raises
    InvalidInputError before a number alone, where it can mean less, a loss, or nothing.

    It looks outwards from each sign: a text may be mostly blanks.
    """
    if "➕" in text:
        raise refusal("plus_sign")
    for found in _SIGN.finditer(text):
        sign, start, end = found[0], found.start(), found.end()
        before = text[:start].rstrip(" \t")[-1:]
        after = text[end:].lstrip(" \t")[:1]
        if after in _DIGITS and (sign != "−" or before not in _DIGITS):
            raise refusal("sign_before_number", sign=sign)
    return text.replace("−", "-").replace("➖", " ")


def _require_decoration(letter: str) -> None:
    """Raise InvalidInputError for a symbol that is no decoration: a comparison, a picture of a
    letter."""
    name = unicodedata.name(letter, "")
    if letter in _PLAIN_SQUARES or letter in REACHED:
        return
    if _AS_LETTERS.search(name):
        raise _unreadable(letter)
    if unicodedata.category(letter) == "Sm" and "ARROW" not in name:
        raise refusal("comparison", letter=letter, key=name.lower())


def _require_plain(letter: str, line: str, *, is_of_stop: bool) -> None:
    """Raise InvalidInputError for an emoji that is not known to change nothing."""
    if letter in REACHED or is_of_stop or is_plain(letter, line):
        return
    name = unicodedata.name(letter, "a character without a name").lower()
    raise refusal("unknown_emoji", letter=letter, key=name)


def _unreadable(letter: str) -> InvalidInputError:
    name = unicodedata.name(letter, "a character without a name").lower()
    if letter.isalpha() and "fullwidth" not in name and "mathematical" not in name:
        return refusal("other_alphabet", letter=letter, key=name)
    return refusal("unreadable", letter=letter, key=name)
