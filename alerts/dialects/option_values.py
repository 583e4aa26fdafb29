"""The one grammar of a `key=value` option's value: it holds a single value, never a second option.

`risk=1 sl=30` is what remains of two options whose comma was forgotten: read as a size, it would
lose the stop. Pure.
"""

import re

from alerts.grammar.reading import SIZING, ambiguous, excerpt, not_understood

_ONE = re.compile(r"[^\s=;|&,(){}\"']+", re.ASCII)
_FREE = {"comment"}  # words, but no second option
_FREE_TEXT = re.compile(r"[^=;|&{}\"\n]+")
_LEVEL = re.compile(
    r"\b(?:sl|tp|stop(?:[ _-]?loss)?|take[ _-]?profit|target|risk|price|entry)"
    r"(?:_?(?:price|pips|pct))?[ :@]*[0-9]+[.0-9]+",
    re.IGNORECASE,
)
# 1, 0.5, 10%, 50%p, 5x, $100, 100usd
_SIZE = re.compile(
    r"nan|[+-]?\$?[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]{1,2})?(?:\s?%\s?[a-z]*|x|\$|usd[tc]?|btc|eth|eur|lots?)?|[+-]?\.[0-9]+",
    re.ASCII | re.IGNORECASE,
)


def require_one_value(name: str, value: str, write: str) -> None:
    """Raise InvalidInputError for a value that may hold another option, too.

    write: how options are kept apart.
    """
    pattern = _FREE_TEXT if name in _FREE else _ONE
    if not pattern.fullmatch(value):
        raise not_understood(
            f"{excerpt(f'{name}={value}')} may hold more than one option.", write, field=name[:60]
        )
    if name in _FREE and (level := _LEVEL.search(value)):
        raise ambiguous(
            f"{excerpt(level[0])} of a comment", "a note", "a level or size of the order",
            field=name, write="Send it as an option of its own, or leave it out of the comment.",
        )  # fmt: skip


def require_size(name: str, value: str) -> None:
    """Raise InvalidInputError for a size that is no number, with or without a unit."""
    if value and not _SIZE.fullmatch(value):
        raise not_understood(
            f"{excerpt(f'{name}={value}')} is no number.",
            f"Write one like {name}=1, or leave it out: {SIZING}.", field=name[:60],
        )  # fmt: skip
