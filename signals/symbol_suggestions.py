"""Suggest listed symbols that are similar to one that is not listed. Pure."""

from collections.abc import Collection
from difflib import get_close_matches

from signals.common_names import other_names

MAX_SUGGESTIONS, LIKENESS = 5, 0.75


def suggest_symbols(symbol: str, listed: Collection[str], most: int = MAX_SUGGESTIONS) -> list[str]:
    """Return similar listed pairs: first other names and currencies, then similar spellings.

    symbol: a pair, or a word without a currency.
    """
    base, slash, _ = symbol.partition("/")
    others = other_names(base)
    same = [pair for pair in sorted(listed) if _base(pair) in others]
    flat, spelled = _flat(symbol), {_flat(pair): pair for pair in sorted(listed)}
    if not slash:
        spelled = {_base(pair): pair for pair in sorted(listed)} | spelled
        same += [pair for pair in sorted(listed) if len(base) > 2 and pair.startswith(base)]
    near = [name for name in spelled if abs(len(name) - len(flat)) <= 2]
    alike = get_close_matches(flat, near, n=most, cutoff=LIKENESS)
    suggestions = dict.fromkeys((*same, *(spelled[name] for name in alike)))
    suggestions.pop(symbol, None)
    return list(suggestions)[:most]


def _base(pair: str) -> str:
    return pair.partition("/")[0]


def _flat(name: str) -> str:
    return "".join(letter for letter in name if letter.isalnum())
