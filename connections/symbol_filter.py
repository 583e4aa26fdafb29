"""The symbols that a preset allows: canonical pairs, or all pairs of a currency. Pure.

A pattern is a pair (`EUR/USD`), a base with any quote (`EUR/*`), or any base with a quote
(`*/USD`).
"""

import re
from collections.abc import Iterable, Sequence

from common.errors import InvalidInputError
from signals.symbols import read_pair

MAX_LENGTH = 20
MAX_PATTERNS = 200
_WILDCARD = re.compile(r"[A-Z0-9][A-Z0-9.-]{0,11}/\*|\*/[A-Z0-9]{2,12}", re.ASCII)


def read_patterns(texts: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the patterns in their canonical spelling, each once, and an error for each other text.

    `eurusd` is read as `EUR/USD`, `eur/*` as `EUR/*`.
    """
    patterns: dict[str, None] = {}
    errors = []
    for text in texts:
        try:
            patterns[_read(text)] = None
        except InvalidInputError as error:
            errors.append(f"{error.detail} Write EUR/USD, EUR/* or */USD.")
    return list(patterns), errors


def is_allowed(pair: str, patterns: Sequence[str]) -> bool:
    """Return whether a canonical pair fits one of the patterns; without patterns, True."""
    return not patterns or any(_fits(pair, pattern) for pattern in patterns)


def outside(inner: Sequence[str], outer: Sequence[str]) -> list[str]:
    """Return the patterns of `inner` that allow pairs beyond those of `outer`; none without it."""
    if not outer:
        return []
    return [
        pattern
        for pattern in inner
        if pattern not in outer and ("*" in pattern or not is_allowed(pattern, outer))
    ]


def _read(text: str) -> str:
    pattern = text.strip().upper()
    return pattern if _WILDCARD.fullmatch(pattern) else read_pair(text)


def _fits(pair: str, pattern: str) -> bool:
    if pattern.endswith("*"):
        return pair.startswith(pattern[:-1])
    if pattern.startswith("*"):
        return pair.endswith(pattern[1:])
    return pair == pattern
