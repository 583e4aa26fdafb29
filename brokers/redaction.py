"""What a broker said, before it is kept or shown: without secrets, and as a database takes it.

An answer is kept as it came, so a secret in it may be spelled as any JSON may spell it (`\\/`,
`\\u002B`), and JSON in the text of another once more. So both are read without any escapes, and
what is found there is blacked out where it stands.
"""

import math
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

MIN_SECRET_LENGTH = 3  # shorter ones would black out half of every sentence
END_BYTES = 8_000  # of each end of what came, before secrets are taken out
MAX_LENGTH = 1_400  # characters of what came that are kept: of both ends, for it breaks off at one
GAP, MASK = " ... ", "***"
# A character may have two escapes; and each text within a text doubles the backslashes.
ESCAPE = re.compile(
    r"\\+(?:u([dD][89abAB][\da-fA-F]{2})\\+u([dD][c-fC-F][\da-fA-F]{2})"
    r"|u([\da-fA-F]{4})|x([\da-fA-F]{2})|([bfnrt])|(.?))",
    re.DOTALL,
)
SHORT = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
# What an escape, or a character of several bytes, leaves where it is cut.
TAIL = re.compile(
    r"(?<!\\)\\+u[dD][89abAB][\da-fA-F]{2}(?:\\+(?:u[\da-fA-F]{0,3})?)?\Z"
    r"|(?<!\\)\\+(?:u[\da-fA-F]{0,3}|x[\da-fA-F]?)?\Z|(?:\\x[\da-f]{2}){1,3}\Z"
)
HEAD = re.compile(
    r"(?:\\x[\da-f]{2}){1,3}|\\{0,8}(?:[bfnrt]"
    r"|[ux]?[\da-fA-F]{0,4}(?:\\{1,8}u[dD][c-fC-F][\da-fA-F]{2})?)"
)


def without_secrets(text: str, credentials: Mapping[str, str]) -> str:
    """Return the text with every value of the credentials as ***, however JSON spells it."""
    secrets = _secrets(credentials)
    # As it stands, too: behind a backslash it may look like an escape.
    found = [one for read in (_unescape(text), _plain(text)) for one in _found(read, secrets)]
    return _masked(text, found)


def readable_excerpt(came: bytes, credentials: Mapping[str, str], coding: str = "utf-8") -> str:
    """Return what came of an answer that broke off or makes no sense, as its owner is shown it: the
    two ends of what is long, without secrets and without the piece of one that is cut."""
    ends = [came]
    if len(came) > 2 * END_BYTES:  # from an even byte on: a character may have two
        ends = [came[:END_BYTES], came[len(came) % 2 - END_BYTES :]]
    secrets = _secrets(credentials)
    texts = (one.decode(coding, "backslashreplace") for one in ends)
    clean = (_without_pieces(without_secrets(one, credentials), secrets) for one in texts)
    text = storable(GAP.join(clean))
    if len(text) > MAX_LENGTH:
        half = (MAX_LENGTH - len(GAP)) // 2
        text = text[: MAX_LENGTH - len(GAP) - half] + GAP + text[-half:]
    return text


def storable(text: str) -> str:
    """Return the text with what no database takes written out: raw bytes of an answer that makes
    no sense may hold NUL, and what is no UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")


@dataclass(frozen=True, slots=True)
class _Unescaped:
    """A text without escapes. begins: where its parts begin in it; spans: where each stands in what
    came. A part is one escape or what lies between two."""

    text: str
    begins: Sequence[int]
    spans: Sequence[tuple[int, int]]

    def span(self, begin: int, end: int) -> tuple[int, int]:
        """Return where these characters stand in what came."""
        first, last = (bisect_right(self.begins, n) - 1 for n in (begin, end - 1))
        start = self.spans[first][0] + begin - self.begins[first]
        more = self.begins[last + 1] if last + 1 < len(self.begins) else len(self.text)
        stop = self.spans[last][1] if end == more else self.spans[last][0] + end - self.begins[last]
        return start, stop


def _plain(text: str) -> _Unescaped:
    return _Unescaped(text, [0], [(0, len(text))])


def _unescape(text: str, most: float = math.inf) -> _Unescaped:
    """Read a text without its escapes, as far as so many characters of it at least."""
    parts: list[str] = []
    begins: list[int] = []
    spans: list[tuple[int, int]] = []
    length = at = 0

    def add(part: str, begin: int, end: int) -> None:
        nonlocal length
        if part:
            parts.append(part)
            begins.append(length)
            spans.append((begin, end))
            length += len(part)

    for one in ESCAPE.finditer(text):
        add(text[at : one.start()], at, one.start())
        at = one.end()
        add(_escape_value(one), one.start(), at)
        if length >= most:
            break
    else:
        add(text[at:], at, len(text))
    return _Unescaped("".join(parts), begins, spans)


def _escape_value(escape: re.Match[str]) -> str:
    high, low, unit, byte, short, itself = escape.groups()
    if high:
        return chr(0x10000 + ((int(high, 16) & 0x3FF) << 10) + (int(low, 16) & 0x3FF))
    if number := unit or byte:
        return chr(int(number, 16))
    return SHORT[short] if short else str(itself)


def _secrets(credentials: Mapping[str, str]) -> list[str]:
    spelled = (one for value in credentials.values() for one in (value, _unescape(value).text))
    return [one for one in dict.fromkeys(spelled) if len(one) >= MIN_SECRET_LENGTH]


def _found(read: _Unescaped, secrets: Iterable[str]) -> Iterator[tuple[int, int]]:
    for one in secrets:
        at = read.text.find(one)
        while at >= 0:
            yield read.span(at, at + len(one))
            at = read.text.find(one, at + 1)


def _masked(text: str, spans: Iterable[tuple[int, int]]) -> str:
    clean, at = [], 0
    for begin, end in sorted(spans):
        if begin >= at:
            clean += [text[at:begin], MASK]
        at = max(at, end)
    return "".join([*clean, text[at:]])


def _without_pieces(text: str, secrets: Sequence[str]) -> str:
    """Black out at both ends what may be a part of a secret, and the piece of an escape there."""
    pieces = [(one, n) for one in secrets for n in range(len(MASK), len(one))]
    begin = min(_begins(text, pieces), default=len(text))
    if begin < len(text):
        text = text[:begin] + MASK
    end = max(_ends(text, pieces), default=0)
    return MASK + text[end:] if end else text


Pieces = Sequence[tuple[str, int]]
"""Secrets, and how many of their characters there may be."""


def _begins(text: str, pieces: Pieces) -> Iterator[int]:
    """Where a piece begins that the text ends with."""
    tail = TAIL.search(text)
    for read in (_plain(text), _unescape(text), _unescape(text[: tail.start()] if tail else "")):
        if n := max((n for one, n in pieces if read.text.endswith(one[:n])), default=0):
            yield read.span(len(read.text) - n, len(read.text))[0]


def _ends(text: str, pieces: Pieces) -> Iterator[int]:
    """Where a piece ends that the text begins with."""
    head, most = HEAD.match(text), max((n for _, n in pieces), default=0)
    for begin in range(head.end() + 1 if head else 1):
        read = _unescape(text[begin:], most)
        if n := max((n for one, n in pieces if read.text.startswith(one[-n:])), default=0):
            yield begin + read.span(0, n)[1]
