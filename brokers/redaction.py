"""Redact secrets from a broker's text before it is stored or displayed, and make it storable.

We keep answers as they arrived, so JSON may spell a secret in several ways (`\\/`, `\\u002B`), and
JSON inside a JSON string escapes it again. So we search for secrets in the unescaped text and mask
them where they are in the original.
"""

import math
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

MIN_SECRET_LENGTH = 3  # shorter ones would mask half of every sentence
END_BYTES = 8_000  # kept of each end of the raw bytes, before redaction
MAX_LENGTH = 1_400  # characters of an excerpt, from both ends: the text may break off at either
GAP, MASK = " ... ", "***"
# A character may have two escapes; and each text within a text doubles the backslashes.
ESCAPE = re.compile(
    r"\\+(?:u([dD][89abAB][\da-fA-F]{2})\\+u([dD][c-fC-F][\da-fA-F]{2})"
    r"|u([\da-fA-F]{4})|x([\da-fA-F]{2})|([bfnrt])|(.?))",
    re.DOTALL,
)
SHORT = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
# The rest of an escape, or of a character of several bytes, at the place where the text was cut.
TAIL = re.compile(
    r"(?<!\\)\\+u[dD][89abAB][\da-fA-F]{2}(?:\\+(?:u[\da-fA-F]{0,3})?)?\Z"
    r"|(?<!\\)\\+(?:u[\da-fA-F]{0,3}|x[\da-fA-F]?)?\Z|(?:\\x[\da-f]{2}){1,3}\Z"
)
HEAD = re.compile(
    r"(?:\\x[\da-f]{2}){1,3}|\\{0,8}(?:[bfnrt]"
    r"|[ux]?[\da-fA-F]{0,4}(?:\\{1,8}u[dD][c-fC-F][\da-fA-F]{2})?)"
)


def without_secrets(text: str, credentials: Mapping[str, str]) -> str:
    """Return the text with every value of the credentials as ***, in any JSON spelling."""
    secrets = _secrets(credentials)
    # Search the original text too: after a backslash a secret may look like an escape.
    views = (_unescape(text), _plain(text))
    return _masked(text, [span for view in views for span in _secret_spans(view, secrets)])


def readable_excerpt(raw: bytes, credentials: Mapping[str, str], coding: str = "utf-8") -> str:
    """Return an incomplete or invalid answer as text for the account's owner.

    It has both ends of a long answer, without secrets and without parts of secrets at a cut."""
    ends = [raw]
    if len(raw) > 2 * END_BYTES:  # start at an even byte: a character may have two
        ends = [raw[:END_BYTES], raw[len(raw) % 2 - END_BYTES :]]
    secrets = _secrets(credentials)
    texts = (end.decode(coding, "backslashreplace") for end in ends)
    clean = (_without_cut_secrets(without_secrets(text, credentials), secrets) for text in texts)
    text = storable(GAP.join(clean))
    if len(text) > MAX_LENGTH:
        half = (MAX_LENGTH - len(GAP)) // 2
        text = text[: MAX_LENGTH - len(GAP) - half] + GAP + text[-half:]
    return text


def storable(text: str) -> str:
    """Return the text with NUL and invalid UTF-8 escaped: a database stores neither, and an invalid
    answer may have both."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")


@dataclass(frozen=True, slots=True)
class _Unescaped:
    """A text without escapes, in parts: each is one escape or the text between two.

    begins: start of each part in `text`; spans: its start and end in the original."""

    text: str
    begins: Sequence[int]
    spans: Sequence[tuple[int, int]]

    def span(self, begin: int, end: int) -> tuple[int, int]:
        """Return start and end of these characters in the original."""
        first, last = (bisect_right(self.begins, n) - 1 for n in (begin, end - 1))
        start = self.spans[first][0] + begin - self.begins[first]
        more = self.begins[last + 1] if last + 1 < len(self.begins) else len(self.text)
        stop = self.spans[last][1] if end == more else self.spans[last][0] + end - self.begins[last]
        return start, stop


def _plain(text: str) -> _Unescaped:
    return _Unescaped(text, [0], [(0, len(text))])


def _unescape(text: str, most: float = math.inf) -> _Unescaped:
    """Unescape a text, at least its first `most` characters."""
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

    for escape in ESCAPE.finditer(text):
        add(text[at : escape.start()], at, escape.start())
        at = escape.end()
        add(_escape_value(escape), escape.start(), at)
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
    spelled = (text for value in credentials.values() for text in (value, _unescape(value).text))
    return [secret for secret in dict.fromkeys(spelled) if len(secret) >= MIN_SECRET_LENGTH]


def _secret_spans(view: _Unescaped, secrets: Iterable[str]) -> Iterator[tuple[int, int]]:
    for secret in secrets:
        at = view.text.find(secret)
        while at >= 0:
            yield view.span(at, at + len(secret))
            at = view.text.find(secret, at + 1)


def _masked(text: str, spans: Iterable[tuple[int, int]]) -> str:
    clean, at = [], 0
    for begin, end in sorted(spans):
        if begin >= at:
            clean += [text[at:begin], MASK]
        at = max(at, end)
    return "".join([*clean, text[at:]])


def _without_cut_secrets(text: str, secrets: Sequence[str]) -> str:
    """Mask what may be a part of a secret at both ends, with the rest of an escape there."""
    parts = [(secret, n) for secret in secrets for n in range(len(MASK), len(secret))]
    begin = min(_cut_secret_begins(text, parts), default=len(text))
    if begin < len(text):
        text = text[:begin] + MASK
    end = max(_cut_secret_ends(text, parts), default=0)
    return MASK + text[end:] if end else text


SecretParts = Sequence[tuple[str, int]]
"""Secrets, each with a possible length of a part of it."""


def _cut_secret_begins(text: str, parts: SecretParts) -> Iterator[int]:
    """Yield where the text may end with the first part of a secret."""
    tail = TAIL.search(text)
    for view in (_plain(text), _unescape(text), _unescape(text[: tail.start()] if tail else "")):
        if n := max((n for secret, n in parts if view.text.endswith(secret[:n])), default=0):
            yield view.span(len(view.text) - n, len(view.text))[0]


def _cut_secret_ends(text: str, parts: SecretParts) -> Iterator[int]:
    """Yield where the last part of a secret ends, if the text may begin with one."""
    head, most = HEAD.match(text), max((n for _, n in parts), default=0)
    for begin in range(head.end() + 1 if head else 1):
        view = _unescape(text[begin:], most)
        if n := max((n for secret, n in parts if view.text.startswith(secret[-n:])), default=0):
            yield begin + view.span(0, n)[1]
