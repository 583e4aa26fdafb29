"""Words that can turn a signal round, make it doubtful, or a report of the past. Pure.

A feed's mapping may leave out phrases of its sender (“Join our channel”). None of these words may
be in them, whatever stands around it. Texts need no list: a word that is not known is refused.
"""

import re

from alerts.grammar.lexicon import LEXICON

_FAMILIES: dict[str, list[str]] = LEXICON["turning"]
_TURNS = ("negation", "withdrawal", "past", "condition", "example")
_MARKS = re.compile('[?¿؟⁉❓❔"“”„«»>~<−]|\\u0336|\\u0335')
_MARKS_OF_NAMES = re.compile("[?¿؟⁉❓❔]")
_IDEOGRAPHS = re.compile(
    "不|没|沒|未|别|別|勿|莫|无|無|非|如果|若|取消|平仓|平倉|等|可能|测试|買|买|卖|賣|空|多"
)


def _pattern(*names: str) -> re.Pattern[str]:
    words = []
    for stem in (stem for name in names for stem in _FAMILIES[name]):
        plain = re.escape(stem.removesuffix(".")).replace(r"\\.", r"\\s+").replace(r"\.", r"\s+")
        before = "" if stem == "n't" else r"(?<!\w)"
        words.append(before + plain + (r"(?!\w)" if stem.endswith(".") else r"\w*"))
    return re.compile("|".join(words), re.IGNORECASE)


_TURNING = _pattern(*_TURNS)
_ANY = _pattern(*_TURNS, "trade")


def meaningful(phrase: str) -> str:
    """Return the first word or mark of a phrase that can change what a signal says; '' if none."""
    plain = phrase.replace("’", "'")
    for pattern in (_ANY, _MARKS, _IDEOGRAPHS):
        if found := pattern.search(plain):
            return found[0]
    return ""


def turning(word: str) -> str:
    """Return the word of a phrase that denies, doubts or withdraws; '' if there is none."""
    found = _TURNING.search(word.replace("’", "'").replace("_", " "))
    return found[0] if found else ""


_OF_REPORTS = _pattern("reports")
_OF_NAMES = _pattern("names")


def turning_in_name(name: str) -> str:
    """Return the word or mark of a strategy's name, or of a note, that denies, doubts, withdraws or
    reports; '' if there is none."""
    plain = _OF_NAMES.sub(" ", name.replace("_", " "))
    if word := turning(plain):
        return word
    found = _OF_REPORTS.search(plain) or _MARKS_OF_NAMES.search(plain)
    return found[0] if found else ""


# A note beside an order is free text, but not one that takes the order back.
_TAKEN_BACK = re.compile(
    r"\b(?:do not|don'?t|never) (?:trade|take|execute|copy|follow|use|enter|open|buy|sell)\b"
    r"|\bignore (?:this|it|me)\b|\b(?:test|demo|paper) (?:only|signal|alert|order|trade)\b"
    r"|\bdry.?run\b|\bnot (?:valid|a signal|a trade|real)\b|\bno trade\b",
    re.IGNORECASE,
)


def taken_back(note: str) -> str:
    """Return the words of a note that take its order back; '' if there are none."""
    found = _TAKEN_BACK.search(note.replace("’", "'"))
    return found[0] if found else ""


# A close is often noted with what has happened (“TP hit”), but not with a condition.
_NOT_YET = re.compile(
    r"\b(?:if|unless|until|when|once|wait\w*|maybe|perhaps|example|sample|backtest\w*|yesterday)\b"
    r"|\btest\b",
    re.IGNORECASE,
)
_SHARE = re.compile(
    r"\b(?:close|exit|reduce|take|book|sell|secure)\w*\W+(?:off |of |by )?"
    r"(?:half|part|(?:a |one )?(?:third|quarter)|[0-9]+(?:\.[0-9]+)?\s?%)"
    r"|\bpartial\w*",
    re.IGNORECASE,
)


def postponing(note: str) -> str:
    """Return the words of a close's note that make it conditional; '' if there are none."""
    found = _NOT_YET.search(note)
    return found[0] if found else ""


def share_in(note: str) -> str:
    """Return the words of a close's note that name a part of the trade; '' if there are none."""
    found = _SHARE.search(note)
    return found[0] if found else ""
