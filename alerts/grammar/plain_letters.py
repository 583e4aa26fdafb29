"""Letters and digits in another shape, and marks that only direct how a line is shown. Pure.

Each has one meaning: `ＢＵＹ` and `𝗕𝗨𝗬` are BUY, and a mark of direction between words is
nothing. What replaces the order in which a line is shown, or stands inside a word, is left, and
refused.
"""

import re
import unicodedata

# Full-width forms and letters in a mathematical style, as channels write headings.
_STYLES = "\uff01-\uff5e\u3000\U0001d400-\U0001d7ff"
_IN_WORD = f"[A-Za-z0-9.,{_STYLES}]"
_STYLED_WORD = re.compile(f"(?<!{_IN_WORD}){_IN_WORD}*[{_STYLES}]{_IN_WORD}*")
_MARKS = "\u200e\u200f\u061c"
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
